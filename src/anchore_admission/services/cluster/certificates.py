"""The self-managed certificate: shared through a Secret, made and renewed by the leader, served by every replica.

An authority signs one certificate and its key is forgotten. A new authority is first published beside the one in use;
only when API servers trust both does the Secret change to the new certificate. The Secret is written whole, so that a
reader never sees half a change, and a leader that dies in between leaves nothing that the next one could not begin
anew.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anchore_admission.core.webhook.rotation import CertificateDetails, RotationState, Step, next_rotation_step
from anchore_admission.errors import (
    ClusterConflict,
    ClusterError,
    ClusterForbidden,
    ClusterNotFound,
    ConfigurationError,
)
from anchore_admission.ports.cluster import CertificateMaker, Cluster, SecretContent, ServingPair
from anchore_admission.ports.deadline import Clock
from anchore_admission.throttled import Throttled

logger = logging.getLogger("anchore_admission.certificates")
AUTHORITIES, CERTIFICATE, KEY = "ca.crt", "tls.crt", "tls.key"
"""The Secret's keys, named as cert-manager and ``kubectl create secret tls`` name them."""
_SECRET, _PAIR = "secret", "pair"


@dataclass(frozen=True, slots=True)
class CertificatePlan:
    """Whose certificate, and for how many seconds each one is made."""

    names: Sequence[str]
    lifetime: float


class ManagedCertificates:
    """``present`` puts a pair to use, and raises ConfigurationError when it cannot be used.

    ``trusted`` tells whether API servers have known this bundle of authorities for long enough.
    """

    def __init__(
        self,
        cluster: Cluster,
        maker: CertificateMaker,
        plan: CertificatePlan,
        *,
        present: Callable[[ServingPair], None],
        trusted: Callable[[bytes], bool],
        now: Clock = time.time,
        clock: Clock = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._maker = maker
        self._plan = plan
        self._present = present
        self._trusted = trusted
        self._now = now
        self._warnings = Throttled(logger, clock)
        self._content: SecretContent | None = None
        self._shared: tuple[ServingPair, CertificateDetails] | None = None
        self._served: tuple[ServingPair, CertificateDetails] | None = None
        self._pending: ServingPair | None = None
        self._unusable = False
        self._unreadable = False

    @property
    def authorities(self) -> bytes | None:
        """What the registration should trust: what the Secret holds, else what was last served; None before that."""
        known = self._shared or self._served
        return known[0].authorities if known else None

    @property
    def serves(self) -> bool:
        """Whether a certificate is in use."""
        return self._served is not None

    def is_unusable(self) -> bool:
        """Return whether the Secret held nothing usable at the last look, is gone, or may not be read."""
        return self._unusable or self._unreadable

    async def step(self, *, leads: bool, leader: str) -> None:
        """Follow the Secret; as the leader, do what comes next. Raises nothing; the last good pair stays in use."""
        try:
            self._take(await self._cluster.read_secret())
            if leads:
                await self._lead()
            elif not self._shared:
                self._wait_for(leader)
        except ClusterConflict:
            self._pending = None  # somebody else has written; the next step looks again
        except ClusterError as error:
            # Not for a short while, as when the API server restarts: it takes a person to put these two right.
            self._unreadable = isinstance(error, ClusterNotFound | ClusterForbidden)
            unless = ", but a replica that restarts is not ready" if self._served and self._unreadable else ""
            self._warnings.warn(_SECRET, f"the certificate cannot be shared: {error}; {self._meanwhile()}{unless}")
        else:
            self._unreadable = False
            self._warnings.clear(_SECRET)

    def _take(self, content: SecretContent) -> None:
        """Serve what the Secret holds, if it is good; what could not be put to use is tried again."""
        in_use = self._shared is None or self._is_served(self._shared[0])
        if in_use and self._content and content.version == self._content.version:
            return
        pair = ServingPair(*(content.data.get(key, b"") for key in (AUTHORITIES, CERTIFICATE, KEY)))
        leaf = self._maker.read(pair)
        self._unusable = leaf is None and any(content.data.values())
        if self._unusable:
            why = "its key and certificate do not fit together, or no authority in it has signed the certificate"
            self._warnings.warn(_PAIR, f"the Secret holds no usable certificate ({why}); {self._meanwhile()}")
        self._content = content
        self._shared = (pair, leaf) if leaf else None
        if leaf and self._is_served(pair):
            self._served = (pair, leaf)
            self._warnings.clear(_PAIR)
        elif leaf:
            self._serve(pair, leaf)

    def _is_served(self, pair: ServingPair) -> bool:
        """Whatever its authorities are: they concern those who call."""
        served = self._served[0] if self._served else None
        return served is not None and (served.certificate, served.key) == (pair.certificate, pair.key)

    def _serve(self, pair: ServingPair, leaf: CertificateDetails) -> None:
        try:
            self._present(pair)
        except (ConfigurationError, OSError) as error:
            if isinstance(error, ConfigurationError):  # else no room in /tmp, or no descriptor left, for now
                self._shared = None
            self._unusable = True
            self._warnings.warn(_PAIR, f"the Secret's certificate cannot be served: {error}; {self._meanwhile()}")
            return
        self._served = (pair, leaf)
        self._warnings.clear(_PAIR)

    async def _lead(self) -> None:
        served, pending = self._served, self._pending
        shared = self._shared[0].authorities if self._shared else b""
        state = RotationState(
            shared=self._shared[1] if self._shared else None,
            last_good=served[1] if served else None,
            published=bool(pending and pending.authorities in shared),
            trusted=bool(shared and self._trusted(shared)),
        )
        plan = self._plan
        step = next_rotation_step(state, wanted=frozenset(plan.names), lifetime=plan.lifetime, now=self._now())
        match step:
            case Step.ISSUE:
                await self._issue()
            case Step.PUBLISH if current := (self._shared or served):
                await self._publish(*current)
            case Step.SWITCH if pending:
                await self._switch(pending)
            case Step.REST:
                self._pending = None
            case _:
                logger.debug("waiting until API servers trust the new authority")

    async def _issue(self) -> None:
        pair = self._make()
        before = self._served[1].authority if self._served else b""
        await self._write(ServingPair(pair.authorities + before, pair.certificate, pair.key))
        logger.info("issued a certificate for %s", self._plan.names[0])

    async def _publish(self, current: ServingPair, leaf: CertificateDetails) -> None:
        self._pending = self._make()
        authorities = self._pending.authorities + leaf.authority
        await self._write(ServingPair(authorities, current.certificate, current.key))
        logger.info("renewing the certificate: published a new authority beside the one in use")

    async def _switch(self, pending: ServingPair) -> None:
        """The authorities stay: other replicas serve the old certificate until they have read the Secret."""
        await self._write(ServingPair(self.authorities or b"", pending.certificate, pending.key))
        self._pending = None
        logger.info("renewed the certificate")

    def _make(self) -> ServingPair:
        return self._maker.issue(self._plan.names, begin=self._now(), seconds=self._plan.lifetime)

    async def _write(self, pair: ServingPair) -> None:
        data = {AUTHORITIES: pair.authorities, CERTIFICATE: pair.certificate, KEY: pair.key}
        self._take(await self._cluster.write_secret(data, self._content.version if self._content else ""))

    def _wait_for(self, leader: str) -> None:
        who = f"the leader, {leader}," if leader else "a leader (no replica holds the Lease yet)"
        self._warnings.warn(_PAIR, f"waiting for {who} to fill the Secret; {self._meanwhile()}", logging.INFO)

    def _meanwhile(self) -> str:
        return "the last good certificate stays in use" if self._served else "not ready until there is a certificate"
