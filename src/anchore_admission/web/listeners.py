"""The process's ports: the webhook, operations, notifications from Anchore, and facts for other policy engines."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from anchore_admission.memory import memory_limit, room_for_bodies
from anchore_admission.models.configuration import Configuration
from anchore_admission.ports.telemetry import WatchedSource
from anchore_admission.services.reviews.pinning import PIN_SECONDS
from anchore_admission.settings import Settings
from anchore_admission.watched import Watched
from anchore_admission.web.admission import AdmissionEndpoint, judged_by, pinned_by
from anchore_admission.web.app import Surfaces, create_app
from anchore_admission.web.bodies import ROOM, Bodies
from anchore_admission.web.clients import ClientNames
from anchore_admission.web.facts import FactsEndpoint
from anchore_admission.web.facts_guard import FactsClients, FactsGuard, watched_facts_token
from anchore_admission.web.manual import ManualEndpoint
from anchore_admission.web.notifications import NotificationEndpoint, watched_notifications_secret
from anchore_admission.web.operations import Readiness, create_operations
from anchore_admission.web.secret_path import SecretPath, read_secret_path, watched_secret_path
from anchore_admission.web.server import Listener
from anchore_admission.web.tls import ServingCertificate
from anchore_admission.wiring.controller import Controller
from anchore_admission.wiring.facts import WiredFacts, wired_facts

logger = logging.getLogger("anchore_admission")

OPERATIONS_CONNECTIONS = 128
"""Kubelets and Prometheus need a handful; each may hold a response of 100 KiB that it does not read."""
NOTIFICATIONS_CONNECTIONS = 32
"""Anchore posts one notification at a time."""
FACTS_CONNECTIONS = 128
"""Gatekeeper keeps up to 10 for each of its Pods; Kyverno opens one for each question and leaves it idle."""


@dataclass(frozen=True, slots=True)
class WebhookPort:
    """The port for reviews; with a secret path, also its guard and its file."""

    listener: Listener
    guard: SecretPath | None = None
    watched: Sequence[Watched[Any]] = ()

    def registered_secret(self) -> str | None:
        """Return the secret of the path that is registered with API servers."""
        return self.guard.registered if self.guard else None


@dataclass(frozen=True, slots=True)
class NotificationsPort:
    """The port for Anchore's notifications, with the file of its secret."""

    listener: Listener
    watched: Sequence[Watched[Any]]


@dataclass(frozen=True, slots=True)
class FactsPort:
    """The port for facts, with the file of its tokens, and the certificate that asks clients for theirs."""

    listener: Listener
    watched: Sequence[Watched[Any]]
    services: WiredFacts


def webhook_port(settings: Settings, controller: Controller, certificate: ServingCertificate | None) -> WebhookPort:
    """Serve reviews, and the pages for people.

    Raises:
        ConfigurationError: the file of the secret path is invalid.
    """
    configuration = controller.configuration
    bodies = _bodies(configuration)
    endpoint = partial(
        AdmissionEndpoint,
        recorder=controller.telemetry,
        body_limit=configuration.limits.body,
        margin=configuration.timeouts.margin,
        bodies=bodies,
    )
    surfaces = Surfaces(
        validate=endpoint(judged_by(controller.reviews), keeps_body=controller.reviews.needs_body),
        mutate=endpoint(pinned_by(controller.pinning), most=PIN_SECONDS),
        manual=ManualEndpoint(controller.manual, bodies) if settings.docs else None,
    )
    app = create_app(surfaces)
    names = ClientNames(frozenset(settings.client_names)) if settings.client_names else None
    listener = partial(
        Listener,
        host=settings.host,
        port=settings.port,
        certificate=certificate,
        clients=names,
        on_closed=controller.telemetry.connection_closed,
    )
    if settings.secret_path_file is None:
        return WebhookPort(listener(app))
    guard = SecretPath(app, read_secret_path(settings.secret_path_file))
    watched = watched_secret_path(guard, settings.secret_path_file)
    controller.telemetry.watch_unusable(WatchedSource.SECRET_PATH, watched.is_unusable)
    return WebhookPort(listener(guard), guard, [watched])


def operations_listener(
    settings: Settings, controller: Controller, readiness: Readiness, configuration: Callable[[], Mapping[str, Any]]
) -> Listener:
    """Serve health, metrics and version, without TLS; ``configuration`` describes the one in effect."""
    return Listener(
        create_operations(readiness, controller.telemetry.exposition, controller.forget, configuration),
        settings.host,
        settings.operations_port,
        setting="operations_port",
        connections=OPERATIONS_CONNECTIONS,
        on_closed=controller.telemetry.connection_closed,
    )


def notifications_port(
    settings: Settings, controller: Controller, certificate: ServingCertificate | None
) -> NotificationsPort | None:
    """Serve Anchore's notifications on a port of their own, if there is one: Anchore needs access to no other.

    Raises:
        ConfigurationError: the file of the secret cannot be read.
    """
    if settings.notifications_port is None or settings.notifications_secret_file is None:
        return None
    endpoint = NotificationEndpoint(controller.notifications, controller.telemetry)
    watched = watched_notifications_secret(endpoint, settings.notifications_secret_file)
    controller.telemetry.watch_unusable(WatchedSource.NOTIFICATIONS_SECRET, watched.is_unusable)
    listener = Listener(
        endpoint,
        settings.host,
        settings.notifications_port,
        certificate,
        setting="notifications_port",
        connections=NOTIFICATIONS_CONNECTIONS,
        on_closed=controller.telemetry.connection_closed,
    )
    return NotificationsPort(listener, [watched])


def facts_port(settings: Settings, controller: Controller, certificate: ServingCertificate | None) -> FactsPort | None:
    """Serve the facts that other policy engines ask for, if there is a port for them, to callers that may know them.

    A port of its own keeps the engines, and strangers, away from the connections and the memory of admission.

    Raises:
        ConfigurationError: the file of the tokens cannot be read, or the API server cannot be found.
    """
    if settings.facts_port is None:
        return None
    services = wired_facts(settings, controller)
    endpoint = FactsEndpoint(services.reports, services.recorder)
    guard = FactsGuard(endpoint, services.recorder, services.accounts)
    watched: list[Watched[Any]] = []
    if settings.facts_token_file:
        watched.append(watched_facts_token(guard, settings.facts_token_file))
        controller.telemetry.watch_unusable(WatchedSource.FACTS_TOKEN, watched[0].is_unusable)
    if certificate and settings.facts_client_ca_file:
        controller.telemetry.watch_unusable(WatchedSource.FACTS_CLIENT_CA, certificate.is_unusable)
    listener = Listener(
        guard,
        settings.host,
        settings.facts_port,
        certificate,
        setting="facts_port",
        clients=FactsClients.named(settings.facts_client_names, endpoint) if settings.facts_client_names else None,
        connections=FACTS_CONNECTIONS,
        on_closed=controller.telemetry.connection_closed,
    )
    return FactsPort(listener, watched, services)


def _bodies(configuration: Configuration) -> Bodies:
    """Derive the room for requests from the container's memory limit."""
    wanted, memory = configuration.limits.body, memory_limit()
    if memory is None:
        # No limit, as on a laptop: the largest allowed body fits in any case, beside small ones.
        return Bodies(max(ROOM, 2 * wanted))
    bodies = Bodies(room_for_bodies(memory))
    if wanted > bodies.largest:
        logger.warning(
            "limits.body is %d bytes, but the memory limit of %d MiB leaves room for %d: larger reviews are denied",
            wanted,
            memory // 2**20,
            bodies.largest,
        )
    return bodies
