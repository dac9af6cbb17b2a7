"""The life of the process, from top to bottom: prepare, serve, become ready, drain, stop."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from anchore_admission import __version__
from anchore_admission.background import repeated_in_thread, supervised
from anchore_admission.core.dependency import deadlocked_namespaces
from anchore_admission.core.webhook.drift import Registration
from anchore_admission.core.webhook.entry import IMAGES_CHANGE, WebhookKind
from anchore_admission.core.webhook.pair import CertificatePair
from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.files import read_text
from anchore_admission.models.configuration import Configuration
from anchore_admission.ports.telemetry import WatchedSource
from anchore_admission.services.config.load import fingerprint, parse_configuration
from anchore_admission.services.config.reload import LoadedConfiguration, Reloader
from anchore_admission.services.reviews.expiry_notices import CHECK_SECONDS
from anchore_admission.settings import Settings, spelled
from anchore_admission.variables import unknown_variables
from anchore_admission.watched import TICK_SECONDS, Watched, refresh_due
from anchore_admission.web.listeners import FactsPort, facts_port, notifications_port, operations_listener, webhook_port
from anchore_admission.web.operations import Condition, Readiness
from anchore_admission.web.server import Listener, serve
from anchore_admission.web.tls import ClientCas, ServingCertificate
from anchore_admission.wiring.cluster import ClusterWork, build_cluster_work
from anchore_admission.wiring.controller import Controller, build
from anchore_admission.wiring.namespaces import NamespaceOptions

logger = logging.getLogger("anchore_admission")

SUBMISSION_SECONDS = 5.0
"""The longest time that a stop waits for queued submissions."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that was read and checked before the first port is bound."""

    settings: Settings
    controller: Controller
    certificate: ServingCertificate | None
    listeners: Sequence[Listener]
    cluster: ClusterWork | None
    readiness: Readiness
    reloader: Reloader
    watched: Sequence[Watched[Any]]
    """The files that are read again while the process runs."""
    facts: FactsPort | None = None


def prepared(settings: Settings) -> Prepared:
    """Read and check everything. No port is bound yet, and neither Anchore nor the cluster is contacted.

    Raises:
        ConfigurationError: the configuration or a file is invalid.
    """
    path = _configuration_file(settings)
    configuration = parse_configuration(read_text(path), str(path))
    namespaces = NamespaceOptions(file=settings.namespace_labels, uses_cluster=True)
    tells_facts = settings.facts_port is not None
    controller = build(
        configuration, wait_until_valid=True, serves=True, tells_facts=tells_facts, namespaces=namespaces
    )
    telemetry = controller.telemetry
    certificate = None if settings.insecure_http else ServingCertificate(settings.tls_files, settings.client_ca_file)
    # Anchore has no client certificate, and those of policy engines are not those of API servers.
    open_to_all = ServingCertificate(settings.tls_files) if _needs_another(settings) else certificate
    for_engines = _for_engines(settings, open_to_all)
    certificates = [serving for serving in dict.fromkeys((certificate, open_to_all, for_engines)) if serving]

    def present(pair: CertificatePair) -> None:
        for serving in certificates:
            serving.present(pair)

    readiness = _readiness(controller, certificate)
    webhook = webhook_port(settings, controller, certificate)
    reloader = Reloader(path, configuration, controller.rules, prepare=controller.prepare)
    operations = operations_listener(settings, controller, readiness, reloader.described)
    notifications = notifications_port(settings, controller, open_to_all)
    facts = facts_port(settings, controller, for_engines)
    cluster = None
    if settings.uses_cluster:
        every_update = configuration.judges_every_update
        cluster = build_cluster_work(settings, telemetry, present, webhook.registered_secret, every_update=every_update)

    if certificate:
        telemetry.watch_certificate(certificate.not_after)
        telemetry.watch_unusable(WatchedSource.CERTIFICATE, certificate.is_unusable)
    telemetry.watch_readiness(readiness.is_ready)

    shared = controller.shared.watched if controller.shared else ()
    hook = controller.hook.watched if controller.hook else ()
    served = [file for serving in certificates for file in serving.watched]
    files = [*controller.watched, *controller.namespaces.watched, *shared, *hook, *served, *webhook.watched]
    watched: list[Watched[Any]] = [reloader.watched, *files]
    listeners = [webhook.listener, operations]
    if notifications:
        watched.extend(notifications.watched)
        listeners.append(notifications.listener)
    if facts:
        watched.extend(facts.watched)
        listeners.append(facts.listener)
    if cluster and cluster.ca_bundle:
        watched.append(cluster.ca_bundle.watched)
    telemetry.watch_unusable(WatchedSource.CONFIGURATION, reloader.watched.is_unusable)
    reloader.start(partial(_describe_configuration, controller, cluster.registrations if cluster else ()))
    _log_start(settings, configuration)
    controller.expiry_notices.check()
    return Prepared(settings, controller, certificate, listeners, cluster, readiness, reloader, watched, facts)


async def run(process: Prepared, *, tick: float = TICK_SECONDS) -> None:
    """Serve until SIGTERM or SIGINT; every ``tick`` seconds, read the watched files that are due again.

    Raises:
        ConfigurationError: a port cannot be bound, or there is no access to the Kubernetes API.
    """
    controller, readiness = process.controller, process.readiness

    def on_ready(_: Sequence[int]) -> None:
        readiness.set(Condition.SERVING, True)

    def on_stop() -> None:
        readiness.set(Condition.SERVING, False)

    try:
        # Start the work in the background; it runs until the end of the block.
        async with (
            supervised("analysis requests", controller.submissions.run),
            supervised("watching files", partial(repeated_in_thread, partial(refresh_due, process.watched), tick)),
            supervised(
                "watching exemptions", partial(repeated_in_thread, controller.expiry_notices.check, CHECK_SECONDS)
            ),
            supervised("following the labels of namespaces", controller.namespaces.run),
            _sharing(controller),
            _hinting(controller),
            _reconciling(process.cluster),
            _reloading_on_hangup(process.reloader),
        ):
            # Bind the ports, then be ready. On SIGTERM be unready at once, so that the Service sends no more reviews;
            # keep answering for the shutdown delay, until every kube-proxy knows; then end the requests in progress.
            await serve(
                process.listeners, on_ready=on_ready, on_stop=on_stop, linger_seconds=process.settings.shutdown_delay
            )
            # The last reviews may have left submissions in the queue.
            await controller.submissions.drain(SUBMISSION_SECONDS)
        # The end of the block stopped the work in the background and released the Lease.
    finally:
        if process.facts:
            await process.facts.services.aclose()
        await controller.aclose()
    logger.info("stopped")


@asynccontextmanager
async def _sharing(controller: Controller) -> AsyncIterator[None]:
    """Write to the shared store beside the block."""
    if controller.shared is None:
        yield
        return
    async with supervised("the shared store", controller.shared.store.run):
        yield


@asynccontextmanager
async def _hinting(controller: Controller) -> AsyncIterator[None]:
    """Learn of changes in Anchore beside the block."""
    async with supervised("passing hints on", controller.hints.run):
        if controller.event_logs is None:
            yield
            return
        async with supervised("reading Anchore's event log", controller.event_logs.run):
            yield


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
        # Only after the work above has stopped: a successor that finds the Lease free begins at once.
        await reconciler.leadership.release()


@asynccontextmanager
async def _reloading_on_hangup(reloader: Reloader) -> AsyncIterator[None]:
    """Reload the configuration on SIGHUP, in a thread beside the event loop. Only the main thread receives signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Future[None]] = set()

    def reload() -> None:
        logger.info("SIGHUP: reading the configuration again")
        reloading = loop.run_in_executor(None, reloader.reload)
        # The loop itself keeps no reference to what it runs.
        reloads.add(reloading)
        reloading.add_done_callback(reloads.discard)

    before = signal.getsignal(signal.SIGHUP)
    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, before)


def _needs_another(settings: Settings) -> bool:
    """Return whether the other ports cannot use the webhook's TLS context."""
    others = settings.notifications_port is not None or settings.facts_port is not None
    return others and settings.client_ca_file is not None


def _for_engines(settings: Settings, open_to_all: ServingCertificate | None) -> ServingCertificate | None:
    """Return the TLS context of the port for facts; clients that have tokens need no certificate."""
    path = settings.facts_client_ca_file
    if path is None:
        return open_to_all
    is_only_guard = not settings.facts_token_file and not settings.facts_audience
    until_valid = "nothing is served on the port for facts until this is fixed"
    return ServingCertificate(
        settings.tls_files, ClientCas(path, "facts_client_ca_file", required=is_only_guard, until_valid=until_valid)
    )


def _configuration_file(settings: Settings) -> Path:
    if settings.config is None:
        raise ConfigurationError("settings", [Problem(spelled("config"), "expected the path of a configuration file")])
    return settings.config


def _readiness(controller: Controller, certificate: ServingCertificate | None) -> Readiness:
    """Require valid files before the first review. A file that becomes invalid later does not change readiness."""
    readiness = Readiness(*Condition)
    readiness.watch(Condition.CERTIFICATE, certificate.is_ready if certificate else lambda: True)
    readiness.watch(Condition.CREDENTIALS, controller.has_credentials)
    return readiness


def _describe_configuration(
    controller: Controller, registrations: Sequence[Registration], loaded: LoadedConfiguration
) -> str:
    """Publish the configuration's fingerprint, and warn if Anchore's own Pods depend on Anchore's verdict."""
    configuration = loaded.configuration
    digest = fingerprint(configuration, [list(wanted.webhooks) for wanted in registrations])
    judging = [it for wanted in registrations if wanted.kind is WebhookKind.VALIDATING for it in wanted.webhooks]
    deadlocked = deadlocked_namespaces(configuration, judging)
    controller.telemetry.configuration.describe(digest, deadlocked)
    controller.telemetry.configuration.set_loaded(loaded.at, needs_restart=bool(loaded.waiting))
    logger.info("configuration %s", digest)
    for namespace in deadlocked:
        logger.warning(
            "Anchore's namespace %s is judged: once Anchore is down, its own Pods are denied there; name it in "
            "webhook.excludedNamespaces, or add a rule for it with mode skip and Anchore's images",
            namespace,
        )
    return digest


def _log_start(settings: Settings, configuration: Configuration) -> None:
    """Warn of settings that are probably mistakes or unsafe, then log the rules."""
    names = [account.name for account in configuration.accounts] or [configuration.defaults.account]
    for warning in unknown_variables(os.environ, {*names, configuration.defaults.account}):
        logger.warning("%s", warning)
    if settings.insecure_http:
        logger.warning(
            "serving without TLS: every client that reaches port %d can read and forge reviews", settings.port
        )
        if settings.facts_port is not None:
            logger.warning(
                "serving facts without TLS: the network can read the tokens of callers on port %d", settings.facts_port
            )
    if settings.secret_path_file and settings.docs:
        logger.warning("the secret path does not guard /docs and /review; --no-docs switches them off")
    if not configuration.anchore.verify_tls:
        logger.warning("anchore.verifyTls is false: an attacker on the path to Anchore can forge its responses")
    if configuration.judges_every_update and settings.registration is None:
        logger.info(
            "opa.requests asks for every update: register the webhook without the match condition %s "
            "(anchore-admission webhook --config leaves it out, anchore-admission probe --config checks it)",
            IMAGES_CHANGE,
        )
    modes = ", ".join(f"{rule.name} ({rule.mode or configuration.defaults.mode})" for rule in configuration.rules)
    rules = f"rules {modes}, then " if modes else ""
    logger.info("anchore-admission %s: %sdefaults (%s)", __version__, rules, configuration.defaults.mode)
