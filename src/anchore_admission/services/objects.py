"""What a parsed document holds: one Kubernetes object, a List of them, or an AdmissionReview about one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from anchore_admission.errors import MalformedReview
from anchore_admission.models.review import GroupVersionKind

DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True)
class Asker:
    """On whose behalf is asked, where the object itself does not say."""

    namespace: str = DEFAULT_NAMESPACE
    user: str = ""
    groups: tuple[str, ...] = ()


def opened(document: Any) -> Iterator[Any]:
    """The objects of a List of any kind, or the document itself."""
    items = document.get("items") if isinstance(document, dict) else None
    if isinstance(items, list) and str(document.get("kind", "")).endswith("List"):
        for item in items:
            yield from opened(item)
    else:
        yield document


def asked_about(value: Any, asker: Asker) -> tuple[Any, Asker]:
    """The object of an AdmissionReview, on behalf of whoever asked then; anything else as it is.

    Raises MalformedReview for an AdmissionReview that holds no object, such as one about a DELETE.
    """
    kind = kind_of(value)
    if kind is None or (kind.group, kind.kind) != ("admission.k8s.io", "AdmissionReview"):
        return value, asker
    request = _mapping(value.get("request"))
    if request.get("object") is None:
        raise MalformedReview("an AdmissionReview that holds no object")
    user = _mapping(request.get("userInfo"))
    groups = user.get("groups")
    return request["object"], Asker(
        namespace=_text(request.get("namespace")) or asker.namespace,
        user=_text(user.get("username")) or asker.user,
        groups=tuple(map(_text, groups)) if isinstance(groups, list) else asker.groups,
    )


def kind_of(value: Any) -> GroupVersionKind | None:
    """None for what is no Kubernetes object."""
    if not isinstance(value, dict):
        return None
    version, kind = value.get("apiVersion"), value.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str) or not kind:
        return None
    group, slash, number = version.rpartition("/")
    return GroupVersionKind(group=group if slash else "", version=number, kind=kind)


def name_of(value: Any) -> str:
    return _text(_mapping(value.get("metadata")).get("name"))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
