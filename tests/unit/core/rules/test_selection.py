"""The rule that applies where exceptions, choices and unknown labels are at play."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchore_admission.core.decision import Reason
from anchore_admission.core.rules.book import RuleBook, Selection, compile_rules
from anchore_admission.core.rules.index import MatchIndex
from anchore_admission.core.rules.match import Circumstances
from anchore_admission.models.configuration import Configuration, Match, ModeName

_PROD = {"matchLabels": {"env": "prod"}}
_APP = ("docker.io/team/app", "docker.io/team/app:1")


def _book(*rules: dict[str, Any], **defaults: Any) -> RuleBook:
    configuration = Configuration.model_validate({"rules": list(rules), "defaults": defaults})
    return compile_rules(configuration.rules, configuration.defaults)


def _select(book: RuleBook, **circumstances: Any) -> Selection:
    return book.narrowed(Circumstances(**circumstances)).select(_APP)


@pytest.mark.parametrize(
    ("match", "circumstances", "matches"),
    [
        ({"namespaces": ["prod-*"], "except": {"images": ["team/*"]}}, {"namespace": "prod-a"}, False),
        ({"namespaces": ["prod-*"], "except": {"images": ["other/*"]}}, {"namespace": "prod-a"}, True),
        ({"except": {"namespaces": ["dev"]}}, {"namespace": "dev"}, False),
        ({"except": {"namespaces": ["dev"]}}, {"namespace": "prod"}, True),
        ({"except": {"namespaces": ["dev"], "images": ["team/*"]}}, {"namespace": "dev"}, False),
        ({"except": {"namespaces": ["dev"], "images": ["other/*"]}}, {"namespace": "dev"}, True),
        ({"except": {"namespaces": ["dev"], "images": ["team/*"]}}, {"namespace": "prod"}, True),
        ({"except": {"users": ["root"], "groups": ["g"]}}, {"user": "root"}, True),
        ({"except": {"users": ["root"], "groups": ["g"]}}, {"user": "root", "groups": ("g",)}, False),
        ({"except": {"objectSelector": _PROD}}, {"labels": {"env": "prod"}}, False),
        ({"except": {"annotations": {"a": ["x*"]}}}, {"annotations": {"a": "xy"}}, False),
        ({"except": {"annotations": {"a": ["x*"]}}}, {}, True),
        ({"names": ["web-*"]}, {"names": ("web-7d4b9-",)}, True),
        ({"names": ["web-*"]}, {"names": ("db",)}, False),
        ({"names": ["*"]}, {}, False),
        ({"names": ["regex:web-[a-z]+"]}, {"names": ("web-a",)}, True),
        ({"namespaces": ["regex:prod-[0-9]+"]}, {"namespace": "prod-1"}, True),
        ({"namespaceSelector": _PROD}, {"namespace_labels": {"env": "prod"}}, True),
        ({"namespaceSelector": _PROD}, {"namespace_labels": {}}, False),
        ({"except": {"namespaceSelector": _PROD}}, {"namespace_labels": {"env": "prod"}}, False),
        ({"except": {"namespaceSelector": _PROD}}, {"namespace_labels": {"env": "dev"}}, True),
    ],
)
def test_a_match_and_its_exception(match: dict[str, Any], circumstances: dict[str, Any], *, matches: bool) -> None:
    selection = _select(_book({"name": "it", "match": match}), **circumstances)
    assert (selection.rule.name == "it", selection.problem) == (matches, None)


def test_only_the_labels_of_a_namespace_are_asked_for() -> None:
    assert not _book({"name": "a", "match": {"objectSelector": _PROD}}).needs_namespace_labels
    assert _book({"name": "a", "match": {"namespaceSelector": _PROD}}).needs_namespace_labels
    assert _book({"name": "a", "match": {"except": {"namespaceSelector": _PROD}}}).needs_namespace_labels
    chosen = {"namespaceLabel": "p", "allowed": {"a": "b"}}
    assert _book({"name": "a", "policyFrom": chosen}).needs_namespace_labels
    assert not _book({"name": "a", "policyFrom": {"label": "p", "allowed": {"a": "b"}}}).needs_namespace_labels


@pytest.mark.parametrize(
    ("rules", "chosen", "is_known"),
    [
        # Only the rules in question count, and of these the one with the most severe onError.
        ([("lax", {"namespaceSelector": _PROD}, "strict", "allow"), ("rest", {}, "strict", "warn")], "rest", False),
        ([("hard", {"namespaceSelector": _PROD}, "strict", "deny"), ("rest", {}, "strict", "warn")], "hard", False),
        ([("hard", {"namespaceSelector": _PROD}, "strict", "deny"), ("rest", {}, "skip", "deny")], "hard", False),
        ([("skip", {"namespaceSelector": _PROD}, "skip", "deny"), ("rest", {}, "strict", "warn")], "rest", False),
        ([("lax", {"namespaceSelector": _PROD}, "strict", "warn")], "defaults", False),
        ([("first", {}, "strict", "allow"), ("b", {"namespaceSelector": _PROD}, "strict", "deny")], "first", True),
        (
            [
                ("other", {"namespaceSelector": _PROD, "images": ["quay.io/*"]}, "strict", "deny"),
                ("rest", {}, "strict", "warn"),
            ],
            "rest",
            True,
        ),
        (
            [
                ("but", {"except": {"namespaceSelector": _PROD}}, "analysis", "warn"),
                ("rest", {}, "strict", "deny"),
            ],
            "rest",
            False,
        ),
        (
            [
                ("but", {"except": {"namespaceSelector": _PROD, "images": ["quay.io/*"]}}, "analysis", "warn"),
                ("rest", {}, "strict", "deny"),
            ],
            "but",
            True,
        ),
    ],
)
def test_unknown_labels_are_never_no_match(
    rules: list[tuple[str, dict[str, Any], str, str]], chosen: str, *, is_known: bool
) -> None:
    sections = [{"name": n, "match": match, "mode": mode, "onError": on} for n, match, mode, on in rules]
    selection = _select(_book(*sections, mode="strict"), namespace="shop")
    assert selection.rule.name == chosen
    if is_known:
        assert selection.problem is None
    else:
        assert selection.problem
        assert selection.problem.reason is Reason.NAMESPACE_UNKNOWN
        assert selection.problem.text == "the labels of namespace shop are not known"
        assert not selection.problem.by_author


_BY_NAMESPACE = {"namespaceLabel": "tier", "allowed": {"pci": "policy-pci", "web": None}}
_BY_LABEL = {"label": "tier", "allowed": {"pci": "policy-pci"}}


@pytest.mark.parametrize(
    ("source", "circumstances", "policy"),
    [
        (_BY_NAMESPACE, {"namespace_labels": {"tier": "pci"}}, "policy-pci"),
        (_BY_NAMESPACE, {"namespace_labels": {"tier": "web"}}, None),
        (_BY_LABEL, {"labels": {"tier": "pci"}}, "policy-pci"),
        ({"annotation": "a/b", "allowed": {"any text": "p"}}, {"annotations": {"a/b": "any text"}}, "p"),
    ],
)
def test_a_value_chooses_the_policy(source: dict[str, Any], circumstances: dict[str, Any], policy: str | None) -> None:
    selection = _select(_book({"name": "it", "policyFrom": source}, policy="base"), **circumstances)
    assert (selection.rule.policy, selection.problem) == (policy, None)


@pytest.mark.parametrize(
    ("source", "circumstances", "reason", "by_author", "text"),
    [
        (_BY_NAMESPACE, {"namespace": "shop"}, Reason.NAMESPACE_UNKNOWN, False, "labels of namespace shop are not"),
        (_BY_NAMESPACE, {"namespace_labels": {}}, Reason.VALUE_NOT_ALLOWED, False, "namespaceLabel tier, which is mis"),
        (_BY_NAMESPACE, {"namespace_labels": {"tier": "x"}}, Reason.VALUE_NOT_ALLOWED, False, "which is x; expected"),
        (_BY_LABEL, {"labels": {"tier": "PCI"}}, Reason.VALUE_NOT_ALLOWED, True, "is PCI; expected one of pci"),
        (_BY_LABEL, {"labels": {"tier": ""}}, Reason.VALUE_NOT_ALLOWED, True, "label tier, which is empty; expected"),
        (_BY_LABEL, {}, Reason.VALUE_NOT_ALLOWED, True, "label tier, which is missing"),
        # The labels of the namespace are no labels of the workload.
        (
            _BY_NAMESPACE,
            {"namespace_labels": {}, "labels": {"tier": "pci"}},
            Reason.VALUE_NOT_ALLOWED,
            False,
            "missing",
        ),
    ],
)
def test_a_value_that_is_not_listed_never_falls_through(
    source: dict[str, Any], circumstances: dict[str, Any], reason: Reason, by_author: bool, text: str
) -> None:
    selection = _select(_book({"name": "it", "policyFrom": source}, {"name": "next"}), **circumstances)
    assert selection.rule.name == "it"
    assert selection.problem
    assert (selection.problem.reason, selection.problem.by_author) == (reason, by_author)
    assert text in selection.problem.text


def test_every_choice_counts_where_the_account_or_mode_is_not_known_yet() -> None:
    book = _book(
        {
            "name": "it",
            "modeFrom": {"label": "m", "allowed": {"a": "skip", "b": "passive", "c": "strict"}},
            "accountFrom": {"label": "a", "allowed": {"x": "one", "y": "two"}},
        },
        mode="skip",
    )
    assert {(rule.mode.value, rule.account) for rule in book.using_anchore} == {
        (mode, account) for mode in ("passive", "strict") for account in ("one", "two")
    }
    assert _select(book, labels={"m": "none"}).rule.mode is ModeName.STRICT
    chosen = _select(book, labels={"m": "b", "a": "y"}).rule
    assert (chosen.mode, chosen.account) == (ModeName.PASSIVE, "two")


@pytest.mark.parametrize(
    ("rules", "strictest"),
    [
        ([("skip", {"except": {"images": ["quay.io/*"]}}), ("strict", {})], "strict"),
        ([("skip", {"images": ["*"], "except": {"images": ["quay.io/*"]}}), ("strict", {})], "strict"),
        ([("skip", {"except": {"namespaces": ["dev"]}}), ("strict", {})], "skip"),
        ([("skip", {"images": ["*"]}), ("strict", {})], "skip"),
        ([("skip", {"images": ["regex:.*"]}), ("strict", {})], "skip"),
        ([("skip", {"namespaceSelector": _PROD}), ("strict", {})], "strict"),
        ([("skip", {}), ("strict", {"images": ["sha256:*"]})], "skip"),
    ],
)
def test_an_image_id_may_belong_to_any_image(rules: list[tuple[str, dict[str, Any]]], strictest: str) -> None:
    sections = [{"name": mode, "match": match, "mode": mode} for mode, match in rules]
    narrowed = _book(*sections, mode="skip").narrowed(Circumstances(namespace="shop"))
    assert narrowed.strictest("sha256:0123").name == strictest


def test_many_values_that_choose_make_few_rules() -> None:
    values = [f"v{number}" for number in range(1000)]
    policy = {"label": "p", "allowed": {value: value for value in values}}
    account = {"label": "a", "allowed": dict.fromkeys(values, "one")}
    mode = {"label": "m", "allowed": dict.fromkeys(values, "analysis")}
    book = _book({"name": "it", "policyFrom": policy, "accountFrom": account, "modeFrom": mode}, mode="skip")
    assert [(rule.mode, rule.account) for rule in book.using_anchore] == [(ModeName.ANALYSIS, "one")]


def test_a_rule_knows_whom_its_break_glass_names() -> None:
    users = {"users": ["jane", "*-on-call"]}
    with_break_glass, without = _book(
        {"name": "a", "match": users, "breakGlass": {"annotation": "b"}}, {"name": "c", "match": users}
    ).rules
    assert (with_break_glass.break_glass, with_break_glass.break_glass_users) == (
        "b",
        frozenset({"jane", "*-on-call"}),
    )
    assert (without.break_glass, without.break_glass_users) == (None, frozenset())


_GLOBS = st.lists(st.sampled_from(["a", "b", "a*", "*b", "*", "regex:a|b", "regex:[^a].*"]), min_size=1, max_size=2)
_SELECTOR = st.sampled_from(
    [
        {"matchLabels": {"env": "a"}},
        {"matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["a"]}]},
        {"matchExpressions": [{"key": "env", "operator": "Exists"}]},
    ]
)
_KEYS: dict[str, st.SearchStrategy[Any]] = {
    "images": st.lists(st.sampled_from(["a", "b/*", "*", "quay.io/*", "*:1"]), min_size=1, max_size=2),
    "namespaces": _GLOBS,
    "names": _GLOBS,
    "users": _GLOBS,
    "groups": _GLOBS,
    "serviceAccounts": _GLOBS,
    "objectSelector": _SELECTOR,
    "namespaceSelector": _SELECTOR,
    "annotations": st.dictionaries(st.sampled_from(["x", "y"]), _GLOBS, min_size=1, max_size=2),
}
_EXCEPTIONS = st.fixed_dictionaries({}, optional=_KEYS).filter(bool)
_MATCHES = st.fixed_dictionaries({}, optional={**_KEYS, "except": _EXCEPTIONS})
_WORD = st.sampled_from(["a", "b", "ab", "", "c"])
_TABLE = st.dictionaries(st.sampled_from(["env", "x", "y"]), _WORD, max_size=3)
_CIRCUMSTANCES = st.builds(
    Circumstances,
    namespace=_WORD,
    namespace_labels=st.none() | _TABLE,
    names=st.tuples(_WORD) | st.just(()),
    user=_WORD,
    groups=st.lists(_WORD, max_size=2).map(tuple),
    service_accounts=st.tuples(_WORD),
    labels=_TABLE,
    annotations=_TABLE,
)
_NAMES = st.sampled_from(
    [
        ("docker.io/library/a", "docker.io/library/a:1", "docker.io/a", "docker.io/a:1"),
        ("docker.io/b/c", "docker.io/b/c@sha256:11"),
        ("quay.io/a", "quay.io/a:2"),
        (),
    ]
)


def _alone(match: Mapping[str, Any], circumstances: Circumstances, names: tuple[str, ...]) -> bool | None:
    """Compare one match, key for key, by three-valued logic: None is unknown."""
    results: list[bool | None] = []
    for key, value in match.items():
        if key == "namespaceSelector" and circumstances.namespace_labels is None:
            results.append(None)
        elif key == "except":
            excepted = _alone(value, circumstances, names)
            results.append(None if excepted is None else not excepted)
        else:
            index = MatchIndex.of([Match.model_validate({key: value})])
            results.append(bool(index.narrowed(circumstances).holding(names).certain))
    if False in results:
        return False
    return None if None in results else True


@given(st.lists(_MATCHES, min_size=1, max_size=5), _CIRCUMSTANCES, _NAMES)
def test_many_matches_at_once_are_compared_like_each_alone(
    matches: list[dict[str, Any]], circumstances: Circumstances, names: tuple[str, ...]
) -> None:
    narrowed = MatchIndex.of([Match.model_validate(match) for match in matches]).narrowed(circumstances)
    holding = narrowed.holding(names)
    assert matches
    for position, match in enumerate(matches):
        expected = _alone(match, circumstances, names)
        assert bool(holding.certain >> position & 1) is (expected is True)
        assert bool(holding.possible >> position & 1) is (expected is not False)
        assert (narrowed.failing(names, len(matches))[position] == ()) is (expected is True)


@given(st.lists(_MATCHES, min_size=1, max_size=4), _MATCHES, _CIRCUMSTANCES, _NAMES)
def test_a_rule_after_the_first_match_never_changes_the_selection(
    matches: list[dict[str, Any]], added: dict[str, Any], circumstances: Circumstances, names: tuple[str, ...]
) -> None:
    rules = [{"name": f"r{number}", "match": match} for number, match in enumerate(matches)]
    before = _book(*rules).narrowed(circumstances).select(names)
    after = _book(*rules, {"name": "added", "match": added, "mode": "skip"}).narrowed(circumstances).select(names)
    if before.rule.name != "defaults" and before.problem is None:
        assert after == before


@given(st.lists(_MATCHES, max_size=4), _CIRCUMSTANCES, _NAMES)
def test_a_book_never_raises(
    matches: list[dict[str, Any]], circumstances: Circumstances, names: tuple[str, ...]
) -> None:
    book = _book(*({"name": f"r{number}", "match": match} for number, match in enumerate(matches)))
    narrowed = book.narrowed(circumstances)
    selected = narrowed.select(names).rule
    assert selected in narrowed.possible()
    assert narrowed.strictest("sha256:01") in narrowed.possible()
