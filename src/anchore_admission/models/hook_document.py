"""The document that a decision hook is asked about: the AdmissionReview as it came, with our members added.

Only the maps on the way to what is left out are decoded: decoding and encoding a whole review costs a hundred times as
much.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from anchore_admission.errors import HookNotAsked
from anchore_admission.models.configuration.opa import Omitted
from anchore_admission.models.image_report import ImageReport

LARGEST: Final = 2 * 1024 * 1024
"""Bytes of a document. Requests that carry more name an old object, too, which ``omit`` can leave out."""
VERSION: Final = 1
"""The version of our members. They are added to, and never change their meaning."""
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""The annotation in which kubectl keeps the whole object, values of environment variables included."""
_CONTAINERS: Final = ("containers", "initContainers", "ephemeralContainers")
_ENV: Final = b'"env"'
_ESCAPED: Final = b"\\u00"
"""The beginning of an escape for ASCII, with which a name may be written, too."""
_SECRET: Final = (_ENV, LAST_APPLIED.encode(), _ESCAPED)
"""Texts without which an object holds nothing to leave out."""
_SECRETIVE: Final = frozenset({"env", "annotations"})
"""Members in which anything may hide if they have another shape than Kubernetes gives them."""
_ABSENT: Final = Raw(b"")


class _Variable(Struct, frozen=True, omit_defaults=True, gc=False):
    """A variable without its value. Maps would take ten times as long, and an author chooses how many there are."""

    name: str | None = None
    valueFrom: Raw = _ABSENT


_Map = dict[str, Raw]
_Edit = Callable[[Raw], Raw]
_map = msgspec.json.Decoder(_Map)
_maps = msgspec.json.Decoder(list[_Map])
_variables = msgspec.json.Decoder(list[_Variable])


def hook_document(
    body: bytes | bytearray,
    images: Sequence[ImageReport],
    namespace_labels: Mapping[str, str] | None = None,
    omitted: Collection[Omitted] = (),
) -> bytes:
    """Write the document. Members of the body that have our names are replaced.

    ``namespace_labels`` is None where they are not known, or were not needed.

    Raises:
        HookNotAsked: the body is no JSON object, or the document is larger than ``LARGEST``.
    """
    ours: dict[str, object] = {"input": VERSION}
    if namespace_labels is not None:
        ours["namespaceLabels"] = namespace_labels
    try:
        review = _map.decode(body)
        if omitted:
            _edit(review, "request", lambda request: _request(request, omitted))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HookNotAsked("the request cannot be taken apart") from error
    document = msgspec.json.encode({**review, "images": images, "anchoreAdmission": ours})
    if len(document) > LARGEST:
        raise HookNotAsked(f"the request and the facts about its images are larger than {LARGEST} bytes")
    return document


def _request(raw: Raw, omitted: Collection[Omitted]) -> Raw:
    request = _map.decode(raw)
    if Omitted.OLD_OBJECT in omitted:
        request.pop("oldObject", None)
    for name in ("object", "oldObject"):
        _edit(request, name, lambda value: _object(value, omitted))
    return _encoded(request)


def _object(raw: Raw, omitted: Collection[Omitted]) -> Raw:
    found = _map.decode(raw)
    without_env = Omitted.ENV in omitted
    if without_env or Omitted.MANAGED_FIELDS in omitted:
        _edit(found, "metadata", lambda metadata: _metadata(metadata, omitted))
    text = bytes(raw)
    if without_env and any(each in text for each in _SECRET):
        _without_env(found)
    return _encoded(found)


def _metadata(raw: Raw, omitted: Collection[Omitted]) -> Raw:
    metadata = _map.decode(raw)
    if Omitted.MANAGED_FIELDS in omitted:
        metadata.pop("managedFields", None)
    if Omitted.ENV in omitted:
        _edit(metadata, "annotations", lambda annotations: _without(annotations, LAST_APPLIED))
    return _encoded(metadata)


def _without_env(found: _Map) -> None:
    """Remove the values of environment variables from a Pod, or from the template that an object holds."""
    for name in _CONTAINERS:  # of a Pod spec, and of the kind EphemeralContainers
        _edit(found, name, _containers)
    for name in ("spec", "template", "jobTemplate"):
        _edit(found, name, _inner)


def _inner(raw: Raw) -> Raw:
    found = _map.decode(raw)
    # A template that was copied from an object may have its annotations.
    _edit(found, "metadata", lambda metadata: _metadata(metadata, (Omitted.ENV,)))
    _without_env(found)
    return _encoded(found)


def _containers(raw: Raw) -> Raw:
    containers = _maps.decode(raw)
    for container in containers:
        _edit(container, "env", lambda env: _encoded(_variables.decode(env)))
    return _encoded(containers)


def _without(raw: Raw, name: str) -> Raw:
    found = _map.decode(raw)
    return _encoded(found) if found.pop(name, None) is not None else raw


def _edit(found: _Map, name: str, edit: _Edit) -> None:
    """Replace a member by what ``edit`` makes of it.

    One of another shape stays, so that no policy overlooks it, unless it is one of those that hold what is left out.
    """
    raw = found.get(name)
    if raw is None or bytes(raw) == b"null":
        return
    try:
        edited = edit(raw)
    except msgspec.ValidationError:
        if name in _SECRETIVE:
            del found[name]
    else:
        found[name] = edited


def _encoded(value: object) -> Raw:
    return Raw(msgspec.json.encode(value))
