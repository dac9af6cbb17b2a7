"""The configuration file: which Anchore, which rules, which bounds. Key for key what users write."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from anchore_admission.models.quantities import Duration, Size


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


Glob = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(_refuse_regex)]
Globs = Annotated[list[Glob], Field(min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Endpoint = Annotated[HttpUrl, AfterValidator(_no_credentials)]


class Section(BaseModel):
    """Base of the file's parts: camelCase keys, unknown keys refused, values frozen."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, validate_by_name=False, validate_by_alias=True
    )


class AnchoreSection(Section):
    """Where Anchore is; every account uses this unless it says otherwise."""

    endpoint: Endpoint | None = None
    api_version: ApiVersion = ApiVersion.AUTO
    ca_file: Text | None = None
    verify_tls: bool = True


class AccountSection(Section):
    """Credentials and, where it differs, the Anchore they are for."""

    name: Name
    username_file: Text | None = None
    password_file: Text | None = None
    api_key_file: Text | None = None
    anchore_account: Text | None = None
    endpoint: Endpoint | None = None
    api_version: ApiVersion | None = None
    ca_file: Text | None = None

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
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[str] = []

    @model_validator(mode="after")
    def _values_fit_operator(self) -> "Expression":
        if (self.operator in {"In", "NotIn"}) != bool(self.values):
            raise ValueError("In and NotIn need values, Exists and DoesNotExist take none")
        return self


class LabelSelector(Section):
    """A Kubernetes label selector; everything in it must hold."""

    match_labels: dict[str, str] = {}
    match_expressions: list[Expression] = []

    @model_validator(mode="after")
    def _selects_something(self) -> "LabelSelector":
        if not self.match_labels and not self.match_expressions:
            raise ValueError("give matchLabels or matchExpressions")
        return self


class Match(Section):
    """When a rule applies: all keys given must hold, of a list any entry."""

    images: Globs | None = None
    namespaces: Globs | None = None
    kinds: Globs | None = None
    users: Globs | None = None
    groups: Globs | None = None
    service_accounts: Globs | None = None
    object_selector: LabelSelector | None = None
    annotations: Annotated[dict[str, Globs], Field(min_length=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _later(cls, data: object) -> object:
        if isinstance(data, dict) and "namespaceSelector" in data:
            raise ValueError("namespaceSelector is not supported yet; use namespaces")
        return data


class Outcome(Section):
    """What a rule may set; a key left out falls back to ``defaults``."""

    mode: ModeName | None = None
    account: Name | None = None
    policy: Text | None = None
    enforcement: Enforcement | None = None
    on_error: OnError | None = None
    request_analysis: bool | None = None
    require_mapping: bool | None = None


class RuleSection(Outcome):
    """One entry of ``rules``; the first whose ``match`` holds decides an image's fate."""

    name: Name
    match: Match = Match()


class Defaults(Section):
    """What holds where no rule says otherwise. ``policy: null`` means the account's active policy."""

    mode: ModeName = ModeName.PASSIVE
    account: Name = "default"
    policy: Text | None = None
    enforcement: Enforcement = Enforcement.DENY
    on_error: OnError = OnError.DENY
    request_analysis: bool = True
    require_mapping: bool = False


class Passive(Section):
    wait: Duration = 1.0
    refresh_interval: Annotated[Duration, Field(ge=1)] = 600.0


class Analysis(Section):
    concurrency: Annotated[int, Field(ge=1, le=64)] = 3
    queue_size: Annotated[int, Field(ge=1, le=100_000)] = 1000


class Lookups(Section):
    concurrency: Annotated[int, Field(ge=1, le=1024)] = 32


class Timeouts(Section):
    connect: Annotated[Duration, Field(gt=0)] = 2.0
    read: Annotated[Duration, Field(gt=0)] = 8.0
    margin: Duration = 0.5


class Limits(Section):
    body: Size = 8 * 1024 * 1024
    answer: Size = 16 * 1024 * 1024


class Messages(Section):
    max_findings: Annotated[int, Field(ge=0, le=100)] = 5


class Configuration(Section):
    """The whole file."""

    anchore: AnchoreSection = AnchoreSection()
    accounts: list[AccountSection] = []
    defaults: Defaults = Defaults()
    rules: list[RuleSection] = []
    passive: Passive = Passive()
    analysis: Analysis = Analysis()
    lookups: Lookups = Lookups()
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    messages: Messages = Messages()
    workloads: WorkloadHandling = WorkloadHandling.FINAL
    unknown_kinds: UnknownKinds = UnknownKinds.WARN
