"""How the process runs: addresses, TLS files, logs; and the secrets that come through the environment."""

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from anchore_admission.adapters.logs import LogFormat, LogLevel
from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.models.quantities import Duration, parse_duration
from anchore_admission.services.config.load import environment_name
from anchore_admission.text import shortened

PREFIX: Final = "ANCHORE_ADMISSION_"
ACCOUNT = f"{PREFIX}ACCOUNT_"
SECRETS = ("USERNAME", "PASSWORD", "API_KEY")
_LINK = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)
_SERVICE_VARIABLE = re.compile(
    rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _split(value: object) -> object:
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


class CertificateSource(StrEnum):
    """Where the webhook port's certificate comes from: mounted files, or made in process and shared by a Secret."""

    FILES = "files"
    MANAGED = "managed"


Port = Annotated[int, Field(ge=0, le=65535)]
Host = Annotated[str, Field(min_length=1, max_length=253)]
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
Lifetime = Annotated[float, BeforeValidator(parse_duration), Field(ge=60, le=10 * 366 * 86400)]
"""Seconds."""

_FLAGS = {"client_names": "client_name"}
"""Flags that are given once for each of several values."""
_EXPECTED = {
    "config": "the path of a file",
    "host": "an address to listen on",
    "port": "a port number from 0 to 65535",
    "operations_port": "a port number from 0 to 65535",
    "tls_cert_file": "the path of a file",
    "tls_key_file": "the path of a file",
    "insecure_http": "true or false",
    "certificates": f"one of {', '.join(CertificateSource)}",
    "certificate_lifetime": "a duration of at least a minute, such as 2160h",
    "tls_secret": "the name of a Secret",
    "lease": "the name of a Lease",
    "namespace": "the name of a namespace",
    "pod_name": "the name of a Pod",
    "service": "the name of a Service",
    "registration": "the path of a file",
    "ca_file": "the path of a file",
    "shutdown_delay": "a duration such as 5s",
    "secret_path_file": "the path of a file",
    "client_ca_file": "the path of a file",
    "client_names": "names, with commas between them in the variable",
    "docs": "true or false",
    "log_level": f"one of {', '.join(LogLevel)}",
    "log_format": f"one of {', '.join(LogFormat)}",
}


class Settings(BaseSettings):
    """Process settings; a flag beats its environment variable, an empty variable counts as not set."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    config: Path | None = None
    host: Host = "0.0.0.0"  # noqa: S104 - in a Pod, its only address is not known beforehand
    port: Port = 8443
    operations_port: Port = 8080
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    insecure_http: bool = False
    certificates: Annotated[CertificateSource, BeforeValidator(_lower)] = CertificateSource.FILES
    certificate_lifetime: Lifetime = 90 * 86400.0
    tls_secret: ObjectName | None = None
    lease: ObjectName | None = None
    namespace: ObjectName | None = None
    pod_name: ObjectName | None = None
    service: ObjectName | None = None
    registration: Path | None = None
    ca_file: Path | None = None
    shutdown_delay: Duration = 0.0
    secret_path_file: Path | None = None
    client_ca_file: Path | None = None
    client_names: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = ()
    docs: bool = True
    log_level: Annotated[LogLevel, BeforeValidator(_lower)] = LogLevel.INFO
    log_format: Annotated[LogFormat, BeforeValidator(_lower)] = LogFormat.AUTO

    @field_validator("port", "operations_port", mode="before")
    @classmethod
    def _ignore_service_links(cls, value: object, info: ValidationInfo) -> object:
        """For a Service named ``anchore-admission``, Kubernetes sets ``ANCHORE_ADMISSION_PORT=tcp://10.0.0.1:443``.

        Source: kubernetes.io/docs/concepts/services-networking/service, "Environment variables".
        """
        if isinstance(value, str) and _LINK.match(value) and info.field_name:
            return cls.model_fields[info.field_name].default
        return value

    @classmethod
    def load(cls, **flags: Any) -> "Settings":
        """Settings from flags (None: not given) over the environment. Raises ConfigurationError with all problems."""
        try:
            settings = cls(**{name: value for name, value in flags.items() if value is not None})
        except ValidationError as error:
            raise ConfigurationError("settings", [_problem(e["loc"][0], e["input"]) for e in error.errors()]) from error
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
        return self.certificates is CertificateSource.MANAGED

    @property
    def uses_cluster(self) -> bool:
        """Whether the Kubernetes API is spoken to at all."""
        return self.is_managed or self.registration is not None

    def require_serving(self) -> None:
        """The API server speaks TLS only, so plain HTTP must be asked for. Raises ConfigurationError."""
        if self.is_managed:
            return
        if bool(self.tls_files) == self.insecure_http:
            why = "not both" if self.insecure_http else "or --insecure-http behind something that ends TLS"
            expected = f"expected with {spelled('tls_key_file')}, {why}"
            raise ConfigurationError("settings", [Problem(spelled("tls_cert_file"), expected)])


def spelled(name: str) -> str:
    """How people write a setting: ``--port / ANCHORE_ADMISSION_PORT``."""
    flag = _FLAGS.get(name, name).replace("_", "-")
    return f"--{flag} / {PREFIX}{name.upper()}"


def unknown_variables(environ: Mapping[str, str], accounts: Iterable[str] | None = None) -> list[str]:
    """Warnings about ``ANCHORE_ADMISSION_*`` variables that nothing reads; without ``accounts`` any may be meant."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    if accounts is None:
        known |= {name for name in environ if re.fullmatch(rf"{ACCOUNT}\w+_({'|'.join(SECRETS)})", name)}
    else:
        known |= {f"{ACCOUNT}{environment_name(name)}_{secret}" for name in accounts for secret in SECRETS}
    return [
        _unknown(name, known)
        for name, value in sorted(environ.items())
        if name.startswith(PREFIX) and name not in known and not _is_of_a_service(name, value)
    ]


def _is_of_a_service(name: str, value: str) -> bool:
    """Kubernetes describes every Service of the namespace to every Pod, ours among them."""
    return bool(_SERVICE_VARIABLE.fullmatch(name)) or (name.endswith("_PORT") and bool(_LINK.match(value)))


def _unknown(name: str, known: Iterable[str]) -> str:
    """Compared without the prefix, which would make any two names look alike."""
    close = get_close_matches(name.removeprefix(PREFIX), [other.removeprefix(PREFIX) for other in known], n=1)
    return f"{name} is not known and ignored" + (f"; was {PREFIX}{close[0]} meant?" if close else "")


def _contradictions(settings: Settings) -> Iterator[Problem]:
    if bool(settings.tls_cert_file) != bool(settings.tls_key_file):
        given, missing = (
            ("tls_cert_file", "tls_key_file") if settings.tls_cert_file else ("tls_key_file", "tls_cert_file")
        )
        yield Problem(spelled(missing), f"expected, because {spelled(given)} is set")
    if settings.port and settings.port == settings.operations_port:
        yield Problem(
            spelled("operations_port"), f"expected another port than {spelled('port')}; both are {settings.port}"
        )
    yield from _missing_for_the_cluster(settings)
    if settings.is_managed:
        for name in ("tls_cert_file", "tls_key_file", "insecure_http", "ca_file"):
            if getattr(settings, name):
                yield Problem(spelled(name), f"expected without {spelled('certificates')} managed")
    if settings.ca_file and not settings.registration:
        yield Problem(spelled("registration"), f"expected, because {spelled('ca_file')} is set")
    yield from _contradictions_of_clients(settings)


def _missing_for_the_cluster(settings: Settings) -> Iterator[Problem]:
    needed = {
        "certificates": ("tls_secret", "service", "lease", "namespace", "pod_name") if settings.is_managed else (),
        "registration": ("lease", "namespace", "pod_name") if settings.registration else (),
    }
    reasons = {name: reason for reason, names in reversed(needed.items()) for name in names}
    for name, reason in reasons.items():
        if not getattr(settings, name):
            yield Problem(spelled(name), f"expected, because {spelled(reason)} is set")


def _contradictions_of_clients(settings: Settings) -> Iterator[Problem]:
    if bool(settings.client_ca_file) != bool(settings.client_names):
        given, missing = (
            ("client_ca_file", "client_names") if settings.client_ca_file else ("client_names", "client_ca_file")
        )
        yield Problem(spelled(missing), f"expected, because {spelled(given)} is set")
    if settings.client_ca_file and settings.insecure_http:
        yield Problem(spelled("client_ca_file"), f"expected without {spelled('insecure_http')}: TLS ends elsewhere")


def _problem(name: int | str, value: object) -> Problem:
    return Problem(spelled(str(name)), f"expected {_EXPECTED[str(name)]}, not {shortened(repr(value), 100)}")
