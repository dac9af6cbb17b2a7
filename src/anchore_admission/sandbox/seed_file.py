"""Reads a seed file: safe YAML, and everything that is wrong with it at once."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import ValidationError

from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.sandbox.answers import ProblemError
from anchore_admission.sandbox.policies import dialect, read_policy
from anchore_admission.sandbox.policy_checks import policy_problems
from anchore_admission.sandbox.seed import ADMIN, Seed

MAX_CHARACTERS = 8 * 1024 * 1024
MAX_DEPTH = 50


class _Loader(yaml.SafeLoader):
    """Leaves times as they are written: a policy document is JSON, which has none."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class InvalidSeed(ConfigurationError):
    """A seed file that cannot be used, with every problem in it."""


def load_seed(text: str, source: str) -> Seed:
    """Read a seed; ``source`` names the file in the error."""
    try:
        return seed_from(_read(text), source)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise InvalidSeed(source, [Problem("", f"not readable YAML: {reason}")]) from error


def seed_from(data: object, source: str) -> Seed:
    """A seed from what a YAML or JSON file holds."""
    problems: list[Problem] = []
    seed = Seed()
    try:
        seed = Seed.model_validate({} if data is None else data)
    except ValidationError as error:
        problems = [Problem(_path(e["loc"]), e["msg"]) for e in error.errors(include_url=False, include_context=False)]
    problems += _cross_problems(data if isinstance(data, dict) else {})
    if problems:
        raise InvalidSeed(source, problems)
    return seed


def _path(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")


def _read(text: str) -> object:
    if len(text) > MAX_CHARACTERS:
        raise yaml.YAMLError(f"longer than {MAX_CHARACTERS} characters")
    _refuse_tricks(text)
    node = yaml.compose(text, Loader=_Loader)
    if duplicates := list(_duplicates(node)):
        raise yaml.YAMLError(f"duplicate keys: {', '.join(duplicates)}")
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader


def _refuse_tricks(text: str) -> None:
    """Refuse what makes a small file large or deep, before anything is built from it."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"aliases are not allowed: *{event.anchor}")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise yaml.YAMLError(f"nested more than {MAX_DEPTH} deep")


def _duplicates(node: yaml.Node | None, path: str = "") -> Iterator[str]:
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _duplicates(item, f"{path}[{index}]")
    if isinstance(node, yaml.MappingNode):
        counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        yield from (f"{path}.{key}".removeprefix(".") for key, count in counts.items() if count > 1)
        for key, value in node.value:
            yield from _duplicates(value, f"{path}.{key.value}".removeprefix("."))


def _entries(data: dict[Any, Any], key: str) -> Iterator[tuple[str, dict[Any, Any]]]:
    """The items of a list that are mappings, with their path; the schema reports the others."""
    items = data.get(key)
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            yield f"{key}[{index}]", item


def _cross_problems(data: dict[Any, Any]) -> list[Problem]:
    """What no single key shows; read from the raw file, so that it is told beside the schema's problems."""
    return [
        *_unknown_accounts(data),
        *_repeated((path, entry.get("name")) for path, entry in _entries(data, "accounts")),
        *_repeated(
            (f"{path}.{user_path}", user.get("username"))
            for path, entry in _entries(data, "accounts")
            for user_path, user in _entries(entry, "users")
        ),
        *_repeated((path, tag) for path, entry in _entries(data, "registry") for tag in _tags(entry)),
        *_several_active(data),
        *_refused_policies(data),
    ]


def _tags(entry: dict[Any, Any]) -> list[Any]:
    tags = entry.get("tag")
    return tags if isinstance(tags, list) else [tags]


def _unknown_accounts(data: dict[Any, Any]) -> Iterator[Problem]:
    known = {entry.get("name") for _, entry in _entries(data, "accounts")} if "accounts" in data else {ADMIN.name}
    for key in ("images", "policies"):
        for path, entry in _entries(data, key):
            account = entry.get("account", "admin")
            if isinstance(account, str) and account not in known:
                yield Problem(f"{path}.account", f"no account is named {account}")


def _several_active(data: dict[Any, Any]) -> Iterator[Problem]:
    active = ((path, entry) for path, entry in _entries(data, "policies") if entry.get("active") is True)
    for problem in _repeated((f"{path}.active", entry.get("account", "admin")) for path, entry in active):
        yield Problem(problem.path, f"one policy of an account is active: {problem.message}")


def _repeated(named: Iterator[tuple[str, Any]]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for path, name in named:
        if isinstance(name, str) and first.setdefault(name, path) != path:
            yield Problem(path, f"{name} stands at {first[name]} already")


def _refused_policies(data: dict[Any, Any]) -> Iterator[Problem]:
    for path, entry in _entries(data, "policies"):
        document = entry.get("policy")
        if not isinstance(document, dict):
            continue
        try:
            json.dumps(document, allow_nan=False)
            policy, _ = read_policy(document, dialect(document))
        except (TypeError, ValueError) as error:
            yield Problem(f"{path}.policy", f"not a JSON document: {error}")
        except ProblemError as error:
            yield Problem(f"{path}.policy", error.detail or "")
        else:
            for problem in policy_problems(policy):
                yield Problem(f"{path}.policy", f"{problem['problem_type']}: {problem['details']}")
