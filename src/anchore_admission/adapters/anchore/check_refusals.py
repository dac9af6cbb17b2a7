"""Interpret failed policy checks: a 404 has several meanings, and only its message distinguishes them.

API v1 always sends the same messages. The specification of API v2 fixes none, so some 404s stay unclear: the image may
be unknown or not analyzed yet, or its policy cannot be evaluated. The image's record then decides.
"""

import re
from dataclasses import dataclass

from anchore_admission.adapters.anchore.records import analysis_state, names_no_image
from anchore_admission.adapters.anchore.responses import AnchoreResponse, bad_request, contains
from anchore_admission.adapters.failures import cleaned
from anchore_admission.core.facts import AnalysisState
from anchore_admission.errors import AnchoreResponseInvalid, EvaluationError, PolicyNotEvaluated, PolicyNotFound

_NOT_ANALYZED = re.compile(r"image is not analyzed - analysis_status: (\S{1,100})", re.IGNORECASE)
_FOREIGN_TAG = (
    "not associated",
    "not belong",
    "not found",
    "not a tag of",
    "not match",
    "no such",
)
"""Words after "tag" in the 400 of a check of an image that Anchore has under another name: submit it under this one.

Such a 400 is not an error: an author can cause it by writing another repository before a digest.
"""


@dataclass(frozen=True, slots=True)
class Unclear:
    """A failed check whose message names no known cause."""

    message: str


def not_evaluated(response: AnchoreResponse, policy: str | None) -> AnalysisState | Unclear:
    """Interpret a failed check. Raises EvaluationError unless the image is, or may be, unknown or not analyzed."""
    message = response.message
    if not response.is_not_found:
        if response.is_from_anchore and any(contains(message, "tag", words) for words in _FOREIGN_TAG):
            return AnalysisState.UNKNOWN
        raise bad_request(response)
    # The following messages are those of Anchore Engine 1.1.0, which sends a 404 for all of them.
    if names_no_image(message):
        return AnalysisState.UNKNOWN
    if found := _NOT_ANALYZED.match(message):
        return _unfinished(found[1])
    if contains(message, "no active policy"):
        raise PolicyNotFound("the Anchore account has no active policy")
    if contains(message, "policy", "not found"):
        name = f"policy {policy}" if policy else "the active policy"
        raise PolicyNotFound(f"{name} does not exist in Anchore")
    # The engine hides internal errors behind this 404: a policy engine that is down, a timeout, a broken policy.
    if contains(message, "could not find any evaluations"):
        raise PolicyNotEvaluated("Anchore did not evaluate the policy; its policy engine may be down")
    return Unclear(cleaned(message))


def still_unclear(refusal: Unclear) -> EvaluationError:
    """Return the error for an image that Anchore has analyzed, but refuses to check."""
    return PolicyNotEvaluated(f"Anchore refuses to evaluate the policy (404): {refusal.message}")


def _unfinished(status: str) -> AnalysisState:
    state = analysis_state(status)
    if state is AnalysisState.ANALYZED:
        raise AnchoreResponseInvalid(
            "Anchore contradicts itself: it does not check the image, but reports it as analyzed"
        )
    return state
