"""The parts of a policy that the sandbox evaluates, under the names of API v2."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

Document = dict[str, Any]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _parameters(value: object) -> object:
    """Convert Anchore's list of name and value pairs to a mapping."""
    if isinstance(value, list) and all(isinstance(item, dict) and {"name", "value"} <= item.keys() for item in value):
        return {str(item["name"]): str(item["value"]) for item in value}
    return value


def _empty_is_none(value: object) -> object:
    return value or None


def _in_utc(value: datetime | None) -> datetime | None:
    return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class _Part(BaseModel):
    """A part of a policy; like API v1, the sandbox keeps unknown keys."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Rule(_Part):
    id: str = ""
    gate: Annotated[str, BeforeValidator(_lower)]
    trigger: Annotated[str, BeforeValidator(_lower)]
    action: Literal["GO", "WARN", "STOP"]
    params: Annotated[dict[str, str], BeforeValidator(_parameters)] = {}
    recommendation: str = ""


class RuleSet(_Part):
    id: str
    name: str = ""
    rules: tuple[Rule, ...] = ()


class AllowlistItem(_Part):
    id: str = ""
    gate: Annotated[str, BeforeValidator(_lower)]
    trigger_id: str
    expires_on: Annotated[datetime | None, BeforeValidator(_empty_is_none), AfterValidator(_in_utc)] = None


class Allowlist(_Part):
    id: str
    name: str = ""
    items: tuple[AllowlistItem, ...] = ()


class ImagePattern(_Part):
    type: Literal["tag", "digest", "id"]
    value: str


class ImageRule(_Part):
    """A selection of images: globs over registry and repository, and a tag glob, a digest or an image id."""

    id: str = ""
    name: str = ""
    registry: str
    repository: str
    image: ImagePattern

    def document(self) -> Document:
        """Return the rule as it was written."""
        return self.model_dump(exclude_unset=True)


class MappingRule(ImageRule):
    """The rule sets and allowlists that apply to the images of a rule."""

    rule_set_ids: tuple[str, ...] = ()
    policy_id: str | None = None  # v1's older, singular form
    allowlist_ids: tuple[str, ...] = ()

    @property
    def all_rule_set_ids(self) -> tuple[str, ...]:
        return self.rule_set_ids or ((self.policy_id,) if self.policy_id else ())


class Policy(_Part):
    id: str
    name: str = ""
    description: str = ""
    rule_sets: tuple[RuleSet, ...] = ()
    allowlists: tuple[Allowlist, ...] = ()
    mappings: tuple[MappingRule, ...] = ()
    allowlisted_images: tuple[ImageRule, ...] = ()
    denylisted_images: tuple[ImageRule, ...] = ()
