"""Two replicas and a shared store: Anchore is asked once, a new replica knows, and reviews go on without the store."""

from collections.abc import Callable, Iterator
from typing import Final

import httpx
import pytest

from e2e.cluster.cluster import Cluster
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.load import steady
from e2e.processes import ANCHORE, asked, sandbox
from e2e.release import NAME, Release, installed
from e2e.store import VALUES, Store, shared
from e2e.things import Json

pytestmark = pytest.mark.cluster

HERE: Final = "sharing"
STRICT: Final[Json] = {
    "anchore": {"endpoint": ANCHORE, "username": "admin", "password": "foobar"},
    "enableStrictGating": True,
    **VALUES,
}
LOSSES: Final[dict[str, Callable[[Store], None]]] = {"killed": Store.kill, "frozen": Store.freeze}


@pytest.fixture(scope="module")
def anchore() -> Iterator[httpx.Client]:
    with sandbox() as anchore:
        yield anchore


@pytest.fixture(scope="module")
def store(cluster: Cluster, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with shared(tmp_path_factory.mktemp("store"), kubectl) as store:
        yield store


@pytest.fixture(scope="module")
def serving(anchore: httpx.Client, store: Store, release: Release, namespaces: Namespaces) -> Iterator[Release]:
    namespaces(HERE)
    with installed(release, STRICT) as running:
        until(running.ready, "every replica is ready", 180)
        running.await_judging(HERE)
        yield running


def analyzed(anchore: httpx.Client, name: str) -> str:
    """Return an image that passes, and that no replica has been asked about."""
    tag = f"registry.example.com/team/{name}:1"
    anchore.post("/v1/images", json={"tag": tag}).raise_for_status()
    found = {"fulltag": tag}
    until(lambda: anchore.get("/v1/images", params=found).json()[0]["analysis_status"] == "analyzed", f"{tag} is ready")
    return tag


def lookups(serving: Release, replica: Json, outcome: str) -> float:
    samples = serving.metrics_of(replica, "anchore_admission_store_lookups_total")
    return sum(sample.value for sample in samples if sample.labels["outcome"] == outcome)


def stored(serving: Release) -> float:
    """Return how many answers the replicas have put into the store."""
    samples = (sample for found in serving.metrics("anchore_admission_store_puts_total") for sample in found)
    return sum(sample.value for sample in samples if sample.labels["outcome"] == "stored")


def admitted(serving: Release, replica: Json, image: str) -> None:
    response = serving.asked(replica, HERE, image)
    assert response["allowed"], response


def test_what_one_replica_asked_the_other_knows(serving: Release, anchore: httpx.Client) -> None:
    image = analyzed(anchore, "asked-once")
    first, second = serving.pods()
    before, checked = stored(serving), asked("/check?")
    admitted(serving, first, image)
    assert asked("/check?") == checked + 1
    until(lambda: stored(serving) >= before + 2, "record and result are stored")
    known = lookups(serving, second, "hit")

    admitted(serving, second, image)

    assert asked("/check?") == checked + 1
    assert lookups(serving, second, "hit") >= known + 2


def test_a_new_replica_starts_warm(serving: Release, anchore: httpx.Client, kubectl: Kubectl) -> None:
    image = analyzed(anchore, "outlives")
    before = stored(serving)
    admitted(serving, serving.pods()[0], image)
    until(lambda: stored(serving) >= before + 2, "record and result are stored")
    old = {pod["metadata"]["uid"] for pod in serving.pods()}
    kubectl("rollout", "restart", "-n", NAME, f"deployment/{NAME}")
    kubectl("rollout", "status", "-n", NAME, f"deployment/{NAME}", "--timeout=240s")
    until(lambda: serving.ready() and not old & {pod["metadata"]["uid"] for pod in serving.pods()}, "all are new", 180)
    checked = asked("/check?")

    for replica in serving.pods():
        admitted(serving, replica, image)
        assert lookups(serving, replica, "hit") >= 2

    assert asked("/check?") == checked


@pytest.mark.parametrize("loss", LOSSES)
def test_reviews_go_on_without_the_store_and_use_it_again(
    serving: Release, anchore: httpx.Client, store: Store, loss: str
) -> None:
    until(serving.ready, "every replica is ready")
    image, later = analyzed(anchore, f"never-shared-{loss}"), analyzed(anchore, f"shared-again-{loss}")
    restarts = serving.restarts()
    first, second = serving.pods()

    with steady(HERE) as load:
        LOSSES[loss](store)
        try:
            for replica in (first, second):
                admitted(serving, replica, image)
            load.more(200)
        finally:
            store.kill()
            store.start()
        load.more()

    assert (load.failed, load.wrong, load.missed()) == ([], [], {})
    assert serving.restarts() == restarts
    assert serving.ready()
    known = lookups(serving, second, "hit")
    until(lambda: shares(serving, first, second, later, known), "the store is used again")


def shares(serving: Release, first: Json, second: Json, image: str, known: float) -> bool:
    """Return whether the second replica has found in the store what the first one put there."""
    admitted(serving, first, image)
    admitted(serving, second, image)
    return lookups(serving, second, "hit") > known
