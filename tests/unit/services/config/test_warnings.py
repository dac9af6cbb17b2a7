"""Warnings about valid configurations."""

from typing import Any

import pytest

from anchore_admission.models.configuration import Configuration
from anchore_admission.services.config.warnings import warnings_about

_STRICT = {"name": "strict", "match": {"namespaces": ["never"]}, "mode": "strict"}
_NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z


def _warnings(document: dict[str, Any]) -> list[str]:
    return [str(problem) for problem in warnings_about(Configuration.model_validate(document), _NOW)]


def _about_rules(*matches: dict[str, Any]) -> list[str]:
    rules = [{"name": name, "match": match, "mode": "strict"} for name, match in zip("abc", matches, strict=False)]
    return _warnings({"rules": rules})


def test_every_rule_that_never_applies_is_named_with_the_first_reason() -> None:
    assert _about_rules({}, {}, {"namespaces": ["a"]}) == [
        "rules[1]: b never applies: rules[0] (a) above it matches every image",
        "rules[2]: c never applies: rules[0] (a) above it matches every image",
    ]
    assert _about_rules({"namespaces": ["a*"]}, {"namespaces": ["ab*"]}) == [
        "rules[1]: b never applies: rules[0] (a) above it matches every image that it matches"
    ]


def test_a_rule_that_matches_everything_may_be_the_last() -> None:
    assert _about_rules({"namespaces": ["a"]}, {}) == []


_EVERYTHING = {"match": {"images": ["*"]}}


@pytest.mark.parametrize(
    ("document", "warnings"),
    [
        ({}, ["defaults.mode: no image is ever denied: every mode in use is passive"]),
        (
            {"defaults": {"mode": "skip"}, "rules": [{"name": "a", "match": {"namespaces": ["b"]}, "mode": "passive"}]},
            ["defaults.mode: no image is ever denied: every mode in use is passive or skip"],
        ),
        ({"rules": [_STRICT]}, []),
        ({"defaults": {"mode": "analysis"}}, []),
        (
            {
                "defaults": {"mode": "strict"},
                "rules": [{"name": "a", "mode": "skip", "match": {"images": ["*"], "groups": ["*"]}}],
            },
            ["rules[0]: a matches every image and denies none (skip)"],
        ),
        (
            {
                "defaults": {"mode": "strict"},
                "rules": [{"name": "a", "mode": "skip", "match": {"groups": ["system:authenticated"]}}],
            },
            ["rules[0]: a matches every image and denies none (skip)"],
        ),
        (
            {
                "defaults": {"mode": "strict"},
                "rules": [{"name": "a", "mode": "skip", "match": {"groups": ["oncall", "system:*"]}}],
            },
            ["rules[0]: a matches every image and denies none (skip)"],
        ),
        (
            {"defaults": {"mode": "strict"}, "rules": [{"name": "a", "mode": "skip", "match": {"groups": ["oncall"]}}]},
            [],
        ),
        (
            {"defaults": {"mode": "strict"}, "rules": [{"name": "a", "mode": "skip", **_EVERYTHING}]},
            ["rules[0]: a matches every image and denies none (skip)"],
        ),
        (
            {"defaults": {"mode": "strict"}, "rules": [{"name": "a", "mode": "skip", "match": {"images": ["*/*"]}}]},
            ["rules[0]: a matches every image and denies none (skip)"],
        ),
        (
            {
                "defaults": {"mode": "strict"},
                "rules": [{"name": "a", "mode": "skip", "match": {"images": ["regex:.*"]}}],
            },
            ["rules[0]: a matches every image and denies none (skip)"],
        ),
        (
            {
                "defaults": {"mode": "strict"},
                "rules": [{"name": "a", "mode": "skip", "match": {"images": ["docker.io/*", "*:*"]}}],
            },
            ["rules[0]: a matches every image and denies none (skip)"],
        ),
        (
            {
                "defaults": {"mode": "strict"},
                "rules": [{"name": "a", "mode": "skip", "match": {"namespaces": ["regex:.+"], "users": ["?*"]}}],
            },
            ["rules[0]: a matches every image and denies none (skip)"],
        ),
        (
            {
                "defaults": {"mode": "strict"},
                "rules": [{"name": "a", "mode": "skip", "match": {"images": ["*/team/*"], "namespaces": ["dev"]}}],
            },
            [],
        ),
        (
            {
                "defaults": {"mode": "strict"},
                "rules": [{"name": "a", "mode": "skip", "match": {"images": ["regex:quay[.]io/.*:.*"]}}],
            },
            [],
        ),
        (
            {
                "defaults": {"mode": "strict"},
                "rules": [
                    {
                        "name": "a",
                        "mode": "skip",
                        "match": {
                            "kinds": ["*"],
                            "names": ["regex:.*"],
                            "namespaceSelector": {
                                "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]
                            },
                        },
                    }
                ],
            },
            ["rules[0]: a matches every image and denies none (skip)"],
        ),
        # Says so itself.
        (
            {"defaults": {"mode": "strict", "enforcement": "audit"}},
            [],
        ),
        (
            {
                "defaults": {"mode": "strict"},
                "rules": [
                    {"name": "a", "mode": "skip", "match": {"images": ["*"], "except": {"namespaces": ["prod"]}}}
                ],
            },
            [],
        ),
        (
            {
                "defaults": {"mode": "strict"},
                "rules": [{"name": "a", "mode": "skip", "match": {"namespaces": ["regex:[a-z]+"]}}],
            },
            [],
        ),
        (
            {"rules": [_STRICT, {"name": "a", **_EVERYTHING}]},
            ["rules[1]: a matches every image and denies none (passive)"],
        ),
        ({"rules": [{"name": "a", "mode": "strict", **_EVERYTHING}]}, []),
        (
            {"rules": [{"name": "a", "modeFrom": {"namespaceLabel": "mode", "allowed": {"a": "skip", "b": "strict"}}}]},
            [],
        ),
    ],
)
def test_a_configuration_that_denies_nothing_is_pointed_out(document: dict[str, Any], warnings: list[str]) -> None:
    assert _warnings(document) == warnings


def _skips(match: dict[str, Any], **more: object) -> list[str]:
    rule = {"name": "a", "match": match, "mode": None if "modeFrom" in more else "skip", **more}
    return _warnings({"rules": [_STRICT, rule]})


_LABELS = {"objectSelector": {"matchLabels": {"skip": "yes"}}}
_CHOICE = {"label": "mode", "allowed": {"none": "skip", "full": "strict"}}


@pytest.mark.parametrize(
    ("match", "more", "chosen"),
    [
        (_LABELS, {}, "labels"),
        ({"annotations": {"skip": ["yes"]}, "names": ["a*"]}, {}, "annotations, names"),
        ({"serviceAccounts": ["builder"]}, {}, "service accounts"),
        ({"kinds": ["Pod"]}, {}, "kinds"),
        ({**_LABELS, "namespaces": ["*"], "images": ["quay.io/*", "*"]}, {}, "labels"),
        ({**_LABELS, "except": {"namespaces": ["prod"]}}, {}, "labels"),
        ({"kinds": ["P?d"], **_LABELS}, {}, "labels, kinds"),
        ({}, {"modeFrom": _CHOICE}, "the label or annotation of modeFrom"),
        ({"except": {"annotations": {"scan": ["yes"]}}}, {}, "except: annotations"),
        ({"except": {**_LABELS, "namespaces": ["*"]}}, {}, "except: labels"),
    ],
)
def test_a_skip_that_any_author_can_use_is_pointed_out(
    match: dict[str, Any], more: dict[str, object], chosen: str
) -> None:
    why = f"its only guard is what the author of a workload chooses ({chosen})"
    assert _skips(match, **more) == [f"rules[1]: a skips images, but {why}; add namespaces, users, groups or images"]


_CONTROLLERS = "its users or groups include kube-system's controllers, which create the Pods of all Deployments"


@pytest.mark.parametrize(
    ("match", "why"),
    [
        ({"images": ["quay.io/*", "*/team/*"]}, "*/team/* names no registry"),
        ({**_LABELS, "images": ["*nginx*"]}, "*nginx* names no registry"),
        ({"images": ["regex:.*/team/.*"]}, "regex:.*/team/.* names no registry"),
        ({"images": ["regex:[^/]+/team/.*"]}, "regex:[^/]+/team/.* names no registry"),
        ({"users": ["system:serviceaccount:kube-system:*"]}, _CONTROLLERS),
        ({"users": ["system:serviceaccount:kube-system:replicaset-controller"]}, _CONTROLLERS),
        ({"groups": ["on-call", "system:serviceaccounts"]}, _CONTROLLERS),
        ({"users": ["system:serviceaccount:*"], "groups": ["system:serviceaccounts:kube-system"]}, _CONTROLLERS),
    ],
)
def test_a_guard_that_any_author_passes_is_pointed_out(match: dict[str, Any], why: str) -> None:
    (warning,) = _skips(match)
    assert warning.startswith(f"rules[1]: a skips images, but {why}")


@pytest.mark.parametrize(
    ("more", "effect"),
    [
        ({"mode": "passive"}, "denies none of its images (passive)"),
        ({"mode": "strict", "enforcement": "warn"}, "denies none of its images (strict with enforcement warn)"),
        (
            {"modeFrom": {**_CHOICE, "allowed": {"none": "passive", "full": "strict"}}},
            "denies none of its images (passive or strict)",
        ),
    ],
)
def test_other_ways_to_avoid_a_denial_are_pointed_out(more: dict[str, Any], effect: str) -> None:
    (warning,) = _skips(_LABELS, **more)
    assert warning.startswith(f"rules[1]: a {effect}, but its only guard is what the author of a workload chooses")


@pytest.mark.parametrize(
    ("excepted", "mode", "word"),
    [
        (_LABELS, "passive", "labels"),
        ({"names": ["x"], "annotations": {"scan": ["no"]}}, "skip", "annotations, names"),
        (_LABELS, "strict", None),
        ({**_LABELS, "images": ["quay.io/*"]}, "passive", None),
        ({"namespaces": ["dev"]}, "passive", None),
        ({"kinds": ["Job"]}, "passive", None),
    ],
)
def test_an_exception_by_which_authors_leave_a_strict_rule_is_pointed_out(
    excepted: dict[str, Any], mode: str, word: str | None
) -> None:
    rule = {"name": "a", "match": {"namespaces": ["prod"], "except": excepted}, "mode": "strict"}
    why = f"the author of a workload leaves it by except ({word}), for a rule or for defaults that deny nothing"
    expected = f"rules[0].match.except: a denies images, but {why}; add namespaces or images to except"
    assert _warnings({"rules": [rule], "defaults": {"mode": mode}}) == ([expected] if word else [])


_DOTS = "holds for other registries, too: in their names, write \\. for a dot"


@pytest.mark.parametrize(
    ("match", "warnings"),
    [
        (
            {"images": ["regex:registry.example.com/.*", r"regex:quay\.io/a\.b/x.y"]},
            [f".images: a: regex:registry.example.com/.* {_DOTS}"],
        ),
        (
            {"except": {"images": ["regex:q.io/.*"]}},
            [f".except.images: a: regex:q.io/.* {_DOTS}"],
        ),
        (
            {"users": ["system:serviceaccount:ci", "system:serviceaccount:ci*", "system:serviceaccount:ci:builder"]},
            [
                ".users: a: no user is called system:serviceaccount:ci; write system:serviceaccount:NAMESPACE:NAME",
            ],
        ),
        (
            {"images": ["quay.io/*"], "except": {"images": ["quay.io/*"]}},
            [": a never applies: its except takes away every image that it matches"],
        ),
    ],
)
def test_a_match_that_does_not_say_what_is_meant_is_pointed_out(match: dict[str, Any], warnings: list[str]) -> None:
    document = {"rules": [{"name": "a", "match": match}], "defaults": {"mode": "strict"}}
    assert _warnings(document) == [f"rules[0].match{warning}" for warning in warnings]


@pytest.mark.parametrize(
    ("rule", "key"),
    [
        ({"policy": "p"}, "policy"),
        ({"policyFrom": {"namespaceLabel": "p", "allowed": {"a": "b"}}}, "policyFrom"),
        ({"requireMapping": True, "policy": None}, "requireMapping"),
        ({"policy": "p", "mode": "strict"}, None),
        ({"policy": "p", "modeFrom": {"namespaceLabel": "m", "allowed": {"a": "strict", "b": "skip"}}}, None),
        ({"requireMapping": False}, None),
    ],
)
def test_a_policy_that_no_mode_evaluates_is_pointed_out(rule: dict[str, Any], key: str | None) -> None:
    why = "but its mode (analysis) evaluates no policy; write mode: strict"
    document = {"rules": [{"name": "a", **rule}], "defaults": {"mode": "analysis"}}
    assert _warnings(document) == ([f"rules[0].{key}: a sets {key}, {why}"] if key else [])


@pytest.mark.parametrize(
    ("match", "more"),
    [
        ({**_LABELS, "namespaces": ["kube-system"]}, {}),
        ({**_LABELS, "images": ["quay.io/*"]}, {}),
        ({**_LABELS, "groups": ["oncall"]}, {}),
        ({**_LABELS, "users": ["jane"]}, {}),
        ({**_LABELS, "namespaceSelector": {"matchLabels": {"env": "dev"}}}, {}),
        # The Pods of a template are judged by the rules for Pods.
        ({**_LABELS, "kinds": ["Deployment", "apps/*"]}, {}),
        (_LABELS, {"mode": "analysis"}),
        ({}, {"modeFrom": {**_CHOICE, "allowed": {"none": "analysis", "full": "strict"}}}),
        ({"except": {**_LABELS, "namespaces": ["prod"]}}, {}),
        ({"users": ["jane"], "groups": ["system:authenticated"]}, {}),
        ({"users": ["system:serviceaccount:ci:*"]}, {}),
        ({"users": ["system:serviceaccount:kube-system:*"], "namespaces": ["kube-system"]}, {}),
        ({"images": ["nginx", "*.corp.example/*", f"*@sha256:{'a' * 64}"]}, {}),
        ({"images": ["*/team/*"], "users": ["jane"]}, {}),
        ({"images": ["regex:(quay[.]io|registry\\.example\\.com)/.*"]}, {}),
        ({}, {"modeFrom": {"namespaceLabel": "mode", "allowed": {"none": "skip", "full": "strict"}}}),
    ],
)
def test_a_skip_with_a_guard_is_fine(match: dict[str, Any], more: dict[str, object]) -> None:
    assert _skips(match, **more) == []


_EXEMPTS = "exemptions[0].match: e exempts images, but"
_ADD = "add namespaces, users, groups or images"
_WRITE = "write the registry's name"


@pytest.mark.parametrize(
    ("expires", "match", "warnings"),
    [
        (
            "2027-01-15T07:59:59Z",
            {"namespaces": ["a"]},
            ["exemptions[0]: e expired at 2027-01-15T07:59:59Z; renew or remove it"],
        ),
        (
            "2027-01-15T08:00:01Z",
            {"namespaces": ["a"]},
            ["exemptions[0]: e expires at 2027-01-15T08:00:01Z, in 1 day at most"],
        ),
        ("2027-01-28", {"namespaces": ["a"]}, ["exemptions[0]: e expires at 2027-01-29T00:00:00Z, in 14 days at most"]),
        ("2027-01-29", {"namespaces": ["a"]}, []),
        (
            "2027-02-28",
            {"images": ["*"]},
            ["exemptions[0].match: e matches every image; name the images that it is for"],
        ),
        (
            "2027-02-28",
            {"kinds": ["*"]},
            ["exemptions[0].match: e matches every image; name the images that it is for"],
        ),
        (
            "2027-02-28",
            {"objectSelector": {"matchLabels": {"exempt": "yes"}}},
            [f"{_EXEMPTS} its only guard is what the author of a workload chooses (labels); {_ADD}"],
        ),
        (
            "2027-02-28",
            {"images": ["*/app"]},
            [f"{_EXEMPTS} */app names no registry, and authors may push to one of their own; {_WRITE}"],
        ),
        ("2027-02-28", {"images": [f"*@sha256:{'a' * 64}"]}, []),
    ],
)
def test_exemptions_that_end_or_exempt_everything_are_pointed_out(
    expires: str, match: dict[str, Any], warnings: list[str]
) -> None:
    exemption = {"name": "e", "match": match, "reason": "r", "owner": "o", "expires": expires}
    assert _warnings({"rules": [_STRICT], "exemptions": [exemption]}) == warnings


_NO_TAG = "a pinned image has no tag to match; name the repository without a tag"


@pytest.mark.parametrize(
    ("rule", "warnings"),
    [
        ({"match": {"images": ["quay.io/team/app"]}, "pin": "required"}, []),
        ({"match": {"images": ["localhost:5000/team/*", "regex:quay[.]io/app:1"]}, "pin": "bestEffort"}, []),
        ({"match": {"images": ["quay.io/app@sha256:*"]}, "pin": "bestEffort"}, []),
        ({"match": {"images": ["quay.io/app:1.*"]}}, []),
        (
            {"match": {"images": ["quay.io/*", "quay.io/app:1.*"]}, "pin": "bestEffort"},
            [f"rules[0].match.images[1]: a pins no image that quay.io/app:1.* matches: {_NO_TAG}"],
        ),
    ],
)
def test_a_pattern_with_a_tag_pins_nothing(rule: dict[str, Any], warnings: list[str]) -> None:
    document = {"rules": [{"name": "a", "mode": "strict", **rule}], "defaults": {"mode": "strict"}}

    assert _warnings(document) == warnings


def test_a_rule_that_denies_nothing_requires_pins_in_vain() -> None:
    rules = [{"name": "a", "match": {"namespaces": ["b"]}, "mode": "passive"}]

    assert _warnings({"rules": rules, "defaults": {"mode": "strict", "pin": "required"}}) == [
        "rules[0].pin: a requires pinned images, but its mode (passive) denies nothing"
    ]


@pytest.mark.parametrize(
    ("rule", "defaults", "is_warned_of"),
    [
        ({"requestAnalysis": False}, {"pin": "bestEffort"}, True),
        ({"pin": "bestEffort"}, {"requestAnalysis": False}, True),
        ({"pin": "bestEffort"}, {}, False),
        ({"requestAnalysis": False, "pin": "required"}, {}, False),  # may mean to admit nothing but digests
        ({"requestAnalysis": False, "pin": "off"}, {"pin": "bestEffort"}, False),
        ({"requestAnalysis": True, "pin": "bestEffort"}, {"requestAnalysis": False}, False),
    ],
)
def test_a_rule_that_submits_no_tag_learns_from_others_where_it_points(
    rule: dict[str, Any], defaults: dict[str, Any], *, is_warned_of: bool
) -> None:
    document = {"rules": [{"name": "a", "mode": "strict", **rule}], "defaults": {"mode": "strict", **defaults}}
    why = "only tags that another rule submits to Anchore, because its requestAnalysis is false"

    assert _warnings(document) == ([f"rules[0].pin: a pins {why}"] if is_warned_of else [])
