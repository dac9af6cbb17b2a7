"""A controller outside the cluster, registered by what ``anchore-admission webhook`` prints, kept from strangers."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from e2e.cluster.api import Api
from e2e.cluster.cluster import Cluster
from e2e.cluster.control_plane import PKI
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.places import KNOCKED_AT, KNOCKS_AS
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.exposed import NAME, PORT, WEBHOOK, Exposed, exposed
from e2e.things import FAILING, PASSING, thing

pytestmark = pytest.mark.cluster

HERE: Final = "outside"
SPARED: Final = "outside-spared"
SECRET: Final = "0123456789abcdef0123456789abcdef"
ADDRESS: Final = f"https://{KNOCKED_AT}"
JUDGED: Final = f"{ADDRESS}/validate/{SECRET}"


@pytest.fixture(scope="module")
def judged(cluster: Cluster, namespaces: Namespaces) -> str:
    """A namespace; another one is spared."""
    namespaces(SPARED)
    return namespaces(HERE)


@pytest.fixture
def removed(kubectl: Kubectl) -> Iterator[None]:
    yield
    kubectl("delete", "validatingwebhookconfiguration", NAME, "--ignore-not-found")


@pytest.fixture
def secret(judged: str, tmp_path: Path, removed: None) -> Iterator[Exposed]:
    """Answers at a secret path only."""
    file = tmp_path / "secret-path"
    file.write_text(f"{SECRET}\n")
    with exposed(tmp_path, f"--secret-path-file={file}") as controller:
        yield controller


@pytest.fixture
def checking(judged: str, tmp_path: Path, removed: None) -> Iterator[Exposed]:
    """A controller that accepts clients with a certificate of the cluster's CA for the API server's name."""
    with exposed(tmp_path, f"--client-ca-file={PKI / 'ca.crt'}", f"--client-name={KNOCKS_AS}") as controller:
        yield controller


def test_the_printed_configuration_makes_the_cluster_send_reviews(secret: Exposed, kubectl: Kubectl, api: Api) -> None:
    printed = secret.printed(JUDGED, "--exclude-namespace", SPARED)
    kubectl("apply", "-f", "-", stdin=printed)

    refused = until(lambda: refusal(api), "it judges")
    assert refused.startswith(f'admission webhook "{WEBHOOK}" denied the request: Image {FAILING} ')
    assert api.create(HERE, thing("Pod", PASSING), dry_run=True).code == 201
    for spared in (SPARED, "kube-system"):
        assert api.create(spared, thing("Pod", FAILING), dry_run=True).code == 201
    assert "unchanged" in kubectl("apply", "-f", "-", stdin=printed)

    kubectl("delete", "-f", "-", stdin=printed)
    until(lambda: api.create(HERE, thing("Pod", FAILING), dry_run=True).code == 201, "it judges no more")


def test_a_caller_without_the_secret_path_is_not_answered(secret: Exposed, kubectl: Kubectl, api: Api) -> None:
    kubectl("apply", "-f", "-", stdin=secret.printed(JUDGED))
    until(lambda: refusal(api), "it judges")

    with httpx.Client(verify=trusted(secret), trust_env=False) as stranger:
        for path in ("/validate", f"/validate/{SECRET[:-1]}", f"/validate/{SECRET}0", "/docs", "/review"):
            assert stranger.post(f"{ADDRESS}{path}", json={}).status_code == 404, path

    kubectl("apply", "-f", "-", stdin=secret.printed(f"{ADDRESS}/validate"))
    failed = until(lambda: failure(api), "the API server is not answered either")
    assert f'failed calling webhook "{WEBHOOK}"' in failed


def test_with_ignore_the_secret_path_is_not_shown_when_the_controller_is_gone(
    secret: Exposed, kubectl: Kubectl, api: Api
) -> None:
    """With Fail, the API server's error shows it to every user whose Pod is rejected; the documentation warns of it."""
    nowhere = JUDGED.replace(PORT, "1")
    kubectl("apply", "-f", "-", stdin=secret.printed(nowhere))
    assert SECRET in until(lambda: failure(api), "the API server calls in vain")

    kubectl("apply", "-f", "-", stdin=secret.printed(nowhere, "--failure-policy", "Ignore"))
    until(lambda: not failure(api), "calling in vain does not matter any more")
    admitted = api.create(HERE, thing("Pod", FAILING), dry_run=True)
    assert admitted.code == 201
    assert SECRET not in str(admitted)


def test_an_api_server_that_presents_its_certificate_is_answered(checking: Exposed, kubectl: Kubectl, api: Api) -> None:
    kubectl("apply", "-f", "-", stdin=checking.printed(ADDRESS))
    refused = until(lambda: refusal(api), "it judges")
    assert refused.startswith(f'admission webhook "{WEBHOOK}" denied the request: Image {FAILING} ')
    assert api.create(HERE, thing("Pod", PASSING), dry_run=True).code == 201

    # By another name, the API server has no certificate for it.
    kubectl("apply", "-f", "-", stdin=checking.printed(f"https://localhost:{PORT}"))
    failed = until(lambda: failure(api), "an API server that presents nothing is not answered")
    assert f'failed calling webhook "{WEBHOOK}"' in failed


def test_clients_without_the_right_certificate_are_rejected(checking: Exposed) -> None:
    """The certificate of the cluster's administrator is of the same CA."""
    with httpx.Client(verify=trusted(checking, "webhook-client"), trust_env=False) as known:
        assert known.post(f"{ADDRESS}/validate", content=b"").status_code == 415

    with httpx.Client(verify=trusted(checking, "admin"), trust_env=False) as other:
        assert other.post(f"{ADDRESS}/validate", content=b"").status_code == 403
    assert "rejected a client whose certificate is for admin" in checking.said()

    with httpx.Client(verify=trusted(checking), trust_env=False) as stranger, pytest.raises(httpx.HTTPError):
        stranger.post(f"{ADDRESS}/validate", content=b"")


def refusal(api: Api) -> str:
    """Empty while it is none."""
    answer = api.create(HERE, thing("Pod", FAILING), dry_run=True)
    return answer.message if answer.code == 403 else ""


def failure(api: Api) -> str:
    """Return the API server's error while it cannot reach the webhook; empty while Pods are admitted."""
    answer = api.create(HERE, thing("Pod", PASSING), dry_run=True)
    return answer.message if answer.code == 500 else ""


def trusted(controller: Exposed, client: str = "") -> ssl.SSLContext:
    """Presenting a client's certificate of the cluster's, or none."""
    context = ssl.create_default_context(cafile=str(controller.ca_file))
    if client:
        context.load_cert_chain(PKI / f"{client}.crt", PKI / f"{client}.key")
    return context
