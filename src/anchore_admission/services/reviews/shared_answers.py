"""Exchange answers with the replicas' shared store, if there is one, and let one replica ask for all."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from anchore_admission.core.answers import ByDigest, ByTag, Check
from anchore_admission.core.freshness import Answer, Lifetimes, answer
from anchore_admission.ports.anchore import Identity
from anchore_admission.ports.deadline import Clock, Deadline
from anchore_admission.ports.store import SKEW_SECONDS, FactStore, StoredAnswer
from anchore_admission.ports.telemetry import Recorder, StoreClaim
from anchore_admission.services.reviews.remembered import Key

logger = logging.getLogger("anchore_admission.memory")

LONGEST_WAIT: Final = 1.0
"""Seconds for which a question waits for the answer of the replica that has claimed it."""
_SHARE: Final = 4
"""It waits at most this fraction of the time that its reviews have left."""
_PAUSE: Final = (0.025, 0.05)
"""Shortest and longest pause between two looks at the store."""


class SharedAnswers:
    """The answers of all replicas. A store that fails, even unexpectedly, costs nothing but its answers."""

    def __init__(
        self,
        store: FactStore | None,
        lifetimes: Lifetimes,
        recorder: Recorder,
        *,
        clock: Clock,
        wall_clock: Clock = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._lifetimes = lifetimes
        self._recorder = recorder
        self._clock = clock
        self._wall_clock = wall_clock
        self._sleep = sleep
        self._not_before = float("-inf")

    async def load(self, key: Key, seconds_left: float) -> Answer | None:
        """Return the answer of any replica. Loading does not make it younger."""
        name, stored = _name(key), None
        if self._store is None or name is None:
            return None
        with _failures_logged():
            stored = await self._store.get(name, Deadline.after(seconds_left, self._clock))
        if stored is None or stored.asked_at <= self._not_before:
            return None
        # A clock ahead of ours must not make it younger, either.
        at = self._clock() - max(0.0, self._wall_clock() - stored.asked_at)
        return answer(key.query, stored.value, at, self._lifetimes)

    async def claim(self, key: Key, seconds_left: float) -> bool:
        """Announce to the other replicas that this one asks Anchore, and return whether it is the first.

        ``end_claim`` must follow.
        """
        name, is_ours = _name(key), False
        if self._store is None or name is None:
            return False
        with _failures_logged():
            is_ours = await self._store.claim(name, Deadline.after(seconds_left, self._clock))
        if is_ours:
            self._recorder.store_claim(StoreClaim.CLAIMED)
        return is_ours

    async def awaited(
        self, key: Key, load: Callable[[], Awaitable[Answer | None]], seconds_left: float
    ) -> Answer | None:
        """Load the answer of the replica that has claimed the question.

        None if no replica has, if it gives up, or if it takes too long; then this one asks.
        """
        name = _name(key)
        if self._store is None or name is None:
            return None
        until = self._clock() + min(LONGEST_WAIT, seconds_left / _SHARE)
        has_waited = False
        while True:
            found, is_claimed = await asyncio.gather(load(), self._is_claimed(self._store, name, seconds_left))
            left = until - self._clock()
            if found is not None or not is_claimed or left <= 0:
                break
            has_waited = True
            await self._sleep(min(left, random.uniform(*_PAUSE)))  # noqa: S311 - nothing depends on it
        if found is not None or has_waited:
            self._recorder.store_claim(StoreClaim.UNANSWERED if found is None else StoreClaim.ANSWERED)
        return found

    def end_claim(self, key: Key) -> None:
        """End our claim. An answer must have been put before: other replicas that do not find one ask."""
        name = _name(key)
        if self._store is not None and name is not None:
            with _failures_logged():
                self._store.end_claim(name)

    def put(self, key: Key, found: Answer) -> None:
        """Share a final answer. Any other would keep replicas from finding out more."""
        name = _name(key)
        if self._store is None or name is None or not found.is_final:
            return
        asked_at = self._wall_clock() - (self._clock() - found.at)
        with _failures_logged():
            self._store.put(name, StoredAnswer(found.value, asked_at))

    def forget(self) -> None:
        """Load no answer of until now any more."""
        # What a replica whose clock is ahead asked for just before looks younger than it is.
        self._not_before = self._wall_clock() + SKEW_SECONDS

    async def _is_claimed(self, store: FactStore, name: str, seconds_left: float) -> bool:
        with _failures_logged():
            return await store.is_claimed(name, Deadline.after(seconds_left, self._clock))
        return False


@contextlib.contextmanager
def _failures_logged() -> Iterator[None]:
    """Go on after the block if it fails."""
    try:
        yield
    except Exception:
        logger.exception("the shared store failed unexpectedly")


def _name(key: Key) -> str | None:
    """Return an answer's name in the store; None if the key does not tell all that the answer depends on."""
    match key:
        case Key(_, Identity(fingerprint), ByTag(full_tag)):
            return f"tag\0{fingerprint}\0{full_tag}"
        case Key(_, Identity(fingerprint), ByDigest(digest)):
            return f"digest\0{fingerprint}\0{digest}"
        case Key(_, Identity(fingerprint), Check(digest, full_tag), (policy, version)):
            return f"check\0{fingerprint}\0{digest}\0{full_tag}\0{policy}\0{version}"
        case _:
            return None
