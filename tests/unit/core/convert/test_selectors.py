"""The rules that stand for a selector, and what is said about it."""

from dataclasses import replace
from typing import Any

import pytest

from anchore_admission.core.convert.namespaces import Namespace
from anchore_admission.core.convert.original import Selector
from anchore_admission.core.convert.selectors import ConvertedSelector, Status, Surroundings, convert_selector

Json = dict[str, Any]
DECIDE, EXACT, STRICTER, UNUSED = Status.DECIDE, Status.EXACT, Status.STRICTER, Status.UNUSED


NAMESPACES = (
    Namespace("shop", {"kubernetes.io/metadata.name": "shop", "env": "prod"}, {}),
    Namespace("pay", {"kubernetes.io/metadata.name": "pay", "env": "production"}, {"tier": "prod"}),
    Namespace("dev", {"kubernetes.io/metadata.name": "dev"}, {"display-name": "pay"}),
)


def converted(
    kind: str,
    key: str,
    value: str,
    mode: str = "policy",
    *,
    user: str = "admin",
    request_analysis: bool = True,
    namespaces: tuple[Namespace, ...] | None = None,
) -> ConvertedSelector:
    selector = Selector("PolicySelectors[0]", kind, key, value, user, "gate", mode)
    surroundings = Surroundings(
        request_analysis, frozenset({"admin", "ops"}), {"admin": "default", "ops": "ops"}, "default"
    )
    return convert_selector(1, selector, replace(surroundings, namespaces=namespaces))


@pytest.mark.parametrize(
    ("kind", "key", "value", "status", "matches"),
    [
        ("image", ".*", ".*", EXACT, [None]),
        ("image", "", r"^registry\.example\.com/team/", EXACT, [{"images": ["registry.example.com/team/*"]}]),
        ("image", "", r"^registry\.example\.com/.*$", EXACT, [{"images": ["registry.example.com/*"]}]),
        ("image", "", r"quay\.io/.*", EXACT, [{"images": [r"regex:.*quay\.io/.*"]}]),
        ("image", "", r"^(quay|gcr)\.io/x/", EXACT, [{"images": ["gcr.io/x/*", "quay.io/x/*"]}]),
        ("image", "", r"^r\.io/app:1\.[0-9]+$", EXACT, [{"images": [r"regex:r\.io/app:1\.[0-9]+"]}]),
        ("image", "", "^nginx:1.25$", DECIDE, [{"images": ["nginx:1.25"]}]),
        ("image", "", r"docker\.io/.*", DECIDE, [{"images": ["*docker.io/*"]}]),
        ("image", "", "^registry.example.com/", DECIDE, [{"images": ["registry.example.com/*"]}]),
        ("image", "", r"^registry\.example\.com", DECIDE, [{"images": ["registry.example.com/*"]}]),
        ("image", "", r"^r\.io/app:latest$", DECIDE, [{"images": ["r.io/app:latest"]}]),
        ("image", "", "^[a-c]+$", DECIDE, [{"images": [r"regex:(?:docker\.io/(?:library/)?)?[a-c]+"]}]),
        ("image", "", "(?!x)", DECIDE, [None]),
        ("image", "", "^r\\.io/a{\u0662}", DECIDE, [{"images": ["regex:.*(?-s:^r\\.io/a{\u0662}).*"]}]),
        ("image", "", f"^r.io/{'a' * 2000}", DECIDE, [None]),
        ("pod", "app", ".*", EXACT, [None]),
        (
            "resource",
            "^app$",
            "^(a|b)$",
            EXACT,
            [
                {"objectSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]}},
                {"annotations": {"app": ["a", "b"]}},
            ],
        ),
        (
            "resource",
            "^app$",
            ".*",
            EXACT,
            [
                {"objectSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}},
                {"annotations": {"app": ["*"]}},
            ],
        ),
        (
            "resource",
            "^app$",
            "^shop",
            DECIDE,
            [{"objectSelector": {"matchLabels": {"app": "shop"}}}, {"annotations": {"app": ["shop*"]}}],
        ),
        ("resource", "name", "^web-", DECIDE, [{"names": ["web-*"]}]),
        ("resource", "NAME", ".*", EXACT, [None]),
        ("resource", ".*", "x", DECIDE, [None]),
        ("resource", "^not a key$", "x", UNUSED, []),
        ("namespace", "name", "^shop$", DECIDE, [{"namespaces": ["shop"]}]),
        ("namespace", "name", ".*", EXACT, [None]),
        ("namespace", "^env$", "^prod$", DECIDE, [{"namespaceSelector": {"matchLabels": {"env": "prod"}}}]),
        ("namespace", "^not a key$", "x", UNUSED, []),
    ],
)
def test_the_rules_of_a_selector_that_judges(
    kind: str, key: str, value: str, status: Status, matches: list[Json | None]
) -> None:
    found = converted(kind, key, value)

    assert [rule.get("match") for rule in found.rules] == matches
    assert (found.status, {(rule["mode"], rule["policy"]) for rule in found.rules}) == (
        status,
        {("strict", "gate")} if matches else set(),
    )
    assert any("undecided" in rule for rule in found.rules) == (status is DECIDE)


@pytest.mark.parametrize(
    ("kind", "key", "value", "status", "matches"),
    [
        (
            "resource",
            "^breakglass$",
            "^true",
            STRICTER,
            [{"objectSelector": {"matchLabels": {"breakglass": "true"}}}, {"annotations": {"breakglass": ["true*"]}}],
        ),
        ("resource", ".*", "x", STRICTER, []),
        ("resource", "name", "^web-", STRICTER, [{"names": ["web-*"]}]),
        ("namespace", "name", "^kube-system$", STRICTER, [{"namespaces": ["kube-system"]}]),
        ("image", "", "^nginx$", DECIDE, [{"images": ["nginx"]}]),
        ("image", "", "(", STRICTER, []),
    ],
)
def test_a_selector_that_admits_without_a_check_is_never_widened(
    kind: str, key: str, value: str, status: Status, matches: list[Json]
) -> None:
    found = converted(kind, key, value, "breakglass")

    assert (found.status, [rule.get("match") for rule in found.rules]) == (status, matches)
    assert any("undecided" in rule for rule in found.rules) == (status is DECIDE)


@pytest.mark.parametrize(
    ("mode", "request_analysis", "user", "status", "rule"),
    [
        ("policy", True, "ops", EXACT, {"mode": "strict", "account": "ops", "policy": "gate"}),
        ("analysis", True, "admin", EXACT, {"mode": "analysis"}),
        ("breakglass", True, "admin", EXACT, {"mode": "passive"}),
        ("breakglass", False, "admin", EXACT, {"mode": "skip"}),
        ("Policy", True, "admin", DECIDE, {"mode": "strict", "policy": "gate"}),
        ("", True, "admin", DECIDE, {"mode": "strict", "policy": "gate"}),
        ("breakglass", True, "nobody", DECIDE, {"mode": "passive"}),
        ("breakglass", True, "", DECIDE, {"mode": "passive"}),
    ],
)
def test_the_outcome_of_a_selector(mode: str, request_analysis: bool, user: str, status: Status, rule: Json) -> None:
    found = converted("image", ".*", ".*", mode, user=user, request_analysis=request_analysis)

    assert (found.status, len(found.rules)) == (status, 1)
    assert {key: found.rules[0][key] for key in found.rules[0] if key not in {"name", "undecided"}} == rule


@pytest.mark.parametrize(
    ("kind", "key", "value", "said"),
    [
        ("pod", "app", "x", "is not one of image, resource and namespace"),
        ("image", "app", ".*", "SelectorKeyRegex has no effect on an image"),
        ("image", ".*", "", "is empty, and so matches everything"),
        ("image", ".*", "nginx", "is not anchored: it also matches a text that has it in the middle"),
        ("image", ".*", "^nginx", "at the beginning"),
        ("image", ".*", "^docker.io/", "has a dot that matches any character"),
        ("image", ".*", "(?!x)", "SelectorValueRegex cannot be read: invalid perl operator: (?!"),
        ("resource", "(", "x", "SelectorKeyRegex cannot be read"),
        ("resource", "Name", "x", "every label and annotation whose key contains it"),
        ("namespace", "^env$", "^x$", "if the lookup of the namespace fails"),
        ("namespace", "^env$", "^x$", "annotations of the namespace"),
    ],
)
def test_what_a_selector_never_did_is_said(kind: str, key: str, value: str, said: str) -> None:
    assert any(said in remark for remark in converted(kind, key, value).remarks)


@pytest.mark.parametrize(
    ("key", "value", "mode", "status", "said"),
    [
        ("name", "^shop$", "policy", Status.CHECKED, "selects the same namespaces as its rules: shop"),
        ("name", "^(shop|dev)$", "breakglass", Status.CHECKED, "selects the same namespaces as its rules: shop, dev"),
        ("name", "^pay$", "policy", DECIDE, "differs from its rules for the namespaces dev"),
        ("name", "^pay$", "breakglass", STRICTER, "differs from its rules for the namespaces dev"),
        ("^env$", "^prod$", "policy", Status.CHECKED, "selects the same namespaces as its rules: shop"),
        ("^env$", "^prod", "policy", DECIDE, "differs from its rules for the namespaces pay"),
        ("^tier$", "^prod$", "policy", DECIDE, "differs from its rules for the namespaces pay"),
        ("^env$", "^test$", "policy", DECIDE, "selects none of the cluster's namespaces, and neither do its rules"),
        ("name", "^shop$", "Policy", DECIDE, "selects the same namespaces as its rules: shop"),
    ],
)
def test_the_clusters_namespaces_settle_a_selector(key: str, value: str, mode: str, status: Status, said: str) -> None:
    found = converted("namespace", key, value, mode, namespaces=NAMESPACES)

    assert (found.status, found.remarks[-1]) == (status, said)
    assert any("undecided" in rule for rule in found.rules) == (status is DECIDE)


def test_namespaces_say_nothing_about_other_selectors() -> None:
    assert converted("resource", "name", "^shop$", namespaces=NAMESPACES).status is DECIDE
    assert converted("image", "", "^shop$", namespaces=NAMESPACES).status is DECIDE
