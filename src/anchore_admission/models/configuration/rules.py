"""Rules: when one applies, and what it sets."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from anchore_admission.models.configuration.base import Name, Section, Text, off_in
from anchore_admission.models.configuration.words import Enforcement, ModeName, OnError, Pin

EXPRESSION = "regex:"
"""The beginning of a pattern that is a regular expression (RE2 syntax); any other is a glob."""
MAX_RULES = 5000
Glob = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
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


class MatchKeys(Section):
    """The keys of ``match`` and ``except``: every key given must hold; of a list, any entry.

    An entry is a glob over the whole value, or ``regex:`` and an RE2 expression over the whole value.
    """

    images: Globs | None = None
    """Patterns compared with the image's repository, repository:tag and repository@digest."""
    namespaces: Globs | None = None
    """Patterns for the namespace of the request."""
    namespace_selector: LabelSelector | None = None
    """The labels of the namespace."""
    kinds: Globs | None = None
    """Patterns for the kind, such as Deployment or apps/Deployment."""
    names: Globs | None = None
    """Patterns for the name of the object, or for its generateName if it has no name yet."""
    users: Globs | None = None
    """Patterns for the name of the requesting user; for Pods of a workload, this is its controller."""
    groups: Globs | None = None
    """Patterns for the groups of the requesting user."""
    service_accounts: Globs | None = None
    """Patterns for the service account that the Pods run as, with or without its namespace."""
    object_selector: LabelSelector | None = None
    """The workload's labels, overridden by those of its Pod template."""
    annotations: Annotated[dict[str, Globs], Field(min_length=1)] | None = None
    """Annotations that must exist, each with patterns for its value."""


class ExceptMatch(MatchKeys):
    """An exception from a match, with the same keys; it holds if every key given holds."""

    @model_validator(mode="after")
    def _excepts_something(self) -> "ExceptMatch":
        if not self.model_fields_set:
            raise ValueError("must not be empty; leave the key out if there is no exception")
        return self


class Match(MatchKeys):
    """When a rule applies: every key given must hold, and ``except`` must not."""

    except_: Annotated[ExceptMatch | None, Field(alias="except", title="except")] = None
    """Images to which the rule does not apply although the other keys hold."""


class ValueFrom(Section):
    """The label or annotation whose value chooses; exactly one of the three is given."""

    namespace_label: Text | None = None
    """A label of the namespace."""
    label: Text | None = None
    """A label of the workload, overridden by that of its Pod template; its author sets it."""
    annotation: Text | None = None
    """An annotation of the workload, overridden by that of its Pod template; its author sets it."""

    @model_validator(mode="after")
    def _has_one_source(self) -> "ValueFrom":
        if len([source for source in (self.namespace_label, self.label, self.annotation) if source]) != 1:
            raise ValueError("give exactly one of namespaceLabel, label and annotation")
        return self


class PolicyFrom(ValueFrom):
    """The policy, chosen by the value of a label or annotation."""

    allowed: Annotated[dict[str, Text | None], Field(min_length=1)]
    """The values that are allowed, each with its policy; null is the account's active policy."""


class AccountFrom(ValueFrom):
    """The account, chosen by the value of a label or annotation."""

    allowed: Annotated[dict[str, Name], Field(min_length=1)]
    """The values that are allowed, each with its account."""


class ModeFrom(ValueFrom):
    """The mode, chosen by the value of a label or annotation."""

    allowed: Annotated[dict[str, ModeName], Field(min_length=1)]
    """The values that are allowed, each with its mode."""


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
    pin: Annotated[Pin | None, off_in(Pin)] = None
    """Rewrite the tags of Pods to the judged digest; ``required`` denies a Pod with an image that has none."""

    opa: bool | None = None
    """Ask the Open Policy Agent of the section opa about objects with such an image."""


def _expect_pinnable(section: "RuleSection | DefaultsSection") -> None:
    """Raise ValueError where a section's own keys contradict its ``pin``."""
    if section.pin in {None, Pin.OFF}:
        return
    if section.mode is ModeName.SKIP:
        raise ValueError("pin needs a mode that judges the image, not skip")
    if section.pin is Pin.REQUIRED and section.mode is ModeName.PASSIVE and "mode" in section.model_fields_set:
        raise ValueError("pin: required needs the mode analysis or strict, because passive always admits")
    if section.pin is Pin.BEST_EFFORT and section.request_analysis is False:
        raise ValueError("pin: bestEffort needs requestAnalysis, because submitting a tag tells where it points")


class BreakGlassSection(Section):
    """Lets a person start a denied Pod in an emergency, with a reason."""

    annotation: Text
    """The annotation of the Pod that holds the reason."""


class RuleSection(ActionSection):
    """One entry of ``rules``; the first whose ``match`` holds for an image applies to it."""

    name: Name
    """The rule's name in messages, metrics and the audit trail."""
    match: Match = Match()
    """When the rule applies; without it, always."""
    mode_from: ModeFrom | None = None
    """Chooses the mode by the value of a label or annotation, instead of ``mode``."""
    account_from: AccountFrom | None = None
    """Chooses the account by the value of a label or annotation, instead of ``account``."""
    policy_from: PolicyFrom | None = None
    """Chooses the policy by the value of a label or annotation, instead of ``policy``."""
    break_glass: BreakGlassSection | None = None
    """Admits a denied Pod whose annotation gives a reason; ``match`` must name the users or groups that may do so."""

    @model_validator(mode="after")
    def _can_be_pinned(self) -> "RuleSection":
        _expect_pinnable(self)
        return self


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
    pin: Annotated[Pin, off_in(Pin)] = Pin.OFF
    """Rewrite the tags of Pods to the judged digest; ``required`` denies a Pod with an image that has none."""

    opa: bool = True
    """Ask the Open Policy Agent of the section opa about objects with such an image."""

    @model_validator(mode="after")
    def _can_be_pinned(self) -> "DefaultsSection":
        _expect_pinnable(self)
        return self
