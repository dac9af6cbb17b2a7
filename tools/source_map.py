#!/usr/bin/env python3
"""Write the map of the source into CONTRIBUTING.md: every module once, described by the first line of its docstring."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
SOURCE = ROOT / "src" / "anchore_admission"
ORDER = ("", "models", "core", "ports", "documents", "services", "adapters", "wiring", "web", "cli", "sandbox")
"""The folders as a reader needs them: values and decisions first, edges last."""
BEGIN, END = "<!-- `make map` writes the map from the docstrings of the modules -->\n", "<!-- end of the map -->"
_MAP = re.compile(f"(?<={re.escape(BEGIN)}).*?(?={re.escape(END)})", re.DOTALL)


def source_map() -> str:
    """Return the map as Markdown: a heading for each package, and a line for each of its modules."""
    packages = {path.parent for path in SOURCE.rglob("*.py")}
    lines: list[str] = []
    for package in sorted(packages, key=_place):
        name = package.relative_to(SOURCE).as_posix()
        lines += [
            "",
            f"**`{'anchore_admission' if name == '.' else name}/`**: {_summary(package / '__init__.py')}",
            "",
        ]
        for module in sorted(package.glob("*.py")):
            if module.name != "__init__.py":
                lines.append(f"- `{module.relative_to(SOURCE).as_posix()}`: {_summary(module)}")
    return "\n".join([*lines, "", ""])


def with_map(page: str) -> str:
    """Return the page with the current map. Raises ValueError where the page has no place for one."""
    written, places = _MAP.subn(lambda _: source_map(), page)
    if places != 1:
        raise ValueError(f"{places} places for the map, expected one")
    return written


def _place(package: Path) -> tuple[int, str]:
    name = package.relative_to(SOURCE).as_posix()
    return ORDER.index("" if name == "." else name.partition("/")[0]), name


def _summary(module: Path) -> str:
    """Return the first paragraph of a module's docstring as one line of Markdown."""
    docstring = ast.get_docstring(ast.parse(module.read_text())) or ""
    return " ".join(docstring.partition("\n\n")[0].split()).replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(with_map(PAGE.read_text()))
