"""Remember when answers were doubted, so that each is compared when it is used and not when the doubt arises."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from anchore_admission.core.answers import ByDigest, ByTag, Check, Query
from anchore_admission.core.facts import ImageRecord
from anchore_admission.core.freshness import Answer

MOST_NAMES: Final = 2000
"""The most tags and digests of an account that are doubted by themselves."""


@dataclass(slots=True)
class _Account:
    everything: float = float("-inf")
    """When all answers of the account were doubted last."""
    names: dict[str, float] = field(default_factory=dict)
    """When a full tag or a digest was doubted last; the oldest first."""


class Doubts:
    """The times of doubts by account, full tag and digest. All times are monotonic seconds."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}

    def add(self, account: str, full_tag: str | None, digest: str | None, at: float) -> None:
        """Doubt the answers of until now about a tag or a digest, or with neither given all of an account."""
        doubted = self._accounts.setdefault(account, _Account())
        if full_tag is None and digest is None:
            doubted.everything = at
            doubted.names.clear()
        for name in filter(None, (full_tag, digest)):
            doubted.names.pop(name, None)
            doubted.names[name] = at
        while len(doubted.names) > MOST_NAMES:
            oldest = next(iter(doubted.names))
            # Instead of that one, every answer that is at least as old.
            doubted.everything = max(doubted.everything, doubted.names.pop(oldest))

    def cover(self, account: str, query: Query, answer: Answer) -> bool:
        """Return whether an answer was doubted after it was asked for."""
        doubted = self._accounts.get(account)
        if doubted is None:
            return False
        if answer.at <= doubted.everything:
            return True
        names = doubted.names
        return bool(names) and any(name in names and answer.at <= names[name] for name in _names(query, answer))


def _names(query: Query, answer: Answer) -> Iterator[str]:
    """Yield the full tags and digests that an answer is about."""
    if isinstance(query, ByTag | Check):
        yield query.full_tag
    if isinstance(query, ByDigest | Check):
        yield query.digest
    if isinstance(answer.value, ImageRecord):
        yield answer.value.digest
        if answer.value.parent_digest:
            yield answer.value.parent_digest
        for tag in answer.value.tags:
            yield tag.full_tag
