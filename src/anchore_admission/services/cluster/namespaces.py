"""Follow the labels of all namespaces: list them once, then watch for changes; list again if the watch loses track."""

import asyncio
import logging
import math
import random
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Final

from anchore_admission.errors import ClusterError, ClusterExpired, ClusterResponseInvalid, ClusterUnavailable
from anchore_admission.ports.deadline import Clock, Deadline
from anchore_admission.ports.namespaces import Labels, NamespaceChange, NamespaceRecorder, NamespaceSource
from anchore_admission.services.cluster.live_reads import LiveReads
from anchore_admission.throttled import Throttled

logger = logging.getLogger("anchore_admission.namespaces")

WATCH_SECONDS: Final = (240, 480)
"""The shortest and the longest watch. They differ, so that replicas do not all begin a new one at once."""
PAUSE_SECONDS: Final = (0.5, 30.0)
"""The shortest and the longest pause after a failure."""
EARLY_SECONDS: Final = 1.0
"""A watch that ends before that has failed, even if the API server ended it properly."""
READ_SECONDS: Final = 2.0
"""The longest time that a review waits for the labels of a namespace that is not known."""
IDLE_SECONDS: Final = 1.0
"""How often to look whether a reload has brought rules that need the labels."""
QUIET_FAILURES: Final = 3
"""Failures in a row before the first warning: a lost connection alone is normal."""
MAX_PAGES: Final = 10_000
"""The most pages of a list: far more than any cluster has."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_TOPIC = "namespaces"

Sleep = Callable[[float], Awaitable[None]]


async def listed_namespaces(source: NamespaceSource) -> tuple[dict[str, Labels], str]:
    """Return the labels of all namespaces, and the version from which a watch continues. Raises ClusterError."""
    page = await source.list_page("")
    version = page.version  # of the first page: a watch from it repeats changes rather than miss any
    labels = {namespace.name: namespace.labels for namespace in page.namespaces}
    for _ in range(MAX_PAGES):
        if not page.next:
            return labels, version
        page = await source.list_page(page.next)
        labels.update((namespace.name, namespace.labels) for namespace in page.namespaces)
    raise ClusterResponseInvalid("the list of namespaces does not end")


class NamespaceReflector:
    """The ``NamespaceLabels`` of a cluster, as its API server showed them last, while rules need them.

    Labels that are known stay in use while the API server cannot be reached. A namespace that is not known, because it
    is new or nothing was listed yet, is read alone.
    """

    def __init__(
        self,
        source: NamespaceSource,
        recorder: NamespaceRecorder,
        *,
        is_needed: Callable[[], bool] = lambda: True,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._source = source
        self._recorder = recorder
        self._is_needed = is_needed
        self._clock = clock
        self._sleep = sleep
        self._uniform = uniform
        self._reads = LiveReads(source, recorder, clock)
        self._warnings = Throttled(logger, clock)
        self._labels: dict[str, Labels] = {}
        self._version = ""
        self._current_at = math.nan
        self._failures = 0
        self._listed = asyncio.Event()

    async def labels_of(self, namespace: str, deadline: Deadline, *, may_ask: bool) -> Labels | None:
        labels = self._labels.get(namespace)
        # The name becomes part of an address, and a caller of the webhook may have made it up.
        if labels is not None or not may_ask or not _NAME.fullmatch(namespace):
            return labels
        limit = Deadline.after(min(READ_SECONDS, deadline.left() / 2), self._clock)
        labels = await self._reads.labels_of(namespace, limit.left())
        if labels is None and not self.is_synced():
            # Right after a start or a reload, more namespaces may be new to us than we may read one by one.
            with suppress(TimeoutError):
                async with asyncio.timeout(limit.left()):
                    await self._listed.wait()
            labels = self._labels.get(namespace)
        return labels

    def is_synced(self) -> bool:
        """Return whether all namespaces were listed since the start."""
        return self._listed.is_set()

    def age(self) -> float:
        """Return the seconds since the labels were known to be current; not a number if they never were."""
        return self._clock() - self._current_at

    async def run(self) -> None:
        """Follow the namespaces while they are needed, until cancelled."""
        while True:
            if not self._is_needed():
                self._forget()
                await self._sleep(IDLE_SECONDS)
                continue
            try:
                if not self._version:
                    await self._list()
                if await self._watch():
                    self._succeeded()
                    continue
                error: ClusterError = ClusterUnavailable("the API server ended the watch at once")
            except ClusterError as failure:
                error = failure
            await self._failed(error)

    def _forget(self) -> None:
        """Forget what would only grow old: without a rule that needs it, the right to read it may be gone."""
        self._labels, self._version, self._current_at, self._failures = {}, "", math.nan, 0
        self._listed.clear()
        self._warnings.clear(_TOPIC)
        self._recorder.namespaces_known(0)

    async def _list(self) -> None:
        """List all namespaces and replace the known ones, so that those that were deleted meanwhile are forgotten."""
        labels, version = await listed_namespaces(self._source)
        self._labels, self._version, self._current_at = labels, version, self._clock()
        self._listed.set()
        self._recorder.namespaces_listed()
        self._recorder.namespaces_known(len(labels))

    async def _watch(self) -> bool:
        """Follow the changes until the API server ends the watch. Return False if it did so at once."""
        began = self._clock()
        seconds = int(self._uniform(*WATCH_SECONDS))
        async with aclosing(self._source.watch(self._version, seconds)) as changes:
            async for change in changes:
                self._apply(change)
                self._succeeded()
        return self._clock() - began >= EARLY_SECONDS

    def _apply(self, change: NamespaceChange) -> None:
        if change.namespace and change.is_deleted:
            self._labels.pop(change.namespace.name, None)
        elif change.namespace:
            self._labels[change.namespace.name] = change.namespace.labels
        self._version = change.version
        self._recorder.namespaces_known(len(self._labels))

    def _succeeded(self) -> None:
        self._failures = 0
        self._current_at = self._clock()
        self._warnings.clear(_TOPIC, lambda: logger.info("the labels of namespaces are up to date again"))

    async def _failed(self, error: ClusterError) -> None:
        """Pause before the next attempt.

        The version stays valid if the API server was not reached, but not for ever: where no watch gets through, a list
        may.
        """
        self._failures += 1
        if not isinstance(error, ClusterUnavailable) or self._failures >= QUIET_FAILURES:
            self._version = ""
        if isinstance(error, ClusterExpired) and self._failures == 1:
            return
        if self._failures >= QUIET_FAILURES:
            known = "the labels known so far stay in use" if self.is_synced() else "each namespace is read when needed"
            self._warnings.warn(
                _TOPIC, f"cannot follow the labels of namespaces: {error}; {known}", even_if_changed=False
            )
        shortest, longest = PAUSE_SECONDS
        # The exponent is bounded: it would overflow after a few days without an API server.
        await self._sleep(self._uniform(shortest, min(longest, shortest * 2 ** min(self._failures, 10))))
