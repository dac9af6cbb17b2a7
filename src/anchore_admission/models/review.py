"""AdmissionReview on the wire: decode the API server's call, encode the response.

Source: k8s.io/api/admission/v1 and v1beta1, and the API server's checks of a response
(k8s.io/apiserver, pkg/admission/plugin/webhook/request).
"""

import base64
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from pydantic_core import from_json

from anchore_admission.errors import MalformedReview
from anchore_admission.models import large_review
from anchore_admission.models.problems import described, in_words, problems_of
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


class GroupVersionKind(Shape, frozen=True):
    group: str = ""
    version: str = ""
    kind: str = ""


class GroupVersionResource(Shape, frozen=True):
    group: str = ""
    version: str = ""
    resource: str = ""


class UserInfo(Shape, frozen=True):
    username: str | None = None
    groups: list[str] | None = None


class AdmissionRequest(Shape, frozen=True, kw_only=True):
    """The request that the API server asks to admit."""

    uid: Annotated[str, Meta(min_length=1, max_length=_MAX_UID)]
    kind: GroupVersionKind
    resource: GroupVersionResource = GroupVersionResource()
    subResource: str | None = None
    name: str | None = None
    namespace: str | None = None
    operation: str
    userInfo: UserInfo | None = None
    object: Workload | Unreadable | None = None
    oldObject: Workload | None = None
    dryRun: bool | None = None


class AdmissionReview(Shape, frozen=True):
    """The envelope of a call."""

    apiVersion: Version
    kind: Literal["AdmissionReview"]
    request: AdmissionRequest


class _RequestOnTheWire(AdmissionRequest, frozen=True, kw_only=True):
    """A request as JSON can be read: only this module makes an ``Unreadable``."""

    object: Workload | None = None


class _ReviewOnTheWire(AdmissionReview, frozen=True):
    request: _RequestOnTheWire


_reviews = msgspec.json.Decoder(_ReviewOnTheWire)
_REVIEW = msgspec.inspect.type_info(_ReviewOnTheWire)
_WORKLOAD = msgspec.inspect.type_info(Workload)


class Replacement(msgspec.Struct, frozen=True):
    """A new value for an existing field of the object; ``path`` is its JSON pointer (RFC 6901)."""

    path: str
    value: str


class AdmissionResponse(msgspec.Struct, frozen=True):
    """The verdict on a request.

    The API server shows ``message`` for a denial, ``warnings`` in either case, and keeps the audit annotations.
    ``patch`` is for a mutating webhook only.
    """

    uid: str
    allowed: bool
    message: str = ""
    warnings: tuple[str, ...] = ()
    audit_annotations: Mapping[str, str] = {}
    patch: tuple[Replacement, ...] = ()


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
        # msgspec does not check the encoding of the members that it skips.
        return _reviews.decode(body if body.isascii() else body.decode())
    except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors
        return _decode_with_problems(body)


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
        review = msgspec.convert(document, _ReviewOnTheWire)
    except msgspec.ValidationError:
        return None
    return _with(review, object=Unreadable(reason, _metadata(value)))


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
    """Write the response in the version received; without patch keys unless there is a patch.

    A validating webhook must not send them, and ``patch`` without ``patchType`` fails the call of a mutating one.
    """
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
    if response.patch:
        operations = [{"op": "replace", "path": each.path, "value": each.value} for each in response.patch]
        encoded |= {"patchType": "JSONPatch", "patch": base64.b64encode(msgspec.json.encode(operations)).decode()}
    # The API server fails a v1 call whose response differs in apiVersion, kind or uid.
    return msgspec.json.encode({"apiVersion": version, "kind": "AdmissionReview", "response": encoded})


def encode_request(request: AdmissionRequest, value: Any) -> bytes:
    """Write the review of a request that was made by hand, about the object ``value`` from a file.

    It is empty if the object cannot be written as JSON.
    """
    kind, user = request.kind, request.userInfo
    written = {
        "uid": request.uid,
        "kind": kind,
        # So are the resources of all kinds that hold Pods named.
        "resource": GroupVersionResource(kind.group, kind.version, f"{kind.kind.lower()}s"),
        "name": request.name,
        "namespace": request.namespace,
        "operation": request.operation,
        "userInfo": {"username": user.username, "groups": user.groups} if user else {},
        "object": value,
        "dryRun": True,
    }
    try:
        return msgspec.json.encode({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": written})
    except (TypeError, ValueError, OverflowError, RecursionError):
        return b""


def read_workload(value: Any) -> Workload:
    """Read one bare object from parsed JSON or YAML. Raises MalformedReview."""
    try:
        return msgspec.convert(value, Workload)
    except (msgspec.ValidationError, RecursionError) as error:
        problems = list(problems_of(value, _WORKLOAD))
        raise MalformedReview(described(problems) or in_words(error)) from error


def _decode_with_problems(body: bytes | bytearray) -> AdmissionReview:
    """Read a review that may have problems: name those of the envelope, leave out the objects that have some."""
    try:
        document = from_json(body)
        problems = list(problems_of(document, _REVIEW))
        in_envelope = [problem for problem in problems if problem.place[:2] not in _OBJECTS]
        if in_envelope:
            raise MalformedReview(f"{_MALFORMED}: {described(in_envelope)}")
        for _, name in {problem.place[:2] for problem in problems}:
            document["request"][name] = None
        review: AdmissionReview = msgspec.convert(document, _ReviewOnTheWire)
    except ValueError as error:
        raise MalformedReview(f"{_MALFORMED}: {in_words(error)}") from error
    of_object = [problem for problem in problems if problem.place[1] == "object"]
    return _with(review, object=Unreadable(described(of_object, below=2))) if of_object else review


def _decode_large(body: bytes | bytearray) -> AdmissionReview:
    parts = large_review.take_apart(body)
    # Without its objects, the envelope is small.
    review = _decode_with_problems(parts.envelope)
    if large_review.is_crowded(body):
        too_many = f"it holds more than {large_review.MAX_BRACKETS} objects and lists"
        return _with(review, object=Unreadable(too_many))
    old = large_review.read_object(parts.old_object)
    old = None if isinstance(old, Unreadable) else old
    return _with(review, object=large_review.read_object(parts.object), oldObject=old)


def _with(review: AdmissionReview, **objects: Workload | Unreadable | None) -> AdmissionReview:
    return msgspec.structs.replace(review, request=msgspec.structs.replace(review.request, **objects))


def _metadata(value: Any) -> Metadata | None:
    try:
        return msgspec.convert({"metadata": value["metadata"]}, Workload).metadata
    except (LookupError, TypeError, msgspec.ValidationError):
        return None
