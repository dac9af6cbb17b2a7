"""A bounded record of Anchore's answers, fair to every namespace; the least recently used are forgotten first."""

from collections import OrderedDict
from sys import getsizeof

from msgspec import Struct

from anchore_admission.core.answers import ByDigest, Query
from anchore_admission.core.facts import ImageRecord, PolicyEvaluation
from anchore_admission.core.freshness import Answer, doubted
from anchore_admission.ports.anchore import Identity
from anchore_admission.services.reviews.doubts import Doubts

_ENTRY_BYTES = 1000
"""Measured memory of an answer without the texts below, with its key."""
_ROW_BYTES = 250
"""Measured memory of a finding, a tag or a selector without its texts."""
_NO_TEXT = getsizeof("")


class Key(Struct, frozen=True, gc=False):
    """The key of an answer: it counts for one account, and, if it is a policy's result, for one version of it."""

    account: str
    identity: Identity
    query: Query
    policy_version: tuple[str, str] | None
    """The id of the policy and its ``last_updated``; None for a look-up, or if they are not known."""


class _Entry(Struct, gc=False):
    answer: Answer
    size: int
    owner: str | None


class _Owned:
    """The answers that one namespace has brought, the least recently used first."""

    __slots__ = ("bytes", "keys")

    def __init__(self) -> None:
        self.keys: OrderedDict[Key, None] = OrderedDict()
        self.bytes = 0


class Remembered:
    """Answers by key, for at most ``most`` answers of ``most_bytes`` bytes together.

    If there are too many, those that are too old to be used are forgotten first, and then those of the namespace that
    has brought the most: one tenant's images must not take from the others what stands in during an outage.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._most = most
        self._answers: dict[Key, _Entry] = {}
        self._owned: dict[str | None, _Owned] = {}
        self._doubts = Doubts()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: Key) -> Answer | None:
        """Return an answer of any age, and mark it as the most recently used."""
        entry = self._answers.get(key)
        if entry is None:
            return None
        self._owned[entry.owner].keys.move_to_end(key)
        return self.heeding_doubts(key, entry.answer)

    def keep(self, key: Key, answer: Answer, *, owner: str | None = None, dead_before: float = float("-inf")) -> int:
        """Remember an answer unless a younger one is known. Return how many others were forgotten for it.

        ``owner`` is the namespace that asked first (None: background work), ``dead_before`` the time of questions whose
        answers are too old to be used.
        """
        known = self._take(key) if key in self._answers else None
        if known is None:
            known = _Entry(answer, size_of(answer, key), owner)
        elif known.answer.at <= answer.at:
            known = _Entry(answer, size_of(answer, key), known.owner)
        self._put(key, known)
        forgotten = 0
        while len(self._answers) > self._most or self.bytes > self.most_bytes:
            self._take(self._most_useless(dead_before))
            forgotten += 1
        return forgotten

    def _most_useless(self, dead_before: float) -> Key:
        for owned in self._owned.values():
            oldest = next(iter(owned.keys))
            if self._answers[oldest].answer.at < dead_before:
                return oldest
        is_crowded = len(self._answers) > self._most
        largest = max(self._owned.values(), key=lambda owned: len(owned.keys) if is_crowded else owned.bytes)
        return next(iter(largest.keys))

    def _put(self, key: Key, entry: _Entry) -> None:
        self._answers[key] = entry
        owned = self._owned.setdefault(entry.owner, _Owned())
        owned.keys[key] = None
        owned.bytes += entry.size
        self.bytes += entry.size

    def _take(self, key: Key) -> _Entry:
        entry = self._answers.pop(key)
        owned = self._owned[entry.owner]
        del owned.keys[key]
        owned.bytes -= entry.size
        self.bytes -= entry.size
        if not owned.keys:
            del self._owned[entry.owner]
        return entry

    def doubt(self, account: str, full_tag: str | None, digest: str | None, at: float) -> None:
        """Doubt the answers of until now about a tag or a digest, or with neither given all of an account."""
        self._doubts.add(account, full_tag, digest, at)

    def is_doubted(self, key: Key, at: float) -> bool:
        """Return whether what a question asked at this time will be answered has been doubted since."""
        return self._doubts.cover(key.account, key.query, Answer(None, at, at, at, at))

    def heeding_doubts(self, key: Key, answer: Answer) -> Answer:
        """Return the answer, as a doubted one if it was doubted after it was asked for."""
        return doubted(answer) if self._doubts.cover(key.account, key.query, answer) else answer

    def clear(self) -> None:
        """Forget everything."""
        self._answers.clear()
        self._owned.clear()
        self.bytes = 0


def size_of(answer: Answer, key: Key | None = None) -> int:
    """Estimate the memory that an answer takes, in bytes; with ``key``, also that of the texts in it."""
    size = _ENTRY_BYTES + (_texts(key.query.full_tag) if key and not isinstance(key.query, ByDigest) else 0)
    match answer.value:
        case ImageRecord(tags=tags):
            return size + sum(_ROW_BYTES + _texts(tag.full_tag) for tag in tags)
        case PolicyEvaluation() as evaluation:
            findings = sum(
                _ROW_BYTES + _texts(f.gate, f.trigger, f.trigger_id, f.message, f.recommendation)
                for f in (*evaluation.findings, *evaluation.warnings)
            )
            selectors = sum(_ROW_BYTES + _texts(s.registry, s.repository) for s in evaluation.selectors or ())
            return size + findings + selectors + _texts(*evaluation.problems)
        case _:
            return size


def _texts(*texts: str) -> int:
    """Return the bytes of texts. A single unusual character can make each of a text's take four."""
    return sum(getsizeof(text) - _NO_TEXT for text in texts)
