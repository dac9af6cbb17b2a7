"""Shared stores for tests: the port in memory, a client in memory, and real servers where the program is installed."""

import asyncio
import contextlib
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.credentials import CredentialProvider

from anchore_admission.adapters.store.client import StoreClient
from anchore_admission.adapters.store.sealing import Seal, SealKeys
from anchore_admission.adapters.store.shared import SharedStore
from anchore_admission.adapters.store.values import encode
from anchore_admission.core.facts import AnalysisState, ImageRecord, PolicyEvaluation
from anchore_admission.models.configuration.store import Server
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.store import CLAIM_SECONDS, FactStore, StoredAnswer
from support.fakes import FakeRecorder, ManualClock, digest_of
from support.listening import HOST
from support.ports import free_port

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")
WHY_SKIPPED = "there is no redis-server or valkey-server here"
LIFETIME = 600.0
NOW = 1_800_000_000.0
"""Unix time in tests of stores."""
KEYS = SealKeys.of(b"k" * 32)
RECORD = ImageRecord(digest_of("image"), AnalysisState.ANALYZED)
PASSED = PolicyEvaluation(passed=True, policy="p", repository="docker.io/library/nginx")


@dataclass
class FakeStore(FactStore):
    """The port in memory, without a limit."""

    now: float = NOW
    answers: dict[str, StoredAnswer] = field(default_factory=dict)
    claims: dict[str, float] = field(default_factory=dict)
    """When each claim ends."""

    async def get(self, key: str, deadline: Deadline) -> StoredAnswer | None:
        answer = self.answers.get(key)
        fresh = answer is not None and self.now < answer.asked_at + LIFETIME and deadline.left() > 0
        return answer if fresh else None

    async def claim(self, key: str, deadline: Deadline) -> bool:
        if deadline.left() <= 0 or await self.is_claimed(key, deadline):
            return False
        self.claims[key] = self.now + CLAIM_SECONDS
        return True

    async def is_claimed(self, key: str, deadline: Deadline) -> bool:
        return deadline.left() > 0 and self.now < self.claims.get(key, 0.0)

    def end_claim(self, key: str) -> None:
        self.claims.pop(key, None)

    def put(self, key: str, answer: StoredAnswer) -> None:
        if encode(answer.value, 64 * 1024) is not None and answer.asked_at <= self.now + 1:
            self.answers[key] = answer

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass
class FakeClient(StoreClient):
    """A server in memory that the test lets fail or hang."""

    entries: dict[str, bytes] = field(default_factory=dict)
    reads: list[list[str]] = field(default_factory=list)
    adds: list[list[str]] = field(default_factory=list)
    lives: list[int] = field(default_factory=list)
    """The milliseconds that each written entry was to live."""
    error: Exception | None = None
    disconnects: int = 0
    hanging: asyncio.Event | None = None
    swallows_cancellation: bool = False

    async def read(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        self.reads.append(list(keys))
        await self._respond()
        return [self.entries.get(key) for key in keys]

    async def write(self, key: str, entry: bytes, milliseconds: int) -> None:
        await self._respond()
        self.entries[key] = entry
        self.lives.append(milliseconds)

    async def add(self, entries: Mapping[str, bytes], milliseconds: int) -> Sequence[bool]:
        self.adds.append(list(entries))
        await self._respond()
        added = [key not in self.entries for key in entries]
        self.entries |= {key: entry for key, entry in entries.items() if key not in self.entries}
        self.lives += [milliseconds] * sum(added)
        return added

    async def disconnect(self) -> None:
        self.disconnects += 1

    async def _respond(self) -> None:
        if self.hanging:
            with contextlib.suppress(*([asyncio.CancelledError] if self.swallows_cancellation else [])):
                await self.hanging.wait()
        if self.error:
            raise self.error


@dataclass
class FakeCredentials(CredentialProvider):
    """A user and a password that never change."""

    username: str
    password: str

    async def get_credentials_async(self) -> tuple[str, str]:
        return self.username, self.password


@dataclass
class Stage:
    """A shared store over some client, with all that a test changes or looks at."""

    client: StoreClient
    recorder: FakeRecorder = field(default_factory=FakeRecorder)
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    keys: SealKeys | None = KEYS
    timeout: float = 0.05
    prefix: str = "anchore-admission"
    store: SharedStore = field(init=False)

    def __post_init__(self) -> None:
        seal = Seal(lambda: self.keys, LIFETIME, now=self.clock)
        self.store = SharedStore(
            self.client,
            seal,
            self.recorder,
            prefix=self.prefix,
            cluster="a/b",
            timeout=self.timeout,
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    async def get(self, key: str = "key") -> StoredAnswer | None:
        return await self.store.get(key, Deadline.after(600))

    async def written(self) -> None:
        """Wait until every queued answer has been written, or was given up."""
        queued = len(self.recorder.store_puts) + len(self.store._puts)
        while len(self.recorder.store_puts) < queued:  # noqa: ASYNC110 - the recorder has no event
            await asyncio.sleep(0)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Stage"]:
        task = asyncio.create_task(self.store.run())
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self.store.aclose()


@dataclass
class StoreServer:
    """A server process of this machine, which keeps nothing on disk."""

    options: Sequence[str] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> Server:
        return Server(HOST, self.port)

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        options = ["--port", str(self.port), "--bind", HOST, "--save", "", *self.options]
        self._launch(options, "Ready to accept connections")

    def stop(self) -> None:
        if self.process is not None and self.process.stdout:
            self.process.kill()  # which also ends a frozen one
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def command(self, *words: str) -> Any:
        """Send a command as the administrator, over a connection of its own."""
        with redis.Redis(HOST, self.port) as client:
            return client.execute_command(*words)

    def wait_for(self, text: str) -> None:
        """Wait until the server has logged this."""
        assert self.process
        assert self.process.stdout
        logged = []
        for line in self.process.stdout:
            logged.append(line)
            if text in line:
                return
        raise AssertionError("".join(logged))

    def _launch(self, options: Sequence[str], until: str) -> None:
        if PROGRAM is None:
            pytest.skip(WHY_SKIPPED)
        self.process = subprocess.Popen(  # noqa: S603 - the program that was found
            [PROGRAM, *options], stdout=subprocess.PIPE, text=True
        )
        self.wait_for(until)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)


class SentinelServer(StoreServer):
    """A Sentinel, which writes its state into its configuration file."""

    def __init__(self, folder: Path, monitored: StoreServer) -> None:
        super().__init__()
        self._file = folder / "sentinel.conf"
        lines = [f"port {self.port}", f"dir {folder}", f"sentinel monitor gate {HOST} {monitored.port} 1"]
        self._file.write_text("\n".join(lines))

    def start(self) -> None:
        self._launch([str(self._file), "--sentinel"], "+monitor")


@contextlib.contextmanager
def started(server: StoreServer) -> Iterator[StoreServer]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


def cluster_options(file: Path, bus: int) -> list[str]:
    """The options of a node: the file of its state, and the port at which other nodes reach it."""
    return ["--cluster-enabled", "yes", "--cluster-config-file", str(file), "--cluster-port", str(bus)]


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[list[StoreServer]]:
    """Two nodes with half of the slots each."""
    buses = [free_port(), free_port()]  # by default in the range of ports that connections of other tests take
    nodes = [StoreServer(cluster_options(folder / f"node-{bus}.conf", bus)) for bus in buses]
    with started(nodes[0]), started(nodes[1]):
        nodes[0].command("CLUSTER", "ADDSLOTSRANGE", "0", "8191")
        nodes[1].command("CLUSTER", "ADDSLOTSRANGE", "8192", "16383")
        nodes[1].command("CLUSTER", "SET-CONFIG-EPOCH", "2")
        nodes[0].command("CLUSTER", "MEET", HOST, str(nodes[1].port), str(buses[1]))
        for node in nodes:
            node.wait_for("Cluster state changed: ok")
        yield nodes
