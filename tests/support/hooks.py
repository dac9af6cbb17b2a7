"""Decision hooks for tests: the port in memory, OPA's answers as recorded, and a real OPA where it is built."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from anchore_admission.core.hook import HookDecision
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.hook import DecisionHook
from e2e.cluster.waiting import until
from support.charts import program
from support.listening import HOST
from support.paths import ROOT
from support.ports import free_port

POLICY = "anchore/admission"
DATA = ROOT / "tests" / "data" / "opa"
CONTRACT = [DATA / name for name in ("contract.rego", "shapes.rego", "empty.rego")]
AUTHORIZATION = DATA / "authz.rego"
"""Lets TOKEN, or a certificate for ``controller``, ask for the policy of CONTRACT."""
TOKEN = "token-of-the-controller"
Document = Mapping[str, Any]


def document(**said: Any) -> bytes:
    """A document for the policy ``contract.rego``, which repeats what the document says."""
    return json.dumps({"kind": "AdmissionReview", "say": said}).encode()


def no_objection(_document: Document) -> HookDecision:
    return HookDecision()


@dataclass
class FakeHook(DecisionHook):
    """A hook that decides as the test says: ``decides`` returns a decision or raises an error."""

    decides: Callable[[Document], HookDecision] = no_objection
    name: str = POLICY
    documents: list[Document] = field(default_factory=list)
    """All documents that it was asked about."""
    hanging: asyncio.Event | None = None
    """While it is not set, calls wait."""
    is_closed: bool = False

    async def decide(self, document: bytes, deadline: Deadline) -> HookDecision:
        self.documents.append(json.loads(document))
        async with deadline.bound():
            if self.hanging:
                await self.hanging.wait()
        return self.decides(self.documents[-1])

    async def aclose(self) -> None:
        self.is_closed = True


@dataclass
class AnsweringTransport(httpx.AsyncBaseTransport):
    """A transport that answers each request as the test says; it keeps all requests."""

    answer: Callable[[httpx.Request], Awaitable[httpx.Response]]
    requests: list[httpx.Request] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return await self.answer(request)


class Chunks(httpx.AsyncByteStream):
    """A body that arrives in parts, and ends with an error if there is one."""

    def __init__(self, *parts: bytes, error: Exception | None = None) -> None:
        self._parts = parts
        self._error = error
        self.read = 0
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            self.read += len(part)
            yield part
        if self._error:
            raise self._error

    async def aclose(self) -> None:
        self.is_closed = True


@dataclass
class OpaServer:
    """An OPA process with policies, on a port of the loopback or a Unix socket."""

    policies: Sequence[Path]
    path: Path | None = None
    """The Unix socket; None listens on a port."""
    options: Sequence[str] = ()
    scheme: str = "http"
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.path}" if self.path else f"{self.scheme}://{HOST}:{self.port}"

    def start(self) -> None:
        """Start the server, and wait until it listens."""
        command = [program("opa"), "run", "--server", "--skip-version-check", "--log-level", "error", *self.options]
        command += ["--addr", self.url, *map(str, self.policies)]
        self.process = subprocess.Popen(command)  # noqa: S603 - the program that was found
        until(self._is_listening, "OPA listens", every=0.02)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()  # which also ends a frozen one
            self.process.wait()
            self.process = None

    async def idle(self) -> None:
        """Wait until the process has used no CPU for a while."""
        while await self._used(0.3):
            pass

    async def _used(self, seconds: float) -> int:
        before = self._ticks()
        await asyncio.sleep(seconds)
        return self._ticks() - before

    def _ticks(self) -> int:
        assert self.process
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])  # utime and stime (proc(5))

    def _is_frozen(self) -> bool:
        assert self.process
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/stat")
        return all(thread.read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)

    def _is_listening(self) -> bool:
        assert self.process
        assert self.process.poll() is None, "OPA has ended"
        family, address = (socket.AF_UNIX, str(self.path)) if self.path else (socket.AF_INET, (HOST, self.port))
        with socket.socket(family) as probe:
            return probe.connect_ex(address) == 0

    def freeze(self) -> None:
        """Stop the process without an end; returns when each of its threads has stopped."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)
        until(self._is_frozen, "OPA is frozen", every=0.01)

    def thaw(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def started(server: OpaServer) -> Iterator[OpaServer]:
    try:
        server.start()
        yield server
    finally:
        server.stop()
