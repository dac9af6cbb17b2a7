"""Missing and invalid Secrets, at startup and later: no replica restarts."""

from collections.abc import Iterator
from typing import Final

import pytest
from cryptography.x509 import load_pem_x509_certificate

from anchore_admission.certificates import throw_away_pair
from anchore_admission.core.webhook.pair import CertificatePair
from e2e import calls
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.release import NAME, WEBHOOK, Release
from e2e.things import PASSING, Json, thing

pytestmark = pytest.mark.cluster

PAIR: Final = throw_away_pair([f"{NAME}.{NAME}.svc"])
MISMATCHED: Final = CertificatePair(throw_away_pair(["another.svc"]).certificate, PAIR.key, PAIR.ca_bundle)
CERTIFICATE, CREDENTIALS = "own-certificate", "own-credentials"
VALUES: Final[Json] = {
    "anchore": {"endpoint": "http://anchore.invalid", "credentialsSecret": CREDENTIALS},
    "certificates": {"mode": "existingSecret", "existingSecret": CERTIFICATE},
}
WAITING: Final = (
    "invalid certificate: --tls-key-file / ANCHORE_ADMISSION_TLS_KEY_FILE: /tls/tls.key does not belong to",
    "/credentials/username: does not exist: create the Secret or ConfigMap that is mounted at /credentials",
)


class Secrets:
    """The contents of the administrator's two Secrets."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl

    def put(self, pair: CertificatePair, password: str) -> None:
        self.put_certificate(pair)
        self._apply(CREDENTIALS, {"username": "admin", "password": password})

    def put_certificate(self, pair: CertificatePair) -> None:
        pem = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": pair.ca_bundle}
        self._apply(CERTIFICATE, {name: content.decode() for name, content in pem.items()})

    def _apply(self, name: str, content: dict[str, str]) -> None:
        metadata = {"name": name, "namespace": NAME}
        self._kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": content})


@pytest.fixture(scope="module")
def secrets(release: Release, kubectl: Kubectl) -> Iterator[Secrets]:
    """A bad one and a missing one, and a release that was installed with them."""
    namespace = f"/api/v1/namespaces/{NAME}"
    kubectl("create", "namespace", NAME)
    secrets = Secrets(kubectl)
    secrets.put_certificate(MISMATCHED)
    try:
        with pytest.raises(RuntimeError, match="deadline"):
            release.install(VALUES, "--timeout", "10s")
        yield secrets
    finally:
        release.uninstall()
        release.api.call("DELETE", namespace)
    until(lambda: release.api.call("GET", namespace).code == 404, "the namespace is gone")


def test_replicas_wait_and_come_up_when_the_secrets_are_fixed(
    secrets: Secrets, release: Release, kubectl: Kubectl
) -> None:
    until(
        lambda: all(text in said for said in logs(release, kubectl) for text in WAITING), "every replica says so", 180
    )
    waiting = release.restarts()
    assert list(waiting.values()) == [0, 0]
    bad = [{"certificate", "credentials"}] * 2
    until(lambda: unusable(release) == bad, "every replica answers with its metrics")
    assert not release.ready()

    secrets.put(PAIR, "secret")

    until(lambda: release.nudge() and release.ready(), "every replica is ready", 240, every=2)
    assert release.restarts() == waiting
    assert unusable(release) == [set()] * 2
    until(release.registration, "the webhook is registered")


def test_the_last_valid_version_stays_in_use(secrets: Secrets, release: Release) -> None:
    secrets.put(PAIR, "secret")
    until(lambda: release.nudge() and release.ready() and unusable(release) == [set()] * 2, "all is well", 240, every=2)
    until(lambda: is_judged(release), "API servers ask")
    restarts, failed = release.restarts(), calls.failed(release.api, WEBHOOK)

    secrets.put(MISMATCHED, "\n")
    bad = [{"certificate", "credentials"}] * 2
    until(lambda: release.nudge() and unusable(release) == bad, "every replica has noticed", 240, every=2)
    assert release.ready()
    assert release.presented() == {load_pem_x509_certificate(PAIR.certificate)}
    assert is_judged(release)

    secrets.put(PAIR, "secret")
    until(lambda: release.nudge() and unusable(release) == [set()] * 2, "all is well again", 240, every=2)
    assert release.restarts() == restarts
    assert calls.more(failed, calls.failed(release.api, WEBHOOK)) == {}


def is_judged(release: Release) -> bool:
    """Passive mode admits everything, as API servers do with `Ignore`; but only a replica sends this warning."""
    answer = release.create("default", thing("Pod", PASSING), dry_run=True)
    assert answer.code == 201, answer.message
    return any(said.startswith(f"Image analysis for image {PASSING} not requested") for said in answer.warnings)


def logs(release: Release, kubectl: Kubectl) -> list[str]:
    """Return the log of each replica; one empty text while there is no replica."""
    said = [kubectl("logs", "-n", NAME, pod["metadata"]["name"]) for pod in release.pods()]
    return said or [""]


def unusable(release: Release) -> list[set[str]]:
    """Return the unusable files that each replica's metrics report."""
    replicas = release.metrics("anchore_admission_unusable")
    return [{sample.labels["what"] for sample in samples if sample.value} for samples in replicas]
