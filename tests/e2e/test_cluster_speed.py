"""How long reviews hold up the creation of Pods; E2E_MEASURE=on prints it, beside that everything is admitted."""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from e2e import at_once, calls
from e2e.cluster.api import Api
from e2e.cluster.cluster import Cluster
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.processes import ANCHORE, sandbox
from e2e.release import WEBHOOK, Release, installed
from e2e.things import PASSING, Json, thing

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.environ.get("E2E_MEASURE", "off") == "off", reason="`make e2e-measure` runs this"),
]

JUDGED, SPARED = "speed-judged", "speed-spared"
ONE_BY_ONE: Final = 300
AT_ONCE: Final = 200
ROUNDS: Final = 7
STRICT: Final[Json] = {
    "anchore": {"endpoint": ANCHORE, "username": "admin", "password": "foobar"},
    "enableStrictGating": True,
    "webhook": {"excludedNamespaces": [SPARED]},
}
TICKS: Final = os.sysconf("SC_CLK_TCK")
SLOW: Final = {"mode": "slow", "delay": 0.05}
"""The time that Anchore takes for each response."""


@pytest.fixture(scope="module")
def serving(cluster: Cluster, release: Release, namespaces: Namespaces) -> Iterator[Release]:
    """Replicas that know the image."""
    for name in (JUDGED, SPARED):
        namespaces(name)
    with sandbox() as anchore, installed(release, STRICT) as running:
        anchore.put("/sandbox/faults", json=[SLOW]).raise_for_status()
        until(running.ready, "every replica is ready", 180)
        running.await_judging(JUDGED)
        for replica in running.pods():
            assert running.asked(replica, JUDGED, PASSING)["allowed"]
        yield running


def pod(name: str) -> Json:
    """A Pod that no scheduler looks at."""
    return thing("Pod", PASSING, name=name, schedulerName="nobody")


def test_pods_one_by_one(serving: Release, api: Api) -> None:
    seconds: dict[str, list[float]] = {JUDGED: [], SPARED: []}
    codes = set()
    for number in range(ONE_BY_ONE):
        for namespace, found in seconds.items():
            began = time.perf_counter()
            answer = api.create(namespace, pod(f"single-{number}"))
            found.append(time.perf_counter() - began)
            codes.add(answer.code)
    assert codes == {201}

    judged, spared = (median(found) * 1000 for found in seconds.values())
    late_judged, late_spared = (statistics.quantiles(found, n=20)[-1] * 1000 for found in seconds.values())
    report(
        f"{ONE_BY_ONE} Pods one by one: a warm verdict adds {judged - spared:.2f} ms; reviewed {judged:.2f} ms, not "
        f"reviewed {spared:.2f} ms (95th percentiles {late_judged:.2f} and {late_spared:.2f} ms)"
    )


def test_pods_at_once(serving: Release, api: Api, cluster: Cluster) -> None:
    def create(namespace: str, turn: int) -> float:
        crowd = at_once.create(namespace, [pod(f"crowd-{turn}-{number}") for number in range(AT_ONCE)])
        assert crowd.refused == []
        return crowd.seconds

    compare(serving, cluster, f"{AT_ONCE} Pods at once, by a client", create)


def test_a_replica_set(serving: Release, api: Api, cluster: Cluster) -> None:
    def create(namespace: str, turn: int) -> float:
        name = f"set-{turn}"
        made = thing("ReplicaSet", PASSING, name=name, replicas=AT_ONCE, schedulerName="nobody")
        path = f"/apis/apps/v1/namespaces/{namespace}/replicasets/{name}"
        began = time.perf_counter()
        assert api.create(namespace, made).code == 201
        until(lambda: api.get(path)["status"].get("replicas") == AT_ONCE, f"{AT_ONCE} Pods are there", every=0.005)
        return time.perf_counter() - began

    compare(serving, cluster, f"a ReplicaSet of {AT_ONCE} Pods", create)


def compare(serving: Release, cluster: Cluster, what: str, create: Callable[[str, int], float]) -> None:
    """Create with and without reviews in turn, after a first round that does not count."""
    failed, processes = calls.failed(serving.api, WEBHOOK), serving.processes(cluster)
    for namespace in (JUDGED, SPARED):
        create(namespace, 0)
    before = used(processes)
    pairs = [(create(JUDGED, turn), create(SPARED, turn)) for turn in range(1, ROUNDS + 1)]
    each = (used(processes) - before) / (ROUNDS * AT_ONCE)
    assert calls.more(failed, calls.failed(serving.api, WEBHOOK)) == {}

    judged, spared = (median(found) for found in zip(*pairs, strict=True))
    ratios = [one / other for one, other in pairs]
    report(
        f"{what}: reviewed {judged:.2f} s, not reviewed {spared:.2f} s, {judged / spared:.2f} times "
        f"({min(ratios):.2f} to {max(ratios):.2f} in {ROUNDS} rounds); "
        f"{1000 * each:.2f} ms of the replicas' CPU for each Pod"
    )


def used(processes: Sequence[int]) -> float:
    """Return the seconds of CPU that they have used."""
    fields = [Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split() for process in processes]
    return sum(int(user) + int(system) for *_, user, system in (found[:13] for found in fields)) / TICKS


def median(found: Sequence[float]) -> float:
    return statistics.median(found)


def report(text: str) -> None:
    """Print a figure with the load of the machine, without which it says little."""
    print(f"\n{text}; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")  # noqa: T201 - what was asked for
