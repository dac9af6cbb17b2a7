"""Says what is wrong when it begins and now and then while it lasts, not in every round of a loop."""

import logging
from collections.abc import Callable

from anchore_admission.ports.deadline import Clock

AGAIN_SECONDS = 300.0


class Complaints:
    """One topic holds one complaint at a time; another text is told at once."""

    def __init__(self, logger: logging.Logger, clock: Clock) -> None:
        self._logger = logger
        self._clock = clock
        self._told: dict[str, tuple[str, float]] = {}

    def tell(self, topic: str, text: str, level: int = logging.WARNING) -> None:
        before, at = self._told.get(topic, ("", 0.0))
        if text != before or self._clock() - at >= AGAIN_SECONDS:
            self._told[topic] = (text, self._clock())
            self._logger.log(level, "%s", text)

    def settle(self, topic: str, tell: Callable[[], None] = lambda: None) -> None:
        """The topic is well (again); ``tell`` is called if something was wrong."""
        if self._told.pop(topic, None):
            tell()
