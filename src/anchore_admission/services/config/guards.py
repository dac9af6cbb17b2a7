"""Guards of a rule or exemption: the keys of its ``match`` whose values the author of a workload does not choose."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from anchore_admission.core.rules.coverage import is_everything, split_image_glob
from anchore_admission.core.rules.labels import comparisons_of
from anchore_admission.core.rules.patterns import Pattern, PatternMasks, image_pattern_of, pattern_of
from anchore_admission.models.configuration import EXPRESSION, LabelSelector, Match, MatchKeys

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
_NAME_OF_NAMESPACE: Final = "kubernetes.io/metadata.name"
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
_CONTROLLERS: Final = tuple(
    f"system:serviceaccount:kube-system:{kind}-controller"
    for kind in ("replicaset", "job", "statefulset", "daemon-set", "replication")
)
"""The users that create Pods from the templates of others."""
_THEIR_GROUPS: Final = ("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated")
_ANY_HOST: Final = re.compile(r"[(^]{0,4}(?:\.|\[\^/\]|\\S)[*+].{0,4096}", re.DOTALL)
"""A regular expression that begins with any text, where the registry stands."""
_OPEN_DOT: Final = re.compile(r"[A-Za-z0-9-]\.[A-Za-z0-9-]")
"""A dot of a host name that a regular expression reads as any character."""


def is_guarded(match: Match) -> bool:
    """Return whether a key of the operator's restricts the rule."""
    return any(_restricts(match, key) for key in _OF_OPERATORS)


def restricts_nothing(match: Match) -> bool:
    """Return whether a match seems to hold for every image, also in disguise: ``*/*``, ``regex:.*``, ``kinds: [*]``."""
    if match.except_ or match.object_selector or match.annotations or is_guarded(match):
        return False
    return all(any(map(is_everything, getattr(match, key) or "*")) for key in ("kinds", "names", "service_accounts"))


def open_to_authors(match: Match, chosen: Sequence[str] = ()) -> str | None:
    """Return why any author of a Pod can bring the match about, None if none can, or if nothing restricts it.

    ``chosen`` names what else an author chooses.
    """
    if not may_be_pod(match) or (restricts_nothing(match) and not chosen):
        return None
    guards = [key for key in _OF_OPERATORS if _restricts(match, key)]
    keys = [word for key, word in _OF_AUTHORS.items() if getattr(match, key)]
    excepted = _left_out(match)
    if not guards and (keys or chosen or excepted):
        listed = ", ".join([*keys, *chosen, *(f"except: {word}" for word in excepted)])
        why = f"its only guard is what the author of a workload chooses ({listed})"
        return f"{why}; add namespaces, users, groups or images"
    if guards == ["images"] and (found := [each for each in match.images or () if _is_of_any_registry(each)]):
        return f"{found[0]} names no registry, and authors may push to one of their own; write the registry's name"
    people = [key for key in guards if key in {"users", "groups"}]
    if people == guards and people and not any(_keeps_controllers_out(match, key) for key in people):
        why = "its users or groups include kube-system's controllers, which create the Pods of all Deployments"
        return f"{why}; add namespaces or images, or name people"
    return None


def way_out(match: Match) -> str | None:
    """Return what the author of a workload chooses to leave a match by its ``except``, None if nothing is enough."""
    return ", ".join(_left_out(match)) or None


def open_dots(match: MatchKeys) -> list[str]:
    """Return regular expressions for images that hold for other registries: a dot in a host name stands for any."""
    hosts = {
        each: each.removeprefix(EXPRESSION).partition("/")[0] for each in match.images or () if _is_expression(each)
    }
    return [expression for expression, host in hosts.items() if _OPEN_DOT.search(host.replace(r"\.", ""))]


def may_be_pod(match: Match) -> bool:
    """Return whether the rule may apply to Pods. Without them it guards nothing: the Pods of a template are judged."""
    return match.kinds is None or bool(PatternMasks.of((pattern_of(kind), 1) for kind in match.kinds).matching(_POD))


def _left_out(match: Match) -> list[str]:
    """Return the keys of ``except`` by which alone an author is excepted."""
    excepted = match.except_
    if excepted is None or any(_restricts(excepted, key) for key in _OF_OPERATORS):
        return []
    return [word for key, word in _OF_AUTHORS.items() if key != "kinds" and getattr(excepted, key)]


def _restricts(match: MatchKeys, key: str) -> bool:
    value = getattr(match, key)
    if isinstance(value, LabelSelector):
        # Every namespace has its name as a label.
        return any((one.key, one.operator) != (_NAME_OF_NAMESPACE, "Exists") for one in comparisons_of(value))
    return bool(value) and not _takes_all(key, value)


def _takes_all(key: str, patterns: Sequence[str]) -> bool:
    """Return whether the patterns of a key match all samples."""
    translated = [(image_pattern_of if key == "images" else pattern_of)(written) for written in patterns]
    return all(any(_takes(pattern, names) for pattern in translated) for names in _SAMPLES[key])


def _takes(pattern: Pattern, names: Sequence[str]) -> bool:
    compared = (name for name in names if not (pattern.but_digests and "@" in name))
    return bool(PatternMasks.of([(pattern, 1)]).any_matching(compared))


def _is_of_any_registry(pattern: str) -> bool:
    """A digest that is written out is the same image in every registry."""
    if _is_expression(pattern):
        return bool(_ANY_HOST.fullmatch(pattern.removeprefix(EXPRESSION))) and "@sha256:" not in pattern
    return split_image_glob(pattern)[0] is None and not re.search("@sha256:[0-9a-f]{64}$", pattern)


def _keeps_controllers_out(match: Match, key: str) -> bool:
    masks = PatternMasks.of((pattern_of(written), 1) for written in getattr(match, key))
    return not masks.any_matching(_CONTROLLERS if key == "users" else _THEIR_GROUPS)


def _is_expression(pattern: str) -> bool:
    return pattern.startswith(EXPRESSION)
