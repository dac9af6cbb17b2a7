"""The settings of ``serve``. Each is declared once: its flag, variable, help and error text are derived from it."""

import re
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.models.quantities import Duration, parse_duration
from anchore_admission.ports.logs import LogFormat, LogLevel
from anchore_admission.text import shortened

PREFIX: Final = "ANCHORE_ADMISSION_"
ACCOUNT = f"{PREFIX}ACCOUNT_"
SECRETS = ("USERNAME", "PASSWORD", "API_KEY")
SERVICE_LINK: Final = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)
"""The beginning of a variable by which Kubernetes describes a Service to a Pod."""


class CertificateSource(StrEnum):
    """The source of the webhook's certificate: mounted files, or issued by the process and shared by a Secret."""

    FILES = "files"
    MANAGED = "managed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The parts of a setting that its type and its default cannot express."""

    help: str
    expected: str = ""
    """A valid value in words, for errors; empty if the type says enough."""
    group: str | None = None
    """The heading that lists it in the help."""
    flag: str = ""
    """The flag's name, if it differs from the field's."""
    short: str = ""
    """A one-letter flag."""


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _split(value: object) -> object:
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


Port = Annotated[int, Field(ge=0, le=65535)]
Host = Annotated[str, Field(min_length=1, max_length=253)]
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
Lifetime = Annotated[float, BeforeValidator(parse_duration), Field(ge=60, le=10 * 366 * 86400)]
"""Seconds."""
_PORT = "a port number from 0 to 65535"
_CERTIFICATE, _CLUSTER, _ACCESS = "Certificate", "Cluster", "Access to the webhook port"
_HINTS = "Notifications from Anchore"
_FACTS = "Facts for other policy engines"
_NAMES = "names, separated by commas in the variable"
FACTS_GUARDS: Final = ("facts_client_ca_file", "facts_token_file", "facts_audience")
"""The settings that let callers in to the facts; each of them is enough."""


class Settings(BaseSettings):
    """The settings of ``serve``, in the order of its help; a flag overrides its variable, an empty one is not set."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    config: Annotated[Path | None, Setting(help="The configuration file.", short="c")] = None
    host: Annotated[Host, Setting(help="Address to listen on.", expected="an address to listen on")] = "0.0.0.0"  # noqa: S104 - in a Pod, its only address is not known beforehand
    port: Annotated[Port, Setting(help="Webhook port.", expected=_PORT)] = 8443
    operations_port: Annotated[Port, Setting(help="Port of health and metrics.", expected=_PORT)] = 8080
    docs: Annotated[bool, Setting(help="Serve /docs and /review for people.")] = True
    shutdown_delay: Annotated[
        Duration,
        Setting(
            help="How long a stopping replica keeps answering reviews while /readyz already fails.",
            expected="a duration such as 5s",
        ),
    ] = 0.0
    log_level: Annotated[LogLevel, BeforeValidator(_lower), Setting(help="Lowest level that is logged.")] = (
        LogLevel.INFO
    )
    log_format: Annotated[
        LogFormat, BeforeValidator(_lower), Setting(help="auto: text on a terminal, json otherwise.")
    ] = LogFormat.AUTO
    certificates: Annotated[
        CertificateSource,
        BeforeValidator(_lower),
        Setting(
            help="files: --tls-cert-file and --tls-key-file. managed: issued and renewed by the process, shared by "
            "--tls-secret.",
            group=_CERTIFICATE,
        ),
    ] = CertificateSource.FILES
    tls_cert_file: Annotated[Path | None, Setting(help="PEM certificate with its chain.", group=_CERTIFICATE)] = None
    tls_key_file: Annotated[Path | None, Setting(help="PEM key of the certificate.", group=_CERTIFICATE)] = None
    insecure_http: Annotated[
        bool, Setting(help="Serve plain HTTP, behind a proxy that terminates TLS.", group=_CERTIFICATE)
    ] = False
    tls_secret: Annotated[
        ObjectName | None,
        Setting(
            help="managed: name of the Secret, which must exist.", expected="the name of a Secret", group=_CERTIFICATE
        ),
    ] = None
    certificate_lifetime: Annotated[
        Lifetime,
        Setting(
            help="managed: lifetime of a certificate; it is renewed after two thirds.",
            expected="a duration of at least a minute, such as 2160h",
            group=_CERTIFICATE,
        ),
    ] = 90 * 86400.0
    service: Annotated[
        ObjectName | None,
        Setting(
            help="managed: name of the Service that the certificate is for.",
            expected="the name of a Service",
            group=_CERTIFICATE,
        ),
    ] = None
    registration: Annotated[
        Path | None,
        Setting(
            help="File with a ValidatingWebhookConfiguration, and maybe a MutatingWebhookConfiguration; their webhooks "
            "are applied to the existing objects of those names.",
            group=_CLUSTER,
        ),
    ] = None
    ca_file: Annotated[
        Path | None, Setting(help="files: PEM CA bundle to publish in the webhook configuration.", group=_CLUSTER)
    ] = None
    namespace_labels: Annotated[
        Path | None,
        Setting(
            help="File with the labels of namespaces, instead of those that the API server has; used only if rules "
            "need them.",
            group=_CLUSTER,
        ),
    ] = None
    lease: Annotated[
        ObjectName | None,
        Setting(help="Name of the Lease, which must exist.", expected="the name of a Lease", group=_CLUSTER),
    ] = None
    namespace: Annotated[
        ObjectName | None,
        Setting(help="Namespace of this Pod.", expected="the name of a namespace", group=_CLUSTER),
    ] = None
    pod_name: Annotated[
        ObjectName | None, Setting(help="Name of this Pod.", expected="the name of a Pod", group=_CLUSTER)
    ] = None
    secret_path_file: Annotated[
        Path | None,
        Setting(
            help="File with one or more secrets, one per line; the webhooks are served only at /validate/<secret> and "
            "/mutate/<secret>.",
            group=_ACCESS,
        ),
    ] = None
    client_ca_file: Annotated[
        Path | None, Setting(help="PEM CA bundle; clients must present a certificate that it trusts.", group=_ACCESS)
    ] = None
    client_names: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(_split),
        Setting(
            help="Accept client certificates with this name; repeatable.",
            expected=_NAMES,
            group=_ACCESS,
            flag="client-name",
        ),
    ] = ()

    notifications_port: Annotated[
        Port | None,
        Setting(help="Port for notifications from Anchore; none is served by default.", expected=_PORT, group=_HINTS),
    ] = None
    notifications_secret_file: Annotated[
        Path | None,
        Setting(
            help="File with one or more secrets, one per line; Anchore posts to /notifications/<secret>, or to "
            "/notifications with it as the password.",
            group=_HINTS,
        ),
    ] = None

    facts_port: Annotated[
        Port | None,
        Setting(
            help="Port for the facts that other policy engines ask for; none is served by default.",
            expected=_PORT,
            group=_FACTS,
        ),
    ] = None
    facts_client_ca_file: Annotated[
        Path | None,
        Setting(help="PEM CA bundle; answer clients whose certificate it trusts, such as Gatekeeper.", group=_FACTS),
    ] = None
    facts_client_names: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(_split),
        Setting(
            help="Name in the certificate of such a client; repeatable.",
            expected=_NAMES,
            group=_FACTS,
            flag="facts-client-name",
        ),
    ] = ()
    facts_token_file: Annotated[
        Path | None,
        Setting(help="File with one or more tokens, one per line; answer clients that send one.", group=_FACTS),
    ] = None
    facts_audience: Annotated[
        str | None,
        Setting(
            help="Answer clients that send a token of a ServiceAccount for this audience, such as Kyverno; the API "
            "server verifies it.",
            expected="the audience of tokens",
            group=_FACTS,
        ),
    ] = None
    facts_users: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(_split),
        Setting(
            help="User whose tokens are accepted, such as system:serviceaccount:NAMESPACE:NAME; repeatable.",
            expected=_NAMES,
            group=_FACTS,
            flag="facts-user",
        ),
    ] = ()

    @field_validator("port", "operations_port", "notifications_port", "facts_port", mode="before")
    @classmethod
    def _ignore_service_links(cls, value: object, info: ValidationInfo) -> object:
        """Ignore a variable that Kubernetes sets to describe a Service, such as one named ``anchore-admission``.

        It is of the form ``ANCHORE_ADMISSION_PORT=tcp://10.0.0.1:443``.
        Source: kubernetes.io/docs/concepts/services-networking/service, "Environment variables".
        """
        if isinstance(value, str) and SERVICE_LINK.match(value) and info.field_name:
            return cls.model_fields[info.field_name].default
        return value

    @classmethod
    def load(cls, **flags: Any) -> "Settings":
        """Read flags (None: not given) and, for the others, the environment.

        Raises:
            ConfigurationError: with all problems.
        """
        try:
            settings = cls(**{name: value for name, value in flags.items() if value is not None})
        except ValidationError as error:
            problems = [_problem(str(mistake["loc"][0]), mistake["input"]) for mistake in error.errors()]
            raise ConfigurationError("settings", problems) from error
        problems = list(_contradictions(settings))
        if problems:
            raise ConfigurationError("settings", problems)
        return settings

    @property
    def tls_files(self) -> tuple[Path, Path] | None:
        """Certificate and key."""
        return (self.tls_cert_file, self.tls_key_file) if self.tls_cert_file and self.tls_key_file else None

    @property
    def is_managed(self) -> bool:
        """Return whether the process issues the certificate itself."""
        return self.certificates is CertificateSource.MANAGED

    @property
    def uses_cluster(self) -> bool:
        """Return whether the process calls the Kubernetes API at all."""
        return self.is_managed or self.registration is not None

    def require_serving(self) -> None:
        """Require a certificate, or consent to plain HTTP: API servers speak TLS only.

        Raises:
            ConfigurationError: with neither, or both.
        """
        if self.is_managed:
            return
        if bool(self.tls_files) == self.insecure_http:
            why = "not both" if self.insecure_http else "or --insecure-http behind a proxy that terminates TLS"
            expected = f"expected with {spelled('tls_key_file')}, {why}"
            raise ConfigurationError("settings", [Problem(spelled("tls_cert_file"), expected)])


def declared(name: str) -> Setting:
    """Return the declaration of a setting."""
    return next(part for part in Settings.model_fields[name].metadata if isinstance(part, Setting))


def value_type(name: str) -> type:
    """Return the type of a setting's value, without None and constraints."""
    annotation: Any = Settings.model_fields[name].annotation
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        annotation = typing.get_args(annotation)[0]
    return typing.cast("type", getattr(annotation, "__origin__", annotation))


def flag(name: str) -> str:
    """Return the flag of a setting, such as ``--operations-port``."""
    return f"--{declared(name).flag or name.replace('_', '-')}"


def variable(name: str) -> str:
    """Return the environment variable of a setting, such as ``ANCHORE_ADMISSION_OPERATIONS_PORT``."""
    return PREFIX + name.upper()


def spelled(name: str) -> str:
    """Return a setting as users write it: ``--port / ANCHORE_ADMISSION_PORT``."""
    return f"{flag(name)} / {variable(name)}"


def _problem(name: str, value: object) -> Problem:
    return Problem(spelled(name), f"expected {_expected(name)}, not {shortened(repr(value), 100)}")


def _expected(name: str) -> str:
    kind = value_type(name)
    if issubclass(kind, StrEnum):
        return f"one of {', '.join(kind)}"
    return declared(name).expected or {bool: "true or false", Path: "the path of a file"}[kind]


def _contradictions(settings: Settings) -> Iterator[Problem]:
    yield from _pair(settings, "tls_cert_file", "tls_key_file")
    yield from _same_port(settings, "operations_port", ("port",))
    yield from _pair(settings, "notifications_port", "notifications_secret_file")
    yield from _same_port(settings, "notifications_port", ("port", "operations_port"))
    yield from _same_port(settings, "facts_port", ("port", "operations_port", "notifications_port"))
    yield from _facts(settings)
    yield from _missing_for_the_cluster(settings)
    if settings.is_managed:
        for name in ("tls_cert_file", "tls_key_file", "insecure_http", "ca_file"):
            if getattr(settings, name):
                yield Problem(spelled(name), f"expected without {spelled('certificates')} managed")
    if settings.ca_file and not settings.registration:
        yield Problem(spelled("registration"), f"expected, because {spelled('ca_file')} is set")
    yield from _pair(settings, "client_ca_file", "client_names")
    for name in ("client_ca_file", "facts_client_ca_file"):
        if settings.insecure_http and getattr(settings, name):
            yield Problem(spelled(name), f"expected without {spelled('insecure_http')}: the proxy terminates TLS")


def _same_port(settings: Settings, name: str, others: Sequence[str]) -> Iterator[Problem]:
    port = getattr(settings, name)
    for other in others:
        if port and port == getattr(settings, other):
            yield Problem(spelled(name), f"expected a different port than {spelled(other)}; both are {port}")


def _facts(settings: Settings) -> Iterator[Problem]:
    """Require a guard of the facts: they list vulnerabilities."""
    guards = [name for name in FACTS_GUARDS if getattr(settings, name)]
    if settings.facts_port is not None and not guards:
        *first, last = map(spelled, FACTS_GUARDS)
        yield Problem(spelled("facts_port"), f"expected with {', '.join(first)} or {last}: facts are not for everyone")
    elif settings.facts_port is None and guards:
        yield Problem(spelled("facts_port"), f"expected, because {spelled(guards[0])} is set")
    yield from _pair(settings, "facts_client_ca_file", "facts_client_names")
    yield from _pair(settings, "facts_audience", "facts_users")


def _pair(settings: Settings, one: str, other: str) -> Iterator[Problem]:
    """Require both of two settings, or neither."""
    given = [name for name in (one, other) if getattr(settings, name) not in (None, ())]
    if len(given) == 1:
        (missing,) = {one, other} - set(given)
        yield Problem(spelled(missing), f"expected, because {spelled(given[0])} is set")


def _missing_for_the_cluster(settings: Settings) -> Iterator[Problem]:
    needed = {
        "certificates": ("tls_secret", "service", "lease", "namespace", "pod_name") if settings.is_managed else (),
        "registration": ("lease", "namespace", "pod_name") if settings.registration else (),
    }
    reasons = {name: reason for reason, names in reversed(needed.items()) for name in names}
    for name, reason in reasons.items():
        if not getattr(settings, name):
            yield Problem(spelled(name), f"expected, because {spelled(reason)} is set")
