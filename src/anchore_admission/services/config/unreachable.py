"""Rules that no image can reach, because an earlier rule matches every image."""

from collections.abc import Iterator

from anchore_admission.errors import Problem
from anchore_admission.models.configuration import Configuration, Match

_ALWAYS_THERE = ("images", "namespaces", "users")
"""Keys of ``match`` whose value every request has, so that the glob ``*`` always matches it.

An object of the cluster has the empty namespace. A Pod may have no service account, and a user no groups.
"""


def unreachable_rules(configuration: Configuration) -> Iterator[Problem]:
    """Yield the rules below the first that matches everything. They are warnings: the file is valid."""
    rules = configuration.rules
    first = next((number for number, rule in enumerate(rules) if _matches_everything(rule.match)), len(rules))
    for number in range(first + 1, len(rules)):
        reason = f"rules[{first}] ({rules[first].name}) above it matches every image"
        yield Problem(f"rules[{number}]", f"{rules[number].name} never applies: {reason}")


def _matches_everything(match: Match) -> bool:
    given = match.model_dump(exclude_none=True)
    return all(name in _ALWAYS_THERE and any(not glob.strip("*") for glob in globs) for name, globs in given.items())
