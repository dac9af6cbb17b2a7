"""Elect the leader: the holder of a Lease, whose age is measured by this process's own clock."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from anchore_admission.errors import ClusterConflict, ClusterError
from anchore_admission.ports.cluster import Cluster, LeaseState
from anchore_admission.ports.deadline import Clock
from anchore_admission.throttled import Throttled

logger = logging.getLogger("anchore_admission.leadership")
_TOPIC = "lease"


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """Seconds, as in client-go.

    The holder stops leading ``deadline`` after its last renewal; other replicas take the Lease only after ``duration``,
    which is longer, so that two terms do not overlap.
    """

    duration: int = 15
    deadline: float = 10.0
    every: float = 2.0


class Leadership:
    """Renew or take the Lease, one attempt per ``step``.

    The times in a Lease come from the clocks of other machines, so a Lease counts as abandoned when this process has
    not seen it change for its whole duration. Source: k8s.io/client-go, tools/leaderelection.
    """

    def __init__(
        self, cluster: Cluster, identity: str, *, clock: Clock = time.monotonic, timing: LeaseTiming | None = None
    ) -> None:
        self._cluster = cluster
        self._identity = identity
        self._clock = clock
        self._timing = timing or LeaseTiming()
        self._seen: tuple[LeaseState, float] | None = None
        self._renewed: float | None = None
        self._led = False
        self._warnings = Throttled(logger, clock)

    def leads(self) -> bool:
        """Return whether this replica is the leader: it has renewed the Lease, and not too long ago."""
        return self._renewed is not None and self._clock() - self._renewed < self._timing.deadline

    @property
    def holder(self) -> str:
        """The holder of the Lease when it was last read; empty if it was free."""
        return self._seen[0].holder if self._seen else ""

    async def step(self) -> None:
        """Read the Lease, and renew or take it if it is ours or free. Raises nothing."""
        try:
            await self._attempt()
        except ClusterConflict:
            self._warnings.clear(_TOPIC)  # another replica was faster, or has just renewed it
        except ClusterError as error:
            self._warnings.warn(_TOPIC, f"cannot hold the Lease: {error}; trying again")
        else:
            self._warnings.clear(_TOPIC, lambda: logger.info("the Lease can be read and written again"))
        self._log_change()

    async def release(self) -> None:
        """Free the Lease, so that another replica does not have to wait until it is abandoned."""
        if not (self.leads() and self._seen):
            return
        # Stop leading before another replica can take the Lease.
        self._renewed = None
        try:
            # One second, as client-go writes it: the API server rejects a duration of zero.
            await self._cluster.write_lease(replace(self._seen[0], holder="", seconds=1), taken=False)
        except ClusterError as error:
            logger.warning("cannot free the Lease: %s; another replica takes it when it has expired", error)

    async def _attempt(self) -> None:
        lease = await self._cluster.read_lease()
        self._observe(lease)
        if not self._is_ours_or_free(lease):
            self._renewed = None
            return
        # Measured before the write: after a slow one, this replica would otherwise lead longer than the others wait.
        began = self._clock()
        taken = lease.holder != self._identity
        wanted = replace(
            lease,
            holder=self._identity,
            seconds=self._timing.duration,
            transitions=lease.transitions + taken,
        )
        self._observe(await self._cluster.write_lease(wanted, taken=taken))
        self._renewed = began

    def _observe(self, lease: LeaseState) -> None:
        if not self._seen or self._seen[0].version != lease.version:
            self._seen = (lease, self._clock())

    def _is_ours_or_free(self, lease: LeaseState) -> bool:
        if lease.holder in {"", self._identity} or not self._seen:
            return True
        return self._clock() - self._seen[1] >= lease.seconds

    def _log_change(self) -> None:
        leads = self.leads()
        if leads is not self._led:
            self._led = leads
            message: Callable[..., None] = logger.info if leads else logger.warning
            message("this replica is the leader" if leads else "this replica is no longer the leader")
