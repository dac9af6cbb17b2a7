"""OPA as a sidecar in a real cluster: it denies what Anchore passes, follows its policies, and may fail in any way."""

import signal
import time
from collections.abc import Iterator

import pytest

from e2e.cluster.cluster import Cluster
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.load import steady
from e2e.opa import (
    BROKEN,
    EXAMPLES,
    FROZEN,
    GUARDED,
    OBJECTION,
    PATH,
    RISKY,
    Beside,
    beside,
    exposed,
    status_of,
    values,
)
from e2e.release import NAME, WEBHOOK, Release, is_ready
from e2e.stage import entries
from e2e.things import FAILING, PASSING, thing

pytestmark = pytest.mark.cluster

NO_DECISION = f"{PATH} gave no decision"
OTHER = {"only.rego": 'package anchore.admission\n\ndeny contains "no Pods today"\n'}


@pytest.fixture(scope="module")
def guarded(
    release: Release, cluster: Cluster, namespaces: Namespaces, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Beside]:
    with beside(release, cluster, namespaces, tmp_path_factory.mktemp("opa")) as found:
        yield found


def test_a_pod_that_anchore_passes_is_denied_by_the_policy(guarded: Beside) -> None:
    create = guarded.release.create
    assert create(GUARDED, thing("Pod", RISKY, name="hidden")).allowed
    assert create(GUARDED, exposed(PASSING, "harmless")).allowed

    denied = create(GUARDED, exposed())

    assert denied.code == 403
    assert f'admission webhook "{WEBHOOK}" denied the request: ' in denied.message
    assert OBJECTION in denied.message
    (entry,) = until(lambda: entries(GUARDED, "exposed", "create"), "the audit log has it")
    assert OBJECTION in entry["annotations"][f"{WEBHOOK}/hook"]
    both = create(GUARDED, exposed(FAILING))
    assert "failed policy checks" in both.message
    assert "in the host's network" in both.message


def test_a_changed_configmap_takes_effect_without_a_restart(guarded: Beside) -> None:
    before = guarded.release.restarts()

    guarded.write(OTHER)
    guarded.follow(f"{PATH}: no Pods today")
    guarded.write(EXAMPLES)
    guarded.follow(OBJECTION)

    assert guarded.said(thing("Pod", RISKY)) == ["", ""], "the policy that was removed has no effect"
    assert guarded.release.restarts() == before


def test_a_policy_that_does_not_compile_leaves_the_last_one_in_force(guarded: Beside) -> None:
    guarded.write(BROKEN)

    def noticed() -> bool:
        guarded.release.nudge()
        return all("var x is unsafe" in guarded.log(pod) for pod in guarded.release.pods())

    until(noticed, "OPA names the mistake in every replica", 240, every=1)
    assert [OBJECTION in said for said in guarded.said()] == [True, True]
    assert guarded.release.ready()
    guarded.write({**EXAMPLES, **OTHER})
    guarded.follow(f"{PATH}: no Pods today")
    guarded.write(EXAMPLES)
    guarded.follow(OBJECTION)


def test_while_opa_is_killed_and_restarted_nothing_is_admitted(guarded: Beside) -> None:
    before = guarded.restarts()

    guarded.signal(signal.SIGKILL)
    heard = []

    def restarted() -> bool:
        heard.extend(guarded.said())
        return all(after > earlier for after, earlier in zip(guarded.restarts(), before, strict=True))

    until(restarted, "the kubelet has restarted OPA", every=0)
    until(guarded.release.ready, "every replica is ready")
    guarded.follow(OBJECTION)
    assert [said for said in heard if OBJECTION not in said and NO_DECISION not in said] == []
    assert any(NO_DECISION in said for said in heard)


def test_an_opa_that_hangs_costs_its_time_limit_and_is_restarted(guarded: Beside) -> None:
    before = guarded.restarts()

    with guarded.stopped():
        assert guarded.said() == [f"{NO_DECISION}: no response within 1 s (opa.timeout)"] * 2
        assert guarded.release.ready(), "OPA has no readiness probe"
        assert not guarded.release.create(GUARDED, thing("Pod", RISKY), dry_run=True).allowed
        until(lambda: all(now > then for now, then in zip(guarded.restarts(), before, strict=True)), "it is restarted")
    until(guarded.release.ready, "every replica is ready")
    guarded.follow(OBJECTION)


def test_an_upgrade_with_a_policy_that_does_not_compile_fails_and_changes_nothing(
    guarded: Beside, kubectl: Kubectl
) -> None:
    before = guarded.release.pods()
    inline = {"policies": BROKEN}

    with pytest.raises(RuntimeError, match=f"{NAME}-opa-validation"):
        guarded.release.install(values(sidecar=inline))

    assert "var x is unsafe" in kubectl("logs", "-n", NAME, f"job/{NAME}-opa-validation")
    assert [pod["metadata"]["uid"] for pod in guarded.release.pods()] == [pod["metadata"]["uid"] for pod in before]
    guarded.release.install(values())
    until(guarded.release.ready, "every replica is ready")


def test_updates_that_change_no_image_are_asked_about_where_that_is_wanted(guarded: Beside, kubectl: Kubectl) -> None:
    guarded.release.install(values(requests=["all"]))
    until(guarded.release.ready, "every replica is ready", 240)
    assert guarded.release.create(GUARDED, thing("Pod", PASSING, name="calm")).allowed
    guarded.write({**EXAMPLES, **FROZEN})

    def denied() -> bool:
        guarded.release.nudge()
        try:
            kubectl("label", "pod", "-n", GUARDED, "calm", "frozen=yes", "--overwrite")
        except RuntimeError as error:
            return f"{PATH}: labels are frozen" in str(error)
        kubectl("label", "pod", "-n", GUARDED, "calm", "frozen-")
        return False

    until(denied, "a label is denied", 240, every=1)
    guarded.write(EXAMPLES)
    guarded.release.install(values())
    until(guarded.release.ready, "every replica is ready", 240)


def test_a_rollout_of_both_containers_costs_no_review(guarded: Beside, kubectl: Kubectl) -> None:
    with steady(GUARDED) as load:
        kubectl("rollout", "restart", "-n", NAME, f"deployment/{NAME}")
        kubectl("rollout", "status", "-n", NAME, f"deployment/{NAME}", "--timeout=240s")
        until(guarded.release.ready, "the old replicas have gone", 240)
        load.more()
    assert (load.failed, load.wrong, load.missed()) == ([], [], {})


def test_a_pod_with_opa_stops_as_soon_as_its_reviews_are_answered(guarded: Beside, kubectl: Kubectl) -> None:
    """As an ordinary container, OPA would serve on for 15 seconds: the controller may need it that long."""
    replica = guarded.release.pods()[0]["metadata"]["name"]
    began = time.monotonic()
    kubectl("delete", "pod", "-n", NAME, replica, "--timeout=60s")
    assert time.monotonic() - began < 14
    until(guarded.release.ready, "another replica is ready", 240)


@pytest.mark.parametrize(("on_error", "warns"), [("warn", True), ("allow", False)])
def test_without_a_decision_the_given_effect_holds(guarded: Beside, on_error: str, warns: bool) -> None:
    """OPA runs as another user here: the socket belongs to a group that both have."""
    security = {"runAsUser": 1000, "runAsGroup": 1000, "capabilities": {"drop": ["ALL"]}}
    guarded.release.install(values(replicas=1, onError=on_error, sidecar={"securityContext": security}))
    until(lambda: guarded.release.ready(1), "the replica is ready", 240)
    guarded.follow(OBJECTION)
    (replica,) = guarded.release.pods()

    with guarded.stopped():
        response = guarded.release.reviewed(replica, GUARDED, exposed())
        failing = guarded.said_by(replica, exposed(FAILING))

    assert response["allowed"]
    assert any(NO_DECISION in text for text in response["warnings"]) == warns
    assert "failed policy checks" in failing, "Anchore's own verdict does not depend on OPA"
    guarded.follow(OBJECTION)


def test_an_opa_that_cannot_start_leaves_the_pod_unready_and_denies(guarded: Beside) -> None:
    """Kubernetes counts a Pod as ready only while all its containers run; see the chart's README."""
    guarded.release.install(values(replicas=1))
    until(lambda: guarded.release.ready(1), "the replica is ready", 240)
    guarded.write(BROKEN)
    (replica,) = guarded.release.pods()
    until(
        lambda: guarded.release.nudge() and "var x is unsafe" in guarded.log(replica), "OPA has noticed", 240, every=1
    )

    guarded.signal(signal.SIGKILL)

    def fails() -> bool:
        (pod,) = guarded.release.pods()
        state = status_of(pod)["state"]
        return not is_ready(pod) and state.get("waiting", {}).get("reason") == "CrashLoopBackOff"

    until(fails, "OPA exits at once", every=0.2)
    assert status_of(guarded.release.pods()[0], NAME)["restartCount"] == 0
    assert NO_DECISION in guarded.said()[0]
    guarded.write(EXAMPLES)
    until(lambda: guarded.release.nudge() and guarded.release.ready(1), "OPA starts again", 300, every=1)
    guarded.follow(OBJECTION)
