"""What the process does with its cluster, round after round: the Lease, the certificate, the registration."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from anchore_admission.errors import ConfigurationError
from anchore_admission.services.cluster.certificates import ManagedCertificates
from anchore_admission.services.cluster.leadership import Leadership, LeaseTiming
from anchore_admission.services.cluster.registration import KnownAuthorities, Registrar

ROUND_SECONDS = 10.0
HURRY_SECONDS = 2.0
"""Between two rounds while something is not as it should be."""

Sleep = Callable[[float], Awaitable[None]]


class Bundle(Protocol):
    """Where the authorities to publish come from; None: those of the API servers' own system are enough."""

    def __call__(self) -> bytes | None:
        """Raises ConfigurationError, told already, while there are none yet."""


class Reconciler:
    """Every replica follows the certificate; the leader also looks after certificate and registration.

    Without ``registrar`` somebody else publishes the authorities, and is given some time to do it.
    """

    def __init__(
        self,
        leadership: Leadership,
        *,
        certificates: ManagedCertificates | None,
        registrar: Registrar | None,
        known: KnownAuthorities,
        bundle: Bundle,
    ) -> None:
        self.leadership = leadership
        self.certificates = certificates
        self._registrar = registrar
        self._known = known
        self._bundle = bundle
        self._lease_was_read = asyncio.Event()

    async def round(self) -> bool:
        """One round after the Lease was looked at. True when everything is as it should be. Raises nothing."""
        leads = self.leadership.leads()
        if self.certificates:
            await self.certificates.step(leads=leads, leader=self.leadership.holder)
            if not self.certificates.authorities:
                self._rest()
                return False
        try:
            authorities = self._bundle()  # followers look too: one of them may lead next
        except ConfigurationError:
            self._rest()
            return False
        if not leads:
            self._rest()
            return True
        if self._registrar:
            return await self._registrar.step(authorities)
        self._known.carry(authorities)
        return True

    def _rest(self) -> None:
        if self._registrar:
            self._registrar.rest()

    async def hold_lease(self, sleep: Sleep = asyncio.sleep, every: float = LeaseTiming().every) -> None:
        """Until cancelled."""
        while True:
            await self.leadership.step()
            self._lease_was_read.set()
            await sleep(every)

    async def run(self, sleep: Sleep = asyncio.sleep) -> None:
        """Until cancelled. Begins when it is known who leads."""
        await self._lease_was_read.wait()
        while True:
            settled = await self.round()
            await sleep(ROUND_SECONDS if settled else HURRY_SECONDS)
