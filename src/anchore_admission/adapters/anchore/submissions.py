"""Asking Anchore to analyse: what is sent, and a refusal in words that a user can act on."""

from collections.abc import Iterable, Mapping
from typing import Any

from anchore_admission.adapters.anchore.answers import Answer, bad_request, cleaned, is_conflict, is_license_limit
from anchore_admission.adapters.anchore.records import ImageRow, lookup_tag, record, with_digest
from anchore_admission.core.facts import ImageRecord
from anchore_admission.core.names import LABEL_TIME, AnalysisRequest
from anchore_admission.errors import AnalysisRefused, AnchoreReplyInvalid, EvaluationError

_ANNOTATIONS = {"requestor": "anchore-admission-controller"}
_REASONS = {
    "REGISTRY_PERMISSION_DENIED": "Anchore cannot pull it: registry needs credentials",
    "REGISTRY_IMAGE_NOT_FOUND": "Anchore cannot pull it: not found in the registry",
    "REGISTRY_NOT_ACCESSIBLE": "Anchore cannot pull it: the registry cannot be reached",
    "REGISTRY_NOT_SUPPORTED": "Anchore cannot pull it: the registry speaks a protocol that Anchore does not support",
    "SKOPEO_UNKNOWN_ERROR": "Anchore cannot pull it: it may not exist, or the registry needs credentials",
    "OSARCH_MISMATCH": "Anchore cannot analyse it: the image has no variant for Anchore's platform (linux/amd64)",
}


def submission_body(request: AnalysisRequest, pull_string: str) -> dict[str, Any]:
    """Never with ``force``, which makes an analysed image unusable until it is analysed again.

    ``pull_string`` is the name that the API version has for the field.
    """
    full_tag = lookup_tag(request.full_tag)
    if request.digest is None:
        source: dict[str, Any] = {"tag": {pull_string: full_tag}}
    else:
        reference = f"{request.repository}@{request.digest}"
        source = {"digest": {pull_string: reference, "tag": full_tag, "creation_timestamp_override": LABEL_TIME}}
    return {"source": source, "annotations": _ANNOTATIONS}


def submitted(rows: Iterable[ImageRow], request: AnalysisRequest) -> ImageRecord:
    """The record that Anchore answered with. Raises AnchoreReplyInvalid."""
    known = list(rows)
    if len(known) != 1:
        raise AnchoreReplyInvalid("Anchore answered a request for analysis with no image, or with several")
    if request.digest is not None:
        with_digest(known, request.digest)
    return record(known[0])


def refusal(answer: Answer) -> EvaluationError:
    """Say why Anchore does not analyze the image. Its raw exception text holds command lines and is left out."""
    message = f": {cleaned(answer.message)}" if answer.message else ""
    if is_license_limit(answer):
        return AnalysisRefused(f"Anchore's license covers no more images ({answer.status}){message}")
    if is_conflict(answer):
        return AnalysisRefused(f"another request for this image is under way in Anchore (409), try again{message}")
    if answer.missing:
        return AnchoreReplyInvalid(f"Anchore refuses the request for analysis (404): {cleaned(answer.message)}")
    if not answer.message:
        return bad_request(answer)
    for code in _codes(answer.detail):
        if text := _REASONS.get(code):
            return AnalysisRefused(text)
    if size := _sizes(answer.detail):
        return AnalysisRefused(f"Anchore cannot analyse it: {size}")
    return AnalysisRefused(f"Anchore refuses to analyse it: {cleaned(answer.message)}")


def _codes(detail: Mapping[str, Any]) -> list[str]:
    codes = detail.get("error_codes")
    return [code for code in codes if isinstance(code, str)] if isinstance(codes, list) else []


def _sizes(detail: Mapping[str, Any]) -> str:
    own, most = detail.get("requested_image_compressed_size_mb"), detail.get("max_compressed_image_size_mb")
    if not isinstance(own, int | float) or not isinstance(most, int | float):
        return ""
    return f"the image has {own:g} MB compressed, Anchore accepts {most:g} MB"
