"""Refusals to check an image: a 404 has several meanings that only its message tells apart.

API v1 always sends the same words. The description of API v2 promises none, so some 404s stay unclear: the image may be
unknown or not analyzed yet, or its policy cannot be evaluated. The image's record then decides.
"""

import re
from dataclasses import dataclass

from anchore_admission.adapters.anchore.records import analysis_state, names_no_image
from anchore_admission.adapters.anchore.responses import AnchoreResponse, bad_request, cleaned, contains
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
"""Words after "tag" in the 400 of a check if Anchore has the image, but not under this name: it has to be added.

This must not be an error: an author could cause it by writing another repository before a digest.
"""


@dataclass(frozen=True, slots=True)
class Unclear:
    """A refusal whose message names no known cause."""

    message: str


def not_evaluated(response: AnchoreResponse, policy: str | None) -> AnalysisState | Unclear:
    """Interpret a refusal. Raises EvaluationError unless the image is unknown or not analyzed, or may be."""
    message = response.message
    if not response.is_not_found:
        if response.is_from_anchore and any(contains(message, "tag", words) for words in _FOREIGN_TAG):
            return AnalysisState.UNKNOWN
        raise bad_request(response)
    if names_no_image(message):
        return AnalysisState.UNKNOWN
    if found := _NOT_ANALYZED.match(message):
        return _unfinished(found[1])
    if contains(message, "no active policy"):
        raise PolicyNotFound("the Anchore account has no active policy")
    if contains(message, "policy", "not found"):
        name = f"policy {policy}" if policy else "the active policy"
        raise PolicyNotFound(f"{name} does not exist in Anchore")
    if contains(message, "could not find any evaluations"):
        raise PolicyNotEvaluated("Anchore did not evaluate the policy; its policy engine may be down")
    return Unclear(cleaned(message))


def still_unclear(refusal: Unclear) -> EvaluationError:
    """Return the error for an image that Anchore has analyzed, but refuses to check."""
    return PolicyNotEvaluated(f"Anchore refuses to evaluate the policy (404): {refusal.message}")


def _unfinished(status: str) -> AnalysisState:
    state = analysis_state(status)
    if state is AnalysisState.ANALYZED:
        raise AnchoreResponseInvalid("Anchore contradicts itself: the image is analyzed and is not")
    return state
