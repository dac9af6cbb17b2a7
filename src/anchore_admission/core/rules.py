"""Which rule an image of a workload falls under: the compiled rule book and its first match."""

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from anchore_admission.core.reference import DOCKER_HUB, ImageReference
from anchore_admission.models.configuration import (
    Configuration,
    Defaults,
    Enforcement,
    LabelSelector,
    Match,
    ModeName,
    OnError,
    RuleSection,
)

DEFAULTS_NAME = "defaults"
Pattern = re.Pattern[str]


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """What is done with an image. ``policy`` None means the account's active policy.

    Compared by identity, which costs nothing where a verdict is remembered for a rule.
    """

    name: str
    mode: ModeName
    account: str
    policy: str | None
    enforcement: Enforcement
    on_error: OnError
    request_analysis: bool
    require_mapping: bool


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Everything but the image that a rule may look at."""

    namespace: str = ""
    kinds: tuple[str, ...] = ()
    user: str = ""
    groups: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


class Condition(Protocol):
    """One key of a rule's ``match``, compiled."""

    def __call__(self, names: tuple[str, ...], circumstances: Circumstances, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class RuleBook:
    """The rules in order, and what holds when none matches."""

    rules: tuple[tuple[tuple[Condition, ...], Rule], ...]
    defaults: Rule

    @property
    def asking(self) -> list[Rule]:
        """Every rule that any image may fall under and that asks Anchore."""
        rules = (*(rule for _, rule in self.rules), self.defaults)
        return [rule for rule in rules if rule.mode is not ModeName.SKIP]

    def select(self, names: tuple[str, ...], circumstances: Circumstances) -> Rule:
        """The first rule whose conditions all hold for an image known by these names."""
        for conditions, rule in self.rules:
            for condition in conditions:
                if not condition(names, circumstances):
                    break
            else:
                return rule
        return self.defaults


def compile_rules(configuration: Configuration) -> RuleBook:
    defaults = configuration.defaults
    return RuleBook(
        tuple((_conditions(section.match), _rule(section, defaults)) for section in configuration.rules),
        _rule(RuleSection(name=DEFAULTS_NAME), defaults),
    )


def image_names(reference: ImageReference) -> tuple[str, ...]:
    """The texts an image glob is tried on: the repository alone, with its tag or with its digest.

    The tag of ``tag@digest`` is left out because anyone can write it; the host is lower-cased for matching only.
    """
    repositories = [f"{reference.host.lower()}/{reference.path}"]
    if reference.host == DOCKER_HUB:
        repositories.append(reference.official_name or reference.path)
    if reference.official_name:
        repositories.append(f"{DOCKER_HUB}/{reference.official_name}")
    suffix = f"@{reference.digest}" if reference.digest else f":{reference.tag}"
    return tuple(name + end for name in repositories for end in ("", suffix))


def _rule(section: RuleSection, defaults: Defaults) -> Rule:
    """A null policy that is written down means the active policy, even where the defaults name one."""
    written = section.model_fields_set
    return Rule(
        name=section.name,
        mode=section.mode or defaults.mode,
        account=section.account or defaults.account,
        policy=section.policy if "policy" in written else defaults.policy,
        enforcement=section.enforcement or defaults.enforcement,
        on_error=section.on_error or defaults.on_error,
        request_analysis=defaults.request_analysis if section.request_analysis is None else section.request_analysis,
        require_mapping=defaults.require_mapping if section.require_mapping is None else section.require_mapping,
    )


def _conditions(match: Match) -> tuple[Condition, ...]:
    """Cheap ones first; an empty match holds for everything."""
    conditions: list[Condition] = []
    if match.namespaces:
        conditions.append(_any_glob(match.namespaces, lambda _, c: (c.namespace,)))
    if match.kinds:
        conditions.append(_any_glob(match.kinds, lambda _, c: c.kinds))
    if match.users:
        conditions.append(_any_glob(match.users, lambda _, c: (c.user,)))
    if match.groups:
        conditions.append(_any_glob(match.groups, lambda _, c: c.groups))
    if match.service_accounts:
        conditions.append(_any_glob(match.service_accounts, lambda _, c: c.service_accounts))
    if match.images:
        conditions.append(_any_glob(map(_lower_host, match.images), lambda names, _: names))
    if match.object_selector:
        conditions.append(_labels(match.object_selector))
    conditions.extend(_annotation(key, globs) for key, globs in (match.annotations or {}).items())
    return tuple(conditions)


class _Values(Protocol):
    def __call__(self, names: tuple[str, ...], circumstances: Circumstances, /) -> Iterable[str]: ...


def _any_glob(globs: Iterable[str], values: _Values) -> Condition:
    matcher = _compile(globs)
    return lambda names, circumstances: any(matcher.match(value) for value in values(names, circumstances))


def _annotation(key: str, globs: Iterable[str]) -> Condition:
    matcher = _compile(globs)
    return lambda _, c: key in c.annotations and matcher.match(c.annotations[key]) is not None


def _labels(selector: LabelSelector) -> Condition:
    def holds(_: tuple[str, ...], circumstances: Circumstances) -> bool:
        labels = circumstances.labels
        if any(labels.get(key) != value for key, value in selector.match_labels.items()):
            return False
        return all(_expression(e.key, e.operator, e.values, labels) for e in selector.match_expressions)

    return holds


def _expression(key: str, operator: str, values: list[str], labels: Mapping[str, str]) -> bool:
    """As k8s.io/apimachinery: NotIn holds for an absent key."""
    match operator:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def _compile(globs: Iterable[str]) -> Pattern:
    """One expression for all globs; ``*`` and ``?`` are special, brackets are not (IPv6 hosts carry them).

    ``fnmatch.translate`` keeps many stars from backtracking without bound.
    """
    return re.compile("|".join(fnmatch.translate(glob.replace("[", "[[]")) for glob in globs))


def _lower_host(glob: str) -> str:
    host, slash, rest = glob.partition("/")
    return host.lower() + slash + rest if slash else glob
