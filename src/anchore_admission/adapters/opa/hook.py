"""Open Policy Agent as a decision hook: one call of its Data API for each review."""

import asyncio
import json
import os
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import httpx

from anchore_admission.adapters.failures import causes, cleaned, is_unconnected, tls_error, why_tls_failed
from anchore_admission.adapters.opa.answer import LARGEST_ANSWER, decision_of
from anchore_admission.core.hook import HookDecision
from anchore_admission.errors import HookFailed, HookInvalid, HookUnavailable
from anchore_admission.ports.deadline import Deadline

Pause = Callable[[float], Awaitable[None]]
_BACK_OFF = (0.02, 0.06)
"""Seconds before a second attempt to connect: OPA may be about to listen again."""
_OK: Final = 200
_BAD_REQUEST: Final = 400
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_PROXY_AUTHENTICATION: Final = 407
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500
_BUSY: Final = frozenset({502, 503, 504})
_REDIRECT: Final = range(300, 400)
_MOST_ERRORS: Final = 2
"""Errors of a policy that a message names."""
_CONNECTING = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)
_JSON: Final = "application/json"
_REJECTED = re.compile(r"ALERT_(?:.{0,20}CERTIFICATE|UNKNOWN_CA)")
"""OpenSSL's reasons for an end of the handshake by a server that verifies its clients."""
_BY_OBJECT: Final = frozenset({"eval_builtin_error", "eval_conflict_error", "eval_type_error"})
"""OPA's codes for a policy that fails on its input."""
_NOT_READ: Final = "invalid_parameter"
"""OPA's code for a request that it does not read."""
_OUTSIDE = ("http.send:", "net.")
"""The functions that fail because of other servers."""
_VALUES = re.compile(r'["\n]')
"""The beginning of a value in an error of the policy: ``parsing "many"``, ``conflicting values:``, a line for each."""


class _Retryable(HookUnavailable):
    """A failure before OPA had read the question, which a second attempt may fix; it waits a moment if ``late``."""

    def __init__(self, text: str, *, waits: bool) -> None:
        super().__init__(text)
        self.waits = waits


@dataclass(frozen=True, slots=True)
class Target:
    """The OPA to call: the address for messages, the base of its URLs and the path of the policy."""

    address: str
    base: str
    policy: str

    @property
    def url(self) -> str:
        # Without the parameter, a function that fails leaves a rule undefined: a deny rule would be silent.
        return f"{self.base}/v1/data/{self.policy}?strict-builtin-errors=true"


class OpaHook:
    """The ``DecisionHook`` of an OPA. ``token`` returns the bearer token for the next call."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        target: Target,
        *,
        timeout: float,
        token: Callable[[], str] | None = None,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._transport = transport
        self._target = target
        self._timeout = timeout
        self._token = token
        self._pause = pause

    @property
    def name(self) -> str:
        return self._target.policy

    async def decide(self, document: bytes, deadline: Deadline) -> HookDecision:
        # Spliced, not parsed and dumped: the document is the request as it came, and may be large.
        body = b"".join((b'{"input":', document, b"}"))
        del document  # it may be large, and the call may take long
        async with deadline.bound():
            try:
                async with asyncio.timeout(self._timeout):
                    answer = await self._ask(body)
            except TimeoutError as error:
                raise HookUnavailable(f"no response from OPA within {self._timeout:g} seconds") from error
        return decision_of(answer, self._target.policy)

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _ask(self, body: bytes) -> bytes:
        try:
            return await self._exchange(body)
        except _Retryable as error:
            if error.waits:
                await self._pause(random.uniform(*_BACK_OFF))  # noqa: S311 - jitter, not a secret
        return await self._exchange(body)

    async def _exchange(self, body: bytes) -> bytes:
        """Return the body of a successful response. Raises HookUnavailable, HookInvalid, HookFailed."""
        request = self._request(body)
        response: httpx.Response | None = None
        try:
            # Below httpx's client, which would add cookies and redirects: the transport sends what it is given.
            response = await self._transport.handle_async_request(request)
            answer = await _read(response)
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            raise self._failure(error, answered=response is not None, reused="reused" in request.extensions) from error
        finally:
            if response is not None:
                await response.aclose()
        if response.status_code != _OK:
            kind = HookFailed if _is_by_object(response, answer) else HookUnavailable
            raise kind(_why_failed(response, answer))
        if not response.headers.get("content-type", "").lower().startswith(_JSON):
            raise HookInvalid("the response is not JSON, so it is not from OPA; check opa.url")
        return answer

    def _request(self, body: bytes) -> httpx.Request:
        # An answer that is not compressed cannot unpack to gigabytes.
        headers = {"content-type": _JSON, "accept": _JSON, "accept-encoding": "identity"}
        if self._token:
            headers["authorization"] = f"Bearer {self._token()}"
        extensions = {"timeout": {"connect": None, "read": None}}  # ``decide`` bounds the whole exchange
        return httpx.Request("POST", self._target.url, headers=headers, content=body, extensions=extensions)

    def _failure(self, error: Exception, *, answered: bool, reused: bool) -> HookUnavailable:
        if answered:
            return HookUnavailable("OPA closed the connection in the middle of its response")
        if (tls := tls_error(error)) is not None:
            if _REJECTED.search(tls.reason or ""):
                why = f"OPA does not accept the client certificate ({tls.reason})"
                return HookUnavailable(f"{why}; check opa.certificateFile and the CAs that OPA trusts")
            why = why_tls_failed(tls, ca_file="opa.caFile", address="opa.url")
            return HookUnavailable(f"cannot connect to OPA at {self._target.address}: {why}")
        for cause in causes(error):
            if isinstance(cause, aiohttp.ClientHttpProxyError):
                return HookUnavailable(f"the proxy before OPA refuses the connection ({cause.status})")
        if isinstance(error, aiohttp.ClientResponseError):
            return HookUnavailable("the response is not HTTP, so it is not from OPA; check opa.url")
        if isinstance(error, _CONNECTING) and is_unconnected(error):
            why = _why_unconnected(error)
            return _Retryable(f"cannot connect to OPA at {self._target.address}{why}", waits=True)
        if reused:
            return _Retryable("OPA closed the connection", waits=False)
        return HookUnavailable("OPA closed the connection without a response")


async def _read(response: httpx.Response) -> bytes:
    """Read at most one byte more than an answer may have, which shows that it is too large."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise HookInvalid("OPA's answer has a Content-Encoding that was not requested")
    if not isinstance(response.stream, httpx.AsyncByteStream):
        raise TypeError("an asynchronous transport gave a synchronous stream")
    body = bytearray()
    async for chunk in response.stream:
        body += chunk
        if len(body) > LARGEST_ANSWER:
            break
    return bytes(body)


def _why_unconnected(error: Exception) -> str:
    for cause in causes(error):
        if isinstance(cause, aiohttp.ClientConnectorDNSError):
            return ": its host name is not known"
        # The event loop's own text has the address in it.
        if isinstance(cause, OSError) and not isinstance(cause, aiohttp.ClientError) and cause.errno:
            return f": {os.strerror(cause.errno)}"
    return ""


def _why_failed(response: httpx.Response, body: bytes) -> str:  # noqa: PLR0911 - a table of causes
    """Return the text about a response that is not 200."""
    status = response.status_code
    said = _said(body)
    if status == _UNAUTHORIZED:
        return "OPA does not authorize the request (401); check opa.tokenFile, and the policy system.authz of OPA"
    if status == _FORBIDDEN:
        return "a server before OPA denies access (403)"
    if status == _PROXY_AUTHENTICATION:
        return "the proxy before OPA asks for a user name and password (407)"
    if status in _REDIRECT:
        return f"opa.url redirects elsewhere ({status}), perhaps to a login page; check opa.url"
    if status == _NOT_FOUND:
        return "no OPA at this address (404); check opa.url"
    # The words of nginx and of Go's net/http, whose responses are not JSON.
    if status == _BAD_REQUEST and b"HTTPS" in body:
        return "a plain HTTP request was sent to an HTTPS port (400): write https:// in opa.url"
    if status in _BUSY or status == _TOO_MANY:
        return f"OPA is not available ({status})"
    if status == _SERVER_ERROR and (said or len(body) > LARGEST_ANSWER):
        return f"OPA cannot evaluate the policy (500){f': {said}' if said else ''}"
    return f"OPA sent an unexpected response ({status})" + (f": {said}" if said else "")


def _is_by_object(response: httpx.Response, body: bytes) -> bool:
    """Return True if the policy fails on the object itself, so that its author must not pass it by that."""
    if response.status_code == _BAD_REQUEST:
        # For example a number or a size that OPA does not read.
        return _parsed(body).get("code") == _NOT_READ
    if response.status_code != _SERVER_ERROR:
        return False
    # An error may quote a large part of the object.
    return len(body) > LARGEST_ANSWER or any(
        error.get("code") in _BY_OBJECT and not error["message"].startswith(_OUTSIDE)
        for error in _errors(_parsed(body))
    )


def _said(body: bytes) -> str:
    """Return OPA's own words in an error response, with the places in the policy."""
    document = _parsed(body)
    texts = [_described(error) for error in _errors(document)[:_MOST_ERRORS]]
    message = document.get("message")
    return cleaned("; ".join(texts) or (message if isinstance(message, str) else ""))


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body.decode())
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _errors(document: dict[str, Any]) -> list[dict[str, Any]]:
    errors = document.get("errors")
    found = errors if isinstance(errors, list) else []
    return [error for error in found if isinstance(error, dict) and isinstance(error.get("message"), str)]


def _described(error: dict[str, Any]) -> str:
    """Describe an error without the values that it quotes, which may be those of the input: an environment, a token."""
    location = error.get("location")
    place = ""
    if isinstance(location, dict) and isinstance(location.get("file"), str):
        place = f" ({location['file']}:{location.get('row')})"
    return f"{_VALUES.split(error['message'])[0].rstrip(' :')}{place}"
