"""The port for facts over an Anchore in memory, as the product composes it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from anchore_admission.core.facts import AnalysisState, Finding, PolicyEvaluation
from anchore_admission.models.configuration import Configuration
from anchore_admission.ports.telemetry import Engine, FactsOutcome
from anchore_admission.services.cluster.token_access import TokenAccess
from anchore_admission.services.reviews.reporting import ImageReports
from anchore_admission.services.reviews.rules import CurrentRules, Rules
from anchore_admission.web.facts import FactsEndpoint
from anchore_admission.web.facts_guard import FactsGuard
from anchore_admission.wiring.controller import review_services
from support.fakes import FakeAnchore, FakeRecorder, ManualClock, digest_of
from support.token_api import AUDIENCE, KYVERNO, TokenApi

REPOSITORY = "registry.example.com"
GOOD, BAD = f"{REPOSITORY}/good:1", f"{REPOSITORY}/bad:1"
TOKEN, NEXT_TOKEN = "t0ken-of-policy-engines", "next-token-of-engines"
RULES = {
    "defaults": {"mode": "strict"},
    "rules": [
        {"name": "other", "match": {"images": ["*/other/*"]}, "mode": "skip", "policy": "second"},
        {"name": "elsewhere", "match": {"images": ["*/x/*"]}, "account": "spare"},
        {
            "name": "labeled",
            "match": {"images": ["*/y/*"]},
            "policyFrom": {"label": "team", "allowed": {"a": "second"}},
        },
    ],
    "accounts": [{"name": "default"}, {"name": "spare"}],
    "anchore": {"endpoint": "https://anchore.example.com"},
}
PATIENCE = 30.0
"""Seconds for an answer, where these are not the point: a busy machine may take longer than the product."""
FINDING = Finding("vulnerabilities", "package", "CVE-2026-1+openssl", "CRITICAL Vulnerability found in openssl")


class FactsLog:
    """A recorder of requests for facts."""

    def __init__(self) -> None:
        self.requests: list[tuple[Engine, FactsOutcome]] = []

    def facts_request(self, engine: Engine, outcome: FactsOutcome) -> None:
        self.requests.append((engine, outcome))

    def outcomes(self) -> list[FactsOutcome]:
        return [outcome for _, outcome in self.requests]


@dataclass
class FactsPortSetup:
    """An Anchore that knows a good and a bad image, and the applications of the port."""

    settings: Mapping[str, Any] = field(default_factory=lambda: RULES)
    anchore: FakeAnchore = field(default_factory=FakeAnchore)
    recorder: FakeRecorder = field(default_factory=FakeRecorder)
    log: FactsLog = field(default_factory=FactsLog)
    api: TokenApi = field(default_factory=TokenApi)
    clock: ManualClock = field(default_factory=ManualClock)
    seconds: float = PATIENCE

    def __post_init__(self) -> None:
        configuration = Configuration.model_validate(self.settings)
        rules = CurrentRules(Rules.of(configuration))
        services = review_services(configuration, rules, {"default": self.anchore}, self.recorder, clock=self.clock)
        reports = ImageReports(rules, services.gathering, {"default"})
        self.endpoint = FactsEndpoint(reports, self.log, seconds=self.seconds, clock=self.clock)
        accounts = TokenAccess(self.api.source(), AUDIENCE, frozenset({KYVERNO}), self.clock)
        self.guard = FactsGuard(self.endpoint, self.log, accounts, seconds=self.seconds, clock=self.clock)
        self.guard.use([TOKEN, NEXT_TOKEN])
        self.anchore.store(GOOD)
        self.anchore.store(BAD)
        self.fail(BAD, FINDING)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.guard), base_url="http://facts")

    def fail(self, image: str, *findings: Finding, policy: str = "active") -> None:
        evaluation = PolicyEvaluation(passed=False, policy=policy, findings=findings, warnings_total=0)
        self.anchore.evaluate(digest_of(image), evaluation)

    def warn(self, image: str, *findings: Finding) -> None:
        """Let the policy pass with findings that only warn."""
        evaluation = PolicyEvaluation(
            passed=True, policy="active", warns=True, warnings=findings, warnings_total=len(findings)
        )
        self.anchore.evaluate(digest_of(image), evaluation)

    def pend(self, image: str, state: AnalysisState = AnalysisState.ANALYZING) -> str:
        self.anchore.store(image, state)
        return image

    async def post(self, body: Any, path: str = "/facts", token: str | None = TOKEN, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json", **headers}
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        return await self.http.post(path, content=content, headers=sent)

    async def images(self, *texts: str, **more: Any) -> list[dict[str, Any]]:
        answer = await self.post({"images": texts, **more})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["images"]
        return found

    async def keys(self, *keys: str, rule: str = "") -> dict[str, Any]:
        """Ask as Gatekeeper does, and return its answer."""
        answer = await self.post(provider_request(keys), f"/facts/gatekeeper{rule}")
        assert answer.status_code == 200, answer.text
        return provider_response(answer)


def provider_request(keys: Sequence[str]) -> dict[str, Any]:
    version = "externaldata.gatekeeper.sh/v1beta1"
    return {"apiVersion": version, "kind": "ProviderRequest", "request": {"keys": list(keys)}}


def provider_response(answer: httpx.Response) -> dict[str, Any]:
    """Return the answer of a whole response, which Gatekeeper can read whatever its status is."""
    document = answer.json()
    assert document.keys() == {"apiVersion", "kind", "response"}
    assert document["apiVersion"] == "externaldata.gatekeeper.sh/v1beta1"
    assert document["kind"] == "ProviderResponse"
    response: dict[str, Any] = document["response"]
    assert response["idempotent"] is True
    return response
