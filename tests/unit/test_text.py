"""Escaping and shortening of foreign text."""

import unicodedata

import pytest

from anchore_admission.text import LIMIT, joined_lines, printable, shortened, shown

HARMLESS = "plain ünïcode 😀 日本 e\u0301"


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("plain", 10, "plain"),
        ("a\nb\tc\x00d\x1b[0m", 20, "a?b?c?d?[0m"),
        ("a\r\nwarning", 20, "a??warning"),
        ("right\u202eleft", 20, "right?left"),
        ("isolate\u2066\u2069", 20, "isolate??"),
        ("zero\u200bwidth\ufeff", 20, "zero?width?"),
        ("line\u2028paragraph\u2029", 20, "line?paragraph?"),
        ("csi\x9b31m", 20, "csi?31m"),
        ("\ud800", 5, "?"),
        (HARMLESS, 40, HARMLESS),
        ("0123456789", 10, "0123456789"),
        ("0123456789a", 10, "012345678…"),
        ("012345678\n\n", 10, "012345678…"),
        ("", 10, ""),
    ],
    ids=ascii,
)
def test_shown(text: str, limit: int, expected: str) -> None:
    assert shown(text, limit) == expected


def test_no_control_format_surrogate_or_separator_character_is_shown() -> None:
    categories = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    hostile = [character for character in map(chr, range(0x110000)) if unicodedata.category(character) in categories]
    assert len(hostile) > 2000
    assert {printable(character) for character in hostile} == {"?"}
    assert {joined_lines(f"a{character}b") for character in hostile} == {"a b"}


def test_shown_bounds_a_name_without_a_limit_of_its_own() -> None:
    assert len(shown("a" * 10_000)) == LIMIT


def test_printable_keeps_only_the_named_characters() -> None:
    assert printable("first\nsecond\x1b[2J\t", keep="\n") == "first\nsecond?[2J?"
    assert printable(HARMLESS) == HARMLESS


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [("", 1, ""), ("ab", 2, "ab"), ("abc", 2, "a…"), ("a\nb", 3, "a\nb")],
    ids=ascii,
)
def test_shortened(text: str, limit: int, expected: str) -> None:
    assert shortened(text, limit) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one  line", "one  line"),
        ("two\nlines", "two lines"),
        ("  indented\r\n\tand\x00broken\u202e ", "indented and broken"),
        ("\n\n", ""),
    ],
    ids=ascii,
)
def test_joined_lines(text: str, expected: str) -> None:
    assert joined_lines(text) == expected
