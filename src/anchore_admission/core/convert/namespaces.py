"""Compare a selector for namespaces with its rules, on the namespaces of a cluster."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anchore_admission.core.convert.patterns import Searched
from anchore_admission.core.rules.index import MatchIndex
from anchore_admission.core.rules.match import Circumstances
from anchore_admission.models.configuration import Match

_ANY_IMAGE = ("docker.io/library/any", "docker.io/library/any:latest")


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace of the cluster, with what the Go controller looks at."""

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The namespaces that the selector selects, and those about which its rules disagree."""

    selected: tuple[str, ...]
    different: tuple[str, ...]

    @property
    def proves_something(self) -> bool:
        """True if the selector selects some namespaces, and its rules the same."""
        return bool(self.selected) and not self.different


def compare(key: Searched, value: Searched, matches: Iterable[Any], namespaces: Sequence[Namespace]) -> Comparison:
    """Compare the selector with its rules, any of which may hold."""
    index = MatchIndex.of([Match.model_validate(match) for match in matches])
    selected = [namespace.name for namespace in namespaces if _selects(key, value, namespace)]
    ours = {
        namespace.name
        for namespace in namespaces
        if index.narrowed(Circumstances(namespace=namespace.name, namespace_labels=namespace.labels))
        .holding(_ANY_IMAGE)
        .certain
    }
    return Comparison(tuple(selected), tuple(sorted(ours.symmetric_difference(selected))))


def _selects(key: Searched, value: Searched, namespace: Namespace) -> bool:
    """Select as the Go controller does (``doesObjectMatchResourceSelector``)."""
    pairs = (*namespace.labels.items(), *namespace.annotations.items())
    if any(key.search(name) and value.search(text) for name, text in pairs):
        return True
    return key.expression.lower() == "name" and value.search(namespace.name)
