"""Parse and validate a configuration file: report all mistakes at once, also contradictions between its parts."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import ValidationError

from anchore_admission.core.rules.book import DEFAULTS_NAME
from anchore_admission.documents.reader import load_documents
from anchore_admission.errors import ConfigurationError, DocumentError, Problem
from anchore_admission.models.configuration import Configuration, DefaultsSection, ModeName
from anchore_admission.ports.deadline import Clock
from anchore_admission.services.config.exemptions import break_glass_problems, exemption_problems
from anchore_admission.services.config.patterns import pattern_problems
from anchore_admission.services.config.problems import problems_of
from anchore_admission.text import shown

Part = dict[str, Any]
IMPLICIT_ACCOUNT = DefaultsSection().account
"""The account that ``accounts`` may leave out: its credentials then come from the environment."""
_SHOWN = 63
_FINGERPRINT = 12
"""Hexadecimal digits: enough to tell configurations apart, short enough to read out."""
_SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def parse_configuration(text: str | bytes, source: str, *, wall_clock: Clock = time.time) -> Configuration:
    """Read a configuration file. ``source`` names it in the error; ``wall_clock`` bounds the ends of exemptions.

    Raises:
        ConfigurationError: with every problem, each with its path; values that may be secret are not repeated.
    """
    document = _document(text, source)
    try:
        configuration = Configuration.model_validate(document)
        problems = []
    except ValidationError as error:
        configuration = None
        problems = problems_of(error)
    if isinstance(document, dict):
        placed = {problem.path for problem in problems}
        problems.extend(problem for problem in _empty_keys(document) if problem.path not in placed)
        problems.extend(_between_parts(document))
        problems.extend(exemption_problems(document, wall_clock()))
        problems.extend(pattern_problems(document))
    if configuration is None or problems:
        raise ConfigurationError(source, problems)
    return configuration


def configuration_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors."""
    return {"$schema": _SCHEMA_DIALECT, **Configuration.model_json_schema(by_alias=True)}


def fingerprint(configuration: Configuration, registration: object = None) -> str:
    """Return a short hash of the effective configuration, defaults included, to compare replicas with.

    Layout and comments of the file do not count. No secret is hashed: the configuration names the files that hold them.
    """
    effective = [configuration.model_dump(mode="json", by_alias=True), registration]
    return hashlib.sha256(json.dumps(effective, sort_keys=True).encode()).hexdigest()[:_FINGERPRINT]


def environment_name(account: str) -> str:
    """Return an account's part of the names of environment variables: upper case, ``_`` for ``.`` and ``-``."""
    return account.upper().replace("-", "_").replace(".", "_")


def _document(text: str | bytes, source: str) -> Any:
    try:
        documents = load_documents(text, source=source, aliases=True)
    except DocumentError as error:
        raise ConfigurationError(source, error.problems) from error
    if len(documents) > 1:
        raise ConfigurationError(source, [Problem("", "expected one document; leave the line --- out")])
    return documents[0] if documents else {}


def _empty_keys(document: Part) -> Iterator[Problem]:
    """Yield the keys of rules and exemptions without a value, which YAML reads as null.

    Without ``images``, a rule applies to every image, and without ``excuses``, an exemption excuses everything: a value
    that was forgotten must not mean the same.
    """
    for path, section in (*_entries(document, "rules"), *_entries(document, "exemptions")):
        match = _part(section, "match")
        parts = {"": section, ".match": match, ".match.except": _part(match, "except")}
        for place, part in {**parts, ".excuses": _part(section, "excuses")}.items():
            for key in (key for key, value in part.items() if value is None and key != "policy"):
                yield Problem(f"{path}{place}.{key}", "has no value; give one, or remove the key")


def _between_parts(document: Part) -> Iterator[Problem]:
    """Yield contradictions between parts. The raw document is read, so they are found whatever else is wrong."""
    accounts = list(_entries(document, "accounts"))
    rules = list(_entries(document, "rules"))
    fallback = _part(document, "defaults").get("mode") or ModeName.PASSIVE
    users = [("defaults", _part(document, "defaults")), *rules]
    yield from _same_names(accounts, environment_name, ": their environment variables would be the same")
    yield from _same_names(rules, str, "")
    yield from _same_names(list(_entries(document, "exemptions")), str, "")
    for path, rule in rules:
        yield from _in_rule(path, rule)
        yield from break_glass_problems(path, rule, fallback)
    names = {_text(account, "name") for _, account in accounts} | {IMPLICIT_ACCOUNT}
    for path, user in users:
        if _text(user, "account") not in {"", *names}:
            yield Problem(f"{path}.account", "names an account that is not in accounts")
        for value, account in _allowed(user, "accountFrom"):
            if account not in names:
                place = f"{path}.accountFrom.allowed.{shown(value, _SHOWN)}"
                yield Problem(place, "names an account that is not in accounts")
    if not _part(document, "anchore").get("endpoint"):
        with_endpoint = {_text(account, "name") for _, account in accounts if account.get("endpoint")}
        for account in sorted(_used_accounts(users) & names - with_endpoint):
            yield Problem("anchore.endpoint", f"is required: account {account} has no endpoint of its own")


def _in_rule(path: str, rule: Part) -> Iterator[Problem]:
    if rule.get("name") == DEFAULTS_NAME:
        yield Problem(f"{path}.name", f"the name {DEFAULTS_NAME} is reserved for the defaults")
    for key in ("mode", "account", "policy"):
        if rule.get(key) is not None and rule.get(f"{key}From") is not None:
            yield Problem(f"{path}.{key}From", f"expected without {key}, which it replaces")


def _same_names(entries: list[tuple[str, Part]], written: Callable[[str], str], why: str) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for path, entry in entries:
        name = written(_text(entry, "name"))
        if name and first.setdefault(name, path) != path:
            yield Problem(f"{path}.name", f"is already the name of {first[name]}{why}")


def _used_accounts(users: list[tuple[str, Part]]) -> set[str]:
    """Return the accounts that some image may need; the defaults fill in the keys that a rule leaves out."""
    fallback = {"mode": ModeName.PASSIVE, "account": IMPLICIT_ACCOUNT, **users[0][1]}
    used: set[str] = set()
    for _, user in users:
        outcome = {**fallback, **{key: value for key, value in user.items() if value is not None}}
        modes = {mode for _, mode in _allowed(outcome, "modeFrom")} or {_text(outcome, "mode")}
        if modes != {ModeName.SKIP}:
            used |= {account for _, account in _allowed(outcome, "accountFrom")} or {_text(outcome, "account")}
    return used


def _allowed(user: Part, key: str) -> list[tuple[str, str]]:
    """Return the values that ``accountFrom`` or ``modeFrom`` allows, as far as they are texts."""
    allowed = _part(_part(user, key), "allowed")
    return [(value, target) for value, target in allowed.items() if isinstance(target, str)]


def _entries(document: Part, key: str) -> Iterator[tuple[str, Part]]:
    entries = document.get(key)
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        if isinstance(entry, dict):
            yield f"{key}[{index}]", entry


def _part(document: Part, key: str) -> Part:
    part = document.get(key)
    return part if isinstance(part, dict) else {}


def _text(part: Part, key: str) -> str:
    value = part.get(key)
    return value if isinstance(value, str) else ""
