"""No regular expression of ours takes time that grows with the square of a hostile text's length."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from re import _constants as constants  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

import anchore_admission

ROOT = Path(anchore_admission.__file__).parent
SEARCHES = {"search", "findall", "finditer", "sub", "subn", "split"}
"""These try a pattern at every position of a text; an unbounded repeat in it makes that quadratic."""
REPEATS = (constants.MAX_REPEAT, constants.MIN_REPEAT, constants.POSSESSIVE_REPEAT)


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path.name != "__main__.py")


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def patterns(module: str) -> dict[str, re.Pattern[Any]]:
    found = vars(importlib.import_module(module))
    return {name: value for name, value in found.items() if isinstance(value, re.Pattern)}


def unbounded(parts: Any) -> Iterator[str]:
    """Yield the kinds of all unbounded repeats in a parsed pattern."""
    for operator, argument in parts:
        if operator in REPEATS:
            _, most, repeated = argument
            if most is constants.MAXREPEAT:
                yield str(repeated[0][0])
            yield from unbounded(repeated)
        elif operator is constants.SUBPATTERN:
            yield from unbounded(argument[-1])
        elif operator is constants.BRANCH:
            for branch in argument[1]:
                yield from unbounded(branch)
        elif operator in {constants.ASSERT, constants.ASSERT_NOT}:
            yield from unbounded(argument[1])
        elif operator is constants.ATOMIC_GROUP:
            yield from unbounded(argument)


def slow(pattern: str | bytes, flags: int = 0) -> list[str]:
    """Return the unbounded repeats that make a search quadratic: all but a last one, after which nothing can fail."""
    parts = list(parser.parse(pattern, flags))
    ends_well = parts and parts[-1][0] in REPEATS and not list(unbounded(parts[-1][1][2]))
    return list(unbounded(parts[:-1] if ends_well else parts))


def searches(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls that search for a pattern, with the name before the dot."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        func = call.func
        if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.attr in SEARCHES:
            yield func.value.id, call


def with_patterns() -> list[Path]:
    """Return the modules that compile patterns or search for them."""
    texts = {path: path.read_text() for path in modules()}
    return [path for path, text in texts.items() if "re.compile(" in text or any(searches(ast.parse(text)))]


@pytest.mark.parametrize("path", with_patterns(), ids=name_of)
def test_no_pattern_is_quadratic(path: Path) -> None:
    found = list(searches(ast.parse(path.read_text())))
    assert found or patterns(name_of(path))
    for name, call in found:
        if name == "re":
            assert isinstance(call.args[0], ast.Constant), (
                f"line {call.lineno}: compile the pattern, and give it a name"
            )
            assert not slow(str(call.args[0].value)), f"line {call.lineno}: {ast.unparse(call)}"
    names = {name for name, _ in found}
    for name, pattern in patterns(name_of(path)).items():
        kinds = list(unbounded(parser.parse(pattern.pattern, pattern.flags)))
        assert str(constants.ANY) not in kinds, f"{name} repeats any character without a bound: {pattern.pattern}"
        assert name not in names or not slow(pattern.pattern, pattern.flags), f"{name}: {pattern.pattern}"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("account.*not found", ["ANY"]),
        ("(a|b+)c{3,}", ["LITERAL", "LITERAL"]),
        ("(?:x(?=y*))?", ["LITERAL"]),
        ("(?>[a-z]+)", ["IN"]),
        ("a{0,9}b?", []),
    ],
)
def test_repeats_are_found_wherever_they_are(pattern: str, expected: list[str]) -> None:
    assert list(unbounded(parser.parse(pattern))) == expected


@pytest.mark.parametrize(("pattern", "count"), [(r"\*+", 0), ("a+b", 1), ("a+b+", 1), ("(?:a+)+", 1), ("[a-z]*$", 1)])
def test_only_a_last_repeat_is_harmless_in_a_search(pattern: str, count: int) -> None:
    assert len(slow(pattern)) >= count
    assert bool(slow(pattern)) == bool(count)
