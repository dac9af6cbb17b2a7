"""Warnings about a valid configuration: rules that never apply or deny, guards that authors choose, old exemptions."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from anchore_admission.core.rules.coverage import excepts_itself, matches_everything
from anchore_admission.core.rules.shadows import shadowed
from anchore_admission.errors import Problem
from anchore_admission.models.configuration import (
    EXPRESSION,
    Configuration,
    DefaultsSection,
    Enforcement,
    ExemptionSection,
    Match,
    ModeName,
    Pin,
    RuleSection,
)
from anchore_admission.models.moments import written_time
from anchore_admission.services.config.guards import open_dots, open_to_authors, restricts_nothing, way_out

SOON_DAYS: Final = 14
_DAY: Final = 86400
_LAX: Final = frozenset({ModeName.SKIP, ModeName.PASSIVE})
_ACCOUNT: Final = "system:serviceaccount:"
_PARTS: Final = 4
"""Parts of a service account's user name."""


def warnings_about(configuration: Configuration, now: float) -> Iterator[Problem]:
    """Yield what is probably not meant in a valid configuration. ``now`` is a Unix time."""
    defaults, rules = configuration.defaults, configuration.rules
    yield from _never_applied(rules)
    yield from _never_denied(configuration)
    # Where nothing denies, there is nothing to avoid.
    denies = not _is_lax(None, defaults) or not all(_is_lax(rule, defaults) for rule in rules)
    for number, rule in enumerate(rules):
        path = f"rules[{number}]"
        yield from _about_match(path, rule.name, rule.match)
        if denies:
            yield from _left_to_authors(path, rule, [*rules[number + 1 :], None], defaults)
        yield from _never_evaluated(path, rule, defaults)
        yield from _never_pinned(path, rule, configuration)
        if rule.opa and configuration.opa is None:
            yield Problem(f"{path}.opa", f"{rule.name} asks no policy, because there is no section opa")
    asking = (defaults.opa, *(rule.opa for rule in rules))
    if configuration.opa and not any(asking):
        yield Problem("opa", "no policy is asked: defaults.opa is false, and no rule sets opa: true")
    for number, exemption in enumerate(configuration.exemptions):
        yield from _about_match(f"exemptions[{number}]", exemption.name, exemption.match)
        yield from _about_exemption(f"exemptions[{number}]", exemption, now)


def _never_applied(rules: Sequence[RuleSection]) -> Iterator[Problem]:
    """Yield the rules that an earlier rule leaves no image to."""
    for number, earlier in shadowed([rule.match for rule in rules]):
        above = rules[earlier]
        matches = "every image" if matches_everything(above.match) else "every image that it matches"
        why = f"rules[{earlier}] ({above.name}) above it matches {matches}"
        yield Problem(f"rules[{number}]", f"{rules[number].name} never applies: {why}")


def _never_denied(configuration: Configuration) -> Iterator[Problem]:
    """Yield the rule that lets every image through, or the defaults if no rule that applies judges.

    ``enforcement: audit`` lets images through too, but says so itself.
    """
    defaults = configuration.defaults
    for number, rule in enumerate(configuration.rules):
        modes = _modes(rule, defaults)
        if restricts_nothing(rule.match):
            if modes <= _LAX:
                yield Problem(f"rules[{number}]", f"{rule.name} matches every image and denies none ({_listed(modes)})")
            return
    every = {defaults.mode, *(mode for rule in configuration.rules for mode in _modes(rule, defaults))}
    if every <= _LAX:
        yield Problem("defaults.mode", f"no image is ever denied: every mode in use is {_listed(every)}")


def _about_match(path: str, name: str, match: Match) -> Iterator[Problem]:
    """Yield why a match holds for less, or for more, than it says."""
    if excepts_itself(match):
        yield Problem(f"{path}.match", f"{name} never applies: its except takes away every image that it matches")
    for key, keys in (("", match), (".except", match.except_)):
        for expression in open_dots(keys) if keys else ():
            why = f"{expression} holds for other registries, too: in their names, write \\. for a dot"
            yield Problem(f"{path}.match{key}.images", f"{name}: {why}")
        for user in (keys.users or ()) if keys else ():
            if user.startswith(_ACCOUNT) and len(user.split(":")) != _PARTS and not {"*", "?"} & set(user):
                why = f"no user is called {user}; write {_ACCOUNT}NAMESPACE:NAME"
                yield Problem(f"{path}.match{key}.users", f"{name}: {why}")


def _left_to_authors(
    path: str, rule: RuleSection, below: Sequence[RuleSection | None], defaults: DefaultsSection
) -> Iterator[Problem]:
    """Yield how the author of a Pod can avoid a denial: by entering a lax rule, or by leaving a strict one."""
    lax = _modes(rule, defaults) & _LAX or _enforcement(rule, defaults) is not Enforcement.DENY
    if lax:
        choice = rule.mode_from
        chosen = ("the label or annotation of modeFrom",) if choice and not choice.namespace_label else ()
        if why := open_to_authors(rule.match, chosen):
            skips = ModeName.SKIP in _modes(rule, defaults)
            effect = "skips images" if skips else f"denies none of its images ({_laxity(rule, defaults)})"
            yield Problem(path, f"{rule.name} {effect}, but {why}")
    elif (word := way_out(rule.match)) and any(_is_lax(each, defaults) for each in below):
        why = f"the author of a workload leaves it by except ({word}), for a rule or for defaults that deny nothing"
        yield Problem(
            f"{path}.match.except", f"{rule.name} denies images, but {why}; add namespaces or images to except"
        )


def _never_evaluated(path: str, rule: RuleSection, defaults: DefaultsSection) -> Iterator[Problem]:
    """Yield settings of a policy in a rule that evaluates none."""
    modes = _modes(rule, defaults)
    if ModeName.STRICT in modes:
        return
    named = (("policy", rule.policy), ("policyFrom", rule.policy_from), ("requireMapping", rule.require_mapping))
    for key, value in named:
        if value:
            why = f"its mode ({_listed(modes)}) evaluates no policy; write mode: strict"
            yield Problem(f"{path}.{key}", f"{rule.name} sets {key}, but {why}")


def _never_pinned(path: str, rule: RuleSection, configuration: Configuration) -> Iterator[Problem]:
    """Yield why a rule's ``pin`` has no effect: a digest has no tag to match, and passive mode never denies."""
    defaults = configuration.defaults
    pin, modes = rule.pin or defaults.pin, _modes(rule, defaults)
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
    if restricts_nothing(exemption.match):
        yield Problem(f"{path}.match", f"{exemption.name} matches every image; name the images that it is for")
    elif why := open_to_authors(exemption.match):
        yield Problem(f"{path}.match", f"{exemption.name} exempts images, but {why}")


def _modes(rule: RuleSection | None, defaults: DefaultsSection) -> set[ModeName]:
    if rule is None:
        return {defaults.mode}
    return set(rule.mode_from.allowed.values()) if rule.mode_from else {rule.mode or defaults.mode}


def _enforcement(rule: RuleSection | None, defaults: DefaultsSection) -> Enforcement:
    return (rule.enforcement if rule else None) or defaults.enforcement


def _is_lax(rule: RuleSection | None, defaults: DefaultsSection) -> bool:
    """Return whether a rule, or the defaults without one, denies no image."""
    return _modes(rule, defaults) <= _LAX or _enforcement(rule, defaults) is not Enforcement.DENY


def _laxity(rule: RuleSection | None, defaults: DefaultsSection) -> str:
    modes, enforcement = _modes(rule, defaults), _enforcement(rule, defaults)
    if enforcement is Enforcement.DENY or modes <= _LAX:
        return _listed(modes)
    return f"{_listed(modes)} with enforcement {enforcement}"


def _listed(modes: set[ModeName]) -> str:
    return " or ".join(sorted(modes))
