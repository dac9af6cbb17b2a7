"""When no replica answers, when the machines restart, when much is asked at once."""

from collections.abc import Iterator

import pytest

from e2e.cluster.cluster import Cluster
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.release import NAME, WEBHOOK, Release, installed
from e2e.things import FAILING, PASSING, PENDING, thing

pytestmark = pytest.mark.cluster

STRICT = {"sandbox": {"enabled": True}, "enableStrictGating": True}
HERE = "outage"
HUNDRED = 100


@pytest.fixture(scope="module")
def serving(release: Release, namespaces: Namespaces) -> Iterator[Release]:
    namespaces(HERE)
    with installed(release, STRICT) as running:
        running.await_judging(HERE)
        yield running


@pytest.fixture
def nobody(serving: Release, kubectl: Kubectl) -> Iterator[None]:
    """No replica runs."""
    kubectl("scale", "-n", NAME, f"deployment/{NAME}", "--replicas=0")
    until(lambda: not _pods(serving), "every replica has gone", 180)
    yield
    kubectl("scale", "-n", NAME, f"deployment/{NAME}", "--replicas=2")
    until(serving.ready, "every replica is back", 180)
    serving.await_judging(HERE)


def _pods(serving: Release) -> list[object]:
    """Also those that are being deleted."""
    found = serving.api.get(f"/api/v1/namespaces/{NAME}/pods?labelSelector=app.kubernetes.io/component=webhook")
    return list(found["items"])


def test_fail_refuses_new_images_and_nothing_else(
    serving: Release, kubectl: Kubectl, request: pytest.FixtureRequest
) -> None:
    assert serving.create(HERE, thing("Deployment", PASSING, name="before", replicas=0)).code == 201
    request.getfixturevalue("nobody")

    refused = serving.create(HERE, thing("Pod", PASSING))
    assert refused.code == 500
    assert f'failed calling webhook "{WEBHOOK}"' in refused.message
    image = kubectl.run("kubectl", "set", "image", "-n", HERE, "deployment/before", "c1=redis:7")
    assert image.returncode != 0

    kubectl("label", "-n", HERE, "deployment/before", "touched=yes")
    kubectl("scale", "-n", HERE, "deployment/before", "--replicas=1")
    kubectl("delete", "-n", HERE, "deployment/before")
    assert serving.create("kube-system", thing("Pod", PASSING), dry_run=True).code == 201
    assert serving.create(NAME, thing("Pod", PASSING), dry_run=True).code == 201


def test_ignore_lets_everything_through(serving: Release, request: pytest.FixtureRequest) -> None:
    serving.install({**STRICT, "webhook": {"failurePolicy": "Ignore"}})
    until(lambda: serving.registration()["failurePolicy"] == "Ignore", "the registration says so")
    until(serving.ready, "every replica is ready", 180)
    request.getfixturevalue("nobody")

    admitted = serving.create(HERE, thing("Pod", FAILING), dry_run=True)

    assert admitted.code == 201, admitted.message


def test_a_hundred_replicas_are_admitted_at_once(serving: Release, kubectl: Kubectl) -> None:
    _strict(serving)
    made = serving.create(HERE, thing("Deployment", PASSING, name="hundred", replicas=HUNDRED))
    assert made.code == 201, made.message

    def count() -> bool:
        return len(serving.api.get(f"/api/v1/namespaces/{HERE}/pods?labelSelector=app=hundred")["items"]) == HUNDRED

    until(count, "every Pod is there")
    status = serving.api.get(f"/apis/apps/v1/namespaces/{HERE}/deployments/hundred")["status"]
    assert "ReplicaFailure" not in {found["type"] for found in status["conditions"]}
    kubectl("delete", "-n", HERE, "deployment/hundred", "--cascade=foreground", "--timeout=120s")


def test_a_hundred_replicas_that_are_refused_make_no_pod(serving: Release, kubectl: Kubectl) -> None:
    _strict(serving)
    made = serving.create(HERE, thing("Deployment", PENDING, name="refused", replicas=HUNDRED))
    assert made.code == 201, made.message

    def told() -> bool:
        status = serving.api.get(f"/apis/apps/v1/namespaces/{HERE}/deployments/refused")["status"]
        return "ReplicaFailure" in {found["type"] for found in status.get("conditions", ())}

    until(told, "the Deployment says that its Pods are refused")
    assert serving.api.get(f"/api/v1/namespaces/{HERE}/pods?labelSelector=app=refused")["items"] == []
    kubectl("delete", "-n", HERE, "deployment/refused", "--cascade=foreground", "--timeout=120s")


def test_the_controller_comes_back_with_its_nodes(serving: Release, cluster: Cluster) -> None:
    """While Fail is on: what it needs to start must not wait for it."""
    _strict(serving)
    before = serving.restarts()
    cluster.crash()
    assert serving.create(HERE, thing("Pod", PASSING), dry_run=True).code == 500

    for node in cluster.nodes:
        node.start()
    for node in cluster.nodes:
        cluster.await_node(node)

    until(lambda: all(count > before.get(uid, -1) for uid, count in serving.restarts().items()), "new ones", 240)
    until(serving.ready, "every replica is back", 240)
    serving.await_judging(HERE)
    until(lambda: serving.create(HERE, thing("Pod", PASSING), dry_run=True).code == 201, "what passes is admitted")


def _strict(serving: Release) -> None:
    serving.install(STRICT)
    until(lambda: serving.registration()["failurePolicy"] == "Fail", "the registration says so")
    until(serving.ready, "every replica is ready", 180)
    serving.await_judging(HERE)
