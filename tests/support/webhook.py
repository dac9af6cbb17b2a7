"""The webhook port's application over a faked Anchore, called as an API server or a person would."""

import asyncio
import base64
import copy
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
from starlette.types import ASGIApp

from anchore_admission.core.facts import PolicyEvaluation
from anchore_admission.models.configuration import Configuration
from anchore_admission.ports.deadline import Clock
from anchore_admission.ports.telemetry import Recorder
from anchore_admission.services.reviews.manual import ManualReviews
from anchore_admission.services.reviews.rules import CurrentRules, Rules
from anchore_admission.web.admission import AdmissionEndpoint, judged_by, pinned_by
from anchore_admission.web.app import Surfaces, create_app
from anchore_admission.web.bodies import Bodies
from anchore_admission.web.manual import ManualEndpoint
from anchore_admission.wiring.controller import Controller, ReviewServices, review_services
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
PATIENCE = 30.0
"""Seconds to pin images, where these are not the point: a busy machine may take longer than the product."""


@dataclass
class Webhook:
    """A webhook; ``settings`` holds the configuration file. Queued submissions are never sent."""

    settings: Mapping[str, Any] = field(default_factory=lambda: STRICT)
    body_limit: int = 64 * 1024
    docs: bool = True
    manual_bounds: Mapping[str, int] = field(default_factory=dict)
    anchore: FakeAnchore = field(default_factory=FakeAnchore)
    recorder: FakeRecorder = field(default_factory=FakeRecorder)
    pin_seconds: float = PATIENCE
    clock: Clock = time.monotonic

    def __post_init__(self) -> None:
        configuration = Configuration.model_validate({"passive": {"wait": 0}, **self.settings})
        rules, accounts = CurrentRules(Rules.of(configuration)), {"default": self.anchore}
        services = review_services(configuration, rules, accounts, self.recorder, clock=self.clock)
        self.submissions, self.reviews = services.submissions, services.reviews
        manual = ManualEndpoint(ManualReviews(self.reviews, **self.manual_bounds)) if self.docs else None
        self.surfaces = surfaces_over(
            services,
            self.recorder,
            manual,
            body_limit=self.body_limit,
            pin_seconds=self.pin_seconds,
            clock=self.clock,
        )
        self.app = create_app(self.surfaces)
        self.http = caller(self.app)

    def fail(self, full_tag: str, digest: str = "") -> None:
        """Add an image to Anchore with a finding that fails its policy."""
        held = self.anchore.store(full_tag, digest=digest)
        found = PolicyEvaluation(False, ACTIVE_POLICY, findings=(vulnerability(),))
        self.anchore.evaluate(held.digest, found)

    async def validate(self, body: Any, *, query: str = "timeout=30s") -> httpx.Response:
        """Post a document, or bytes as they are, to /validate."""
        return await self._post(f"/validate?{query}", body)

    async def mutate(self, body: Any, *, query: str = "timeout=30s") -> httpx.Response:
        """Post a document, or bytes as they are, to /mutate."""
        return await self._post(f"/mutate?{query}", body)

    async def mutated(self, body: Any) -> Json:
        """The response of an answer that must be a mutating webhook's, with its patch decoded."""
        answer = await self.mutate(body)
        assert answer.status_code == 200, answer.text
        response: Json = answer.json()["response"]
        assert response["allowed"] is True
        assert response.keys() <= {"uid", "allowed", "auditAnnotations", "patchType", "patch"}
        assert response.pop("patchType", None) == ("JSONPatch" if "patch" in response else None)
        return response | {"patch": json.loads(base64.b64decode(response.get("patch", "W10="), validate=True))}

    @asynccontextmanager
    async def submitting(self) -> AsyncIterator["Webhook"]:
        """Send the submissions that are queued."""
        task = asyncio.create_task(self.submissions.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def judged(self, body: Any) -> Json:
        """The response of an answer that must be a verdict."""
        answer = await self.validate(body)
        assert answer.status_code == 200, answer.text
        response: Json = answer.json()["response"]
        return response

    async def _post(self, path: str, body: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.http.post(path, content=content, headers={"content-type": JSON})


def surfaces_over(
    services: Controller | ReviewServices,
    recorder: Recorder,
    manual: ManualEndpoint | None,
    *,
    body_limit: int = 1024 * 1024,
    pin_seconds: float = PATIENCE,
    clock: Clock = time.monotonic,
) -> Surfaces:
    """Return the endpoints of the webhook port, as the process serves them, with more time to pin images."""
    endpoint = partial(
        AdmissionEndpoint, recorder=recorder, body_limit=body_limit, margin=0.2, bodies=Bodies(), clock=clock
    )
    validate = endpoint(judged_by(services.reviews), keeps_body=services.reviews.needs_body)
    return Surfaces(validate, endpoint(pinned_by(services.pinning), most=pin_seconds), manual)


def app_over(controller: Controller) -> ASGIApp:
    """Return the application of the webhook port over a controller."""
    return create_app(surfaces_over(controller, controller.telemetry, ManualEndpoint(controller.manual)))


def patched(document: Any, response: Json) -> Any:
    """Apply a response's patch to an object as an API server would: each path must exist."""
    found = copy.deepcopy(document)
    for operation in response["patch"]:
        assert operation.keys() == {"op", "path", "value"}
        assert operation["op"] == "replace"
        *way, last = operation["path"].removeprefix("/").split("/")
        at = found
        for step in way:
            at = at[int(step) if isinstance(at, list) else step]
        assert isinstance(at[last], str)
        at[last] = operation["value"]
    return found


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
