"""The operations port: is the process alive, may it be sent reviews, which version runs, what it has counted."""

import platform
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from anchore_admission import __version__
from anchore_admission.errors import MethodNotAllowed, NotServed
from anchore_admission.web.body import send_error

Exposition = Callable[[str | None], tuple[bytes, str]]
"""The metrics in the form that an Accept header asks for, with their media type."""


class Readiness:
    """Named conditions that must all hold before reviews may come.

    Local facts only: were Anchore one of them, its failure would take every replica out of the Service at once, and
    the webhook's ``failurePolicy`` would answer for the whole cluster.
    """

    def __init__(self, *conditions: str) -> None:
        self._conditions: dict[str, Callable[[], bool]] = dict.fromkeys(conditions, _never)

    def set(self, condition: str, holds: bool) -> None:
        self.watch(condition, lambda: holds)

    def watch(self, condition: str, holds: Callable[[], bool]) -> None:
        """Ask whenever somebody wants to know."""
        if condition not in self._conditions:
            raise KeyError(condition)
        self._conditions[condition] = holds

    def is_ready(self) -> bool:
        return all(self.conditions().values())

    def conditions(self) -> dict[str, bool]:
        return {name: holds() for name, holds in self._conditions.items()}


def _never() -> bool:
    return False


def create_operations(readiness: Readiness, exposition: Exposition) -> ASGIApp:
    async def livez(_: Request) -> Response:
        """That this is answered is the answer: the event loop turns."""
        return PlainTextResponse("ok")

    async def readyz(_: Request) -> Response:
        ready = readiness.is_ready()
        return JSONResponse({"ready": ready, "conditions": readiness.conditions()}, 200 if ready else 503)

    async def version(_: Request) -> Response:
        return JSONResponse({"version": __version__, "python": platform.python_version()})

    async def metrics(request: Request) -> Response:
        body, media_type = exposition(request.headers.get("accept"))
        return Response(body, media_type=media_type)

    async def otherwise(scope: Scope, _receive: Receive, send: Send) -> None:
        served = scope["path"] in endpoints
        text = f"nothing is served at this path; there is GET {', '.join(endpoints)}"
        await send_error(send, MethodNotAllowed("GET") if served else NotServed(text))

    endpoints = {"/livez": livez, "/readyz": readyz, "/version": version, "/metrics": metrics}
    router = Router([Route(path, endpoint) for path, endpoint in endpoints.items()], redirect_slashes=False)

    async def operations(scope: Scope, receive: Receive, send: Send) -> None:
        reads = scope["type"] == "http" and scope["method"] in {"GET", "HEAD"} and scope["path"] in endpoints
        await (router if reads else otherwise)(scope, receive, send)

    return operations
