"""Rules by the labels of namespaces: relabeled, recreated, new, and without the right to read them."""

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from e2e.cluster.api import Answer
from e2e.cluster.cluster import Cluster
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.release import NAME, Release, installed
from e2e.things import FAILING, PASSING, thing

pytestmark = pytest.mark.cluster

ENV: Final = "e2e.anchore.io/env"
POLICY: Final = "e2e.anchore.io/policy"
CONFIGURATION: Final = {
    "defaults": {"mode": "skip"},
    "rules": [
        {
            "name": "by-policy",
            "match": {"namespaceSelector": {"matchExpressions": [{"key": POLICY, "operator": "Exists"}]}},
            "mode": "strict",
            "policyFrom": {"namespaceLabel": POLICY, "allowed": {"no-nginx": "no-nginx"}},
        },
        {"name": "prod", "match": {"namespaceSelector": {"matchLabels": {ENV: "prod"}}}, "mode": "strict"},
    ],
}
VALUES: Final = {"sandbox": {"enabled": True}, "config": CONFIGURATION}
_UNKNOWN: Final = "the labels of namespace"


@dataclass(frozen=True, slots=True)
class Labeled:
    release: Release
    kubectl: Kubectl

    def create(self, namespace: str, image: str = FAILING) -> Answer:
        return self.release.create(namespace, thing("Pod", image), dry_run=True)

    def label(self, namespace: str, text: str) -> None:
        self.kubectl("label", "--overwrite", "namespace", namespace, text)

    def await_code(self, namespace: str, code: int, what: str) -> None:
        """Wait until every replica has noticed: connections of the API server lead to one of them."""
        until(lambda: {self._asked(pod, namespace) for pod in self.release.pods()} == {code == 201}, what)
        assert self.create(namespace).code == code

    def _asked(self, replica: dict[str, object], namespace: str) -> bool:
        return bool(self.release.asked(replica, namespace, FAILING)["allowed"])

    def measured(self, metric: str, **labels: str) -> list[float]:
        """Return the sum of a metric for each replica."""
        return [
            sum(sample.value for sample in samples if labels.items() <= sample.labels.items())
            for samples in self.release.metrics(metric)
        ]


@pytest.fixture(scope="module")
def labeled(release: Release, kubectl: Kubectl, namespaces: Namespaces) -> Iterator[Labeled]:
    namespaces("labeled-first", **{ENV: "prod"})
    with installed(release, VALUES):
        until(release.ready, "both replicas are ready", 180)
        release.await_judging("labeled-first")
        yield Labeled(release, kubectl)


def test_the_namespaces_are_listed_by_every_replica(labeled: Labeled, namespaces: Namespaces) -> None:
    until(lambda: labeled.measured("anchore_admission_namespaces_synced") == [1, 1], "every replica has listed them")
    existing = len(labeled.release.api.get("/api/v1/namespaces")["items"])
    assert set(labeled.measured("anchore_admission_namespaces")) == {existing}
    assert labeled.measured("anchore_admission_namespace_errors_total") == [0, 0]


def test_a_relabeled_namespace_falls_under_the_other_rule(labeled: Labeled, namespaces: Namespaces) -> None:
    namespace = namespaces("relabeled", **{ENV: "test"})
    assert labeled.create(namespace).code == 201

    labeled.label(namespace, f"{ENV}=prod")
    labeled.await_code(namespace, 403, "it is judged as prod")
    labeled.label(namespace, f"{ENV}-")
    labeled.await_code(namespace, 201, "it is not prod any more")


def test_a_new_namespace_is_judged_by_its_labels_at_once(labeled: Labeled, kubectl: Kubectl) -> None:
    """No replica may take a namespace that it has not heard of yet for one without the label."""
    for number in range(10):
        name = f"fresh-{number}"
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {ENV: "prod"}}}
        kubectl("create", "-f", "-", stdin=json.dumps(manifest))
        try:
            answers = [labeled.release.asked(pod, name, FAILING) for pod in labeled.release.pods()]
        finally:
            kubectl("delete", "namespace", name, "--wait=false")
        assert [answer["allowed"] for answer in answers] == [False, False]
        assert not [answer for answer in answers if _UNKNOWN in answer["status"]["message"]]


def test_a_recreated_namespace_has_its_new_labels(labeled: Labeled, namespaces: Namespaces, kubectl: Kubectl) -> None:
    namespace = namespaces("recreated", **{ENV: "test"})
    labeled.await_code(namespace, 201, "it is a test")

    kubectl("delete", "namespace", namespace, "--wait=true")
    namespaces(namespace, **{ENV: "prod"})

    labeled.await_code(namespace, 403, "it is judged as prod")


def test_a_namespace_that_does_not_exist_is_no_verdict(labeled: Labeled) -> None:
    answers = [labeled.release.asked(pod, "labeled-nowhere", PASSING) for pod in labeled.release.pods()]
    assert [answer["allowed"] for answer in answers] == [False, False]
    assert all(f"{_UNKNOWN} labeled-nowhere are not known" in answer["status"]["message"] for answer in answers)


def test_a_label_chooses_the_policy_among_the_allowed_ones(labeled: Labeled, namespaces: Namespaces) -> None:
    chosen = namespaces("policy-chosen", **{POLICY: "no-nginx"})
    mistyped = namespaces("policy-mistyped", **{POLICY: "no-ngnix"})
    denied = labeled.create(chosen)
    assert (denied.code, "no-nginx" in denied.message) == (403, True)
    unlisted = labeled.create(mistyped, PASSING)
    assert (unlisted.code, "expected one of no-nginx" in unlisted.message) == (403, True)


def test_a_restarted_api_server_is_listed_again(labeled: Labeled, namespaces: Namespaces, cluster: Cluster) -> None:
    """It has forgotten the versions that the watches would continue from, and answers 410."""
    namespace = namespaces("restarted", **{ENV: "test"})
    labeled.await_code(namespace, 201, "it is a test")
    before = labeled.measured("anchore_admission_namespace_lists_total")

    server = cluster.control_plane.api_server
    server.stop(signal.SIGKILL)
    server.start()
    until(lambda: server.require() and labeled.release.api.text("/readyz") == "ok", "the API server is back")

    def listed_again() -> bool:
        after = labeled.measured("anchore_admission_namespace_lists_total")
        return all(now > then for now, then in zip(after, before, strict=True))

    until(listed_again, "every replica has listed the namespaces again", 120)
    labeled.label(namespace, f"{ENV}=prod")
    labeled.await_code(namespace, 403, "it is judged as prod")


def test_without_the_right_known_labels_stay_in_use(labeled: Labeled, namespaces: Namespaces) -> None:
    """The right is taken away and given back; a restarted replica reports it, and gives no verdict meanwhile."""
    known = namespaces("right-taken", **{ENV: "prod"})
    labeled.await_code(known, 403, "it is judged as prod")
    role = labeled.release.api.get(f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{NAME}")
    position = next(n for n, rule in enumerate(role["rules"]) if rule["resources"] == ["namespaces"])
    removed = json.dumps([{"op": "remove", "path": f"/rules/{position}"}])
    added = json.dumps([{"op": "add", "path": "/rules/-", "value": role["rules"][position]}])

    labeled.kubectl("patch", "clusterrole", NAME, "--type=json", "-p", removed)
    try:
        assert labeled.create(known).code == 403
        labeled.kubectl("rollout", "restart", "-n", NAME, f"deployment/{NAME}")
        labeled.kubectl("rollout", "status", "-n", NAME, f"deployment/{NAME}", "--timeout=180s")
        until(labeled.release.ready, "the old replicas have gone", 180)
        until(lambda: min(labeled.measured("anchore_admission_namespace_errors_total", code="forbidden")) > 0, "403")
        answer = labeled.release.asked(labeled.release.pods()[0], known, PASSING)
        assert (answer["allowed"], _UNKNOWN in answer["status"]["message"]) == (False, True)
    finally:
        labeled.kubectl("patch", "clusterrole", NAME, "--type=json", "-p", added)

    until(lambda: labeled.measured("anchore_admission_namespaces_synced") == [1, 1], "they are listed", 120)
    answer = labeled.release.asked(labeled.release.pods()[0], known, PASSING)
    assert answer["allowed"]
