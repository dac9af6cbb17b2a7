"""Waiting for a condition, never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], what: str, seconds: float = 120, every: float = 0.1) -> T:
    """Return the first true value; an exception counts as not yet. Raises TimeoutError from the last one.

    Patience costs time only where something is broken.
    """
    end = time.monotonic() + seconds
    last: object = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except Exception as error:  # noqa: BLE001 - any failure may pass in a moment; the last is reported
            last = error
        if time.monotonic() > end:
            cause = last if isinstance(last, Exception) else None
            raise TimeoutError(f"not within {seconds:.0f} s: {what}; last: {last!r}") from cause
        time.sleep(every)
