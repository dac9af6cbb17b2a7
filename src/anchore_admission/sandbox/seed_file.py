"""Read a seed file, and report all of its problems at once."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from anchore_admission.documents.reader import load_documents
from anchore_admission.errors import ConfigurationError, DocumentError, Problem
from anchore_admission.models.problems import path
from anchore_admission.sandbox.policy_checks import policy_problems
from anchore_admission.sandbox.policy_dialects import dialect, read_policy
from anchore_admission.sandbox.responses import ProblemError
from anchore_admission.sandbox.seed import ADMIN, Seed

MAX_CHARACTERS = 8 * 1024 * 1024
MAX_DEPTH = 50


class InvalidSeed(ConfigurationError):
    """An invalid seed file, with all of its problems."""


def load_seed(text: str, source: str) -> Seed:
    """Read a seed; ``source`` names the file in the error. Raises InvalidSeed."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidSeed(source, [Problem("", f"is longer than {MAX_CHARACTERS} characters")])
    try:
        documents = load_documents(text, source=source, aliases=False, depth=MAX_DEPTH)
    except DocumentError as error:
        raise InvalidSeed(source, error.problems) from error
    if len(documents) > 1:
        raise InvalidSeed(source, [Problem("", "expected one document; leave the line --- out")])
    return seed_from(documents[0] if documents else None, source)


def seed_from(data: object, source: str) -> Seed:
    """Build a seed from the contents of a YAML or JSON file. Raises InvalidSeed."""
    problems: list[Problem] = []
    seed = Seed()
    try:
        seed = Seed.model_validate({} if data is None else data)
    except ValidationError as error:
        problems = [Problem(path(e["loc"]), e["msg"]) for e in error.errors(include_url=False, include_context=False)]
    problems += _cross_problems(data if isinstance(data, dict) else {})
    if problems:
        raise InvalidSeed(source, problems)
    return seed


def _entries(data: dict[Any, Any], key: str) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Yield the items of a list that are mappings, with their paths; the schema reports the others."""
    items = data.get(key)
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            yield f"{key}[{index}]", item


def _cross_problems(data: dict[Any, Any]) -> list[Problem]:
    """Return the problems between parts of the file; they are reported beside those of the schema."""
    return [
        *_unknown_accounts(data),
        *_repeated((place, entry.get("name")) for place, entry in _entries(data, "accounts")),
        *_repeated(
            (f"{place}.{user_place}", user.get("username"))
            for place, entry in _entries(data, "accounts")
            for user_place, user in _entries(entry, "users")
        ),
        *_repeated((place, tag) for place, entry in _entries(data, "registry") for tag in _tags(entry)),
        *_several_active(data),
        *_refused_policies(data),
    ]


def _tags(entry: dict[Any, Any]) -> list[Any]:
    tags = entry.get("tag")
    return tags if isinstance(tags, list) else [tags]


def _unknown_accounts(data: dict[Any, Any]) -> Iterator[Problem]:
    known = {entry.get("name") for _, entry in _entries(data, "accounts")} if "accounts" in data else {ADMIN.name}
    for key in ("images", "policies"):
        for place, entry in _entries(data, key):
            account = entry.get("account", "admin")
            if isinstance(account, str) and account not in known:
                yield Problem(f"{place}.account", f"no account is named {account}")


def _several_active(data: dict[Any, Any]) -> Iterator[Problem]:
    active = ((place, entry) for place, entry in _entries(data, "policies") if entry.get("active") is True)
    for problem in _repeated((f"{place}.active", entry.get("account", "admin")) for place, entry in active):
        yield Problem(problem.path, f"one policy of an account is active: {problem.message}")


def _repeated(named: Iterator[tuple[str, Any]]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for place, name in named:
        if isinstance(name, str) and first.setdefault(name, place) != place:
            yield Problem(place, f"{name} stands at {first[name]} already")


def _refused_policies(data: dict[Any, Any]) -> Iterator[Problem]:
    for place, entry in _entries(data, "policies"):
        document = entry.get("policy")
        if not isinstance(document, dict):
            continue
        try:
            json.dumps(document, allow_nan=False)
            policy, _ = read_policy(document, dialect(document))
        except (TypeError, ValueError) as error:
            yield Problem(f"{place}.policy", f"not a JSON document: {error}")
        except ProblemError as error:
            yield Problem(f"{place}.policy", error.detail or "")
        else:
            for problem in policy_problems(policy):
                yield Problem(f"{place}.policy", f"{problem['problem_type']}: {problem['details']}")
