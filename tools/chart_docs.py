#!/usr/bin/env python3
"""Write what of the Helm chart is made from elsewhere: the README's table of values, parts of the values' schema.

The table comes from the comments of values.yaml that begin with ``# --``, the schema from chart_schema.py. With
``--check``, nothing is written and the exit code says whether all is current.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from chart_schema import schema

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm" / "anchore-admission"
BEGIN, END = "<!-- values: made by make chart-docs -->\n", "<!-- end of values -->\n"
_KEY = re.compile(r"( *)([A-Za-z]\w*):")
_HEADING = re.compile(r"# (\w[^-]*) -{10,}")
_LONGEST_DEFAULT = 60


def documented(values: str) -> Iterator[tuple[str, str, str]]:
    """Heading, path and description of every value with a comment, in the file's order."""
    heading, description = "", ""
    path: list[tuple[int, str]] = []
    for line in values.splitlines():
        if match := _HEADING.fullmatch(line):
            heading = match[1].strip()
        elif line.lstrip().startswith("# -- "):
            description = line.lstrip()[5:]
        elif match := _KEY.match(line):
            indent = len(match[1])
            path = [*((i, key) for i, key in path if i < indent), (indent, match[2])]
            if description:
                yield heading, ".".join(key for _, key in path), description
            description = ""


def table(values: str) -> str:
    """Markdown: one table per heading."""
    defaults = yaml.safe_load(values)
    lines: list[str] = []
    last = ""
    for heading, path, description in documented(values):
        if heading != last:
            lines += ["", f"### {heading}", "", "| value | default | meaning |", "|---|---|---|"]
            last = heading
        lines.append(f"| `{path}` | {_shown(_at(defaults, path))} | {description} |")
    return "\n".join([*lines, "", ""])


def undocumented(values: str) -> list[str]:
    """Leaves of values.yaml that no comment explains."""
    explained = {path for _, path, _ in documented(values)}
    return [path for path in _leaves(yaml.safe_load(values)) if not _covers(explained, path)]


def readme(current: str, values: str) -> str:
    """The README with a fresh table between its two markers."""
    before, _, rest = current.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table(values)}{END}{after}"


def _at(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value[key]
    return value


def _leaves(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaves(below, f"{path}.{key}".lstrip("."))
    else:
        yield path


def _covers(explained: set[str], path: str) -> bool:
    parts = path.split(".")
    return any(".".join(parts[:length]) in explained for length in range(1, len(parts) + 1))


def _shown(default: Any) -> str:
    if default == "":
        return ""
    text = json.dumps(default) if not isinstance(default, str) else default
    return f"`{text}`" if len(text) <= _LONGEST_DEFAULT else "see values.yaml"


def main() -> int:
    """Write the files, or say which are not current."""
    values = (CHART / "values.yaml").read_text()
    if missing := undocumented(values):
        sys.stderr.write(f"values.yaml does not explain: {', '.join(missing)}\n")
        return 1
    configuration = (ROOT / "docs" / "configuration.schema.json").read_text()
    made = {
        CHART / "README.md": readme((CHART / "README.md").read_text(), values),
        CHART / "values.schema.json": schema(
            (CHART / "values.schema.json").read_text(), configuration, yaml.safe_load(values)
        ),
    }
    stale = [path for path, text in made.items() if path.read_text() != text]
    if "--check" in sys.argv[1:]:
        sys.stderr.writelines(f"{path.relative_to(ROOT)} is not current: make chart-docs\n" for path in stale)
        return 1 if stale else 0
    for path in stale:
        path.write_text(made[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
