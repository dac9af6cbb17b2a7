"""The log line of a review: one for each, by its outcome."""

import logging
import time
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

from anchore_admission.adapters.logs import quoted, to_json
from anchore_admission.core.messages import finding_line, worst_first
from anchore_admission.core.verdict import Decision, Effect, ImageVerdict, ReviewVerdict, gravest_first
from anchore_admission.ports.deadline import Clock
from anchore_admission.ports.telemetry import ReviewRecord
from anchore_admission.text import shortened

IMAGES_PER_LINE: Final = 50
FINDINGS_PER_IMAGE: Final = 5
AGAIN_SECONDS: Final = 300.0
TEXTS: Final = 10
"""Different texts about unreadable calls that are logged in ``AGAIN_SECONDS``."""
_IMAGE_LIMIT = 512
_TEXT_LIMIT = 256
_TEXTS = ",".join(
    f'"{name}":%s' for name in ("uid", "namespace", "name", "kind", "operation", "user", "origin", "outcome", "verdict")
)
_LOG = "log"

logger = logging.getLogger("anchore_admission.review")
_RECORD = vars(logging.makeLogRecord({"name": logger.name}))
"""What every log record of ours has in common."""


class ReviewOutcome(StrEnum):
    """The outcome of a call. ``warned`` is admitted with a warning; what passive mode tells of a submission is none."""

    ALLOWED = "allowed"
    WARNED = "warned"
    DENIED = "denied"
    EXEMPT = "exempt"
    MALFORMED = "malformed"


def outcome_of(verdict: ReviewVerdict) -> ReviewOutcome:
    if verdict.out_of_scope:
        return ReviewOutcome.EXEMPT
    if not verdict.allowed:
        return ReviewOutcome.DENIED
    if Effect.WARN in [image.effect for image in verdict.images] or (verdict.warnings and not verdict.images):
        return ReviewOutcome.WARNED
    return ReviewOutcome.ALLOWED


def log_review(record: ReviewRecord, outcome: ReviewOutcome) -> None:
    level = _level_of(record.verdict, outcome)
    if logger.isEnabledFor(level):
        _write(level, f"{outcome} {_subject(record)}", _members(record, outcome))


class MalformedLog:
    """Log lines about calls that cannot be read: each text once in five minutes, and not many texts.

    The next line says how many were left out; the metric counts them all.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._since = -AGAIN_SECONDS
        self._told: set[tuple[str, str]] = set()
        self._omitted = 0

    def write(self, code: str, message: str) -> None:
        text = shortened(message, _TEXT_LIMIT)
        now = self._clock()
        if now - self._since >= AGAIN_SECONDS:
            self._since = now
            self._told.clear()
        if (code, text) in self._told or len(self._told) >= TEXTS:
            self._omitted += 1
            return
        self._told.add((code, text))
        members = f'"outcome":{quoted(ReviewOutcome.MALFORMED)},"code":{quoted(code)}'
        if self._omitted:
            members += f',"omitted":{self._omitted}'
            self._omitted = 0
        if logger.isEnabledFor(logging.WARNING):
            _write(logging.WARNING, f"unreadable review: {text}", members)


def _level_of(verdict: ReviewVerdict, outcome: ReviewOutcome) -> int:
    """A busy cluster's status and label updates stay out of the log: they judge no image and admit."""
    if verdict.decision is Decision.NO_VERDICT:
        return logging.WARNING
    if outcome is ReviewOutcome.EXEMPT or (outcome is ReviewOutcome.ALLOWED and not verdict.images):
        return logging.DEBUG
    return logging.INFO


def _subject(record: ReviewRecord) -> str:
    place = f"{record.namespace}/{record.name}" if record.namespace else record.name
    return shortened(f"{record.kind} {place}", _TEXT_LIMIT)


def _members(record: ReviewRecord, outcome: ReviewOutcome) -> str:
    """What the line says beside its message, as JSON: a general encoder would take longer than judging four images."""
    verdict = record.verdict
    texts: list[str] = [
        record.uid,
        record.namespace,
        record.name,
        record.kind,
        record.operation,
        record.user,
        record.origin,
        outcome,
        verdict.decision,
    ]
    if max(map(len, texts)) > _TEXT_LIMIT:
        texts = [shortened(text, _TEXT_LIMIT) for text in texts]
    members = _TEXTS % tuple(map(quoted, texts))
    if verdict.out_of_scope:
        members += f',"exemption":{quoted(verdict.out_of_scope)}'
    if verdict.reason:
        detail = shortened(verdict.message, _IMAGE_LIMIT)
        members += f',"reason":{quoted(verdict.reason)},"detail":{quoted(detail)}'
    if len(verdict.images) > IMAGES_PER_LINE:
        members += f',"imagesOmitted":{len(verdict.images) - IMAGES_PER_LINE}'
    dry_run = "true" if record.dry_run else "false"
    return f'{members},"dryRun":{dry_run},"milliseconds":{record.seconds * 1000:.3f},"images":{_images(verdict)}'


def _images(verdict: ReviewVerdict) -> str:
    return f"[{','.join([image.texts.get(_LOG) or _image(image) for image in _listed(verdict)])}]"


def _listed(verdict: ReviewVerdict) -> Sequence[ImageVerdict]:
    """Return the images that the line names; where not all fit, those that matter most."""
    images = verdict.images
    return images if len(images) <= IMAGES_PER_LINE else gravest_first(images)[:IMAGES_PER_LINE]


def _image(image: ImageVerdict) -> str:
    verdict = image.verdict
    fields: dict[str, Any] = {
        "image": shortened(image.image, _IMAGE_LIMIT),
        "digest": image.digest,
        "rule": image.rule.name,
        "mode": image.rule.mode,
        "decision": verdict.decision,
        "reason": verdict.reason,
        "effect": image.effect,
    }
    if verdict.error:
        fields["error"] = shortened(verdict.error, _IMAGE_LIMIT)
    if verdict.findings:
        fields["findings"] = [finding_line(finding) for finding in worst_first(verdict.findings, FINDINGS_PER_IMAGE)]
    if len(verdict.findings) > FINDINGS_PER_IMAGE:
        fields["findingsOmitted"] = len(verdict.findings) - FINDINGS_PER_IMAGE
    text = image.texts[_LOG] = to_json(fields)
    return text


def _write(level: int, message: str, members: str) -> None:
    """Past ``Logger.log``, which walks the stack for a file and line that no formatter of ours shows."""
    now = time.time()
    record = logging.LogRecord.__new__(logging.LogRecord)  # its __init__ would look up again what is the same each time
    record.__dict__ = {
        **_RECORD,
        "levelno": level,
        "levelname": logging.getLevelName(level),
        "created": now,
        "msecs": now % 1 * 1000,
        "msg": message,
        "encoded": members,
    }
    logger.handle(record)
