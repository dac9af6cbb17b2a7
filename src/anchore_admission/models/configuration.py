"""The configuration file: which Anchore, which rules, which bounds. Key for key what users write."""

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    StringConstraints,
    model_validator,
)
from pydantic.alias_generators import to_camel

from anchore_admission.models.quantities import Duration, Size

_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


class ModeName(StrEnum):
    """How what Anchore says becomes a verdict; ``skip`` asks Anchore nothing."""

    PASSIVE = "passive"
    ANALYSIS = "analysis"
    STRICT = "strict"
    SKIP = "skip"


class Enforcement(StrEnum):
    """What a refusal does: refuse, only warn, or only record."""

    DENY = "deny"
    WARN = "warn"
    AUDIT = "audit"


class OnError(StrEnum):
    """What to do where there is no verdict."""

    DENY = "deny"
    WARN = "warn"
    ALLOW = "allow"


class WorkloadHandling(StrEnum):
    """How a refusal acts on the kinds that are templates of Pods (Deployment, Job, …)."""

    FINAL = "final"
    DENY = "deny"
    WARN = "warn"
    OFF = "off"


class UnknownKinds(StrEnum):
    """What to do with an object of a kind that we cannot read images from."""

    ALLOW = "allow"
    WARN = "warn"
    DENY = "deny"


class ApiVersion(StrEnum):
    """Which of Anchore's APIs is spoken; ``auto`` finds out."""

    AUTO = "auto"
    V1 = "v1"
    V2 = "v2"


def _refuse_regex(value: str) -> str:
    if value.startswith("regex:"):
        raise ValueError("regular expressions are not supported yet; use a glob (* matches any text)")
    return value


def _no_credentials(url: HttpUrl) -> HttpUrl:
    if url.username or url.password or url.query or url.fragment:
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
    """YAML reads ``on`` and ``yes`` without quotes as a boolean, and Pydantic a boolean as 0 or 1."""
    if isinstance(value, bool):
        raise ValueError("expected a whole number")  # noqa: TRY004 - Pydantic reports a ValueError
    return value


def _off(value: object) -> object:
    """YAML reads ``off`` without quotes as a boolean."""
    return WorkloadHandling.OFF if value is False else value


Glob = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(_refuse_regex)]
Globs = Annotated[list[Glob], Field(min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
File = Annotated[Text, AfterValidator(_path)]
Endpoint = Annotated[HttpUrl, AfterValidator(_no_credentials), AfterValidator(_plain_host)]
_WHOLE = BeforeValidator(_no_truth_value)


class Section(BaseModel):
    """Base of the file's parts: camelCase keys, unknown keys refused, values frozen."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        validate_by_name=False,
        validate_by_alias=True,
        use_attribute_docstrings=True,
        field_title_generator=lambda name, _: to_camel(name),
    )


class AnchoreSection(Section):
    """Where Anchore is; every account uses this unless it says otherwise."""

    endpoint: Endpoint | None = None
    """Address of Anchore's API, such as http://anchore-engine-api.anchore.svc:8228."""
    api_version: ApiVersion = ApiVersion.AUTO
    """Anchore's API version; auto asks Anchore."""
    ca_file: File | None = None
    """PEM file with the CAs to trust, followed while it changes; null trusts those of the system."""
    verify_tls: bool = True
    """Whether Anchore's certificate is verified."""


class AccountSection(Section):
    """Credentials and, where it differs, the Anchore they are for."""

    name: Name
    """The name that rules use, and that environment variables carry in upper case."""
    username_file: File | None = None
    """File that holds the user name."""
    password_file: File | None = None
    """File that holds the password."""
    api_key_file: File | None = None
    """File that holds an API key of Anchore Enterprise, instead of user name and password."""
    anchore_account: Text | None = None
    """Act in this account of Anchore's (x-anchore-account), which an administrator may."""
    endpoint: Endpoint | None = None
    """Address of this account's Anchore, where it is not anchore.endpoint."""
    api_version: ApiVersion | None = None
    """API version, where it is not anchore.apiVersion."""
    ca_file: File | None = None
    """PEM file with the CAs to trust, where it is not anchore.caFile."""

    @model_validator(mode="after")
    def _one_kind_of_credential(self) -> "AccountSection":
        if self.api_key_file and (self.username_file or self.password_file):
            raise ValueError("give either apiKeyFile or usernameFile and passwordFile, not both")
        if bool(self.username_file) != bool(self.password_file):
            raise ValueError("usernameFile and passwordFile belong together")
        return self


class Expression(Section):
    """One of a label selector's ``matchExpressions``, as Kubernetes defines them."""

    key: Text
    """The label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label is compared; NotIn holds for an absent label too."""
    values: list[str] = []
    """What In and NotIn compare with; the others take none."""

    @model_validator(mode="after")
    def _values_fit_operator(self) -> "Expression":
        if (self.operator in {"In", "NotIn"}) != bool(self.values):
            raise ValueError("In and NotIn need values, Exists and DoesNotExist take none")
        return self


class LabelSelector(Section):
    """A Kubernetes label selector; everything in it must hold."""

    match_labels: dict[str, str] = {}
    """Labels and the values they must have."""
    match_expressions: list[Expression] = []
    """Comparisons that must all hold."""

    @model_validator(mode="after")
    def _selects_something(self) -> "LabelSelector":
        if not self.match_labels and not self.match_expressions:
            raise ValueError("give matchLabels or matchExpressions")
        return self


class Match(Section):
    """When a rule applies: all keys given must hold, of a list any entry."""

    images: Globs | None = None
    """Globs tried on the image's repository, repository:tag and repository@digest."""
    namespaces: Globs | None = None
    """Globs for the namespace of the request."""
    kinds: Globs | None = None
    """Globs for the kind, such as Deployment or apps/Deployment."""
    users: Globs | None = None
    """Globs for the name of the user who asks; a controller asks for the Pods it makes."""
    groups: Globs | None = None
    """Globs for the groups of the user who asks."""
    service_accounts: Globs | None = None
    """Globs for the service account that the Pods run as, with or without its namespace."""
    object_selector: LabelSelector | None = None
    """The workload's labels, with those of its Pods over them."""
    annotations: Annotated[dict[str, Globs], Field(min_length=1)] | None = None
    """Annotations that must exist, each with globs for its value."""


class ActionSection(Section):
    """What a rule may set; a key left out falls back to ``defaults``."""

    mode: ModeName | None = None
    """How what Anchore says becomes a verdict."""
    account: Name | None = None
    """The account to ask Anchore with."""
    policy: Text | None = None
    """The policy (bundle) to evaluate; null for the account's active one."""
    enforcement: Enforcement | None = None
    """What a refusal does."""
    on_error: OnError | None = None
    """What to do where there is no verdict."""
    request_analysis: bool | None = None
    """Whether Anchore is asked to analyse what it does not know."""
    require_mapping: bool | None = None
    """Whether strict mode refuses what none of the policy's mappings covers."""


class RuleSection(ActionSection):
    """One entry of ``rules``; the first whose ``match`` holds decides an image's fate."""

    name: Name
    """Stands in messages, metrics and the audit trail."""
    match: Match = Match()
    """When the rule applies; without it, always."""


class Defaults(Section):
    """What holds where no rule says otherwise."""

    mode: ModeName = ModeName.PASSIVE
    """How what Anchore says becomes a verdict."""
    account: Name = "default"
    """The account to ask Anchore with."""
    policy: Text | None = None
    """The policy (bundle) to evaluate; null for the account's active one."""
    enforcement: Enforcement = Enforcement.DENY
    """What a refusal does."""
    on_error: OnError = OnError.DENY
    """What to do where there is no verdict."""
    request_analysis: bool = True
    """Whether Anchore is asked to analyse what it does not know."""
    require_mapping: bool = False
    """Whether strict mode refuses what none of the policy's mappings covers."""


class Passive(Section):
    """Passive mode's timing."""

    wait: Duration = 1.0
    """How long an answer waits for Anchore's reply to a submission, to name the digest. Default 1s."""
    refresh_interval: Annotated[Duration, Field(ge=1)] = 600.0
    """How often an image is submitted again, in every mode that requests analysis. Default 10m."""


class Analysis(Section):
    """The queue of requests for analysis."""

    concurrency: Annotated[int, Field(ge=1, le=64), _WHOLE] = 3
    """How many requests are sent at once."""
    queue_size: Annotated[int, Field(ge=1, le=100_000), _WHOLE] = 1000
    """How many requests may wait; more are dropped and counted."""


class Lookups(Section):
    """Calls to Anchore that a verdict waits for."""

    concurrency: Annotated[int, Field(ge=1, le=1024), _WHOLE] = 32
    """How many calls are under way at once, for each account."""


class Timeouts(Section):
    """Bounds of single calls; the webhook's own timeout bounds the whole review."""

    connect: Annotated[Duration, Field(gt=0)] = 2.0
    """Connecting to Anchore. Default 2s."""
    read: Annotated[Duration, Field(gt=0)] = 8.0
    """Waiting for Anchore's answer. Default 8s."""
    margin: Duration = 0.5
    """How long before the webhook's timeout the answer is given. Default 500ms."""


class Limits(Section):
    """Sizes past which nothing is read."""

    body: Size = 16 * 1024 * 1024
    """A call to the webhook; a larger one is denied. Default 16MiB."""
    answer: Size = 4 * 1024 * 1024
    """An answer of Anchore's, unpacked. Default 4MiB."""
    images: Annotated[int, Field(ge=1, le=10_000), _WHOLE] = 200
    """How many different images an object may name; an object with more is denied without a look at them."""


class Messages(Section):
    """The words of a denial."""

    max_findings: Annotated[int, Field(ge=0, le=100), _WHOLE] = 5
    """How many findings of an image are shown."""
    notice: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """Shown as a warning with every answer about images, for example that a sandbox gives the verdicts."""


class Configuration(Section):
    """The configuration file of anchore-admission."""

    anchore: AnchoreSection = AnchoreSection()
    """Where Anchore is."""
    accounts: list[AccountSection] = []
    """Credentials for Anchore; the account default may be left out when its credentials are in the environment."""
    defaults: Defaults = Defaults()
    """What holds where no rule says otherwise."""
    rules: list[RuleSection] = []
    """The first rule that matches an image decides what is done with it."""
    passive: Passive = Passive()
    """Passive mode's timing."""
    analysis: Analysis = Analysis()
    """The queue of requests for analysis."""
    lookups: Lookups = Lookups()
    """Calls to Anchore that a verdict waits for."""
    timeouts: Timeouts = Timeouts()
    """Bounds of single calls to Anchore."""
    limits: Limits = Limits()
    """Sizes past which nothing is read."""
    messages: Messages = Messages()
    """The words of a denial."""
    workloads: Annotated[WorkloadHandling, BeforeValidator(_off)] = WorkloadHandling.FINAL
    """How a refusal acts on templates of Pods (Deployment, Job, ...); Pods themselves are always judged in full."""
    unknown_kinds: UnknownKinds = UnknownKinds.WARN
    """What to do with an object of a kind that images cannot be read from."""
