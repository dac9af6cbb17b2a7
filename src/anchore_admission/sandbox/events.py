"""The event log of an account: analyses that ended, changes of the active policy, and changed results of checks."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from anchore_admission.sandbox.checks import Check
from anchore_admission.sandbox.images import ImageRecord

MAX_EVENTS = 10_000
"""The most events that are kept for an account; the oldest are dropped."""
_WRITTEN_AFTER = 0.1
"""Seconds between an event and its row in the log, as recorded from a real engine."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event about a resource, whose ID is null for policies. ``at`` is when it happened, in seconds."""

    number: int
    type: str
    message: str
    resource: tuple[str, str | None]
    at: float
    details: dict[str, Any]

    @property
    def id(self) -> str:
        return f"{self.number:032x}"

    @property
    def level(self) -> str:
        return "error" if self.type.endswith(".failed") else "info"

    @property
    def written_at(self) -> float:
        return self.at + _WRITTEN_AFTER


@dataclass(slots=True)
class EventLog:
    """The events of one account, as Anchore Engine 1.1.0 emits them (``subsys/events/types.py``)."""

    _events: deque[Event] = field(default_factory=lambda: deque(maxlen=MAX_EVENTS))
    _count: int = 0

    def newest_first(self) -> list[Event]:
        return sorted(self._events, key=lambda event: (event.at, event.number), reverse=True)

    def announce_analyses(self, records: Iterable[ImageRecord], now: float, analysis_time: float) -> None:
        """Add an event for each tag of an image whose analysis has ended since the last call."""
        for record in records:
            state = record.state(now, analysis_time)
            if record.held is not None or state not in ("analyzed", "analysis_failed"):
                continue
            for full_tag, row in record.tags.items():
                if full_tag not in record.announced:
                    record.announced.add(full_tag)
                    at = max(record.queued_at + analysis_time, row.detected_at)
                    self._add_analysis(record.digest, full_tag, at, failed=state == "analysis_failed")

    def announce_activation(self, before: str | None, after: str, now: float) -> None:
        """Add an event for another active policy."""
        details = {"last_policy_bundle_id": before, "current_policy_bundle_id": after}
        message = "Active policy bundle changed"
        self._add("user.policy.active.updated", message, ("policy_bundle", None), now, details)

    def announce_content(self, policy_id: str, now: float) -> None:
        """Add an event for a changed text of the active policy."""
        message = "Active policy bundle content changed"
        resource = ("policy_bundle", None)
        self._add("user.policy.active.content_change", message, resource, now, {"policy_id": policy_id})

    def announce_result(self, before: Check, after: Check) -> None:
        """Add an event for a check whose stored result differs from the last one of its image and tag."""
        # A real engine writes both evaluations in full, with their policies, so this event may be large.
        shown = [
            {"image_digest": check.record.digest, "status": check.evaluation.status, "policy": check.policy.document}
            for check in (before, after)
        ]
        details = {"last_eval": shown[0], "curr_eval": shown[1], "subscription_type": "policy_eval"}
        resource = ("image_tag", after.tag.full_name)
        self._add("user.checks.tag.policy_evaluation.update", "Policy evaluation changed", resource, after.at, details)

    def _add_analysis(self, digest: str, full_tag: str, at: float, *, failed: bool) -> None:
        resource = ("image_tag", full_tag)
        if failed:
            details: dict[str, Any] = {"msg": "failed to download, unpack, analyze, and generate image export"}
            self._add("user.image.analysis.failed", "Failed to analyze image", resource, at, details)
            return
        states = {"last_eval": "analyzing", "curr_eval": "analyzed"}
        details = {
            name: {"analysis_status": state, "annotations": {}, "imageDigest": digest} for name, state in states.items()
        }
        details["subscription_type"] = "analysis_update"
        self._add("user.image.analysis.completed", "Image successfully analyzed", resource, at, details)

    def _add(
        self, kind: str, message: str, resource: tuple[str, str | None], at: float, details: dict[str, Any]
    ) -> None:
        self._count += 1
        self._events.append(Event(self._count, kind, message, resource, at, details))
