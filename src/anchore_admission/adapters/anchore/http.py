"""The HTTP client of one Anchore account: authenticated, bounded in time and size, measured, JSON only."""

import asyncio
import hashlib
import json
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import httpx

from anchore_admission.adapters.anchore.credentials import Credentials, CredentialSource
from anchore_admission.adapters.anchore.endpoint import ACCOUNT_HEADER, Bounds
from anchore_admission.adapters.anchore.responses import (
    BUSY,
    SMALL,
    AnchoreResponse,
    NoConnection,
    Transient,
    expect_readable,
    too_large,
)
from anchore_admission.adapters.anchore.unpacking import unpacking
from anchore_admission.adapters.failures import causes, cleaned, is_unconnected, tls_error, why_tls_failed
from anchore_admission.core.facts import AnalysisState
from anchore_admission.errors import (
    AnalysisRefused,
    AnchoreRefused,
    AnchoreUnavailable,
    AnchoreUnreachable,
    DeadlineExceeded,
    EvaluationError,
)
from anchore_admission.ports.anchore import Identity
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.telemetry import Recorder
from anchore_admission.redaction import pair_forms, remember

T = TypeVar("T")
Pause = Callable[[float], Awaitable[None]]

logger = logging.getLogger("anchore_admission.anchore")
_BACK_OFF = (0.05, 0.15)
_ROOM = 0.5  # seconds that must be left for a second attempt
_TICK = 0.01
"""Seconds by which a timer may fire early. A call with no more than that left was ended by its deadline."""
_CLOSED = "Anchore closed the connection"
_CAUSES: tuple[tuple[type[Exception], type[AnchoreUnavailable], str], ...] = (
    (aiohttp.ServerDisconnectedError, Transient, _CLOSED),
    (aiohttp.ClientProxyConnectionError, NoConnection, "cannot connect to the proxy before Anchore"),
    (
        aiohttp.ClientConnectorDNSError,
        NoConnection,
        "cannot connect to Anchore at {address}: its host name is not known",
    ),
)
"""Errors that httpx does not distinguish; the transport keeps aiohttp's as the cause. More specific ones first."""
_PROXY_AUTHENTICATION = 407
_SSL_CONTEXT = re.compile(r" ssl:(?:<[^<>]{1,80}>|[A-Za-z]{1,10})")
"""The part of aiohttp's messages about the TLS of a connection, also of one without."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request: unescaped path segments and query values; with a body it is a POST.

    A probe accepts the response that its path is not served. ``limit`` lowers the largest response, in bytes.
    A ``quiet`` call's failure is not worth a warning: it is repeated in the background, and its caller reports it.
    """

    operation: str
    path: tuple[str, ...]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    probe: bool = False
    limit: int | None = None
    quiet: bool = False

    def target(self) -> str:
        """Return the escaped path and query.

        Raises ValueError for an empty parameter: to Anchore it means "any" (every image, every tag, the active policy).
        """
        # Servers and proxies remove the segments . and .. from a path (RFC 3986, section 6.2.2.3).
        if not all(self.path) or not all(self.query.values()) or {".", ".."} & set(self.path):
            raise ValueError(f"{self.operation}: an empty or relative value in {self.path} {dict(self.query)}")
        path = "".join("/" + quote(segment, safe="") for segment in self.path)
        return f"{path}?{urlencode(self.query, quote_via=quote, safe='')}" if self.query else path


class AnchoreHttp:
    """The connection pool of one account."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        root: str,
        name: str,
        headers: Mapping[str, str],
        credentials: CredentialSource | None,
        bounds: Bounds,
        recorder: Recorder,
        kept: str = "",
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._client = client
        self._root = root
        self._address = urlsplit(root).netloc  # root_of() has rejected an address with credentials
        self._name = name
        # gzip only: ``unpacking`` knows neither brotli nor zstd.
        self._bare_headers = {"accept": "application/json", "accept-encoding": "gzip", **headers}
        self._headers = self._bare_headers
        self._credentials = credentials
        self._known: Credentials | None = None
        self._identified: Credentials | None = None
        # Replicas that keep more of a response must not find the answers of those that keep less.
        self._kept = kept
        self._identity = self._identified_as("", generation=0)
        self._bounds = bounds
        self._recorder = recorder
        self._pause = pause

    @property
    def identity(self) -> Identity:
        """The identity of the account; new credentials begin a new generation."""
        try:
            current = self._credentials.current() if self._credentials is not None else None
        except AnchoreRefused:  # there are none yet
            current = None
        if current is not None and current is not self._identified:
            self._identified = current
            self._identity = self._identified_as(current.username, generation=self._identity.generation + 1)
        return self._identity

    def _identified_as(self, user: str, *, generation: int) -> Identity:
        parts = (self._root, user, self._bare_headers.get(ACCOUNT_HEADER, ""), self._kept)
        return Identity(hashlib.sha256("\0".join(parts).encode()).hexdigest(), generation)

    async def call(self, call: Call, deadline: Deadline, read: Callable[[AnchoreResponse], T]) -> T:
        """Send a request and let ``read`` interpret the response: JSON, or Anchore's own 400 or 404.

        Raises EvaluationError.
        """
        url = self._root + call.target()
        response: AnchoreResponse | None = None
        outcome = "cancelled"
        began = time.perf_counter()
        self._recorder.anchore_in_flight(1)
        try:
            async with deadline.bound(), AsyncExitStack() as held:
                response = await self._send(call, url, deadline, held)
                if not (call.probe and response.is_not_served):
                    expect_readable(response, submission=call.body is not None)
                # A large response is parsed in a thread: reviews of other images go on meanwhile.
                if len(response.body) <= SMALL:
                    value = read(response)
                else:
                    value = await asyncio.to_thread(read, response)
            outcome = "not_found" if value is None or value is AnalysisState.UNKNOWN else "ok"
        except EvaluationError as error:
            outcome = error.code
            self._report(call, error, response)
            raise
        finally:
            self._recorder.anchore_in_flight(-1)
            self._recorder.anchore_call(
                account=self._name, operation=call.operation, outcome=outcome, seconds=time.perf_counter() - began
            )
        return value

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _send(self, call: Call, url: str, deadline: Deadline, held: AsyncExitStack) -> AnchoreResponse:
        """Retry a request once, but never a submission: Anchore may have accepted it although the response was lost.

        ``held`` keeps the room of a large response until it has been read.
        """
        if deadline.left() <= 0:
            raise DeadlineExceeded("no time was left for a call to Anchore")
        if call.body is not None:
            return await self._exchange(call, url, deadline, held)
        try:
            response = await self._exchange(call, url, deadline, held)
        except Transient:
            if not await self._paused(deadline):
                raise
        else:
            if response.status not in BUSY or not await self._paused(deadline):
                return response
        # An attempt that broke off may hold one of the few slots for large responses; the second must not wait for it.
        await held.aclose()
        return await self._exchange(call, url, deadline, held)

    async def _paused(self, deadline: Deadline) -> bool:
        wait = random.uniform(*_BACK_OFF)  # noqa: S311 - jitter, not a secret
        if deadline.left() < wait + _ROOM:
            return False
        await self._pause(wait)
        return True

    async def _exchange(self, call: Call, url: str, deadline: Deadline, held: AsyncExitStack) -> AnchoreResponse:
        request = self._request(call, url, deadline.left())
        try:
            # httpx limits each read only, and a response may arrive byte by byte or after endless interim responses.
            async with asyncio.timeout(self._bounds.connect + self._bounds.read):
                response = await self._client.send(request, stream=True, follow_redirects=False)
                try:
                    limit = min(self._bounds.response, call.limit or self._bounds.response)
                    return await self._read(response, limit, held)
                finally:
                    await response.aclose()
        except TimeoutError as error:
            if deadline.left() <= _TICK:
                raise DeadlineExceeded("no response before the deadline") from error
            raise self._late() from error
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            if deadline.left() <= _TICK:
                raise DeadlineExceeded("no response before the deadline") from error
            raise self._failure(error) from error

    def _request(self, call: Call, url: str, left: float) -> httpx.Request:
        """Build the request directly: ``client.build_request`` merges cookies and defaults at twice the cost."""
        timeout = {"connect": min(self._bounds.connect, left), "read": min(self._bounds.read, left)}
        extensions = {"timeout": timeout}
        if call.body is None:
            return httpx.Request("GET", url, headers=self._current_headers(), extensions=extensions)
        headers = {**self._current_headers(), "content-type": "application/json"}
        return httpx.Request("POST", url, headers=headers, content=json.dumps(call.body), extensions=extensions)

    def _current_headers(self) -> dict[str, str]:
        if self._credentials is not None:
            current = self._credentials.current()
            if current is not self._known:
                self._headers = {**self._bare_headers, "authorization": current.authorization()}
                self._known = current
                remember(f"account {self._name}", pair_forms(current.username, current.password.get_secret_value()))
        return self._headers

    async def _read(self, response: httpx.Response, most: int, held: AsyncExitStack) -> AnchoreResponse:
        """Read a body of at most ``most`` bytes; only a few large ones are in memory at a time.

        Decompress here: httpx would unpack a decompression bomb before its bytes could be counted.
        """
        small = min(SMALL, most)
        limit, is_large = small, False
        unpack = unpacking(response.headers.get("content-encoding", ""))
        body = bytearray()
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise TypeError("an asynchronous transport gave a synchronous stream")
        async for chunk in response.stream:
            # One byte more than allowed tells a body that is too large from one that just fits.
            body += unpack.feed(chunk, limit + 1 - len(body))
            if len(body) > small and not response.is_success:
                return _anchore_response(response, bytes(body[:small]), most, cut_short=True)
            if len(body) > small and not is_large:
                await held.enter_async_context(self._bounds.large)
                limit, is_large = most, True
                body += unpack.feed(b"", limit + 1 - len(body))
            if len(body) > limit:
                raise too_large(limit)
        unpack.finish()
        return _anchore_response(response, bytes(body), most)

    def _late(self) -> EvaluationError:
        return AnchoreUnavailable(f"no response from Anchore within {self._bounds.read:g} seconds")

    def _failure(self, error: Exception) -> EvaluationError:
        for cause in causes(error):
            if isinstance(cause, aiohttp.ClientHttpProxyError):
                return AnchoreUnreachable(_refused_by_proxy(cause.status))
        if (tls := tls_error(error)) is not None:
            kind = AnchoreUnreachable if is_unconnected(error) else AnchoreUnavailable
            why = why_tls_failed(tls, ca_file="anchore.caFile", address="the endpoint")
            return kind(f"cannot connect to Anchore at {self._address}: {why}")
        for known, named, text in _CAUSES:
            if isinstance(error.__cause__, known) or isinstance(error, known):
                return named(text.format(address=self._address))
        if isinstance(error, httpx.ReadTimeout):
            return self._late()
        if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)):
            if not is_unconnected(error):
                return Transient(_CLOSED)
            return NoConnection(f"cannot connect to Anchore at {self._address}")
        return AnchoreUnavailable("the connection to Anchore broke")

    def _report(self, call: Call, error: EvaluationError, response: AnchoreResponse | None) -> None:
        details = [cleaned(_SSL_CONTEXT.sub("", str(error.__cause__)))] if error.__cause__ else []
        details += [response.excerpt()] if response else []
        known = " ".join(filter(None, details))
        # A refused image is an everyday result, which the next denial explains; an operator need not act.
        level = logging.INFO if isinstance(error, AnalysisRefused) else logging.WARNING
        level = logging.DEBUG if call.quiet else level
        more = f" [{known}]" if known else ""
        logger.log(level, "Anchore account %s, %s: %s%s", self._name, call.operation, error, more)


def _anchore_response(response: httpx.Response, body: bytes, limit: int, *, cut_short: bool = False) -> AnchoreResponse:
    headers = response.headers
    content_type, location = headers.get("content-type", ""), headers.get("location", "")
    return AnchoreResponse(response.status_code, content_type, body, location, cut_short, limit)


def _refused_by_proxy(status: int) -> str:
    why = f"the proxy before Anchore refuses the connection ({status})"
    return f"{why}: it asks for a user name and password" if status == _PROXY_AUTHENTICATION else why
