"""Policies: read from a v1 bundle or a v2 policy, kept in the v2 form, shown as either."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from anchore_admission.sandbox.answers import AnchoreError, ProblemError
from anchore_admission.sandbox.seed import ApiName
from anchore_admission.sandbox.v2_policy import check_document

Document = dict[str, Any]
DEFAULT_ID = "2c53a13c-1765-11e8-82ef-23527761d060"
MAX_POLICIES = 1_000
_V2_NAMES = {
    "policies": "rule_sets",
    "whitelists": "allowlists",
    "whitelisted_images": "allowlisted_images",
    "blacklisted_images": "denylisted_images",
    "policy_ids": "rule_set_ids",
    "whitelist_ids": "allowlist_ids",
    "comment": "description",
}
_V1_NAMES = {v2: v1 for v1, v2 in _V2_NAMES.items()}
_REQUIRED_BY_V1 = ("id", "version", "policies", "mappings")


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _parameters(value: object) -> object:
    """Anchore's list of name and value pairs as a mapping."""
    if isinstance(value, list) and all(isinstance(item, dict) and {"name", "value"} <= item.keys() for item in value):
        return {str(item["name"]): str(item["value"]) for item in value}
    return value


def _empty_is_none(value: object) -> object:
    return value or None


def _in_utc(value: datetime | None) -> datetime | None:
    return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class _Part(BaseModel):
    """A part of a policy; API v1 keeps keys that it does not know, so do we."""

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
    """Which images: globs over registry and repository, and a tag glob, a digest or an image id."""

    id: str = ""
    name: str = ""
    registry: str
    repository: str
    image: ImagePattern

    def document(self) -> Document:
        """As it was given."""
        return self.model_dump(exclude_unset=True)


class MappingRule(ImageRule):
    """Which rule sets and allowlists stand for the images of a rule."""

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


@dataclass(slots=True)
class StoredPolicy:
    """One policy of an account, with the document it was read from under v2's names."""

    policy: Policy
    document: Document
    created_at: float
    updated_at: float
    source: str = "local"


@dataclass(slots=True)
class Policies:
    """The policies of one account; at most one is active."""

    stored: dict[str, StoredPolicy] = field(default_factory=dict)
    active_id: str | None = None

    def get(self, policy_id: str) -> StoredPolicy:
        if policy_id not in self.stored:
            raise AnchoreError(404, f"Policy bundle {policy_id} not found in DB")
        return self.stored[policy_id]

    def put(self, policy: Policy, document: Document, now: float, *, active: bool = False) -> StoredPolicy:
        known = self.stored.get(policy.id)
        if known is None and len(self.stored) >= MAX_POLICIES:
            raise AnchoreError(400, f"the sandbox holds at most {MAX_POLICIES} policies per account")
        created_at = known.created_at if known else now
        self.stored[policy.id] = StoredPolicy(policy, document, created_at, now)
        if active:
            self.active_id = policy.id
        return self.stored[policy.id]

    def delete(self, policy_id: str) -> None:
        self.get(policy_id)
        if policy_id == self.active_id:
            message = "cannot delete an active policy - activate a different policy then delete this one"
            raise AnchoreError(500, message)
        del self.stored[policy_id]


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """The same document under the other API's key names."""
    if isinstance(value, dict):
        return {(k if (n := names.get(k, k)) in value else n): renamed(v, names) for k, v in value.items()}
    return [renamed(item, names) for item in value] if isinstance(value, list) else value


def v1_document(document: Document) -> Document:
    shown: Document = renamed(document, _V1_NAMES)
    if "version" in shown:
        shown["version"] = "1_0"
    for mapping in shown.get("mappings", ()):
        mapping.setdefault("whitelist_ids", [])
    return shown


def v2_document(document: Document) -> Document:
    shown: Document = renamed(document, {})
    if "version" in shown:
        shown["version"] = "2"
    for mapping in shown.get("mappings", ()):
        v2_mapping(mapping)
    return shown


def v1_rule(rule: ImageRule) -> Document:
    shown: Document = renamed(rule.document(), _V1_NAMES)
    return shown


def v2_mapping(mapping: Document) -> Document:
    """A mapping rule in v2's only form, the plural one."""
    if (policy_id := mapping.pop("policy_id", None)) is not None:
        mapping["rule_set_ids"] = [policy_id]
    mapping.setdefault("allowlist_ids", [])
    return mapping


def dialect(document: Document) -> ApiName:
    """Which API a policy document was written for."""
    return "v2" if "rule_sets" in document else "v1"


def read_policy(document: object, api: ApiName) -> tuple[Policy, Document]:
    """A typed policy and its document under v2's names; a schema mistake is the framework's 400."""
    if not isinstance(document, dict):
        raise ProblemError(400, f"{document!r} is not of type 'object'")
    if api == "v2":
        check_document(document)
    elif missing := [key for key in _REQUIRED_BY_V1 if key not in document]:
        raise ProblemError(400, f"'{missing[0]}' is a required property")
    internal: Document = renamed(document, _V2_NAMES) if api == "v1" else document
    try:
        return Policy.model_validate(internal), internal
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise ProblemError(400, f"{first['msg']} - '{path}'") from error
