"""Analysis requests: their bodies, and refusals in words that a user can act on."""

from collections.abc import Iterable, Mapping
from typing import Any

from anchore_admission.adapters.anchore.records import ImageRow, lookup_tag, record, with_digest
from anchore_admission.adapters.anchore.responses import (
    AnchoreResponse,
    bad_request,
    is_conflict,
    is_license_limit,
)
from anchore_admission.adapters.failures import cleaned
from anchore_admission.core.facts import ImageRecord
from anchore_admission.core.names import LABEL_TIME, AnalysisRequest
from anchore_admission.errors import AnalysisRefused, AnchoreResponseInvalid, EvaluationError

_ANNOTATIONS = {"requestor": "anchore-admission-controller"}
_REASONS = {
    "REGISTRY_PERMISSION_DENIED": "Anchore cannot pull it: registry needs credentials",
    "REGISTRY_IMAGE_NOT_FOUND": "Anchore cannot pull it: not found in the registry",
    "REGISTRY_NOT_ACCESSIBLE": "Anchore cannot pull it: the registry cannot be reached",
    "REGISTRY_NOT_SUPPORTED": "Anchore cannot pull it: the registry speaks a protocol that Anchore does not support",
    # Anchore derives the code from words in skopeo's output; a private repository may end up here, too.
    "SKOPEO_UNKNOWN_ERROR": "Anchore cannot pull it: it may not exist, or the registry needs credentials",
    "OSARCH_MISMATCH": "Anchore cannot analyze it: the image has no variant for Anchore's platform (linux/amd64)",
}


def submission_body(request: AnalysisRequest, pull_string: str) -> dict[str, Any]:
    """Build the body of an analysis request; ``pull_string`` is the API version's name of that field.

    ``force`` is never set: it makes an analyzed image unusable until it is analyzed again.
    """
    full_tag = lookup_tag(request.full_tag)
    if request.digest is None:
        source: dict[str, Any] = {"tag": {pull_string: full_tag}}
    else:
        # With its own time, this digest would become the newest one of the tag, and look-ups by tag would return it.
        reference = f"{request.repository}@{request.digest}"
        source = {"digest": {pull_string: reference, "tag": full_tag, "creation_timestamp_override": LABEL_TIME}}
    return {"source": source, "annotations": _ANNOTATIONS}


def submitted(rows: Iterable[ImageRow], request: AnalysisRequest) -> ImageRecord:
    """Return the record in the response to a request. Raises AnchoreResponseInvalid."""
    known = list(rows)
    if len(known) != 1:
        raise AnchoreResponseInvalid("Anchore responded to an analysis request with no image, or with several")
    if request.digest is not None:
        with_digest(known, request.digest)
    return record(known[0])


def refusal(response: AnchoreResponse) -> EvaluationError:
    """Explain why Anchore does not analyze the image. Its raw exception text contains command lines and is left out."""
    message = f": {cleaned(response.message)}" if response.message else ""
    if is_license_limit(response):
        return AnalysisRefused(f"Anchore's license covers no more images ({response.status}){message}")
    if is_conflict(response):
        return AnalysisRefused(f"another request for this image is in progress in Anchore (409), try again{message}")
    if response.is_not_found:
        return AnchoreResponseInvalid(f"Anchore refuses the analysis request (404): {cleaned(response.message)}")
    if not response.message:
        return bad_request(response)
    for code in _codes(response.detail):
        if text := _REASONS.get(code):
            return AnalysisRefused(text)
    if size := _sizes(response.detail):
        return AnalysisRefused(f"Anchore cannot analyze it: {size}")
    return AnalysisRefused(f"Anchore refuses to analyze it: {cleaned(response.message)}")


def _codes(detail: Mapping[str, Any]) -> list[str]:
    codes = detail.get("error_codes")
    return [code for code in codes if isinstance(code, str)] if isinstance(codes, list) else []


def _sizes(detail: Mapping[str, Any]) -> str:
    own, most = detail.get("requested_image_compressed_size_mb"), detail.get("max_compressed_image_size_mb")
    if not isinstance(own, int | float) or not isinstance(most, int | float):
        return ""
    return f"the image has {own:g} MB compressed, Anchore accepts {most:g} MB"
