"""The lifetimes of Anchore's answers. Facts are remembered, verdicts never."""

from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct, structs

from anchore_admission.core.answers import ByTag, Query, Value
from anchore_admission.core.facts import AnalysisState, ImageRecord, PolicyEvaluation


class Freshness(StrEnum):
    """The freshness of an answer when it is used."""

    FRESH = "fresh"
    """Within its lifetime."""
    REFRESHING = "refreshing"
    """Past its lifetime, and used once more while Anchore is asked again beside the review."""
    STALE = "stale"
    """Used because Anchore cannot be asked."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Seconds for which each kind of answer is fresh, as ``memory`` in the configuration sets them.

    ``outage`` is the age up to which a final answer stands in while Anchore cannot be asked.
    """

    passed: float = 60.0
    failed: float = 20.0
    pending: float = 3.0
    unknown: float = 3.0
    tag: float = 30.0
    outage: float = 600.0


class Answer(Struct, frozen=True, gc=False):
    """An answer of Anchore, and the times until which it counts. All times are monotonic seconds.

    ``at`` is the time at which the question began: what changed in Anchore after it may not be in the answer.
    """

    value: Value
    at: float
    fresh_until: float
    refresh_until: float
    """Until then it may be used once more while it is refreshed; no later than ``fresh_until`` for what may not."""
    usable_until: float
    """Until then it may stand in for Anchore during an outage."""
    is_stale: bool = False
    """True if it stands in for Anchore, which cannot be asked."""

    @property
    def is_absent(self) -> bool:
        """True if Anchore knows nothing by the name that it was asked for."""
        return self.value is None or self.value is AnalysisState.UNKNOWN

    @property
    def is_final(self) -> bool:
        """True for Anchore's last word: an analyzed image, or a policy's result."""
        return _is_final(self.value)

    @property
    def is_doubted(self) -> bool:
        """True if Anchore must be asked before it is used again, see ``doubted``."""
        return self.fresh_until < self.at

    def freshness(self, now: float) -> Freshness | None:
        """Return the freshness of an answer that may be used without asking Anchore first; else None."""
        if now < self.fresh_until:
            return Freshness.FRESH
        return Freshness.REFRESHING if now < self.refresh_until else None


def answer(query: Query, value: Value, at: float, lifetimes: Lifetimes) -> Answer:
    """Return the answer to a question that began at this time, with the times until which it counts."""
    seconds = _lifetime(query, value, lifetimes)
    # What denies is asked about again before it is used: an image that passes by now must not be denied once more.
    refreshed = 2 * seconds if _is_good(value) else seconds
    outage = _outage(seconds, lifetimes) if _is_final(value) else 0.0
    return Answer(value, at, at + seconds, at + refreshed, at + outage)


def known_elsewhere(absent: Answer, lifetimes: Lifetimes) -> Answer:
    """Return the answer that Anchore knows nothing by a full tag, as it counts while another name of the tag is known.

    Only where the tag points to could change, so it counts as long as that does.
    """
    seconds, at = lifetimes.tag, absent.at
    counted = structs.replace(
        absent, fresh_until=at + seconds, refresh_until=at + 2 * seconds, usable_until=at + _outage(seconds, lifetimes)
    )
    return doubted(counted) if absent.is_doubted else counted


def doubted(known: Answer) -> Answer:
    """Return the answer as one to ask Anchore about before it is used again. It may still stand in during an outage."""
    never = float("-inf")
    return structs.replace(known, fresh_until=never, refresh_until=never)


def _outage(seconds: float, lifetimes: Lifetimes) -> float:
    return max(lifetimes.outage, seconds) if lifetimes.outage else 0.0


def _lifetime(query: Query, value: Value, lifetimes: Lifetimes) -> float:
    match value:
        case None | AnalysisState.UNKNOWN:
            return lifetimes.unknown
        case ImageRecord(state=AnalysisState.ANALYZED):
            # A digest names the same image for ever, a tag may point to another one soon.
            return lifetimes.tag if isinstance(query, ByTag) else lifetimes.passed
        case PolicyEvaluation(problems=()):
            return lifetimes.passed if value.passed else lifetimes.failed
        case _:
            return lifetimes.pending


def _is_final(value: Value) -> bool:
    match value:
        case ImageRecord():
            return value.state is AnalysisState.ANALYZED
        case PolicyEvaluation():
            return not value.problems
        case _:
            return False


def _is_good(value: Value) -> bool:
    return _is_final(value) and not (isinstance(value, PolicyEvaluation) and not value.passed)
