"""A process that serves over TLS until a signal comes: FOLDER answers|hangs.

Its one answer is given only after the end has begun, or never.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop
from starlette.types import Receive, Scope, Send

from anchore_admission.web.server import Listener, serve
from anchore_admission.web.tls import ServingCertificate


async def main(folder: Path, how: str) -> None:
    stopping = asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        print("asked", flush=True)  # noqa: T201 - the test reads along
        await stopping.wait()
        print("stopping", flush=True)  # noqa: T201 - the test reads along
        if how == "hangs":
            await asyncio.Event().wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"done"})

    def ready(ports: Sequence[int]) -> None:
        print(ports[0], flush=True)  # noqa: T201 - the test reads along

    certificate = ServingCertificate((folder / "tls.crt", folder / "tls.key"))
    await serve([Listener(app, "127.0.0.1", 0, certificate)], on_ready=ready, on_stop=stopping.set)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), sys.argv[2]))
