"""Facts for other policy engines on a real cluster: the API server verifies who asks, and no other caller gets any."""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest

from anchore_admission.adapters.trust import trusting
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.release import NAME, Release, installed
from e2e.things import FAILING, PASSING, Json

pytestmark = pytest.mark.cluster

ENGINE: Final = "engine"
AUDIENCE: Final = "policy-engine.example.com"
SECRET: Final = "facts-tokens"
OURS, ROTATED = "a-token-of-this-test", "another-token-of-this-test"
VALUES: Final[Json] = {
    "sandbox": {"enabled": True},
    "enableStrictGating": True,
    "facts": {
        "enabled": True,
        "token": {"existingSecret": SECRET},
        "tokenReview": {"audience": AUDIENCE, "users": [f"system:serviceaccount:{ENGINE}:asker"]},
    },
}


@dataclass(frozen=True, slots=True)
class Facts:
    release: Release
    client: httpx.Client
    """It reaches the replicas through the Service."""

    def ask(self, token: str, *images: str, path: str = "/facts", body: Json | None = None) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        service = {"sni_hostname": f"{NAME}.{NAME}.svc"}
        return self.client.post(path, json=body or {"images": images}, headers=headers, extensions=service)

    def token(self, account: str = "asker", audiences: Sequence[str] = (AUDIENCE,)) -> str:
        """Return a token that the API server issues for an account."""
        path = f"/api/v1/namespaces/{ENGINE}/serviceaccounts/{account}/token"
        answer = self.release.api.call("POST", path, {"spec": {"audiences": [*audiences], "expirationSeconds": 600}})
        assert answer.allowed, answer.message
        return str(answer.body["status"]["token"])

    def account(self, name: str) -> None:
        path = f"/api/v1/namespaces/{ENGINE}/serviceaccounts"
        assert self.release.api.call("POST", path, {"metadata": {"name": name}}).allowed


@pytest.fixture(scope="module")
def facts(release: Release, namespaces: Namespaces) -> Iterator[Facts]:
    namespaces(ENGINE)
    release.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}}, secret(OURS))
    with installed(release, VALUES) as running:
        until(running.ready, "every replica is ready", 180)
        address = running.api.get(f"/api/v1/namespaces/{NAME}/services/{NAME}")["spec"]["clusterIP"]
        trust = trusting(cadata=base64.b64decode(running.registration()["clientConfig"]["caBundle"]).decode())
        with httpx.Client(base_url=f"https://{address}:8445", verify=trust, timeout=20, trust_env=False) as client:
            found = Facts(running, client)
            found.account("asker")
            found.account("other")
            until(lambda: found.ask(OURS, PASSING).json()["images"][0]["state"] == "analyzed", "Anchore is reached")
            yield found


def secret(*tokens: str) -> Json:
    metadata = {"name": SECRET, "namespace": NAME}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": "\n".join(tokens)}}


def told(answer: httpx.Response) -> list[tuple[Any, ...]]:
    reports = answer.raise_for_status().json()["images"]
    return [(it["reference"], it["state"], it["evaluation"]["action"], it["findingsTotal"] > 0) for it in reports]


def test_an_account_whose_token_the_api_server_verifies_gets_facts(facts: Facts) -> None:
    answer = facts.ask(facts.token(), PASSING, FAILING)

    assert told(answer) == [(PASSING, "analyzed", "go", False), (FAILING, "analyzed", "stop", True)]


def test_gatekeeper_gets_an_answer_for_every_key(facts: Facts) -> None:
    request = {"keys": [PASSING, FAILING, "::"]}
    body = {"apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "ProviderRequest", "request": request}

    answer = facts.ask(facts.token(), path="/facts/gatekeeper", body=body).raise_for_status().json()

    items = {item["key"]: item for item in answer["response"]["items"]}
    assert answer["response"].get("systemError", "") == ""
    assert items.keys() == {*request["keys"]}
    assert items[FAILING]["value"]["evaluation"]["action"] == "stop"
    assert items["::"]["error"]


@pytest.mark.parametrize(
    ("account", "audience", "code"),
    [("asker", AUDIENCE, 200), ("other", AUDIENCE, 403), ("asker", "https://kubernetes.default.svc", 401)],
)
def test_another_account_or_audience_gets_none(facts: Facts, account: str, audience: str, code: int) -> None:
    answer = facts.ask(facts.token(account, [audience]), PASSING)

    assert answer.status_code == code
    assert ("analyzed" in answer.text) == (code == 200)


@pytest.mark.parametrize("token", ["", "wrong", "eyJhbGciOiJub25lIn0.e30."])
def test_a_stranger_gets_none(facts: Facts, token: str) -> None:
    answer = facts.ask(token, PASSING)

    assert answer.status_code == 401
    assert "analyzed" not in answer.text


def test_the_token_of_a_deleted_account_ends(facts: Facts) -> None:
    token = facts.token()
    assert facts.ask(token, PASSING).status_code == 200
    path = f"/api/v1/namespaces/{ENGINE}/serviceaccounts/asker"

    assert facts.release.api.call("DELETE", path).allowed
    try:
        until(lambda: facts.ask(token, PASSING).status_code == 401, "no replica remembers it", 120, every=1)
    finally:
        facts.account("asker")
    assert facts.ask(token, PASSING).status_code == 401, "the new account is another one"
    assert facts.ask(facts.token(), PASSING).status_code == 200


def test_tokens_of_a_secret_rotate_without_a_restart(facts: Facts) -> None:
    before = facts.release.restarts()

    def every_replica(token: str, code: int) -> bool:
        """Ask often enough to reach both replicas, each time over a connection of its own."""
        facts.release.nudge()
        return {_alone(facts, token) for _ in range(12)} == {code}

    facts.release.kubectl.apply(secret(OURS, ROTATED))
    until(lambda: every_replica(ROTATED, 200), "both tokens are accepted", 240, every=1)
    facts.release.kubectl.apply(secret(ROTATED))
    until(lambda: every_replica(OURS, 401), "the old token has ended", 240, every=1)

    assert facts.release.restarts() == before


def _alone(facts: Facts, token: str) -> int:
    headers = {"authorization": f"Bearer {token}", "connection": "close"}
    service = {"sni_hostname": f"{NAME}.{NAME}.svc"}
    return facts.client.post("/facts", json={"images": [PASSING]}, headers=headers, extensions=service).status_code


def test_the_permission_is_to_review_tokens_and_no_other_port_gives_facts(facts: Facts, kubectl: Kubectl) -> None:
    who = f"--as=system:serviceaccount:{NAME}:{NAME}"
    assert kubectl("auth", "can-i", "create", "tokenreviews.authentication.k8s.io", who).strip() == "yes"
    assert kubectl.run("kubectl", "auth", "can-i", "create", "serviceaccounts/token", who, "-A").stdout.strip() == "no"
    (replica, _) = facts.release.pods()
    service = {"sni_hostname": f"{NAME}.{NAME}.svc"}
    for port, code in ((8443, 404), (8445, 401)):
        url = f"https://{replica['status']['podIP']}:{port}/facts"
        answer = facts.client.post(url, content=json.dumps({"images": [PASSING]}), extensions=service)
        assert (port, answer.status_code) == (port, code)
