"""A bounded record of Anchore's answers; the least recently used are forgotten first."""

from collections import OrderedDict

from msgspec import Struct

from anchore_admission.core.answers import Query
from anchore_admission.core.facts import ImageRecord, PolicyEvaluation
from anchore_admission.core.freshness import Answer, doubted
from anchore_admission.ports.anchore import Identity
from anchore_admission.services.reviews.doubts import Doubts

_ENTRY_BYTES = 1000
"""Measured memory of an answer without the texts below, with its key."""
_ROW_BYTES = 250
"""Measured memory of a finding, a tag or a selector without its texts."""


class Key(Struct, frozen=True):
    """The key of an answer: it counts for one account, and, if it is a policy's result, for one version of it."""

    account: str
    identity: Identity
    query: Query
    policy_version: tuple[str, str] | None
    """The id of the policy and its ``last_updated``; None for a look-up, or if they are not known."""


class Remembered:
    """Answers by key, for at most ``most`` answers of ``most_bytes`` bytes together."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._answers: OrderedDict[Key, tuple[Answer, int]] = OrderedDict()
        self._doubts = Doubts()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: Key) -> Answer | None:
        """Return an answer of any age, and mark it as the most recently used."""
        entry = self._answers.get(key)
        if entry is None:
            return None
        self._answers.move_to_end(key)
        return self.heeding_doubts(key, entry[0])

    def keep(self, key: Key, answer: Answer) -> int:
        """Remember an answer unless a younger one is known. Return how many others were forgotten for it."""
        known = self._answers.pop(key, None)
        if known:
            self.bytes -= known[1]
        size = _size(answer)
        self._answers[key] = known if known and known[0].at > answer.at else (answer, size)
        self.bytes += self._answers[key][1]
        forgotten = 0
        while len(self._answers) > self._most or self.bytes > self._most_bytes:
            _, (_, size) = self._answers.popitem(last=False)
            self.bytes -= size
            forgotten += 1
        return forgotten

    def doubt(self, account: str, full_tag: str | None, digest: str | None, at: float) -> None:
        """Doubt the answers of until now about a tag or a digest, or with neither given all of an account."""
        self._doubts.add(account, full_tag, digest, at)

    def heeding_doubts(self, key: Key, answer: Answer) -> Answer:
        """Return the answer, as a doubted one if it was doubted after it was asked for."""
        return doubted(answer) if self._doubts.cover(key.account, key.query, answer) else answer

    def clear(self) -> None:
        """Forget everything."""
        self._answers.clear()
        self.bytes = 0


def _size(answer: Answer) -> int:
    """Estimate the memory that an answer takes, in bytes."""
    match answer.value:
        case ImageRecord(tags=tags):
            return _ENTRY_BYTES + sum(_ROW_BYTES + len(tag.full_tag) for tag in tags)
        case PolicyEvaluation() as evaluation:
            findings = sum(
                _ROW_BYTES + len(f.gate) + len(f.trigger) + len(f.trigger_id) + len(f.message) + len(f.recommendation)
                for f in evaluation.findings
            )
            selectors = sum(_ROW_BYTES + len(s.registry) + len(s.repository) for s in evaluation.selectors or ())
            return _ENTRY_BYTES + findings + selectors + sum(map(len, evaluation.problems))
        case _:
            return _ENTRY_BYTES
