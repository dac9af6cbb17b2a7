"""Changing the certificate mode: rejected while replicas run, possible while the webhook is removed."""

import base64
from collections.abc import Iterator
from typing import Final

import pytest
from cryptography.x509 import Certificate, load_pem_x509_certificate, load_pem_x509_certificates

from anchore_admission.certificates import throw_away_pair
from anchore_admission.core.webhook.pair import CertificatePair
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.release import NAME, REGISTRATIONS, Release, installed, whole
from e2e.things import FAILING, Json, thing

pytestmark = pytest.mark.cluster

HERE: Final = "mode-change"
SECRET: Final = "of-the-administrator"
KIND: Final = "ValidatingWebhookConfiguration"
SELF_MANAGED: Final = {"sandbox": {"enabled": True}, "enableStrictGating": True}
EXISTING: Final = {**SELF_MANAGED, "certificates": {"mode": "existingSecret", "existingSecret": SECRET}}


@pytest.fixture(scope="module")
def pair() -> CertificatePair:
    """The administrator's."""
    return throw_away_pair([f"{NAME}.{NAME}.svc"])


@pytest.fixture(scope="module")
def serving(release: Release, kubectl: Kubectl, namespaces: Namespaces, pair: CertificatePair) -> Iterator[Release]:
    """A self-managed release; the administrator's certificate is in a Secret of its own."""
    namespaces(HERE)
    with installed(release, SELF_MANAGED) as running:
        put(kubectl, pair)
        until(running.ready, "every replica is ready", 180)
        running.await_judging(HERE)
        yield running


def test_the_mode_changes_without_the_webhook_only_and_back(
    serving: Release, kubectl: Kubectl, pair: CertificatePair
) -> None:
    refused(serving, kubectl, EXISTING, "from selfManaged to existingSecret")
    change(serving, kubectl, EXISTING)
    assert serving.presented() == {load_pem_x509_certificate(pair.certificate)}
    assert trusted(serving) == {load_pem_x509_certificate(pair.ca_bundle)}

    refused(serving, kubectl, SELF_MANAGED, "from existingSecret to selfManaged")
    change(serving, kubectl, SELF_MANAGED)
    made = serving.api.get(f"/api/v1/namespaces/{NAME}/secrets/{NAME}-tls")["data"]["tls.crt"]
    assert serving.presented() == {load_pem_x509_certificate(base64.b64decode(made))}
    assert load_pem_x509_certificate(pair.ca_bundle) not in trusted(serving)


def refused(serving: Release, kubectl: Kubectl, values: Json, expected: str) -> None:
    """Assert that helm names the rejected change before it touches anything."""
    before = whole(serving, kubectl), serving.registration()

    with pytest.raises(RuntimeError, match=rf"certificates\.mode: cannot change {expected} while replicas run"):
        serving.install(values)

    assert (whole(serving, kubectl), serving.registration()) == before
    serving.await_judging(HERE)


def change(serving: Release, kubectl: Kubectl, values: Json) -> None:
    """Change the mode as the error message describes."""
    kubectl("delete", KIND, NAME)
    kubectl("delete", "deployment", "--namespace", NAME, NAME, "--cascade=foreground")
    until(lambda: serving.create(HERE, thing("Pod", FAILING), dry_run=True).code == 201, "nothing is judged")
    assert serving.api.call("GET", f"{REGISTRATIONS}/{NAME}").code == 404

    serving.install(values)

    until(serving.registration, "the new replicas have registered it")
    until(serving.ready, "every replica is ready", 180)
    serving.await_judging(HERE)


def trusted(serving: Release) -> set[Certificate]:
    """Return the CA bundle of the registration."""
    return set(load_pem_x509_certificates(base64.b64decode(serving.registration()["clientConfig"]["caBundle"])))


def put(kubectl: Kubectl, pair: CertificatePair) -> None:
    parts = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": pair.ca_bundle}
    content = {name: part.decode() for name, part in parts.items()}
    metadata = {"name": SECRET, "namespace": NAME}
    kubectl.apply(
        {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "stringData": content}
    )
