"""The Kubernetes cluster and certificates, as the services need them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from anchore_admission.core.webhook.rotation import CertificateDetails


@dataclass(frozen=True, slots=True)
class ServingPair:
    """PEM: the authorities to trust, the webhook port's certificate, its key."""

    authorities: bytes
    certificate: bytes
    key: bytes = field(repr=False)


class CertificateMaker(Protocol):
    """Makes and reads certificates."""

    def issue(self, names: Sequence[str], *, begin: float, seconds: float) -> ServingPair:
        """A new authority, whose key is forgotten at once, and a certificate of it; ``begin`` is Unix time."""

    def read(self, pair: ServingPair) -> CertificateDetails | None:
        """What the certificate says; None unless the key fits and one of the authorities has signed it."""


@dataclass(frozen=True, slots=True)
class SecretContent:
    """A Secret as it was read; ``version`` changes with every write."""

    data: Mapping[str, bytes] = field(repr=False)
    version: str


@dataclass(frozen=True, slots=True)
class LeaseState:
    """A Lease as it was read: who holds it (empty: nobody), and after how many seconds of silence it is free."""

    holder: str
    seconds: int
    transitions: int
    version: str


@dataclass(frozen=True, slots=True)
class WebhookConfiguration:
    """The entries of a ValidatingWebhookConfiguration as the API server shows them."""

    uid: str
    webhooks: Sequence[Mapping[str, Any]]


class Cluster(Protocol):
    """What the process reads and writes in its cluster. Nothing is ever created, and nothing is deleted.

    Every call raises a ClusterError. Contract: ``tests/contract/adapters/test_cluster_port.py``.
    """

    async def read_secret(self) -> SecretContent:
        """The Secret that the replicas share their certificate through."""

    async def write_secret(self, data: Mapping[str, bytes], version: str) -> SecretContent:
        """Set these keys, unless the Secret is no longer the one of this version: ClusterConflict."""

    async def read_lease(self) -> LeaseState:
        """The Lease that the replicas agree by."""

    async def write_lease(self, lease: LeaseState, *, taken: bool) -> LeaseState:
        """Renew or take the Lease, unless it is no longer of this version: ClusterConflict."""

    async def read_webhooks(self, name: str) -> WebhookConfiguration:
        """The ValidatingWebhookConfiguration of this name."""

    async def apply_webhooks(self, name: str, uid: str, webhooks: Sequence[Mapping[str, Any]]) -> WebhookConfiguration:
        """Server-side-apply the entries onto the existing object of this uid, taking their fields from anybody.

        Match conditions that others have added to these entries are removed.
        Raises ClusterConflict or ClusterNotFound when that object no longer exists; it is not created again.
        """


class Probe(Protocol):
    """Asks our own webhook a question that changes nothing, the way an API server would."""

    async def ask(self, url: str, authorities: bytes | None) -> None:
        """Raises WebhookSilent unless the answer is the expected one. Without authorities, the system's are trusted."""
