"""Pass hints about changes in Anchore on to the memory, at most one a minute for the same answers.

A hint makes remembered answers older, never younger: its only effect is that Anchore is asked again sooner. What sends
hints need therefore not be trusted with more than a bounded number of questions to Anchore.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from anchore_admission.core.hints import EVERYTHING, Hint
from anchore_admission.ports.deadline import Clock

PAUSE_SECONDS: Final = 60.0
"""The least time between two hints about the same answers."""
_TICK_SECONDS = 1.0
_MOST_WAITING = 64
"""The most hints that wait for one account; with more, all its answers are doubted instead."""


class Doubtful(Protocol):
    """Remembered answers that can be doubted."""

    def doubt(self, account: str, *, full_tag: str | None = None, digest: str | None = None) -> None:
        """Ask Anchore about these answers before they are used again; without tag and digest, about all."""


class Hints:
    """Hints that wait to be passed on, by account; one about everything stands for all others."""

    def __init__(
        self, memory: Doubtful, *, clock: Clock, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._memory = memory
        self._clock = clock
        self._sleep = sleep
        self._waiting: dict[str, dict[Hint, None]] = {}
        self._given: dict[str, dict[Hint, float]] = {}
        self._wake = asyncio.Event()

    def take(self, account: str, hint: Hint) -> None:
        """Keep a hint until it is passed on. Never waits."""
        waiting = self._waiting.setdefault(account, {})
        if EVERYTHING in waiting:
            return
        if hint == EVERYTHING or len(waiting) >= _MOST_WAITING:
            waiting.clear()
            hint = EVERYTHING
        waiting[hint] = None
        self._wake.set()

    async def run(self) -> None:
        """Pass hints on as soon as each is due, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                self._pass_on()
                await self._sleep(_TICK_SECONDS)

    def _pass_on(self) -> None:
        now = self._clock()
        for account, waiting in list(self._waiting.items()):
            given = self._given.setdefault(account, {})
            for hint, at in list(given.items()):
                if now - at >= PAUSE_SECONDS:
                    del given[hint]
            for hint in [hint for hint in waiting if _is_due(hint, given)]:
                del waiting[hint]
                given[hint] = now
                self._memory.doubt(account, full_tag=hint.full_tag, digest=hint.digest)
            if not waiting:
                del self._waiting[account]


def _is_due(hint: Hint, given: dict[Hint, float]) -> bool:
    """Return whether none of the answers that a hint is about was doubted during the last minute."""
    return not given if hint == EVERYTHING else hint not in given and EVERYTHING not in given
