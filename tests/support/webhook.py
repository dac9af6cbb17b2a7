"""The webhook port's application over a faked Anchore, called as an API server or a person would."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from anchore_admission.core.facts import PolicyEvaluation
from anchore_admission.models.configuration import Configuration
from anchore_admission.services.reviews.manual import ManualReviews
from anchore_admission.services.reviews.rules import CurrentRules, Rules
from anchore_admission.web.admission import AdmissionEndpoint
from anchore_admission.web.app import Surfaces, create_app
from anchore_admission.web.manual import ManualEndpoint
from anchore_admission.wiring.controller import review_services
from support.builders import vulnerability
from support.fakes import ACTIVE_POLICY, FakeAnchore, FakeRecorder
from support.paths import DATA

Json = dict[str, Any]
STRICT: Json = {"defaults": {"mode": "strict"}}
_REVIEWS = DATA / "reviews"
REVIEWS = {str(file.relative_to(_REVIEWS).with_suffix("")): file.read_bytes() for file in _REVIEWS.rglob("*.json")}
"""Recorded reviews of API servers, such as ``kubernetes-1.36/v1beta1/pod-create``."""
POD_CREATE = REVIEWS["kubernetes-1.36/pod-create"]
JSON = "application/json"


@dataclass
class Webhook:
    """A webhook; ``settings`` holds the configuration file. Queued submissions are never sent."""

    settings: Mapping[str, Any] = field(default_factory=lambda: STRICT)
    body_limit: int = 64 * 1024
    docs: bool = True
    manual_bounds: Mapping[str, int] = field(default_factory=dict)
    anchore: FakeAnchore = field(default_factory=FakeAnchore)
    recorder: FakeRecorder = field(default_factory=FakeRecorder)

    def __post_init__(self) -> None:
        configuration = Configuration.model_validate({"passive": {"wait": 0}, **self.settings})
        services = review_services(
            configuration, CurrentRules(Rules.of(configuration)), {"default": self.anchore}, self.recorder
        )
        self.submissions, self.reviews = services.submissions, services.reviews
        self.admission = AdmissionEndpoint(self.reviews, self.recorder, body_limit=self.body_limit, margin=0.2)
        manual = ManualEndpoint(ManualReviews(self.reviews, **self.manual_bounds)) if self.docs else None
        self.app = create_app(Surfaces(self.admission, manual))
        self.http = caller(self.app)

    def fail(self, full_tag: str, digest: str = "") -> None:
        """Add an image to Anchore with a finding that fails its policy."""
        held = self.anchore.store(full_tag, digest=digest)
        found = PolicyEvaluation(False, ACTIVE_POLICY, findings=(vulnerability(),))
        self.anchore.evaluate(held.digest, found)

    async def validate(self, body: Any, *, query: str = "timeout=10s") -> httpx.Response:
        """Post a document, or bytes as they are, to /validate."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.http.post(f"/validate?{query}", content=content, headers={"content-type": JSON})

    async def judged(self, body: Any) -> Json:
        """The response of an answer that must be a verdict."""
        answer = await self.validate(body)
        assert answer.status_code == 200, answer.text
        response: Json = answer.json()["response"]
        return response


def caller(app: Callable[..., Any]) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://webhook")


def failure(answer: httpx.Response) -> tuple[int, str, str]:
    """Code, reason and message of an answer that must be a metav1.Status, as the Kubernetes API writes its own."""
    assert answer.headers["content-type"] == JSON
    status = answer.json()
    assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")
    assert status["code"] == answer.status_code
    assert "Traceback" not in status["message"]
    return status["code"], status["reason"], status["message"]
