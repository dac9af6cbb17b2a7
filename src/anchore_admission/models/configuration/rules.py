"""Rules: when one applies, and what it sets."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from anchore_admission.models.configuration.base import Name, Section, Text
from anchore_admission.models.configuration.words import Enforcement, ModeName, OnError


def _reject_regex(value: str) -> str:
    if value.startswith("regex:"):
        raise ValueError("regular expressions are not supported yet; use a glob (* matches any text)")
    return value


Glob = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(_reject_regex)]
Globs = Annotated[list[Glob], Field(min_length=1)]


class Expression(Section):
    """One of a label selector's ``matchExpressions``, as Kubernetes defines them."""

    key: Text
    """The label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label is compared; NotIn holds for an absent label too."""
    values: list[str] = Field([])
    """The values for In and NotIn; the other operators take none."""

    @model_validator(mode="after")
    def _values_fit_operator(self) -> "Expression":
        if (self.operator in {"In", "NotIn"}) != bool(self.values):
            raise ValueError("In and NotIn need values, Exists and DoesNotExist take none")
        return self


class LabelSelector(Section):
    """A Kubernetes label selector; everything in it must hold."""

    match_labels: dict[str, str] = Field({})
    """Labels and the values they must have."""
    match_expressions: list[Expression] = Field([])
    """Comparisons that must all hold."""

    @model_validator(mode="after")
    def _selects_something(self) -> "LabelSelector":
        if not self.match_labels and not self.match_expressions:
            raise ValueError("give matchLabels or matchExpressions")
        return self


class Match(Section):
    """When a rule applies: every key given must hold; of a list, any entry."""

    images: Globs | None = None
    """Globs compared with the image's repository, repository:tag and repository@digest."""
    namespaces: Globs | None = None
    """Globs for the namespace of the request."""
    kinds: Globs | None = None
    """Globs for the kind, such as Deployment or apps/Deployment."""
    users: Globs | None = None
    """Globs for the name of the requesting user; for Pods of a workload, this is its controller."""
    groups: Globs | None = None
    """Globs for the groups of the requesting user."""
    service_accounts: Globs | None = None
    """Globs for the service account that the Pods run as, with or without its namespace."""
    object_selector: LabelSelector | None = None
    """The workload's labels, overridden by those of its Pod template."""
    annotations: Annotated[dict[str, Globs], Field(min_length=1)] | None = None
    """Annotations that must exist, each with globs for its value."""


class ActionSection(Section):
    """The keys that a rule may set; a key left out falls back to ``defaults``."""

    mode: ModeName | None = None
    """How Anchore's facts about an image become a verdict."""
    account: Name | None = None
    """The account whose credentials are used with Anchore."""
    policy: Text | None = None
    """The policy (bundle) to evaluate; null for the account's active one."""
    enforcement: Enforcement | None = None
    """The effect of a denial."""
    on_error: OnError | None = None
    """The effect of a missing verdict, for example while Anchore is unavailable."""
    request_analysis: bool | None = None
    """Submit images that Anchore does not know for analysis."""
    require_mapping: bool | None = None
    """In strict mode, deny images that none of the policy's mappings covers."""


class RuleSection(ActionSection):
    """One entry of ``rules``; the first whose ``match`` holds for an image applies to it."""

    name: Name
    """The rule's name in messages, metrics and the audit trail."""
    match: Match = Match()
    """When the rule applies; without it, always."""


class DefaultsSection(Section):
    """The values for images that no rule matches, and for keys that a rule leaves out."""

    mode: ModeName = ModeName.PASSIVE
    """How Anchore's facts about an image become a verdict."""
    account: Name = "default"
    """The account whose credentials are used with Anchore."""
    policy: Text | None = None
    """The policy (bundle) to evaluate; null for the account's active one."""
    enforcement: Enforcement = Enforcement.DENY
    """The effect of a denial."""
    on_error: OnError = OnError.DENY
    """The effect of a missing verdict, for example while Anchore is unavailable."""
    request_analysis: bool = True
    """Submit images that Anchore does not know for analysis."""
    require_mapping: bool = False
    """In strict mode, deny images that none of the policy's mappings covers."""
