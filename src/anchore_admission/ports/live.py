"""The port to the live objects of a cluster: lists, page by page, and nothing else."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from anchore_admission.models.review import GroupVersionKind
from anchore_admission.models.workload import Unreadable, Workload


@dataclass(frozen=True, slots=True)
class LiveKind:
    """A kind of objects that can be listed; ``plural`` is its name in the API's paths."""

    kind: GroupVersionKind
    plural: str

    def __str__(self) -> str:
        return f"{self.plural}.{self.kind.group}" if self.kind.group else self.plural


class LiveObjects(Protocol):
    """The live objects of a cluster. Contract: ``tests/contract/adapters/test_live_port.py``."""

    def pages(self, listed: LiveKind, namespace: str | None) -> AsyncIterator[Sequence[Workload | Unreadable]]:
        """List the objects of a kind, of one namespace or of all. Each object is listed once. Raises ClusterError."""

    async def aclose(self) -> None:
        """Close the connections."""
