"""The self-managed certificate: shared through a Secret, issued and renewed by the leader, served by every replica.

How a CA is renewed, from the first step to the last:

1. ``core/webhook/rotation.py`` decides: after two thirds of the certificate's life, its next step is PUBLISH.
2. ``certificates.py`` (``SelfSigned``) makes a new CA and a certificate that it signs, then forgets the CA's key.
3. The leader (this file) writes the Secret: the new CA beside the old one, the old certificate and key unchanged. The
   new certificate waits in the leader's memory.
4. ``services/cluster/reconciler.py`` hands the CA bundle of the Secret to ``services/cluster/registration.py``, which
   applies it to the webhook configuration and records the time.
5. Ten seconds later API servers trust both CAs, and rotation says SWITCH: the leader writes the new certificate and key
   to the Secret. Both CAs stay: other replicas serve the old certificate until they have read the Secret.
6. Every replica reads the Secret (this file) and presents the new pair: ``web/tls.py`` uses it from the next handshake
   on. The next renewal drops the old CA.

The Secret is always written as a whole, so readers never see half a change. If a leader dies between two steps, the
next leader starts again at step 2. The values are in ``core/webhook/pair.py``, the port in ``ports/cluster.py``.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from anchore_admission.core.webhook.pair import CertificateDetails, CertificatePair
from anchore_admission.core.webhook.rotation import RotationState, Step, next_rotation_step
from anchore_admission.errors import (
    ClusterConflict,
    ClusterError,
    ClusterForbidden,
    ClusterNotFound,
    ConfigurationError,
)
from anchore_admission.ports.cluster import CertificateMaker, Cluster, SecretContent
from anchore_admission.ports.deadline import Clock
from anchore_admission.throttled import Throttled

logger = logging.getLogger("anchore_admission.certificates")
_SECRET, _PAIR = "secret", "pair"


@dataclass(frozen=True, slots=True)
class CertificatePlan:
    """The names that a certificate is for, and the seconds for which it is valid."""

    names: Sequence[str]
    lifetime: float


@dataclass(frozen=True, slots=True)
class _Valid:
    """A pair that was checked."""

    pair: CertificatePair
    details: CertificateDetails


class ManagedCertificates:
    """The certificate of this replica, as the Secret holds it.

    ``present`` starts serving a pair and raises ConfigurationError if it cannot be served. ``is_trusted`` returns
    whether API servers have known a CA bundle for long enough.
    """

    def __init__(
        self,
        cluster: Cluster,
        maker: CertificateMaker,
        plan: CertificatePlan,
        *,
        present: Callable[[CertificatePair], None],
        is_trusted: Callable[[bytes], bool],
        now: Clock = time.time,
        clock: Clock = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._maker = maker
        self._plan = plan
        self._present = present
        self._is_trusted = is_trusted
        self._now = now
        self._warnings = Throttled(logger, clock)
        self._content: SecretContent | None = None
        self._shared: _Valid | None = None
        self._served: _Valid | None = None
        self._pending: CertificatePair | None = None
        self._invalid = False
        self._unreadable = False

    @property
    def ca_bundle(self) -> bytes | None:
        """The CA bundle to register: the Secret's, else that of the certificate in use; None while there is neither."""
        known = self._shared or self._served
        return known.pair.ca_bundle if known else None

    def is_unusable(self) -> bool:
        """Return whether the Secret was invalid when it was last read, does not exist or may not be read."""
        return self._invalid or self._unreadable

    async def step(self, *, leads: bool, leader: str) -> None:
        """Follow the Secret; as the leader, take the next step. Raises nothing; the last valid pair stays in use."""
        try:
            self._take(await self._cluster.read_secret())
            if leads:
                await self._lead()
            elif not self._shared:
                who = f"the leader, {leader}," if leader else "a leader (no replica holds the Lease yet)"
                waiting = f"waiting for {who} to fill the Secret; {self._meanwhile()}"
                self._warnings.warn(_PAIR, waiting, logging.INFO)
        except ClusterConflict:
            self._pending = None  # another replica has written the Secret; the next step reads it again
        except ClusterError as error:
            # An API server that restarts comes back by itself; these two last until an operator acts.
            self._unreadable = isinstance(error, ClusterNotFound | ClusterForbidden)
            unless = ", but a replica that restarts is not ready" if self._served and self._unreadable else ""
            self._warnings.warn(_SECRET, f"cannot share the certificate: {error}; {self._meanwhile()}{unless}")
        else:
            self._unreadable = False
            self._warnings.clear(_SECRET)

    def _take(self, content: SecretContent) -> None:
        """Serve the Secret's pair if it is valid. A valid pair that could not be served is tried again."""
        is_read = self._content is not None and content.version == self._content.version
        if is_read and (self._shared is None or self._is_served(self._shared.pair)):
            return
        self._content, self._shared, self._invalid = content, None, False
        if not any(content.data.values()):  # the chart creates the Secret empty, and emptying it forces a renewal
            return
        pair = CertificatePair.from_secret(content.data)
        try:
            self._shared = _Valid(pair, self._maker.read(pair))
            if not self._is_served(pair):
                self._present(pair)
        # The Secret may be edited by hand; an invalid pair must not replace the one that works.
        except ConfigurationError as error:
            self._shared, self._invalid = None, True
            why = "; ".join(map(str, error.problems))
            self._warnings.warn(_PAIR, f"invalid certificate in the Secret: {why}; {self._meanwhile()}")
        except OSError as error:  # no space in /tmp or no file descriptor left: the pair itself is valid
            self._invalid = True
            self._warnings.warn(_PAIR, f"cannot serve the Secret's certificate: {error}; {self._meanwhile()}")
        else:
            self._served = self._shared
            self._warnings.clear(_PAIR)

    def _is_served(self, pair: CertificatePair) -> bool:
        """Return whether this pair is served. The CA bundle does not count: only clients use it."""
        served = self._served.pair if self._served else None
        return served is not None and (served.certificate, served.key) == (pair.certificate, pair.key)

    async def _lead(self) -> None:
        shared, pending = self._shared, self._pending
        ca_bundle = shared.pair.ca_bundle if shared else b""
        state = RotationState(
            shared=shared.details if shared else None,
            last_valid=self._served.details if self._served else None,
            is_published=bool(pending and pending.ca_bundle in ca_bundle),
            is_trusted=bool(ca_bundle and self._is_trusted(ca_bundle)),
        )
        plan = self._plan
        step = next_rotation_step(state, wanted=frozenset(plan.names), lifetime=plan.lifetime, now=self._now())
        match step:
            case Step.ISSUE:
                await self._issue()
            case Step.PUBLISH if current := (shared or self._served):
                await self._publish(current)
            case Step.SWITCH if pending:
                await self._switch(pending)
            case Step.REST:
                self._pending = None
            case _:
                logger.debug("waiting until API servers trust the new CA")

    async def _issue(self) -> None:
        pair = self._make()
        before = self._served.details.ca if self._served else b""
        await self._write(replace(pair, ca_bundle=pair.ca_bundle + before))
        logger.info("issued a certificate for %s", self._plan.names[0])

    async def _publish(self, current: _Valid) -> None:
        self._pending = self._make()
        await self._write(replace(current.pair, ca_bundle=self._pending.ca_bundle + current.details.ca))
        logger.info("renewing the certificate: published a new CA beside the one in use")

    async def _switch(self, pending: CertificatePair) -> None:
        await self._write(replace(pending, ca_bundle=self.ca_bundle or b""))
        self._pending = None
        logger.info("renewed the certificate")

    def _make(self) -> CertificatePair:
        return self._maker.issue(self._plan.names, begin=self._now(), seconds=self._plan.lifetime)

    async def _write(self, pair: CertificatePair) -> None:
        version = self._content.version if self._content else ""
        self._take(await self._cluster.write_secret(pair.secret_data(), version))

    def _meanwhile(self) -> str:
        return "the last valid certificate stays in use" if self._served else "not ready until there is a certificate"
