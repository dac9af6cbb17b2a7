"""Connections to a server: kept alive, with trust that may change, without cookies or unbounded name resolution."""

import asyncio
import io
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader
from httpx_aiohttp.transport import AiohttpResponseStream, map_aiohttp_exceptions
from multidict import CIMultiDict

from anchore_admission.adapters.proxies import Proxy

# More connections than look-ups at once; kept for less time than common load balancers keep theirs (60 s).
_CONNECTIONS: Final = 128
_KEPT_SECONDS: Final = 30.0
_INTERIM: Final = frozenset(range(100, 200)) - {101}
_MOST_INTERIM: Final = 10
_LARGE: Final = 512 * 1024
_AUTHORIZATION = "Proxy-Authorization"
look_up = socket.getaddrinfo


class PooledTransport(httpx.AsyncBaseTransport):
    """httpx over aiohttp, which costs a fifth of the CPU of httpx's own transport.

    ``trust`` is called for every request, so that a changed CA file applies to every new connection; None is enough for
    http:// addresses. With a ``socket``,
    the path of a Unix socket, every request goes there, whatever its host.

    The extension ``reused`` of a request marks one that was sent over a connection of an earlier request. Only
    transports that ``tell_reuse`` set it, because it costs time.
    """

    def __init__(
        self,
        trust: Callable[[], ssl.SSLContext] | None,
        proxy: Proxy | None = None,
        *,
        socket: str | None = None,
        tell_reuse: bool = False,
    ) -> None:
        self._trust = trust
        self._proxy = proxy
        self._socket = socket
        self._tell_reuse = tell_reuse
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        # Opened by the first call: a session needs a running event loop, and the client may be built before it runs.
        if self._session is None:
            self._session = self._opened()
        timeout = request.extensions["timeout"]
        headers = CIMultiDict(request.headers.items())
        more: dict[str, Any] = {"trace_request_ctx": request.extensions} if self._tell_reuse else {}
        if self._proxy:
            more["proxy"] = self._proxy.url
            if self._proxy.authorization:
                # The proxy reads a request that it forwards; for a tunnel it reads the CONNECT only.
                target = headers if request.url.scheme == "http" else more.setdefault("proxy_headers", CIMultiDict())
                target[_AUTHORIZATION] = self._proxy.authorization
        with map_aiohttp_exceptions():
            response = await self._session.request(
                request.method,
                str(request.url),
                headers=headers,
                data=_payload(request.content),
                allow_redirects=False,
                auto_decompress=False,
                ssl=self._trust() if self._trust else True,
                timeout=aiohttp.ClientTimeout(sock_connect=timeout["connect"], sock_read=timeout["read"]),
                **more,
            )
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=AiohttpResponseStream(response),
            request=request,
            extensions={"http_version": b"HTTP/1.1"},
        )

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        """Open a session without cookies: a load balancer's would bind the client to a server, or to an old login."""
        connector: aiohttp.BaseConnector
        if self._socket is None:
            connector = aiohttp.TCPConnector(
                limit=_CONNECTIONS, keepalive_timeout=_KEPT_SECONDS, resolver=ThreadResolver()
            )
        else:
            connector = aiohttp.UnixConnector(self._socket, limit=_CONNECTIONS, keepalive_timeout=_KEPT_SECONDS)
        # aiohttp has no other way to bound interim responses; a test holds it to this one.
        connector._factory = partial(_Connection, loop=asyncio.get_running_loop())  # type: ignore[assignment]  # noqa: SLF001
        traces = [_telling_reuse()] if self._tell_reuse else None
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trace_configs=traces)


def _payload(content: bytes) -> bytes | io.BytesIO | None:
    """Return what aiohttp sends; it warns of large bytes, which it would write at once."""
    return io.BytesIO(content) if len(content) > _LARGE else content or None


def _telling_reuse() -> aiohttp.TraceConfig:
    config = aiohttp.TraceConfig()

    async def mark(
        _session: aiohttp.ClientSession, context: Any, _params: aiohttp.TraceConnectionReuseconnParams
    ) -> None:
        context.trace_request_ctx["reused"] = True

    config.on_connection_reuseconn.append(mark)
    return config


class _Connection(ResponseHandler):
    """A connection with a bound on interim responses (100 Continue): aiohttp's own reads them without end."""

    _interim = 0

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Pass a response on to its reader, or abort the connection after a few interim ones."""
        if self._interim > _MOST_INTERIM:  # given up
            return
        self._interim = self._interim + 1 if data[0].code in _INTERIM else 0
        if self._interim <= _MOST_INTERIM:
            super().feed_data(data, size)
        elif self.transport is not None:
            self.transport.abort()
            self.set_exception(aiohttp.ClientPayloadError("too many interim responses (1xx)"))


class ThreadResolver(AbstractResolver):
    """A resolver that looks names up in threads that nothing waits for.

    aiohttp uses the event loop's own threads, and a loop that ends waits for them: with a silent name server, a command
    with ``--timeout 3`` or a stopping server would take as long as the system's resolver retries.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[tuple[Any, ...]]] = loop.create_future()

        def deliver(result: Sequence[tuple[Any, ...]] | None, error: OSError | None) -> None:
            if found.done():  # given up in the meantime
                return
            if error is not None:
                found.set_exception(error)
            else:
                found.set_result(result or ())

        def run() -> None:
            result, failure = None, None
            try:
                # Skip address families that this host does not have (getaddrinfo(3)), such as IPv6 in many clusters.
                flags = socket.AI_ADDRCONFIG
                result = look_up(host, port, type=socket.SOCK_STREAM, family=family, flags=flags)
            except (OSError, UnicodeError) as error:
                # A host name with a label of more than 63 characters fails in Python's IDNA codec, with a UnicodeError.
                failure = error if isinstance(error, OSError) else OSError(str(error))
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(deliver, result, failure)

        threading.Thread(target=run, name="resolver", daemon=True).start()
        return [_address(host, *entry) for entry in await found]

    async def close(self) -> None:
        """Close nothing: the threads end by themselves."""


def _address(name: str, family: int, _type: int, proto: int, _name: str, address: tuple[Any, ...]) -> ResolveResult:
    host, port = address[:2]
    if family == socket.AF_INET6 and len(address) > 3 and address[3]:  # noqa: PLR2004 - the scope's place
        host = f"{host}%{address[3]}"
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=name, host=host, port=port, family=family, proto=proto, flags=flags)
