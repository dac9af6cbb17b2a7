"""A store that is down, frozen, slow, hostile or badly set up: each lookup ends soon, without an answer.

The client's own time limit is long here: a lookup that waited for it would not end before the test is given up.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from anchore_admission.adapters.store import client as client_module
from anchore_admission.adapters.store.breaker import FAILURES, SUSPENDED_SECONDS
from anchore_admission.adapters.store.client import Connecting, StoreClient, connect
from anchore_admission.models.configuration.store import Server, Topology
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.store import StoredAnswer
from anchore_admission.ports.telemetry import StoreOutcome, StorePut
from support.certificates import pair, trusting, written
from support.fakes import settled
from support.listening import HOST
from support.ports import free_port
from support.stores import (
    NOW,
    RECORD,
    FakeCredentials,
    SentinelServer,
    Stage,
    StoreServer,
    cluster,
    cluster_options,
    started,
)

ANSWER = StoredAnswer(RECORD, NOW - 1)
USER = "gate on >secret ~anchore-admission:* resetchannels -@all +mget +set"
DOWN = [StoreOutcome.ERROR] * FAILURES + [StoreOutcome.SUSPENDED]


@pytest.fixture(autouse=True)
def _patient_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "SOCKET_SECONDS", 600)


@pytest.fixture
def server() -> Iterator[StoreServer]:
    with started(StoreServer()) as running:
        yield running


def stage_of(server: Server, **how: object) -> Stage:
    return Stage(connect(Connecting([server], **how)), timeout=0.5)  # type: ignore[arg-type]


async def gets(stage: Stage, times: int = FAILURES + 1) -> list[StoreOutcome]:
    """Look an answer up, one time after another, and return the outcomes."""
    before = len(stage.recorder.store_lookups)
    for _ in range(times):
        await stage.get()
    return stage.recorder.store_lookups[before:]


async def put(stage: Stage) -> list[StorePut]:
    before = len(stage.recorder.store_puts)
    stage.store.put("key", ANSWER)
    await stage.written()
    return stage.recorder.store_puts[before:]


async def used(stage: Stage) -> None:
    """Do all that a replica does with the store: claim, put, end the claim, and look up."""
    assert await stage.store.claim("key", Deadline.after(600))
    assert await stage.store.is_claimed("key", Deadline.after(600))
    stage.store.put("key", ANSWER)
    stage.store.end_claim("key")
    await stage.written()
    assert stage.recorder.store_puts == [StorePut.STORED, StorePut.CLAIM_ENDED]
    assert not await stage.store.is_claimed("key", Deadline.after(600))
    assert await stage.get() == ANSWER


async def recovered(stage: Stage) -> None:
    """Let the probe run and end."""
    await settled()
    await stage.clock.advance(SUSPENDED_SECONDS)
    await stage.store._breaker.until_closed()


async def test_refused(caplog: pytest.LogCaptureFixture) -> None:
    stage = stage_of(Server(HOST, free_port()))
    async with stage.running():
        assert await gets(stage) == DOWN
        stage.store.put("key", ANSWER)
    assert len(caplog.messages) == 1
    assert "ConnectionError Error 111 connecting to 127.0.0.1" in caplog.text


async def test_a_name_that_does_not_exist() -> None:
    stage = stage_of(Server("store.invalid", 6379))
    async with stage.running():
        assert (await gets(stage))[0] is StoreOutcome.ERROR


async def test_a_name_that_takes_long_holds_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    released = threading.Event()

    def resolve(host: object, *_: object, **__: object) -> list[object]:
        asked.append(host)
        released.wait()
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    stage = stage_of(Server("store.invalid", 6379))
    async with stage.running():
        assert await gets(stage) == DOWN
        assert asked == ["store.invalid"]
        released.set()


async def test_frozen_and_thawed(server: StoreServer) -> None:
    stage = stage_of(server.address)
    async with stage.running():
        assert await put(stage) == [StorePut.STORED]
        assert await stage.get() == ANSWER
        server.freeze()
        assert await gets(stage) == DOWN
        stage.store.put("other", ANSWER)  # does not wait
        server.thaw()
        await recovered(stage)
        await stage.written()
        assert await stage.get("other") == ANSWER


async def test_connections_killed_by_the_server(server: StoreServer) -> None:
    stage = stage_of(server.address)
    async with stage.running():
        await put(stage)
        for _ in range(FAILURES):
            server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            # The first lookup after it may fail; the next one connects anew.
            assert ANSWER in (await stage.get(), await stage.get())
    assert StoreOutcome.SUSPENDED not in stage.recorder.store_lookups


async def test_restarted_without_its_entries(server: StoreServer) -> None:
    stage = stage_of(server.address)
    async with stage.running():
        await put(stage)
        server.stop()
        assert await gets(stage) == DOWN
        server.start()
        await recovered(stage)
        assert await gets(stage, 1) == [StoreOutcome.MISS]
        assert await put(stage) == [StorePut.STORED]
        assert await stage.get() == ANSWER


async def test_the_documented_access_list_is_enough() -> None:
    with started(StoreServer(["--user", *USER.split()])) as server:
        stage = stage_of(server.address, credentials=FakeCredentials("gate", "secret"))
        async with stage.running():
            await used(stage)


async def test_the_documented_access_list_is_enough_with_a_database() -> None:
    with started(StoreServer(["--user", *USER.split(), "+select"])) as server:
        stage = stage_of(server.address, credentials=FakeCredentials("gate", "secret"), database=3)
        async with stage.running():
            await used(stage)


async def test_the_documented_access_lists_are_enough_with_sentinels(tmp_path: Path) -> None:
    with (
        started(StoreServer(["--user", *USER.split()])) as server,
        started(SentinelServer(tmp_path, server)) as sentinel,
    ):
        sentinel.command("ACL", "SETUSER", "watch", "on", ">hidden", "-@all", "+sentinel|masters")
        stage = stage_of(
            sentinel.address,
            topology=Topology.SENTINEL,
            sentinel_service="gate",
            credentials=FakeCredentials("gate", "secret"),
            sentinel_credentials=FakeCredentials("watch", "hidden"),
        )
        async with stage.running():
            await used(stage)


async def test_the_documented_access_list_is_enough_with_a_cluster(tmp_path: Path) -> None:
    user = "on >secret ~anchore-admission:* resetchannels -@all +get +set +command +cluster|slots"
    with cluster(tmp_path) as nodes:
        for node in nodes:
            node.command("ACL", "SETUSER", "gate", *user.split())
        stage = stage_of(nodes[0].address, topology=Topology.CLUSTER, credentials=FakeCredentials("gate", "secret"))
        async with stage.running():
            await used(stage)
            keys = [str(number) for number in range(10)]
            assert all(await asyncio.gather(*(stage.store.claim(key, Deadline.after(600)) for key in keys)))
            for key in keys:
                stage.store.put(key, ANSWER)
            await stage.written()
            assert stage.recorder.store_puts[2:] == [StorePut.STORED] * 10
            assert [await stage.get(str(number)) for number in range(10)] == [ANSWER] * 10


@pytest.mark.parametrize(
    ("user", "outcomes", "puts"),
    [
        ("gate on >secret ~anchore-admission:* -@all +set", DOWN, [StorePut.STORED]),
        ("gate on >secret ~anchore-admission:* -@all +mget", [StoreOutcome.MISS] * 4, [StorePut.ERROR]),
        ("gate on >secret ~other:* -@all +mget +set", DOWN, [StorePut.ERROR]),
        ("gate on >another ~* +@all", DOWN, [StorePut.ERROR]),
        ("gate off >secret ~* +@all", DOWN, [StorePut.ERROR]),
    ],
    ids=["no mget", "no set", "other keys", "wrong password", "switched off"],
)
async def test_missing_permissions(
    user: str, outcomes: list[StoreOutcome], puts: list[StorePut], caplog: pytest.LogCaptureFixture
) -> None:
    with started(StoreServer(["--user", *user.split()])) as server:
        stage = stage_of(server.address, credentials=FakeCredentials("gate", "secret"))
        async with stage.running():
            assert await put(stage) == puts
            assert await gets(stage) == outcomes
    assert "secret" not in caplog.text


async def test_out_of_memory() -> None:
    with started(StoreServer(["--maxmemory", "1", "--maxmemory-policy", "noeviction"])) as server:
        stage = stage_of(server.address)
        async with stage.running():
            assert await put(stage) == [StorePut.ERROR]
            assert await gets(stage) == [StoreOutcome.MISS] * 4


@pytest.mark.parametrize(("host", "outcome"), [("localhost", StoreOutcome.HIT), ("127.0.0.2", StoreOutcome.ERROR)])
async def test_tls_is_verified_for_the_name(tmp_path: Path, host: str, outcome: StoreOutcome) -> None:
    certificate = pair()
    files = written(tmp_path, certificate.certificate, certificate.key)
    port = str(free_port())
    tls = ["--tls-port", port, "--tls-cert-file", str(files.certificate), "--tls-key-file", str(files.key)]
    tls += ["--tls-auth-clients", "no", "--bind", HOST, "127.0.0.2"]
    with started(StoreServer(tls)):
        stage = stage_of(Server(host, int(port)), trust=lambda: trusting(certificate))
        async with stage.running():
            await put(stage)
            assert await gets(stage, 1) == [outcome]
        stranger = stage_of(Server("localhost", int(port)), trust=lambda: trusting(pair()))
        async with stranger.running():
            assert await gets(stranger, 1) == [StoreOutcome.ERROR]


async def test_a_cluster_is_used_over_tls(tmp_path: Path) -> None:
    certificate, port = pair(), free_port()
    files = written(tmp_path, certificate.certificate, certificate.key)
    options = ["--tls-port", str(port), "--tls-cert-file", str(files.certificate), "--tls-key-file", str(files.key)]
    options += ["--tls-auth-clients", "no", "--tls-cluster", "yes", "--tls-ca-cert-file", str(files.certificate)]
    options += cluster_options(tmp_path / "node.conf", free_port())
    with started(StoreServer(options)) as server:
        server.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        server.wait_for("Cluster state changed: ok")
        how = {"topology": Topology.CLUSTER}
        stage = stage_of(Server(HOST, port), trust=lambda: trusting(certificate), **how)
        async with stage.running():
            assert await put(stage) == [StorePut.STORED]
            assert await stage.get() == ANSWER
        stranger = stage_of(Server(HOST, port), trust=lambda: trusting(pair()), **how)
        async with stranger.running():
            assert await gets(stranger, 1) == [StoreOutcome.ERROR]


async def test_tls_expected_of_a_plain_server(server: StoreServer) -> None:
    stage = stage_of(server.address, trust=lambda: trusting(pair()))
    async with stage.running():
        assert (await gets(stage))[0] is StoreOutcome.ERROR


@dataclass
class Hostile:
    """A server that responds to each command with the same bytes, or holds the responses of another one back."""

    response: bytes = b""
    behind: StoreServer | None = None
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    endless: bool = False

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Server]:
        port = free_port()
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.create_task(self._serve(reader, writer)))

        async with await asyncio.start_server(accept, HOST, port):
            yield Server(HOST, port)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.behind:
                await self._delay(reader, writer, self.behind)
            while not self.behind and await reader.read(65536):
                writer.write(self.response)
                while self.endless:
                    writer.write(b"x" * 65536)
                    await writer.drain()
        finally:
            writer.close()

    async def _delay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, behind: StoreServer) -> None:
        upstream, downstream = await asyncio.open_connection(HOST, behind.port)
        try:
            while command := await reader.read(65536):
                downstream.write(command)
                response = await upstream.read(65536)
                await self.let_go.wait()
                writer.write(response)
        finally:
            downstream.close()


def slots(first: bytes, last: bytes, rows: int = 1) -> bytes:
    """A response with rows of slots of a cluster, each of which the client could count through."""
    row = b"*3\r\n%b\r\n%b\r\n*2\r\n$9\r\n127.0.0.1\r\n:1\r\n" % (first, last)
    return b"*%d\r\n" % rows + row * rows


async def test_slow(server: StoreServer) -> None:
    slow = Hostile(behind=server)
    async with slow.listening() as address:
        stage = stage_of(address)
        async with stage.running():
            assert await gets(stage) == DOWN
            slow.let_go.set()
            await recovered(stage)
            await put(stage)
            assert await stage.get() == ANSWER


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"garbage\r\n" * 10,
        b"\x15\x03\x01\x00\x02\x02\x50" * 10 + b"\r\n",
        b"*4294967295\r\n",
        b"*1\r\n" * 5000,
        b"*1\r\n$9999999999999999\r\n",
        b"*1\r\n$-7\r\n",
        b"*1\r\n$x\r\n",
        b"*" + b"9" * 10000 + b"\r\n",
        b"$3\r\nfoo\r\n",
        b"*2\r\n$-1\r\n$-1\r\n",
        b"*0\r\n",
        b"*1\r\n:7\r\n",
        b"*1\r\n:99999999999999\r\n",
        *(slots(b":0", last) for last in (b":999999999999", b"$12\r\n999999999999")),
        slots(b":-999999999999", b":16383"),
        slots(b":0", b":16383", rows=5000),
        b"*30000\r\n" + b"*0\r\n" * 30000,
        b"+OK\r\n",
        b"-ERR " + b"x" * 30000 + b"\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-MOVED 1 169.254.169.254:80\r\n",
        b":1\r\n",
        b"\xff" * 70000,
        b"%1\r\n+a\r\n+b\r\n",
    ],
    ids=lambda response: repr(response[:24]),
)
@pytest.mark.parametrize("topology", Topology)
async def test_nonsense(response: bytes, topology: Topology) -> None:
    async with Hostile(response).listening() as address:
        stage = stage_of(address, topology=topology, sentinel_service="gate")
        async with stage.running():
            is_ours = await stage.store.claim("key", Deadline.after(600))
            assert is_ours is (response == b"+OK\r\n" and topology is Topology.STANDALONE)
            assert StoreOutcome.HIT not in await gets(stage)
            assert StoreOutcome.ERROR in stage.recorder.store_lookups


async def test_an_endless_response_is_not_read_to_its_end() -> None:
    async with Hostile(b"*1\r\n$100000000\r\n", endless=True).listening() as address:
        stage = stage_of(address)
        async with stage.running():
            assert await gets(stage, 1) == [StoreOutcome.ERROR]
            await settled()
            assert stage.store._reads._under_way == set()  # the command has ended


async def test_the_largest_entries_of_a_whole_batch_are_read(server: StoreServer) -> None:
    client = connect(Connecting([server.address]))
    for number in range(32):
        server.command("SET", str(number), "x" * 65536)
    try:
        assert await client.read([str(number) for number in range(32)]) == [b"x" * 65536] * 32
    finally:
        await client.disconnect()


async def test_a_forged_entry_of_one_megabyte_is_refused(server: StoreServer) -> None:
    stage = stage_of(server.address)
    async with stage.running():
        await put(stage)
        (name,) = server.command("KEYS", "*")
        server.command("SET", name.decode(), "x" * 1024 * 1024)
        assert await gets(stage, 1) == [StoreOutcome.INVALID]


async def test_cancelled_gets_never_mix_answers_up(server: StoreServer) -> None:
    stage = stage_of(server.address)
    async with stage.running():
        for number in range(20):
            stage.store.put(str(number), StoredAnswer(RECORD, NOW - number))
        await stage.written()
        for turns in range(50):
            tasks = [asyncio.create_task(stage.get(str(number))) for number in range(20)]
            for _ in range(turns % 10):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            kept = [task.result() for task in tasks[1::2]]
            assert [answer and answer.asked_at for answer in kept] == [NOW - number for number in range(1, 20, 2)]
    assert StoreOutcome.INVALID not in stage.recorder.store_lookups


async def test_a_node_of_a_cluster_that_is_gone(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes:
        stage = Stage(connect(Connecting([node.address for node in nodes], Topology.CLUSTER)), timeout=5)
        async with stage.running():
            for number in range(20):
                stage.store.put(str(number), ANSWER)
            await stage.written()
            nodes[1].stop()
            found = await asyncio.gather(*(stage.get(str(number)) for number in range(20)))
            assert None in found
            assert await gets(stage, 10)


async def write_one_by_one(client: StoreClient, entries: int) -> None:
    for number in range(entries):
        await client.write(str(number), b"", 1)


async def test_the_connections_to_a_cluster_that_lost_a_node_are_closed(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes:
        client = connect(Connecting([node.address for node in nodes], Topology.CLUSTER))
        await client.read([str(number) for number in range(20)])
        nodes[1].stop()
        with pytest.raises(RedisConnectionError):
            await write_one_by_one(client, 20)
        await client.disconnect()
        assert len(nodes[0].command("CLIENT", "LIST").splitlines()) == 1  # the one that asks


async def test_a_server_that_sentinels_replace(tmp_path: Path) -> None:
    with (
        started(StoreServer()) as old,
        started(SentinelServer(tmp_path, old)) as sentinel,
        started(StoreServer()) as new,
    ):
        how = Connecting([sentinel.address], Topology.SENTINEL, "gate")
        stage = Stage(connect(how), timeout=5)
        async with stage.running():
            await put(stage)
            old.stop()
            sentinel.command("SENTINEL", "REMOVE", "gate")
            sentinel.command("SENTINEL", "MONITOR", "gate", HOST, str(new.port), "1")
            assert ANSWER not in (await stage.get(), await stage.get())
            assert await put(stage) == [StorePut.STORED]
            assert await stage.get() == ANSWER
        assert new.command("DBSIZE") == 1
