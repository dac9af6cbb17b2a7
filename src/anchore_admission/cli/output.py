"""The output of ``review`` and ``check``: a table for people, JSON or YAML for machines."""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import yaml
from pydantic_core import to_json
from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from anchore_admission.cli.explanations import explained
from anchore_admission.cli.options import OutputFormat
from anchore_admission.cli.yaml_output import Dumper
from anchore_admission.core.decision import Decision, Effect
from anchore_admission.core.exemption_messages import exempted
from anchore_admission.core.findings import worst_first
from anchore_admission.core.hook import HookVerdict
from anchore_admission.core.messages import finding_line, out_of_scope
from anchore_admission.core.verdict import ImageVerdict, ReviewVerdict
from anchore_admission.services.reviews.summary import ManualReview, Summary
from anchore_admission.text import shown
from anchore_admission.web.manual_document import as_document

_WIDE = 10_000
"""Columns of a table that is not for a terminal: each row is one line, so that grep finds it whole."""
_WITH_DIGEST = re.compile(r"with digest sha256:[0-9a-f]{64} (?=.)")
_TEXT_LIMIT = 1000
_VERDICT = "VERDICT"
_LAST_OF_FOUR_DIGITS = 0xFFFF
_BEYOND_ASCII = re.compile(r"[^\x00-\x7e]")


class ImageOutcome(StrEnum):
    """A verdict together with its effect, in one word."""

    ADMITTED = "admitted"
    WARNED = "warned"
    RECORDED = "recorded"
    EXEMPT = "exempt"
    DENIED = "denied"
    UNDECIDED = "undecided"
    UNREAD = "unread"
    NOT_CHECKED = "not checked"
    NOT_REVIEWED = "not reviewed"
    OUT_OF_SCOPE = "out of scope"


_STYLES = {
    ImageOutcome.ADMITTED: "green",
    ImageOutcome.WARNED: "yellow",
    ImageOutcome.RECORDED: "yellow",
    ImageOutcome.EXEMPT: "yellow",
    ImageOutcome.DENIED: "bold red",
    ImageOutcome.UNDECIDED: "bold magenta",
    ImageOutcome.UNREAD: "bold magenta",
    ImageOutcome.NOT_CHECKED: "bold magenta",
    ImageOutcome.NOT_REVIEWED: "bold magenta",
    ImageOutcome.OUT_OF_SCOPE: "dim",
}
_DENIED = {Effect.DENY: ImageOutcome.DENIED, Effect.WARN: ImageOutcome.WARNED, Effect.ALLOW: ImageOutcome.RECORDED}


def write(summary: Summary, output: OutputFormat, *, max_findings: int, objects: bool) -> None:
    """Print to stdout. Without ``objects``, the table has no column for the object that names the image."""
    if output is OutputFormat.TABLE:
        _print_table(summary, max_findings, objects=objects)
    else:
        write_document(as_document(summary), output)


def write_document(document: object, output: OutputFormat) -> None:
    """Print a document to stdout as YAML, or else as JSON."""
    if output is OutputFormat.YAML:
        text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDE)
        _print(_escaped(text.rstrip(), pairs=False))
    else:
        _print(_escaped(to_json(document, indent=2).decode(), pairs=True))


def write_tables(parts: Sequence[RenderableType]) -> None:
    """Print tables and lines to stdout: as wide as a terminal, or else each row on one line."""
    console = Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    # Rich fills each line with blanks up to the width of the table.
    _print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def new_table(columns: Sequence[str]) -> Table:
    """Return a table with lines on a terminal, and without them elsewhere."""
    box_style = box.SIMPLE_HEAD if sys.stdout.isatty() else None
    table = Table(box=box_style, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == _VERDICT)
    return table


def outcome_of(image: ImageVerdict) -> ImageOutcome:
    """Return the word for a verdict on an image."""
    if image.exemptions:
        return ImageOutcome.EXEMPT
    match image.verdict.decision:
        case Decision.ADMIT:
            return ImageOutcome.ADMITTED
        case Decision.NO_VERDICT:
            return ImageOutcome.UNDECIDED
        case Decision.DENY:
            return _DENIED[image.effect]


def summary_line(summary: Summary, *, objects: bool) -> str:
    """Write ``12 images in 5 objects: 9 admitted, 2 denied, 1 undecided; 3 objects hold no images``."""
    counts = Counter(map(outcome_of, summary.images))
    counted = ", ".join(f"{counts[outcome]} {outcome}" for outcome in ImageOutcome if counts[outcome])
    holding = sum(1 for review in summary.reviews if review.verdict and review.verdict.images)
    line = _number(len(summary.images), "image") + (f" in {_number(holding, 'object')}" if objects else "")
    parts = [f"{line}: {counted}" if counted else line]
    for one, many, holds in _ABOUT_OBJECTS:
        if number := sum(map(holds, summary.reviews)):
            parts.append(f"{number} {one if number == 1 else many}")
    return "; ".join(parts)


_ABOUT_OBJECTS: tuple[tuple[str, str, Callable[[ManualReview], bool]], ...] = (
    ("object holds no images", "objects hold no images", lambda review: review.holds_no_images),
    ("object out of scope", "objects out of scope", lambda review: review.is_out_of_scope),
    ("object denied by the policy", "objects denied by the policy", lambda review: review.hook_decides(Decision.DENY)),
    (
        "object without a decision of the policy",
        "objects without a decision of the policy",
        lambda review: review.hook_decides(Decision.NO_VERDICT),
    ),
    ("object denied as a whole", "objects denied as a whole", lambda review: review.is_denied_whole),
    ("object not checked", "objects not checked", lambda review: bool(review.unchecked)),
    (
        "could not be read",
        "could not be read",
        lambda review: bool(review.problem) and not review.unreviewed and not review.is_denied_whole,
    ),
    ("not reviewed in time", "not reviewed in time", lambda review: bool(review.unreviewed)),
)
"""The parts of the summary about objects, for one and for many, in their order."""


def brief(message: str, image: str) -> str:
    """Return a message for a terminal: without the image, which has its own column, and its digest."""
    return _WITH_DIGEST.sub("", message.removeprefix(f"Image {image} "), count=1)


class _Dumper(Dumper):
    """A YAML writer that puts text that is unsafe for a terminal into double quotes, where YAML allows escapes."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Choose the quotes."""
        if _is_shown_raw(text):
            return super().represent_text(text)
        return self.represent_scalar("tag:yaml.org,2002:str", text, style='"')


_Dumper.add_representer(str, _Dumper.represent_text)


def _escaped(text: str, *, pairs: bool) -> str:
    """Escape control, format and bidirectional characters, and those that the output's encoding lacks.

    JSON escapes a character beyond U+FFFF as a pair of surrogates (``pairs``).
    """
    return _BEYOND_ASCII.sub(lambda match: _escape(match[0], pairs=pairs), text)


def _escape(character: str, *, pairs: bool) -> str:
    if _is_shown_raw(character):
        return character
    code = ord(character)
    if code <= _LAST_OF_FOUR_DIGITS:
        return f"\\u{code:04x}"
    if pairs:
        high, low = divmod(code - 0x10000, 0x400)
        return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
    return f"\\U{code:08x}"


def _is_shown_raw(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return text.isprintable()


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _print_table(summary: Summary, max_findings: int, *, objects: bool) -> None:
    terminal = sys.stdout.isatty()
    table = new_table([*(["OBJECT"] if objects else []), "IMAGE", _VERDICT, "WHY"])
    for row in _rows(summary, max_findings):
        row.add_to(table, terminal=terminal, objects=objects)
    line = Text(summary_line(summary, objects=objects), style="bold")
    write_tables([table, "", line] if table.row_count else [line])


@dataclass(frozen=True, slots=True)
class _Row:
    about: str
    image: str
    outcome: ImageOutcome
    message: str
    findings: tuple[str, ...] = ()

    def add_to(self, table: Table, *, terminal: bool, objects: bool) -> None:
        message = brief(self.message, self.image) if terminal else self.message
        why = Group(Text(message), *(Padding(Text(finding), (0, 0, 0, 2)) for finding in self.findings))
        cells: list[RenderableType] = [Text(self.image), Text(self.outcome, style=_STYLES[self.outcome]), why]
        if objects:
            cells.insert(0, Text(self.about))
        table.add_row(*cells)


def _rows(summary: Summary, max_findings: int) -> Iterator[_Row]:
    for review in summary.reviews:
        about = _about(review)
        error = shown(review.problem.removeprefix("not reviewed: "), _TEXT_LIMIT)
        if error:
            place = f"{review.source}: " if review.source else ""
            yield _Row(about, shown(review.image) or "-", _outcome_without_images(review), f"{place}{error}")
        elif review.unchecked:
            yield _Row(about, "-", ImageOutcome.NOT_CHECKED, shown(review.unchecked.removeprefix("not checked: ")))
        elif review.verdict and review.verdict.out_of_scope:
            yield _Row(about, "-", ImageOutcome.OUT_OF_SCOPE, out_of_scope(review.verdict.out_of_scope))
        elif review.verdict:
            for image in review.verdict.images:
                yield _row(about, image, max_findings)
        if review.verdict and review.verdict.hook:
            yield from _hook_rows(about, review.verdict, review.verdict.hook)


def _hook_rows(about: str, verdict: ReviewVerdict, hook: HookVerdict) -> Iterator[_Row]:
    """Yield a row for each objection of a decision hook, by its effect; one if it has none."""
    is_missing = hook.decision is Decision.NO_VERDICT
    only = shown(verdict.images[0].judged.text) if len(verdict.images) == 1 else "-"
    for lines, outcome in (
        (hook.denials, ImageOutcome.DENIED),
        (hook.warnings, ImageOutcome.WARNED),
        (hook.recorded, ImageOutcome.RECORDED),
    ):
        for line in lines:
            yield _Row(about, only, ImageOutcome.UNDECIDED if is_missing else outcome, shown(line, _TEXT_LIMIT))
    if not hook.lines:
        yield _Row(about, only, ImageOutcome.ADMITTED, f"policy {hook.policy} has no objection")


def _outcome_without_images(review: ManualReview) -> ImageOutcome:
    if review.unreviewed:
        return ImageOutcome.NOT_REVIEWED
    return ImageOutcome.DENIED if review.is_denied_whole else ImageOutcome.UNREAD


def _row(about: str, image: ImageVerdict, max_findings: int) -> _Row:
    message = shown(image.verdict.warning or image.verdict.message, _TEXT_LIMIT)
    findings = worst_first(image.verdict.findings)
    lines = [finding_line(finding) for finding in findings[:max_findings]]
    if len(findings) > max_findings:
        lines.append(f"and {len(findings) - max_findings} more")
    uses = [exempted(use, [image.judged.text], _TEXT_LIMIT) for use in image.exemptions]
    why = [f"{heading} {text}" for heading, text in explained(image.explanation)] if image.explanation else []
    return _Row(about, shown(image.judged.text), outcome_of(image), message, (*uses, *lines, *why))


def _about(review: ManualReview) -> str:
    """Return kind, namespace and name, as far as they could be read."""
    name = f"{shown(review.namespace)}/{shown(review.name)}" if review.name else ""
    return " ".join(filter(None, [shown(review.kind), name])) or "-"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
