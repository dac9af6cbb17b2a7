"""Follow the versions of an Anchore account's policies: a result counts only for the version that it was found with."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from anchore_admission.errors import AnchoreRefused, AnchoreUnavailable, DeadlineExceeded, EvaluationError
from anchore_admission.ports.anchore import Anchore
from anchore_admission.ports.deadline import Clock, Deadline
from anchore_admission.throttled import Throttled

logger = logging.getLogger("anchore_admission.policies")

CALL_SECONDS = 10.0
"""Limit of one call for the list of policies."""
HURRY_SECONDS = 5.0
"""The least time between two calls that something urges."""
_JITTER = (0.9, 1.1)


@dataclass(frozen=True, slots=True)
class _Known:
    """The policies at one time, by id, and the id of the active one."""

    versions: dict[str, tuple[str, str]]
    """The id and the version of each, as ``PolicyVersions.version`` returns them."""
    active: str | None


class PolicyVersions:
    """The versions of one account's policies, polled every ``interval`` seconds from the first use on.

    ``report_outage`` is called when a poll finds that Anchore cannot be asked.
    """

    def __init__(
        self,
        account: str,
        anchore: Anchore,
        interval: float,
        *,
        clock: Clock,
        report_outage: Callable[[EvaluationError], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._account = account
        self._anchore = anchore
        self._interval = interval
        self._clock = clock
        self._report_outage = report_outage
        self._sleep = sleep
        self._known: _Known | None = None
        self._identity = anchore.identity
        self._is_refused = False
        self.revision = 0
        """Counts the changes of what ``version`` returns, but for new credentials."""
        self._polling: asyncio.Task[None] | None = None
        self._hurried: asyncio.Task[None] | None = None
        self._polled = asyncio.Event()
        self._polled_at = float("-inf")
        self._polls = 0
        self._latest = 0
        """The number of the latest poll that has ended."""
        self._warnings = Throttled(logger, clock)

    def start(self) -> None:
        """Begin to poll, unless that was done before."""
        if self._polling is None and self._interval:
            self._polling = asyncio.create_task(self._poll_for_ever(), name=f"policies of {self._account}")

    async def first(self, seconds: float) -> None:
        """Wait until the policies have been asked for once, at most this long."""
        if self._polling is not None and not self._polled.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._polled.wait()

    def version(self, policy: str | None) -> tuple[str, str] | None:
        """Return the id and the version of a policy (None: the active one); None if they are not known.

        While Anchore cannot be asked, the last known version counts; while it refuses to tell, none does.
        """
        if self._known is None or self._is_refused or self._identity != self._anchore.identity:
            return None
        name = policy or self._known.active
        return self._known.versions.get(name) if name else None

    def hurry(self) -> None:
        """Poll now, unless that was done a moment ago."""
        is_under_way = self._hurried is not None and not self._hurried.done()
        if self._interval and not is_under_way and self._clock() - self._polled_at >= HURRY_SECONDS:
            self._hurried = asyncio.create_task(self.poll(), name=f"policies of {self._account}, early")

    async def aclose(self) -> None:
        """Stop polling."""
        tasks = [task for task in (self._polling, self._hurried) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def poll(self) -> None:
        """Ask Anchore once. If it cannot be asked, the last known versions stay."""
        identity = self._anchore.identity
        self._polled_at = self._clock()
        self._polls += 1
        number = self._polls
        try:
            policies = await self._anchore.policies(Deadline.after(CALL_SECONDS, self._clock))
        except EvaluationError as error:
            if not self._is_latest(number):
                return
            self._follow(self._known, is_refused=isinstance(error, AnchoreRefused))
            if isinstance(error, AnchoreUnavailable | DeadlineExceeded):
                self._report_outage(error)
            meanwhile = "results count only while they are fresh" if self._is_refused else "the last list stays in use"
            self._warnings.warn("poll", f"cannot list the policies of account {self._account}: {error}; {meanwhile}")
            return
        except Exception:
            logger.exception("listing the policies of account %s failed unexpectedly", self._account)
            return
        finally:
            self._polled.set()
        if not self._is_latest(number):
            return
        self._warnings.clear("poll")
        self._identity = identity
        active = next((policy.policy for policy in policies if policy.active), None)
        versions = {each.policy: (each.policy, each.last_updated) for each in policies if each.last_updated}
        self._follow(_Known(versions, active), is_refused=False)

    def _is_latest(self, number: int) -> bool:
        """Return whether no later poll has ended: what an earlier one found may be outdated."""
        self._latest = max(self._latest, number)
        return self._latest == number

    def _follow(self, known: _Known | None, *, is_refused: bool) -> None:
        if (known, is_refused) != (self._known, self._is_refused):
            self._known, self._is_refused = known, is_refused
            self.revision += 1

    async def _poll_for_ever(self) -> None:
        while True:
            await self.poll()
            # Without any version, no result of a policy would stand in during an outage.
            is_due_soon = self._known is None and not self._is_refused
            seconds = min(self._interval, HURRY_SECONDS) if is_due_soon else self._interval
            # Jitter spreads the calls of replicas that started together.
            await self._sleep(seconds * random.uniform(*_JITTER))  # noqa: S311 - jitter
