"""The middleware of every call: the sandbox's marker header, a log line, the version of the path, and faults."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from time import perf_counter
from urllib.parse import quote

from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anchore_admission.sandbox.faults import Faults
from anchore_admission.sandbox.responses import AnchoreError, anchore_error
from anchore_admission.sandbox.seed import ApiName, Fault

CONTROL = "/sandbox"
MARK = (b"x-anchore-sandbox", b"true")
LOGIN_PAGE = "<!doctype html><title>Sign in</title><h1>Sign in</h1><p>anchore-admission sandbox: fault html</p>"
logger = logging.getLogger("anchore_admission.sandbox")


def versioned(path: str, api_versions: Collection[ApiName]) -> str:
    """Return the path with its version. An Engine adds v1 to paths without one, Enterprise 5 rejects them."""
    bare = path.rstrip("/") or "/"
    if bare == CONTROL or bare.startswith(f"{CONTROL}/"):
        return bare
    head = bare.split("/", 2)[1]
    if "v1" in api_versions:
        if head == "v1" or (head == "v2" and "v2" in api_versions):
            return bare
        return "/v1" if bare == "/" else f"/v1{bare}"
    return f"/v2{bare}" if bare in ("/health", "/version") else bare


class Front:
    """Pure ASGI middleware: a hanging call holds only its connection."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        api_versions: Collection[ApiName],
        faults: Faults,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._app = app
        self._api_versions = api_versions
        self._faults = faults
        self._sleep = sleep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = versioned(scope["path"], self._api_versions)
        fault = None if path.startswith(CONTROL) else self._faults.take(scope["method"], path)
        state = {**scope.get("state", {}), "fault": fault.mode if fault else None}
        call = {**scope, "path": path, "raw_path": quote(path).encode(), "state": state}
        response = _Response(send)
        started = perf_counter()
        try:
            await self._serve(call, receive, response, fault)
        finally:
            self._log(scope, response.status, perf_counter() - started, fault)

    async def _serve(self, call: Scope, receive: Receive, send: Send, fault: Fault | None) -> None:
        if fault is None:
            await self._app(call, receive, send)
            return
        if fault.delay:
            await self._sleep(fault.delay)
        if fault.mode == "hang":
            await _until_disconnected(receive)
            return
        await (_instead(fault) or self._app)(call, receive, send)

    def _log(self, scope: Scope, status: int | None, seconds: float, fault: Fault | None) -> None:
        query = scope["query_string"].decode("latin-1")
        target = quote(scope["path"]) + (f"?{quote(query, safe='=&%:/@')}" if query else "")
        note = f" fault={fault.mode}" if fault else ""
        outcome = status or "no response"
        logger.info("sandbox %s %s %s %.1fms%s", scope["method"], target, outcome, seconds * 1000, note)


class _Response:
    """Sends the response with the sandbox's marker header, and keeps its status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), MARK]}
        await self._send(message)


def _instead(fault: Fault) -> Response | None:
    if fault.mode == "html":
        return HTMLResponse(LOGIN_PAGE)
    if fault.mode == "fail":
        return anchore_error(AnchoreError(fault.status, f"a fault of the sandbox: {fault.status}"))
    return None


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
