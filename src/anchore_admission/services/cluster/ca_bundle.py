"""The authorities of a mounted certificate, followed while they change."""

import logging
import time
from collections.abc import Callable, Sequence

from anchore_admission.errors import ConfigurationError
from anchore_admission.ports.deadline import Clock
from anchore_admission.throttled import Throttled

logger = logging.getLogger("anchore_admission.certificates")
_FILE = "file"


class AuthoritiesFile:
    """Those of before a change stay beside the new ones: mounts do not change in all replicas at the same moment.

    ``read`` gives each as PEM, and raises ConfigurationError when they are not good. So does this at the start, unless
    it is ``wait_until_valid``: then they may still be mended.
    """

    def __init__(
        self,
        read: Callable[[], Sequence[str]],
        source: str,
        clock: Clock = time.monotonic,
        *,
        wait_until_valid: bool = False,
    ) -> None:
        self._read = read
        self._source = source
        self._warnings = Throttled(logger, clock)
        self._before: Sequence[str] = ()
        self._now: Sequence[str] = ()
        self._unusable = False
        try:
            self._look()
        except ConfigurationError as error:
            if not wait_until_valid:
                raise
            self._complain(error)

    def current(self) -> bytes:
        """PEM: the last good ones, then those before them, each once.

        Raises ConfigurationError as long as there were none.
        """
        try:
            self._look()
        except ConfigurationError as error:
            self._complain(error)
            if not self._now:
                raise
        return "".join(dict.fromkeys([*self._now, *self._before])).encode()

    def is_unusable(self) -> bool:
        """Whether what the file held at the last look cannot be used."""
        return self._unusable

    def _look(self) -> None:
        authorities = self._read()
        self._unusable = False
        self._warnings.clear(_FILE)
        if self._now and authorities != self._now:
            self._before = self._now
            logger.info("%s has changed", self._source)
        self._now = authorities

    def _complain(self, error: ConfigurationError) -> None:
        self._unusable = True
        meanwhile = "the last good authorities stay in use" if self._now else "not registered until this is mended"
        why = "; ".join(f"{self._source}: {problem}" for problem in error.problems)
        self._warnings.warn(_FILE, f"{meanwhile}: {why}", logging.ERROR)
