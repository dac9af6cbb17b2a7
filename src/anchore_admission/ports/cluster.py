"""The Kubernetes cluster and certificates, as the services need them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from anchore_admission.core.webhook.entry import WebhookKind
from anchore_admission.core.webhook.pair import CertificateDetails, CertificatePair


class CertificateMaker(Protocol):
    """Make and read certificates."""

    def issue(self, names: Sequence[str], *, begin: float, seconds: float) -> CertificatePair:
        """Make a new CA, whose key is forgotten at once, and a certificate signed by it; ``begin`` is Unix time."""

    def read(self, pair: CertificatePair) -> CertificateDetails:
        """Return the contents of the certificate.

        Raises ConfigurationError unless the key belongs to it and a CA of the bundle has signed it.
        """


@dataclass(frozen=True, slots=True)
class SecretContent:
    """A Secret as it was read; ``version`` changes with every write."""

    data: Mapping[str, bytes] = field(repr=False)
    version: str


@dataclass(frozen=True, slots=True)
class LeaseState:
    """A Lease as it was read: its holder (empty: free), and the seconds without renewal after which it expires."""

    holder: str
    seconds: int
    transitions: int
    version: str


@dataclass(frozen=True, slots=True)
class WebhookConfiguration:
    """The entries of a webhook configuration as the API server shows them."""

    uid: str
    webhooks: Sequence[Mapping[str, Any]]


class Cluster(Protocol):
    """The objects of this release in its cluster. Nothing is ever created or deleted.

    Every call raises a ClusterError. Contract: ``tests/contract/adapters/test_cluster_port.py``.
    """

    async def read_secret(self) -> SecretContent:
        """Read the Secret through which the replicas share their certificate."""

    async def write_secret(self, data: Mapping[str, bytes], version: str) -> SecretContent:
        """Set these keys. Raises ClusterConflict if the Secret has changed since this version."""

    async def read_lease(self) -> LeaseState:
        """Read the Lease by which the replicas elect their leader."""

    async def write_lease(self, lease: LeaseState, *, taken: bool) -> LeaseState:
        """Renew or take the Lease. Raises ClusterConflict if it has changed since this version."""

    async def read_webhooks(self, name: str, kind: WebhookKind = WebhookKind.VALIDATING) -> WebhookConfiguration:
        """Read the webhook configuration of this name and kind."""

    async def apply_webhooks(
        self,
        name: str,
        uid: str,
        webhooks: Sequence[Mapping[str, Any]],
        kind: WebhookKind = WebhookKind.VALIDATING,
    ) -> WebhookConfiguration:
        """Server-side-apply the entries onto the existing object of this uid, taking over their fields.

        Match conditions that other clients have added to these entries are removed.
        Raises ClusterConflict or ClusterNotFound if that object no longer exists; it is not created again.
        """


@dataclass(frozen=True, slots=True)
class ProbeResponse:
    """The webhook's response about a Pod; ``verdict`` is the audit annotation, None if there is none."""

    allowed: bool
    verdict: str | None
    message: str


@dataclass(frozen=True, slots=True)
class PinningResponse:
    """The mutating webhook's response about a Pod: its audit annotations, empty if there are none."""

    pinned: str
    not_pinned: str


class Probe(Protocol):
    """Send our own webhook a review that changes nothing, as an API server would."""

    async def check(self, url: str, ca_bundle: bytes | None) -> None:
        """Send the review; without a CA bundle, trust the system's CAs.

        Raises ProbeFailed unless the response is the expected one.
        """
