"""The words people read: in a denial, a warning, the audit trail."""

import heapq
import re
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from anchore_admission.core.facts import Finding, Submission, SubmissionState
from anchore_admission.core.verdict import Effect, ImageVerdict
from anchore_admission.text import shortened, shown

MESSAGE_LIMIT = 800
"""Controllers copy a denial into Events, which clip near 1 kB."""
WARNING_LIMIT = 250
"""Past 4096 characters in all, the API server cuts every warning to 256."""
WARNINGS = 10
AUDIT_LIMIT = 2048
"""Bytes of one audit annotation."""
_AUDIT = "audit"
_HEAD_LIMIT = 700
_FINDING_LIMIT = 160

_SEVERITIES = ("CRITICAL", "HIGH", "", "MEDIUM", "LOW", "NEGLIGIBLE", "UNKNOWN")
"""Worst first; a finding that carries no severity (a gate other than vulnerabilities) stands after HIGH."""
_FIX = re.compile(r"\(fixed in: ([^)]{0,100})\)")
_RETRY = "try again in a few minutes"


def next_step(submission: Submission) -> str:
    """What became of asking for analysis, as advice to whoever was refused."""
    match submission.state:
        case SubmissionState.REFUSED:
            return shown(submission.reason)
        case SubmissionState.REQUESTED | SubmissionState.ANSWERED:
            return f"Analysis was requested: {_RETRY}"
        case SubmissionState.DRY_RUN:
            return "Analysis is not requested by a dry run or by hand"
        case SubmissionState.DROPPED:
            return f"Too many images wait to be submitted: {_RETRY}"
        case SubmissionState.NONE:
            return "It has to be added to Anchore first"


def requested(image: str, submission: Submission) -> str:
    """Passive mode's message."""
    subject = f"Image analysis for image {shown(image)}"
    match submission.state:
        case SubmissionState.ANSWERED:
            return f"{subject} requested and found mapped to digest {submission.digest}"
        case SubmissionState.REFUSED:
            return f"{subject} failed to be requested: {shown(submission.reason)}"
        case SubmissionState.DROPPED:
            return f"{subject} not requested: too many images wait to be submitted"
        case SubmissionState.DRY_RUN:
            return f"{subject} not requested by a dry run or by hand"
        case SubmissionState.REQUESTED:
            return f"{subject} is being requested: Anchore has not answered yet"
        case SubmissionState.NONE:
            return f"{subject} not requested: the rule asks for no analysis"


def severity(finding: Finding) -> str:
    """The severity that the message of the vulnerabilities gate begins with, else an empty string."""
    first = finding.message.partition(" ")[0].upper()
    return first if first in _SEVERITIES else ""


def worst_first(findings: Sequence[Finding], most: int | None = None) -> list[Finding]:
    """Return the findings, or the ``most`` worst of them: an image may have tens of thousands."""
    return heapq.nsmallest(len(findings) if most is None else most, findings, key=_badness)


def _badness(finding: Finding) -> tuple[int, str, str]:
    return _SEVERITIES.index(severity(finding)), finding.trigger_id, finding.message


def finding_line(finding: Finding) -> str:
    """One finding with its fix: ``HIGH CVE-2021-3711 in openssl, fixed in 1.1.1k-r0``."""
    identifier, plus, package = finding.trigger_id.partition("+")
    if finding.gate == "vulnerabilities" and plus:
        fix = _FIX.search(finding.message)
        fixed = fix[1] if fix and fix[1] not in {"", "None"} else ""
        text = (
            f"{severity(finding)} {identifier} in {package}, {f'fixed in {fixed}' if fixed else 'no fix yet'}".strip()
        )
    else:
        text = f"{finding.gate}/{finding.trigger}: {finding.message}"
        if finding.recommendation:
            text += f" ({finding.recommendation})"
    return shown(text, _FINDING_LIMIT)


def denial(refused: Sequence[ImageVerdict], max_findings: int) -> str:
    """One line per refused image, each followed by its worst findings as far as the room goes."""
    heads = [shown(verdict.verdict.message, _HEAD_LIMIT) for verdict in refused]
    totals = [len(verdict.verdict.findings) for verdict in refused]
    ends = [len(_rest(total, 1)) + 1 if total else 0 for total in totals]
    sizes = [len(head) + 1 + end for head, end in zip(heads, ends, strict=True)]
    room = MESSAGE_LIMIT - len(f"and {len(heads)} more images")
    kept = _fitting(sizes, room)
    findings = [worst_first(verdict.verdict.findings, max_findings) for verdict in refused[:kept]]
    counts = _share(findings, room - sum(sizes[:kept]))
    lines: list[str] = []
    for head, found, count, total in zip(heads, findings, counts, totals, strict=False):
        lines.append(head)
        lines.extend(f"  {finding_line(finding)}" for finding in found[:count])
        if total > count:
            lines.append(_rest(total - count, count))
    if len(heads) > kept:
        lines.append(f"and {len(heads) - kept} more images")
    return "\n".join(lines)


def _rest(number: int, shown_before: int) -> str:
    """Count the findings that are not shown; never "and more" of what nothing is shown of."""
    if shown_before:
        return f"  and {number} more"
    return f"  {number} findings" if number > 1 else "  1 finding"


def warnings(verdicts: Iterable[ImageVerdict]) -> list[str]:
    """One line per image that is admitted with a warning."""
    return [v.verdict.warning or v.verdict.message for v in verdicts if v.effect is Effect.WARN]


def joined(lines: Iterable[str]) -> str:
    """Lines of a message that is no denial, cut where the room ends."""
    text = "\n".join(lines)
    return shortened(text, MESSAGE_LIMIT)


def limit_warnings(texts: Iterable[str]) -> list[str]:
    """Few, short, each once; the API server drops what holds control characters."""
    distinct = list(dict.fromkeys(texts))
    kept = distinct if len(distinct) <= WARNINGS else distinct[: WARNINGS - 1]
    rest = [f"and {len(distinct) - len(kept)} more warnings"] if len(distinct) > len(kept) else []
    return [*(shown(text, WARNING_LIMIT) for text in kept), *rest]


def audit(images: Sequence[ImageVerdict]) -> dict[str, str]:
    """The audit annotations about the images; those with nothing to say are left out."""
    if not images:
        return {}
    annotations = {
        "rules": _audit_list(dict.fromkeys([verdict.rule.name for verdict in images])),
        "images": _audit_list([verdict.texts.get(_AUDIT) or _audit_image(verdict) for verdict in images]),
    }
    errors = [f"{shown(v.image)}: {v.verdict.error}" for v in images if v.verdict.error]
    if errors:
        annotations["errors"] = _audit_list(errors)
    return annotations


def _audit_list(entries: Iterable[str]) -> str:
    """Join as many whole entries as there is room for, and count the others."""
    every = list(entries)
    text = "; ".join(every)
    if len(text) <= AUDIT_LIMIT and len(text.encode()) <= AUDIT_LIMIT:
        return text
    kept = _fitting([len(entry.encode()) + 2 for entry in every], AUDIT_LIMIT - len(f"and {len(every)} more"))
    return f"{'; '.join(every[:kept])}; and {len(every) - kept} more"


def _audit_image(verdict: ImageVerdict) -> str:
    record = verdict.facts.record
    architecture = f" {record.architecture}" if record and record.architecture else ""
    known = verdict.digest
    digest = f" {known}" if known else ""
    text = f"{shown(verdict.image)}{digest}{architecture} {verdict.verdict.decision}: {verdict.verdict.reason}"
    verdict.texts[_AUDIT] = text
    return text


def _fitting(sizes: Sequence[int], limit: int) -> int:
    """How many lines fit, at least one."""
    used = 0
    for count, size in enumerate(sizes):
        used += size
        if used > limit and count:
            return count
    return len(sizes)


def _share(findings: Sequence[Sequence[Finding]], budget: int) -> list[int]:
    """How many findings each image may show: every image's worst first, then every image's second, and so on."""
    counts = [0] * len(findings)
    for row in zip_longest(*findings):
        for index, finding in enumerate(row):
            if finding is None:
                continue
            budget -= len(finding_line(finding)) + 3
            if budget < 0:
                return counts
            counts[index] += 1
    return counts
