"""Large AdmissionReviews, read without building what decides nothing, or from their first part only.

pydantic builds every value of a document before it looks at the few that matter: up to 16 bytes of memory for each byte
of the body, for a second and more. msgspec skips what is not asked for. The skipped parts cost no memory then, and the
event loop is held for about 2 ms per MiB.
"""

import types
import typing
from typing import Annotated, Any

import msgspec
from pydantic import ValidationError
from pydantic_core import PydanticUndefined, from_json

from anchore_admission.errors import MalformedReview
from anchore_admission.models.problems import described, in_words
from anchore_admission.models.workload import Shape, Workload

MAX_BRACKETS = 400_000
"""Objects and lists in one review, more or less: brackets in texts count, too."""
MAX_ENVELOPE = 1024 * 1024
"""Bytes of a review beside its objects."""
MAX_KEPT = 1024 * 1024
"""Bytes of what an object holds of names, images, labels and annotations."""


def _struct(shape: type[Shape]) -> type[msgspec.Struct]:
    """A msgspec type with the fields of a shape."""
    fields = []
    for name, field in shape.model_fields.items():
        default = None if field.default is PydanticUndefined else field.default
        fields.append((name, _narrowed(field.annotation), default))
    return msgspec.defstruct(shape.__name__, fields)


def _narrowed(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, Shape):
        return _struct(annotation)
    if typing.get_origin(annotation) is Annotated:
        return _narrowed(typing.get_args(annotation)[0])
    origin, arguments = typing.get_origin(annotation), tuple(map(_narrowed, typing.get_args(annotation)))
    if origin in {types.UnionType, typing.Union}:
        return typing.Union[arguments]  # noqa: UP007 - its members are known at run time only
    return origin[arguments] if origin in {list, dict} else annotation


_ENVELOPE_FIELDS = (
    *("uid", "kind", "resource", "subResource", "name", "namespace", "operation", "userInfo", "object", "oldObject"),
    "dryRun",
)
_Request = msgspec.defstruct("Request", [(name, msgspec.Raw, msgspec.Raw(b"")) for name in _ENVELOPE_FIELDS])
_Review = msgspec.defstruct(
    "AdmissionReview",
    [("apiVersion", msgspec.Raw, msgspec.Raw(b"")), ("kind", msgspec.Raw, msgspec.Raw(b"")), ("request", _Request)],
    kw_only=True,
)
_reviews = msgspec.json.Decoder(_Review)
_workloads = msgspec.json.Decoder(_struct(Workload))


class Parts(typing.NamedTuple):
    """A review taken apart: its envelope as JSON, without the objects, and these as views of the body."""

    envelope: bytes
    object: msgspec.Raw
    old_object: msgspec.Raw


def take_apart(body: bytes | bytearray) -> Parts:
    """Separate the objects from what stands around them. Raises MalformedReview."""
    try:
        review: Any = _reviews.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MalformedReview(f"not a readable AdmissionReview: {in_words(error)}") from error
    members = {name: getattr(review.request, name) for name in _ENVELOPE_FIELDS}
    objects = members.pop("object"), members.pop("oldObject")
    outer = {"apiVersion": review.apiVersion, "kind": review.kind}
    if sum(map(_size, (*members.values(), *outer.values()))) > MAX_ENVELOPE:
        raise MalformedReview(f"not a readable AdmissionReview: more than {MAX_ENVELOPE} bytes beside its objects")
    return Parts(_joined({**outer, "request": msgspec.Raw(_joined(members))}), *objects)


def is_crowded(body: bytes | bytearray) -> bool:
    """Return whether a body may hold more values than memory is kept for."""
    return body.count(b"{") + body.count(b"[") > MAX_BRACKETS


def read_object(raw: msgspec.Raw) -> tuple[Workload | None, str | None]:
    """Read an object; the second value says why it cannot be read."""
    if _size(raw) <= len(b"null"):
        return None, None if bytes(raw) in {b"", b"null"} else "expected an object"
    try:
        narrow = _workloads.decode(raw)
        if len(msgspec.json.encode(narrow)) > MAX_KEPT:
            return None, f"its names, images, labels and annotations are longer than {MAX_KEPT} bytes"
        return Workload.model_validate(msgspec.to_builtins(narrow)), None
    except ValidationError as error:
        return None, described(error)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return None, in_words(error)


def read_start(start: bytes | bytearray) -> dict[str, Any] | None:
    """The members of the request in the first part of a review, as far as they go; None where it cannot be read.

    API servers write what tells the request apart first, and the objects behind it.
    """
    try:
        review = from_json(start, allow_partial=True)
    except ValueError:
        return None
    return review if isinstance(review, dict) else None


def _size(raw: msgspec.Raw) -> int:
    return memoryview(raw).nbytes


def _joined(members: dict[str, msgspec.Raw]) -> bytes:
    return b"{%s}" % b",".join(b'"%s":%s' % (name.encode(), bytes(raw)) for name, raw in members.items() if _size(raw))
