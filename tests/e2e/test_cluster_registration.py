"""Ownership of the registration: the leader restores it, operators delete it, helm recreates it; and its rights."""

import json
from collections.abc import Iterator
from typing import Final

import pytest

from e2e.cluster.api import Api
from e2e.cluster.cluster import Cluster
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.release import NAME, REGISTRATIONS, WEBHOOK, Release, installed
from e2e.things import FAILING, Json, thing
from support.paths import DATA

pytestmark = pytest.mark.cluster

STRICT: Final = {"sandbox": {"enabled": True}, "enableStrictGating": True}
IGNORE: Final = {**STRICT, "webhook": {"failurePolicy": "Ignore"}}
HERE: Final = "registered"
KIND: Final = "ValidatingWebhookConfiguration"
CAN_I: Final = DATA / "chart/can-i.txt"
OFF: Final = {"name": "off", "expression": "false"}
ELSEWHERE: Final = {"key": "team", "operator": "DoesNotExist"}
ACCOUNT: Final = f"system:serviceaccount:{NAME}:{NAME}"
EVERYWHERE: Final = {
    *("selfsubjectreviews.authentication.k8s.io", "selfsubjectaccessreviews.authorization.k8s.io"),
    *("selfsubjectrulesreviews.authorization.k8s.io", "controllers.admission.anchore.io"),
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
}


@pytest.fixture(scope="module")
def serving(release: Release, namespaces: Namespaces) -> Iterator[Release]:
    namespaces(HERE)
    with installed(release, STRICT) as running:
        running.await_judging(HERE)
        yield running


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ([{"op": "remove", "path": "/webhooks"}], f"{WEBHOOK} is missing"),
        ([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}], "failurePolicy changed"),
        ([{"op": "add", "path": "/webhooks/0/matchConditions/-", "value": OFF}], "matchConditions changed"),
        (
            [{"op": "add", "path": "/webhooks/0/namespaceSelector/matchExpressions/-", "value": ELSEWHERE}],
            "namespaceSelector changed",
        ),
        (
            [{"op": "replace", "path": "/webhooks/0/objectSelector", "value": {"matchExpressions": [ELSEWHERE]}}],
            "objectSelector changed",
        ),
    ],
    ids=["wiped", "changed", "a match condition", "a namespace selector", "an object selector"],
)
def test_the_leader_restores_changed_fields(serving: Release, kubectl: Kubectl, patch: list[Json], reason: str) -> None:
    until(serving.ready, "every replica is ready")
    wanted = serving.registration()
    leader = until(lambda: holder(serving), "a replica leads")
    before = restorations(serving, kubectl, reason)

    changed = json.loads(kubectl("patch", KIND, NAME, "--type=json", f"--patch={json.dumps(patch)}", "-o", "json"))
    assert changed.get("webhooks") != [wanted]

    until(lambda: serving.registration() == wanted, "it is as it was")
    expected = {**before, leader: before[leader] + 1}
    until(lambda: restorations(serving, kubectl, reason) == expected, f"{leader} logs it, and no other replica")
    serving.await_judging(HERE)


def test_every_replica_could_probe_itself(serving: Release, kubectl: Kubectl) -> None:
    """The leader registers nothing before its probe through the Service has succeeded on any replica."""
    until(serving.ready, "every replica is ready")
    connect = (
        f"import socket\nfor _ in range(10): socket.create_connection(('{NAME}.{NAME}.svc', 443), timeout=5).close()"
    )
    for pod in serving.pods():
        kubectl("exec", "-n", NAME, pod["metadata"]["name"], "--", "python", "-c", connect)


def test_exclusions_added_by_a_cloud_are_left_alone(serving: Release, kubectl: Kubectl) -> None:
    """AKS and GKE Autopilot restore it after every removal, so the leader does not fight over it."""
    until(serving.ready, "every replica is ready")
    excluded = {"key": "control-plane", "operator": "NotIn", "values": ["true"]}
    patch = [{"op": "add", "path": "/webhooks/0/namespaceSelector/matchExpressions/-", "value": excluded}]
    kubectl("patch", KIND, NAME, "--type=json", f"--patch={json.dumps(patch)}")
    changed, before = serving.registration(), looks(serving.api, "200")

    until(lambda: looks(serving.api, "200") >= before + 2, "the leader has looked at it, and again", 180, every=1)

    assert serving.registration() == changed
    assert excluded in changed["namespaceSelector"]["matchExpressions"]


def test_fields_set_by_an_earlier_release_are_removed(serving: Release) -> None:
    """The superfluous condition is the only difference; all wanted fields are equal."""

    def conditions() -> list[str]:
        return [condition["name"] for condition in serving.registration()["matchConditions"]]

    assert conditions() == ["spec-changes", "not-another-release"]
    serving.install({**STRICT, "webhook": {"admitOtherReleases": False}})
    until(lambda: conditions() == ["spec-changes"], "the other condition is gone")
    serving.install(STRICT)
    until(lambda: conditions() == ["spec-changes", "not-another-release"], "it is there again")


def test_deleted_it_stays_away_until_an_upgrade(serving: Release, kubectl: Kubectl) -> None:
    switch_off(serving, kubectl)
    before = looks(serving.api, "404")

    until(lambda: looks(serving.api, "404") >= before + 2, "the leader has looked for it, and again", 180, every=1)
    assert NAME not in {found["metadata"]["name"] for found in serving.api.get(REGISTRATIONS)["items"]}
    assert serving.create(HERE, thing("Pod", FAILING), dry_run=True).code == 201
    said = kubectl("logs", "-n", NAME, until(lambda: holder(serving), "a replica leads"))
    assert f"{KIND} {NAME} does not exist: the webhook is switched off" in said

    serving.install(STRICT)

    until(serving.registration, "it is filled again")
    serving.await_judging(HERE)


def test_a_rollback_brings_it_back_as_it_was(serving: Release, kubectl: Kubectl) -> None:
    serving.install(STRICT)
    wanted = until(serving.registration, "it is there")
    serving.install(IGNORE)
    until(lambda: serving.registration()["failurePolicy"] == "Ignore", "the new release's is there")
    switch_off(serving, kubectl)

    kubectl.helm("rollback", NAME, "--namespace", NAME, "--wait", "--timeout", "180s")

    until(lambda: serving.registration() == wanted, "the old release's is there")
    serving.await_judging(HERE)


def test_a_deleted_certificate_is_reported_and_an_upgrade_brings_it_back(serving: Release, kubectl: Kubectl) -> None:
    until(serving.ready, "every replica is ready")
    kubectl("delete", "secret", "-n", NAME, f"{NAME}-tls")

    until(lambda: unusable(serving) == [{"certificate"}] * 2, "every replica's metrics report it")
    for pod in serving.pods():
        said = kubectl("logs", "-n", NAME, pod["metadata"]["name"])
        assert "helm upgrade (or kubectl apply --kustomize) creates it again" in said
    serving.await_judging(HERE)

    serving.install(STRICT)

    until(lambda: serving.ready() and unusable(serving) == [set()] * 2, "all is well again", 180)
    assert serving.api.get(f"/api/v1/namespaces/{NAME}/secrets/{NAME}-tls")["data"].keys() >= {"tls.crt", "tls.key"}
    serving.await_judging(HERE)


def test_replicas_that_run_different_configurations_show_it(serving: Release, kubectl: Kubectl) -> None:
    """A manual edit of the ConfigMap reaches only the replica that restarts."""
    until(serving.ready, "every replica is ready")
    before = configurations(serving)
    assert len(before) == 1
    configuration = kubectl.get("-n", NAME, f"configmap/{NAME}")["data"]["configuration.yaml"]
    edited = {"data": {"configuration.yaml": configuration.replace("mode: strict", "mode: analysis")}}
    kubectl("patch", "-n", NAME, f"configmap/{NAME}", "--type=merge", f"--patch={json.dumps(edited)}")
    kubectl("delete", "-n", NAME, "pod", serving.pods()[0]["metadata"]["name"], "--wait=false")

    until(lambda: serving.ready() and len(configurations(serving)) == 2, "the new replica has another hash", 180)

    put_back = {"data": {"configuration.yaml": configuration}}
    kubectl("patch", "-n", NAME, f"configmap/{NAME}", "--type=merge", f"--patch={json.dumps(put_back)}")
    kubectl("rollout", "restart", "-n", NAME, f"deployment/{NAME}")
    until(lambda: serving.ready() and configurations(serving) == before, "all have the first one again", 180)


def test_the_account_has_exactly_the_rights_of_the_committed_table(
    cluster: Cluster, serving: Release, kubectl: Kubectl
) -> None:
    """Compare whole lines, including the rights that this version of Kubernetes grants to every user."""
    assert sorted(rights(kubectl, NAME)) == sorted(CAN_I.read_text().splitlines())

    elsewhere = {line.split()[0] for line in rights(kubectl, HERE)[1:] if not line.startswith(" ")}
    assert elsewhere == EVERYWHERE


def unusable(serving: Release) -> list[set[str]]:
    """Return the unusable files that each replica's metrics report."""
    replicas = serving.metrics("anchore_admission_unusable")
    return [{sample.labels["what"] for sample in samples if sample.value} for samples in replicas]


def configurations(serving: Release) -> set[str]:
    """The hashes of what the replicas run."""
    replicas = serving.metrics("anchore_admission_configuration_info")
    return {sample.labels["hash"] for samples in replicas for sample in samples}


def rights(kubectl: Kubectl, namespace: str) -> list[str]:
    return kubectl("auth", "can-i", "--list", "--namespace", namespace, f"--as={ACCOUNT}").splitlines()


def switch_off(serving: Release, kubectl: Kubectl) -> None:
    """Delete the registration as documented, and wait until API servers have noticed."""
    kubectl("delete", KIND, NAME)
    until(lambda: serving.create(HERE, thing("Pod", FAILING), dry_run=True).code == 201, "nothing is judged")


def holder(serving: Release) -> str:
    """The Pod that holds the Lease."""
    lease = serving.api.get(f"/apis/coordination.k8s.io/v1/namespaces/{NAME}/leases/{NAME}")
    return str(lease["spec"].get("holderIdentity", ""))


def restorations(serving: Release, kubectl: Kubectl, reason: str) -> dict[str, int]:
    """Count how often each replica has logged that it registered the webhook for that reason."""
    names = [pod["metadata"]["name"] for pod in serving.pods()]
    logs = {name: kubectl("logs", "-n", NAME, name).splitlines() for name in names}
    return {
        name: sum("registered the webhook" in line and reason in line for line in lines) for name, lines in logs.items()
    }


def looks(api: Api, code: str) -> float:
    """Return the API server's count of reads of one registration; the leader reads it once per reconcile."""
    asked = {"verb": "GET", "resource": "validatingwebhookconfigurations", "code": code}
    return sum(
        sample.value for sample in api.metrics("apiserver_request_total") if asked.items() <= sample.labels.items()
    )
