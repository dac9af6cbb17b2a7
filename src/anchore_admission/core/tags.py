"""Moved tags: how the controller notices that a tag points to another image than before.

Anchore learns where a tag points only when the tag is submitted. Every tag in use is therefore submitted again once per
interval (``Repeats``), and the digest of that response counts before a look-up while it is newer (``ResolvedTag``).
"""

from dataclasses import dataclass, field, replace

from anchore_admission.core.facts import ResolvedTag, Submission, SubmissionState

FIRST_REPEAT = 30.0
"""Seconds before an image that stays unknown, refused or failed may be submitted again; doubled each time."""


@dataclass(frozen=True, slots=True)
class LastSubmission:
    """The latest submission of an image. Its response stays in use until the next one arrives."""

    submission: Submission = field(default_factory=Submission)
    resolved: ResolvedTag | None = None
    """The digest of the response; None if it is no longer known to be the tag's."""
    at: float = float("-inf")
    pause: float = 0.0
    """Seconds before a needed or refused image is due again."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """The schedule on which images are submitted again. ``interval`` is ``tags.refreshInterval`` in seconds."""

    interval: float = 600.0

    def due_at(self, last: LastSubmission, *, needed: bool, looked_up: str | None) -> float:
        """Return when to submit again: after the pause if a verdict needs it, else once per interval.

        The tag is also due after the pause if a look-up now finds another digest than the response and the look-up
        before it: others have submitted the tag since, as other replicas do, or there was no look-up (passive mode).
        """
        resolved = last.resolved
        in_doubt = resolved is not None and looked_up not in {None, resolved.digest, resolved.before}
        hurries = in_doubt or self._hurries(last, needed=needed)
        return last.at + (last.pause if hurries else self.interval)

    def begun(self, last: LastSubmission, now: float, *, needed: bool) -> LastSubmission:
        """Return the submission that begins now, with the pause after it."""
        doubled = 2 * last.pause if self._hurries(last, needed=needed) else 0.0
        is_first = last.submission.state is SubmissionState.NONE
        return replace(
            last,
            submission=Submission(SubmissionState.REQUESTED) if is_first else last.submission,
            at=now,
            # No longer than the interval, after which the tag is due in any case.
            pause=min(max(FIRST_REPEAT, doubled), self.interval),
        )

    def holds(self, resolved: ResolvedTag, now: float) -> bool:
        """Return whether a digest still counts: for two intervals, so a tag in use is refreshed before it expires."""
        return now < resolved.at + 2 * self.interval

    def _hurries(self, last: LastSubmission, *, needed: bool) -> bool:
        return needed or last.submission.state is SubmissionState.REFUSED
