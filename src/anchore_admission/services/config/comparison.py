"""Compare two configurations: the changes in words, and the keys that take effect only after a restart."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from anchore_admission.models.configuration import Configuration
from anchore_admission.models.moments import written_time
from anchore_admission.text import shown

RELOADED = ("rules", "defaults", "exemptions", "workloads", "unknown_kinds", "messages")
"""Sections that take effect at once. All others need connections, memory or ports to be built anew."""
RELOADED_LIMITS = ("images", "exemption_days")
_VALUE_LIMIT = 100
_ORDER_LIMIT = 1000
MAX_CHANGES = 50
"""Changes that are named one by one."""

Part = Mapping[str, Any]


def in_effect(running: Configuration, new: Configuration) -> Configuration:
    """Return the new configuration with the values of the running one where a change needs a restart."""
    limits = running.limits.model_copy(update={name: getattr(new.limits, name) for name in RELOADED_LIMITS})
    reloaded: dict[str, Any] = {name: getattr(new, name) for name in RELOADED}
    return running.model_copy(update={**reloaded, "limits": limits})


def waiting_for_restart(running: Configuration, new: Configuration) -> list[str]:
    """Return the keys of the new configuration that are not in effect yet."""
    return [path for path, _, _ in _differences(_dumped(in_effect(running, new)), _dumped(new))]


def changes(old: Configuration, new: Configuration) -> list[str]:
    """Return what changed in words, rule by rule; no value is a secret, because the file holds none."""
    before, after = _dumped(old), _dumped(new)
    found = [
        *_named("rule", before.pop("rules"), after.pop("rules")),
        *_named("exemption", before.pop("exemptions"), after.pop("exemptions")),
        *(f"{path}: {_written(was)} -> {_written(now)}" for path, was, now in _differences(before, after)),
    ]
    if len(found) > MAX_CHANGES:
        found[MAX_CHANGES:] = [f"and {len(found) - MAX_CHANGES} more changes"]
    return found


def _named(kind: str, before: Sequence[Part], after: Sequence[Part]) -> Iterator[str]:
    """Yield the changes in a list of named entries, whose order counts."""
    old, new = ({entry["name"]: entry for entry in entries} for entries in (before, after))
    for name in old:
        if name not in new:
            yield f"{kind} {name} removed"
    for position, name in enumerate(new, start=1):
        if name not in old:
            yield f"{kind} {name} added, {position} of {len(new)}"
    for name in new:
        for path, was, now in _differences(old[name], new[name]) if name in old else ():
            yield f"{kind} {name}: {path}: {_written(was)} -> {_written(now)}"
    kept = [name for name in new if name in old]
    if kept != [name for name in old if name in new]:
        yield f"{kind}s in another order: {shown(', '.join(kept), _ORDER_LIMIT)}"


def _differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the path and both values of every difference; lists are compared as a whole."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            inner = f"{path}.{key}" if path else key
            yield from _differences(before.get(key), after.get(key), inner)
    elif before != after:
        yield path, before, after


def _written(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return shown(f"[{', '.join(map(_written, value))}]", _VALUE_LIMIT)
    if isinstance(value, dict):
        entries = (f"{key}: {_written(inner)}" for key, inner in value.items() if inner is not None)
        return shown(f"{{{', '.join(entries)}}}", _VALUE_LIMIT)
    return shown(str(value), _VALUE_LIMIT)


def _dumped(configuration: Configuration) -> dict[str, Any]:
    dumped = configuration.model_dump(mode="json", by_alias=True)
    for exemption in dumped["exemptions"]:
        exemption["expires"] = written_time(exemption["expires"])
    return dumped
