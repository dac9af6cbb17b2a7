"""One log line per review. Its level follows from the outcome."""

import logging
import time
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

from anchore_admission.core.decision import Decision, Effect
from anchore_admission.core.findings import worst_first
from anchore_admission.core.hook import HookVerdict
from anchore_admission.core.messages import finding_line
from anchore_admission.core.rules.exemptions import Use, UseKind
from anchore_admission.core.verdict import ImageVerdict, ReviewVerdict, gravest_first
from anchore_admission.ports.deadline import Clock
from anchore_admission.ports.telemetry import ReviewRecord
from anchore_admission.text import shortened

IMAGES_PER_LINE: Final = 50
FINDINGS_PER_IMAGE: Final = 5
OBJECTIONS: Final = 10
"""Objections of a decision hook in a line."""
AGAIN_SECONDS: Final = 300.0
TEXTS: Final = 10
"""The most texts about unreadable calls that are logged within ``AGAIN_SECONDS``."""
_IMAGE_LIMIT = 512
_TEXT_LIMIT = 256

logger = logging.getLogger("anchore_admission.review")


class ReviewOutcome(StrEnum):
    """The outcome of a call. ``warned`` is admitted with a warning; passive mode's messages do not count as one."""

    ALLOWED = "allowed"
    WARNED = "warned"
    DENIED = "denied"
    OUT_OF_SCOPE = "out_of_scope"
    MALFORMED = "malformed"


def outcome_of(verdict: ReviewVerdict) -> ReviewOutcome:
    """Return the outcome that log line and metrics name."""
    if not verdict.allowed:
        return ReviewOutcome.DENIED
    is_warned_by_hook = verdict.hook is not None and verdict.hook.effect is Effect.WARN
    if verdict.out_of_scope:
        return ReviewOutcome.WARNED if is_warned_by_hook else ReviewOutcome.OUT_OF_SCOPE
    if Effect.WARN in [image.effect for image in verdict.images] or (verdict.warnings and not verdict.images):
        return ReviewOutcome.WARNED
    if is_warned_by_hook:
        return ReviewOutcome.WARNED
    return ReviewOutcome.ALLOWED


def log_review(record: ReviewRecord, outcome: ReviewOutcome) -> None:
    """Write the line of one review."""
    level = _level_of(record.verdict, outcome)
    if logger.isEnabledFor(level):
        logger.log(level, "%s %s", outcome, _object(record), extra={"fields": _fields(record, outcome)})


class MalformedLog:
    """Log lines about calls that cannot be read: each text once in five minutes, and ten texts at most.

    The next line says how many were left out; the metric counts them all.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._since = -AGAIN_SECONDS
        self._logged: set[tuple[str, str]] = set()
        self._omitted = 0

    def write(self, code: str, message: str) -> None:
        """Log a call that cannot be read, unless its text or too many others were logged just before."""
        text = shortened(message, _TEXT_LIMIT)
        now = self._clock()
        if now - self._since >= AGAIN_SECONDS:
            self._since = now
            self._logged.clear()
        if (code, text) in self._logged or len(self._logged) >= TEXTS:
            self._omitted += 1
            return
        self._logged.add((code, text))
        fields: dict[str, Any] = {"outcome": ReviewOutcome.MALFORMED, "code": code}
        if self._omitted:
            fields["omitted"] = self._omitted
            self._omitted = 0
        logger.warning("unreadable review: %s", text, extra={"fields": fields})


def _level_of(verdict: ReviewVerdict, outcome: ReviewOutcome) -> int:
    """Return the level; a busy cluster's updates of status and labels, which judge no image, stay out of the log."""
    if verdict.decision is Decision.NO_VERDICT:
        return logging.WARNING
    if outcome is ReviewOutcome.OUT_OF_SCOPE or (outcome is ReviewOutcome.ALLOWED and not verdict.images):
        return logging.DEBUG
    return logging.INFO


def _object(record: ReviewRecord) -> str:
    place = f"{record.namespace}/{record.name}" if record.namespace else record.name
    return shortened(f"{record.kind} {place}", _TEXT_LIMIT)


def _fields(record: ReviewRecord, outcome: ReviewOutcome) -> dict[str, Any]:
    verdict = record.verdict
    fields: dict[str, Any] = {
        "uid": shortened(record.uid, _TEXT_LIMIT),
        "namespace": shortened(record.namespace, _TEXT_LIMIT),
        "name": shortened(record.name, _TEXT_LIMIT),
        "kind": shortened(record.kind, _TEXT_LIMIT),
        "operation": shortened(record.operation, _TEXT_LIMIT),
        "user": shortened(record.user, _TEXT_LIMIT),
        "origin": record.origin,
        "outcome": outcome,
        "verdict": verdict.decision,
    }
    if verdict.out_of_scope:
        fields["scope"] = verdict.out_of_scope
    if verdict.reason:
        fields |= {"reason": verdict.reason, "detail": shortened(verdict.message, _IMAGE_LIMIT)}
    if uses := dict.fromkeys(use for image in verdict.images for use in image.exemptions):
        fields["exemptions"] = [_use(use) for use in uses]
    if len(verdict.images) > IMAGES_PER_LINE:
        fields["imagesOmitted"] = len(verdict.images) - IMAGES_PER_LINE
    if verdict.hook:
        fields["hook"] = _hook(verdict.hook)
    fields["dryRun"] = record.dry_run
    fields["milliseconds"] = round(record.seconds * 1000, 3)
    fields["images"] = [_image(image) for image in _listed(verdict)]
    return fields


def _listed(verdict: ReviewVerdict) -> Sequence[ImageVerdict]:
    """Return the images that the line names; if not all fit, those that matter most."""
    images = verdict.images
    return images if len(images) <= IMAGES_PER_LINE else gravest_first(images)[:IMAGES_PER_LINE]


def _image(image: ImageVerdict) -> dict[str, Any]:
    text, rule, verdict = image.judged.text, image.judged.rule, image.verdict
    fields: dict[str, Any] = {
        "image": shortened(text, _IMAGE_LIMIT),
        "digest": image.digest,
        "rule": rule.name,
        "mode": rule.mode,
        "decision": verdict.decision,
        "reason": verdict.reason,
        "effect": image.effect,
    }
    if image.exemptions:
        fields["admittedBy"] = [use.name for use in image.exemptions]
    if verdict.error:
        fields["error"] = shortened(verdict.error, _IMAGE_LIMIT)
    if image.facts.is_stale:
        fields["stale"] = f"{round(image.facts.age)} s"
    if verdict.findings:
        fields["findings"] = [finding_line(finding) for finding in worst_first(verdict.findings, FINDINGS_PER_IMAGE)]
    if len(verdict.findings) > FINDINGS_PER_IMAGE:
        fields["findingsOmitted"] = len(verdict.findings) - FINDINGS_PER_IMAGE
    return fields


def _hook(hook: HookVerdict) -> dict[str, Any]:
    fields: dict[str, Any] = {"policy": hook.policy, "outcome": hook.outcome, "effect": hook.effect}
    if hook.decision_id:
        fields["decisionId"] = shortened(hook.decision_id, _TEXT_LIMIT)
    if lines := hook.lines:
        fields["objections"] = lines[:OBJECTIONS]
    if len(lines) > OBJECTIONS:
        fields["objectionsOmitted"] = len(lines) - OBJECTIONS
    fields["milliseconds"] = round(hook.seconds * 1000, 3)
    return fields


def _use(use: Use) -> dict[str, str]:
    fields = {"kind": use.kind, "name": use.name, "reason": use.reason}
    if use.kind is UseKind.EXEMPTION:
        fields |= {"owner": use.owner, "ticket": use.ticket, "expires": use.expires}
    return fields
