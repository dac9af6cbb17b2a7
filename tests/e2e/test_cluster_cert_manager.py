"""The chart with a real cert-manager: certificates are issued, trusted, renewed under load, and kept by an upgrade."""

from collections.abc import Iterator

import pytest

from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.issued import (
    CA,
    SERVING,
    content,
    in_use,
    is_issued,
    publisher,
    remove_secret,
    renew,
    secret,
)
from e2e.load import steady
from e2e.processes import ANCHORE, sandbox
from e2e.release import Release, installed
from e2e.things import FAILING, PASSING, Json, thing

pytestmark = pytest.mark.cluster

PUBLISHERS = {"controller": "anchore-admission", "chart": "cainjector"}
"""Field manager of the caBundle by ``webhook.registration``."""


def values(registration: str) -> Json:
    return {
        "anchore": {"endpoint": ANCHORE, "username": "admin", "password": "foobar"},
        "enableStrictGating": True,
        "certificates": {"mode": "certManager"},
        "webhook": {"registration": registration, "excludedNamespaces": ["cert-manager"]},
    }


@pytest.fixture(scope="module", params=PUBLISHERS)
def registration(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def serving(cert_manager: None, release: Release, namespaces: Namespaces, registration: str) -> Iterator[Release]:
    judged = namespaces(f"judged-{registration}")
    with sandbox(), installed(release, values(registration)) as running:
        running.await_judging(judged)
        yield running


def test_the_issued_certificate_is_served_and_trusted(serving: Release, registration: str) -> None:
    judged = f"judged-{registration}"
    assert is_issued(serving.api)
    assert content(serving.api).keys() == {"ca.crt", "tls.crt", "tls.key"}
    assert serving.presented() == {in_use(serving.api)}
    assert serving.registration()["clientConfig"]["caBundle"] == content(serving.api)["ca.crt"]
    assert publisher(serving.api) == PUBLISHERS[registration]

    refused = serving.create(judged, thing("Pod", FAILING, name="failing"))
    admitted = serving.create(judged, thing("Pod", PASSING, name="passing"))

    assert refused.code == 403
    assert "failed policy checks" in refused.message
    assert admitted.code == 201


def test_an_upgrade_keeps_the_issued_certificates(serving: Release, registration: str) -> None:
    before = {name: content(serving.api, name) for name in (SERVING, CA)}

    serving.install({**values(registration), "podAnnotations": {"e2e": "upgraded"}})
    until(serving.ready, "every replica is new", 180)

    assert {name: content(serving.api, name) for name in before} == before
    assert serving.registration()["clientConfig"]["caBundle"] == before[SERVING]["ca.crt"]
    assert serving.create(f"judged-{registration}", thing("Pod", FAILING), dry_run=True).code == 403


def test_renewing_the_ca_and_the_certificate_goes_unnoticed(serving: Release, registration: str) -> None:
    """Replicas see it when their mounts change."""
    until(serving.ready, "every replica is ready")
    before = starts(serving)
    ca = content(serving.api)["ca.crt"]

    with steady(f"judged-{registration}") as load:
        renew(serving.api, CA)
        renew(serving.api)
        until(lambda: serving.presented() == {in_use(serving.api)}, "every replica serves it", 240, every=1)
        load.more()

    assert (load.failed, load.wrong, load.missed()) == ([], [], {})
    assert starts(serving) == before
    assert content(serving.api)["ca.crt"] != ca


def test_a_deleted_secret_is_issued_again_and_upgrades_still_work(serving: Release, registration: str) -> None:
    """cert-manager makes it anew with a type of its own, and a type cannot be changed."""
    with steady(f"judged-{registration}") as load:
        remove_secret(serving.api)
        assert secret(serving.api)["type"] == "kubernetes.io/tls"
        serving.install({**values(registration), "podAnnotations": {"e2e": "upgraded again"}})
        until(serving.ready, "every replica is new", 180)
        load.more()

    assert (load.failed, load.wrong, load.missed()) == ([], [], {})
    assert serving.presented() == {in_use(serving.api)}
    assert content(serving.api).keys() == {"ca.crt", "tls.crt", "tls.key"}


def starts(release: Release) -> dict[str, int]:
    """Return the number of restarts of each replica."""
    return {pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in release.pods()}
