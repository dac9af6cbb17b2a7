"""Read recorded requests from lines of JSON: AdmissionReviews, and the events of an API server's audit log.

Source of the events: k8s.io/apiserver, pkg/apis/audit/v1.
"""

import codecs
from collections import OrderedDict
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import msgspec
from msgspec import structs

from anchore_admission.core import workload
from anchore_admission.errors import MalformedReview
from anchore_admission.models.large_review import is_crowded, read_object
from anchore_admission.models.review import AdmissionRequest, GroupVersionKind, UserInfo, decode
from anchore_admission.models.workload import Shape, Unreadable, Workload
from anchore_admission.services.replay.entries import Entry, LeftOut, Recorded, Unread

_AUDIT = "audit.k8s.io/v1"
_MOST_KNOWN = 10_000
"""Objects whose last state in the log is remembered."""
_LARGEST_KNOWN = 8 * 1024
"""Bytes of such a state; the next update of a larger object is judged as a whole."""
_NOT_A_LINE = "expected one AdmissionReview or audit event as JSON on each line (jq -c . FILE writes such lines)"
_NONE = msgspec.Raw(b"")
_PLURALS = {
    (group, "podtemplates" if kind == "PodTemplate" else f"{kind.lower()}s"): kind
    for group, kind in workload.KINDS
    if kind != "EphemeralContainers"
}
_JUDGED_VERBS = frozenset({"create", "update", "patch"})
_JUDGED_SUBRESOURCES = frozenset({"", "ephemeralcontainers"})


class _Head(Shape, frozen=True):
    apiVersion: str | None = None  # noqa: N815 - Kubernetes' name
    kind: str | None = None


class _Events(Shape, frozen=True):
    items: list[msgspec.Raw] | None = None


class _Reference(Shape, frozen=True, rename="camel"):
    resource: str | None = None
    namespace: str | None = None
    name: str | None = None
    api_group: str | None = None
    api_version: str | None = None
    subresource: str | None = None


class _Status(Shape, frozen=True):
    code: int | None = None


class _Event(Shape, frozen=True, rename={"audit_id": "auditID", "request_uri": "requestURI"}):
    """The members of an audit event that a review needs. Other members, such as request headers, are never read."""

    audit_id: str | None = None
    stage: str | None = None
    verb: str | None = None
    request_uri: str | None = None
    user: UserInfo | None = None
    impersonatedUser: UserInfo | None = None  # noqa: N815 - Kubernetes' name
    objectRef: _Reference | None = None  # noqa: N815
    responseStatus: _Status | None = None  # noqa: N815
    requestObject: msgspec.Raw = _NONE  # noqa: N815
    responseObject: msgspec.Raw = _NONE  # noqa: N815


class RecordedRequests:
    """Reads lines in their order.

    The audit log holds no old objects. The last state of the same object in the log stands in for it, so that an update
    that keeps its images is not judged, as in the cluster.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str, str], Workload] = OrderedDict()

    def read(self, line: bytes, source: str) -> Iterator[Entry]:
        """Read one line; it may hold an EventList, as audit webhooks send it."""
        line = line.removeprefix(codecs.BOM_UTF8)
        try:
            head = msgspec.json.decode(line, type=_Head)
            if head.kind == "EventList" and head.apiVersion == _AUDIT:
                for number, item in enumerate(msgspec.json.decode(line, type=_Events).items or (), 1):
                    yield self._event(bytes(item), f"{source}, event {number}")
                return
        except (ValueError, RecursionError):
            yield Unread(source, _NOT_A_LINE)
            return
        if head.kind == "Event" and head.apiVersion == _AUDIT:
            yield self._event(line, source)
        elif head.kind == "AdmissionReview":
            yield _review(line, source)
        else:
            yield Unread(source, _NOT_A_LINE)

    def _event(self, text: bytes, source: str) -> Entry:
        try:
            event = msgspec.json.decode(text, type=_Event)
        except (ValueError, RecursionError):
            return Unread(source, "not a readable audit event")
        reference = event.objectRef or _Reference()
        kind = _PLURALS.get((reference.api_group or "", reference.resource or ""))
        is_judged = event.verb in _JUDGED_VERBS and (reference.subresource or "") in _JUDGED_SUBRESOURCES
        if kind is None or not is_judged or event.stage != "ResponseComplete":
            return LeftOut.OTHER_EVENT
        code = (event.responseStatus and event.responseStatus.code) or HTTPStatus.OK
        if code >= HTTPStatus.BAD_REQUEST and code != HTTPStatus.FORBIDDEN:
            return LeftOut.REJECTED
        if is_crowded(text):
            return Unread(source, "its object holds too many values")
        if event.verb == "patch" and code == HTTPStatus.FORBIDDEN:
            return LeftOut.DENIED_PATCH
        value = _object(event, kind)
        if isinstance(value, LeftOut):
            return value
        request = _request(event, reference, kind, value, is_new=event.verb == "create" or code == HTTPStatus.CREATED)
        return self._with_old_object(request, source, is_kept=code < HTTPStatus.BAD_REQUEST)

    def _with_old_object(self, request: AdmissionRequest, source: str, *, is_kept: bool) -> Recorded:
        key = (request.kind.kind, request.namespace or "", request.name or "")
        old = self._last.get(key)
        if is_kept and not request.dryRun and request.name and isinstance(request.object, Workload):
            self._keep(key, request.object)
        if request.operation != "UPDATE":
            return Recorded(request, source)
        return Recorded(structs.replace(request, oldObject=old), source, assumes_new=old is None)

    def _keep(self, key: tuple[str, str, str], value: Workload) -> None:
        # Only the images are compared with those of the next update.
        value = structs.replace(value, metadata=None)
        self._last.pop(key, None)
        if len(msgspec.json.encode(value)) > _LARGEST_KNOWN:
            return
        self._last[key] = value
        if len(self._last) > _MOST_KNOWN:
            self._last.popitem(last=False)


def _review(line: bytes, source: str) -> Entry:
    try:
        request = decode(line).request
    except MalformedReview as error:
        return Unread(source, str(error))
    return Recorded(request, source)


def _object(event: _Event, kind: str) -> Workload | Unreadable | LeftOut:
    """Return the object of an event: as it was stored if the log holds that, else as it was sent."""
    # What was stored is what the webhook saw: with defaults, and changed by mutating webhooks.
    if _kind_of(event.responseObject) == kind:
        return read_object(event.responseObject) or LeftOut.NO_OBJECT
    if event.verb == "patch":
        return LeftOut.NO_RESULT if bytes(event.requestObject) else LeftOut.NO_OBJECT
    return read_object(event.requestObject) or LeftOut.NO_OBJECT


def _kind_of(raw: msgspec.Raw) -> str | None:
    """Return the kind of an object; a failed request is answered with a Status."""
    try:
        return msgspec.json.decode(raw, type=_Head).kind if bytes(raw) else None
    except (ValueError, RecursionError):
        return None


def _request(
    event: _Event, reference: _Reference, kind: str, value: Workload | Unreadable, *, is_new: bool
) -> AdmissionRequest:
    # Clients choose their addresses: only the query is read, for which no text is an error.
    query: dict[str, Any] = parse_qs((event.request_uri or "").partition("?")[2])
    metadata = value.metadata
    return AdmissionRequest(
        uid=event.audit_id or "audit",
        kind=GroupVersionKind(reference.api_group or "", reference.api_version or "", kind),
        subResource=reference.subresource,
        name=reference.name or (metadata.name if metadata else None),
        namespace=reference.namespace or (metadata.namespace if metadata else None),
        operation="CREATE" if is_new else "UPDATE",
        userInfo=event.impersonatedUser or event.user,
        object=value,
        dryRun="All" in query.get("dryRun", ()),
    )
