"""The labels of namespaces, and the API server as their source."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from anchore_admission.ports.deadline import Deadline

Labels = Mapping[str, str]


class NamespaceLabels(Protocol):
    """The labels of namespaces, as reviews need them."""

    async def labels_of(self, namespace: str, deadline: Deadline, *, may_ask: bool) -> Labels | None:
        """Return the labels of a namespace; None if they are not known. Raises nothing.

        With ``may_ask``, the API server may be asked about a namespace that is not known yet.
        """


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace as the API server shows it."""

    name: str
    labels: Labels


@dataclass(frozen=True, slots=True)
class NamespacePage:
    """A page of the list of all namespaces; ``next`` (empty: none) leads to the next page.

    ``version`` is the version of the whole list, from which a watch continues.
    """

    namespaces: Sequence[Namespace]
    version: str
    next: str


@dataclass(frozen=True, slots=True)
class NamespaceChange:
    """An event of a watch: a namespace that is new, changed or deleted, or none if only the version advanced."""

    version: str
    namespace: Namespace | None = None
    is_deleted: bool = False


class NamespaceSource(Protocol):
    """The namespaces of a cluster.

    Every call raises a ClusterError. Contract: ``tests/contract/adapters/test_namespace_port.py``.
    """

    async def list_page(self, after: str) -> NamespacePage:
        """List the first namespaces, or those after a page. Raises ClusterExpired if that page is too old."""

    def watch(self, version: str, seconds: int) -> AsyncGenerator[NamespaceChange, None]:
        """Yield all changes since a version, for about ``seconds``.

        Raises ClusterExpired if the version is too old, and ClusterResponseInvalid for an event that cannot be read.
        """

    async def read(self, name: str) -> Namespace:
        """Read one namespace. Raises ClusterNotFound if it does not exist."""


class LiveRead(StrEnum):
    """The outcome of asking the API server about a single namespace."""

    FOUND = "found"
    NOT_FOUND = "not_found"
    ERROR = "error"
    """The API server failed or did not respond in time."""
    LIMITED = "limited"
    """It was not asked, because too many namespaces were asked about in a short time."""


class NamespaceRecorder(Protocol):
    """The reports about namespaces."""

    def namespace_error(self, *, operation: str, code: str) -> None:
        """Record a call that failed; ``code`` is a ClusterError's."""

    def namespaces_known(self, count: int) -> None:
        """Record how many namespaces are known."""

    def namespaces_listed(self) -> None:
        """Record that all namespaces were listed, at the start or because a watch could not continue."""

    def namespace_read(self, outcome: LiveRead) -> None:
        """Record that the API server was asked about a single namespace."""
