"""The files and the report of a converted configuration: their texts, and writing them."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from anchore_admission.cli.yaml_output import Dumper
from anchore_admission.core.convert.conversion import Conversion, secret_name
from anchore_admission.core.convert.selectors import ConvertedSelector, Status
from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.text import shown

CONFIGURATION, VALUES, REPORT = "configuration.yaml", "values.yaml", "report.json"
_WIDTH = 1_000_000
"""No line is broken: a person removes the key `undecided` as one line."""
_STATUSES = {
    Status.EXACT: "exact",
    Status.CHECKED: "checked",
    Status.STRICTER: "stricter",
    Status.DECIDE: "to decide",
    Status.UNUSED: "without effect",
}
_HEAD = """\
# Written by `anchore-admission config convert`. Each rule names the selector that it stands for.
"""
_UNDECIDED = """\
# Not valid yet: check each rule that has the key `undecided`, then remove the key.
"""


def configuration_text(conversion: Conversion) -> str:
    """Return configuration.yaml, with the selector above its rules."""
    return _with_rules(conversion, conversion.configuration)


def files_of(conversion: Conversion, problems: Sequence[Problem]) -> dict[str, str]:
    """Return the text of each file by its name; those of Secrets hold passwords."""
    files = {CONFIGURATION: configuration_text(conversion), VALUES: _values_text(conversion)}
    files |= {secret_file(secret.account): _yaml(secret.manifest) for secret in conversion.secrets}
    return files | {REPORT: json.dumps(report_document(conversion, problems), indent=2) + "\n"}


def secret_file(account: str) -> str:
    """Return the name of the file with an account's Secret."""
    return f"secret-{account}.yaml"


def write_files(directory: Path, files: Mapping[str, str], *, force: bool) -> None:
    """Write the files, readable by their owner only where they hold a password.

    Raises:
        ConfigurationError: a file exists and ``force`` is not given, or cannot be written.
    """
    existing = [name for name in files if os.path.lexists(directory / name)]
    if existing and not force:
        problems = [Problem(name, "exists; give --force to replace it") for name in existing]
        raise ConfigurationError(shown(str(directory)), problems)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = directory / name
            path.unlink(missing_ok=True)  # its mode and what it may link to must not outlive it
            mode = 0o600 if name.startswith("secret-") else 0o644
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise ConfigurationError(
            shown(str(directory)), [Problem("", f"cannot be written: {error.strerror}")]
        ) from error


def report_document(conversion: Conversion, problems: Sequence[Problem]) -> dict[str, Any]:
    """Return the report for machines. No password is in it."""
    return {
        "complete": conversion.is_complete and not problems,
        "selectors": [
            {
                "path": converted.selector.path,
                "status": str(converted.status),
                "rules": [rule["name"] for rule in converted.rules],
                "remarks": list(converted.remarks),
            }
            for converted in conversion.selectors
        ],
        "accounts": [
            {"name": account, "user": user, "secret": secret_name(account)} for account, user in conversion.accounts
        ],
        "findings": [{"path": finding.path, "text": finding.text} for finding in conversion.findings],
        "problems": [{"path": problem.path, "text": problem.message} for problem in problems],
    }


def report_text(conversion: Conversion, problems: Sequence[Problem]) -> str:
    """Return the report for people. No password is in it."""
    counts = Counter(converted.status for converted in conversion.selectors)
    counted = ", ".join(f"{counts[status]} {word}" for status, word in _STATUSES.items() if counts[status])
    lines = [_number(len(conversion.selectors), "selector") + (f": {counted}" if counted else "")]
    for converted in conversion.selectors:
        lines += ["", f"{_title(converted)}: {_STATUSES[converted.status]}", f"  {_rules(converted)}"]
        lines += [f"  - {remark}" for remark in converted.remarks]
    accounts = [f"{name}: user {shown(user)}, Secret {secret_name(name)}" for name, user in conversion.accounts]
    sections = (
        ("Accounts", accounts),
        ("Also", [f"{finding.path} {finding.text}" for finding in conversion.findings]),
        ("Before it is valid", list(map(str, problems))),
    )
    for title, entries in sections:
        lines += ["", title, *(f"  {entry}" for entry in entries)] if entries else []
    return "\n".join(lines) + "\n"


def _title(converted: ConvertedSelector) -> str:
    selector = converted.selector
    kind = shown(selector.resource_type or "(no ResourceType)", 40)
    key = f"{_quoted(selector.key)} = " if kind in {"resource", "namespace"} else ""
    return f"{selector.path} {kind} {key}{_quoted(selector.value)}, {shown(selector.mode or '(no Mode)', 40)}"


def _rules(converted: ConvertedSelector) -> str:
    return ", ".join(f"rule {rule['name']} ({rule['mode']})" for rule in converted.rules) or "no rule"


def _quoted(text: str) -> str:
    return f'"{shown(text, 80)}"'


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _with_rules(conversion: Conversion, document: Mapping[str, Any], indent: str = "") -> str:
    """Return a document with rules at its end, each below a comment with its selector."""
    head = {key: value for key, value in document.items() if key != "rules"}
    lines = [_HEAD.rstrip()] if not indent else []
    lines += [_UNDECIDED.rstrip()] if not indent and not conversion.is_complete else []
    lines += _yaml(head).splitlines() if head else []
    lines += ["rules:"] if any(converted.rules for converted in conversion.selectors) else []
    for converted in conversion.selectors:
        lines.append(
            f"  # {_title(converted)}: {_STATUSES[converted.status]}" + ("" if converted.rules else ", no rule")
        )
        for rule in converted.rules:
            lines += [f"  {line}" for line in _yaml([rule]).splitlines()]
    return "".join(f"{indent}{line}\n" for line in lines)


def _values_text(conversion: Conversion) -> str:
    head = {key: value for key, value in conversion.values.items() if key != "config"}
    text = _HEAD + ("" if conversion.is_complete else _UNDECIDED) + _yaml(head)
    return f"{text}config:\n{_with_rules(conversion, conversion.values['config'], indent='  ')}"


def _yaml(value: Mapping[str, Any] | Iterable[Any]) -> str:
    text: str = yaml.dump(value, Dumper=Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True)
    return text
