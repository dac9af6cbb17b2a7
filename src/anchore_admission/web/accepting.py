"""Accept connections on a port, with limits on the number and duration of TLS handshakes."""

import asyncio
import errno
import logging
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from anchore_admission.throttled import Throttled
from anchore_admission.web.connections import HEADER_SECONDS, Closed, log_closed

HANDSHAKES: Final = 256
"""The most handshakes at once; beyond that, the oldest is closed. Each takes some 50 KiB."""
GOODBYE_SECONDS: Final = 1.0
"""Limit for a client to confirm the end of its TLS connection."""
PAUSE_SECONDS: Final = 0.1
"""The pause before the next attempt when the system has no more file descriptors or memory."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

logger = logging.getLogger("anchore_admission.server")


class Acceptor:
    """Accept connections for a protocol.

    ``loop.create_server`` would start a handshake for every connection, without a limit on their number.
    """

    def __init__(
        self,
        bound: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
        on_closed: Callable[[Closed], None],
    ) -> None:
        self._bound = bound
        self._protocol = protocol
        self._tls = tls
        self._on_closed = on_closed
        self._handshakes: dict[asyncio.Task[None], None] = {}  # oldest first
        self._warnings = Throttled(logger, time.monotonic)
        self._pause: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start accepting, in a callback: a task that is cancelled could lose a connection that it has accepted."""
        self._bound.setblocking(False)
        asyncio.get_running_loop().add_reader(self._bound, self._accept)

    async def close(self) -> None:
        """Stop accepting connections; handshakes in progress have a second to end."""
        # Before the socket closes: another socket may then get the number of its descriptor.
        asyncio.get_running_loop().remove_reader(self._bound)
        if self._pause:
            self._pause.cancel()
        self._bound.close()
        handshakes = set(self._handshakes)
        if handshakes:
            _, late = await asyncio.wait(handshakes, timeout=GOODBYE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _accept(self) -> None:
        try:
            connection, _ = self._bound.accept()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                text = f"cannot accept connections: {error.strerror}; trying again"
                self._warnings.warn("accept", text, logging.ERROR)
                loop = asyncio.get_running_loop()
                # The connection that waits keeps the socket readable: without a pause, the loop would spin.
                loop.remove_reader(self._bound)
                self._pause = loop.call_later(PAUSE_SECONDS, self.start)
            return  # any other error concerns one connection that is gone already
        connection.setblocking(False)
        self._begin(connection)

    def _begin(self, connection: socket.socket) -> None:
        if len(self._handshakes) >= HANDSHAKES:
            oldest = next(iter(self._handshakes))
            # Not left to the end of its task: more connections may arrive before the task runs.
            del self._handshakes[oldest]
            oldest.cancel()
            self._closed()
        task = asyncio.create_task(self._open(connection))
        self._handshakes[task] = None
        task.add_done_callback(partial(self._ended, connection))

    def _ended(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        self._handshakes.pop(task, None)
        # A task that is cancelled before its first step never enters ``_open``, which would close the socket.
        if task.cancelled():
            connection.close()
        elif error := task.exception():
            logger.error("cannot open a connection", exc_info=error)

    async def _open(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        # The event loop rejects these limits for a port without TLS.
        times = {"ssl_handshake_timeout": HEADER_SECONDS, "ssl_shutdown_timeout": GOODBYE_SECONDS} if self._tls else {}
        try:
            # Nagle's algorithm (RFC 896) could hold back the end of a response until the client confirms its beginning.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(self._protocol, connection, ssl=self._tls, **times)
        except ConnectionAbortedError:  # the handshake took too long
            self._closed()
        except OSError as error:  # ssl.SSLError too: a client that speaks no TLS, does not trust us, or is gone
            logger.debug("no connection: %s", error)
            connection.close()

    def _closed(self) -> None:
        log_closed(Closed.HANDSHAKE)
        self._on_closed(Closed.HANDSHAKE)
