"""Two releases side by side: both judge, neither keeps the other from starting, and one goes without the other."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import pytest

from e2e.cluster.api import Api
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.release import NAME, WEBHOOK, Release, installed
from e2e.things import FAILING, PASSING, Json, thing

pytestmark = pytest.mark.cluster

STRICT: Final = {"sandbox": {"enabled": True}, "enableStrictGating": True}
HERE: Final = "judged-twice"
OTHER: Final = "gate"
WEBHOOKS: Final = {WEBHOOK, f"{OTHER}.admission.anchore.io"}
PART_OF: Final = {"app.kubernetes.io/part-of": "anchore-admission"}
RIGHT: Final = {"group": "admission.anchore.io", "resource": "controllers", "verb": "start"}


@dataclass(frozen=True, slots=True)
class Both:
    first: Release
    second: Release

    @property
    def releases(self) -> tuple[Release, Release]:
        return self.first, self.second

    def scale(self, replicas: int) -> None:
        """The controllers and their sandboxes."""
        for release in self.releases:
            for name, count in ((release.name, replicas), (f"{release.name}-sandbox", min(replicas, 1))):
                release.kubectl("scale", "-n", release.name, f"deployment/{name}", f"--replicas={count}")

    def await_judging(self) -> None:
        """Wait until each release judges the namespace of the other."""
        self.first.await_judging(self.second.name)
        self.second.await_judging(self.first.name)


@pytest.fixture(scope="module")
def both(release: Release, kubectl: Kubectl, namespaces: Namespaces) -> Iterator[Both]:
    kubectl("create", "serviceaccount", "-n", namespaces(HERE), NAME)
    second = replace(release, name=OTHER)
    with installed(release, STRICT), installed(second, {**STRICT, "fullnameOverride": OTHER}):
        both = Both(release, second)
        until(lambda: all(found.ready() for found in both.releases), "every replica is ready", 180)
        both.await_judging()
        until(lambda: refusals(release) == WEBHOOKS, "both are asked about one Pod, and refuse it")
        yield both


@pytest.fixture
def no_replica(both: Both) -> Iterator[None]:
    """No Pod of either release is left."""
    both.scale(0)
    until(lambda: not any(left(release) for release in both.releases), "every Pod has gone", 180)
    yield
    both.scale(2)
    until(lambda: all(release.ready() for release in both.releases), "every replica is back", 240)
    both.await_judging()


def test_each_judges_the_namespace_of_the_other(both: Both) -> None:
    """Prove first that the releases judge each other, before the exceptions are tested."""
    for judged, webhook in ((both.second.name, WEBHOOK), (both.first.name, f"{OTHER}.admission.anchore.io")):
        refused = both.first.create(judged, thing("Pod", FAILING), dry_run=True)
        assert refused.message.startswith(f'admission webhook "{webhook}" denied the request'), refused.body


@pytest.mark.parametrize("kind", ["Pod", "Deployment"])
def test_the_label_alone_opens_nothing(both: Both, kind: str) -> None:
    """The name of a controller's account does not help either: it has the right in its own namespace only."""
    refused = both.first.create(HERE, marked(kind, FAILING), dry_run=True)

    assert refused.code == 403
    assert "failed policy checks" in refused.message


def test_both_down_they_do_not_lock_each_other_out(both: Both, request: pytest.FixtureRequest) -> None:
    assert {release.registration()["failurePolicy"] for release in both.releases} == {"Fail"}
    request.getfixturevalue("no_replica")
    for kind in ("Pod", "Deployment"):
        refused = both.first.create(HERE, marked(kind, PASSING), dry_run=True)
        assert refused.code == 500
        assert "failed calling webhook" in refused.message

    both.scale(2)

    until(lambda: all(release.ready() for release in both.releases), "every replica is back", 240)
    both.await_judging()
    until(lambda: refusals(both.first) == WEBHOOKS, "both judge again")
    until(lambda: both.first.create(HERE, thing("Pod", PASSING), dry_run=True).code == 201, "what passes is admitted")


def test_one_release_continues_without_the_other(both: Both) -> None:
    both.second.uninstall()
    until(lambda: both.second.pods() == [], "its Pods have gone", 180)

    until(lambda: refusals(both.first) == {WEBHOOK}, "the one that is left judges alone")
    assert both.first.create(HERE, thing("Pod", PASSING), dry_run=True).code == 201
    assert both.first.ready()
    assert [may_start(release) for release in both.releases] == [True, False]


def refusals(release: Release) -> set[str]:
    """Return the webhooks that deny one Pod; the API server calls all and reports the first response."""
    before = rejected(release.api)
    assert release.create(HERE, thing("Pod", FAILING), dry_run=True).code == 403
    after = rejected(release.api)
    return {name for name, count in after.items() if count > before.get(name, 0)}


def rejected(api: Api) -> dict[str, float]:
    counted = api.metrics("apiserver_admission_webhook_rejection_count")
    found: dict[str, float] = {}
    for sample in counted:
        found[sample.labels["name"]] = found.get(sample.labels["name"], 0) + sample.value
    return found


def left(release: Release) -> list[Json]:
    """Return the Pods of a release, including those that are being deleted."""
    found: list[Json] = release.api.get(f"/api/v1/namespaces/{release.name}/pods")["items"]
    return found


def marked(kind: str, image: str) -> Json:
    """Return an object with the labels and the service account name of a controller."""
    made = thing(kind, image, serviceAccountName=NAME)
    for part in (made, made["spec"].get("template", made)):
        part["metadata"]["labels"] |= PART_OF
    return made


def may_start(release: Release) -> bool:
    """Return whether its account has the right; ``kubectl auth can-i`` cannot check resources that no API serves."""
    account = f"system:serviceaccount:{release.name}:{release.name}"
    question = {"spec": {"user": account, "resourceAttributes": {**RIGHT, "namespace": release.name}}}
    asked = release.api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", question)
    return bool(asked.body["status"]["allowed"])
