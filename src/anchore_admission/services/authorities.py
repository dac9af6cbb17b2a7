"""The authorities of a mounted certificate, followed while they change."""

import logging
import time
from collections.abc import Callable

from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.ports import Clock
from anchore_admission.services.complaints import Complaints

_log = logging.getLogger("anchore_admission.certificates")
_FILE = "file"


class AuthoritiesFile:
    """Those of before a change stay beside the new ones: mounts do not change in all replicas at the same moment.

    Raises ConfigurationError if the first are not good.
    """

    def __init__(self, read: Callable[[], str], source: str, clock: Clock = time.monotonic) -> None:
        self._read = read
        self._source = source
        self._complaints = Complaints(_log, clock)
        self._before = ""
        self._now = self._good()

    def current(self) -> bytes:
        """PEM: the last good ones, then those before them."""
        try:
            authorities = self._good()
        except ConfigurationError as error:
            self._complaints.tell(_FILE, f"the last good authorities stay in use: {error}", logging.ERROR)
        else:
            self._complaints.settle(_FILE)
            if authorities != self._now:
                self._before, self._now = self._now, authorities
                _log.info("%s has changed", self._source)
        return f"{self._now}{self._before}".encode()

    def _good(self) -> str:
        text = self._read()
        if "-----BEGIN CERTIFICATE-----" not in text:
            raise ConfigurationError(self._source, [Problem("", "holds no PEM certificate")])
        return text.rstrip() + "\n"
