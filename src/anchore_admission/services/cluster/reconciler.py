"""The reconcile loop of a replica: the Lease, the certificate, the webhook configuration."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from anchore_admission.errors import ConfigurationError
from anchore_admission.services.cluster.certificates import ManagedCertificates
from anchore_admission.services.cluster.leadership import Leadership, LeaseTiming
from anchore_admission.services.cluster.registration import PublishedCaBundle, Registrar

RECONCILE_SECONDS = 10.0
RETRY_SECONDS = 2.0
"""The pause after a reconciliation that did not reach the wanted state."""

Sleep = Callable[[float], Awaitable[None]]


class CaBundleSource(Protocol):
    """The CA bundle to publish; None if the system's CAs of the API servers are enough."""

    def __call__(self) -> bytes | None:
        """Return the bundle. Raises ConfigurationError while there is none yet; the cause is logged already."""


class Reconciler:
    """Every replica follows the certificate; the leader also reconciles the Secret and the webhook configuration.

    Without registrars, the CA bundle is published externally (chart, cert-manager); allow a grace period for it.
    """

    def __init__(
        self,
        leadership: Leadership,
        *,
        certificates: ManagedCertificates | None,
        registrars: Sequence[Registrar],
        published: PublishedCaBundle,
        ca_bundle: CaBundleSource,
    ) -> None:
        self.leadership = leadership
        self.certificates = certificates
        self._registrars = registrars
        self._published = published
        self._ca_bundle = ca_bundle
        self._lease_was_read = asyncio.Event()

    async def reconcile(self) -> bool:
        """Reconcile once, after the Lease was read. Return whether the wanted state is reached. Raises nothing."""
        leads = self.leadership.leads()
        if self.certificates:
            await self.certificates.step(leads=leads, leader=self.leadership.holder)
            if not self.certificates.ca_bundle:
                self._rest()
                return False
        try:
            ca_bundle = self._ca_bundle()
        except ConfigurationError:
            self._rest()
            return False
        if not leads:
            self._rest()
            return True
        if not self._registrars:
            self._published.record(ca_bundle)
        # One after the other, in their order: a failure of one does not keep the others from being registered.
        return all([await registrar.step(ca_bundle) for registrar in self._registrars])

    def _rest(self) -> None:
        for registrar in self._registrars:
            registrar.rest()

    async def hold_lease(self, sleep: Sleep = asyncio.sleep, every: float = LeaseTiming().every) -> None:
        """Renew or take the Lease every ``every`` seconds, until cancelled."""
        while True:
            await self.leadership.step()
            self._lease_was_read.set()
            await sleep(every)

    async def run(self, sleep: Sleep = asyncio.sleep) -> None:
        """Reconcile until cancelled. Waits for the first Lease read."""
        await self._lease_was_read.wait()
        while True:
            reached = await self.reconcile()
            await sleep(RECONCILE_SECONDS if reached else RETRY_SECONDS)
