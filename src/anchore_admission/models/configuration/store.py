"""The section about the store that replicas share."""

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from anchore_admission.models.configuration.base import Name, Section
from anchore_admission.models.configuration.sections import File
from anchore_admission.models.quantities import Duration

_HOST = r"(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])"
_URL = re.compile(rf"(?P<scheme>rediss?)://{_HOST}(?::(?P<port>[0-9]{{1,5}}))?(?:/(?P<database>[0-9]{{0,3}}))?")
_SERVER = re.compile(rf"{_HOST}:(?P<port>[0-9]{{1,5}})")
_CLUSTER_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_./-]{0,126}[A-Za-z0-9])?")
_DEFAULT_PORT: Final = 6379
_LAST_PORT: Final = 65535


class Topology(StrEnum):
    """How the servers of the store work together."""

    STANDALONE = "standalone"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Server:
    """The address of a server; IPv6 without brackets."""

    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """Return whether the connection stays on this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def _url(value: str) -> str:
    # Addresses stand in log lines and messages, and the file is usually a ConfigMap.
    if "@" in value:
        raise ValueError("must not contain credentials; they belong into usernameFile and passwordFile")
    found = _URL.fullmatch(value)
    if not found or not 0 < int(found["port"] or _DEFAULT_PORT) <= _LAST_PORT:
        raise ValueError("expected an address such as rediss://valkey.cache.svc:6379, with /1 for database 1")
    return value


def _server(value: str) -> str:
    found = _SERVER.fullmatch(value)
    if not found or not 0 < int(found["port"]) <= _LAST_PORT:
        raise ValueError("expected a host and a port such as valkey-1.cache.svc:6379")
    return value


def _cluster_name(value: str) -> str:
    if not _CLUSTER_NAME.fullmatch(value):
        raise ValueError(
            "expected letters, digits, '.', '_', '-' and '/', at most 128, with a letter or digit at either end"
        )
    return value


def _parsed(found: re.Match[str] | None) -> Server:
    if found is None:  # the fields are validated
        raise ValueError("not an address")
    return Server(found["host"].strip("[]"), int(found["port"] or _DEFAULT_PORT))


class SharedStoreSection(Section):
    """A Redis or Valkey server in which the replicas share what Anchore answered."""

    # Each field is checked against those above it, so that every contradiction is reported at a key that the user
    # wrote, together with all other mistakes. A field that is invalid itself is not in ``info.data``.

    allow_plain: bool = False
    """Accept redis:// (without TLS) to another host."""
    url: Annotated[str, AfterValidator(_url)]
    """Address of the server, of a Sentinel or of a cluster's node, such as rediss://valkey.cache.svc:6379."""
    sentinel_service: Name | None = None
    """The name under which the Sentinels monitor the server."""
    topology: Topology = Topology.STANDALONE
    """standalone: one server; sentinel: url is a Sentinel's; cluster: Redis Cluster."""
    more_servers: Annotated[list[Annotated[str, AfterValidator(_server)]], Field(max_length=32)] = Field([])
    """Further Sentinels, or nodes of the cluster, as host:port."""
    cluster_name: Annotated[str, AfterValidator(_cluster_name)]
    """A name for this Kubernetes cluster and installation, unlike that of any other that uses the store."""
    key_directory: File
    """Directory with the seal key in the file current and, during a rotation, another one in previous."""
    password_file: File | None = None
    """File that holds the password."""
    username_file: File | None = None
    """File that holds the user name; without it, the password is that of the default user."""
    sentinel_password_file: File | None = None
    """File that holds the password of the Sentinels, if they have one."""
    sentinel_username_file: File | None = None
    """File that holds the user name for the Sentinels."""
    ca_file: File | None = None
    """PEM file with the CAs to trust; changes to it are noticed. null trusts the system's CAs."""
    prefix: Name = "anchore-admission"
    """The first part of every key in the store, to which an access list can be limited."""
    timeout: Annotated[Duration, Field(ge=0.005, le=1)] = 0.05
    """How long a lookup waits for the store before Anchore is asked. Default 50ms."""

    @property
    def servers(self) -> list[Server]:
        """The servers to begin with."""
        return [_parsed(_URL.fullmatch(self.url)), *(_parsed(_SERVER.fullmatch(each)) for each in self.more_servers)]

    @property
    def uses_tls(self) -> bool:
        return self.url.startswith("rediss:")

    @property
    def database(self) -> int:
        return _database(self.url)

    @field_validator("url")
    @classmethod
    def _plain_stays_local(cls, value: str, info: ValidationInfo) -> str:
        _stays_local(value, _parsed(_URL.fullmatch(value)), info)
        return value

    @field_validator("topology")
    @classmethod
    def _fits_topology(cls, value: Topology, info: ValidationInfo) -> Topology:
        if value is Topology.CLUSTER and _database(info.data.get("url", "")):
            raise ValueError("a cluster has no database but 0; leave it out of url")
        if value is Topology.SENTINEL and info.data.get("sentinel_service", "") is None:
            raise ValueError("sentinel needs sentinelService")
        if value is not Topology.SENTINEL and info.data.get("sentinel_service"):
            raise ValueError("expected sentinel, because sentinelService is set")
        return value

    @field_validator("more_servers")
    @classmethod
    def _has_several_servers(cls, value: list[str], info: ValidationInfo) -> list[str]:
        if value and info.data.get("topology") is Topology.STANDALONE:
            raise ValueError("expected only with topology sentinel or cluster")
        for server in value:
            _stays_local(info.data.get("url", ""), _parsed(_SERVER.fullmatch(server)), info)
        return value

    @field_validator("username_file", "sentinel_username_file")
    @classmethod
    def _has_a_password(cls, value: str | None, info: ValidationInfo) -> str | None:
        of_sentinels = "sentinel_" if info.field_name == "sentinel_username_file" else ""
        if value and info.data.get(f"{of_sentinels}password_file", "") is None:
            raise ValueError(f"expected with {'sentinelPasswordFile' if of_sentinels else 'passwordFile'}")
        return value

    @field_validator("sentinel_password_file")
    @classmethod
    def _has_sentinels(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and info.data.get("topology", Topology.SENTINEL) is not Topology.SENTINEL:
            raise ValueError("expected only with topology sentinel")
        return value

    @field_validator("ca_file")
    @classmethod
    def _has_tls(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and info.data.get("url", "").startswith("redis:"):
            raise ValueError("expected only with rediss:// in url")
        return value


def _database(url: str) -> int:
    found = _URL.fullmatch(url)
    return int(found["database"] or 0) if found else 0


def _stays_local(url: str, server: Server, info: ValidationInfo) -> None:
    if url.startswith("redis:") and not server.is_local and not info.data.get("allow_plain", True):
        raise ValueError("expected rediss://, or allowPlain: without TLS, an attacker on the path reads the password")
