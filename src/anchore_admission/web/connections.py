"""Keep the connections that bring requests, and idle ones while there is room for others."""

import asyncio
import logging
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from anchore_admission.throttled import REPEAT_SECONDS, Throttled
from anchore_admission.web.single_writes import SingleWrites

HEADER_SECONDS: Final = 10.0
"""Limit from the first byte of a request, or the handshake, to the end of its header; API servers take milliseconds."""
HEADER_BYTES: Final = 64 * 1024
"""Limit of a header that has not ended; API servers send some hundred bytes, browsers some thousand."""
BODY_SECONDS: Final = 10.0
"""Limit of a body, or of each further ``BODY_BYTES`` of it."""
BODY_BYTES: Final = 1024 * 1024
WRITE_SECONDS: Final = 10.0
"""Limit for a client to read a full buffer, or the last bytes of a connection that is being closed."""
WRITERS: Final = 64
"""The most connections whose client does not read; each holds some 100 KiB."""
STALLED_SECONDS: Final = 1.0
"""The time after which a client that owes the rest of a request counts as stalled."""

logger = logging.getLogger("anchore_admission.connections")
_warnings = Throttled(logger, time.monotonic)


class Closed(StrEnum):
    """The reason for closing a connection before its client does."""

    HANDSHAKE = "handshake"
    HEADER = "header"
    BODY = "body"
    UNREAD = "unread"
    ROOM = "room"


_WHY: Final = {
    Closed.HANDSHAKE: f"its TLS handshake did not end within {HEADER_SECONDS:g} seconds, or too many were in progress",
    Closed.HEADER: f"the header of its request did not end within {HEADER_SECONDS:g} seconds or {HEADER_BYTES} bytes",
    Closed.BODY: f"the body of its request did not arrive within {BODY_SECONDS:g} seconds for each MiB",
    Closed.UNREAD: f"its client did not read the response within {WRITE_SECONDS:g} seconds",
}


class OncePerWindow(logging.Filter):
    """Pass each of uvicorn's warnings about clients once in five minutes; a client could cause any number of them."""

    def __init__(self) -> None:
        super().__init__()
        self._logged: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        now = time.monotonic()
        if now - self._logged.get(record.msg, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return False
        # The template, not the text: its arguments may come from a client, and would fill this table and the log.
        self._logged[record.msg] = now
        return True


REPEATED: Final = OncePerWindow()


def log_closed(why: Closed) -> None:
    """Log a reason once in five minutes, unless the connection was only closed to make room for another."""
    if text := _WHY.get(why):
        _warnings.warn(why, f"closed a connection: {text}")


def _ignored(_why: Closed) -> None:
    pass


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, with limits on everything that it waits for.

    uvicorn's own waits forever for the end of a header or a body, and for a client to read its response. It is open to
    slow-loris attacks: a few clients that send nothing more could hold every connection.
    """

    idle_since: float
    """Loop time of the last response, or of the handshake."""
    on_closed: Callable[[Closed], None] = staticmethod(_ignored)
    """Called for each connection that is closed before its client closes it."""
    _waiting: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None
    _ending: asyncio.TimerHandle | None = None
    _in_header = True
    """True from the start: the first header is expected at once."""
    _in_body = False
    """True also while the rest of a body arrives after its response; it is dropped then."""
    _got = 0
    """Bytes of the header so far, or of the body since its limit was last extended."""
    _owed_since = 0.0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.idle_since = self.loop.time()
        # uvicorn responds with 503 once the connections, this one included, reach the limit.
        if self.limit_concurrency and len(self.connections) >= self.limit_concurrency:
            self._make_room()
        self._await_client(HEADER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        for timer in (self._writing, self._ending):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # After the parser, whose callbacks tell what these bytes belong to.
        if not self._in_header and not self._in_body:
            return
        self._got += len(data)
        # From the first byte on: an idle connection may stay as long as uvicorn's keep-alive allows.
        if self._waiting is None:
            self._await_client(HEADER_SECONDS if self._in_header else BODY_SECONDS)
        if self._in_header and self._got > HEADER_BYTES:
            self._abort(Closed.HEADER)

    def on_message_begin(self) -> None:
        self._in_header, self._got = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        self._in_header, self._in_body, self._got = False, True, 0
        before = self.cycle
        super().on_headers_complete()
        # An upgrade begins no cycle, and a response to HEAD has no body.
        if self.cycle is not before and self.scope["method"] != "HEAD":
            self.cycle.transport = SingleWrites(self.transport, self.cycle)

    def on_message_complete(self) -> None:
        self._stop_waiting()
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.idle_since = self.loop.time()
        super().on_response_complete()
        if self.transport.is_closing():
            self._end_soon()

    def send_400_response(self, msg: str) -> None:
        super().send_400_response(msg)
        self._end_soon()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._end_soon()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing = self.loop.call_later(WRITE_SECONDS, self._abort, Closed.UNREAD)
        unread = [other for other in self._others() if other._writing]  # noqa: SLF001 - of the same class
        if len(unread) >= WRITERS:
            min(unread, key=_unread_since)._abort(Closed.UNREAD)  # noqa: SLF001

    def resume_writing(self) -> None:
        if self._writing:
            self._writing.cancel()
            self._writing = None
        super().resume_writing()

    def is_idle(self) -> bool:
        """Return whether no request is in progress; part of a header does not count as one."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _await_client(self, seconds: float) -> None:
        if not self._got:
            self._owed_since = self.loop.time()
        self._waiting = self.loop.call_later(seconds, self._out_of_time)

    def _out_of_time(self) -> None:
        """Extend the limit of a body that we have paused or that makes progress; close the connection otherwise."""
        if self._in_body and (self.flow.read_paused or self._got >= BODY_BYTES):
            self._got = 0
            self._await_client(BODY_SECONDS)
        else:
            self._abort(Closed.BODY if self._in_body else Closed.HEADER)

    def _stop_waiting(self) -> None:
        if self._waiting:
            self._waiting.cancel()
            self._waiting = None

    def _end_soon(self) -> None:
        """Limit the closing, too: it would wait forever for a client that does not read the last bytes."""
        if self._ending is None:
            self._ending = self.loop.call_later(WRITE_SECONDS, self._abort, Closed.UNREAD)

    def _abort(self, why: Closed) -> None:
        log_closed(why)
        self.on_closed(why)
        self.transport.abort()

    def _others(self) -> list["Connection"]:
        return [other for other in self.connections if isinstance(other, Connection) and other is not self]

    def _make_room(self) -> None:
        """Close the least useful other connection; an API server would connect again."""
        now = self.loop.time()
        ranked = [(rank, other) for other in self._others() if (rank := other._rank(now))]  # noqa: SLF001
        if ranked:
            _, least = min(ranked, key=lambda entry: entry[0])
            least._abort(Closed.ROOM)  # noqa: SLF001
            self.connections.discard(least)  # at once: uvicorn counts connections when the new one's header arrives

    def _rank(self, now: float) -> tuple[int, float, float] | None:
        """Return how early this connection makes room for another, smallest first; None for a review in progress.

        Stalled clients that owe the rest of a request come first, those with the fewest bytes ahead; then idle ones.
        """
        if self.transport.is_closing() or self._writing:
            return 0, 0, self.idle_since
        if self._waiting and not self.flow.read_paused:
            # A client that began just now may be an API server; it makes room last (3).
            stalled = now - self._owed_since >= STALLED_SECONDS
            return (1, self._got, self._owed_since) if stalled else (3, self._got, self._owed_since)
        return (2, 0, self.idle_since) if self.is_idle() else None


def _unread_since(connection: Connection) -> float:
    return connection._writing.when() if connection._writing else 0.0  # noqa: SLF001
