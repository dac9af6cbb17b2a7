"""The sections about Anchore, and the bounds that operators may tune."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, HttpUrl, StringConstraints, model_validator

from anchore_admission.models.configuration.base import Name, Section, Text
from anchore_admission.models.configuration.words import ApiVersion
from anchore_admission.models.quantities import Duration, Size

_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


def _no_credentials(url: HttpUrl) -> HttpUrl:
    # Addresses stand in log lines and messages, and the file is usually a ConfigMap. A password may hold a slash, and
    # what follows it is then read as the path.
    if "@" in str(url) or url.query or url.fragment:
        raise ValueError("must be a plain http(s) address; credentials belong into files or the environment")
    return url


def _plain_host(url: HttpUrl) -> HttpUrl:
    if not _HOST.fullmatch(url.host or ""):
        raise ValueError("a host has letters, digits, '.', '-' and '_'; variables are not expanded here")
    return url


def _path(value: str) -> str:
    if not value.isprintable():
        raise ValueError("the name of a file has no control characters")
    return value


def _no_truth_value(value: object) -> object:
    """Reject a boolean: YAML reads ``on`` and ``yes`` as one, and Pydantic would take it for 0 or 1."""
    if isinstance(value, bool):
        raise ValueError("expected a whole number")  # noqa: TRY004 - Pydantic reports a ValueError
    return value


File = Annotated[Text, AfterValidator(_path)]
Endpoint = Annotated[HttpUrl, AfterValidator(_no_credentials), AfterValidator(_plain_host)]
_SHORTEST_EVENTS = 5
_WHOLE = BeforeValidator(_no_truth_value)


class AnchoreSection(Section):
    """The Anchore deployment to use, unless an account names another."""

    endpoint: Endpoint | None = None
    """Address of Anchore's API, such as http://anchore-engine-api.anchore.svc:8228."""
    api_version: ApiVersion = ApiVersion.AUTO
    """Version of Anchore's API; auto detects it."""
    ca_file: File | None = None
    """PEM file with the CAs to trust; changes to it are noticed. null trusts the system's CAs."""
    verify_tls: bool = True
    """Verify Anchore's certificate."""


class AccountSection(Section):
    """Credentials for Anchore, and the Anchore they belong to if it differs from ``anchore``."""

    name: Name
    """The name that rules use, and that environment variables carry in upper case."""
    username_file: File | None = None
    """File that holds the user name."""
    password_file: File | None = None
    """File that holds the password."""
    api_key_file: File | None = None
    """File that holds an API key of Anchore Enterprise, instead of user name and password."""
    anchore_account: Text | None = None
    """Act in this Anchore account (x-anchore-account); needs an administrator's credentials."""
    endpoint: Endpoint | None = None
    """Address of this account's Anchore, if it is not anchore.endpoint."""
    api_version: ApiVersion | None = None
    """API version, if it is not anchore.apiVersion."""
    ca_file: File | None = None
    """PEM file with the CAs to trust, if it is not anchore.caFile."""

    @model_validator(mode="after")
    def _one_kind_of_credential(self) -> "AccountSection":
        if self.api_key_file and (self.username_file or self.password_file):
            raise ValueError("give either apiKeyFile or usernameFile and passwordFile, not both")
        if bool(self.username_file) != bool(self.password_file):
            raise ValueError("usernameFile and passwordFile belong together")
        return self


class PassiveSection(Section):
    """Passive mode."""

    wait: Duration = 1.0
    """How long a review waits for Anchore's response to a submission, to show the digest. Default 1s."""


class TagsSection(Section):
    """Tags that move to another image, in every mode."""

    refresh_interval: Annotated[Duration, Field(ge=1)] = 600.0
    """How often a tag is submitted again, so that Anchore notices that it has moved. Default 10m."""


class SubmissionsSection(Section):
    """The queue of submissions to Anchore for analysis, in every mode."""

    concurrency: Annotated[int, Field(ge=1, le=64), _WHOLE] = 3
    """How many submissions are sent at once."""
    queue_size: Annotated[int, Field(ge=1, le=100_000), _WHOLE] = 1000
    """How many submissions may wait; further ones are dropped and counted."""


class LookupsSection(Section):
    """Calls to Anchore that a verdict waits for."""

    concurrency: Annotated[int, Field(ge=1, le=1024), _WHOLE] = 80
    """How many calls are under way at once, for each account; one namespace alone uses at most half of them."""


class MemorySection(Section):
    """How long Anchore's answers are remembered. 0s forgets a kind at once."""

    passed: Annotated[Duration, Field(alias="pass")] = 60.0
    """An image that passes the policy, and the record of a digest. It is then used once more, up to twice this age,
    while Anchore is asked again beside the review. Default 1m."""
    fail: Duration = 20.0
    """An image that fails the policy; at most as long as one that passes. Default 20s."""
    pending: Duration = 3.0
    """An image whose analysis has not ended or has failed, and a policy that could not be evaluated. Default 3s."""
    unknown: Duration = 3.0
    """An image that Anchore does not hold. Default 3s."""
    tag: Duration = 30.0
    """The image that a tag points to; refreshed beside the review like a pass. Default 30s."""
    outage: Annotated[Duration, Field(le=3600)] = 600.0
    """The age up to which the answers about an analyzed image stand in while Anchore cannot be asked. Default 10m."""
    policy_interval: Annotated[Duration, Field(ge=5)] = 30.0
    """How often to ask for changes of the policies; results of an older version are not used any more. Default 30s."""
    entries: Annotated[int, Field(ge=0, le=1_000_000), _WHOLE] = 30_000
    """How many answers are remembered; an image takes two or three."""
    size: Size = 64 * 1024 * 1024
    """How much memory the answers may take. Default 64MiB."""

    @model_validator(mode="after")
    def _consistent(self) -> "MemorySection":
        if self.fail > self.passed:
            raise ValueError("fail must not be longer than pass: an image that passes again is to be admitted soon")
        if 0 < self.outage < max(self.passed, self.tag):
            raise ValueError("outage must be 0s (off) or at least as long as pass and tag")
        return self


class HintsSection(Section):
    """Learn early of changes in Anchore, so that what is remembered of it is asked again before it expires."""

    events: Duration = 0.0
    """How often to read the event log of each account, at least 5s. Default 0s: never."""

    @model_validator(mode="after")
    def _not_too_often(self) -> "HintsSection":
        if 0 < self.events < _SHORTEST_EVENTS:
            raise ValueError(f"events must be 0s (off) or at least {_SHORTEST_EVENTS}s")
        return self


class TimeoutsSection(Section):
    """Bounds of single calls to Anchore; the webhook's own timeout bounds the whole review."""

    connect: Annotated[Duration, Field(gt=0)] = 2.0
    """Connecting to Anchore. Default 2s."""
    read: Annotated[Duration, Field(gt=0)] = 8.0
    """Waiting for Anchore's response. Default 8s."""
    margin: Duration = 0.5
    """How long before the webhook's timeout the review is answered. Default 500ms."""


class LimitsSection(Section):
    """Bounds of size."""

    # A review holds up to two objects, and the API server accepts requests of up to 3 MiB (MaxRequestBodyBytes).
    body: Size = 16 * 1024 * 1024
    """The body of a request to the webhook; a larger one is denied. Default 16MiB."""
    anchore_response: Size = 4 * 1024 * 1024
    """A response from Anchore, decompressed. Default 4MiB."""
    images: Annotated[int, Field(ge=1, le=10_000), _WHOLE] = 200
    """How many different images an object may name; an object with more is denied without a check."""
    exemption_days: Annotated[int, Field(ge=1, le=3650), _WHOLE] = 90
    """How many days ahead an exemption may expire."""


class MessagesSection(Section):
    """The text of a denial."""

    max_findings: Annotated[int, Field(ge=0, le=100), _WHOLE] = 5
    """How many findings of an image are shown."""
    notice: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """A warning shown with every verdict, for example that a sandbox gives the verdicts."""
