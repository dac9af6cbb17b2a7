"""The messages page covers every warning of the controller, and its quotations are real."""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from support.paths import ROOT

SOURCE = ROOT / "src" / "anchore_admission"
PAGE = ROOT / "docs" / "troubleshooting.md"
TEXT_AT = {"warning": 0, "error": 0, "exception": 0, "critical": 0, "log": 1, "warn": 1, "_write": 1}
"""Index of the logged argument by function; ``warn`` is that of Throttled, ``_write`` that of telemetry."""
OTHERS = frozenset({"sandbox/app.py"})
"""Files whose log lines are not the controller's: the sandbox describes itself at startup."""
EXPLAINED = {
    ("cli/failures.py", "the command failed"): "only with --debug, before the error itself",
    ("process.py", "…"): "the warnings of variables.unknown_variables, see ELSEWHERE",
    ("throttled.py", "…"): "what warn() is given, collected where it is called",
    ("adapters/review_log.py", "… …"): "the line of every review, whose fields say it: see operating.md",
    ("adapters/pinning_log.py", "… …"): "the same for a call of the mutating webhook, never above INFO",
}
ELSEWHERE = ("… is not known and ignored…",)
"""Texts that are logged, but made where nothing says so."""
OURS = ("Denials and warnings", "No verdict", "Configuration errors", "Controller log", "HTTP errors")
"""The sections whose entries quote only this program."""
_PLACEHOLDER = re.compile(r"%[-.\d]*[a-z]")
_CODE = re.compile(r"`([^`\n]+)`")
_ENTRY = re.compile(r"^####? (.*)$", re.MULTILINE)
_LEAST = 8
"""Number of letters that identify a quoted text."""


def _said(node: ast.expr, words: dict[str, list[str]]) -> list[str]:
    """Yield the texts that an expression may produce, with … for unknown parts; ``words`` holds the known names."""
    match node:
        case ast.Constant(value=str(text)):
            return [_PLACEHOLDER.sub("…", text)]
        case ast.Constant(value=bytes(text)):
            return [text.decode(errors="replace")]
        case ast.IfExp():
            return [*_said(node.body, words), *_said(node.orelse, words)]
        case ast.Name() if node.id in words:
            return words[node.id]
        case ast.JoinedStr():
            texts = [""]
            for part in node.values:
                inner = part.value if isinstance(part, ast.FormattedValue) else part
                texts = [text + more for text in texts for more in _said(inner, words)]
            return texts
        case _:
            return ["…"]


def _logged_texts(arguments: list[ast.expr], words: dict[str, list[str]]) -> Iterator[str]:
    """A text with what is put into it, as logging does."""
    for template in _said(arguments[0], words):
        values = iter(arguments[1:] if isinstance(arguments[0], ast.Constant) else [])
        texts = [""]
        for piece in re.split("(…)", template):
            value = next(values, None) if piece == "…" else None
            texts = [text + more for text in texts for more in (_said(value, words) if value else [piece])]
        yield from texts


def _assigned(*nodes: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, node.value


def _place(call: ast.Call, methods: dict[str, ast.expr]) -> int | None:
    """Return the index of the logged argument, if any: by the call's name or alias (``report = logger.warning``)."""
    if isinstance(call.func, ast.Attribute):
        return TEXT_AT.get(call.func.attr)
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    stands_for = methods.get(name)
    if stands_for and any(isinstance(it, ast.Attribute) and it.attr in TEXT_AT for it in ast.walk(stands_for)):
        return 0
    return TEXT_AT.get(name)


@cache
def logged() -> frozenset[tuple[str, str]]:
    """Return the files and texts of log calls at level warning or above."""
    found: list[tuple[str, str]] = []
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        functions = [it for it in ast.walk(tree) if isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef)]
        shared = dict(_assigned(*(it for it in tree.body if isinstance(it, ast.Assign))))
        for function in functions:
            assigned = {**shared, **dict(_assigned(*ast.walk(function)))}
            words = {name: texts for name, value in assigned.items() if "…" not in (texts := _said(value, {}))}
            for call in (it for it in ast.walk(function) if isinstance(it, ast.Call)):
                place = _place(call, assigned)
                if place is not None and len(call.args) > place:
                    found += [
                        (path.relative_to(SOURCE).as_posix(), text) for text in _logged_texts(call.args[place:], words)
                    ]
    return frozenset(found)


def quoted() -> list[str]:
    return [code for entry in _ENTRY.findall(PAGE.read_text()) for code in _CODE.findall(entry)]


def _stands(text: str) -> bool:
    """A quotation may leave out what differs."""
    patterns = (re.escape(quote).replace("…", ".*") for quote in quoted() if len(quote.replace("…", "")) >= _LEAST)
    return any(re.fullmatch(pattern, text, re.DOTALL) for pattern in patterns)


def test_the_log_is_found() -> None:
    assert ("services/cluster/leadership.py", "this replica is no longer the leader") in logged()
    lasts = "if it lasts, look for a NetworkPolicy or firewall between the Pods and their Service"
    probe = "… is not registered yet: the probe of its Service failed"
    assert ("services/cluster/registration.py", f"{probe}: …; {lasts}") in logged()


def test_explained_messages_are_still_logged() -> None:
    assert EXPLAINED.keys() - logged() == set()


def _to_stand_there() -> set[str]:
    return {*ELSEWHERE, *(text for file, text in logged() if (file, text) not in EXPLAINED and file not in OTHERS)}


@pytest.mark.parametrize("text", sorted(_to_stand_there()))
def test_every_warning_of_the_controller_stands_there(text: str) -> None:
    assert _stands(text)


@cache
def _texts() -> str:
    """Return every text of the source, f-strings with … for their values."""
    parsed = (ast.walk(ast.parse(path.read_text())) for path in SOURCE.rglob("*.py"))
    nodes = (it for tree in parsed for it in tree if isinstance(it, ast.Constant | ast.JoinedStr))
    return "\n".join(text for node in nodes for text in _said(node, {}))


def _sections() -> Iterator[tuple[str, str]]:
    for section in PAGE.read_text().split("\n## ")[1:]:
        heading, _, body = section.partition("\n")
        yield heading, body


def _fragments(quote: str) -> list[str]:
    """Split a message into its constant parts, at placeholders and between sentences."""
    parts = (part.strip(" .:;()") for part in re.split(r"…|\. |: |\"", quote))
    return [part for part in parts if len(part) >= _LEAST]


@pytest.mark.parametrize(
    "quote",
    [
        code
        for name, body in _sections()
        if name in OURS
        for entry in _ENTRY.findall(body)
        for code in _CODE.findall(entry)
    ],
)
def test_quoted_messages_are_those_of_the_program(quote: str) -> None:
    assert [part for part in _fragments(quote) if part not in _texts()] == []


def test_the_sections_are_found() -> None:
    assert set(OURS) <= {name for name, _ in _sections()}
