"""Exchange answers with the replicas' shared store, if there is one."""

import logging
import time

from anchore_admission.core.answers import ByDigest, ByTag, Check
from anchore_admission.core.freshness import Answer, Lifetimes, answer
from anchore_admission.ports.anchore import Identity
from anchore_admission.ports.deadline import Clock, Deadline
from anchore_admission.ports.store import SKEW_SECONDS, FactStore, StoredAnswer
from anchore_admission.services.reviews.remembered import Key

logger = logging.getLogger("anchore_admission.memory")


class SharedAnswers:
    """The answers of all replicas. A store that fails, even unexpectedly, costs nothing but its answers."""

    def __init__(
        self, store: FactStore | None, lifetimes: Lifetimes, clock: Clock, wall_clock: Clock = time.time
    ) -> None:
        self._store = store
        self._lifetimes = lifetimes
        self._clock = clock
        self._wall_clock = wall_clock
        self._not_before = float("-inf")

    async def load(self, key: Key, seconds_left: float) -> Answer | None:
        """Return the answer of any replica. Loading does not make it younger."""
        name = _name(key)
        if self._store is None or name is None:
            return None
        try:
            stored = await self._store.get(name, Deadline.after(seconds_left, self._clock))
        except Exception:
            logger.exception("the shared store failed unexpectedly")
            return None
        if stored is None or stored.asked_at <= self._not_before:
            return None
        # A clock ahead of ours must not make it younger, either.
        at = self._clock() - max(0.0, self._wall_clock() - stored.asked_at)
        return answer(key.query, stored.value, at, self._lifetimes)

    def put(self, key: Key, found: Answer) -> None:
        """Share a final answer. Any other would keep replicas from finding out more."""
        name = _name(key)
        if self._store is None or name is None or not found.is_final:
            return
        asked_at = self._wall_clock() - (self._clock() - found.at)
        try:
            self._store.put(name, StoredAnswer(found.value, asked_at))
        except Exception:
            logger.exception("the shared store failed unexpectedly")

    def forget(self) -> None:
        """Load no answer of until now any more."""
        # What a replica whose clock is ahead asked for just before looks younger than it is.
        self._not_before = self._wall_clock() + SKEW_SECONDS


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
