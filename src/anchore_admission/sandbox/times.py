"""Times as Anchore writes and reads them."""

from datetime import UTC, datetime


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def epoch(text: str) -> float:
    """Return the seconds of a time, of UTC where it names no zone. Raises ValueError, for years beyond UTC's too."""
    try:
        time = datetime.fromisoformat(text)
        seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        rfc3339(seconds)
    except OverflowError as error:
        raise ValueError(str(error)) from error
    return seconds
