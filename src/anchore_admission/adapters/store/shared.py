"""The port ``FactStore`` over a Redis or Valkey server: bounded, sealed, and left alone when it fails."""

import asyncio
import hashlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from anchore_admission.adapters.store.alarm import Alarm
from anchore_admission.adapters.store.batches import NO_RESPONSE, Batches, Fetched
from anchore_admission.adapters.store.breaker import SUSPENDED_SECONDS, StoreBreaker
from anchore_admission.adapters.store.client import StoreClient
from anchore_admission.adapters.store.sealing import LARGEST_ENTRY, OVERHEAD, Opened, Seal
from anchore_admission.adapters.store.values import SCHEMA, decode, encode
from anchore_admission.ports.deadline import Clock, Deadline
from anchore_admission.ports.store import CLAIM_SECONDS, SKEW_SECONDS, StoredAnswer
from anchore_admission.ports.telemetry import Recorder, StoreOutcome, StorePut
from anchore_admission.redaction import cut
from anchore_admission.text import joined_lines
from anchore_admission.throttled import Throttled

logger = logging.getLogger("anchore_admission.store")

_SHARE: Final = 10
"""A lookup takes at most this fraction of the time that its deadline leaves."""
_QUEUED: Final = 1000
_QUEUED_BYTES: Final = 4 * 1024 * 1024
_SHOWN: Final = 200
"""Characters shown of an error."""


@dataclass(frozen=True, slots=True)
class _Put:
    name: str
    entry: bytes
    until: float | None
    """Unix time at which the entry expires; None ends a claim, which an entry that expires at once replaces."""


class SharedStore:
    """The store under keys of one cluster: ``prefix`` is the first part of each, ``cluster`` the second.

    ``timeout`` bounds a lookup, in seconds. ``clock`` is monotonic; the time of day is the seal's.
    """

    def __init__(
        self,
        client: StoreClient,
        seal: Seal,
        recorder: Recorder,
        *,
        prefix: str,
        cluster: str,
        timeout: float,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._seal = seal
        self._claim_seal = replace(seal, lifetime=CLAIM_SECONDS)
        self._recorder = recorder
        self._begin = f"{prefix}:{cluster}:"
        self._timeout = timeout
        self._clock = clock
        self._sleep = sleep
        self._breaker = StoreBreaker()
        self._responds = True
        """True if the last lookup had a response. Claims are not worth waiting for a store that has not."""
        self._reads = Batches(self._read)
        self._claims = Batches(self._add_claims)
        self._puts: deque[_Put] = deque()
        self._queued_bytes = 0
        self._has_puts = asyncio.Event()
        self._warnings = Throttled(logger, clock)

    async def get(self, key: str, deadline: Deadline) -> StoredAnswer | None:
        if self._is_suspended:
            self._recorder.store_lookup(outcome=StoreOutcome.SUSPENDED, seconds=0.0)
            return None
        began = self._clock()
        found = await self._look_up(self._name(key), deadline)
        outcome = found if isinstance(found, StoreOutcome) else StoreOutcome.HIT
        self._recorder.store_lookup(outcome=outcome, seconds=max(0.0, self._clock() - began))
        return None if isinstance(found, StoreOutcome) else found

    async def claim(self, key: str, deadline: Deadline) -> bool:
        if self._is_suspended or not self._responds:
            return False
        _, claimed = await self._fetch(self._claims, self._claim_name(key), deadline)
        return claimed is not None

    async def is_claimed(self, key: str, deadline: Deadline) -> bool:
        if self._is_suspended or not self._responds:
            return False
        began, name = self._clock(), self._claim_name(key)
        _, entry = await self._fetch(self._reads, name, deadline)
        if not entry:  # an empty one was given up
            return False
        opened = self._open(self._claim_seal, name, entry)
        if opened is StoreOutcome.INVALID:
            self._recorder.store_lookup(outcome=opened, seconds=max(0.0, self._clock() - began))
        return isinstance(opened, Opened)

    def end_claim(self, key: str) -> None:
        self._queue(_Put(self._claim_name(key), b"", None))

    def put(self, key: str, answer: StoredAnswer) -> None:
        self._queue(self._sealed(self._name(key), answer))

    def _queue(self, put: _Put | None) -> None:
        if put is None or len(self._puts) >= _QUEUED or self._queued_bytes + len(put.entry) > _QUEUED_BYTES:
            self._recorder.store_put(StorePut.DROPPED)
            return
        self._puts.append(put)
        self._queued_bytes += len(put.entry)
        self._has_puts.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write_queued())
            group.create_task(self._recover())

    async def aclose(self) -> None:
        await self._reads.aclose()
        await self._claims.aclose()
        await self._client.disconnect()

    @property
    def _is_suspended(self) -> bool:
        return self._breaker.is_open or self._seal.keys() is None

    def _claim_name(self, key: str) -> str:
        return self._name(key, "claim:")

    def _name(self, key: str, kind: str = "") -> str:
        return self._begin + kind + hashlib.sha256(f"{SCHEMA}\0{key}".encode()).hexdigest()

    async def _fetch(self, batches: Batches, name: str, deadline: Deadline) -> Fetched:
        seconds = min(self._timeout, deadline.left() / _SHARE)
        if seconds <= 0:  # tells nothing about the store
            return NO_RESPONSE
        fetched = await batches.fetch(name, seconds)
        self._responds, _ = fetched
        return fetched

    async def _look_up(self, name: str, deadline: Deadline) -> StoredAnswer | StoreOutcome:
        responded, entry = await self._fetch(self._reads, name, deadline)
        if not responded:
            return StoreOutcome.ERROR
        if entry is None:
            return StoreOutcome.MISS
        opened = self._open(self._seal, name, entry)
        if not isinstance(opened, Opened):
            return opened
        value = decode(opened.payload)
        return StoredAnswer(value, opened.asked_at) if value else StoreOutcome.INVALID

    def _open(self, seal: Seal, name: str, entry: bytes) -> Opened | StoreOutcome:
        opened = seal.open(name, entry)
        if opened is StoreOutcome.INVALID:
            text = "an entry of the shared store is not sealed with our key; Anchore is asked instead"
            self._warnings.warn("seal", text, even_if_changed=False)
        return opened

    async def _add_claims(self, names: Sequence[str]) -> Sequence[bytes | None] | None:
        """Claim a batch; return the claims that are ours, None for each that is another replica's."""
        now = self._claim_seal.now()
        claims = {name: claim for name in names if (claim := self._claim_seal.close(name, b"", now))}
        try:
            added = await self._client.add(claims, int(CLAIM_SECONDS * 1000))
        except Exception as error:  # noqa: BLE001 - without claims, each replica asks Anchore
            self._warn_of_writes(error)
            return None
        ours = {name for name, is_ours in zip(claims, added, strict=True) if is_ours}
        return [claims[name] if name in ours else None for name in names]

    async def _read(self, names: Sequence[str]) -> Sequence[bytes | None] | None:
        """Read a batch; None if the store failed. A response that comes late counts as a failure at once."""
        is_late = False

        def late() -> None:
            nonlocal is_late
            is_late = True
            self._fail(f"no response within {self._timeout:g} s")

        alarm = Alarm(self._timeout, late)
        try:
            entries = await self._client.read(names)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the store, Anchore can be asked
            if not is_late:
                self._fail(_described(error))
            return None
        finally:
            alarm.cancel()
        if not is_late:
            self._breaker.succeed()
        return entries

    def _fail(self, why: str) -> None:
        self._breaker.fail()
        if self._breaker.is_open:
            text = f"the shared store does not respond: {why}; Anchore is asked until it does"
            self._warnings.warn("reads", text, even_if_changed=False)

    async def _recover(self) -> None:
        """Probe a suspended store from time to time; no review waits for it."""
        while True:
            await self._breaker.until_open()
            await self._sleep(SUSPENDED_SECONDS)
            try:
                # Over new connections, since old ones may lead to a server that is gone.
                await self._client.disconnect()
                await self._client.read([self._name("probe")])
            except Exception as error:  # noqa: BLE001 - any error means that the store stays suspended
                logger.debug("the shared store is still suspended: %s", _described(error))
            else:
                self._breaker.close()
            _heed_cancellation()

    def _sealed(self, name: str, answer: StoredAnswer) -> _Put | None:
        """Return the entry to write; None if it is not final, too large, too old or of the future."""
        now, until = self._seal.now(), answer.asked_at + self._seal.lifetime
        payload = encode(answer.value, LARGEST_ENTRY - OVERHEAD)
        if payload is None or not now < until or answer.asked_at > now + SKEW_SECONDS:
            return None
        entry = self._seal.close(name, payload, answer.asked_at)
        return _Put(name, entry, until) if entry else None

    async def _write_queued(self) -> None:
        while True:
            await self._has_puts.wait()
            await self._breaker.until_closed()
            put = self._puts.popleft()
            self._queued_bytes -= len(put.entry)
            if not self._puts:
                self._has_puts.clear()
            self._recorder.store_put(await self._write(put))
            _heed_cancellation()

    async def _write(self, put: _Put) -> StorePut:
        milliseconds = 1 if put.until is None else int((put.until - self._seal.now()) * 1000)
        if milliseconds <= 0:
            return StorePut.DROPPED
        try:
            await self._client.write(put.name, put.entry, milliseconds)
        except Exception as error:  # noqa: BLE001 - a lost entry only means that another replica asks Anchore
            self._warn_of_writes(error)
            return StorePut.ERROR
        return StorePut.CLAIM_ENDED if put.until is None else StorePut.STORED

    def _warn_of_writes(self, error: Exception) -> None:
        text = f"cannot write to the shared store: {_described(error)}; other replicas ask Anchore"
        self._warnings.warn("writes", text, even_if_changed=False)


def _heed_cancellation() -> None:
    """End a cancelled task although its cancellation was swallowed.

    The client uses ``asyncio.wait_for``, which does so in Python 3.11 if what it waits for ends at the same moment.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _described(error: Exception) -> str:
    """Describe an error in one line; the store may have chosen its text."""
    return f"{type(error).__name__} {joined_lines(cut(str(error), _SHOWN))}".rstrip()
