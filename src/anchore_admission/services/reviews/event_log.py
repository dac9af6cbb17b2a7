"""Follow Anchore's event log: what has happened there makes the answers about it doubtful."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from anchore_admission.core.hints import EVERYTHING, hint_of
from anchore_admission.errors import EvaluationError
from anchore_admission.ports.anchore import Anchore
from anchore_admission.ports.deadline import Clock, Deadline
from anchore_admission.ports.telemetry import HintSource, Recorder
from anchore_admission.services.reviews.hints import Hints
from anchore_admission.throttled import Throttled

logger = logging.getLogger("anchore_admission.hints")

CALL_SECONDS: Final = 20.0
"""Limit of reading the log of one account once."""
_JITTER = (0.9, 1.1)


class _Account:
    """The position up to which the log of one account has been read. The first time only tells where it ends."""

    def __init__(self, anchore: Anchore) -> None:
        self.anchore = anchore
        self.since = ""
        self.known: frozenset[str] | None = None


class EventLogs:
    """The event logs of all accounts, read every ``interval`` seconds."""

    def __init__(
        self,
        accounts: Mapping[str, Anchore],
        hints: Hints,
        recorder: Recorder,
        interval: float,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._accounts = {name: _Account(anchore) for name, anchore in accounts.items()}
        self._hints = hints
        self._recorder = recorder
        self._interval = interval
        self._clock = clock
        self._sleep = sleep
        self._warnings = Throttled(logger, clock)

    async def run(self) -> None:
        """Follow every account's log until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name in self._accounts:
                group.create_task(self._follow(name))

    async def _follow(self, name: str) -> None:
        while True:
            await self.read(name)
            # Jitter spreads the calls of replicas that started together.
            await self._sleep(self._interval * random.uniform(*_JITTER))  # noqa: S311 - jitter, not a secret

    async def read(self, name: str) -> None:
        """Read what is new in one account's log. After a failure, the next time continues from the same place."""
        account = self._accounts[name]
        try:
            listed = await account.anchore.events(account.since, Deadline.after(CALL_SECONDS, self._clock))
        except EvaluationError as error:
            self._recorder.event_log_failed(name)
            text = f"cannot read Anchore's event log for account {name}: {error}; changes show when answers expire"
            self._warnings.warn(name, text)
            return
        self._warnings.clear(name)
        known, account.since = account.known, listed.since
        # The overlap repeats only events of the previous list.
        account.known = frozenset(event.id for event in listed.entries)
        if known is None:
            return
        new = [event for event in listed.entries if event.id not in known]
        found = {hint for event in new if (hint := hint_of(event))}
        if listed.more and new:
            found.add(EVERYTHING)
        for hint in found:
            self._recorder.hint(HintSource.EVENTS)
            self._hints.take(name, hint)
