"""``anchore-admission serve``: the controller itself."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from anchore_admission import __version__
from anchore_admission.adapters.files import read_text
from anchore_admission.adapters.logs import LogFormat, LogLevel, configure_logging
from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.background import supervised
from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.models.configuration import Configuration
from anchore_admission.services.configuration import parse_configuration
from anchore_admission.settings import Settings, spelled, unknown_variables
from anchore_admission.web.admission import AdmissionEndpoint
from anchore_admission.web.app import Surfaces, create_app
from anchore_admission.web.manual import ManualEndpoint
from anchore_admission.web.operations import Readiness, create_operations
from anchore_admission.web.server import Listener, serve
from anchore_admission.web.tls import ServingCertificate, TlsFiles
from anchore_admission.wiring import Controller, build

logger = logging.getLogger("anchore_admission")

SUBMISSION_SECONDS = 5.0
"""What a stop grants to requests for analysis that wait to be sent."""
_SERVING = "serving"


def command(
    *,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The configuration file.", envvar="ANCHORE_ADMISSION_CONFIG")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on, by default every one.", envvar="ANCHORE_ADMISSION_HOST"),
    ] = None,
    port: Annotated[
        str | None, typer.Option(help="Webhook port.", envvar="ANCHORE_ADMISSION_PORT", show_default="8443")
    ] = None,
    operations_port: Annotated[
        str | None,
        typer.Option(
            help="Port of health and metrics.", envvar="ANCHORE_ADMISSION_OPERATIONS_PORT", show_default="8080"
        ),
    ] = None,
    tls_cert_file: Annotated[
        Path | None, typer.Option(help="PEM certificate with its chain.", envvar="ANCHORE_ADMISSION_TLS_CERT_FILE")
    ] = None,
    tls_key_file: Annotated[
        Path | None, typer.Option(help="PEM key of the certificate.", envvar="ANCHORE_ADMISSION_TLS_KEY_FILE")
    ] = None,
    insecure_http: Annotated[
        bool | None, typer.Option("--insecure-http", help="Serve without TLS, behind something that ends TLS.")
    ] = None,
    docs: Annotated[
        bool | None,
        typer.Option("--docs/--no-docs", help="Serve /docs and /review for people.", show_default="docs"),
    ] = None,
    log_level: Annotated[
        LogLevel | None,
        typer.Option(
            help="Lowest level that is logged.",
            envvar="ANCHORE_ADMISSION_LOG_LEVEL",
            show_default="info",
            case_sensitive=False,
        ),
    ] = None,
    log_format: Annotated[
        LogFormat | None,
        typer.Option(
            help="auto is text on a terminal, else json.",
            envvar="ANCHORE_ADMISSION_LOG_FORMAT",
            show_default="auto",
            case_sensitive=False,
        ),
    ] = None,
) -> None:
    """Answer the API server's AdmissionReviews.

    The webhook port speaks TLS with the given certificate; health and metrics are on the operations port. A flag beats
    its environment variable. Stops gracefully on SIGTERM.
    """
    settings = Settings.load(
        config=config,
        host=host,
        port=port,
        operations_port=operations_port,
        tls_cert_file=tls_cert_file,
        tls_key_file=tls_key_file,
        insecure_http=insecure_http,
        docs=docs,
        log_level=log_level,
        log_format=log_format,
    )
    settings.require_serving()
    configure_logging(settings.log_level, settings.log_format)
    configuration = _configuration(settings)
    controller = build(configuration, Telemetry())
    certificate = ServingCertificate(TlsFiles(*settings.tls_files)) if settings.tls_files else None
    _tell(settings, configuration)
    uvloop.run(_serve(settings, controller, certificate))


def _configuration(settings: Settings) -> Configuration:
    if settings.config is None:
        raise ConfigurationError("settings", [Problem(spelled("config"), "expected the path of a configuration file")])
    return parse_configuration(read_text(settings.config), str(settings.config))


def _tell(settings: Settings, configuration: Configuration) -> None:
    names = [account.name for account in configuration.accounts] or [configuration.defaults.account]
    for warning in unknown_variables(os.environ, {*names, configuration.defaults.account}):
        logger.warning("%s", warning)
    if settings.insecure_http:
        logger.warning("serving without TLS: whoever can reach port %d can read and forge reviews", settings.port)
    if not configuration.anchore.verify_tls:
        logger.warning("anchore.verifyTls is false: whoever is on the path to Anchore can forge its answers")
    modes = ", ".join(f"{rule.name} ({rule.mode or configuration.defaults.mode})" for rule in configuration.rules)
    rules = f"rules {modes}, then " if modes else ""
    logger.info("anchore-admission %s: %sdefaults (%s)", __version__, rules, configuration.defaults.mode)


async def _serve(settings: Settings, controller: Controller, certificate: ServingCertificate | None) -> None:
    telemetry, configuration = controller.telemetry, controller.configuration
    readiness = Readiness(_SERVING)
    telemetry.watch_readiness(readiness.is_ready)
    if certificate:
        telemetry.watch_certificate(certificate.not_after)
    admission = AdmissionEndpoint(
        controller.reviews,
        telemetry,
        body_limit=configuration.limits.body,
        margin=configuration.timeouts.margin,
        notice=configuration.messages.notice,
    )
    app = create_app(Surfaces(admission, ManualEndpoint(controller.manual) if settings.docs else None))
    listeners = [
        Listener(app, settings.host, settings.port, certificate),
        Listener(
            create_operations(readiness, telemetry.exposition),
            settings.host,
            settings.operations_port,
            setting="operations_port",
        ),
    ]

    def on_ready(_: Sequence[int]) -> None:
        readiness.set(_SERVING, True)

    try:
        async with supervised("analysis requests", controller.requests.run):
            await serve(listeners, on_ready=on_ready, on_stop=lambda: readiness.set(_SERVING, False))
            await controller.requests.drain(SUBMISSION_SECONDS)
    finally:
        await controller.aclose()
    logger.info("stopped")
