"""The facts about one image: what Anchore reported at one time."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from anchore_admission.errors import EvaluationError


class AnalysisState(StrEnum):
    """Anchore's ``analysis_status``; ``unknown`` is ours, for an image without an active record in Anchore."""

    UNKNOWN = "unknown"
    NOT_ANALYZED = "not_analyzed"
    ANALYZING = "analyzing"
    ANALYZED = "analyzed"
    FAILED = "analysis_failed"


@dataclass(frozen=True, slots=True)
class TagRow:
    """One tag of an image as Anchore recorded it; ``detected_at`` is RFC 3339, empty if Anchore gives no time."""

    full_tag: str
    detected_at: str = ""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An active image record. ``digest`` is the platform digest, ``parent_digest`` that of its manifest list.

    ``list_digest`` is the digest by which nodes of every platform can pull the image: that of the manifest list, or of
    an image without one. None if Anchore does not tell, or if the record may be one platform of a list that Anchore
    does not know. ``listed_by`` are the full tags that it comes from; see ``names.shared_digest`` for the others.
    ``analyzed_at`` is RFC 3339, empty if Anchore gives no time; no verdict depends on it.
    """

    digest: str
    state: AnalysisState
    tags: tuple[TagRow, ...] = ()
    parent_digest: str | None = None
    architecture: str | None = None
    list_digest: str | None = None
    listed_by: tuple[str, ...] = ()
    analyzed_at: str = ""


class PolicyReason(StrEnum):
    """The reason for the result of a policy: its rules, or one of its image lists."""

    EVALUATION = "policy_evaluation"
    ALLOWLISTED = "allowlisted"
    DENYLISTED = "denylisted"


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of a policy evaluation that no allow-list excuses, with the action of its rule."""

    gate: str
    trigger: str
    trigger_id: str
    message: str
    recommendation: str = ""
    action: Literal["stop", "warn"] = "stop"


@dataclass(frozen=True, slots=True)
class Selector:
    """The patterns for registry and repository of a policy's mapping or image list entry."""

    registry: str
    repository: str


@dataclass(frozen=True, slots=True)
class PolicyEvaluation:
    """An evaluation as Anchore reported it. ``core.modes`` decides whether it amounts to a verdict.

    ``problems`` are those of severity error; ``list_rule`` names the matched entry of an image allow or deny list.
    ``selectors`` are the patterns by which the policy distinguishes repositories; None if Anchore's response does not
    show them. ``repository`` is the name under which the image was evaluated. ``findings`` are those with action
    ``stop``; ``truncated`` is True if the evaluation had more than ``findings`` holds, and ``findings_total`` is then
    their number, None if Anchore's response does not show it.

    No verdict depends on the rest. ``warns`` is True if Anchore's final action is ``warn``. ``warnings`` are the worst
    findings with action ``warn``, and ``warnings_total`` the number of all; None if they were not kept or not shown.
    """

    passed: bool
    policy: str
    reason: PolicyReason = PolicyReason.EVALUATION
    mapped: bool = True
    findings: tuple[Finding, ...] = ()
    truncated: bool = False
    problems: tuple[str, ...] = ()
    list_rule: str = ""
    selectors: tuple[Selector, ...] | None = field(default=None, compare=False)
    repository: str = field(default="", compare=False)
    findings_total: int | None = field(default=None, compare=False)
    warns: bool = field(default=False, compare=False)
    warnings: tuple[Finding, ...] = ()
    warnings_total: int | None = None

    @property
    def total(self) -> int | None:
        """The number of findings with either action; None if it is not known."""
        stops = self.findings_total if self.truncated else len(self.findings)
        return None if stops is None or self.warnings_total is None else stops + self.warnings_total


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One policy of an account. ``last_updated`` changes with every change of the policy or of ``active``.

    It is a time in Anchore's own format, to the second, to be compared for equality only; empty if Anchore gives none.
    """

    policy: str
    active: bool
    last_updated: str


class SubmissionState(StrEnum):
    """The state of the request to analyze an image."""

    NONE = "none"  # nothing was submitted
    DRY_RUN = "dry_run"  # not submitted, because a dry run or a review by hand changes nothing
    REQUESTED = "requested"  # submitted, no response yet
    ANSWERED = "answered"  # Anchore responded with a digest
    REFUSED = "refused"  # Anchore or the image's registry refused
    DROPPED = "dropped"  # not submitted, because the queue is full


@dataclass(frozen=True, slots=True)
class Submission:
    """The latest request for analysis of an image; ``reason`` says why it failed."""

    state: SubmissionState = SubmissionState.NONE
    digest: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ResolvedTag:
    """The digest that Anchore resolved a tag to when it was submitted.

    ``before`` is the result of a look-up just before: a digest, empty where Anchore held none, None where there was no
    look-up. ``at`` is the time of the response in monotonic seconds. ``list_digest`` and ``listed_by`` are the
    response's, see ``ImageRecord``.
    """

    digest: str
    at: float
    before: str | None = None
    list_digest: str | None = None
    listed_by: tuple[str, ...] = ()

    def overrides(self, found: ImageRecord | None) -> bool:
        """Return whether this is newer than the record that a look-up finds for the tag now.

        Anchore reports the digest that it learned of last. While that is the one from before the submission, the
        response is newer (a tag that went from A to B and back to A); any other has been added since.
        """
        return found is None or self.before == found.digest != self.digest


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Everything known about one image; ``error`` is the reason why a part of it is not known.

    There is one evaluation for each name by which the policy may judge the image differently. ``age`` is that of the
    oldest answer that the facts rest on, in seconds; ``is_stale`` is True if one of them stands in for an Anchore that
    cannot be asked. ``resolved`` tells where a tag pointed to when it was submitted last; no verdict depends on it.
    """

    record: ImageRecord | None = None
    evaluations: tuple[PolicyEvaluation, ...] = ()
    submission: Submission = field(default_factory=Submission)
    error: EvaluationError | None = None
    age: float = field(default=0.0, compare=False)
    is_stale: bool = False
    resolved: ResolvedTag | None = field(default=None, compare=False)

    @property
    def state(self) -> AnalysisState:
        return self.record.state if self.record else AnalysisState.UNKNOWN

    @property
    def digest(self) -> str | None:
        """The digest that Anchore holds for the image; None if it is not known."""
        return self.record.digest if self.record else self.submission.digest


NOTHING_KNOWN = ImageFacts()
