"""Seal the entries of the shared store, so that only a replica with the key can write what another one believes.

Without a seal, write access to the store would be enough to admit an image. A seal binds an entry to its key in the
store and to its times: an entry cannot be moved to another image, policy or account, nor be given a longer life. An
older entry of the same key can be put back until it expires; the seal does not prevent that.

Layout: version (1 byte), key id (8), MAC (32), asked at and expires at (8 each, milliseconds since 1970), payload.
"""

import hashlib
import hmac
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.files import SECRET_LIMIT, read_bytes, read_together
from anchore_admission.ports.store import SKEW_SECONDS
from anchore_admission.ports.telemetry import StoreOutcome

LARGEST_ENTRY: Final = 64 * 1024
"""Bytes of an entry in the store."""
SHORTEST_KEY: Final = 32
CURRENT: Final = "current"
PREVIOUS: Final = "previous"
_VERSION: Final = b"\x01"
_MAC: Final = hashlib.sha256
_TIMES: Final = struct.Struct(">QQ")
_KEY_ID: Final = slice(1, 9)
_MAC_VALUE: Final = slice(9, 41)
_TIMES_AND_PAYLOAD: Final = 41
OVERHEAD: Final = _TIMES_AND_PAYLOAD + _TIMES.size


@dataclass(frozen=True, slots=True)
class SealKey:
    """A secret, and the id by which an entry names it."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> bytes:
        # Derived from the secret, so that both need not be configured; of a random key of 32 bytes it reveals nothing.
        return _MAC(b"anchore-admission seal key id\0" + self.secret).digest()[:8]


@dataclass(frozen=True, slots=True)
class SealKeys:
    """The key that new entries are sealed with, and all keys that are accepted, by their ids."""

    current: SealKey
    accepted: dict[bytes, SealKey]

    @classmethod
    def of(cls, current: bytes, *others: bytes) -> "SealKeys":
        """Seal with ``current``, and accept entries that are sealed with it or one of the others."""
        key = SealKey(current)
        return cls(key, {each.id: each for each in (key, *map(SealKey, others))})


@dataclass(frozen=True, slots=True)
class Opened:
    """The content of an entry whose seal is intact; ``asked_at`` is Unix time, never in the future."""

    payload: bytes
    asked_at: float


@dataclass(frozen=True, slots=True)
class Seal:
    """Seals and opens entries; ``lifetime`` is the most seconds that one counts after its question was asked."""

    keys: Callable[[], SealKeys | None]
    lifetime: float
    now: Callable[[], float] = time.time

    def close(self, name: str, payload: bytes, asked_at: float) -> bytes | None:
        """Return the entry for this key of the store; None without a seal key."""
        keys = self.keys()
        if keys is None:
            return None
        times = _TIMES.pack(int(asked_at * 1000), int((asked_at + self.lifetime) * 1000))
        return b"".join([_VERSION, keys.current.id, _mac(keys.current, name, times + payload), times, payload])

    def open(self, name: str, entry: bytes) -> Opened | StoreOutcome:
        """Return the entry's content, or why it must not be used: INVALID or EXPIRED."""
        keys = self.keys()
        key = keys.accepted.get(entry[_KEY_ID]) if keys else None
        if not OVERHEAD <= len(entry) <= LARGEST_ENTRY or entry[:1] != _VERSION or key is None:
            return StoreOutcome.INVALID
        sealed = entry[_TIMES_AND_PAYLOAD:]
        if not hmac.compare_digest(entry[_MAC_VALUE], _mac(key, name, sealed)):
            return StoreOutcome.INVALID
        asked_at, expires_at = (milliseconds / 1000 for milliseconds in _TIMES.unpack_from(sealed))
        now = self.now()
        if asked_at > now + SKEW_SECONDS:
            return StoreOutcome.INVALID
        # Our own lifetime counts too: another replica's may be configured longer.
        if now >= min(expires_at, asked_at + self.lifetime):
            return StoreOutcome.EXPIRED
        return Opened(sealed[_TIMES.size :], min(asked_at, now))


def read_keys(directory: Path) -> SealKeys:
    """Read the files ``current`` and, if it exists, ``previous``. Raises ConfigurationError."""
    previous = directory / PREVIOUS
    paths = [directory / CURRENT, *([previous] if previous.exists() else [])]
    return SealKeys.of(*read_together(paths, _read_key))


def _read_key(path: Path) -> bytes:
    secret = read_bytes(path, SECRET_LIMIT).rstrip(b"\r\n")
    if len(secret) < SHORTEST_KEY:
        short = Problem("", f"holds a key of {len(secret)} bytes; expected at least {SHORTEST_KEY}, all random")
        raise ConfigurationError(str(path), [short])
    return secret


def _mac(key: SealKey, name: str, sealed: bytes) -> bytes:
    # The name is a key that we made: it has no NUL, so nothing of it can be taken for what follows.
    return hmac.digest(
        key.secret, b"".join([b"anchore-admission entry\0", _VERSION, name.encode(), b"\0", sealed]), _MAC
    )
