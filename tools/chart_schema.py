# ruff: noqa: INP001 - beside the script that imports it
"""What is made in the chart's values.schema.json: the configuration file, the seed, labels, what must be there.

The properties themselves are written by hand.
"""

import json
from collections.abc import Iterator
from typing import Any

from anchore_admission.sandbox.seed import Seed

Schema = dict[str, Any]

_LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_DOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_KEY = rf"^({_DOMAIN}/)?{_LABEL}$"
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
ENDPOINT = rf"^(https?://([^\s@/?#:\[\]]+|\[[0-9A-Fa-f:.]+\])(:{_PORT})?(/[^\s@?#]*)?)?$"
LABELS: Schema = {
    "LabelKey": {"type": "string", "pattern": _KEY},
    "LabelValue": {"type": "string", "pattern": rf"^({_LABEL})?$"},
    # Not propertyNames: Helm's validator then names another place.
    "Labels": {
        "type": "object",
        "patternProperties": {_KEY: {"$ref": "#/$defs/LabelValue"}},
        "additionalProperties": False,
    },
}
"""As k8s.io/apimachinery checks them."""


def schema(current: str, configuration: str, defaults: dict[str, Any]) -> str:
    """The chart's schema with what is made put in anew."""
    file = json.loads(current)
    _require(file, defaults)
    made = {**_configuration(configuration), **_seed(), **LABELS, "Endpoint": {"type": "string", "pattern": ENDPOINT}}
    return json.dumps({**file, "$defs": made}, indent=2) + "\n"


def _configuration(text: str) -> Schema:
    parts = json.loads(text)
    del parts["$schema"]
    definitions = parts.pop("$defs")
    properties = parts["properties"]
    properties["workloads"] = {"anyOf": [{"const": False}, properties["workloads"]]}  # YAML's `off`, as Helm reads it
    for part in _within(definitions):
        if part.get("format") == "uri":  # which Helm does not look at
            part["pattern"] = ENDPOINT
    return {"Configuration": parts, **definitions}


def _seed() -> Schema:
    """Return the seed's definitions, renamed: some are called like those of the configuration (`Messages`)."""
    seed = Seed.model_json_schema(by_alias=True)
    for part in _within(seed):
        if isinstance(part.get("title"), str):  # pydantic's, which say nothing
            del part["title"]
        if isinstance(part.get("$ref"), str):
            part["$ref"] = part["$ref"].replace("#/$defs/", "#/$defs/Seed")
    definitions = seed.pop("$defs")
    return {"Seed": seed, **{f"Seed{name}": definition for name, definition in definitions.items()}}


def _require(section: Schema, defaults: dict[str, Any]) -> None:
    """A `null` takes a default away, and the templates would stumble; where it is empty, they expect that."""
    properties = section["properties"]
    free = {name for name, it in properties.items() if it.get("type") == "object" and "properties" not in it}
    needed = [
        name
        for name, it in properties.items()
        if name not in free and defaults.get(name) not in (None, "", [], {}) and "null" not in it.get("type", "")
    ]
    if needed:
        section["required"] = needed
    for name, below in properties.items():
        if "properties" in below and isinstance(defaults.get(name), dict) and defaults[name]:
            _require(below, defaults[name])


def _within(value: Any) -> Iterator[Schema]:
    """Every mapping within a value."""
    if isinstance(value, dict):
        yield value
        for below in value.values():
            yield from _within(below)
    elif isinstance(value, list):
        for below in value:
            yield from _within(below)
