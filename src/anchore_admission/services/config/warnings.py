"""Warnings about a valid configuration: rules that never apply or deny, guards that authors choose, old exemptions."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from anchore_admission.core.rules.coverage import matches_everything
from anchore_admission.core.rules.patterns import Pattern, PatternMasks, image_pattern_of, pattern_of
from anchore_admission.core.rules.shadows import shadowed
from anchore_admission.errors import Problem
from anchore_admission.models.configuration import (
    EXPRESSION,
    Configuration,
    ExemptionSection,
    Match,
    ModeName,
    Pin,
    RuleSection,
)
from anchore_admission.models.moments import written_time

SOON_DAYS: Final = 14
_DAY: Final = 86400
_LAX: Final = frozenset({ModeName.SKIP, ModeName.PASSIVE})
_OF_OPERATORS: Final = ("images", "namespaces", "namespace_selector", "users", "groups")
"""Keys of ``match`` that guard a rule: the author of a workload does not choose their values freely.

An author chooses the image, but not what a registry holds under its name.
"""
_OF_AUTHORS: Final = {
    "object_selector": "labels",
    "annotations": "annotations",
    "names": "names",
    "service_accounts": "service accounts",
    "kinds": "kinds",
}
"""Keys of ``match`` whose values the author of a workload chooses."""
_POD: Final = "Pod"
_DIGEST: Final = "sha256:" + "5" * 64
_SAMPLES: Final[Mapping[str, Sequence[tuple[str, ...]]]] = {
    "images": (
        ("docker.io/library/nginx", "docker.io/library/nginx:1.25", "docker.io/nginx", "docker.io/nginx:1.25"),
        ("registry.example.com/team/app", "registry.example.com/team/app:latest"),
        ("ghcr.io/x", f"ghcr.io/x@{_DIGEST}"),
    ),
    "namespaces": (("default",), ("kube-system",), ("team-1-prod",), ("x",)),
    "users": (("alice",), ("bob@example.com",), ("system:serviceaccount:kube-system:job-controller",)),
    "groups": (("system:authenticated",),),
}
"""Values that have nothing in common, each with its names: patterns that match all of them restrict nothing.

Every user whom the API server knows is in the one group.
"""


def warnings_about(configuration: Configuration, now: float) -> Iterator[Problem]:
    """Yield what is probably not meant in a valid configuration. ``now`` is a Unix time."""
    yield from _never_applied(configuration.rules)
    yield from _never_denied(configuration)
    for number, rule in enumerate(configuration.rules):
        yield from _chosen_by_authors(f"rules[{number}]", rule, configuration.defaults.mode)
        yield from _never_pinned(f"rules[{number}]", rule, configuration)
        if rule.opa and configuration.opa is None:
            yield Problem(f"rules[{number}].opa", f"{rule.name} asks no policy, because there is no section opa")
    for number, exemption in enumerate(configuration.exemptions):
        yield from _about_exemption(f"exemptions[{number}]", exemption, now)


def _never_applied(rules: Sequence[RuleSection]) -> Iterator[Problem]:
    """Yield the rules that an earlier rule leaves no image to."""
    for number, earlier in shadowed([rule.match for rule in rules]):
        above = rules[earlier]
        matches = "every image" if matches_everything(above.match) else "every image that it matches"
        why = f"rules[{earlier}] ({above.name}) above it matches {matches}"
        yield Problem(f"rules[{number}]", f"{rules[number].name} never applies: {why}")


def _never_denied(configuration: Configuration) -> Iterator[Problem]:
    """Yield the rule that lets every image through, or the defaults if no rule that applies judges."""
    defaults = configuration.defaults.mode
    for number, rule in enumerate(configuration.rules):
        modes = _modes(rule, defaults)
        if _restricts_nothing(rule.match):
            if modes <= _LAX:
                yield Problem(f"rules[{number}]", f"{rule.name} matches every image and denies none ({_listed(modes)})")
            return
    every = [defaults, *(mode for rule in configuration.rules for mode in _modes(rule, defaults))]
    if _LAX.issuperset(every):
        yield Problem("defaults.mode", f"no image is ever denied: every mode in use is {_listed(set(every))}")


def _chosen_by_authors(path: str, rule: RuleSection, defaults: ModeName) -> Iterator[Problem]:
    """Yield a way in which the author of a Pod can have its images skipped."""
    match = rule.match
    if ModeName.SKIP not in _modes(rule, defaults) or not _may_be_pod(match) or _is_guarded(match):
        return
    keys = [word for key, word in _OF_AUTHORS.items() if getattr(match, key)]
    choice = rule.mode_from
    if choice and not choice.namespace_label:
        keys.append("the label or annotation of modeFrom")
    if keys:
        why = f"its only guard is what the author of a workload chooses ({', '.join(keys)})"
        yield Problem(path, f"{rule.name} skips images, but {why}; add namespaces, users, groups or images")


def _never_pinned(path: str, rule: RuleSection, configuration: Configuration) -> Iterator[Problem]:
    """Yield why a rule's ``pin`` has no effect: a digest has no tag to match, and passive mode never denies."""
    defaults = configuration.defaults
    pin, modes = rule.pin or defaults.pin, _modes(rule, defaults.mode)
    if pin is Pin.OFF or modes == {ModeName.SKIP}:
        return
    if pin is Pin.REQUIRED and modes <= _LAX:
        why = f"its mode ({_listed(modes)}) denies nothing"
        yield Problem(f"{path}.pin", f"{rule.name} requires pinned images, but {why}")
    requests = defaults.request_analysis if rule.request_analysis is None else rule.request_analysis
    # With `required`, such a rule may mean to admit nothing but digests.
    if pin is Pin.BEST_EFFORT and not requests:
        why = "only tags that another rule submits to Anchore, because its requestAnalysis is false"
        yield Problem(f"{path}.pin", f"{rule.name} pins {why}")
    for number, pattern in enumerate(rule.match.images or ()):
        if ":" in pattern.rpartition("/")[2] and "@" not in pattern and not pattern.startswith(EXPRESSION):
            why = "a pinned image has no tag to match; name the repository without a tag"
            yield Problem(f"{path}.match.images[{number}]", f"{rule.name} pins no image that {pattern} matches: {why}")


def _about_exemption(path: str, exemption: ExemptionSection, now: float) -> Iterator[Problem]:
    left = exemption.expires - now
    if left <= 0:
        yield Problem(path, f"{exemption.name} expired at {written_time(exemption.expires)}; renew or remove it")
    elif left <= SOON_DAYS * _DAY:
        days = math.ceil(left / _DAY)
        when = f"at {written_time(exemption.expires)}, in {days} day{'' if days == 1 else 's'} at most"
        yield Problem(path, f"{exemption.name} expires {when}")
    if _restricts_nothing(exemption.match):
        yield Problem(f"{path}.match", f"{exemption.name} matches every image; name the images that it is for")


def _modes(rule: RuleSection, defaults: ModeName) -> set[ModeName]:
    return set(rule.mode_from.allowed.values()) if rule.mode_from else {rule.mode or defaults}


def _is_guarded(match: Match) -> bool:
    """Return whether a key of the operator's restricts the rule."""
    return any(getattr(match, key) and not _takes_all(key, getattr(match, key)) for key in _OF_OPERATORS)


def _restricts_nothing(match: Match) -> bool:
    """Return whether a match seems to hold for every image, also in disguise: ``*/*``, ``regex:.*``."""
    given = match.model_fields_set
    return given <= {"images", "namespaces", "users", "groups"} and not _is_guarded(match)


def _takes_all(key: str, patterns: object) -> bool:
    """Return whether the patterns of a key match all samples; a selector of labels does not."""
    if not isinstance(patterns, list):
        return False
    translated = [(image_pattern_of if key == "images" else pattern_of)(written) for written in patterns]
    return all(any(_takes(pattern, names) for pattern in translated) for names in _SAMPLES[key])


def _takes(pattern: Pattern, names: Sequence[str]) -> bool:
    compared = (name for name in names if not (pattern.but_digests and "@" in name))
    return bool(PatternMasks.of([(pattern, 1)]).any_matching(compared))


def _may_be_pod(match: Match) -> bool:
    """Return whether the rule may apply to Pods. Without them it guards nothing: the Pods of a template are judged."""
    return match.kinds is None or bool(PatternMasks.of((pattern_of(kind), 1) for kind in match.kinds).matching(_POD))


def _listed(modes: set[ModeName]) -> str:
    return " or ".join(sorted(modes))
