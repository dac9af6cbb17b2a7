"""Run the applications: bind their ports, serve until a signal, let requests in flight finish."""

import asyncio
import contextlib
import errno
import logging
import resource
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.settings import flag, spelled
from anchore_admission.web.accepting import HANDSHAKES, Acceptor
from anchore_admission.web.clients import Clients
from anchore_admission.web.connections import REPEATED, Closed, Connection
from anchore_admission.web.signals import stop_on_signals
from anchore_admission.web.tls import ServingCertificate

KEEP_ALIVE: Final = 110
"""Seconds to keep an idle connection: longer than the 90 seconds after which an API server closes it. If we closed it
first, a review written at that moment would fail."""
CONNECTIONS: Final = 1024
"""The most connections at once; beyond that, stalled and idle ones are closed to make room."""
_OTHER_FILES: Final = 256
"""File descriptors kept for everything else: Anchore, the cluster, files."""
# At most: the kernel caps it at net.core.somaxconn (listen(2)).
BACKLOG: Final = 2048
FAREWELL_SECONDS: Final = 1.0
"""For the last bytes of a response, and for the client to confirm the end of the connection."""

logger = logging.getLogger("anchore_admission.server")


@dataclass(frozen=True, slots=True)
class Listener:
    """One port and its application; port 0 takes a free one.

    ``setting`` names the port in the log, and in the error if it is taken. ``clients`` needs a ``certificate`` that
    asks clients for theirs. Lifespan events are not sent: the builder of an application opens and closes its resources.
    At most ``connections`` are kept at once; ``on_closed`` is called for each one that is closed before its client
    closes it.
    """

    app: ASGIApp
    host: str
    port: int
    certificate: ServingCertificate | None = None
    setting: str = "port"
    clients: Clients | None = None
    connections: int | None = None
    on_closed: Callable[[Closed], None] = lambda _: None


async def serve(
    listeners: Sequence[Listener],
    *,
    on_ready: Callable[[Sequence[int]], None],
    on_stop: Callable[[], None] = lambda: None,
    drain_seconds: float = 30.0,
    linger_seconds: float = 0.0,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until ``stop`` is set or SIGTERM or SIGINT arrives; a second signal ends the process at once.

    ``on_ready`` is called with the bound ports, in the listeners' order, and ``on_stop`` as soon as the stop begins.
    For ``linger_seconds`` new requests are still answered, each with ``Connection: close``. Then the listeners close
    in their order, each once the requests of the one before are answered, within ``drain_seconds`` in all.
    ``process.run`` shows the order of the whole stop: readiness, listeners, submissions, background work.

    Raises ConfigurationError if a port cannot be bound.
    """
    stop = asyncio.Event() if stop is None else stop
    # A logger ignores a filter that it already has, so several calls are harmless.
    logging.getLogger("uvicorn.error").addFilter(REPEATED)
    with _bound(listeners) as servers, stop_on_signals(stop):
        try:
            for server in servers:
                await server.open()
            on_ready([server.port for server in servers])
            await stop.wait()
            on_stop()
            await _say_goodbye(servers, linger_seconds)
        finally:
            await _drain(servers, drain_seconds)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers and its loop, which ticks ten times a second for headers we do not send."""

    def __init__(self, listener: Listener, bound: socket.socket) -> None:
        certificate = listener.certificate
        super().__init__(
            uvicorn.Config(
                listener.app,
                http=listener.clients.protocol() if listener.clients else Connection,
                ws="none",
                lifespan="off",
                interface="asgi3",
                ssl_context_factory=(lambda *_: certificate.context) if certificate else None,
                # uvicorn's own configuration would take its loggers out of ours.
                log_config=None,
                access_log=False,
                # A client may write anything into X-Forwarded-For; only /forget depends on its (real) address.
                proxy_headers=False,
                server_header=False,
                date_header=False,
                backlog=BACKLOG,
                limit_concurrency=min(listener.connections or CONNECTIONS, descriptors()),
                timeout_keep_alive=KEEP_ALIVE,
            )
        )
        self._flag = flag(listener.setting)
        self._on_closed = listener.on_closed
        self._bound = bound
        self._acceptor: Acceptor | None = None
        self.host, self.port = bound.getsockname()[:2]
        self.address = f"{'https' if certificate else 'http'}://{_bracketed(self.host)}:{self.port}"

    async def open(self) -> None:
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        self._acceptor = Acceptor(self._bound, self._protocol, self.config.ssl, self._on_closed)
        self._acceptor.start()
        self.started = True
        logger.info("listening on %s (%s)", self.address, self._flag)

    def _protocol(self) -> asyncio.Protocol:
        """Make a protocol as uvicorn's ``startup`` does."""
        protocol: Connection = self.config.http_protocol_class(  # type: ignore[call-arg, assignment]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        protocol.on_closed = self._on_closed
        return protocol

    def say_goodbye(self) -> None:
        """Ask clients, from the next response on, to connect to another replica."""
        self.server_state.default_headers = [(b"connection", b"close")]

    async def close(self, seconds: float) -> None:
        """Stop accepting connections, close the idle ones, wait for the requests in flight.

        uvicorn's own ``shutdown`` waits for a client that never confirms the end of its TLS connection as long as for a
        request: one idle client would keep the process for the whole time.
        """
        if not self._acceptor:
            return
        await self._acceptor.close()
        self._acceptor = None
        for connection in list(self.server_state.connections):
            # uvicorn closes an idle connection now, and a busy one after its response.
            connection.shutdown()
        await self._requests_answered(seconds)
        await self._connections_gone(FAREWELL_SECONDS)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        logger.info("closed %s", self.address)

    async def _requests_answered(self, seconds: float) -> None:
        """Wait for all requests, including those of connections that were accepted just before."""
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        while tasks := set(self.server_state.tasks):
            logger.info("%s: %d requests in flight", self.address, len(tasks))
            _, late = await asyncio.wait(tasks, timeout=max(0.0, end - clock()))
            if late:
                logger.error("%s did not drain in time: %d requests canceled", self.address, len(late))
                for task in late:
                    task.cancel()
                return

    async def _connections_gone(self, seconds: float) -> None:
        """Wait for responses that are still in a buffer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.server_state.connections:  # noqa: ASYNC110 - uvicorn sends no event when one is gone
                    await asyncio.sleep(0.02)


async def _say_goodbye(servers: Sequence[_Server], linger_seconds: float) -> None:
    for server in servers:
        server.say_goodbye()
    await asyncio.sleep(linger_seconds)


async def _drain(servers: Sequence[_Server], seconds: float) -> None:
    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    for server in servers:
        # At least a second, even if the listeners before have used up the time.
        await server.close(max(1.0, end - clock()))


@contextlib.contextmanager
def _bound(listeners: Sequence[Listener]) -> Iterator[list[_Server]]:
    """Bind every port before any request is answered. Raises ConfigurationError."""
    with contextlib.ExitStack() as stack:
        yield [_Server(listener, stack.enter_context(_socket(listener))) for listener in listeners]


def _socket(listener: Listener) -> socket.socket:
    """Bind a port. ``::`` means every address, IPv4 included, where the system allows it."""
    address = (listener.host, listener.port)
    try:
        if ":" in listener.host:
            both = listener.host == "::" and socket.has_dualstack_ipv6()
            return socket.create_server(address, family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=both)
        return socket.create_server(address, backlog=BACKLOG)
    except OSError as error:
        at_fault = listener.setting if error.errno in {errno.EADDRINUSE, errno.EACCES} else "host"
        where = f"{_bracketed(listener.host)}:{listener.port}"
        reason = str(error.strerror).partition(" (")[0]  # the rest repeats the address
        why = f"cannot listen on {where}: {reason}"
        raise ConfigurationError("settings", [Problem(spelled(at_fault), why)]) from error


def descriptors() -> int:
    """Return how many connections the file descriptors allow, after raising their limit as far as permitted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + HANDSHAKES + _OTHER_FILES
    # On Linux, RLIM_INFINITY is -1, so that it would count as less than any number.
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS
    return min(CONNECTIONS, max(soft - HANDSHAKES - _OTHER_FILES, HANDSHAKES))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
