"""Labels of namespaces that are given: by a file, or by the Namespace objects among manifests."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from anchore_admission.documents.objects import is_namespace, kind_of, name_of, opened
from anchore_admission.documents.reader import load_documents
from anchore_admission.errors import ConfigurationError, DocumentError, Problem
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.namespaces import Labels
from anchore_admission.text import shown

NAME_LABEL: Final = "kubernetes.io/metadata.name"
"""The label with the namespace's name, which the API server sets on every namespace."""
_SHOWN = 63


class KnownNamespaces:
    """The ``NamespaceLabels`` of those given; any other namespace is not known."""

    def __init__(self, labels: Mapping[str, Labels]) -> None:
        self._labels = labels

    def replace(self, labels: Mapping[str, Labels]) -> None:
        """Replace all labels; may be called from any thread."""
        self._labels = labels

    async def labels_of(self, namespace: str, _deadline: Deadline, *, may_ask: bool) -> Labels | None:  # noqa: ARG002 - the port's
        return self._labels.get(namespace)


def parse_namespace_labels(text: str | bytes, source: str) -> dict[str, Labels]:
    """Read a mapping of namespaces to their labels, or Namespace objects as kubectl prints them.

    Raises ConfigurationError with every problem.
    """
    try:
        documents = load_documents(text, source=source, aliases=False)
    except DocumentError as error:
        raise ConfigurationError(source, error.problems) from error
    labels: dict[str, Labels] = {}
    problems: list[Problem] = []
    for document in documents:
        if kind_of(document) is None and isinstance(document, dict):
            problems += _problems(document)
            labels |= {name: _with_name(name, given) for name, given in document.items()} if not problems else {}
        else:
            declared = declared_namespaces([document])
            labels |= declared
            if not declared:
                problems.append(Problem("", "expected a mapping of namespaces to their labels, or Namespace objects"))
    if problems or not labels:
        raise ConfigurationError(source, problems or [Problem("", "names no namespace")])
    return labels


def declared_namespaces(documents: Iterable[Any]) -> dict[str, Labels]:
    """Return the labels of the Namespace objects among documents; of several with one name, those of the last."""
    found = (value for document in documents for value in opened(document))
    return {name_of(value): _with_name(name_of(value), _labels(value)) for value in found if _is_namespace(value)}


def _is_namespace(value: Any) -> bool:
    kind = kind_of(value)
    if kind is None or (kind.group, kind.kind) != ("", "Namespace") or not isinstance(value.get("metadata"), dict):
        return False
    return is_namespace(name_of(value)) and not list(_wrong_labels("", _labels(value)))


def _labels(value: Any) -> Any:
    return value["metadata"].get("labels")


def _with_name(name: str, labels: Labels | None) -> Labels:
    return {**(labels or {}), NAME_LABEL: name}


def _problems(document: Mapping[Any, Any]) -> list[Problem]:
    """Return the problems of a mapping; values are not repeated."""
    names = [Problem(_place(name), "expected the name of a namespace") for name in document if not _is_name(name)]
    return [*names, *(problem for name, labels in document.items() for problem in _wrong_labels(_place(name), labels))]


def _is_name(name: object) -> bool:
    return isinstance(name, str) and is_namespace(name)


def _wrong_labels(path: str, labels: object) -> Iterator[Problem]:
    if labels is None:
        return
    if not isinstance(labels, dict):
        yield Problem(path, "expected a mapping of labels to their values")
        return
    for key, value in labels.items():
        if not isinstance(key, str) or not isinstance(value, str):
            yield Problem(f"{path}.{_place(key)}", "expected a text; put the value in quotes")


def _place(key: object) -> str:
    return shown(str(key), _SHOWN)
