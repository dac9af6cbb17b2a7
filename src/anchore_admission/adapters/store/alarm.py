"""A time limit that does not blame the store for an event loop that was busy."""

import asyncio
from collections.abc import Callable
from typing import Final

_GRACE_SECONDS: Final = 0.005


class Alarm:
    """Calls back after so many seconds, unless it is cancelled before.

    While the loop is busy, time passes and responses wait to be read. A plain timer would then come before them, so
    this one lets the loop handle what has arrived first.
    """

    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds, self._time_is_up)

    def cancel(self) -> None:
        self._timer.cancel()

    def _time_is_up(self) -> None:
        self._timer = self._loop.call_later(_GRACE_SECONDS, self._call)
