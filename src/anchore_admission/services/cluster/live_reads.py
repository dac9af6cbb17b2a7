"""Read single namespaces that are not known yet: once for all reviews that wait, and not too many in a short time."""

import asyncio
import logging
from typing import Final

from anchore_admission.errors import ClusterError, ClusterNotFound
from anchore_admission.ports.deadline import Clock
from anchore_admission.ports.namespaces import Labels, LiveRead, NamespaceRecorder, NamespaceSource

REMEMBERED_SECONDS: Final = 1.0
"""How long an outcome counts: long enough for a burst of reviews, too short to hide a change for long."""
BURST: Final = 100
"""The most reads at once."""
READS_PER_SECOND: Final = 20.0
"""The most reads over a longer time: a caller of the webhook could make names up."""

logger = logging.getLogger("anchore_admission.namespaces")


class LiveReads:
    """Reads of single namespaces, with their outcomes for a moment."""

    def __init__(self, source: NamespaceSource, recorder: NamespaceRecorder, clock: Clock) -> None:
        self._source = source
        self._recorder = recorder
        self._clock = clock
        self._under_way: dict[str, asyncio.Task[Labels | None]] = {}
        self._outcomes: dict[str, tuple[float, Labels | None]] = {}
        """Oldest first. No more than ``BURST`` can be younger than a moment, see ``_may_read``."""
        self._tokens = float(BURST)
        self._counted_at = clock()

    async def labels_of(self, namespace: str, seconds: float) -> Labels | None:
        """Return the labels, or None if they cannot be had within ``seconds``. Raises nothing."""
        now = self._clock()
        at, labels = self._outcomes.get(namespace, (float("-inf"), None))
        if now - at < REMEMBERED_SECONDS:
            return labels
        task = self._under_way.get(namespace)
        if task is None:
            if not self._may_read(now):
                self._recorder.namespace_read(LiveRead.LIMITED)
                return None
            task = self._under_way[namespace] = asyncio.create_task(self._read(namespace))
        # Ends the wait only: other reviews may have more time.
        await asyncio.wait({task}, timeout=seconds)
        return task.result() if task.done() else None

    def _may_read(self, now: float) -> bool:
        """Take a token, if there is one; they come back over time."""
        self._tokens = min(BURST, self._tokens + (now - self._counted_at) * READS_PER_SECOND)
        self._counted_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    async def _read(self, namespace: str) -> Labels | None:
        labels, outcome = None, LiveRead.FOUND
        try:
            labels = (await self._source.read(namespace)).labels
        except ClusterNotFound:
            outcome = LiveRead.NOT_FOUND
        except ClusterError:
            outcome = LiveRead.ERROR
        except Exception:
            outcome = LiveRead.ERROR
            logger.exception("reading a namespace failed unexpectedly")
        finally:
            del self._under_way[namespace]
        self._recorder.namespace_read(outcome)
        self._remember(namespace, labels)
        return labels

    def _remember(self, namespace: str, labels: Labels | None) -> None:
        now = self._clock()
        self._outcomes.pop(namespace, None)
        self._outcomes[namespace] = (now, labels)
        for name, (at, _) in list(self._outcomes.items()):
            if now - at < REMEMBERED_SECONDS:
                break
            del self._outcomes[name]
