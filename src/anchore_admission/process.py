"""Brings the controller up by its settings, serves until told to stop, and takes it down in order."""

import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from anchore_admission import __version__
from anchore_admission.adapters.files import read_text
from anchore_admission.adapters.memory import memory_limit, room_for_bodies
from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.background import repeated_in_thread, supervised
from anchore_admission.core.dependency import deadlocked_namespaces
from anchore_admission.core.webhook.drift import Registration
from anchore_admission.core.webhook.pair import CertificatePair
from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.models.configuration import Configuration
from anchore_admission.ports.telemetry import WatchedSource
from anchore_admission.services.config.load import fingerprint, parse_configuration
from anchore_admission.settings import Settings, spelled, unknown_variables
from anchore_admission.watched import TICK_SECONDS, Watched, refresh_due
from anchore_admission.web.admission import AdmissionEndpoint
from anchore_admission.web.app import Surfaces, create_app
from anchore_admission.web.bodies import ROOM, Bodies
from anchore_admission.web.clients import ClientNames, SecretPath, read_secret_path, watched_secret_path
from anchore_admission.web.manual import ManualEndpoint
from anchore_admission.web.operations import Readiness, create_operations
from anchore_admission.web.server import Listener, serve
from anchore_admission.web.tls import ServingCertificate
from anchore_admission.wiring.cluster import ClusterWork, build_cluster_work
from anchore_admission.wiring.controller import Controller, build

logger = logging.getLogger("anchore_admission")

SUBMISSION_SECONDS = 5.0
"""What a stop grants to requests for analysis that wait to be sent."""
OPERATIONS_CONNECTIONS = 128
"""Kubelets and Prometheus need a handful; each may hold an answer of 100 KiB that is not read."""
_SERVING, _CERTIFICATE, _CREDENTIALS = "serving", "certificate", "credentials"


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that was read and checked before the first port is bound."""

    settings: Settings
    controller: Controller
    certificate: ServingCertificate | None
    listeners: Sequence[Listener]
    cluster: ClusterWork | None
    readiness: Readiness
    watched: Sequence[Watched[Any]]
    """The files that are read again while the process runs."""


def prepared(settings: Settings) -> Prepared:
    """Raises ConfigurationError."""
    configuration = _configuration(settings)
    controller = build(configuration, Telemetry(), wait_until_valid=True)
    certificate = _certificate(settings)
    readiness = _readiness(controller, certificate)

    def present(pair: CertificatePair) -> None:
        if certificate:
            certificate.present(pair)

    listeners = [_webhook(settings, controller, certificate), _operations(settings, controller, readiness)]
    guard = listeners[0].app

    def secret_path() -> str | None:
        return guard.registered if isinstance(guard, SecretPath) else None

    cluster = None
    if settings.uses_cluster:
        cluster = build_cluster_work(settings, controller.telemetry, present, secret_path)
    _describe(configuration, cluster.registration if cluster else None, controller.telemetry)
    _tell(settings, configuration)
    watched = [*controller.watched, *(certificate.watched if certificate else ())]
    if cluster and cluster.ca_bundle:
        watched.append(cluster.ca_bundle.watched)
    if settings.secret_path_file and isinstance(guard, SecretPath):
        secrets = watched_secret_path(guard, settings.secret_path_file)
        controller.telemetry.watch_unusable(WatchedSource.SECRET_PATH, secrets.is_unusable)
        watched.append(secrets)
    return Prepared(settings, controller, certificate, listeners, cluster, readiness, watched)


async def run(process: Prepared, *, tick: float = TICK_SECONDS) -> None:
    """Serve until SIGTERM or SIGINT; look for files that are due every ``tick`` seconds.

    Raises ConfigurationError if a port cannot be bound.
    """
    controller, readiness = process.controller, process.readiness
    controller.telemetry.watch_readiness(readiness.is_ready)
    if process.certificate:
        controller.telemetry.watch_certificate(process.certificate.not_after)
        controller.telemetry.watch_unusable(WatchedSource.CERTIFICATE, process.certificate.is_unusable)

    def on_ready(_: Sequence[int]) -> None:
        readiness.set(_SERVING, True)

    try:
        async with (
            supervised("analysis requests", controller.submissions.run),
            supervised("watching files", partial(repeated_in_thread, partial(refresh_due, process.watched), tick)),
            _reconciling(process.cluster),
        ):
            await serve(
                process.listeners,
                on_ready=on_ready,
                on_stop=lambda: readiness.set(_SERVING, False),
                linger_seconds=process.settings.shutdown_delay,
            )
            await controller.submissions.drain(SUBMISSION_SECONDS)
    finally:
        await controller.aclose()
    logger.info("stopped")


@asynccontextmanager
async def _reconciling(cluster: ClusterWork | None) -> AsyncIterator[None]:
    """Reconcile certificate and webhook configuration beside the block."""
    if cluster is None:
        yield
        return
    async with cluster.connected() as reconciler:
        async with (
            supervised("holding the Lease", reconciler.hold_lease),
            supervised("reconciling", reconciler.run),
        ):
            yield
        await reconciler.leadership.release()


def _readiness(controller: Controller, certificate: ServingCertificate | None) -> Readiness:
    """What files must hold before reviews may come; once it was good, what they hold later changes nothing here."""
    readiness = Readiness(_SERVING, _CERTIFICATE, _CREDENTIALS)
    readiness.watch(_CERTIFICATE, certificate.is_ready if certificate else lambda: True)
    readiness.watch(_CREDENTIALS, controller.has_credentials)
    return readiness


def _webhook(settings: Settings, controller: Controller, certificate: ServingCertificate | None) -> Listener:
    configuration = controller.configuration
    bodies = _bodies(configuration)
    admission = AdmissionEndpoint(
        controller.reviews,
        controller.telemetry,
        body_limit=configuration.limits.body,
        margin=configuration.timeouts.margin,
        bodies=bodies,
    )
    app = create_app(Surfaces(admission, ManualEndpoint(controller.manual, bodies) if settings.docs else None))
    names = ClientNames(frozenset(settings.client_names)) if settings.client_names else None
    guarded = app if settings.secret_path_file is None else SecretPath(app, read_secret_path(settings.secret_path_file))
    closed = controller.telemetry.connection_closed
    return Listener(guarded, settings.host, settings.port, certificate, clients=names, on_closed=closed)


def _bodies(configuration: Configuration) -> Bodies:
    """Derive the room for requests from the container's memory limit."""
    wanted, memory = configuration.limits.body, memory_limit()
    if memory is None:
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


def _operations(settings: Settings, controller: Controller, readiness: Readiness) -> Listener:
    app = create_operations(readiness, controller.telemetry.exposition)
    return Listener(
        app,
        settings.host,
        settings.operations_port,
        setting="operations_port",
        connections=OPERATIONS_CONNECTIONS,
        on_closed=controller.telemetry.connection_closed,
    )


def _certificate(settings: Settings) -> ServingCertificate | None:
    if settings.insecure_http:
        return None
    return ServingCertificate(settings.tls_files, settings.client_ca_file)


def _configuration(settings: Settings) -> Configuration:
    if settings.config is None:
        raise ConfigurationError("settings", [Problem(spelled("config"), "expected the path of a configuration file")])
    return parse_configuration(read_text(settings.config), str(settings.config))


def _describe(configuration: Configuration, registration: Registration | None, telemetry: Telemetry) -> None:
    webhooks = registration.webhooks if registration else ()
    digest, deadlocked = fingerprint(configuration, list(webhooks)), deadlocked_namespaces(configuration, webhooks)
    telemetry.describe_configuration(digest, deadlocked)
    logger.info("configuration %s", digest)
    for namespace in deadlocked:
        logger.warning(
            "Anchore's namespace %s is judged: once Anchore is down, its own Pods are denied there; name it in "
            "webhook.excludedNamespaces, or add a rule for it with mode skip and Anchore's images",
            namespace,
        )


def _tell(settings: Settings, configuration: Configuration) -> None:
    names = [account.name for account in configuration.accounts] or [configuration.defaults.account]
    for warning in unknown_variables(os.environ, {*names, configuration.defaults.account}):
        logger.warning("%s", warning)
    if settings.insecure_http:
        logger.warning("serving without TLS: whoever can reach port %d can read and forge reviews", settings.port)
    if settings.secret_path_file and settings.docs:
        logger.warning("the secret path does not guard /docs and /review; --no-docs switches them off")
    if not configuration.anchore.verify_tls:
        logger.warning("anchore.verifyTls is false: whoever is on the path to Anchore can forge its answers")
    modes = ", ".join(f"{rule.name} ({rule.mode or configuration.defaults.mode})" for rule in configuration.rules)
    rules = f"rules {modes}, then " if modes else ""
    logger.info("anchore-admission %s: %sdefaults (%s)", __version__, rules, configuration.defaults.mode)
