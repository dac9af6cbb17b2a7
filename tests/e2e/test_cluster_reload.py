"""Changes of the configuration while API servers call: the replicas reload it, and a bad one changes nothing."""

from collections.abc import Iterator

import pytest

from e2e.cluster.cluster import Cluster
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.load import Load, steady
from e2e.processes import ANCHORE, sandbox
from e2e.release import NAME, Release, installed
from e2e.things import FAILING, Json

pytestmark = pytest.mark.cluster

STRICT = {
    "anchore": {"endpoint": ANCHORE, "username": "admin", "password": "foobar"},
    "enableStrictGating": True,
}
"""The sandbox stands outside, so that an upgrade does not touch it."""
LOADED, CHANGED = "loaded", "changed"
RELAXED = {**STRICT, "config": {"rules": [{"name": "relaxed", "match": {"namespaces": [CHANGED]}, "mode": "skip"}]}}
BROKEN = {**STRICT, "config": {"rules": [{"name": "odd", "match": {"images": ["regex:("]}, "mode": "skip"}]}}
"""A configuration that Helm accepts and the controller rejects."""
FIELD = "rules[0].match.images[0]"
CONFIGMAP = f"/api/v1/namespaces/{NAME}/configmaps/{NAME}"


@pytest.fixture(scope="module")
def serving(cluster: Cluster, release: Release, namespaces: Namespaces) -> Iterator[Release]:
    namespaces(LOADED)
    namespaces(CHANGED)
    with sandbox(), installed(release, STRICT) as running:
        running.await_judging(LOADED)
        yield running


@pytest.fixture
def load(serving: Release) -> Iterator[Load]:
    """Begins with a whole release, and must end without a complaint."""
    serving.install(STRICT)
    until(serving.ready, "every replica is ready")
    follow(serving, allowed=False)
    with steady(LOADED) as load:
        yield load
        load.more()
        assert (load.failed, load.wrong, load.missed()) == ([], [], {})


def replicas(serving: Release) -> dict[str, int]:
    """Return the restarts of each replica."""
    assert serving.ready()
    return serving.restarts()


def follow(serving: Release, *, allowed: bool) -> None:
    """Wait until every replica judges the failing image by the wanted rule."""

    def judge() -> bool:
        serving.nudge()
        return [serving.asked(pod, CHANGED, FAILING)["allowed"] for pod in serving.pods()] == [allowed] * 2

    until(judge, "every replica follows the new rules", 240, every=2)


def invalid(serving: Release) -> list[float]:
    """Return for each replica whether its configuration file is invalid."""
    return [
        sample.value
        for samples in serving.metrics("anchore_admission_unusable")
        for sample in samples
        if sample.labels["what"] == "configuration"
    ]


@pytest.mark.usefixtures("load")
def test_a_changed_rule_takes_effect_under_load_without_a_new_replica(serving: Release) -> None:
    before = replicas(serving)

    serving.install(RELAXED)
    follow(serving, allowed=True)
    serving.install(STRICT)
    follow(serving, allowed=False)

    assert replicas(serving) == before


@pytest.mark.usefixtures("load")
def test_an_upgrade_with_an_invalid_configuration_fails_and_changes_nothing(serving: Release, kubectl: Kubectl) -> None:
    before, file = replicas(serving), serving.api.get(CONFIGMAP)["data"]

    with pytest.raises(RuntimeError, match=f"{NAME}-validation") as caught:
        serving.install(BROKEN)

    assert FIELD in str(caught.value)
    assert FIELD in kubectl("logs", "-n", NAME, f"job/{NAME}-validation")
    assert serving.api.get(CONFIGMAP)["data"] == file
    assert replicas(serving) == before
    serving.install(STRICT)
    left = serving.api.get(f"/apis/batch/v1/namespaces/{NAME}/jobs")["items"]
    assert left == [], "a Job that succeeds is deleted"
    assert replicas(serving) == before


@pytest.mark.usefixtures("load")
def test_replicas_keep_the_last_valid_configuration(serving: Release) -> None:
    before, file = replicas(serving), serving.api.get(CONFIGMAP)["data"]

    _write(serving, {"configuration.yaml": "rules: [{name: odd, mode: strikt}]"})
    until(lambda: serving.nudge() and invalid(serving) == [1.0, 1.0], "every replica has noticed", 240, every=2)
    follow(serving, allowed=False)
    _write(serving, file)
    until(lambda: serving.nudge() and invalid(serving) == [0.0, 0.0], "every replica is content again", 240, every=2)

    assert replicas(serving) == before


def _write(serving: Release, data: Json) -> None:
    """Edit the ConfigMap by hand, in the name of Helm, which would not overwrite the fields of others."""
    patch, media_type = {"data": data}, "application/merge-patch+json"
    answer = serving.api.call("PATCH", f"{CONFIGMAP}?fieldManager=helm", patch, content_type=media_type)
    assert answer.allowed, answer.message
