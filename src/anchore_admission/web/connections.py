"""Which connections are kept: those that bring requests, and idle ones while there is room for others."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEADER_SECONDS: Final = 10.0
"""From the first byte of a request, or from the handshake, to the end of its header; API servers take milliseconds."""
HEADER_BYTES: Final = 64 * 1024
"""Of a header that has not ended; API servers send some hundred, browsers some thousand."""


class Connection(HttpToolsProtocol):
    """uvicorn's own, which waits for ever for the end of a header, and keeps as much of it as is sent.

    Whoever reaches the port could hold every connection so, and all the memory, and nobody else would be answered.
    """

    idle_since: float
    """Loop time of the last answer, or of the handshake."""
    _waiting: asyncio.TimerHandle | None = None
    _in_header = True
    """The first is waited for from the beginning; a body may outlast its answer, and is not kept then."""
    _kept = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.idle_since = self.loop.time()
        if self.limit_concurrency and len(self.connections) >= self.limit_concurrency:
            self._make_room()
        self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._in_header:
            return
        if self._waiting is None:
            self._await_header()
        self._kept += len(data)
        if self._kept > HEADER_BYTES:
            self.transport.abort()

    def on_message_begin(self) -> None:
        self._in_header = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        self._in_header = False
        self._kept = 0
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        self.idle_since = self.loop.time()
        super().on_response_complete()

    def is_idle(self) -> bool:
        """Whether no request is under way; a part of a header is none."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _await_header(self) -> None:
        self._waiting = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._waiting:
            self._waiting.cancel()
            self._waiting = None

    def _make_room(self) -> None:
        """What was idle longest goes; its owner, if it is an API server, connects again."""
        others = [other for other in self.connections if isinstance(other, Connection) and other is not self]
        idle = [other for other in others if other.is_idle() and not other.transport.is_closing()]
        if idle:
            longest = min(idle, key=lambda other: other.idle_since)
            longest.transport.abort()
            self.connections.discard(longest)  # at once: uvicorn counts them when the newcomer's header is there
