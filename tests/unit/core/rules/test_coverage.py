"""Matches that certainly hold wherever other ones do."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchore_admission.core.rules.coverage import covers, excepts_itself, matches_everything
from anchore_admission.core.rules.index import MatchIndex
from anchore_admission.core.rules.match import Circumstances
from anchore_admission.models.configuration import Match


def _match(keys: dict[str, Any]) -> Match:
    return Match.model_validate(keys)


def _images(*globs: str) -> dict[str, Any]:
    return {"images": list(globs)}


def _labels(*expressions: tuple[str, list[str]]) -> dict[str, Any]:
    listed = [{"key": "env", "operator": operator, "values": values} for operator, values in expressions]
    return {"namespaceSelector": {"matchExpressions": listed}}


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ({}, {}),
        ({}, _images("quay.io/*")),
        (_images("*"), {}),
        (_images("*"), _images("sha256:*")),
        (_images("quay.io/*"), _images("quay.io/team/*")),
        (_images("quay.io/*"), _images("QUAY.io:443/team/app:1.*")),
        (_images("quay.io/*"), _images("quay.io/team/app@sha256:*")),
        (_images("nginx*"), _images("docker.io/nginx:1.*")),
        (_images("index.docker.io/team/*"), _images("team/app")),
        (_images("*.example.com/*"), _images("a.example.com/team/*")),
        (_images("*.example.com/*"), _images("*.example.com/team/*")),
        (_images("*/team/*"), _images("quay.io/team/app")),
        (_images("*:1*"), _images("quay.io/app:1.2*")),
        (_images("quay.io/a*", "quay.io/b*"), _images("quay.io/b1", "quay.io/a1")),
        (_images("regex:quay\\.io/.*"), {**_images("regex:quay\\.io/.*"), "namespaces": ["shop"]}),
        ({"namespaces": ["a*"]}, {"namespaces": ["ab*"]}),
        ({"namespaces": ["*"]}, {}),
        ({"namespaces": ["*"]}, {"namespaces": ["regex:a+"]}),
        ({"namespaces": ["a?"]}, {"namespaces": ["a?"]}),
        ({"namespaces": ["a*b*"]}, {"namespaces": ["a?b"]}),
        ({"namespaces": ["*a*a"]}, {"namespaces": ["aba*a"]}),
        ({"namespaces": ["regex:.*"]}, {}),
        (_images("regex:.*"), _images("quay.io/app@sha256:*")),
        ({"groups": ["*"]}, {"groups": ["dev"]}),
        ({"annotations": {"a": ["*"]}}, {"annotations": {"a": ["x"], "b": ["y"]}}),
        (_labels(("In", ["a", "b"])), _labels(("In", ["a"]))),
        (_labels(("In", ["a"])), {"namespaceSelector": {"matchLabels": {"env": "a", "team": "b"}}}),
        (_labels(("NotIn", ["a"])), _labels(("In", ["b"]))),
        (_labels(("NotIn", ["a"])), _labels(("NotIn", ["a", "b"]))),
        (_labels(("NotIn", ["a"])), _labels(("DoesNotExist", []))),
        (_labels(("Exists", [])), _labels(("In", ["b"]))),
        (_labels(("DoesNotExist", [])), _labels(("DoesNotExist", []))),
        ({}, {"except": _images("quay.io/*")}),
        ({"except": _images("quay.io/team/*")}, {"except": _images("quay.io/*")}),
    ],
)
def test_a_wider_match_covers_a_narrower_one(wide: dict[str, Any], narrow: dict[str, Any]) -> None:
    assert covers(_match(wide), _match(narrow))


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (_images("quay.io/*"), {}),
        (_images("quay.io/*"), _images("quay.io/*", "docker.io/*")),
        (_images("quay.io/team*"), _images("quay.io/*")),
        (_images("quay.io/team?"), _images("quay.io/team*")),
        (_images("quay.io/*"), _images("quay.io:5000/*")),
        (_images("nginx"), _images("quay.io/nginx")),
        (_images("a.example.com/*"), _images("*.example.com/*")),
        (_images("*.example.com/*"), _images("*/team")),
        # A glob for tags matches no digest.
        (_images("quay.io/app*:2*"), _images("quay.io/app@sha256:2*")),
        (_images("docker.io/sha256:*"), _images("sha256:*")),
        (_images("quay.io/*"), _images("regex:quay\\.io/team/.*")),
        (_images("regex:quay\\.io/.*"), _images("quay.io/team/*")),
        ({"namespaces": ["a*"]}, {}),
        ({"namespaces": ["?*"]}, {}),
        ({"namespaces": ["regex:[a-z]*"]}, {"namespaces": ["a"]}),
        ({"names": ["regex:.*"]}, {}),
        ({"namespaces": ["a*"]}, {"namespaces": ["regex:ab"]}),
        ({"groups": ["*"]}, {}),
        ({"names": ["*"]}, {}),
        ({"serviceAccounts": ["*"]}, {}),
        ({"annotations": {"a": ["*"]}}, {}),
        ({"annotations": {"a": ["x"]}}, {"annotations": {"b": ["x"]}}),
        (_labels(("In", ["a"])), _labels(("In", ["a", "b"]))),
        (_labels(("In", ["a"])), _labels(("Exists", []))),
        (_labels(("NotIn", ["a"])), _labels(("In", ["a", "b"]))),
        (_labels(("NotIn", ["a"])), _labels(("Exists", []))),
        (_labels(("Exists", [])), _labels(("NotIn", ["a"]))),
        (_labels(("Exists", [])), {}),
        ({"objectSelector": {"matchLabels": {"env": "a"}}}, {"namespaceSelector": {"matchLabels": {"env": "a"}}}),
        ({"except": _images("quay.io/*")}, {}),
        ({"except": _images("quay.io/*")}, {"except": _images("quay.io/team/*")}),
    ],
)
def test_a_match_that_may_fail_covers_nothing(wide: dict[str, Any], narrow: dict[str, Any]) -> None:
    assert not covers(_match(wide), _match(narrow))


@pytest.mark.parametrize(
    ("keys", "everything"),
    [
        ({}, True),
        (_images("quay.io/*", "**"), True),
        ({"namespaces": ["*"], "users": ["*"]}, True),
        (_images("docker.io/*"), False),
        ({"kinds": ["*"]}, False),
        ({"except": {"namespaces": ["a"]}}, False),
    ],
)
def test_some_matches_hold_for_everything(keys: dict[str, Any], *, everything: bool) -> None:
    assert matches_everything(_match(keys)) is everything


_GLOBS = st.text("ab*?", min_size=1, max_size=6)
_TEXTS = st.text("ab", max_size=6)


@given(wide=_GLOBS, narrow=_GLOBS, text=_TEXTS)
def test_a_text_of_the_narrow_glob_is_one_of_the_wide_glob(wide: str, narrow: str, text: str) -> None:
    matches = [_match({"namespaces": [glob]}) for glob in (wide, narrow)]
    holding = MatchIndex.of(matches).narrowed(Circumstances(namespace=text)).holding(()).certain
    assert not (covers(*matches) and holding == 0b10)


_HOSTS = st.sampled_from(["", "*.io/", "a.io/", "A.io:443/", "a.io:5000/", "docker.io/", "index.docker.io/"])
_PATHS = st.text("a1*:@/", min_size=1, max_size=7)
_NAME_HOSTS = st.sampled_from(["docker.io/", "a.io/", "a.io:5000/", "b.io/"])


@given(hosts=st.tuples(_HOSTS, _HOSTS, _NAME_HOSTS), paths=st.tuples(_PATHS, _PATHS, st.text("a1:@/", max_size=7)))
def test_a_name_of_the_narrow_image_glob_is_one_of_the_wide_glob(
    hosts: tuple[str, str, str], paths: tuple[str, str, str]
) -> None:
    wide, narrow, name = (host + path for host, path in zip(hosts, paths, strict=True))
    matches = [_match(_images(glob)) for glob in (wide, narrow)]
    holding = MatchIndex.of(matches).narrowed(Circumstances()).holding((name,)).certain
    assert not (covers(*matches) and holding == 0b10)


@pytest.mark.parametrize(
    ("match", "nothing"),
    [
        ({**_images("quay.io/team/*"), "except": _images("quay.io/*")}, True),
        ({"namespaces": ["a"], "except": {"namespaces": ["*"]}}, True),
        ({"except": {"namespaces": ["regex:.*"]}}, True),
        ({**_images("quay.io/*"), "except": _images("quay.io/team/*")}, False),
        ({**_images("quay.io/*"), "except": {**_images("quay.io/*"), "namespaces": ["a"]}}, False),
        ({"except": {"groups": ["*"]}}, False),
        ({"namespaces": ["a"]}, False),
    ],
)
def test_some_matches_hold_for_nothing(match: dict[str, Any], *, nothing: bool) -> None:
    assert excepts_itself(_match(match)) is nothing
