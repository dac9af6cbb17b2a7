"""The clients of one server, of servers behind Sentinels, and of a cluster.

None of them retries: a lookup has a few milliseconds, after which Anchore is asked. RESP2 needs no handshake beyond
AUTH, so that an access list can be as short as the commands used.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from redis._parsers import _AsyncRESP2Parser
from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import Connection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError

from anchore_admission.adapters.store.sealing import LARGEST_ENTRY
from anchore_admission.models.configuration.store import Server, Topology

SOCKET_SECONDS: Final = 1.0
"""Bound of connecting, TLS included, and of a command. A lookup does not wait that long: it has its own bound."""
_CONNECTIONS: Final = 12
"""Batches of reads and of claims, four of each at once, the writes and the probe, with some to spare."""
_LONGEST_RESPONSE: Final = 4 * 1024 * 1024
"""A batch of the largest entries that we write, twice."""
_LONGEST_ELEMENT: Final = 16 * LARGEST_ENTRY
"""Larger entries than ours are read and rejected; much larger ones would fill the memory first."""
_MOST_LINES: Final = 40_000
"""Lines of a response. The list of all commands, which the client of a cluster reads, has 15,000 in Redis 7."""
_LINES_AT_ONCE: Final = 1000
_LARGEST_NUMBER: Final = 65535
"""The largest number in a response that we ask for: a port."""
_RESOLVER: Final = ThreadPoolExecutor(1, "store-names")
"""A name that takes long holds a thread, and the threads of the event loop resolve the names of Anchore, too."""
_SLOTS: Final = 16384
"""Slots of a cluster, each of which one node has."""
_MOST_NODES: Final = 200
_DEEPEST: Final = 16
"""Lists within lists; those about commands and a cluster's slots have half as many levels."""


class StoreClient(Protocol):
    """The few commands that the shared store needs. Each raises any error of the client."""

    async def read(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return the entries under the keys, in their order."""

    async def write(self, key: str, entry: bytes, milliseconds: int) -> None:
        """Set an entry that expires after so many milliseconds."""

    async def add(self, entries: Mapping[str, bytes], milliseconds: int) -> Sequence[bool]:
        """Set each entry as ``write`` does, but only if there is none; return for each whether there was none."""

    async def disconnect(self) -> None:
        """Close all connections, and forget which servers there are. The next command connects anew."""


@dataclass(frozen=True, slots=True)
class Connecting:
    """The way to the servers. ``trust`` returns the TLS context for a new connection; None connects without TLS."""

    servers: Sequence[Server]
    topology: Topology = Topology.STANDALONE
    sentinel_service: str = ""
    database: int = 0
    credentials: CredentialProvider | None = None
    sentinel_credentials: CredentialProvider | None = None
    trust: Callable[[], ssl.SSLContext] | None = None


def connect(how: Connecting) -> StoreClient:
    """Build the client; it connects with its first command."""
    if how.topology is Topology.CLUSTER:
        return _Cluster(how)
    if how.topology is Topology.SENTINEL:
        return _behind_sentinels(how)
    return _OneServer(_pool(how, how.servers[0], how.credentials, how.database))


class _OneServer:
    """One server; ``sentinels`` say which."""

    def __init__(self, pool: ConnectionPool, sentinels: Sentinel | None = None) -> None:
        self._redis = Redis.from_pool(pool)
        self._sentinels = sentinels

    async def read(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        return _entries(await self._redis.mget(keys), len(keys))

    async def write(self, key: str, entry: bytes, milliseconds: int) -> None:
        await self._redis.set(key, entry, px=milliseconds)

    async def add(self, entries: Mapping[str, bytes], milliseconds: int) -> Sequence[bool]:
        return await _added(self._redis.pipeline(transaction=False), entries, milliseconds)

    async def disconnect(self) -> None:
        await self._redis.aclose()
        if self._sentinels:
            await self._sentinels.aclose()


class _Cluster:
    """Keys are spread over the nodes, so each is read by a command of its own, in one round trip for each node."""

    def __init__(self, how: Connecting) -> None:
        nodes = [ClusterNode(server.host, server.port) for server in how.servers]
        # The names of the first nodes stay in use: the addresses behind them change when Pods are replaced.
        options = _options(how.credentials) | {"max_connections": _CONNECTIONS, "dynamic_startup_nodes": False}
        self._redis = RedisCluster(startup_nodes=nodes, **options)
        # The client has no parameter for the class of its connections; a test holds it to this one.
        ours = {"connection_class": _StoreConnection, "trust": how.trust}
        self._redis.connection_kwargs.update(ours)
        for node in self._redis.startup_nodes:
            node.connection_class = _StoreConnection
            node.connection_kwargs["trust"] = how.trust
        self._redis.set_response_callback("CLUSTER SLOTS", _slots)

    async def read(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        pipeline = self._redis.pipeline()
        for key in keys:
            pipeline = pipeline.execute_command("GET", key)
        return _entries(await pipeline.execute(), len(keys))

    async def write(self, key: str, entry: bytes, milliseconds: int) -> None:
        await self._redis.set(key, entry, px=milliseconds)

    async def add(self, entries: Mapping[str, bytes], milliseconds: int) -> Sequence[bool]:
        return await _added(self._redis.pipeline(), entries, milliseconds)

    async def disconnect(self) -> None:
        await self._redis.aclose()
        # After an error the client counts as closed, so that it reads the nodes again; its connections are still open.
        await self._redis.nodes_manager.aclose()
        await self._redis.nodes_manager.aclose("startup_nodes")


class _BoundedParser(_AsyncRESP2Parser):
    """Bounds what a server can make us hold.

    The parser of hiredis is a fifth faster and has no such bound: it allocates a list of as many elements as a server
    announces, which may be four billion.
    """

    _depth = 0
    _lines = 0

    async def read_response(self, disable_decoding: bool = False) -> Any:
        self._lines = 0
        return await super().read_response(disable_decoding)

    async def _read_response(self, disable_decoding: bool = False) -> Any:
        self._depth += 1
        try:
            if self._depth > _DEEPEST:
                raise _unexpected()
            return await super()._read_response(disable_decoding)
        finally:
            self._depth -= 1

    async def _read(self, length: int) -> bytes:
        if not 0 <= length <= _LONGEST_ELEMENT or self._pos + length > _LONGEST_RESPONSE:
            raise _unexpected()
        return await super()._read(length)

    async def _readline(self) -> bytes:
        line = await super()._readline()
        self._lines += 1
        if self._pos > _LONGEST_RESPONSE or self._lines > _MOST_LINES:
            raise _unexpected()
        if self._lines % _LINES_AT_ONCE == 0:
            await asyncio.sleep(0)  # lines that have arrived are read without a pause for other tasks
        if line[:1] == b":" and abs(int(line[1:])) > _LARGEST_NUMBER:
            raise _unexpected()
        return line


class _StoreConnection(Connection):
    """A connection with the bounded parser, with TLS contexts that may change, and with names resolved on their own."""

    def __init__(self, *, trust: Callable[[], ssl.SSLContext] | None = None, **options: Any) -> None:
        super().__init__(parser_class=_BoundedParser, **options)
        self._trust = trust
        self._address = ""

    async def _connect(self) -> None:
        """Connect to the first address that accepts. Raises OSError."""
        failed: OSError | None = None
        async with asyncio.timeout(self.socket_connect_timeout):
            for address in await self._addresses():
                self._address = address
                try:
                    await super()._connect()  # type: ignore[no-untyped-call]
                except OSError as error:
                    failed = error
                else:
                    return
        raise failed or OSError(f"{self.host} has no address")

    async def _addresses(self) -> list[str]:
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            name = partial(socket.getaddrinfo, self.host, self.port, type=socket.SOCK_STREAM)
            found = await asyncio.get_running_loop().run_in_executor(_RESOLVER, name)
            return [str(address[0]) for *_, address in found]
        return [self.host]

    def _connection_arguments(self) -> Mapping[str, Any]:
        arguments = {**super()._connection_arguments(), "host": self._address}
        # The certificate must be valid for the name.
        return {**arguments, "ssl": self._trust(), "server_hostname": self.host} if self._trust else arguments


class _BehindSentinels(_StoreConnection, SentinelManagedConnection):
    """A connection to the server that the Sentinels name."""


def _options(credentials: CredentialProvider | None) -> dict[str, Any]:
    return {
        "credential_provider": credentials,
        # Late responses are the shared store's concern, which tells them from a busy event loop.
        "socket_timeout": SOCKET_SECONDS,
        "socket_connect_timeout": SOCKET_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,  # no CLIENT SETINFO
    }


def _pool(how: Connecting, server: Server, credentials: CredentialProvider | None, database: int) -> ConnectionPool:
    return ConnectionPool(
        connection_class=_StoreConnection,
        max_connections=_CONNECTIONS,
        host=server.host,
        port=server.port,
        db=database,
        trust=how.trust,
        **_options(credentials),
    )


def _behind_sentinels(how: Connecting) -> StoreClient:
    manager = Sentinel([])  # type: ignore[no-untyped-call]
    manager.sentinels = [Redis.from_pool(_pool(how, server, how.sentinel_credentials, 0)) for server in how.servers]
    pool = SentinelConnectionPool(  # type: ignore[no-untyped-call]
        how.sentinel_service,
        manager,
        connection_class=_BehindSentinels,
        max_connections=_CONNECTIONS,
        db=how.database,
        trust=how.trust,
        **_options(how.credentials),
    )
    return _OneServer(pool, manager)


async def _added(pipeline: Any, entries: Mapping[str, bytes], milliseconds: int) -> list[bool]:
    """Set the entries in one round trip for each server, without a transaction."""
    for key, entry in entries.items():
        pipeline.execute_command("SET", key, entry, "PX", milliseconds, "NX")
    response = await pipeline.execute()
    if len(response) != len(entries) or not all(added in (True, None) for added in response):
        raise _unexpected()
    return [added is True for added in response]


def _entries(response: Any, wanted: int) -> list[bytes | None]:
    """Check a response: a server may send anything."""
    if not isinstance(response, list) or len(response) != wanted:
        raise _unexpected()
    if not all(entry is None or isinstance(entry, bytes) for entry in response):
        raise _unexpected()
    return response


def _slots(response: Any, **_options: Any) -> Any:
    """Check which nodes have which slots of a cluster: the client counts through them without a pause."""
    slots = 0
    nodes: set[tuple[Any, Any]] = set()
    for first, last, *owners in response:
        # The client would also accept texts, of any number of digits.
        if not isinstance(first, int) or not isinstance(last, int):
            raise _unexpected()
        slots += max(0, last - first + 1)
        nodes.update((owner[0], owner[1]) for owner in owners)
    if slots > _SLOTS or len(nodes) > _MOST_NODES:
        raise _unexpected()
    return response


def _unexpected() -> RedisConnectionError:
    """Return an error that closes the connection: what follows on it is not known."""
    return RedisConnectionError("unexpected response")
