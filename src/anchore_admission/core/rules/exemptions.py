"""Exemptions: denials that the operator lifts for some images, until a date."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum

from msgspec import Struct

from anchore_admission.core.facts import Finding, ImageFacts, PolicyEvaluation, PolicyReason
from anchore_admission.core.rules.index import MatchIndex, Narrowed, positions
from anchore_admission.core.rules.match import Circumstances
from anchore_admission.models.configuration import ExemptionSection
from anchore_admission.models.moments import written_time
from anchore_admission.text import joined_lines, shown

VULNERABILITIES = "vulnerabilities"
"""The gate whose findings name a vulnerability and a package: ``CVE-2021-44228+log4j-core``."""
REASON_LIMIT = 200
"""Characters shown of a reason."""
_READ = 1000
"""Characters of a reason that are looked at: an annotation may have 256 KiB."""
_DAY = 86400
_BLANKS = "\u115f\u1160\u3164\uffa0"
"""Hangul fillers: to Unicode they are letters, but nothing is to be seen."""


class Exemption(Struct, frozen=True):
    """One compiled exemption; it applies before ``expires``, a Unix time. Without both lists it excuses everything."""

    name: str
    reason: str
    owner: str
    ticket: str
    expires: float
    cves: frozenset[str] = frozenset()
    findings: frozenset[str] = frozenset()

    @property
    def is_limited(self) -> bool:
        """True if it excuses some findings only."""
        return bool(self.cves or self.findings)

    def excuses(self, finding: Finding) -> bool:
        """Return whether the exemption names the finding: its gate and trigger, or the id of its vulnerability."""
        if f"{finding.gate}:{finding.trigger}" in self.findings:
            return True
        # The author of an image chooses the names of its packages, so only the part before the first plus counts.
        identifier, plus, _ = finding.trigger_id.partition("+")
        return finding.gate == VULNERABILITIES and bool(plus) and identifier in self.cves


class ExemptionBook(Struct, frozen=True):
    """All exemptions in order; ``days`` is how many days ahead one may expire."""

    all: tuple[Exemption, ...]
    index: MatchIndex
    days: int

    def narrowed(self, circumstances: Circumstances, now: float) -> "NarrowedExemptions":
        """Return the exemptions that are left in these circumstances and at this Unix time."""
        return NarrowedExemptions(self, self.index.narrowed(circumstances), now)


class NarrowedExemptions(Struct, frozen=True):
    """The exemptions that an image of one object may have."""

    book: ExemptionBook
    narrowed: Narrowed
    now: float

    def holding(self, names: tuple[str, ...]) -> list[Exemption]:
        """Return the exemptions that apply to the image known by these names, in order."""
        latest = latest_expiry(self.now, self.book.days)
        # An end that is too far ahead means that the clock is wrong: the configuration was checked when it was read.
        return [exemption for exemption in self._matching(names) if self.now < exemption.expires <= latest]

    def ended(self, names: tuple[str, ...]) -> list[Exemption]:
        """Return the exemptions that applied to the image until they ended, in order."""
        return [exemption for exemption in self._matching(names) if exemption.expires <= self.now]

    def _matching(self, names: tuple[str, ...]) -> Iterator[Exemption]:
        # While the labels of the namespace are not known, an exemption that depends on them does not apply.
        return (self.book.all[position] for position in positions(self.narrowed.holding(names).certain))


class UseKind(StrEnum):
    """The ways to admit a denied image; a label of the metric."""

    EXEMPTION = "exemption"
    BREAK_GLASS = "break_glass"


class Use(Struct, frozen=True):
    """One use of an exemption, or of a rule's break-glass: ``name`` is then that of the rule. All texts are printable.

    ``expires`` is the written time of the end.
    """

    kind: UseKind
    name: str
    reason: str
    owner: str = ""
    ticket: str = ""
    expires: str = ""


def latest_expiry(now: float, days: int) -> float:
    """Return the latest Unix time at which an exemption may end: the end of the last day allowed, in UTC."""
    return (now // _DAY + days + 1) * _DAY


def cleaned_reason(text: str) -> str:
    """Return a reason for one line, printable and short; empty if it has no letter and no digit that can be seen."""
    reason = shown(joined_lines(text[:_READ]).strip(), REASON_LIMIT)
    return reason if any(c.isalnum() and c not in _BLANKS for c in reason) else ""


def compile_exemptions(sections: Sequence[ExemptionSection], days: int) -> ExemptionBook:
    """Compile the configured exemptions. Raises InvalidPattern."""
    return ExemptionBook(
        tuple(_compiled(section) for section in sections), MatchIndex.of([section.match for section in sections]), days
    )


def _compiled(section: ExemptionSection) -> Exemption:
    excuses = section.excuses
    return Exemption(
        section.name,
        cleaned_reason(section.reason),
        shown(section.owner),
        shown(section.ticket or ""),
        section.expires,
        frozenset((excuses.cves if excuses else None) or ()),
        frozenset((excuses.findings if excuses else None) or ()),
    )


def use_of(exemption: Exemption) -> Use:
    """Return the use of an exemption."""
    return Use(
        UseKind.EXEMPTION,
        exemption.name,
        exemption.reason,
        exemption.owner,
        exemption.ticket,
        written_time(exemption.expires),
    )


def excused(facts: ImageFacts, exemptions: Sequence[Exemption]) -> tuple[ImageFacts, list[Exemption]]:
    """Return the facts as if the policy had passed wherever every finding is excused, and the exemptions that do it.

    A finding belongs to the first exemption that excuses it: a team may have one exemption for each vulnerability.
    """
    used: dict[str, Exemption] = {}
    evaluations = []
    for evaluation in facts.evaluations:
        excusing = _excusing(evaluation, exemptions)
        used |= {exemption.name: exemption for exemption in excusing}
        evaluations.append(replace(evaluation, passed=True) if excusing else evaluation)
    return replace(facts, evaluations=tuple(evaluations)), list(used.values())


def _excusing(evaluation: PolicyEvaluation, exemptions: Sequence[Exemption]) -> list[Exemption]:
    """Return the exemptions that excuse every finding of a failed evaluation; none if there may be others."""
    is_whole = not (evaluation.truncated or evaluation.problems or evaluation.reason is PolicyReason.DENYLISTED)
    if evaluation.passed or not is_whole:
        return []
    found = [next((e for e in exemptions if e.excuses(finding)), None) for finding in evaluation.findings]
    known = [exemption for exemption in found if exemption]
    return known if len(known) == len(found) else []


NO_EXEMPTIONS = compile_exemptions([], 1)
