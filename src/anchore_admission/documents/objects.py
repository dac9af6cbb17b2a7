"""Contents of a parsed document: one Kubernetes object, a List of them, or an AdmissionReview about one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from anchore_admission.errors import MalformedReview
from anchore_admission.models.review import GroupVersionKind
from anchore_admission.models.workload import Metadata

DEFAULT_NAMESPACE = "default"
_NAMESPACE = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_LIST = "List"
_POD_PARTS = frozenset({"containers", "initcontainers", "container", "podtemplate", "podtemplatespec", "podspec"})
_IMAGE_IN_TEXT = re.compile(r"\bimage[\"']?\s{0,20}:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Requester:
    """The namespace and user of a review by hand, where the object does not name them."""

    namespace: str = DEFAULT_NAMESPACE
    user: str = ""
    groups: tuple[str, ...] = ()


def is_namespace(text: str) -> bool:
    """Return True for a name that a namespace may have; a rule for namespaces never matches any other."""
    return bool(_NAMESPACE.fullmatch(text))


def opened(document: Any) -> Iterator[Any]:
    """Yield the objects of a List, or the document itself.

    Like kubectl, treat a document with ``items`` as a List, whatever its kind. If the kind does not end in ``List``, as
    in a Pod with ``items``, also yield the document itself, because other clients send it as an object.
    """
    return (value for _, value in opened_with_paths(document))


def opened_with_paths(document: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield what ``opened`` does, each with the keys and indexes that lead to it."""
    kind = _text(_mapping(document).get("kind"))
    items = _mapping(document).get("items", ())
    if items is None and kind.endswith(_LIST):
        return
    if not isinstance(items, list):
        yield path, document
        return
    if not kind.endswith(_LIST):
        yield path, {key: value for key, value in document.items() if key != "items"}
    for index, item in enumerate(items):
        value = _with_kind_of_list(item, kind, document.get("apiVersion"))
        yield from opened_with_paths(value, (*path, "items", index))


def _with_kind_of_list(item: Any, kind: str, version: Any) -> Any:
    """Add kind and version of the list, which the API server omits from the items of a PodList.

    Source: k8s.io/apimachinery, unstructured.
    """
    named = kind.removesuffix(_LIST)
    if not isinstance(item, dict) or item.get("kind") or item.get("apiVersion") or not named:
        return item
    return {**item, "kind": named, "apiVersion": version}


def under_review(value: Any, requester: Requester) -> tuple[Any, GroupVersionKind | None, Requester]:
    """Return the object of an AdmissionReview, its kind, and the user who sent it; anything else as it is.

    The kind is the one that the request names, as for the webhook; None for a value that is no Kubernetes object.

    Raises:
        MalformedReview: an AdmissionReview that holds no object, such as one about a DELETE, or one of another kind
            or namespace than its request names.
    """
    kind = kind_of(value)
    if kind is None or not is_review(kind):
        return value, kind, requester
    request = _mapping(value.get("request"))
    if request.get("object") is None:
        raise MalformedReview("an AdmissionReview that holds no object")
    user = _mapping(request.get("userInfo"))
    groups = user.get("groups")
    named = _mapping(request.get("kind"))
    requested = GroupVersionKind(
        group=_text(named.get("group")), version=_text(named.get("version")), kind=_text(named.get("kind"))
    )
    written = kind_of(request["object"])
    # Otherwise, an object could hide its images behind the name of a kind that has none.
    if requested.kind and written and (requested.group, requested.kind) != (written.group, written.kind):
        raise MalformedReview("an AdmissionReview whose object is of another kind than its request names")
    namespace, own = _text(request.get("namespace")), naming(request["object"]).namespace
    if namespace and own and namespace != own:
        raise MalformedReview("an AdmissionReview whose object is in another namespace than its request names")
    requester = Requester(
        namespace=namespace or requester.namespace,
        user=_text(user.get("username")) or requester.user,
        groups=tuple(map(_text, groups)) if isinstance(groups, list) else requester.groups,
    )
    return request["object"], requested if requested.kind else written, requester


def is_review(kind: GroupVersionKind) -> bool:
    return (kind.group, kind.kind) == ("admission.k8s.io", "AdmissionReview")


def kind_of(value: Any) -> GroupVersionKind | None:
    """Return the kind of a Kubernetes object, None for any other value."""
    if not isinstance(value, dict):
        return None
    version, kind = value.get("apiVersion"), value.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str) or not kind:
        return None
    group, slash, number = version.rpartition("/")
    return GroupVersionKind(group=group if slash else "", version=number, kind=kind)


def shows_images(value: Any) -> bool:
    """Return True if an object of any kind has a key about images or containers, or a text that holds such YAML.

    Labels and annotations do not count. The walk keeps its own stack: custom resources may nest deeply.
    """
    rest: list[Any] = [{key: part for key, part in _mapping(value).items() if key != "metadata"}]
    while rest:
        part = rest.pop()
        if isinstance(part, dict):
            if any(_is_about_images(key, inner) for key, inner in part.items()):
                return True
            rest.extend(part.values())
        elif isinstance(part, list):
            rest.extend(part)
        elif isinstance(part, str) and _IMAGE_IN_TEXT.search(part):
            return True
    return False


def _is_about_images(key: str, value: Any) -> bool:
    return bool(value) and ("image" in key.lower() or key.lower() in _POD_PARTS)


def naming(value: Any) -> Metadata:
    """Return the name and namespace of an object of any kind, as far as they can be read."""
    metadata = _mapping(_mapping(value).get("metadata"))
    name, generated, namespace = (_text(metadata.get(key)) or None for key in ("name", "generateName", "namespace"))
    return Metadata(name=name, generateName=generated, namespace=namespace)


def name_of(value: Any) -> str:
    return _text(_mapping(value.get("metadata")).get("name"))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
