"""The schema of a policy in Anchore's description of API v2, which allows no unknown keys."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, ValidationError

from anchore_admission.sandbox.responses import ProblemError


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Described(_Strict):
    description: str = ""


class RuleParameter(_Strict):
    name: str
    value: str


class PolicyRule(_Described):
    id: str
    gate: str
    trigger: str
    action: Literal["GO", "WARN", "STOP"]
    params: list[RuleParameter]
    recommendation: str = ""


class RuleSetDocument(_Described):
    id: str
    name: str
    version: str
    rules: list[PolicyRule]
    artifact_type: Literal["image", "source"] = "image"


class AllowlistEntry(_Described):
    id: str
    gate: str
    trigger_id: str
    expires_on: str | None = None


class AllowlistDocument(_Described):
    id: str
    name: str
    version: str
    items: list[AllowlistEntry]


class ImageRef(_Strict):
    type: Literal["tag", "digest", "id"]
    value: str


class ImageSelectionRule(_Described):
    id: str
    name: str
    registry: str
    repository: str
    image: ImageRef


class Mapping(ImageSelectionRule):
    rule_set_ids: list[str]
    allowlist_ids: list[str]


class SourceMapping(_Described):
    id: str
    name: str
    host: str
    repository: str
    rule_set_ids: list[str]
    allowlist_ids: list[str]


class PolicyDocument(_Described):
    id: str
    name: Annotated[str, Field(min_length=1)]
    version: str
    rule_sets: list[RuleSetDocument]
    mappings: list[Mapping]
    allowlists: list[AllowlistDocument] = []
    source_mappings: list[SourceMapping] = []
    allowlisted_images: list[ImageSelectionRule] = []
    denylisted_images: list[ImageSelectionRule] = []
    last_updated: StrictFloat = 0


class PolicyRecord(BaseModel):
    """The body of a PUT; its ``policy`` is read as a document of its own."""

    account_name: str
    active: StrictBool
    name: str
    policy_id: str
    policy_source: str


def check_document(document: object) -> None:
    """Raise ProblemError, the framework's 400, if a policy does not match the description."""
    _check(PolicyDocument, document)


def check_record(record: object) -> None:
    """Raise ProblemError if a record lacks a required member."""
    _check(PolicyRecord, record)


def _check(model: type[BaseModel], value: object) -> None:
    if not isinstance(value, dict):
        raise ProblemError(400, f"{value!r} is not of type 'object'")
    try:
        model.model_validate(value)
    except ValidationError as error:
        raise ProblemError(400, _words(error)) from error


def _words(error: ValidationError) -> str:
    """Describe the first mistake in the framework's words."""
    first = error.errors(include_url=False)[0]
    *above, last = first["loc"]
    if first["type"] not in ("missing", "extra_forbidden"):
        return f"{first['msg']} - '{'.'.join(map(str, first['loc']))}'"
    text = (
        f"'{last}' is a required property"
        if first["type"] == "missing"
        else f"Additional properties are not allowed ('{last}' was unexpected)"
    )
    return f"{text} - '{'.'.join(map(str, above))}'" if above else text
