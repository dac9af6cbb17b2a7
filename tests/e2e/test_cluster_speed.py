"""How long reviews hold up the creation of Pods; E2E_MEASURE=on prints it, beside that everything is admitted."""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from e2e import at_once, calls
from e2e.bare import bare_webhook
from e2e.cluster.api import Api
from e2e.cluster.cluster import Cluster
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.figures import show
from e2e.processes import ANCHORE, sandbox
from e2e.release import REGISTRATIONS, WEBHOOK, Release, installed
from e2e.things import PASSING, Json, thing

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.environ.get("E2E_MEASURE", "off") == "off", reason="`make e2e-measure` runs this"),
]

JUDGED, BARE, SPARED = "speed-judged", "speed-bare", "speed-spared"
KINDS: Final = {JUDGED: "reviewed", BARE: "with a bare webhook", SPARED: "not reviewed"}
ONE_BY_ONE: Final = 300
AT_ONCE: Final = 200
ROUNDS: Final = 7
STRICT: Final[Json] = {
    "anchore": {"endpoint": ANCHORE, "username": "admin", "password": "foobar"},
    "enableStrictGating": True,
    "webhook": {"excludedNamespaces": [BARE, SPARED]},
}
SLOW: Final = {"mode": "slow", "delay": 0.05}
"""The time that Anchore takes for each response."""
PORT: Final = 8463
TICKS: Final = os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module")
def names(cluster: Cluster, namespaces: Namespaces) -> None:
    for name in KINDS:
        namespaces(name)


@pytest.fixture(scope="module")
def serving(names: None, release: Release) -> Iterator[Release]:
    """Replicas that know the image."""
    with sandbox() as anchore, installed(release, STRICT) as running:
        anchore.put("/sandbox/faults", json=[SLOW]).raise_for_status()
        until(running.ready, "every replica is ready", 180)
        running.await_judging(JUDGED)
        for replica in running.pods():
            assert running.asked(replica, JUDGED, PASSING)["allowed"]
        yield running


@pytest.fixture(scope="module")
def bare(serving: Release, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A webhook that admits everything, for a namespace of its own: what no review can be cheaper than."""
    with bare_webhook(tmp_path_factory.mktemp("bare"), PORT) as (daemon, called):
        webhook = {
            **serving.registration(),
            "name": "bare.admission.anchore.io",
            "clientConfig": called,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": BARE}},
        }
        made = api.call("POST", REGISTRATIONS, {"metadata": {"name": "bare"}, "webhooks": [webhook]})
        assert made.allowed, made.message
        try:
            until(lambda: daemon.require() and is_called(api, webhook["name"]), "it is called")
            yield
        finally:
            api.call("DELETE", f"{REGISTRATIONS}/bare")


def is_called(api: Api, webhook: str) -> bool:
    """Create a Pod where a webhook should be called, and return whether it was."""
    before = calls.answered(api, webhook, "200")
    api.create(BARE, thing("Pod", PASSING), dry_run=True)
    return calls.answered(api, webhook, "200") > before


def pod(name: str) -> Json:
    """A Pod that no scheduler looks at."""
    return thing("Pod", PASSING, name=name, schedulerName="nobody")


@pytest.mark.usefixtures("bare")
def test_pods_one_by_one(serving: Release, api: Api) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in KINDS}
    codes = set()
    for number in range(ONE_BY_ONE):
        for namespace, found in seconds.items():
            began = time.perf_counter()
            answer = api.create(namespace, pod(f"single-{number}"))
            found.append(time.perf_counter() - began)
            codes.add(answer.code)
    assert codes == {201}

    middle = {name: statistics.median(found) * 1000 for name, found in seconds.items()}
    late = {name: statistics.quantiles(found, n=20)[-1] * 1000 for name, found in seconds.items()}
    added = middle[JUDGED] - middle[SPARED]
    report(f"{ONE_BY_ONE} Pods one by one: a warm verdict adds {added:.2f} ms", middle, "ms")
    report("their 95th percentiles", late, "ms")


@pytest.mark.usefixtures("bare")
def test_pods_at_once(serving: Release, cluster: Cluster) -> None:
    def create(namespace: str, turn: int) -> float:
        crowd = at_once.create(namespace, [pod(f"crowd-{turn}-{number}") for number in range(AT_ONCE)])
        assert crowd.refused == []
        return crowd.seconds

    compare(serving, cluster, f"{AT_ONCE} Pods at once, by a client", create)


@pytest.mark.usefixtures("bare")
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
    """Create Pods of each kind in turn, after a first round that does not count."""
    failed, processes = calls.failed(serving.api, WEBHOOK), serving.processes(cluster)
    for namespace in KINDS:
        create(namespace, 0)
    before = used(processes)
    seconds: dict[str, list[float]] = {name: [] for name in KINDS}
    for turn in range(1, ROUNDS + 1):
        for namespace, found in seconds.items():
            found.append(create(namespace, turn))
    each = (used(processes) - before) / (ROUNDS * AT_ONCE)
    assert calls.more(failed, calls.failed(serving.api, WEBHOOK)) == {}

    report(
        f"{what}, the median of {ROUNDS} rounds", {name: statistics.median(found) for name, found in seconds.items()}
    )
    report("the fastest round", {name: min(found) for name, found in seconds.items()})
    show(f"{1000 * each:.2f} ms of the replicas' CPU for each Pod")


def used(processes: Sequence[int]) -> float:
    """Return the seconds of CPU that they have used."""
    fields = [Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split() for process in processes]
    return sum(int(user) + int(system) for *_, user, system in (found[:13] for found in fields)) / TICKS


def report(what: str, figures: Mapping[str, float], unit: str = "s") -> None:
    said = [
        f"{KINDS[name]} {figure:.2f} {unit} ({figure / figures[SPARED]:.2f} times)" for name, figure in figures.items()
    ]
    show(f"{what}: {', '.join(said)}")
