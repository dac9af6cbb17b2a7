"""SIGTERM while a review waits for Open Policy Agent: it is answered, and nothing of the call is left behind."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.builders import pod, review
from support.sandbox_server import sandbox_served
from support.serving import Serving, serving

IMAGE = "alpine:3.20"
"""An image that the sandbox's policy passes."""
Json = dict[str, Any]


@dataclass
class HeldOpa:
    """An OPA on a Unix socket that does as the test says once it is asked: answer, or close the connection."""

    path: Path
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the caller has closed its connection."""
    answer: Json | None = None

    def answers(self, answer: Json | None) -> None:
        self.answer = answer
        self.let_go.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        self.asked.set()
        leaving, letting = asyncio.create_task(reader.read()), asyncio.create_task(self.let_go.wait())
        await asyncio.wait({leaving, letting}, return_when=asyncio.FIRST_COMPLETED)
        if self.answer is not None:
            body = json.dumps(self.answer).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body))
            writer.write(body)
            await writer.drain()
            await leaving
        letting.cancel()
        leaving.cancel()
        writer.close()
        self.gone.set()


@asynccontextmanager
async def stage(folder: Path, **section: Any) -> AsyncIterator[tuple[HeldOpa, Serving]]:
    """Run an OPA, and a controller that asks it."""
    opa = HeldOpa(folder / "opa.sock")
    file = folder / "configuration.json"
    with sandbox_served() as anchore:
        hook = {"url": f"unix://{opa.path}", "timeout": "5s", **section}
        settings = {"anchore": {"endpoint": anchore}, "defaults": {"mode": "strict"}, "opa": hook}
        file.write_text(json.dumps(settings))
        async with await asyncio.start_unix_server(opa.serve, opa.path):
            with serving(file, "--shutdown-delay", "0s") as process:
                yield opa, process


async def asked(process: Serving) -> Json:
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(f"{process.address}/validate?timeout=10s", json=review(pod(IMAGE)))
    response: Json = answer.json()["response"]
    return response


async def closed(process: Serving) -> None:
    """Wait until the port takes no connection any more."""
    async with httpx.AsyncClient() as client:
        while True:
            try:
                await client.get(f"{process.address}/nothing")
            except httpx.TransportError:
                return


async def ended(process: Serving) -> str:
    """Return the rest of the log of a process that stops as it should."""
    log, _ = await asyncio.to_thread(process.process.communicate)
    assert process.process.returncode == 0, log
    assert [word for word in ("Traceback", "canceled", "Unclosed") if word in log] == [], log
    return log


@pytest.mark.parametrize(("deny", "message"), [([], None), (["not here"], "policy anchore/admission: not here")])
async def test_a_review_that_waits_for_opa_gets_its_decision(
    tmp_path: Path, deny: list[str], message: str | None
) -> None:
    async with stage(tmp_path) as (opa, process):
        waiting = asyncio.create_task(asked(process))
        await opa.asked.wait()
        process.process.send_signal(signal.SIGTERM)
        await closed(process)
        assert not waiting.done()
        opa.answers({"result": {"deny": deny}})
        response = await waiting
        await ended(process)
        await opa.gone.wait()
    assert (response["allowed"], response.get("status", {}).get("message")) == (message is None, message)


@pytest.mark.parametrize("ends", [True, False], ids=["ends", "hangs"])
@pytest.mark.parametrize("on_error", ["deny", "allow"])
async def test_a_review_whose_opa_ends_or_hangs_is_decided_by_on_error(
    tmp_path: Path, on_error: str, ends: bool
) -> None:
    """Without native sidecars, Kubernetes promises no order of the signals: OPA may be the first to stop."""
    async with stage(tmp_path, onError=on_error, timeout="5s" if ends else "1s") as (opa, process):
        waiting = asyncio.create_task(asked(process))
        await opa.asked.wait()
        process.process.send_signal(signal.SIGTERM)
        await closed(process)
        if ends:
            opa.answers(None)
        response = await waiting
        await ended(process)
        await opa.gone.wait()
    assert response["allowed"] is (on_error == "allow")
    assert ("hook_unavailable" if ends else "deadline_exceeded") in response["auditAnnotations"]["hook"]
