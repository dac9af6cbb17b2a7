"""The CA bundle of a mounted certificate: its file is followed, and changes are published."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.ports.deadline import Clock
from anchore_admission.watched import Watched

CA_SECONDS: Final = 1.0
"""Seconds between reads of the file. The certificate beside it is read less often, so that the CA of a new certificate
is published before the certificate is served."""


class CaBundleFile:
    """Keep the previous CAs after a change: replicas see a mounted Secret change at different times.

    ``read`` returns each CA as PEM and raises ConfigurationError if they are invalid. So does the constructor, unless
    ``wait_until_valid`` is True.
    """

    def __init__(
        self,
        read: Callable[[], Sequence[str]],
        source: str,
        clock: Clock = time.monotonic,
        *,
        wait_until_valid: bool = False,
    ) -> None:
        self._source = source
        self._latest: Sequence[str] = ()
        self._bundle = b""
        self.watched = Watched(
            "CA bundle",
            read,
            source=source,
            use=self._use,
            every=CA_SECONDS,
            until_valid="not registered until this is fixed",
            clock=clock,
        )
        self.watched.start(wait_until_valid=wait_until_valid)

    def current(self) -> bytes:
        """Return PEM: the last valid CAs, then the ones before them, each once.

        Raises ConfigurationError while there have never been any; the cause is logged already.
        """
        if not self._bundle:
            raise ConfigurationError(self._source, [Problem("", "no valid CA bundle yet")])
        return self._bundle

    def _use(self, cas: Sequence[str]) -> None:
        self._bundle = "".join(dict.fromkeys([*cas, *self._latest])).encode()
        self._latest = cas
