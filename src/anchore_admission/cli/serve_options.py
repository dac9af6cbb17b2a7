"""The options of ``anchore-admission serve``, in groups."""

from pathlib import Path
from typing import Annotated, Any

import typer

from anchore_admission.adapters.logs import LogFormat, LogLevel
from anchore_admission.settings import PREFIX, CertificateSource

_CERTIFICATE, _CLUSTER, _EXPOSED = "Certificate", "In a cluster", "Where strangers can reach the webhook port"


def _option(help_text: str, variable: str, **more: Any) -> Any:
    return typer.Option(help=help_text, envvar=PREFIX + variable, **more)


Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="The configuration file.", envvar=f"{PREFIX}CONFIG")
]
Host = Annotated[str | None, _option("Address to listen on, by default every one.", "HOST")]
Port = Annotated[str | None, _option("Webhook port.", "PORT", show_default="8443")]
OperationsPort = Annotated[str | None, _option("Port of health and metrics.", "OPERATIONS_PORT", show_default="8080")]
Docs = Annotated[
    bool | None, typer.Option("--docs/--no-docs", help="Serve /docs and /review for people.", show_default="docs")
]
ShutdownDelay = Annotated[
    str | None,
    _option("How long to go on answering after SIGTERM, unready already.", "SHUTDOWN_DELAY", show_default="0s"),
]
Level = Annotated[
    LogLevel | None,
    _option("Lowest level that is logged.", "LOG_LEVEL", show_default="info", case_sensitive=False),
]
Format = Annotated[
    LogFormat | None,
    _option("auto is text on a terminal, else json.", "LOG_FORMAT", show_default="auto", case_sensitive=False),
]

Certificates = Annotated[
    CertificateSource | None,
    _option(
        "files: --tls-cert-file and --tls-key-file. managed: made and renewed in process, shared by --tls-secret.",
        "CERTIFICATES",
        show_default="files",
        case_sensitive=False,
        rich_help_panel=_CERTIFICATE,
    ),
]
TlsCertFile = Annotated[
    Path | None, _option("PEM certificate with its chain.", "TLS_CERT_FILE", rich_help_panel=_CERTIFICATE)
]
TlsKeyFile = Annotated[
    Path | None, _option("PEM key of the certificate.", "TLS_KEY_FILE", rich_help_panel=_CERTIFICATE)
]
InsecureHttp = Annotated[
    bool | None,
    typer.Option(
        "--insecure-http",
        help="Serve without TLS, behind something that ends TLS.",
        rich_help_panel=_CERTIFICATE,
    ),
]
TlsSecret = Annotated[
    str | None,
    _option("managed: name of the Secret, which must exist.", "TLS_SECRET", rich_help_panel=_CERTIFICATE),
]
Lifetime = Annotated[
    str | None,
    _option(
        "managed: life of a certificate; it is renewed after two thirds.",
        "CERTIFICATE_LIFETIME",
        show_default="2160h",
        rich_help_panel=_CERTIFICATE,
    ),
]
Service = Annotated[
    str | None,
    _option("managed: name of the Service that the certificate is for.", "SERVICE", rich_help_panel=_CERTIFICATE),
]

Registration = Annotated[
    Path | None,
    _option(
        "A ValidatingWebhookConfiguration whose webhooks are applied to the existing one of its name.",
        "REGISTRATION",
        rich_help_panel=_CLUSTER,
    ),
]
CaFile = Annotated[
    Path | None,
    _option("files: PEM authorities that the registration publishes.", "CA_FILE", rich_help_panel=_CLUSTER),
]
Lease = Annotated[str | None, _option("Name of the Lease, which must exist.", "LEASE", rich_help_panel=_CLUSTER)]
Namespace = Annotated[str | None, _option("Namespace of this Pod.", "NAMESPACE", rich_help_panel=_CLUSTER)]
PodName = Annotated[str | None, _option("Name of this Pod.", "POD_NAME", rich_help_panel=_CLUSTER)]

SecretPathFile = Annotated[
    Path | None,
    _option(
        "A file with a secret; reviews are answered at /validate/<secret> only.",
        "SECRET_PATH_FILE",
        rich_help_panel=_EXPOSED,
    ),
]
ClientCaFile = Annotated[
    Path | None,
    _option(
        "PEM authorities of the client certificates that are asked for.", "CLIENT_CA_FILE", rich_help_panel=_EXPOSED
    ),
]
ClientName = Annotated[
    list[str] | None,
    typer.Option(
        "--client-name",
        metavar="NAME",
        help="A name that a client's certificate may carry; may be given again. "
        f"[env var: {PREFIX}CLIENT_NAMES, with commas]",
        rich_help_panel=_EXPOSED,
    ),
]
