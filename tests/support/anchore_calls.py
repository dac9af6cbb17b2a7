"""A client for an Anchore that the test plays."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import SecretStr

from anchore_admission.adapters.anchore import AnchoreEndpoint, Bounds, Credentials, CredentialSource, DetectingAnchore
from anchore_admission.adapters.anchore.connect import connect
from anchore_admission.adapters.anchore.dialect import AnchoreApi
from anchore_admission.adapters.anchore.http import AnchoreHttp
from anchore_admission.adapters.anchore.v1 import V1
from anchore_admission.models.configuration import ApiVersion
from anchore_admission.ports.deadline import Deadline
from support.fakes import FakeRecorder

SECRET = "hunter2-not-to-be-seen"
ADMIN = Credentials("admin", SecretStr(SECRET))
BOUNDS = Bounds(connect=5, read=20, response=1024 * 1024)
DIGEST = "sha256:" + "a1" * 32
OTHER = "sha256:" + "b2" * 32
TAG = "registry.example.com/team/app:1.2"


@dataclass
class Played:
    """An Anchore that sends prepared responses and records its requests."""

    answer: Callable[[httpx.Request], httpx.Response]
    asked: list[httpx.Request] = field(default_factory=list)

    def transport(self) -> httpx.MockTransport:
        async def handle(request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(0)  # let others run, as a network does
            self.asked.append(request)
            return self.answer(request)

        return httpx.MockTransport(handle)

    @property
    def paths(self) -> list[str]:
        return [request.url.path for request in self.asked]


def deadline(seconds: float = 60) -> Deadline:
    return Deadline.after(seconds)


def client(
    transport: httpx.AsyncBaseTransport | None,
    version: ApiVersion = ApiVersion.V1,
    *,
    url: str = "http://anchore.test:8228",
    credentials: CredentialSource | None = ADMIN,
    recorder: FakeRecorder | None = None,
    bounds: Bounds = BOUNDS,
    anchore_account: str | None = None,
    keeps_warnings: bool = False,
) -> DetectingAnchore:
    return connect(
        AnchoreEndpoint(url, version),
        credentials,
        name="default",
        recorder=recorder or FakeRecorder(),
        bounds=bounds,
        anchore_account=anchore_account,
        keeps_warnings=keeps_warnings,
        transport=transport,
    )


def impatient(
    transport: httpx.AsyncBaseTransport,
    *,
    url: str = "http://anchore.test:8228",
    recorder: FakeRecorder | None = None,
    bounds: Bounds = BOUNDS,
) -> tuple[AnchoreApi, list[float]]:
    """A client of API v1 that notes how long it would have paused between attempts."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    http = AnchoreHttp(
        httpx.AsyncClient(transport=transport),
        root=url,
        name="default",
        headers={},
        credentials=ADMIN,
        bounds=bounds,
        recorder=recorder or FakeRecorder(),
        pause=pause,
    )
    return AnchoreApi(http, V1), pauses


def answering(body: Any, status: int = 200, **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    """Return a handler that responds with this JSON to every request."""
    return lambda _: httpx.Response(status, json=body, headers=headers)


def playing(*answers: httpx.Response | Exception) -> Played:
    """Return an Anchore that sends each response once, in turn."""
    left = list(answers)

    def answer(_: httpx.Request) -> httpx.Response:
        match left.pop(0):
            case httpx.Response() as given:  # a client changes what it is handed
                return httpx.Response(given.status_code, headers=given.headers, stream=given.stream)
            case error:
                raise error

    return Played(answer)


def page(status: int = 200) -> httpx.Response:
    """Return the response of a login proxy or a user interface."""
    return httpx.Response(status, html="<html>Please log in</html>")


def problem(status: int, detail: str = "") -> httpx.Response:
    """Return a web framework's own error, as for an unknown path."""
    body = {"type": "about:blank", "title": "Not Found", "status": status, "detail": detail}
    return httpx.Response(status, content=json.dumps(body), headers={"content-type": "application/problem+json"})


def error(status: int, message: str, **detail: Any) -> httpx.Response:
    """Return an error in Anchore's format."""
    return httpx.Response(status, json={"message": message, "httpcode": status, "detail": detail})


def v1_image(digest: str = DIGEST, *tags: str, state: str = "analyzed", **more: Any) -> dict[str, Any]:
    details = [{"fulltag": tag, "tag_detected_at": "2026-01-01T00:00:00Z"} for tag in tags or (TAG,)]
    return {"imageDigest": digest, "analysis_status": state, "image_status": "active", "image_detail": details, **more}
