"""The ports for reports of adapters and services, which become logs and metrics."""

from enum import IntEnum, StrEnum
from typing import Protocol

from msgspec import Struct

from anchore_admission.core.pins import PinnedPlace
from anchore_admission.core.verdict import ReviewVerdict
from anchore_admission.core.webhook.entry import WebhookKind


class Origin(StrEnum):
    """The origin of a review: the API server, or a person by hand (web page, command line)."""

    ADMISSION = "admission"
    MANUAL = "manual"


class ReviewRecord(Struct, frozen=True):
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


class PinningRecord(Struct, frozen=True):
    """One call of the mutating webhook that ended; ``pins`` are the outcomes for images that a rule pins, or kept."""

    uid: str
    operation: str
    namespace: str
    name: str
    user: str
    dry_run: bool
    pins: tuple[PinnedPlace, ...]
    seconds: float
    """From the request line to the response."""


class BreakerState(IntEnum):
    """The state of an account's circuit breaker; the numbers are those of the metric."""

    CLOSED = 0
    """It is called."""
    HALF_OPEN = 1
    """One call finds out whether it responds again; all others fail at once."""
    OPEN = 2
    """It is not called."""


class HintSource(StrEnum):
    """The source that told of a change in Anchore."""

    EVENTS = "events"
    NOTIFICATIONS = "notifications"


class StoreOutcome(StrEnum):
    """The outcome of a lookup in the shared store."""

    HIT = "hit"
    MISS = "miss"
    EXPIRED = "expired"
    INVALID = "invalid"
    """The seal does not fit the entry: it was forged, moved, cut off, or sealed with a key that is not in use."""
    ERROR = "error"
    """The store failed or did not respond in time."""
    SUSPENDED = "suspended"
    """The store was not asked: it has failed several times, or the seal keys are not valid yet."""


class StorePut(StrEnum):
    """The outcome of an answer that was to be stored."""

    STORED = "stored"
    CLAIM_ENDED = "claim_ended"
    """It was no answer, but the end of a claim."""
    DROPPED = "dropped"
    """The queue was full, or the answer too large or too old."""
    ERROR = "error"


class StoreClaim(StrEnum):
    """The outcome of a question that replicas share."""

    CLAIMED = "claimed"
    """This replica asks Anchore for all."""
    ANSWERED = "answered"
    """Another one did, and its answer was used."""
    UNANSWERED = "unanswered"
    """Another one had claimed it, but gave up or took too long."""


class NotificationOutcome(StrEnum):
    """The outcome of a notification from Anchore."""

    HINT = "hint"
    IGNORED = "ignored"
    """It can change no verdict, or is about an account that is not used."""
    REPEATED = "repeated"
    UNREADABLE = "unreadable"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    DENIED = "denied"
    """Without the secret."""


class Engine(StrEnum):
    """The policy engine that asks for facts, by the words that it uses."""

    GATEKEEPER = "gatekeeper"
    OTHER = "other"


class FactsOutcome(StrEnum):
    """The outcome of a request to the port for facts."""

    ANSWERED = "answered"
    NOT_YET = "not_yet"
    """Gatekeeper was asked to ask again: Anchore has not judged one of the images, or could not be asked."""
    INVALID = "invalid"
    """It could not be read, asked about too much, or named a rule or path that is not there."""
    TOO_MANY = "too_many"
    """There were too many others at the same moment."""
    DENIED = "denied"
    """The caller is not one of those that may know the facts."""
    UNVERIFIED = "unverified"
    """The caller's token could not be verified."""


class FactsRecorder(Protocol):
    """The reports about the port for facts."""

    def facts_request(self, engine: Engine, outcome: FactsOutcome) -> None:
        """Record a request that ended."""


class Recorder(Protocol):
    """The reports about reviews, Anchore and the shared store."""

    def review(self, record: ReviewRecord) -> None:
        """Record a review that ended."""

    def pinning(self, record: PinningRecord) -> None:
        """Record a call of the mutating webhook that ended."""

    def malformed_review(self, code: str, message: str) -> None:
        """Record a call that could not be read; ``code`` is a ReviewError's."""

    def anchore_call(self, *, account: str, operation: str, outcome: str, seconds: float) -> None:
        """Record a call to Anchore that ended; ``outcome`` is ``ok``, ``not_found`` or an error's code."""

    def anchore_in_flight(self, change: int) -> None:
        """Record that a call to Anchore began (1) or ended (-1)."""

    def recalled(self, *, account: str, use: str) -> None:
        """Record where the facts about one image came from: a ``Freshness``, or ``asked`` if Anchore was asked."""

    def coalesced(self, account: str) -> None:
        """Record a question that was under way already, for another review."""

    def remembered(self, answers: int, size: int) -> None:
        """Record how many answers are remembered, and the memory that they take in bytes."""

    def forgotten(self, answers: int) -> None:
        """Record answers that were forgotten because there was no more room."""

    def breaker(self, *, account: str, state: BreakerState) -> None:
        """Record the state of an account's circuit breaker: at the start, and whenever it changes."""

    def shed(self, *, account: str) -> None:
        """Record a look-up that was given up before its call, because too many of its namespace waited."""

    def submission(self, *, account: str, outcome: str) -> None:
        """Record a request for analysis that ended: ``answered``, ``refused``, ``dropped`` or an error's code."""

    def queue_depth(self, waiting: int) -> None:
        """Record the number of requests for analysis that wait to be sent."""

    def hint(self, source: HintSource) -> None:
        """Record a hint that remembered answers may be outdated."""

    def notification(self, outcome: NotificationOutcome) -> None:
        """Record a request to the port for Anchore's notifications."""

    def event_log_failed(self, account: str) -> None:
        """Record that an account's event log could not be read."""

    def store_lookup(self, *, outcome: StoreOutcome, seconds: float) -> None:
        """Record a lookup in the shared store that ended."""

    def store_put(self, outcome: StorePut) -> None:
        """Record what became of an answer for the shared store."""

    def store_claim(self, outcome: StoreClaim) -> None:
        """Record a question that was claimed in the shared store, by this replica or by another one."""


class WatchedSource(StrEnum):
    """A source that is read again while the process runs, and may become invalid."""

    CERTIFICATE = "certificate"
    CA_BUNDLE = "ca_bundle"
    CREDENTIALS = "credentials"
    ANCHORE_CA = "anchore_ca"
    SHARED_STORE = "shared_store"
    OPA = "opa"
    SECRET_PATH = "secret_path"  # noqa: S105 - a label
    CONFIGURATION = "configuration"
    NOTIFICATIONS_SECRET = "notifications_secret"  # noqa: S105 - a label
    NAMESPACE_LABELS = "namespace_labels"
    FACTS_TOKEN = "facts_token"  # noqa: S105 - a label
    FACTS_CLIENT_CA = "facts_client_ca"


class Repair(StrEnum):
    """The occasion on which the leader found the webhook configuration missing or changed."""

    ON_TAKING_OVER = "taking_over"
    """After taking over leadership, or if the object did not exist before: an installation, an upgrade, or a change
    while there was no leader."""
    WHILE_LEADING = "leading"
    """After this leader had registered the webhook: another client has changed it."""


class ClusterRecorder(Protocol):
    """The reports about the cluster."""

    def cluster_error(self, *, operation: str, code: str) -> None:
        """Record a call that failed; ``code`` is a ClusterError's."""

    def registration_current(self, kind: WebhookKind, current: bool) -> None:
        """Record whether a webhook configuration is the wanted one."""

    def registration_repaired(self, kind: WebhookKind, when: Repair) -> None:
        """Record that the leader repaired a webhook configuration."""

    def registration_left_in_place(self, kind: WebhookKind, fields: int) -> None:
        """Record how many fields of other clients are left in place in a webhook configuration."""
