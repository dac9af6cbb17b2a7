#!/usr/bin/env python3
"""Generate three parts of the Helm chart: the README's table of values, the values' schema, and the webhook's entry.

The table comes from the comments of values.yaml, the schema from chart_schema.py, the entry from the program. A comment
that begins with ``# --`` describes the next key and may go on in further lines; a line that begins with a key
(``# key:``) begins a commented example. With ``--check``, nothing is written; the exit code is 1 if a file is stale.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from chart_schema import schema

from anchore_admission.core.webhook.entry import WebhookKind, WebhookOptions, service_client, webhook_configuration

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm" / "anchore-admission"
BEGIN, END = "<!-- values: made by make chart-docs -->\n", "<!-- end of values -->\n"
_KEY = re.compile(r"( *)([A-Za-z]\w*):")
_HEADING = re.compile(r"# (\w[^-]*) -{10,}")
_EXAMPLE = re.compile(r"# +(- )?\w+:( |$)")
_LONGEST_DEFAULT = 60
_LINE = 120
_ENTRY_HEADER = """\
# The webhook's entry in the {kind}, written by `make chart-docs` from the program, which
# explains it (src/anchore_admission/core/webhook/entry.py). templates/_webhook.tpl sets what the values decide.
"""


def documented(values: str) -> Iterator[tuple[str, str, str]]:
    """Yield heading, path and description of every value with a comment, in the file's order."""
    heading, description, continues = "Global", "", False
    path: list[tuple[int, str]] = []
    for line in values.splitlines():
        comment = line.lstrip()
        if match := _HEADING.fullmatch(line):
            heading = match[1].strip()
        elif comment.startswith("# -- "):
            description, continues = comment[5:], True
        elif comment.startswith("# "):
            continues = continues and not _EXAMPLE.match(comment)
            if continues:
                description += comment[1:]
        elif match := _KEY.match(line):
            indent = len(match[1])
            path = [*((i, key) for i, key in path if i < indent), (indent, match[2])]
            if description:
                yield heading, ".".join(key for _, key in path), description
            description = ""


def table(values: str) -> str:
    """Return Markdown with one table per heading."""
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
    """Return the leaves of values.yaml that no comment explains."""
    explained = {path for _, path, _ in documented(values)}
    return [path for path in _leaves(yaml.safe_load(values)) if not _covers(explained, path)]


def readme(current: str, values: str) -> str:
    """Return the README with a new table between its two markers."""
    before, _, rest = current.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table(values)}{END}{after}"


class _Dumper(yaml.SafeDumper):
    """Indents lists below their keys and folds long texts."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's own names
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=">" if len(value) > _LINE else None)


_Dumper.add_representer(str, _text)


def webhook_entry(kind: WebhookKind) -> str:
    """Return the webhook's entry as the program prints it, with the names of the default release."""
    client = service_client("anchore-admission", "anchore-admission", 443, kind.path)
    (entry,) = webhook_configuration(WebhookOptions("anchore-admission", client, kind=kind))["webhooks"]
    # The template adds the release's namespace, which it knows.
    entry["namespaceSelector"]["matchExpressions"][0]["values"].remove("anchore-admission")
    text: str = yaml.dump(entry, Dumper=_Dumper, sort_keys=False, width=_LINE)
    return _ENTRY_HEADER.format(kind=kind.value) + text


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
    if default in ("", None):
        return ""
    text = json.dumps(default) if not isinstance(default, str) else default
    return f"`{text}`" if len(text) <= _LONGEST_DEFAULT else "see values.yaml"


def main() -> int:
    """Write the files, or report which are stale."""
    values = (CHART / "values.yaml").read_text()
    if missing := undocumented(values):
        sys.stderr.write(f"values.yaml does not explain: {', '.join(missing)}\n")
        return 1
    configuration = (ROOT / "docs" / "configuration.schema.json").read_text()
    old = yaml.safe_load((CHART / "files" / "old-values.yaml").read_text())
    made = {
        CHART / "README.md": readme((CHART / "README.md").read_text(), values),
        CHART / "values.schema.json": schema(
            (CHART / "values.schema.json").read_text(), configuration, yaml.safe_load(values), old
        ),
        CHART / "files" / "webhook.yaml": webhook_entry(WebhookKind.VALIDATING),
        CHART / "files" / "mutatingwebhook.yaml": webhook_entry(WebhookKind.MUTATING),
    }
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        sys.stderr.writelines(f"{path.relative_to(ROOT)} is stale: run make chart-docs\n" for path in stale)
        return 1 if stale else 0
    for path in stale:
        path.write_text(made[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
