"""Wire a replay: the reviews of one configuration or two, over one memory of Anchore's answers, and a live cluster."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from anchore_admission.adapters.namespace_metrics import NamespaceMetrics
from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.errors import ClusterError, ConfigurationError, Problem
from anchore_admission.models.configuration import Configuration
from anchore_admission.ports.anchore import Anchore
from anchore_admission.ports.live import LiveObjects
from anchore_admission.services.cluster.namespaces import listed_namespaces
from anchore_admission.services.replay.accounts import OtherAccounts
from anchore_admission.services.reviews.judging import Judging
from anchore_admission.services.reviews.review import Reviews
from anchore_admission.services.reviews.rules import CurrentRules, Rules
from anchore_admission.wiring.controller import build, review_services
from anchore_admission.wiring.namespaces import NamespaceOptions


def _without_hook(configuration: Configuration) -> Configuration:
    return configuration.model_copy(update={"opa": None})


@asynccontextmanager
async def replay_reviews(
    today: Configuration | None, new: Configuration, namespaces: NamespaceOptions
) -> AsyncIterator[tuple[Reviews | None, Reviews]]:
    """Build the reviews of both configurations; accounts of the same Anchore, user and account share their answers.

    The memory and the limits of calls are those of ``today``. No decision hook is asked: of recorded requests and of
    live objects, only what concerns images is kept. Raises ConfigurationError.
    """
    today, new = today and _without_hook(today), _without_hook(new)
    async with AsyncExitStack() as stack:
        second = build(new, namespaces=namespaces)
        stack.push_async_callback(second.aclose)
        if today is None:
            yield None, second.reviews
            return
        first = build(today, namespaces=namespaces)
        stack.push_async_callback(first.aclose)
        accounts: dict[str, Anchore] = dict(first.accounts)
        names: dict[str, str] = {}
        for name, anchore in second.accounts.items():
            same = next((known for known, other in first.accounts.items() if other.identity == anchore.identity), None)
            names[name] = same or f"{name} of the new configuration"
            accounts.setdefault(names[name], anchore)
        services = review_services(
            today, CurrentRules(Rules.of(today)), accounts, first.telemetry, namespaces=first.namespaces
        )
        stack.push_async_callback(services.memory.aclose)
        gathering = OtherAccounts(services.gathering, names)
        rules = CurrentRules(Rules.of(new))
        yield services.reviews, Reviews(rules, Judging(gathering, second.namespaces), second.telemetry)


async def live_namespaces(context: str | None) -> NamespaceOptions:
    """Read the labels of all namespaces of a cluster.

    Raises ConfigurationError without access to a Kubernetes API, and if it does not list them.
    """
    from anchore_admission.adapters.kubernetes_namespaces import (  # noqa: PLC0415 - costs time and memory
        connect_namespaces,
    )

    source = connect_namespaces(NamespaceMetrics(Telemetry().registry), context)
    try:
        given, _ = await listed_namespaces(source)
    except ClusterError as error:
        why = f"their labels are needed, but cannot be listed: {error}; --namespace-labels FILE gives them otherwise"
        raise ConfigurationError("cluster", [Problem("namespaces", why)]) from error
    finally:
        await source.aclose()
    return NamespaceOptions(given=given)


@asynccontextmanager
async def live_objects(context: str | None) -> AsyncIterator[LiveObjects]:
    """Connect to a cluster. Raises ConfigurationError without access to a Kubernetes API."""
    from anchore_admission.adapters.live import connect_live  # noqa: PLC0415 - costs time and memory

    live = connect_live(context)
    try:
        yield live
    finally:
        await live.aclose()
