"""How long pinning holds up the creation of Pods when the facts are known; E2E_MEASURE=on prints it."""

import os
import statistics
import time
from collections.abc import Iterator
from typing import Final

import pytest

from e2e.bare import bare_webhook
from e2e.cluster.registry import Pushed, Registry
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.figures import show
from e2e.pins import BEST_EFFORT, OFF, PIN, REGISTRATIONS, REQUIRED, Pinning, pinning, waiting
from e2e.release import Release
from e2e.things import Json, images_of

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.environ.get("E2E_MEASURE", "off") == "off", reason="`make e2e-measure` runs this"),
]

FLOOR: Final = "pin-floor"
KINDS: Final = {
    REQUIRED: "pinned",
    OFF: "called, with nothing to pin",
    FLOOR: "patched by a bare webhook",
    BEST_EFFORT: "without a mutating webhook",
}
PORT: Final = 8483
ONE_BY_ONE: Final = 300
REFRESH: Final = "10m"


@pytest.fixture(scope="module")
def pinned(
    release: Release, registry: Registry, namespaces: Namespaces, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pinning]:
    """Every replica judges in each of the namespaces, and the mutating webhook is called in two of them."""
    namespaces(FLOOR, **{PIN: "bestEffort"})
    folder = tmp_path_factory.mktemp("pinning")
    with pinning(release, registry, namespaces, folder, REFRESH) as pinned, pinned.unregistered() as webhook:
        measured = {**webhook, **only_in(REQUIRED, OFF)}
        with pinned.other("measured", measured):
            yield pinned


@pytest.fixture(scope="module")
def app(pinned: Pinning, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushed]:
    """An image to which a webhook that knows nothing else pins every Pod of a namespace: no pinning can be cheaper."""
    app = pinned.publish("team/measured:1")
    operation = {"op": "replace", "path": "/spec/containers/0/image", "value": app.pinned}
    webhook = pinned.api.get(f"{REGISTRATIONS}/measured")["webhooks"][0]
    with bare_webhook(tmp_path_factory.mktemp("floor"), PORT, operation) as (daemon, called):
        floor = {**webhook, "name": "floor.e2e.example", "clientConfig": called, **only_in(FLOOR)}
        with pinned.other("floor", floor):
            assert daemon.require()
            yield app


def only_in(*namespaces: str) -> Json:
    names = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": namespaces}
    return {"namespaceSelector": {"matchExpressions": [names]}}


def test_pods_one_by_one(pinned: Pinning, app: Pushed) -> None:
    wanted = {REQUIRED: app.pinned, OFF: app.tag, FLOOR: app.pinned, BEST_EFFORT: app.tag}
    for namespace in KINDS:
        pinned.await_image(namespace, app.tag, app.tag if namespace == OFF else app.pinned)
    until(lambda: {here: pinned.probe(here, app.tag) for here in KINDS} == wanted, "Pods are as they should be")
    seconds: dict[str, list[float]] = {name: [] for name in KINDS}
    images: dict[str, set[str]] = {name: set() for name in KINDS}
    for number in range(ONE_BY_ONE):
        for namespace, found in seconds.items():
            pod = waiting(app.tag, f"single-{number}")
            began = time.perf_counter()
            answer = pinned.api.create(namespace, pod)
            found.append(time.perf_counter() - began)
            images[namespace].update(images_of(answer.body))
    assert images == {namespace: {image} for namespace, image in wanted.items()}

    middle = {name: statistics.median(found) * 1000 for name, found in seconds.items()}
    parts = {name: statistics.quantiles(found, n=20) for name, found in seconds.items()}
    added, least = (middle[name] - middle[BEST_EFFORT] for name in (REQUIRED, FLOOR))
    show(f"{ONE_BY_ONE} Pods one by one: pinning adds {added:.2f} ms, a bare webhook that patches {least:.2f} ms")
    for name, figure in middle.items():
        early, late = parts[name][1] * 1000, parts[name][-1] * 1000
        show(f"{KINDS[name]}: {figure:.2f} ms, 10th percentile {early:.2f} ms, 95th {late:.2f} ms")
