"""Submissions that wait: one line per registry, so that a registry that hangs delays its own images first."""

import asyncio
from collections import OrderedDict, deque
from typing import Final

from anchore_admission.ports.deadline import Clock
from anchore_admission.services.reviews.recent import Key

QUICK_SECONDS: Final = 5.0
"""Seconds for a submission, in which Anchore contacts the image's registry; usually less than half a second."""
_QUICK_REGISTRIES: Final = 1000
"""The most registries that are known as quick; users of the cluster choose the names."""

Registry = tuple[str, str]
"""An account, and the host of a registry."""


class RegistryTurns:
    """Queued keys for ``workers`` workers. The registries have their turns one after the other.

    The last free worker only takes what a registry has that responded quickly before: registries that hang, however
    many there are, hold all others but never the whole queue. A tag that is not submitted in time cannot be pinned.
    """

    def __init__(self, workers: int, clock: Clock) -> None:
        self._workers = workers
        self._clock = clock
        self._lines: OrderedDict[Registry, deque[Key]] = OrderedDict()
        self._length = 0
        self._changed = asyncio.Event()
        self._under_way: dict[Key, float] = {}
        self._quick: OrderedDict[Registry, None] = OrderedDict()

    def __len__(self) -> int:
        return self._length

    def put(self, key: Key) -> None:
        self._lines.setdefault(_registry(key), deque()).append(key)
        self._length += 1
        self._changed.set()

    async def get(self) -> Key:
        """Wait for a key whose turn it is; ``end`` must follow."""
        while (registry := self._next()) is None:
            self._changed.clear()
            await self._changed.wait()
        line = self._lines.pop(registry)
        key = line.popleft()
        self._length -= 1
        if line:
            # Back at the end: every other registry has its turn first.
            self._lines[registry] = line
        self._under_way[key] = self._clock()
        return key

    def end(self, key: Key) -> None:
        """Give the worker back, and remember whether the registry was quick."""
        registry, began = _registry(key), self._under_way.pop(key)
        self._quick.pop(registry, None)
        if self._clock() - began <= QUICK_SECONDS:
            self._quick[registry] = None
            if len(self._quick) > _QUICK_REGISTRIES:
                self._quick.popitem(last=False)
        self._changed.set()

    def _next(self) -> Registry | None:
        is_last = len(self._under_way) + 1 == self._workers > 1
        return next((registry for registry in self._lines if not is_last or self._is_quick(registry)), None)

    def _is_quick(self, registry: Registry) -> bool:
        """Return whether a registry was quick the last time, and has not been slow since."""
        begun = [began for key, began in self._under_way.items() if _registry(key) == registry]
        return registry in self._quick and self._clock() - min(begun, default=self._clock()) <= QUICK_SECONDS


def _registry(key: Key) -> Registry:
    account, request = key
    return account, request.full_tag.partition("/")[0]
