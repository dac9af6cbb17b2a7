"""Moments as users write them in the configuration: `2026-12-31`, `2026-12-31T18:00:00Z`. No clock is read."""

import re
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = r"[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:[Zz]|[+-][0-9]{2}:[0-5][0-9])"
_DATE_TIME = re.compile(_DATE.pattern + _TIME)


def parse_end(value: Any) -> float:
    """Return the Unix time of an end: that of a date's day in UTC, or a time with its offset."""
    try:
        if isinstance(value, str) and _DATE.fullmatch(value):
            day = datetime.combine(datetime.fromisoformat(value), time(), UTC)
            return (day + timedelta(days=1)).timestamp()
        if isinstance(value, str) and _DATE_TIME.fullmatch(value):
            return datetime.fromisoformat(value.upper()).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        pass
    raise ValueError("expected a date such as 2026-12-31 (UTC), or a time with its offset such as 2026-12-31T18:00:00Z")


def written_time(moment: float) -> str:
    """Write a Unix time in UTC, to the second."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


End = Annotated[
    float,
    BeforeValidator(parse_end),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^{_DATE.pattern}({_TIME})?$",
            "examples": ["2026-12-31", "2026-12-31T18:00:00Z"],
        }
    ),
]
"""The Unix time of an end."""
