"""The seams: what the services need of the world, and the one deadline every call obeys."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from anchore_admission.core.facts import AnalysisState, ImageRecord, PolicyEvaluation
from anchore_admission.core.rotation import Leaf
from anchore_admission.core.submission import AnalysisRequest
from anchore_admission.core.verdict import ReviewVerdict
from anchore_admission.errors import DeadlineExceeded

Clock = Callable[[], float]
"""Monotonic seconds."""
_LATE = "no answer before the deadline"


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment (monotonic seconds) by which an answer must be ready."""

    at: float
    clock: Clock = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Clock = time.monotonic) -> "Deadline":
        return cls(clock() + seconds, clock)

    def left(self) -> float:
        """Seconds that remain, never negative."""
        return max(0.0, self.at - self.clock())

    @asynccontextmanager
    async def bound(self) -> AsyncIterator[None]:
        """Cancel the block when the time is up. Raises DeadlineExceeded."""
        if self.left() <= 0:  # a block that never suspends would not notice
            raise DeadlineExceeded(_LATE)
        timeout = asyncio.timeout(self.left())
        try:
            async with timeout:
                yield
        except TimeoutError as error:
            if timeout.expired():
                raise DeadlineExceeded(_LATE) from error
            raise


class Anchore(Protocol):
    """One account of one Anchore. Every call raises an EvaluationError when it cannot tell.

    Contract: ``tests/contract/test_anchore_port.py`` holds every implementation to it.
    """

    async def by_tag(self, full_tag: str, deadline: Deadline) -> ImageRecord | None:
        """The newest active record that carries the full tag; None when Anchore surely holds none."""

    async def by_digest(self, digest: str, deadline: Deadline) -> ImageRecord | None:
        """The active record of a platform digest or a manifest list's digest; its own digest may differ."""

    async def check(
        self, digest: str, full_tag: str, policy: str | None, deadline: Deadline
    ) -> PolicyEvaluation | AnalysisState:
        """Evaluate a policy (None: the active one), or say in which state the image is that cannot be evaluated."""

    async def submit(self, request: AnalysisRequest, deadline: Deadline) -> ImageRecord:
        """Ask for analysis. The record's digest is what the tag points to now. Raises AnalysisRefused."""


class AnchoreAccounts(Protocol):
    """The accounts of the configuration, by name."""

    def __getitem__(self, account: str, /) -> Anchore: ...


class Origin(StrEnum):
    """Who asks for a review: the API server, or a person by hand (web page, command line)."""

    ADMISSION = "admission"
    MANUAL = "manual"


class ReviewRecord(NamedTuple):
    """One review that ended; ``name`` is the object's, or its ``generateName`` with a star."""

    origin: Origin
    uid: str
    operation: str
    kind: str
    namespace: str
    name: str
    user: str
    dry_run: bool
    verdict: ReviewVerdict
    seconds: float
    """From the request line to the verdict."""


class Recorder(Protocol):
    """Where the adapters and services tell what happened; turned into logs and metrics."""

    def review(self, record: ReviewRecord) -> None:
        """One review ended."""

    def malformed_review(self, code: str, message: str) -> None:
        """A call could not be read; ``code`` is a ReviewError's."""

    def anchore_call(self, *, account: str, operation: str, outcome: str, seconds: float) -> None:
        """One call to Anchore ended; ``outcome`` is ``ok``, ``not_found`` or an error's code."""

    def anchore_in_flight(self, change: int) -> None:
        """A call to Anchore began (1) or ended (-1)."""

    def submission(self, *, account: str, outcome: str) -> None:
        """A request for analysis ended: ``answered``, ``refused``, ``dropped`` or an error's code."""

    def queue_depth(self, waiting: int) -> None:
        """How many requests for analysis wait to be sent."""


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

    def read(self, pair: ServingPair) -> Leaf | None:
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

    Every call raises a ClusterError. Contract: ``tests/contract/test_cluster_port.py``.
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


class SelfQuestion(Protocol):
    """Asks our own webhook a question that changes nothing, the way an API server would."""

    async def ask(self, url: str, authorities: bytes | None) -> None:
        """Raises WebhookSilent unless the answer is the expected one. Without authorities, the system's are trusted."""


class Repair(StrEnum):
    """When the leader found something of the registration missing or changed."""

    ON_TAKING_OVER = "taking_over"
    """As it began to lead, or where there was no object before: after an installation, an upgrade, or a change while no
    replica led."""
    WHILE_LEADING = "leading"
    """After this leader had registered the webhook: someone else has changed it."""


class ClusterRecorder(Protocol):
    """Where the adapters and services tell what happened with the cluster."""

    def cluster_error(self, *, operation: str, code: str) -> None:
        """A call failed; ``code`` is a ClusterError's."""

    def registration_current(self, current: bool) -> None:
        """Whether the webhook is registered as it should be."""

    def registration_repaired(self, when: Repair) -> None:
        """The leader put right what was missing or changed."""

    def registration_left_in_place(self, terms: int) -> None:
        """How many terms of others the registration holds that are not taken back."""
