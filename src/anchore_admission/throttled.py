"""Rate-limited warnings for loops that meet the same problem again and again."""

import logging
from collections.abc import Callable

from anchore_admission.ports.deadline import Clock

REPEAT_SECONDS = 300.0


class Throttled:
    """At most one warning per topic every five minutes; by default, a different message is logged immediately."""

    def __init__(self, logger: logging.Logger, clock: Clock) -> None:
        self.logger = logger
        self._clock = clock
        self._logged: dict[str, tuple[str, float]] = {}

    def warn(self, topic: str, text: str, level: int = logging.WARNING, *, even_if_changed: bool = True) -> None:
        """Log a problem, unless the same text was logged for the topic in the last five minutes.

        Without ``even_if_changed``, any text counts as the same: one problem may have many messages.
        """
        before, at = self._logged.get(topic, ("", 0.0))
        is_new = not before or (even_if_changed and text != before)
        if is_new or self._clock() - at >= REPEAT_SECONDS:
            self._logged[topic] = (text, self._clock())
            self.logger.log(level, "%s", text)

    def clear(self, topic: str, report: Callable[[], None] = lambda: None) -> None:
        """End a topic's problem; ``report`` is called if one had been logged."""
        if self._logged.pop(topic, None):
            report()
