"""Unified diffs, read again as git reads them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchore_admission.documents.unified_diff import lines_of, unified_diff

_HUNK = re.compile(r"@@ -(\d{1,6}),(\d{1,6}) \+(\d{1,6}),(\d{1,6}) @@\n")
LINES = st.lists(st.sampled_from(["a\n", "b\r\n", "\n", "\u2028\r\x0b\n", "- x\n", "+++ b\n", "@@\n"]), max_size=60)


def _sides(diff: str) -> tuple[dict[int, str], dict[int, str]]:
    """Return the lines of both sides of a diff by their number, and check the numbers of its hunks."""
    old: dict[int, str] = {}
    new: dict[int, str] = {}
    lines = lines_of(diff)[2:]
    while lines:
        header = _HUNK.fullmatch(lines.pop(0))
        assert header
        start, count, other, others = map(int, header.groups())
        ends = start + count, other + others
        while (start, other) != ends:
            line = lines.pop(0)
            text = line[1:]
            if lines and lines[0].startswith("\\"):
                assert lines.pop(0) == "\\ No newline at end of file\n"
                text = text.removesuffix("\n")
            if line[0] != "+":
                old[start], start = text, start + 1
            if line[0] != "-":
                new[other], other = text, other + 1
    return old, new


@given(LINES, st.sampled_from(["", "end"]), st.data())
def test_a_diff_holds_every_change(before: list[str], last: str, data: st.DataObject) -> None:
    before = [*before, last] if last else before
    changes = data.draw(st.sets(st.integers(0, len(before) - 1))) if before else set()
    after = [f"x{line}" if number in changes else line for number, line in enumerate(before)]

    old, new = _sides(unified_diff("f.yaml", "".join(before), "".join(after)))

    assert all(before[number - 1] == line for number, line in old.items())
    assert {number: line for number, line in enumerate(after, 1) if number in new} == new
    assert {number - 1 for number, line in new.items() if old[number] != line} == changes


def test_a_diff_is_short() -> None:
    text = "".join(f"{number}\n" for number in range(1, 21)) + "last"

    diff = unified_diff("deploy/app.yaml", text, text.replace("5\n", "5x\n").replace("last", "lastx"))

    assert diff == (
        "--- a/deploy/app.yaml\n+++ b/deploy/app.yaml\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+5x\n 6\n 7\n 8\n"
        "@@ -12,10 +12,10 @@\n 12\n 13\n 14\n-15\n+15x\n 16\n 17\n 18\n 19\n 20\n-last\n"
        "\\ No newline at end of file\n+lastx\n\\ No newline at end of file\n"
    )


def test_equal_texts_have_no_diff() -> None:
    assert unified_diff("f.yaml", "a\n", "a\n") == ""


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("app.yaml", "--- a/app.yaml"),
        ("my app.yaml", "--- a/my app.yaml\t"),
        ("ä.yaml", "--- a/ä.yaml"),
        ('a"b\\c\t.yaml', r'--- "a/a\"b\\c\t.yaml"'),
        ("a\x1b😀\udcff.yaml", r'--- "a/a\033😀\377.yaml"'),
    ],
)
def test_names_are_written_as_git_writes_them(name: str, header: str) -> None:
    assert unified_diff(name, "a", "b").split("\n")[0] == header
