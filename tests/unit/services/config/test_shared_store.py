"""The section sharedStore: what it accepts, and every contradiction in it."""

import json
from typing import Any

import pytest

from anchore_admission.errors import ConfigurationError
from anchore_admission.models.configuration import SharedStoreSection, Topology
from anchore_admission.models.configuration.store import Server
from anchore_admission.services.config.load import parse_configuration

LEAST = {"url": "rediss://valkey.cache.svc", "clusterName": "prod/gate", "keyDirectory": "/keys"}
SENTINELS = {"topology": "sentinel", "sentinelService": "gate"}
_ADDRESS = "sharedStore.url: expected an address such as rediss://valkey.cache.svc:6379, with /1 for database 1"
_PLAIN = "expected rediss://, or allowPlain: without TLS, an attacker on the path reads the password"
_NAME = "expected letters, digits, '.', '_', '-' and '/', at most 128, with a letter or digit at either end"
_SERVER = "expected a host and a port such as valkey-1.cache.svc:6379"
_PREFIX = "expected letters, digits, '.', '_' and '-', at most 63, with a letter or digit at either end"
_SECRET = "unknown key; secrets come from files (usernameFile, passwordFile, apiKeyFile) or the environment"
PLAIN = {"url": "redis://valkey.cache.svc"}


def parse(**keys: Any) -> SharedStoreSection:
    section = {key: value for key, value in {**LEAST, **keys}.items() if value != "left out"}
    text = json.dumps({"anchore": {"endpoint": "http://anchore:8228"}, "sharedStore": section})
    store = parse_configuration(text, "configuration.yaml").shared_store
    assert store
    return store


def problems(**keys: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse(**keys)
    return [str(problem) for problem in caught.value.problems]


def test_the_least_section() -> None:
    store = parse()
    assert (store.topology, store.prefix, store.timeout) == (Topology.STANDALONE, "anchore-admission", 0.05)
    assert store.servers == [Server("valkey.cache.svc", 6379)]
    assert store.uses_tls
    assert store.database == 0


@pytest.mark.parametrize(
    ("url", "server", "database"),
    [
        ("rediss://store:6380/3", Server("store", 6380), 3),
        ("rediss://store/", Server("store", 6379), 0),
        ("rediss://[2001:db8::1]:6379/15", Server("2001:db8::1", 6379), 15),
        ("redis://localhost", Server("localhost", 6379), 0),
        ("redis://127.1.2.3", Server("127.1.2.3", 6379), 0),
        ("redis://[::1]:6379", Server("::1", 6379), 0),
    ],
)
def test_addresses(url: str, server: Server, database: int) -> None:
    store = parse(url=url)
    assert (store.servers, store.database) == ([server], database)


def test_plain_connections_are_accepted_explicitly() -> None:
    assert not parse(**PLAIN, allowPlain=True).uses_tls


def test_several_servers() -> None:
    store = parse(**SENTINELS, moreServers=["valkey-1:26379", "[::1]:26380"])
    assert store.servers[1:] == [Server("valkey-1", 26379), Server("::1", 26380)]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        *(
            ({"url": url}, [_ADDRESS])
            for url in (
                "valkey:6379",
                "http://valkey",
                "rediss://",
                "rediss://valkey:0",
                "rediss://valkey:65536",
                "rediss://valkey:x",
                "rediss://valkey/name",
                "rediss://valkey/1/2",
                "rediss://valkey?ssl_cert_reqs=none",
                "rediss://valkey#1",
                "rediss://val key",
                "rediss://valkey\n",
                "unix:///run/valkey.sock",
                "",
            )
        ),
        (
            {"url": "rediss://user:hunter2@valkey"},
            ["sharedStore.url: must not contain credentials; they belong into usernameFile and passwordFile"],
        ),
        (PLAIN, [f"sharedStore.url: {_PLAIN}"]),
        ({"url": "redis://localhost.example.com"}, [f"sharedStore.url: {_PLAIN}"]),
        (
            {"url": "redis://localhost", "topology": "cluster", "moreServers": ["[::1]:1", "valkey:6379"]},
            [f"sharedStore.moreServers: {_PLAIN}"],
        ),
        ({"topology": "sentinel"}, ["sharedStore.topology: sentinel needs sentinelService"]),
        (
            {"topology": "standalone", "sentinelService": "gate"},
            ["sharedStore.topology: expected sentinel, because sentinelService is set"],
        ),
        (
            {"url": "rediss://valkey/1", "topology": "cluster"},
            ["sharedStore.topology: a cluster has no database but 0; leave it out of url"],
        ),
        ({"moreServers": ["a:1"]}, ["sharedStore.moreServers: expected only with topology sentinel or cluster"]),
        ({**SENTINELS, "moreServers": ["a"]}, [f"sharedStore.moreServers[0]: {_SERVER}"]),
        ({**SENTINELS, "moreServers": ["u:p@a:1"]}, [f"sharedStore.moreServers[0]: {_SERVER}"]),
        ({**SENTINELS, "moreServers": ["a:99999"]}, [f"sharedStore.moreServers[0]: {_SERVER}"]),
        ({"usernameFile": "/u"}, ["sharedStore.usernameFile: expected with passwordFile"]),
        (
            {**SENTINELS, "sentinelUsernameFile": "/u"},
            ["sharedStore.sentinelUsernameFile: expected with sentinelPasswordFile"],
        ),
        (
            {"sentinelPasswordFile": "/p"},
            ["sharedStore.sentinelPasswordFile: expected only with topology sentinel"],
        ),
        (
            {"url": "redis://localhost", "caFile": "/ca"},
            ["sharedStore.caFile: expected only with rediss:// in url"],
        ),
        ({"clusterName": "a b"}, [f"sharedStore.clusterName: {_NAME}"]),
        ({"clusterName": "a:b"}, [f"sharedStore.clusterName: {_NAME}"]),
        ({"clusterName": "*"}, [f"sharedStore.clusterName: {_NAME}"]),
        ({"clusterName": "left out"}, ["sharedStore.clusterName: is required"]),
        ({"keyDirectory": "left out"}, ["sharedStore.keyDirectory: is required"]),
        (
            {"prefix": "a:*"},
            [f"sharedStore.prefix: {_PREFIX}"],
        ),
        ({"timeout": "2s"}, ["sharedStore.timeout: expected at most 1s"]),
        ({"timeout": "1ms"}, ["sharedStore.timeout: expected at least 0.005s"]),
        (
            {"password": "hunter2"},
            [f"sharedStore.password: {_SECRET}"],
        ),
        ({"topology": "ring"}, ["sharedStore.topology: expected one of standalone, sentinel, cluster"]),
    ],
)
def test_a_mistake_is_reported_at_its_place(keys: dict[str, Any], expected: list[str]) -> None:
    assert problems(**keys) == expected


def test_all_mistakes_are_reported_at_once() -> None:
    found = problems(
        url="redis://u:hunter2@valkey",
        topology="sentinel",
        moreServers=["valkey"],
        usernameFile="/u",
        clusterName="left out",
        timeout="1h",
        tls=True,
    )
    assert len(found) == 7
    assert "hunter2" not in "".join(found)


def test_a_database_is_not_given_to_a_cluster_by_accident() -> None:
    assert parse(topology="cluster", url="rediss://valkey/0").topology is Topology.CLUSTER
