"""Wire the port for facts: its metrics, the reports, and the API server that verifies tokens of ServiceAccounts."""

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from anchore_admission.adapters.facts_metrics import FactsMetrics
from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.services.cluster.token_access import TokenAccess
from anchore_admission.services.reviews.reporting import ImageReports
from anchore_admission.settings import Settings, spelled
from anchore_admission.wiring.controller import Controller


@dataclass(frozen=True, slots=True)
class WiredFacts:
    """The services behind the port for facts. ``accounts`` is None if no API server verifies tokens."""

    reports: ImageReports
    recorder: FactsMetrics
    accounts: TokenAccess | None
    resources: AsyncExitStack

    async def aclose(self) -> None:
        """Close the connection to the cluster."""
        await self.resources.aclose()


def wired_facts(settings: Settings, controller: Controller) -> WiredFacts:
    """Wire the services. Raises ConfigurationError if tokens need a cluster, and there is no access to one."""
    reports = ImageReports(controller.rules, controller.gathering, controller.accounts.keys())
    resources = AsyncExitStack()
    accounts = None
    if settings.facts_audience:
        from anchore_admission.adapters.kubernetes_tokens import (  # noqa: PLC0415 - costs time and memory
            connect_tokens,
        )

        try:
            reviewer = connect_tokens()
        except ConfigurationError as error:
            problems = [Problem(spelled("facts_audience"), problem.message) for problem in error.problems]
            raise ConfigurationError("settings", problems) from error
        resources.push_async_callback(reviewer.aclose)
        accounts = TokenAccess(reviewer, settings.facts_audience, frozenset(settings.facts_users), time.monotonic)
    return WiredFacts(reports, FactsMetrics(controller.telemetry.registry), accounts, resources)
