"""The output of ``review --replay`` and ``review --cluster``: tables for people, JSON or YAML for machines."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from anchore_admission.cli.options import OutputFormat
from anchore_admission.cli.output import brief, new_table, write_document, write_tables
from anchore_admission.core.decision import Reason
from anchore_admission.core.messages import finding_line, out_of_scope
from anchore_admission.core.scope import OutOfScope
from anchore_admission.services.replay.blockers import Blocked
from anchore_admission.services.replay.entries import LeftOut
from anchore_admission.services.replay.outcomes import Change, Outcome
from anchore_admission.services.replay.report import OTHER_KIND, Changed, Report, Tally
from anchore_admission.text import shown

_MOST_BLOCKERS = 1000
_ROWS_OF_CHANGES = 50
_ROWS = 20
_REASON = 1000
_STYLES = {
    Change.DENIED: "bold red",
    Change.UNDECIDED: "bold magenta",
    Change.WARNED: "yellow",
    Change.RECORDED: "yellow",
    Change.NO_LONGER_DENIED: "green",
    Change.NO_LONGER_WARNED: "green",
}
_COMPARED = {
    Change.DENIED: "newly denied",
    Change.UNDECIDED: "newly denied without a verdict",
    Change.WARNED: "newly warned",
    Change.RECORDED: "newly recorded",
    Change.NO_LONGER_DENIED: "no longer denied",
    Change.NO_LONGER_WARNED: "no longer warned",
}
_ALONE = {
    Change.DENIED: "denied",
    Change.UNDECIDED: "denied without a verdict",
    Change.WARNED: "admitted with a warning",
    Change.RECORDED: "recorded only",
}
_LEFT_OUT = {
    LeftOut.NO_OBJECT: "audit events without an object: log these kinds at level RequestResponse",
    LeftOut.NO_RESULT: "patches without their result: log these kinds at level RequestResponse",
    LeftOut.DENIED_PATCH: "patches that were denied, so that the log holds no result",
    LeftOut.REJECTED: "requests that the API server rejected for another reason",
    LeftOut.OTHER_EVENT: "audit events about other resources, verbs or stages",
}

_REASONS: Mapping[str, str] = {
    Reason.UNKNOWN: "not known to Anchore",
    Reason.PENDING: "not analyzed yet",
    Reason.ANALYSIS_FAILED: "analysis failed",
    Reason.POLICY_FAILED: "policy, without findings",
    Reason.UNMAPPED: "no mapping of the policy",
    Reason.ERROR: "no verdict",
}
"""Words for reasons that deny without findings; the others are plain enough."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The names of the configurations; ``today`` is empty if only one is judged by."""

    today: str
    new: str


def write_report(report: Report, compared: Compared, output: OutputFormat, *, max_findings: int) -> None:
    """Print to stdout."""
    if output is OutputFormat.TABLE:
        write_tables(list(_parts(report, compared, max_findings)))
    else:
        write_document(_document(report, compared), output)


def _parts(report: Report, compared: Compared, max_findings: int) -> Iterator[RenderableType]:
    words = _COMPARED if compared.today else _ALONE
    changes = report.changes()
    if changes:
        yield _changes(changes, compared, max_findings)
        yield ""
        yield _namespaces(report, words)
        yield ""
    blocked = report.blockers.most()
    if blocked:
        yield _blockers(blocked)
        yield ""
    yield Text(_summary(report, compared, words), style="bold")
    yield from _notes(report)


def _changes(changes: list[Changed], compared: Compared, max_findings: int) -> RenderableType:
    table = new_table(["OBJECT", "IMAGE", *(["TODAY", "NEW"] if compared.today else ["VERDICT"]), "WHY"])
    is_terminal = sys.stdout.isatty()
    most = _ROWS_OF_CHANGES if is_terminal else len(changes)
    for changed in changes[:most]:
        name = f"{shown(changed.owner[0])} {shown(changed.namespace)}/{shown(changed.owner[1])}"
        count = f" ({changed.requests} judged)" if changed.requests > 1 else ""
        before = [Text(changed.before.word)] if changed.before else []
        findings = [finding_line(finding) for finding in changed.findings[:max_findings]]
        if more := len(changed.findings) + changed.more_findings - len(findings):
            findings.append(f"and {more} more")
        image, message = shown(changed.image), shown(changed.after.message, _REASON)
        why = Group(
            Text(brief(message, image) if is_terminal else message),
            *(Padding(Text(line), (0, 0, 0, 2)) for line in findings),
        )
        after = Text(changed.after.word, style=_STYLES[changed.change])
        table.add_row(Text(name + count), Text(image or "-"), *before, after, why)
    if len(changes) <= most:
        return table
    return Group(table, Text(f"and {len(changes) - most} more images of objects; -o json lists them"))


def _namespaces(report: Report, words: Mapping[Change, str]) -> RenderableType:
    totals, rows = report.totals(), report.by_namespace()
    found = [change for change in words if totals[change].requests]
    table = new_table(["NAMESPACE", "JUDGED", *(words[change].upper() for change in found)])
    for namespace, tallies in rows[:_ROWS]:
        cells = [_counted(tallies[change]) for change in found]
        table.add_row(Text(shown(namespace) or "-"), f"{report.judged_in[namespace]:,}", *cells)
    if len(rows) <= _ROWS:
        return table
    return Group(table, Text(f"and {len(rows) - _ROWS} more namespaces; -o json lists them"))


def _blockers(blocked: list[Blocked]) -> RenderableType:
    table = new_table(["DENIED BY", "CHECK", "OBJECTS", "IMAGES", "ALONE"])
    for row in blocked[:_ROWS]:
        cells = map(str, (row.objects, row.images, row.alone))
        name = _REASONS.get(row.blocker.name) or shown(row.blocker.name)
        table.add_row(Text(name), Text(shown(row.blocker.check)), *cells)
    if len(blocked) <= _ROWS:
        return table
    return Group(table, Text(f"and {len(blocked) - _ROWS} more; -o json lists them"))


def _summary(report: Report, compared: Compared, words: Mapping[Change, str]) -> str:
    kinds = ((kind, count) for kind, count in report.judged.most_common() if kind != OTHER_KIND)
    judged = ", ".join(_number(count, kind) for kind, count in kinds)
    totals = report.totals()
    changes = [f"{_counted(totals[change])} {words[change]}" for change in words if totals[change].requests]
    subject = f"From {compared.today} to {compared.new}" if compared.today else f"Under {compared.new}"
    if not judged:
        return f"{subject}: nothing was judged."
    outcome = ", ".join(changes) or ("nothing changes" if compared.today else "everything is admitted")
    return f"{subject}: {outcome}. Judged: {judged}."


def _notes(report: Report) -> Iterator[RenderableType]:
    unanswered = report.undecided - report.unlabeled
    notes = [
        (report.is_truncated, "The counts of objects and images are lower limits: there are more than are told apart."),
        (unanswered, f"{unanswered} judged without a verdict from Anchore; run again once it responds."),
        (
            report.unlabeled,
            f"{report.unlabeled} in namespaces whose labels are not known; give them with --namespace-labels.",
        ),
        (
            report.assumed_new,
            f"{report.assumed_new} updates whose former state is not known: all of their images were judged.",
        ),
        (report.unknown_kinds, f"{report.unknown_kinds} of unknown kinds, whose images cannot be found."),
    ]
    yield from (Text(note) for holds, note in notes if holds)
    skipped = [
        f"{count} out of scope ({out_of_scope(OutOfScope(scope))})" for scope, count in report.out_of_scope.items()
    ]
    skipped += [f"{report.without_images} without new images"] if report.without_images else []
    skipped += [f"{report.left_out[reason]} {text}" for reason, text in _LEFT_OUT.items() if report.left_out[reason]]
    if skipped:
        yield Text(f"Not judged: {'; '.join(skipped)}.")
    yield from _unread(report)


def _unread(report: Report) -> Iterator[RenderableType]:
    for entry in report.unread:
        yield Text(f"Could not be read: {entry.source}: {shown(entry.reason, _REASON)}")
    if more := report.unread_count - len(report.unread):
        yield Text(f"Could not be read: {more} more")
    if not report.requests:
        yield Text("The input holds no request to judge.")
    if report.stopped:
        yield Text(f"The rest was {report.stopped}")


def _counted(tally: Tally) -> str:
    """Write ``2 objects (1 image)``; ``-`` for none."""
    if not tally.requests:
        return "-"
    return f"{_number(len(tally.objects), 'object')} ({_number(len(tally.images), 'image')})"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _document(report: Report, compared: Compared) -> dict[str, Any]:
    totals = report.totals()
    return {
        "today": compared.today or None,
        "new": compared.new,
        "judged": dict(report.judged),
        "totals": {change.value: _tally(totals[change]) for change in Change},
        "countsAreLowerLimits": report.is_truncated,
        "namespaces": [
            {
                "namespace": namespace,
                "judged": report.judged_in[namespace],
                **{change.value: _tally(tallies[change]) for change in Change},
            }
            for namespace, tallies in report.by_namespace()
        ],
        "deniedBy": [
            {
                "name": row.blocker.name,
                "check": row.blocker.check,
                "objects": row.objects,
                "images": row.images,
                "imagesAlone": row.alone,
            }
            for row in report.blockers.most()[:_MOST_BLOCKERS]
        ],
        "changes": [_change(changed) for changed in report.changes()],
        "undecided": report.undecided,
        "updatesWithoutFormerState": report.assumed_new,
        "unknownKinds": report.unknown_kinds,
        "notJudged": {
            "outOfScope": dict(report.out_of_scope),
            "withoutNewImages": report.without_images,
            **{reason.value: report.left_out[reason] for reason in LeftOut},
        },
        "unread": {
            "count": report.unread_count,
            "first": [{"source": entry.source, "message": entry.reason} for entry in report.unread],
        },
        "stopped": report.stopped,
    }


def _tally(tally: Tally) -> dict[str, int]:
    return {"requests": tally.requests, "objects": len(tally.objects), "images": len(tally.images)}


def _change(changed: Changed) -> dict[str, Any]:
    kind, name = changed.owner
    return {
        "change": changed.change.value,
        "object": {"kind": kind, "namespace": changed.namespace, "name": name},
        "image": changed.image,
        "requests": changed.requests,
        "today": _outcome(changed.before) if changed.before else None,
        "new": _outcome(changed.after),
        "findings": [finding_line(finding) for finding in changed.findings],
        "moreFindings": changed.more_findings,
        "source": changed.source,
    }


def _outcome(outcome: Outcome) -> dict[str, str]:
    return {
        "outcome": outcome.word,
        "verdict": outcome.decision.value,
        "reason": outcome.reason,
        "rule": outcome.rule,
        "mode": outcome.mode,
        "message": outcome.message,
    }
