"""Follow a source that may change while the process runs, and keep its last valid version.

The kubelet updates a mounted Secret or ConfigMap by swapping a symbolic link, which a watch on the file would not see.
So one loop reads every source again from time to time and compares the result. It runs in a thread beside the event
loop; reviews never read files.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, TypeVar

from anchore_admission.errors import ConfigurationError
from anchore_admission.ports.deadline import Clock
from anchore_admission.throttled import Throttled

TICK_SECONDS: Final = 1.0
"""How often the loop looks for sources that are due."""
FILE_SECONDS: Final = 30.0
"""How often to read a file; the kubelet itself takes up to a minute to update a mount."""

logger = logging.getLogger("anchore_admission.watched")
T = TypeVar("T")


class Watched(Generic[T]):
    """A value from a source such as a mounted file; once it was valid, the last valid version stays in use.

    ``read`` returns the value and raises ConfigurationError if it is invalid. ``use`` is called with each new value,
    and may reject it with a ConfigurationError too. ``source`` names the files in log lines.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], T],
        *,
        source: str,
        use: Callable[[T], None] = lambda _: None,
        every: float = FILE_SECONDS,
        until_valid: str = "not ready until this is fixed",
        clock: Clock = time.monotonic,
    ) -> None:
        self.name = name
        self.every = every
        self.value: T | None = None
        self._read = read
        self._source = source
        self._use = use
        self._until_valid = until_valid
        self._clock = clock
        self._read_at = clock()
        self._unusable = False
        self._warnings = Throttled(logger, clock)
        self._lock = threading.Lock()

    def start(self, *, wait_until_valid: bool = False) -> None:
        """Read the source for the first time.

        Raises ConfigurationError if it is invalid, unless ``wait_until_valid`` is True: it may still be corrected.
        """
        with self._lock:
            try:
                self._update()
            except ConfigurationError as error:
                if not wait_until_valid:
                    raise
                self._warn(error)

    def refresh(self) -> None:
        """Read the source again, from any thread. An invalid version is logged at most every five minutes."""
        with self._lock:
            before = self.value
            try:
                changed = self._update()
            except ConfigurationError as error:
                self._warn(error)
                return
            self._warnings.clear(self.name)
            if changed:
                logger.info("%s %s: %s", self.name, "in use" if before is None else "changed", self._source)

    def is_due(self) -> bool:
        """Return whether it is time to read the source again."""
        return self._clock() - self._read_at >= self.every

    def is_ready(self) -> bool:
        """Return whether there is a valid value, even if it is an old one."""
        return self.value is not None

    def is_unusable(self) -> bool:
        """Return whether the source was invalid when it was last read."""
        return self._unusable

    def _update(self) -> bool:
        """Return whether there is a new value. Raises ConfigurationError; the last valid value then stays."""
        # Before the read, so that a source that fails is due again only after ``every`` seconds.
        self._read_at = self._clock()
        try:
            value = self._read()
            changed = value != self.value
            if changed:
                # First ``use``, which may reject the value: the last valid one then stays in place.
                self._use(value)
                self.value = value  # an equal value is not swapped: users may compare by identity
        except Exception:
            # Set for unexpected errors, too: a mistake in ``read`` must not look like a valid file in the metric.
            self._unusable = True
            raise
        self._unusable = False
        return changed

    def _warn(self, error: ConfigurationError) -> None:
        why = "; ".join(str(problem) if problem.path else f"{error.source}: {problem}" for problem in error.problems)
        meanwhile = self._until_valid
        if self.is_ready():
            meanwhile = "the last valid version stays in use"
        self._warnings.warn(self.name, f"invalid {self.name}: {why}; {meanwhile}", logging.ERROR)


def refresh_due(sources: Iterable[Watched[Any]]) -> None:
    """Refresh the sources that are due. An unexpected failure of one does not stop the others."""
    for source in sources:
        if source.is_due():
            try:
                source.refresh()
            except Exception:
                logger.exception("cannot read the %s again; the next attempt is in %g s", source.name, source.every)
