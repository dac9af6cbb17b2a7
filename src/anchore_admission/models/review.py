"""AdmissionReview on the wire: decode the API server's call, encode the response.

Source: k8s.io/api/admission/v1 and v1beta1, and the API server's checks of a response
(k8s.io/apiserver, pkg/admission/plugin/webhook/request).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, GetPydanticSchema, ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from anchore_admission.errors import MalformedReview
from anchore_admission.models import large_review
from anchore_admission.models.problems import described, problems_of
from anchore_admission.models.workload import Metadata, PodTemplate, Shape, Unreadable, Workload

Version = Literal["admission.k8s.io/v1", "admission.k8s.io/v1beta1"]
LARGE = 64 * 1024
"""Bytes above which a body is read without building all of its values."""
ENTRY_BYTES = 1024
"""Memory of one container, volume or owner during a review: measured with and without an image."""
_KEY_BYTES = 200
_GROUP_BYTES = 64
_MAX_UID = 256
_MALFORMED = "not a readable AdmissionReview"
_OBJECTS = {("request", "object"), ("request", "oldObject")}


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


_READ_AS_WORKLOAD = GetPydanticSchema(lambda _, read: read(Workload | None))
"""Only this module makes an ``Unreadable``; no JSON is read as one."""


class AdmissionRequest(Shape):
    """The request that the API server asks to admit."""

    uid: Annotated[str, Field(min_length=1, max_length=_MAX_UID)]
    kind: GroupVersionKind
    resource: GroupVersionResource = GroupVersionResource()
    subResource: str | None = None
    name: str | None = None
    namespace: str | None = None
    operation: str
    userInfo: UserInfo | None = None
    object: Annotated[Workload | Unreadable | None, _READ_AS_WORKLOAD] = None
    oldObject: Workload | None = None
    dryRun: bool | None = None


class AdmissionReview(Shape):
    """The envelope of a call."""

    apiVersion: Version
    kind: Literal["AdmissionReview"]
    request: AdmissionRequest


@dataclass(frozen=True, slots=True)
class AdmissionResponse:
    """The verdict on a request.

    The API server shows ``message`` for a denial, ``warnings`` in either case, and keeps the audit annotations.
    """

    uid: str
    allowed: bool
    message: str = ""
    warnings: tuple[str, ...] = ()
    audit_annotations: Mapping[str, str] = field(default_factory=dict)


def decode(body: bytes | bytearray) -> AdmissionReview:
    """Read an AdmissionReview of either version.

    A readable envelope around an unreadable object is a review whose object is ``Unreadable``: the workload is denied,
    the call is not rejected. An unreadable old object counts as absent, so that every image is judged.

    Raises:
        MalformedReview: the envelope cannot be read; the text says where.
    """
    if len(body) > LARGE:
        return _decode_large(body)
    try:
        return AdmissionReview.model_validate_json(body)
    except ValidationError as error:
        problems = problems_of(error)
        in_envelope = [problem for problem in problems if problem["loc"][:2] not in _OBJECTS]
        if in_envelope:
            raise MalformedReview(f"{_MALFORMED}: {described(in_envelope)}") from error
    return _without_unreadable(body, problems)


def decode_start(start: bytes | bytearray, reason: str) -> AdmissionReview | None:
    """Read the first part of a review, up to its object; ``reason`` explains why the rest is not read.

    Returns None unless everything up to the object can be read, as in what API servers send. The object is
    ``Unreadable``; its metadata is known as far as the part goes.
    """
    document = large_review.read_start(start)
    request = document.get("request") if document else None
    if document is None or not isinstance(request, dict) or "object" not in request:
        return None
    value = request.pop("object")
    request.pop("oldObject", None)
    try:
        review = AdmissionReview.model_validate(document)
    except ValidationError:
        return None
    return _with(review, {"object": Unreadable(reason, _metadata(value))})


def held_bytes(request: AdmissionRequest) -> int:
    """Estimate the memory of a decoded request without its texts: three bytes of a body may become 500."""
    user = request.userInfo
    total = _GROUP_BYTES * len(user.groups) if user and user.groups else 0
    for workload in (request.object, request.oldObject):
        if isinstance(workload, Workload):
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
    """Write the response in the version received; without patch keys, which a validating webhook must not send."""
    encoded: dict[str, Any] = {"uid": response.uid, "allowed": response.allowed}
    if not response.allowed:
        # Without a code, the API server reports 400; kubectl prints "(Forbidden)" for the reason, not for the code.
        encoded["status"] = {"status": "Failure", "code": 403, "reason": "Forbidden", "message": response.message}
    elif response.message:
        # The API server ignores it. The original controller reported passive mode's digest here, too.
        encoded["status"] = {"status": "Success", "code": 200, "message": response.message}
    if response.warnings:
        encoded["warnings"] = response.warnings
    if response.audit_annotations:
        encoded["auditAnnotations"] = response.audit_annotations
    # The API server fails a v1 call whose response differs in apiVersion, kind or uid.
    return to_json({"apiVersion": version, "kind": "AdmissionReview", "response": encoded})


def read_workload(value: Any) -> Workload:
    """Read one bare object from parsed JSON or YAML. Raises MalformedReview."""
    try:
        return Workload.model_validate(value)
    except ValidationError as error:
        raise MalformedReview(described(problems_of(error))) from error


def _without_unreadable(body: bytes | bytearray, problems: Sequence[ErrorDetails]) -> AdmissionReview:
    """Read a review again without the objects that have problems."""
    document = from_json(body)
    for _, name in {problem["loc"][:2] for problem in problems}:
        document["request"][name] = None
    review = AdmissionReview.model_validate(document)
    of_object = [problem for problem in problems if problem["loc"][1] == "object"]
    return _with(review, {"object": Unreadable(described(of_object, below=2))}) if of_object else review


def _decode_large(body: bytes | bytearray) -> AdmissionReview:
    parts = large_review.take_apart(body)
    try:
        review = AdmissionReview.model_validate_json(parts.envelope)
    except ValidationError as error:
        raise MalformedReview(f"{_MALFORMED}: {described(problems_of(error))}") from error
    if large_review.is_crowded(body):
        too_many = f"it holds more than {large_review.MAX_BRACKETS} objects and lists"
        return _with(review, {"object": Unreadable(too_many)})
    old = large_review.read_object(parts.old_object)
    old = None if isinstance(old, Unreadable) else old
    return _with(review, {"object": large_review.read_object(parts.object), "oldObject": old})


def _with(review: AdmissionReview, objects: dict[str, Workload | Unreadable | None]) -> AdmissionReview:
    return review.model_copy(update={"request": review.request.model_copy(update=objects)})


def _metadata(value: Any) -> Metadata | None:
    try:
        return Workload.model_validate({"metadata": value["metadata"]}).metadata
    except (LookupError, TypeError, ValidationError):
        return None
