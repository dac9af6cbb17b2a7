"""How the process runs: addresses, TLS files, logs; and the secrets that come through the environment."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from anchore_admission.adapters.anchore.credentials import Credentials, CredentialSource
from anchore_admission.adapters.files import FileCredentials
from anchore_admission.adapters.logs import LogFormat, LogLevel, shortened
from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.models.configuration import AccountSection
from anchore_admission.services.configuration import environment_name

PREFIX: Final = "ANCHORE_ADMISSION_"
_ACCOUNT = f"{PREFIX}ACCOUNT_"
_SECRETS = ("USERNAME", "PASSWORD", "API_KEY")
_LINK = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)
_SERVICE_VARIABLE = re.compile(
    rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Port = Annotated[int, Field(ge=0, le=65535)]
Host = Annotated[str, Field(min_length=1, max_length=253)]

_EXPECTED = {
    "config": "the path of a file",
    "host": "an address to listen on",
    "port": "a port number from 0 to 65535",
    "operations_port": "a port number from 0 to 65535",
    "tls_cert_file": "the path of a file",
    "tls_key_file": "the path of a file",
    "insecure_http": "true or false",
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

    def require_serving(self) -> None:
        """The API server speaks TLS only, so plain HTTP must be asked for. Raises ConfigurationError."""
        if bool(self.tls_files) == self.insecure_http:
            why = "not both" if self.insecure_http else "or --insecure-http behind something that ends TLS"
            expected = f"expected with {spelled('tls_key_file')}, {why}"
            raise ConfigurationError("settings", [Problem(spelled("tls_cert_file"), expected)])


def spelled(name: str) -> str:
    """How people write a setting: ``--port / ANCHORE_ADMISSION_PORT``."""
    return f"--{name.replace('_', '-')} / {PREFIX}{name.upper()}"


def account_credentials(account: str, environ: Mapping[str, str]) -> Credentials | None:
    """The credentials that the environment holds for an account. Raises ConfigurationError when they are incomplete."""
    prefix = f"{_ACCOUNT}{environment_name(account)}_"
    username, password, api_key = (environ.get(prefix + name, "").rstrip("\r\n") for name in _SECRETS)
    if api_key and (username or password):
        raise _wrong(f"{prefix}API_KEY", f"expected without {prefix}USERNAME and {prefix}PASSWORD")
    if bool(username) != bool(password):
        missing, given = ("PASSWORD", "USERNAME") if username else ("USERNAME", "PASSWORD")
        raise _wrong(f"{prefix}{missing}", f"expected, because {prefix}{given} is set")
    if api_key:
        return Credentials.api_key(SecretStr(api_key))
    return Credentials(username, SecretStr(password)) if username else None


def credential_sources(
    accounts: Iterable[AccountSection], environ: Mapping[str, str] = os.environ
) -> dict[str, CredentialSource]:
    """Where each account's credentials come from; an account that names none is left out.

    Raises ConfigurationError with the problems of all accounts.
    """
    sources: dict[str, CredentialSource] = {}
    problems: list[Problem] = []
    for account in accounts:
        try:
            source = _credential_source(account, environ)
        except ConfigurationError as error:
            problems.extend(error.problems)
        else:
            if source:
                sources[account.name] = source
    if problems:
        raise ConfigurationError("credentials", problems)
    return sources


def unknown_variables(environ: Mapping[str, str], accounts: Iterable[str] | None = None) -> list[str]:
    """Warnings about ``ANCHORE_ADMISSION_*`` variables that nothing reads; without ``accounts`` any may be meant."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    if accounts is None:
        known |= {name for name in environ if re.fullmatch(rf"{_ACCOUNT}\w+_({'|'.join(_SECRETS)})", name)}
    else:
        known |= {f"{_ACCOUNT}{environment_name(name)}_{secret}" for name in accounts for secret in _SECRETS}
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


def _credential_source(account: AccountSection, environ: Mapping[str, str]) -> CredentialSource | None:
    fixed = account_credentials(account.name, environ)
    key, username, password = account.api_key_file, account.username_file, account.password_file
    if fixed and (key or username):
        variables = f"{_ACCOUNT}{environment_name(account.name)}_*"
        raise _wrong(variables, f"expected without files in the configuration of account {account.name}")
    if key:
        return FileCredentials.api_key(Path(key))
    if username and password:
        return FileCredentials.user(Path(username), Path(password))
    return fixed


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


def _problem(name: int | str, value: object) -> Problem:
    return Problem(spelled(str(name)), f"expected {_EXPECTED[str(name)]}, not {shortened(repr(value), 100)}")


def _wrong(path: str, message: str) -> ConfigurationError:
    return ConfigurationError("credentials", [Problem(path, message)])
