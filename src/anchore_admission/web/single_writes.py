"""Send the head of a response together with its body: one TLS record, one packet and one system call for both."""

import asyncio

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class SingleWrites(asyncio.Transport):
    """The transport of one request's cycle: it holds the head of the response back until the first part of the body.

    uvicorn writes the two one after the other, and uvloop sends each at once. Only what a cycle calls is here. The
    response must have a body, so that nothing stays behind.
    """

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle) -> None:
        super().__init__()
        self._transport = transport
        self._cycle = cycle
        self._has_begun = False
        self._held = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write, with what was held back; a ``100 Continue`` precedes the response and is never held back."""
        if self._cycle.response_started and not self._has_begun:
            self._has_begun, self._held = True, bytes(data)
            return
        self._transport.write(self._held + data if self._held else data)
        self._held = b""

    def close(self) -> None:
        """Close, after a head whose body failed."""
        if self._held:
            self._transport.write(self._held)
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()
