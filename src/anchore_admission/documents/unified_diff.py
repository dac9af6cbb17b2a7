"""Unified diffs of texts whose lines correspond one to one, for ``git apply`` and ``patch -p1``."""

from collections.abc import Iterator, Sequence
from typing import Final

_CONTEXT: Final = 3
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def unified_diff(name: str, old: str, new: str) -> str:
    """Return the diff of a file, empty if nothing differs. Both texts have the same number of lines.

    ``name`` is the path to the file, with slashes.
    """
    before, after = lines_of(old), lines_of(new)
    changed = [n for n, (line, other) in enumerate(zip(before, after, strict=True)) if line != other]
    if not changed:
        return ""
    parts = [f"--- {_written(f'a/{name}')}\n", f"+++ {_written(f'b/{name}')}\n"]
    for hunk in _hunks(changed):
        first, last = max(hunk[0] - _CONTEXT, 0), min(hunk[-1] + _CONTEXT + 1, len(before))
        span = f"{first + 1},{last - first}"
        parts.append(f"@@ -{span} +{span} @@\n")
        parts += _lines(before, after, first, last)
    return "".join(parts)


def lines_of(text: str) -> list[str]:
    """Return the lines with their ends. As for git, nothing but a line feed ends one."""
    lines = [f"{line}\n" for line in text.split("\n")]
    last = lines.pop().removesuffix("\n")
    return [*lines, last] if last else lines


def _hunks(changed: Sequence[int]) -> Iterator[list[int]]:
    """Group the numbers of lines whose context touches."""
    hunk = [changed[0]]
    for number in changed[1:]:
        if number - hunk[-1] > 2 * _CONTEXT:
            yield hunk
            hunk = []
        hunk.append(number)
    yield hunk


def _lines(before: Sequence[str], after: Sequence[str], first: int, last: int) -> Iterator[str]:
    """Yield the lines of one hunk; the lines of a run that changed stand together, as in any diff."""
    number = first
    while number < last:
        end = number
        while end < last and before[end] != after[end]:
            end += 1
        if end == number:
            yield _ended(" ", before[number])
            number += 1
            continue
        yield from (_ended("-", line) for line in before[number:end])
        yield from (_ended("+", line) for line in after[number:end])
        number = end


def _ended(mark: str, line: str) -> str:
    return f"{mark}{line}" if line.endswith("\n") else f"{mark}{line}\n\\ No newline at end of file\n"


def _written(name: str) -> str:
    """Write a name as git does: in quotes if it holds control characters, and with a tab behind it if it has blanks."""
    if name.translate(_ESCAPES) != name or not name.isprintable():
        return '"' + "".join(_escaped(character) for character in name) + '"'
    return f"{name}\t" if " " in name else name


def _escaped(character: str) -> str:
    plain = character.translate(_ESCAPES)
    if plain != character or character.isprintable():
        return plain
    return "".join(f"\\{byte:03o}" for byte in character.encode(errors="surrogateescape"))
