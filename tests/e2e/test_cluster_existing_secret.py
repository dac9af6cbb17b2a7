"""A certificate of the administrator's own, registered by the chart: the controller has no right in the cluster."""

import base64
from collections.abc import Iterator
from typing import Final

import pytest
from cryptography.x509 import load_pem_x509_certificate

from anchore_admission.certificates import throw_away_pair
from anchore_admission.core.webhook.pair import CertificatePair
from e2e.cluster.cluster import Cluster
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.load import steady
from e2e.processes import ANCHORE, sandbox
from e2e.release import NAME, Release, installed
from e2e.things import Json

pytestmark = pytest.mark.cluster

HERE: Final = "own-certificate"
SECRET: Final = "of-the-administrator"
SERVICE: Final = f"{NAME}.{NAME}.svc"


def values(*pairs: CertificatePair) -> Json:
    trusted = b"".join(pair.ca_bundle for pair in pairs).decode()
    return {
        "anchore": {"endpoint": ANCHORE, "username": "admin", "password": "foobar"},
        "enableStrictGating": True,
        "certificates": {"mode": "existingSecret", "existingSecret": SECRET, "caBundle": trusted},
        "webhook": {"registration": "chart"},
    }


@pytest.fixture(scope="module")
def pairs() -> tuple[CertificatePair, CertificatePair]:
    """Two certificates, each of its own CA."""
    return throw_away_pair([SERVICE]), throw_away_pair([SERVICE])


@pytest.fixture(scope="module")
def serving(
    cluster: Cluster,
    release: Release,
    kubectl: Kubectl,
    namespaces: Namespaces,
    pairs: tuple[CertificatePair, CertificatePair],
) -> Iterator[Release]:
    """A release that serves the first pair while both CAs are trusted."""
    namespaces(HERE)
    kubectl("create", "namespace", NAME)
    put(kubectl, pairs[0])
    with sandbox(), installed(release, values(*pairs)) as running:
        until(running.ready, "every replica is ready", 180)
        running.await_judging(HERE)
        yield running


def test_the_administrators_certificate_is_served_and_trusted(
    serving: Release, pairs: tuple[CertificatePair, CertificatePair]
) -> None:
    assert serving.presented() == {load_pem_x509_certificate(pairs[0].certificate)}
    bundle = base64.b64decode(serving.registration()["clientConfig"]["caBundle"])
    assert bundle == pairs[0].ca_bundle + pairs[1].ca_bundle


def test_another_pair_is_served_without_a_restart_or_a_failed_call(
    serving: Release, kubectl: Kubectl, pairs: tuple[CertificatePair, CertificatePair]
) -> None:
    """Once only the new CA is trusted, API servers must accept the new certificate."""
    before = serving.restarts()

    with steady(HERE) as load:
        put(kubectl, pairs[1])
        await_presented(serving, pairs[1])
        load.more()
        assert serving.restarts() == before
        serving.install(values(pairs[1]))
        load.more()

    assert (load.failed, load.wrong, load.missed()) == ([], [], {})
    assert serving.registration()["clientConfig"]["caBundle"] == base64.b64encode(pairs[1].ca_bundle).decode()


def put(kubectl: Kubectl, pair: CertificatePair) -> None:
    content = {"tls.crt": pair.certificate.decode(), "tls.key": pair.key.decode()}
    metadata = {"name": SECRET, "namespace": NAME}
    kubectl.apply(
        {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "stringData": content}
    )


def await_presented(serving: Release, pair: CertificatePair) -> None:
    wanted = {load_pem_x509_certificate(pair.certificate)}
    until(lambda: serving.nudge() and serving.presented() == wanted, "every replica serves it", 180, every=2)
