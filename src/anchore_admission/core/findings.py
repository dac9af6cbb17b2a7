"""The findings of a policy evaluation: their severity, their order, and the vulnerability that one is about."""

import heapq
import re
from collections.abc import Sequence

from msgspec import Struct

from anchore_admission.core.facts import Finding

_SEVERITIES = ("CRITICAL", "HIGH", "", "MEDIUM", "LOW", "NEGLIGIBLE", "UNKNOWN")
"""Worst first. A finding without a severity (from a gate other than vulnerabilities) comes after HIGH."""
_FIX = re.compile(r"\(fixed in: ([^)]{0,100})\)")


class Vulnerability(Struct, frozen=True):
    """A vulnerability in one package; ``fix`` is the version that fixes it, empty if there is none yet."""

    identifier: str
    package: str
    fix: str


def vulnerability_of(finding: Finding) -> Vulnerability | None:
    """Return the vulnerability that a finding is about; None for other findings."""
    # At the first plus: names of packages hold further ones (`libstdc++6`).
    identifier, plus, package = finding.trigger_id.partition("+")
    if finding.gate != "vulnerabilities" or not plus:
        return None
    fix = _FIX.search(finding.message)
    return Vulnerability(identifier, package, fix[1] if fix and fix[1] not in {"", "None"} else "")


def severity(finding: Finding) -> str:
    """Return the severity that a message of the vulnerabilities gate begins with, else an empty string."""
    # Anchore's findings have no field for it.
    first = finding.message.partition(" ")[0].upper()
    return first if first in _SEVERITIES else ""


def worst_first(findings: Sequence[Finding], most: int | None = None) -> list[Finding]:
    """Return the findings, or the ``most`` worst of them: an image may have tens of thousands."""
    return heapq.nsmallest(len(findings) if most is None else most, findings, key=_badness)


def _badness(finding: Finding) -> tuple[int, str, str]:
    return _SEVERITIES.index(severity(finding)), finding.trigger_id, finding.message
