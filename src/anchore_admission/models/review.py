"""AdmissionReview on the wire: decode a call into an AdmissionRequest, encode the answer.

Source: k8s.io/api/admission/v1 and v1beta1, and what the API server checks of an answer
(k8s.io/apiserver, pkg/admission/plugin/webhook/request).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_core import from_json, to_json

from anchore_admission.errors import MalformedReview
from anchore_admission.models import large_review
from anchore_admission.models.problems import described, in_words
from anchore_admission.models.workload import PodTemplate, Shape, Workload

Version = Literal["admission.k8s.io/v1", "admission.k8s.io/v1beta1"]
LARGE = 64 * 1024
"""Bytes past which a body is not built whole to be read."""
ENTRY_BYTES = 1024
"""Memory that one container, volume or owner takes until the review is answered: measured with and without an image."""
_KEY_BYTES = 200
_GROUP_BYTES = 64
_MAX_UID = 256
_UNREADABLE = "not a readable AdmissionReview"


class GroupVersionKind(Shape):
    group: str = ""
    version: str = ""
    kind: str = ""


class GroupVersionResource(Shape):
    group: str = ""
    version: str = ""
    resource: str = ""


class UserInfo(Shape):
    username: str | None = None
    groups: list[str] | None = None


ObjectT = TypeVar("ObjectT")


class _Request(Shape, Generic[ObjectT]):
    uid: Annotated[str, Field(min_length=1, max_length=_MAX_UID)]
    kind: GroupVersionKind
    resource: GroupVersionResource = GroupVersionResource()
    subResource: str | None = None
    name: str | None = None
    namespace: str | None = None
    operation: str
    userInfo: UserInfo | None = None
    object: ObjectT | None = None
    oldObject: ObjectT | None = None
    dryRun: bool | None = None


class _Review(Shape, Generic[ObjectT]):
    apiVersion: Version
    kind: Literal["AdmissionReview"]
    request: _Request[ObjectT]


class AdmissionRequest(_Request[Workload]):
    """What the API server asks about. ``unreadable`` says what is wrong with ``object`` when it could not be read.

    It is ours to say: a key of that name in a call is ignored like any other that is unknown.
    """

    unreadable: Annotated[str | None, BeforeValidator(lambda _: None)] = None


class AdmissionReview(Shape):
    apiVersion: Version
    kind: Literal["AdmissionReview"]
    request: AdmissionRequest


class AdmissionResponse(NamedTuple):
    """The answer; ``code`` and ``reason`` go into ``status`` and are read by the API server for a denial only."""

    uid: str
    allowed: bool
    message: str = ""
    warnings: tuple[str, ...] = ()
    audit_annotations: Mapping[str, str] = MappingProxyType({})


def decode(body: bytes | bytearray) -> AdmissionReview:
    """Read an AdmissionReview of either version.

    A readable envelope around an unreadable object is a request whose ``unreadable`` is set: the workload is
    refused, not the call. An unreadable old object counts as absent, so that every image is judged.

    Raises:
        MalformedReview: the envelope cannot be read; the text says where.
    """
    if len(body) > LARGE:
        return _decode_large(body)
    try:
        return AdmissionReview.model_validate_json(body)
    except ValidationError:
        return _decode_envelope(body)


def decode_start(start: bytes | bytearray, unreadable: str) -> AdmissionReview | None:
    """Read who asks about what from the first part of a review; ``unreadable`` says why the rest is not read.

    Returns None unless everything up to the object can be read, as in what API servers send. Of the object, its
    metadata may be known as far as the part goes.
    """
    document = large_review.read_start(start)
    request = document.get("request") if document else None
    if document is None or not isinstance(request, dict) or "object" not in request:
        return None
    value = request.pop("object")
    request.pop("oldObject", None)
    try:
        envelope = _Review[Any].model_validate(document)
    except ValidationError:
        return None
    metadata = value.get("metadata") if isinstance(value, dict) else None
    workload, _ = _object({"metadata": metadata})
    return _assembled(envelope, workload, None, unreadable)


def held_bytes(request: AdmissionRequest) -> int:
    """Estimate the memory that a decoded request takes beside its texts: three bytes of a body may become 500."""
    user = request.userInfo
    total = _GROUP_BYTES * len(user.groups) if user and user.groups else 0
    for workload in (request.object, request.oldObject):
        if workload:
            total += _held_by_template(workload) + ENTRY_BYTES * len(workload.ephemeralContainers or ())
            total += _held_by_template(workload.template)
            spec = workload.spec
            total += _held_by_template(spec.template) if spec else 0
            job = spec.jobTemplate.spec if spec and spec.jobTemplate else None
            total += _held_by_template(job.template) if job else 0
    return total


def _held_by_template(template: Workload | PodTemplate | None) -> int:
    total = 0
    if template and (metadata := template.metadata):
        total += ENTRY_BYTES * len(metadata.ownerReferences or ())
        total += _KEY_BYTES * (len(metadata.labels or ()) + len(metadata.annotations or ()))
    if template and (spec := template.spec):
        containers = len(spec.containers or ()) + len(spec.initContainers or ()) + len(spec.ephemeralContainers or ())
        total += ENTRY_BYTES * (containers + len(spec.volumes or ()))
    return total


def encode(version: str, response: AdmissionResponse) -> bytes:
    """Write the answer in the version received; no patch keys, which a validating answer must not carry."""
    answer: dict[str, Any] = {"uid": response.uid, "allowed": response.allowed}
    if not response.allowed:
        answer["status"] = {"status": "Failure", "code": 403, "reason": "Forbidden", "message": response.message}
    elif response.message:
        answer["status"] = {"status": "Success", "code": 200, "message": response.message}
    if response.warnings:
        answer["warnings"] = response.warnings
    if response.audit_annotations:
        answer["auditAnnotations"] = response.audit_annotations
    return to_json({"apiVersion": version, "kind": "AdmissionReview", "response": answer})


def read_workload(value: Any) -> Workload:
    """Read one bare object from parsed JSON or YAML. Raises MalformedReview."""
    try:
        return Workload.model_validate(value)
    except ValidationError as error:
        raise MalformedReview(described(error)) from error


def _decode_large(body: bytes | bytearray) -> AdmissionReview:
    parts = large_review.take_apart(body)
    try:
        envelope = _Review[Any].model_validate_json(parts.envelope)
    except ValidationError as error:
        raise MalformedReview(f"{_UNREADABLE}: {described(error)}") from error
    if large_review.is_crowded(body):
        return _assembled(envelope, None, None, f"it holds more than {large_review.MAX_BRACKETS} objects and lists")
    value, unreadable = large_review.read_object(parts.object)
    old, _ = large_review.read_object(parts.old_object)
    return _assembled(envelope, value, old, unreadable)


def _decode_envelope(body: bytes | bytearray) -> AdmissionReview:
    try:
        envelope = _Review[Any].model_validate(from_json(body))
    except ValidationError as error:
        raise MalformedReview(f"{_UNREADABLE}: {described(error)}") from error
    except ValueError as error:
        raise MalformedReview(f"{_UNREADABLE}: {in_words(error)}") from error
    value, unreadable = _object(envelope.request.object)
    old, _ = _object(envelope.request.oldObject)
    return _assembled(envelope, value, old, unreadable)


def _assembled(
    envelope: _Review[Any], value: Workload | None, old: Workload | None, unreadable: str | None
) -> AdmissionReview:
    fields = {**dict(envelope.request), "object": value, "oldObject": old}
    request = AdmissionRequest.model_construct(**fields, unreadable=unreadable)
    return AdmissionReview.model_construct(apiVersion=envelope.apiVersion, kind=envelope.kind, request=request)


def _object(value: Any) -> tuple[Workload | None, str | None]:
    if value is None:
        return None, None
    try:
        return read_workload(value), None
    except MalformedReview as error:
        return None, str(error)
