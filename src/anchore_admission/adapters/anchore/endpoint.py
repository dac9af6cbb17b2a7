"""The endpoint of an Anchore: address, API version, trust, bounds."""

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import httpx

from anchore_admission.adapters.trust import WatchedTrust, system_trust
from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.models.configuration import ApiVersion

ACCOUNT_HEADER = "x-anchore-account"
_LARGE_RESPONSES = 2
_SUFFIXES = {"v1": ApiVersion.V1, "v2": ApiVersion.V2}


@dataclass(frozen=True, slots=True)
class AnchoreEndpoint:
    """One Anchore, as configured."""

    url: str
    api_version: ApiVersion = ApiVersion.AUTO
    ca_file: str | None = None
    verify_tls: bool = True


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seconds to connect and between two reads, and the largest response in bytes, decompressed."""

    connect: float
    read: float
    response: int
    large: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_LARGE_RESPONSES), compare=False)
    """Slots for large responses; shared by all accounts, since they share the memory."""


@dataclass(frozen=True, slots=True)
class Root:
    """The address that every path is appended to; ``hint`` is the API version the user wrote after it."""

    url: str
    hint: ApiVersion = ApiVersion.AUTO


def root_of(endpoint: AnchoreEndpoint) -> Root:
    """Return the address without a final slash and API version, which users write or leave out.

    Raises ConfigurationError.
    """
    address = endpoint.url.strip().rstrip("/")
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in address or _has_more_than_a_path(parts):
        # The address itself is not repeated: it may hold a password.
        raise _wrong("endpoint", "must be a plain http(s) address without credentials, query or fragment")
    head, _, last = address.rpartition("/")
    if last in _SUFFIXES:
        return Root(head.rstrip("/"), _SUFFIXES[last])
    return Root(address)


def trust(endpoint: AnchoreEndpoint) -> ssl.SSLContext:
    """Return the TLS context: a CA file replaces the system's CAs. Raises ConfigurationError."""
    if not endpoint.verify_tls:
        return httpx.create_ssl_context(verify=False)
    if endpoint.ca_file is None:
        return system_trust()
    return WatchedTrust(Path(endpoint.ca_file)).current()


def account_header(account: str | None) -> dict[str, str]:
    """Return the header that moves a call into another account's scope. Raises ConfigurationError."""
    if account is None:
        return {}
    # A line break in a header's value would begin another header.
    if not account.isascii() or not account.isprintable() or account != account.strip() or not account:
        raise _wrong("anchoreAccount", "must be printable ASCII without surrounding spaces")
    return {ACCOUNT_HEADER: account}


def _has_more_than_a_path(parts: SplitResult) -> bool:
    return bool(parts.query or parts.fragment)


def _wrong(path: str, message: str) -> ConfigurationError:
    return ConfigurationError("anchore", [Problem(path, message)])
