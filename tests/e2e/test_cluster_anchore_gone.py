"""Anchore is gone: what has just been judged is admitted with a warning, or denied, and nothing else is judged."""

from collections.abc import Iterator
from typing import Final

import pytest

from e2e.cluster.cluster import Cluster
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.release import NAME, WEBHOOK, Release, installed
from e2e.stage import NOTICE, entries
from e2e.things import FAILING, PASSING, thing

pytestmark = pytest.mark.cluster

HERE: Final = "anchore-gone"
STRICT: Final = {
    "sandbox": {"enabled": True},
    "enableStrictGating": True,
    "config": {"memory": {"pass": "5s", "fail": "5s", "tag": "5s"}},
    "replicaCount": 1,
}
"""One replica, because an API server that connects to another one would meet one that has not been asked."""
STALE: Final = f"Image {PASSING} is judged by Anchore's answer of "


@pytest.fixture(scope="module")
def serving(release: Release, namespaces: Namespaces) -> Iterator[Release]:
    namespaces(HERE)
    with installed(release, STRICT) as running:
        running.await_judging(HERE)
        yield running


@pytest.fixture(scope="module")
def gone(serving: Release, kubectl: Kubectl) -> Iterator[Release]:
    """Anchore has judged two images, and no Pod of it is left."""
    # Results that came before the policies' versions were known do not stand in for Anchore.
    until(lambda: lists_policies(serving), "the policies' versions are known")
    assert warnings(serving) == []
    assert serving.create(HERE, thing("Pod", FAILING), dry_run=True).code == 403
    scale(serving, kubectl, 0)
    until(lambda: STALE in "".join(warnings(serving)), "the answer is too old to be used without a warning")
    yield serving
    scale(serving, kubectl, 1)


def scale(serving: Release, kubectl: Kubectl, replicas: int) -> None:
    kubectl("scale", "-n", NAME, f"deployment/{NAME}-sandbox", f"--replicas={replicas}")
    until(lambda: len(serving.pods("sandbox")) == replicas, f"{replicas} Pods of Anchore are there")


def lists_policies(serving: Release) -> bool:
    """Return whether Anchore has listed the policies to the replica."""
    (samples,) = serving.metrics("anchore_admission_anchore_calls_total")
    listed = {"operation": "policies", "outcome": "ok"}
    return any(listed.items() <= sample.labels.items() for sample in samples)


def warnings(serving: Release) -> list[str]:
    """Return the warnings about a Pod that is admitted."""
    answer = serving.create(HERE, thing("Pod", PASSING), dry_run=True)
    assert answer.code == 201, answer.message
    return [text for text in answer.warnings if text != NOTICE]


def test_a_known_image_is_admitted_with_a_warning(gone: Release) -> None:
    (warning,) = warnings(gone)

    assert warning.startswith(STALE)
    assert warning.endswith("Anchore cannot be asked now")


def test_a_known_failure_is_still_denied(gone: Release) -> None:
    denied = gone.create(HERE, thing("Pod", FAILING), dry_run=True)

    assert denied.code == 403
    assert f"Image {FAILING} with digest sha256:" in denied.message
    assert "failed policy checks" in denied.message


def test_an_unknown_image_is_not_admitted(gone: Release) -> None:
    denied = gone.create(HERE, thing("Pod", "redis:7"), dry_run=True)

    assert denied.code == 403
    assert "Image redis:7 could not be checked: " in denied.message


def test_the_audit_log_and_the_metrics_have_it(cluster: Cluster, gone: Release) -> None:
    assert gone.create(HERE, thing("Pod", PASSING, name="stale")).code == 201

    entry = until(lambda: entries(HERE, "stale", "create"), "the audit log has it")[-1]
    assert entry["annotations"][f"{WEBHOOK}/stale"].startswith(f"{PASSING} ")
    (samples,) = gone.metrics("anchore_admission_facts_total")
    assert sum(sample.value for sample in samples if sample.labels["use"] == "stale") > 0


def test_everything_is_judged_again_when_it_is_back(gone: Release, kubectl: Kubectl) -> None:
    scale(gone, kubectl, 1)

    until(lambda: warnings(gone) == [], "nothing is judged by an old answer any more")
    until(lambda: gone.create(HERE, thing("Pod", "redis:7"), dry_run=True).code == 201, "what is new is judged")
