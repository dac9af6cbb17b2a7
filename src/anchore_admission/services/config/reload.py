"""Reload the configuration file: the new rules take effect at once and as a whole, or the old ones stay."""

import datetime as dt
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from anchore_admission.errors import ConfigurationError
from anchore_admission.files import read_text
from anchore_admission.models.configuration import Configuration
from anchore_admission.ports.deadline import Clock
from anchore_admission.services.config.comparison import changes, in_effect, waiting_for_restart
from anchore_admission.services.config.load import parse_configuration
from anchore_admission.services.reviews.rules import CurrentRules, Rules
from anchore_admission.watched import Watched

RELOAD_SECONDS = 5.0
"""How often the file is read. A change is used once two reads in a row found it, except on SIGHUP."""
_NAME = "configuration"

logger = logging.getLogger("anchore_admission.configuration")


class LoadedConfiguration(Struct, frozen=True):
    """The configuration in effect; ``waiting`` are the keys whose new values need a restart. ``at`` is Unix time."""

    configuration: Configuration
    at: float
    waiting: tuple[str, ...] = ()


Report = Callable[[LoadedConfiguration], str]
"""Publishes a configuration that takes effect, and returns its fingerprint."""


class Reloader:
    """Keeps the rules those of the file.

    ``prepare`` is called with rules before they take effect, and may reject them with a ConfigurationError.
    """

    def __init__(
        self,
        path: Path,
        running: Configuration,
        rules: CurrentRules,
        *,
        prepare: Callable[[Rules], None],
        clock: Clock = time.time,
    ) -> None:
        self._path = path
        self._running = running
        self._rules = rules
        self._prepare = prepare
        self._clock = clock
        self._seen = ""
        self._rejected: tuple[str, ConfigurationError] | None = None
        self._fingerprint = ""
        self._report: Report = lambda _: ""
        self._loaded = LoadedConfiguration(running, clock())
        self.watched: Watched[str] = Watched(
            _NAME, self._settled, source=str(path), use=self._use, every=RELOAD_SECONDS
        )

    def start(self, report: Report) -> None:
        """Read the file for the first time; ``report`` is called with each configuration that takes effect.

        Raises ConfigurationError if it is invalid.
        """
        self._report = report
        self.watched.start()

    def reload(self) -> None:
        """Read the file and use it at once, from any thread; for an operator who says that it is complete."""
        self._rejected = None
        with suppress(ConfigurationError):  # refreshing reports it
            self._seen = self._text()
        self.watched.refresh()

    def described(self) -> dict[str, Any]:
        """Describe the configuration in effect. ``invalid``: the file holds a version that cannot be used."""
        loaded = self._loaded
        state = "restart needed" if loaded.waiting else "current"
        return {
            "hash": self._fingerprint,
            "state": "invalid" if self.watched.is_unusable() else state,
            "loadedAt": dt.datetime.fromtimestamp(loaded.at, dt.UTC).isoformat(timespec="seconds"),
            "ageSeconds": round(self._clock() - loaded.at),
            "restartNeeded": list(loaded.waiting),
        }

    def _settled(self) -> str:
        """Read the file. A change that is seen for the first time may be half written: it is used at the next read."""
        text, seen = self._text(), self._seen
        self._seen = text
        return text if text == seen or self.watched.value is None else self.watched.value

    def _text(self) -> str:
        return read_text(self._path)

    def _use(self, text: str) -> None:
        """Validate the text whole, then swap the rules. Raises ConfigurationError; the rules then stay."""
        # Validating a long file takes time from reviews, so an invalid one is not validated at every read.
        if self._rejected and self._rejected[0] == text:
            # Without the traceback, which would grow with each read and keep every text that was read.
            raise self._rejected[1].with_traceback(None)
        try:
            self._swap(text)
        except ConfigurationError as error:
            self._rejected = (text, error)
            raise

    def _swap(self, text: str) -> None:
        new = parse_configuration(text, str(self._path))
        effective = in_effect(self._running, new)
        rules = Rules.of(effective)
        self._prepare(rules)
        loaded = LoadedConfiguration(effective, self._clock(), tuple(waiting_for_restart(self._running, new)))
        found = changes(self._loaded.configuration, effective)
        # A review that reads the rules before this line follows the old ones to its end.
        self._rules.current = rules
        self._loaded = loaded
        self._fingerprint = self._report(loaded)
        for change in found:
            logger.info("configuration changed: %s", change)
        if loaded.waiting:
            logger.warning(
                "changed keys need a restart: %s; their former values stay in use", ", ".join(loaded.waiting)
            )
