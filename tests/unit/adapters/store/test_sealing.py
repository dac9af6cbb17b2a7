"""Entries of the shared store that must not be believed."""

import hashlib
import hmac
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from anchore_admission.adapters.store.sealing import LARGEST_ENTRY, OVERHEAD, Opened, Seal, SealKeys, read_keys
from anchore_admission.errors import ConfigurationError
from anchore_admission.ports.telemetry import StoreOutcome
from support.stores import LIFETIME, NOW

OLD, CURRENT, NEXT = b"o" * 32, b"c" * 32, b"n" * 32
NAME = "anchore-admission:a/b:0123"
PAYLOAD = b'r{"digest":"sha256:0"}'
TIMES = slice(41, 57)


def seal(*keys: bytes, now: float = NOW, lifetime: float = LIFETIME) -> Seal:
    return Seal(lambda: SealKeys.of(*keys), lifetime, now=lambda: now)


def entry(payload: bytes = PAYLOAD, *, asked_at: float = NOW - 10, key: bytes = CURRENT, name: str = NAME) -> bytes:
    closed = seal(key).close(name, payload, asked_at)
    assert closed
    return closed


def with_times(asked_at: float, expires_at: float) -> bytes:
    return entry()[: TIMES.start] + struct.pack(">QQ", int(asked_at * 1000), int(expires_at * 1000)) + PAYLOAD


def sealed_as_version(version: bytes) -> bytes:
    """An entry of another version that the holder of the key has sealed."""
    honest = entry()
    rest = honest[TIMES.start :]
    text = b"".join([b"anchore-admission entry\0", version, NAME.encode(), b"\0", rest])
    return version + honest[1:9] + hmac.digest(CURRENT, text, "sha256") + rest


def unkeyed() -> bytes:
    """An entry with a plain hash where the MAC belongs."""
    honest = entry()
    rest = honest[TIMES.start :]
    return honest[:9] + hashlib.sha256(NAME.encode() + rest).digest() + rest


def test_an_intact_entry_is_opened_with_its_age() -> None:
    assert seal(CURRENT).open(NAME, entry()) == Opened(PAYLOAD, NOW - 10)


def test_opening_again_later_does_not_renew_the_age() -> None:
    opened = seal(CURRENT, now=NOW + 300).open(NAME, entry())
    assert opened == Opened(PAYLOAD, NOW - 10)


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(lambda: entry(name=f"{NAME}4"), id="moved from another key"),
        pytest.param(lambda: with_times(NOW - 10, NOW + 86400), id="longer expiry"),
        pytest.param(lambda: with_times(NOW, NOW + 590), id="younger"),
        pytest.param(lambda: entry()[:-1], id="truncated"),
        pytest.param(lambda: entry()[:OVERHEAD], id="without its payload"),
        pytest.param(lambda: entry()[: OVERHEAD - 1], id="shorter than a seal"),
        pytest.param(lambda: b"", id="empty"),
        pytest.param(lambda: entry() + b" ", id="longer payload"),
        pytest.param(lambda: b"\x02" + entry()[1:], id="other version"),
        pytest.param(lambda: sealed_as_version(b"\x02"), id="other version, sealed"),
        pytest.param(lambda: b"\x01" + entry(key=OLD)[1:9] + entry()[9:], id="other key's id"),
        pytest.param(lambda: entry(key=NEXT), id="key that is not accepted"),
        pytest.param(lambda: entry(key=CURRENT[:-1] + b"d"), id="key of another cluster"),
        pytest.param(lambda: entry()[:9] + bytes(32) + entry()[41:], id="MAC of zeros"),
        pytest.param(unkeyed, id="hash without a key"),
        pytest.param(lambda: PAYLOAD, id="not sealed"),
        pytest.param(lambda: entry(bytes(1024 * 1024)), id="1 MB"),
        pytest.param(lambda: entry(bytes(LARGEST_ENTRY - OVERHEAD + 1)), id="one byte too many"),
        pytest.param(lambda: entry(asked_at=NOW + 1.01), id="of the future"),
        pytest.param(lambda: entry(asked_at=NOW + 86400), id="of tomorrow"),
    ],
)
def test_an_entry_is_refused(forged: Callable[[], bytes]) -> None:
    assert seal(CURRENT, OLD).open(NAME, forged()) is StoreOutcome.INVALID


def test_every_bit_of_an_entry_counts() -> None:
    honest = int.from_bytes(entry())
    size = len(entry())
    opened = {seal(CURRENT).open(NAME, (honest ^ 1 << bit).to_bytes(size)) for bit in range(8 * size)}
    assert opened == {StoreOutcome.INVALID}


def test_an_entry_expires() -> None:
    for asked_at, now in ((NOW, NOW + LIFETIME), (NOW, NOW + 10 * LIFETIME), (NOW - LIFETIME, NOW)):
        assert seal(CURRENT, now=now).open(NAME, entry(asked_at=asked_at)) is StoreOutcome.EXPIRED
    assert isinstance(seal(CURRENT, now=NOW + LIFETIME - 0.01).open(NAME, entry(asked_at=NOW)), Opened)


def test_a_replica_with_a_shorter_lifetime_keeps_to_its_own() -> None:
    assert seal(CURRENT, lifetime=60, now=NOW + 61).open(NAME, entry(asked_at=NOW)) is StoreOutcome.EXPIRED
    generous = seal(CURRENT, lifetime=86400, now=NOW + LIFETIME)
    assert generous.open(NAME, entry(asked_at=NOW)) is StoreOutcome.EXPIRED


def test_a_clock_that_is_a_little_ahead_makes_nothing_younger_than_now() -> None:
    assert seal(CURRENT).open(NAME, entry(asked_at=NOW + 0.9)) == Opened(PAYLOAD, NOW)


def test_the_largest_entry_is_accepted() -> None:
    payload = bytes(LARGEST_ENTRY - OVERHEAD)
    assert seal(CURRENT).open(NAME, entry(payload)) == Opened(payload, NOW - 10)


def test_entries_of_both_keys_are_read_during_a_rotation() -> None:
    before, during, after = seal(OLD), seal(CURRENT, OLD), seal(CURRENT)
    old = before.close(NAME, PAYLOAD, NOW)
    assert old
    assert isinstance(during.open(NAME, old), Opened)
    assert after.open(NAME, old) is StoreOutcome.INVALID
    new = during.close(NAME, PAYLOAD, NOW)
    assert new
    assert isinstance(after.open(NAME, new), Opened)
    # A replica that has seen the new key only as the previous one, before the swap.
    assert isinstance(seal(OLD, CURRENT).open(NAME, new), Opened)


def test_without_a_key_nothing_is_sealed_or_believed() -> None:
    without = Seal(lambda: None, LIFETIME, now=lambda: NOW)
    assert without.close(NAME, PAYLOAD, NOW) is None
    assert without.open(NAME, entry()) is StoreOutcome.INVALID


def test_keys_are_read_from_a_directory(tmp_path: Path) -> None:
    (tmp_path / "current").write_bytes(CURRENT + b"\n")
    assert read_keys(tmp_path) == SealKeys.of(CURRENT)
    (tmp_path / "previous").write_bytes(OLD)
    assert read_keys(tmp_path) == SealKeys.of(CURRENT, OLD)
    assert CURRENT.decode() not in repr(read_keys(tmp_path).current)


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "current: cannot be read: No such file or directory"),
        ({"current": b""}, "current: holds a key of 0 bytes; expected at least 32, all random"),
        ({"current": CURRENT[:31] + b"\n"}, "current: holds a key of 31 bytes; expected at least 32, all random"),
        ({"current": CURRENT, "previous": b"x"}, "previous: holds a key of 1 bytes; expected at least 32, all random"),
    ],
)
def test_a_missing_or_short_key_is_an_error(tmp_path: Path, files: dict[str, bytes], problem: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_keys(tmp_path)
    assert [str(each) for each in caught.value.problems] == [f"{tmp_path}/{problem}"]
