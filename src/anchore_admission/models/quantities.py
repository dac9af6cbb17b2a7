"""Durations and sizes as users write them in the configuration: ``500ms``, ``10m``, ``8MiB``."""

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = re.compile(r"([0-9]{1,12})(B|KiB|MiB)?")
_BYTES = {None: 1, "B": 1, "KiB": 1024, "MiB": 1024 * 1024}


def parse_duration(value: Any) -> float:
    """Return seconds, from ``500ms``, ``8s``, ``10m``, ``1h``, a combination (``1m30s``), or a plain number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if isinstance(value, str) and re.fullmatch(rf"(?:{_DURATION.pattern})+", value):
        return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(value))
    raise ValueError("expected a duration such as 500ms, 8s or 10m")


def written_duration(seconds: float) -> str:
    """Write a duration in the largest unit that divides it."""
    unit = next((unit for unit in ("h", "m", "s") if seconds and seconds % _SECONDS[unit] == 0), "s")
    return f"{seconds / _SECONDS[unit]:g}{unit}"


def parse_size(value: Any) -> int:
    """Return bytes, from ``512KiB``, ``8MiB``, or a plain number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        return int(match[1]) * _BYTES[match[2]]
    raise ValueError("expected a size such as 512KiB or 8MiB")


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(ge=0, le=86400),
    WithJsonSchema(
        {
            "type": ["string", "number"],
            "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$",
            "examples": ["500ms", "8s", "10m"],
        }
    ),
]
"""Seconds, at most a day."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    Field(ge=1024, le=256 * 1024 * 1024),
    WithJsonSchema(
        {
            "type": ["string", "integer"],
            "pattern": r"^[0-9]+(B|KiB|MiB)?$",
            "examples": ["512KiB", "8MiB"],
        }
    ),
]
"""Bytes, from 1 KiB to 256 MiB."""
