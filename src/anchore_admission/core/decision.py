"""The closed sets that verdicts are made of: the decision, its reason, and its effect on the request."""

from enum import StrEnum


class Decision(StrEnum):
    """The verdict itself, before ``enforcement`` and ``onError`` turn it into an effect."""

    ADMIT = "admit"
    DENY = "deny"
    NO_VERDICT = "no_verdict"


class Reason(StrEnum):
    """The reason for a decision; a closed set, so that a metric can have it as a label."""

    SKIPPED = "skipped"
    REQUESTED = "requested"
    ANALYZED = "analyzed"
    POLICY_PASSED = "policy_passed"
    POLICY_FAILED = "policy_failed"
    UNMAPPED = "unmapped"
    UNKNOWN = "unknown"
    PENDING = "pending"
    ANALYSIS_FAILED = "analysis_failed"
    IMAGE_ID = "image_id"
    MALFORMED_REFERENCE = "malformed_reference"
    UNSUPPORTED_REFERENCE = "unsupported_reference"
    TOO_MANY_IMAGES = "too_many_images"
    NOT_REACHED = "not_reached"
    TOO_MANY_FINDINGS = "too_many_findings"
    RECORD_TOO_LARGE = "record_too_large"
    NO_IMAGE = "no_image"
    NOT_PINNED = "not_pinned"
    NAMESPACE_UNKNOWN = "namespace_unknown"
    VALUE_NOT_ALLOWED = "value_not_allowed"
    UNREADABLE_OBJECT = "unreadable_object"
    UNKNOWN_KIND = "unknown_kind"
    HOOK = "hook"
    ERROR = "error"


FINAL_REASONS = frozenset(
    {
        Reason.POLICY_FAILED,
        Reason.UNMAPPED,
        Reason.IMAGE_ID,
        Reason.MALFORMED_REFERENCE,
        Reason.UNSUPPORTED_REFERENCE,
        Reason.TOO_MANY_IMAGES,
        Reason.TOO_MANY_FINDINGS,
        Reason.RECORD_TOO_LARGE,
        Reason.VALUE_NOT_ALLOWED,
        Reason.UNREADABLE_OBJECT,
    }
)
"""Reasons that do not go away with time, so they deny a template at once. Any other may be gone by the time the
template's Pods are created."""


class Effect(StrEnum):
    """The effect of a verdict on the request."""

    ALLOW = "allow"
    WARN = "warn"
    DENY = "deny"
