"""One call: its caller, account, parameters and body."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from anchore_admission.sandbox.accounts import Caller, authorize, authorize_system
from anchore_admission.sandbox.api import Api, Json
from anchore_admission.sandbox.responses import AnchoreError, ProblemError, UnauthorizedError
from anchore_admission.sandbox.seed import ApiName
from anchore_admission.sandbox.times import epoch
from anchore_admission.sandbox.world import Tenant, World

MAX_BODY = 8 * 1024 * 1024
OWN = "own"
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Call:
    """A call that has passed authentication."""

    request: Request
    api: Api
    world: World
    caller: Caller
    account: str

    @property
    def tenant(self) -> Tenant:
        return self.world.tenant(self.account)

    @property
    def fault(self) -> str | None:
        fault: str | None = self.request.state.fault
        return fault

    def path(self, name: str) -> str:
        value: str = self.request.path_params[name]
        return value

    def query(self, name: str) -> str | None:
        return self.request.query_params.get(name)

    def boolean(self, name: str, *, default: bool = False) -> bool:
        value = self.query(name)
        if value is None:
            return default
        if value.lower() not in ("true", "false"):
            raise ProblemError(400, f"Wrong type, expected 'boolean' for query parameter '{name}'")
        return value.lower() == "true"

    def choice(self, name: str, choices: Sequence[str]) -> str | None:
        value = self.query(name)
        if value is not None and value not in choices:
            raise ProblemError(400, f"{value!r} is not one of {list(choices)}")
        return value

    def time(self, name: str) -> float | None:
        value = self.query(name)
        try:
            return None if value is None else epoch(value)
        except ValueError as error:
            raise ProblemError(400, f"{value!r} is not a 'datetime' - '{name}'") from error

    async def body(self) -> Any:
        """Read the JSON body; None if it is empty."""
        content_type = self.request.headers.get("content-type", "").split(";")[0].strip().lower()
        if content_type != "application/json" and not content_type.endswith("+json"):
            raise ProblemError(415, None, f"Invalid Content-type ({content_type}), expected JSON data")
        return await read_json(self.request)


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One route, in both APIs unless ``only`` names one.

    ``action`` is the permission that it requires; ``OWN`` requires only a user.
    """

    method: str
    path: str
    action: str
    handler: Handler
    system: bool = False
    only: ApiName | None = None


def respond(content: Json, status: int = 200) -> Response:
    return Response(status_code=status) if status == 204 else JSONResponse(content, status)  # noqa: PLR2004 - "no content"


async def read_json(request: Request) -> Any:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise AnchoreError(413, f"the sandbox reads at most {MAX_BODY} bytes")
    if not body:
        return None
    try:
        value = json.loads(body)
        # values that cannot be encoded again (half of a surrogate pair, NaN) must not be stored
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise ProblemError(400, "Request body is not valid JSON") from error
    return value


def endpoint(operation: Operation, api: Api, world: World) -> Endpoint:
    """Authenticate and authorize a call, simulate the parts of Anchore that are down, and run the handler."""

    async def serve(request: Request) -> Response:
        if request.state.fault == "databaseDown":
            raise UnauthorizedError  # an engine without its database cannot verify any credentials
        caller = world.directory.authenticate(request.headers.get("authorization"))
        if operation.system:
            authorize_system(caller, operation.action)
        own = operation.system or operation.action == OWN
        account = authorize(caller, None if own else request.headers.get("x-anchore-account"), operation.action)
        if not api.takes_unknown_accounts and account not in world.directory.accounts:
            raise AnchoreError(404, "User account not found")
        if request.state.fault == "catalogDown" and operation.path.startswith(("/images", "/policies", "/events")):
            raise _catalog_down(request)
        return await operation.handler(Call(request, api, world, caller, account))

    return serve


def _catalog_down(request: Request) -> AnchoreError:
    path = request.scope["path"].split("/", 2)[2].removesuffix("/check")
    return AnchoreError(500, f"failed {request.method.lower()} url=http://127.0.0.1:8282/v1/{quote(path, safe='/')}")
