"""The operations port: liveness, readiness, version and metrics; and, for the Pod itself, forgetting."""

import platform
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import request_response
from starlette.types import ASGIApp

from anchore_admission import __version__
from anchore_admission.web.forgetting import FORGET, ForgetEndpoint
from anchore_admission.web.routing import Route, Routes

Exposition = Callable[[str | None], tuple[bytes, str]]
"""Returns the metrics in the format that an Accept header requests, with their media type."""


class Condition(StrEnum):
    """The conditions of /readyz."""

    SERVING = "serving"
    """The ports are bound, and no stop has begun."""
    CERTIFICATE = "certificate"
    """There has been a valid certificate, or the port serves plain HTTP."""
    CREDENTIALS = "credentials"
    """There have been valid credentials for every account, and CAs to trust."""


class Readiness:
    """Named conditions that must all hold before the Service sends reviews to this replica.

    They depend on this process only. If Anchore were one of them, its failure would take every replica out of the
    Service at once, and the webhook's ``failurePolicy`` would decide for the whole cluster.
    """

    def __init__(self, *conditions: str) -> None:
        self._conditions: dict[str, Callable[[], bool]] = dict.fromkeys(conditions, lambda: False)

    def set(self, condition: str, holds: bool) -> None:
        self.watch(condition, lambda: holds)

    def watch(self, condition: str, holds: Callable[[], bool]) -> None:
        """Evaluate a condition lazily, on each request to /readyz."""
        if condition not in self._conditions:
            raise KeyError(condition)
        self._conditions[condition] = holds

    def is_ready(self) -> bool:
        return all(self.conditions().values())

    def conditions(self) -> dict[str, bool]:
        return {name: holds() for name, holds in self._conditions.items()}


def create_operations(
    readiness: Readiness,
    exposition: Exposition,
    forget: Callable[[], int],
    configuration: Callable[[], Mapping[str, Any]],
) -> ASGIApp:
    """Build the application.

    ``forget`` forgets Anchore's answers, and returns their number; ``configuration`` describes the one in effect.
    """

    async def livez(_: Request) -> Response:
        """Respond while the event loop runs; nothing else is checked."""
        return PlainTextResponse("ok")

    async def readyz(_: Request) -> Response:
        # Evaluated once, so that the status never contradicts the list: conditions change in other threads.
        conditions = readiness.conditions()
        ready = all(conditions.values())
        return JSONResponse({"ready": ready, "conditions": conditions}, 200 if ready else 503)

    async def version(_: Request) -> Response:
        about: dict[str, Any] = {"version": __version__, "python": platform.python_version()}
        return JSONResponse({**about, "configuration": configuration()})

    async def metrics(request: Request) -> Response:
        body, media_type = exposition(request.headers.get("accept"))
        return Response(body, media_type=media_type)

    endpoints = {"/livez": livez, "/readyz": readyz, "/version": version, "/metrics": metrics}
    routes = {path: Route("GET", request_response(endpoint)) for path, endpoint in endpoints.items()}
    listed = f"GET {', '.join(routes)}, POST {FORGET}"
    return Routes({**routes, FORGET: Route("POST", ForgetEndpoint(forget))}, listed=listed)
