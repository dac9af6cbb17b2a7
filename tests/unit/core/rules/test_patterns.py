"""Patterns of rules, many compared at once."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchore_admission.core.rules.patterns import Ending, PatternMasks, image_pattern_of, pattern_of
from anchore_admission.errors import InvalidPattern
from support.builders import DIGEST


def _matches(written: str, text: str) -> bool:
    return bool(PatternMasks.of([(pattern_of(written), 1)]).matching(text))


@pytest.mark.parametrize(
    ("written", "text", "matches"),
    [
        ("regex:prod-[0-9]+", "prod-12", True),
        ("regex:prod-[0-9]+", "prod-12a", False),
        ("regex:prod-[0-9]+", "a-prod-12", False),
        ("regex:a|b", "b", True),
        ("regex:a|b", "ab", False),
        ("regex:(?i)prod", "PROD", True),
        ("regex:a.c", "a\nc", True),
        ("regex:.*", "", True),
        ("regex:^prod$", "prod", True),
        # RE2 says that matches of these begin with prod- and aa.
        (r"regex:^prod-?\b", "prod", True),
        (r"regex:^prod-?\b", "prod-", False),
        (r"regex:^a\ba?", "a", True),
        ("regex:\\w+", "é", False),
        ("regex:.", "é", True),
        ("a?c", "aéc", True),
        ("a*", "a\nb", True),
        ("a.c", "abc", False),
        ("[a]", "a", False),
        ("[a]", "[a]", True),
        ("a*", "a\ud800", True),
        ("*", "", True),
        ("?", "", False),
        ("regex", "regex", True),
        # The beginning of a long text counts: an annotation may have 256 KiB.
        ("a*", "a" * 4096 + "b", True),
        ("*b", "a" * 4095 + "b", True),
        ("*b", "a" * 4096 + "b", False),
        ("regex:a*", "a" * 4096 + "b", True),
    ],
)
def test_a_pattern_covers_the_whole_text(written: str, text: str, *, matches: bool) -> None:
    assert _matches(written, text) is matches


@pytest.mark.parametrize(
    ("written", "name", "matches"),
    [
        (r"regex:docker\.io/library/nginx", "docker.io/library/nginx", True),
        ("regex:nginx", "docker.io/library/nginx", False),
        (r"regex:quay\.io/team/.*", "quay.io/team/app", True),
        (r"regex:quay\.io/team/.*", "quayXio/team/app", False),
        # A digest may begin with any digit, and an author can choose one.
        ("regex:.*:5.*", f"quay.io/app@{DIGEST}", False),
        ("regex:.*@sha256:5.*", "quay.io/app@sha256:5f", True),
    ],
)
def test_an_expression_for_images_sees_full_names(written: str, name: str, *, matches: bool) -> None:
    pattern = image_pattern_of(written)
    found = bool(PatternMasks.of([(pattern, 1)]).matching(name)) and not (pattern.but_digests and "@" in name)
    assert found is matches


@pytest.mark.parametrize("written", ["regex:(", "regex:a{1001}", "regex:(?=a)", "regex:\\1", "regex:[z-a]", "regex:*"])
def test_an_expression_that_re2_cannot_read_is_rejected(written: str) -> None:
    with pytest.raises(InvalidPattern):
        pattern_of(written)


def test_an_expression_that_is_too_large_is_rejected() -> None:
    with pytest.raises(InvalidPattern, match=r"too large \(\d+ instructions, 1000 at most\)"):
        pattern_of("regex:(ab?c){1000}")


def test_masks_join_the_matches_that_share_a_pattern() -> None:
    masks = PatternMasks.of(
        [(pattern_of("a*"), 1), (pattern_of("ab"), 2), (pattern_of("a*"), 4), (pattern_of("regex:a."), 8)]
    )
    assert [masks.matching(text) for text in ("ab", "a", "b")] == [15, 5, 0]
    assert masks.any_matching(["b", "a"]) == 5


_TEXT = st.text("ab*?.-[]\n", max_size=8)


@given(glob=_TEXT.filter(bool), text=st.text("ab.-[]\n", max_size=8))
def test_globs_match_as_the_standard_library_says(glob: str, text: str) -> None:
    expected = re.fullmatch(re.escape(glob).replace(r"\*", ".*").replace(r"\?", "."), text, re.DOTALL) is not None
    assert _matches(glob, text) is expected


@given(st.lists(st.text("ab*?", min_size=1, max_size=5), min_size=1, max_size=5), st.text("ab", max_size=6))
def test_one_pass_finds_what_each_pattern_finds(globs: list[str], text: str) -> None:
    masks = PatternMasks.of([(pattern_of(glob), 1 << number) for number, glob in enumerate(globs)])
    expected = sum(1 << number for number, glob in enumerate(globs) if _matches(glob, text))
    assert masks.matching(text) == expected


@pytest.mark.parametrize(
    ("written", "beginning", "ending", "part"),
    [
        ("nginx", "docker.io/nginx", Ending.NOTHING, ""),
        ("Quay.IO:443/app", "quay.io/app", Ending.NOTHING, ""),
        ("sha256:*", "sha256:", Ending.ANYTHING, ""),
        ("*", "", Ending.ANYTHING, ""),
        ("**", "", Ending.ANYTHING, ""),
        ("quay.io/team/*", "quay.io/team/", Ending.ANYTHING, ""),
        ("quay.io:5000/team/*", "quay.io:5000/team/", Ending.ANYTHING, ""),
        ("quay.io/team/?*", "quay.io/team/", Ending.AS_COMPILED, "quay.io/team/"),
        ("quay.io:5000/app*:2*", "quay.io:5000/app", Ending.AS_COMPILED, "app"),
        ("*/team/*", "", Ending.AS_COMPILED, "/team/"),
        ("*:latest", "", Ending.AS_COMPILED, ":latest"),
        ("quay.io/app:*", "quay.io/app", Ending.AS_COMPILED, "app"),
        ("quay.io/app*:*", "quay.io/app", Ending.ANYTHING, ""),
        ("*:*", "", Ending.ANYTHING, ""),
        # Docker Hub has names that the glob's host does not contain.
        ("*.docker.com/team/*", "", Ending.AS_COMPILED, "/team/"),
        (r"regex:quay\.io/team-[0-9]+/.*", "quay.io/team-", Ending.AS_COMPILED, ""),
        ("regex:(?i)quay.*", "", Ending.AS_COMPILED, ""),
        ("regex:é+", "é", Ending.AS_COMPILED, ""),
        ("regex:[éè]", "", Ending.AS_COMPILED, ""),
        ("regex:.*", "", Ending.AS_COMPILED, ""),
    ],
)
def test_what_every_match_begins_with_and_contains(written: str, beginning: str, ending: Ending, part: str) -> None:
    pattern = image_pattern_of(written)
    assert (pattern.beginning, pattern.ending, pattern.part) == (beginning, ending, part)
