"""Read large AdmissionReviews without building unneeded values, or from their first part only.

A small review is checked for problems by building every value of it, which may take 16 bytes of memory for each byte of
the body. Here, the members that decide nothing are skipped, which blocks the event loop for about 2 ms per MiB.
"""

import types
import typing
from typing import Annotated, Any

import msgspec
from pydantic_core import from_json

from anchore_admission.errors import MalformedReview
from anchore_admission.models.problems import described, in_words, problems_of
from anchore_admission.models.workload import MAX_KEYS, Shape, Unreadable, Workload

MAX_BRACKETS = 400_000
"""Objects and lists in one review, approximately: brackets in texts count, too."""
MAX_ENVELOPE = 1024 * 1024
"""Bytes of a review without its objects."""
MAX_KEPT = 1024 * 1024
"""Bytes of the names, images, labels and annotations of an object."""


_KEYED = frozenset({"labels", "annotations"})
"""Members whose keys the author chooses: they are built after their number is known to be small."""


def _struct(shape: type[Shape]) -> type[msgspec.Struct]:
    """Return a msgspec type with the fields of a shape."""
    fields: list[tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(shape):
        if field.name in _KEYED:
            fields.append((field.name, msgspec.Raw, msgspec.Raw(b"null")))
        else:
            fields.append((field.name, _narrowed(field.type), field.default))
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


_LONGEST_ESCAPE = 6
"""Bytes that JSON may use for one byte."""
_TOO_LONG = f"its names, images, labels and annotations are longer than {MAX_KEPT} bytes"
_QUOTES = 4
"""Quotes of one key and its value."""
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
_kept_workloads = msgspec.json.Decoder(Workload)
_WORKLOAD = msgspec.inspect.type_info(Workload)


class Parts(typing.NamedTuple):
    """The parts of a review: its envelope as JSON, and its objects as views of the body."""

    envelope: bytes
    object: msgspec.Raw
    old_object: msgspec.Raw


def take_apart(body: bytes | bytearray) -> Parts:
    """Separate the objects from their envelope. Raises MalformedReview."""
    try:
        review: Any = _reviews.decode(body)
    except (ValueError, RecursionError) as error:
        raise MalformedReview(f"not a readable AdmissionReview: {in_words(error)}") from error
    members = {name: getattr(review.request, name) for name in _ENVELOPE_FIELDS}
    objects = members.pop("object"), members.pop("oldObject")
    outer = {"apiVersion": review.apiVersion, "kind": review.kind}
    if sum(map(_size, (*members.values(), *outer.values()))) > MAX_ENVELOPE:
        raise MalformedReview(f"not a readable AdmissionReview: more than {MAX_ENVELOPE} bytes beside its objects")
    return Parts(_joined({**outer, "request": msgspec.Raw(_joined(members))}), *objects)


def is_crowded(body: bytes | bytearray) -> bool:
    """Return True if a body may hold more values than there is memory for."""
    return body.count(b"{") + body.count(b"[") > MAX_BRACKETS


def read_object(raw: msgspec.Raw) -> Workload | Unreadable | None:
    """Read an object, or say why it cannot be read; None where there is none."""
    if _size(raw) <= len(b"null"):
        return None if bytes(raw) in {b"", b"null"} else Unreadable("expected an object")
    try:
        narrow = _workloads.decode(raw)
        kept = msgspec.json.encode(narrow)
        if len(kept) > _LONGEST_ESCAPE * MAX_KEPT:
            return Unreadable(_TOO_LONG)
        if any(_may_hold_more_keys(text) for metadata in _metadata(narrow) for text in metadata):
            return Unreadable(f"its labels or annotations: expected at most {MAX_KEYS} entries")
        return _read_kept(kept)
    except (ValueError, RecursionError) as error:
        return Unreadable(in_words(error))


def _read_kept(kept: bytes) -> Workload | Unreadable:
    """Read the members that matter, which are small enough to look for problems in all of them."""
    try:
        workload = _kept_workloads.decode(kept)
    except msgspec.ValidationError as error:
        problems = list(problems_of(msgspec.json.decode(kept), _WORKLOAD))
        return Unreadable(described(problems) or in_words(error))
    # Without the escapes of the original text, it may be shorter.
    if len(kept) > MAX_KEPT and len(msgspec.json.encode(workload)) > MAX_KEPT:
        return Unreadable(_TOO_LONG)
    return workload


def _metadata(narrow: Any) -> typing.Iterator[tuple[msgspec.Raw, msgspec.Raw]]:
    """Yield the labels and annotations of an object and of the templates in it."""
    templates = [narrow.template, narrow.spec and narrow.spec.template]
    for part in (narrow, *templates):
        if part and part.metadata:
            yield part.metadata.labels, part.metadata.annotations
    job = narrow.spec and narrow.spec.jobTemplate and narrow.spec.jobTemplate.spec
    if job and job.template and job.template.metadata:
        yield job.template.metadata.labels, job.template.metadata.annotations


def _may_hold_more_keys(text: msgspec.Raw) -> bool:
    """Return True if labels or annotations may have too many keys; building a million takes a second or two."""
    content = bytes(text)
    return content.count(b'"') - content.count(b'\\"') > _QUOTES * MAX_KEYS


def read_start(start: bytes | bytearray) -> dict[str, Any] | None:
    """Return the members in the first part of a review; None if it cannot be read.

    API servers write the members that identify a request first, and the objects after them.
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
