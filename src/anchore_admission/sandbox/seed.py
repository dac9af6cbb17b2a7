"""The models of a seed file: the state of the sandbox when it starts."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from anchore_admission.sandbox.references import BadReference, parse
from anchore_admission.sandbox.times import epoch

State = Literal["not_analyzed", "analyzing", "analyzed", "analysis_failed"]
ApiName = Literal["v1", "v2"]
RegistryErrorCode = Literal[
    "REGISTRY_IMAGE_NOT_FOUND",
    "REGISTRY_PERMISSION_DENIED",
    "REGISTRY_NOT_ACCESSIBLE",
    "REGISTRY_NOT_SUPPORTED",
    "SKOPEO_UNKNOWN_ERROR",
]
FaultMode = Literal["slow", "hang", "fail", "html", "policyEngineDown", "catalogDown", "databaseDown", "registryDown"]


def _tag_reference(text: str) -> str:
    try:
        reference = parse(text)
    except BadReference as error:
        raise ValueError(str(error)) from error
    if reference.tag is None:
        raise ValueError("expected an image with a tag, not a digest")
    return text


def _time(text: str) -> str:
    epoch(text)
    return text


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _severity(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


TagReference = Annotated[str, AfterValidator(_tag_reference)]
Tags = Annotated[
    tuple[TagReference, ...],
    BeforeValidator(_several),
    Field(min_length=1, max_length=100),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}, "minItems": 1, "maxItems": 100}),
]
Paths = Annotated[
    tuple[str, ...],
    BeforeValidator(_several),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}}),
]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\s:/]+$")]
Severity = Annotated[
    Literal["unknown", "negligible", "low", "medium", "high", "critical"],
    BeforeValidator(_severity),
    WithJsonSchema({"type": "string"}),
]
Time = Annotated[str, AfterValidator(_time)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class Frozen(BaseModel):
    """Base of the models: frozen, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Finding(Frozen):
    """One vulnerability in one package of an image."""

    id: Annotated[str, StringConstraints(min_length=1)]
    severity: Severity
    package: Annotated[str, StringConstraints(min_length=1)]
    version: str = ""
    fix: str | None = None
    package_type: str = Field(default="os", alias="packageType")
    path: str | None = None
    url: str | None = None
    will_not_fix: bool = Field(default=False, alias="willNotFix")


class ImageContent(Frozen):
    """The contents of an image."""

    digest: Digest | None = None
    parent_digest: Digest | None = Field(default=None, alias="parentDigest")
    arch: str = "amd64"
    distro: str = "debian"
    distro_version: str = Field(default="12", alias="distroVersion")
    findings: tuple[Finding, ...] = ()


class SeedImage(ImageContent):
    """An image that an account of Anchore already knows."""

    tag: Tags
    account: Name = "admin"
    state: State = "analyzed"
    analyzed_at: Time | None = Field(default=None, alias="analyzedAt")
    annotations: dict[str, str] = {}

    @model_validator(mode="after")
    def _only_an_analyzed_image_has_a_time(self) -> "SeedImage":
        if self.analyzed_at is not None and self.state != "analyzed":
            raise ValueError("analyzedAt needs the state analyzed")
        return self


class RegistryEntry(ImageContent):
    """An image of the simulated registry, or the error for its tags."""

    tag: Tags
    analysis: Literal["analyzed", "analysis_failed"] = "analyzed"
    error: RegistryErrorCode | None = None

    @model_validator(mode="after")
    def _either_an_image_or_an_error(self) -> "RegistryEntry":
        if self.error is not None and (self.digest or self.parent_digest or self.findings):
            raise ValueError("an entry is either an image or an error")
        return self


class SeedUser(Frozen):
    username: Name
    password: Annotated[str, StringConstraints(min_length=1)]
    api_keys: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = Field(default=(), alias="apiKeys")


class SeedAccount(Frozen):
    name: Name
    users: tuple[SeedUser, ...] = ()
    email: str | None = None
    state: Literal["enabled", "disabled"] = "enabled"


class SeedPolicy(Frozen):
    """A v1 bundle or a v2 policy of one account."""

    policy: dict[str, Any]
    account: Name = "admin"
    active: bool = False


class Fault(Frozen):
    """One fault, for the calls that it names."""

    mode: FaultMode
    delay: Seconds = 0
    status: Annotated[int, Field(ge=400, le=599)] = 500
    methods: tuple[Literal["GET", "POST", "PUT", "DELETE"], ...] = ()
    paths: Paths = ()
    times: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _slow_takes_time(self) -> "Fault":
        if self.mode == "slow" and not self.delay:
            raise ValueError("mode slow needs a delay")
        return self


class Messages(Frozen):
    """The messages of 404 responses, which API v2 does not specify; by default those of v1."""

    image_not_found: Annotated[str, StringConstraints(min_length=1)] | None = Field(default=None, alias="imageNotFound")
    not_analyzed: Annotated[str, StringConstraints(min_length=1)] | None = Field(default=None, alias="notAnalyzed")


ADMIN = SeedAccount(name="admin", users=(SeedUser(username="admin", password="foobar"),))  # noqa: S106 - Anchore's own published default, and it opens nothing but a sandbox


class Seed(Frozen):
    """The contents of a seed file."""

    api_versions: Annotated[tuple[ApiName, ...], Field(min_length=1)] = Field(default=("v1", "v2"), alias="apiVersions")
    analysis_time: Seconds = Field(default=5, alias="analysisTime")
    accounts: tuple[SeedAccount, ...] = (ADMIN,)
    policies: tuple[SeedPolicy, ...] = ()
    images: tuple[SeedImage, ...] = ()
    registry: tuple[RegistryEntry, ...] = ()
    unknown_images: Literal["accept", "refuse"] = Field(default="accept", alias="unknownImages")
    messages: Messages = Messages()
    faults: tuple[Fault, ...] = ()
