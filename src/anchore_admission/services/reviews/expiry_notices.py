"""Announce the ends of exemptions: a week before, and when they have ended."""

import logging
from collections.abc import Callable, Sequence

from anchore_admission.core.rules.exemptions import Exemption
from anchore_admission.models.moments import written_time
from anchore_admission.ports.deadline import Clock

logger = logging.getLogger("anchore_admission.exemptions")

CHECK_SECONDS = 60.0
NOTICE_SECONDS = 7 * 86400.0
"""How long before its end an exemption is announced."""


class ExpiryNotices:
    """Logs each announcement once, also of an exemption that a reload has brought or prolonged.

    ``exemptions`` returns those in use, ``wall_clock`` the Unix time.
    """

    def __init__(self, exemptions: Callable[[], Sequence[Exemption]], wall_clock: Clock) -> None:
        self._exemptions = exemptions
        self._wall_clock = wall_clock
        self._logged: set[tuple[str, float, bool]] = set()

    def check(self) -> None:
        """Log what is due and has not been logged."""
        now = self._wall_clock()
        due = {
            (exemption.name, exemption.expires, exemption.expires <= now): exemption
            for exemption in self._exemptions()
            if exemption.expires - now <= NOTICE_SECONDS
        }
        for key, exemption in due.items():
            if key not in self._logged:
                _announce(exemption, has_ended=exemption.expires <= now)
        # Nothing is kept of exemptions that are gone.
        self._logged = set(due)


def _announce(exemption: Exemption, *, has_ended: bool) -> None:
    by = f"{exemption.owner}, ticket {exemption.ticket}" if exemption.ticket else exemption.owner
    end = written_time(exemption.expires)
    if has_ended:
        logger.warning(
            "exemption %s ended at %s (owner %s): it does nothing any more; remove it from the configuration",
            exemption.name,
            end,
            by,
        )
    else:
        logger.warning(
            "exemption %s ends at %s (owner %s): its images are denied from then on; fix them, or prolong it",
            exemption.name,
            end,
            by,
        )
