"""The section about Open Policy Agent, which decides on a review after Anchore's facts are known."""

import re
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from anchore_admission.models.configuration.base import Section
from anchore_admission.models.configuration.sections import File
from anchore_admission.models.configuration.words import OnError
from anchore_admission.models.quantities import Duration

_SOCKET = re.compile(r"unix://(?P<path>/[!-~]{1,90})")
_HTTP = re.compile(
    r"(?P<scheme>https?)://(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?/?"
)
_LOCAL = re.compile(r"http://(?:localhost|127\.[0-9.]+|\[::1\])(?::[0-9]+)?/?$")
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:/[A-Za-z_][A-Za-z0-9_]*)*")
_LONGEST_PATH: Final = 200
_LAST_PORT: Final = 65535


class HookRequests(StrEnum):
    """The requests about which the policy is asked."""

    IMAGES = "images"
    """Those with an image that is judged."""
    ALL = "all"
    """Also those that change no image, such as a new label."""


class Omitted(StrEnum):
    """A part of the object that is not sent, because OPA's decision log would keep it."""

    ENV = "env"
    """The values of environment variables, and the annotation in which kubectl repeats them."""
    MANAGED_FIELDS = "managedFields"
    OLD_OBJECT = "oldObject"


def _url(value: str) -> str:
    if "@" in value or "?" in value or "#" in value:
        raise ValueError("must be a plain address; credentials belong into tokenFile")
    found = _HTTP.fullmatch(value)
    if not _SOCKET.fullmatch(value) and not (found and 0 < int(found["port"] or 1) <= _LAST_PORT):
        raise ValueError("expected unix:///run/opa/opa.sock, or an address such as https://opa.opa.svc:8181")
    return value


def _path(value: str) -> str:
    path = value.strip("/").removeprefix("v1/data/")
    if len(path) > _LONGEST_PATH or not _PATH.fullmatch(path):
        raise ValueError("expected the path of a package, such as anchore/admission")
    return path


class OpaSection(Section):
    """An Open Policy Agent that may deny what Anchore admits. It never admits what is denied."""

    url: Annotated[str, AfterValidator(_url)]
    """Address of OPA's API: unix:///run/opa/opa.sock for a sidecar, or http(s)://host:port."""
    path: Annotated[str, AfterValidator(_path)] = "anchore/admission"
    """The package whose rules deny and warn are asked for; slashes stand for the dots of its name."""
    ca_file: File | None = None
    """PEM file with the CAs to trust; changes to it are noticed. null trusts the system's CAs."""
    token_file: File | None = None
    """File that holds a bearer token; changes to it are noticed."""
    certificate_file: File | None = None
    """PEM file with the client certificate to present."""
    key_file: File | None = None
    """PEM file with the key of the client certificate."""
    timeout: Annotated[Duration, Field(ge=0.05, le=10)] = 1.0
    """How long a review waits for the decision; lookups in Anchore end that much earlier. Default 1s."""
    on_error: OnError = OnError.DENY
    """The effect of a missing decision: OPA does not respond, or the policy is not loaded."""
    requests: Annotated[list[HookRequests], Field(min_length=1)] = Field([HookRequests.IMAGES])
    """images asks about requests with an image that is judged; all also about those that change none."""
    omit: list[Omitted] = Field([Omitted.ENV])
    """Parts of the object that are not sent to OPA, whose decision log would keep them."""

    # Each field is checked against those above it, so that a contradiction is reported at a key that the user wrote.

    @field_validator("ca_file", "certificate_file", "token_file")
    @classmethod
    def _needs_tls(cls, value: str | None, info: ValidationInfo) -> str | None:
        url = info.data.get("url", "")
        if not value or not url or url.startswith("https://"):
            return value
        if info.field_name != "token_file":
            raise ValueError("needs an https:// address")
        if not _SOCKET.fullmatch(url) and not _LOCAL.match(url):
            raise ValueError("needs an https:// address: without TLS, an attacker on the path reads the token")
        return value

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> "OpaSection":
        if bool(self.certificate_file) != bool(self.key_file):
            raise ValueError("certificateFile and keyFile belong together")
        return self

    @property
    def socket(self) -> str | None:
        """The path of the Unix socket; None for an address."""
        found = _SOCKET.fullmatch(self.url)
        return found["path"] if found else None

    @property
    def asks_always(self) -> bool:
        """True if requests that change no image are asked about, too."""
        return HookRequests.ALL in self.requests
