"""Many Pods of one image at once, and an Anchore that takes a second for every response."""

from collections.abc import Iterator
from typing import Final

import pytest

from e2e import at_once, calls
from e2e.cluster.api import Api
from e2e.cluster.cluster import Cluster
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.processes import ANCHORE, asked, sandbox
from e2e.release import WEBHOOK, Release, installed
from e2e.things import PASSING, thing

pytestmark = pytest.mark.cluster

HERE: Final = "crowded"
PODS: Final = 300
MOST_CALLS: Final = 8
"""For each of two replicas: a look-up by both names of an official image, a check, a submission."""
STRICT: Final = {
    "anchore": {"endpoint": ANCHORE, "username": "admin", "password": "foobar"},
    "enableStrictGating": True,
}
SLOW: Final = {"mode": "slow", "delay": 1}


@pytest.fixture
def slow(cluster: Cluster, release: Release, namespaces: Namespaces) -> Iterator[Release]:
    """Replicas that know nothing about the image yet."""
    namespaces(HERE)
    with sandbox() as anchore, installed(release, STRICT) as running:
        until(running.ready, "every replica is ready", 180)
        running.await_judging(HERE)
        anchore.put("/sandbox/faults", json=[SLOW]).raise_for_status()
        yield running


def test_all_are_admitted_and_anchore_is_asked_a_few_times(slow: Release, api: Api) -> None:
    failed, before = calls.failed(api, WEBHOOK), asked("/images")

    crowd = at_once.create(HERE, [thing("Pod", PASSING, name=f"crowd-{number}") for number in range(PODS)])

    assert crowd.refused == []
    assert calls.more(failed, calls.failed(api, WEBHOOK)) == {}
    assert 0 < asked("/images") - before <= MOST_CALLS
    print(f"{PODS} Pods at once: admitted after {crowd.seconds:.1f} s with {asked('/images') - before} calls")  # noqa: T201 - a measure, shown by -s and on failure
