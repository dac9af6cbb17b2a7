"""Rules for the tests themselves."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.paths import ROOT

TESTS = ROOT / "tests"
FILES = sorted(TESTS.rglob("*.py"))
LOOPS = (ast.For, ast.AsyncFor, ast.While)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FILLED = (ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.JoinedStr)
"""Literals whose length is visible; an empty one would be a different mistake."""
COUNTED = {"range", "enumerate", "zip", "product", "sorted", "reversed", "list", "tuple", "items", "values", "keys"}


def written_tests(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node


def constants_of(tree: ast.Module) -> set[str]:
    """Return the constants of a test module: names that it assigns or imports in capitals."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id.lstrip("_").isupper()}


def is_filled(iterated: ast.expr, constants: set[str]) -> bool:
    """Return whether a loop over this visibly runs at least once."""
    match iterated:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=arguments, keywords=_):
            owner = [iterated.func.value] if isinstance(iterated.func, ast.Attribute) else []
            return name in COUNTED and all(is_filled(argument, constants) for argument in [*owner, *arguments])
        case ast.Name(id=name):
            return name in constants
        case ast.Attribute(attr=name):
            return name.isupper()
        case ast.Starred(value=value):
            return is_filled(value, constants)
        case ast.GeneratorExp(generators=generators) | ast.ListComp(generators=generators):
            return all(is_filled(each.iter, constants) and not each.ifs for each in generators)
        case ast.BinOp(left=left, right=right):
            return is_filled(left, constants) or is_filled(right, constants)
        case _:
            return isinstance(iterated, FILLED)


def is_checked(statement: ast.stmt, constants: set[str]) -> bool:
    """Return whether a statement fails a test that finds nothing to look at."""
    match statement:
        case ast.Assert(test=test):
            return not is_vacuous(test, constants)
        case ast.For(iter=iterated, body=body) | ast.AsyncFor(iter=iterated, body=body):
            return is_filled(iterated, constants) and any(is_checked(each, constants) for each in body)
        case ast.With(items=items, body=body) | ast.AsyncWith(items=items, body=body):
            raises = any("raises" in ast.dump(item.context_expr) for item in items)
            return raises or any(is_checked(each, constants) for each in body)
        case ast.If(body=body, orelse=other):
            return any(is_checked(each, constants) for each in [*body, *other])
        case ast.FunctionDef(body=body) | ast.AsyncFunctionDef(body=body) | ast.Try(body=body):
            return any(is_checked(each, constants) for each in body)
        case ast.Match(cases=cases):
            return any(is_checked(each, constants) for case in cases for each in case.body)
        case _:
            return False


def is_vacuous(test: ast.expr, constants: set[str]) -> bool:
    """Return whether an assertion holds for a collection that turns out to be empty."""
    match test:
        case ast.Call(func=ast.Name(id="all"), args=[ast.GeneratorExp() | ast.ListComp() as each]):
            return not is_filled(each.generators[0].iter, constants)
        case ast.UnaryOp(op=ast.Not(), operand=ast.Call(func=ast.Name(id="any"))):
            return True
        case _:
            return False


def only_vacuous(test: ast.FunctionDef | ast.AsyncFunctionDef, constants: set[str]) -> bool:
    asserts = [node for node in ast.walk(test) if isinstance(node, ast.Assert)]
    return bool(asserts) and not any(is_checked(statement, constants) for statement in test.body)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(TESTS)))
def test_no_test_passes_on_an_empty_list(file: Path) -> None:
    tree = ast.parse(file.read_text())
    constants = constants_of(tree)
    found = [f"{test.name}, line {test.lineno}" for test in written_tests(tree) if only_vacuous(test, constants)]
    assert not found, "assert first that there is something to look at"


@pytest.mark.parametrize(
    ("body", "passes_on_nothing"),
    [
        ("for each in found(): assert each", True),
        ("for each in (1, 2): assert each", False),
        ("found = look()\n    assert found\n    for each in found: assert each", False),
        ("assert all(each for each in found())", True),
        ("assert not any(each for each in found())", True),
        ("assert [each for each in found()] == [1]", False),
        ("with running():\n        for each in found(): assert each", True),
        ("with pytest.raises(ValueError): found()", False),
        ("for each in NAMES: assert each", False),
        ("for each in NAMES:\n        for other in found(each): assert other", True),
    ],
)
def test_the_rule_finds_violations(body: str, *, passes_on_nothing: bool) -> None:
    tree = ast.parse(f"def test_it():\n    {body}\n")
    (test,) = written_tests(tree)
    assert only_vacuous(test, constants_of(tree)) is passes_on_nothing


def test_no_test_imports_another_test() -> None:
    imported = {
        f"{file.relative_to(TESTS)}: {node.module}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").rpartition(".")[2].startswith("test_")
    }
    assert FILES
    assert imported == set()
