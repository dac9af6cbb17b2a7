"""Wire the labels of namespaces: given ones, those of a file, or those of the API server once a rule needs them."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from anchore_admission.adapters.namespace_metrics import NamespaceMetrics
from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.files import read_text
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.namespaces import Labels
from anchore_admission.ports.telemetry import WatchedSource
from anchore_admission.services.cluster.known_namespaces import KnownNamespaces, parse_namespace_labels
from anchore_admission.services.cluster.namespaces import NamespaceReflector
from anchore_admission.services.reviews.rules import CurrentRules, Rules
from anchore_admission.settings import spelled
from anchore_admission.watched import Watched

if TYPE_CHECKING:
    from anchore_admission.adapters.kubernetes_namespaces import ApiNamespaces

_TICK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class NamespaceOptions:
    """The origin of the labels: those ``given``, else those in ``file``, else those of the cluster if there is one."""

    given: Mapping[str, Labels] | None = None
    file: Path | None = None
    uses_cluster: bool = False


NO_NAMESPACES: Final = NamespaceOptions()


class WiredNamespaces:
    """The ``NamespaceLabels`` of a process. Nothing is connected before rules ``require`` it."""

    def __init__(self, options: NamespaceOptions, telemetry: Telemetry, rules: CurrentRules) -> None:
        self._rules = rules
        self._uses_cluster = options.uses_cluster
        self._telemetry = telemetry
        self._metrics: NamespaceMetrics | None = None
        self._known = KnownNamespaces(options.given) if options.given is not None else None
        self._source: ApiNamespaces | None = None
        self._reflector: NamespaceReflector | None = None
        self.watched: list[Watched[Any]] = []
        if options.file:
            self._known = KnownNamespaces({})
            self.watched = [self._followed(options.file, self._known)]

    def require(self, rules: Rules) -> None:
        """Connect to the cluster if these rules need it; may be called from any thread.

        Raises ConfigurationError if they need labels that cannot be had here.
        """
        if not rules.needs_namespace_labels or self._known or self._reflector:
            return
        if not self._uses_cluster:
            raise _missing("give --namespace-labels FILE, or review the Namespace objects too")
        from anchore_admission.adapters.kubernetes_namespaces import (  # noqa: PLC0415 - costs time and memory
            connect_namespaces,
        )

        self._metrics = self._metrics or NamespaceMetrics(self._telemetry.registry)
        try:
            self._source = connect_namespaces(self._metrics)
        except ConfigurationError as error:
            causes = "; ".join(problem.message for problem in error.problems)
            raise _missing(f"{causes}; or give {spelled('namespace_labels')}") from error
        reflector = NamespaceReflector(self._source, self._metrics, is_needed=self._is_needed)
        self._metrics.watch(lambda: float(reflector.is_synced()) if self._is_needed() else math.nan, reflector.age)
        self._reflector = reflector

    async def labels_of(self, namespace: str, deadline: Deadline, *, may_ask: bool) -> Labels | None:
        labels = self._known or self._reflector
        return await labels.labels_of(namespace, deadline, may_ask=may_ask) if labels else None

    async def run(self) -> None:
        """Follow the namespaces of the cluster, once that is required; until cancelled."""
        while not self._reflector:  # noqa: ASYNC110 - set in the thread of a reload, where an asyncio.Event is not safe
            await asyncio.sleep(_TICK_SECONDS)
        await self._reflector.run()

    async def aclose(self) -> None:
        if self._source:
            await self._source.aclose()

    def _is_needed(self) -> bool:
        return self._rules.current.needs_namespace_labels

    def _followed(self, path: Path, known: KnownNamespaces) -> Watched[Any]:
        def read() -> dict[str, Labels]:
            return parse_namespace_labels(read_text(path), str(path))

        watched = Watched("file with the labels of namespaces", read, source=str(path), use=known.replace)
        watched.start()
        self._telemetry.watch_unusable(WatchedSource.NAMESPACE_LABELS, watched.is_unusable)
        return watched


def _missing(remedy: str) -> ConfigurationError:
    problem = f"the labels of namespaces are needed (namespaceSelector, namespaceLabel), but not known here: {remedy}"
    return ConfigurationError("configuration", [Problem("rules", problem)])
