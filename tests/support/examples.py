"""Examples whose exemptions end soon, whatever the day on which the tests run."""

import re
from datetime import UTC, datetime, timedelta

_END = re.compile(r"(?<=expires: )[0-9]{4}-[0-9]{2}-[0-9]{2}")


def renewed(text: str) -> str:
    """Move the ends of the exemptions in a configuration to a month from now."""
    end = (datetime.now(UTC) + timedelta(days=30)).date()
    return _END.sub(end.isoformat(), text)
