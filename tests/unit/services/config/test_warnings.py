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
                "rules": [{"name": "a", "mode": "skip", "match": {"images": ["*/team/*"]}}],
            },
            [],
        ),
        (
            {
                "defaults": {"mode": "strict"},
                "rules": [{"name": "a", "mode": "skip", "match": {"images": ["regex:.*:.*"]}}],
            },
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
    ],
)
def test_a_skip_that_any_author_can_use_is_pointed_out(
    match: dict[str, Any], more: dict[str, object], chosen: str
) -> None:
    why = f"its only guard is what the author of a workload chooses ({chosen})"
    assert _skips(match, **more) == [f"rules[1]: a skips images, but {why}; add namespaces, users, groups or images"]


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
        ({}, {"modeFrom": {**_CHOICE, "allowed": {"none": "passive", "full": "strict"}}}),
        ({}, {"modeFrom": {"namespaceLabel": "mode", "allowed": {"none": "skip", "full": "strict"}}}),
    ],
)
def test_a_skip_with_a_guard_is_fine(match: dict[str, Any], more: dict[str, object]) -> None:
    assert _skips(match, **more) == []


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
