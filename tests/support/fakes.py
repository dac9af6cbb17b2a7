"""Fakes of the ports: an Anchore in memory, a recorder that keeps all events, and a manual clock."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256

from anchore_admission.core.facts import AnalysisState, ImageRecord, PolicyEvaluation, PolicyVersion, TagRow
from anchore_admission.core.hints import Event, Events
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.core.webhook.entry import WebhookKind
from anchore_admission.errors import PolicyNotFound
from anchore_admission.ports.anchore import Anchore, Identity
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.namespaces import LiveRead, NamespaceRecorder
from anchore_admission.ports.telemetry import (
    BreakerState,
    ClusterRecorder,
    HintSource,
    NotificationOutcome,
    PinningRecord,
    Recorder,
    Repair,
    ReviewRecord,
    StoreClaim,
    StoreOutcome,
    StorePut,
)

ACTIVE_POLICY = "active"
OPERATIONS = ("by_tag", "by_digest", "check", "submit", "policies", "events")
PASS = PolicyEvaluation(passed=True, policy=ACTIVE_POLICY)


def digest_of(text: str) -> str:
    """A digest that stands for a text, the same each time."""
    return f"sha256:{sha256(text.encode()).hexdigest()}"


async def settled() -> None:
    """Let every task run until all of them wait for something that only the test can bring."""
    for _ in range(100):
        await asyncio.sleep(0)


class ManualClock:
    """A clock that the test advances; sleeping tasks wake up then."""

    @classmethod
    def of_loop(cls) -> "ManualClock":
        """The clock by which the running loop measures its time limits, from now on."""
        loop = asyncio.get_running_loop()
        if not isinstance(loop.time, cls):
            loop.time = cls()  # type: ignore[method-assign]
        return loop.time

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.slept: list[float] = []
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        woken = asyncio.Event()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), woken))
        await woken.wait()

    async def advance(self, seconds: float) -> None:
        """Pass the time, moment by moment, with all that happens meanwhile."""
        end = self.now + seconds
        await settled()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.now, _, woken = heapq.heappop(self._sleepers)
            woken.set()
            await settled()
        self.now = end
        await settled()


@dataclass(frozen=True, slots=True)
class Call:
    """One call to an Anchore; ``subject`` is the full tag or digest that it is about."""

    operation: str
    subject: str
    tag: str = ""
    policy: str | None = None


@dataclass(slots=True)
class _Fault:
    operation: str
    subject: str | None
    error: Exception
    times: int | None

    def strikes(self, call: Call) -> bool:
        return self.operation == call.operation and self.subject in {None, call.subject} and self.times != 0


@dataclass(slots=True)
class FakeAnchore(Anchore):
    """An account of an Anchore. It resolves tags by ``registry``, or makes a digest up."""

    registry: dict[str, str] = field(default_factory=dict)
    active_policy: str = ACTIVE_POLICY
    policy_changes: dict[str, int] = field(default_factory=lambda: {ACTIVE_POLICY: 0})
    """The existing policies, and how often each was changed."""
    log: list[Event] = field(default_factory=list)
    """The events, oldest first. A position in it stands for a time; look-ups overlap by one event."""
    most_events: int = 100
    calls: list[Call] = field(default_factory=list)
    identity: Identity = field(default_factory=lambda: Identity("fake"))
    in_flight: int = 0
    most_in_flight: int = 0
    _records: dict[str, ImageRecord] = field(default_factory=dict)
    _evaluations: dict[tuple[str, str, str | None], PolicyEvaluation | AnalysisState] = field(default_factory=dict)
    _faults: list[_Fault] = field(default_factory=list)
    _moves: Iterator[int] = field(default_factory=itertools.count)
    _hanging: dict[tuple[str, str | None], asyncio.Event] = field(default_factory=dict)

    def store(
        self,
        full_tag: str,
        state: AnalysisState = AnalysisState.ANALYZED,
        *,
        digest: str = "",
        detected_at: str = "2026-01-01T00:00:00Z",
        parent_digest: str | None = None,
    ) -> ImageRecord:
        """Hold an image, or give the one held another tag and state."""
        digest = digest or digest_of(full_tag)
        held = self._records.get(digest)
        others = tuple(tag for tag in held.tags if tag.full_tag != full_tag) if held else ()
        record = ImageRecord(
            digest,
            state,
            (*others, TagRow(full_tag, detected_at)),
            parent_digest,
            "amd64",
            parent_digest or digest,
            held.listed_by if held else (full_tag,),
        )
        self._records[digest] = record
        return record

    def finish_analysis(self) -> None:
        """Analyze every image that waits for it."""
        for digest, record in self._records.items():
            if record.state is AnalysisState.NOT_ANALYZED:
                self._records[digest] = replace(record, state=AnalysisState.ANALYZED)
                for tag in record.tags:
                    self.happen("user.image.analysis.completed", tag.full_tag)

    def happen(self, kind: str, resource: str = "", resource_type: str = "image_tag") -> None:
        """Add an event to the log."""
        self.log.append(Event(f"event-{len(self.log)}", kind, resource_type, resource))

    def forget(self, full_tag: str) -> None:
        """Hold no image with this tag any more, nor the one made up for it."""
        self._records = {
            digest: record
            for digest, record in self._records.items()
            if full_tag not in {tag.full_tag for tag in record.tags} and digest != digest_of(full_tag)
        }

    def evaluate(
        self,
        digest: str,
        answer: PolicyEvaluation | AnalysisState,
        policy: str = ACTIVE_POLICY,
        *,
        tag: str | None = None,
    ) -> None:
        """Set the answer to checks of an analyzed image, for one full tag or for any."""
        self.policy_changes.setdefault(policy, 0)
        self._evaluations[digest, policy, tag] = answer

    def change_policy(self, policy: str, *, active: bool = False) -> None:
        """Change a policy, or make it the active one."""
        self.policy_changes[policy] = self.policy_changes.get(policy, 0) + 1
        if active or policy == self.active_policy:
            self.happen(f"user.policy.active.{'updated' if active else 'content_change'}", "", "policy_bundle")
        if active and policy != self.active_policy:
            self.policy_changes[self.active_policy] += 1
            self.active_policy = policy

    def fail(self, operation: str, error: Exception, *, subject: str | None = None, times: int | None = None) -> None:
        """Raise from calls of an operation: about one subject or any, so many times or from now on."""
        self._faults.append(_Fault(operation, subject, error, times))

    def fail_all(self, error: Exception) -> None:
        """Raise from every call from now on."""
        for operation in OPERATIONS:
            self.fail(operation, error)

    def recover(self) -> None:
        self._faults.clear()

    def hang(self, operation: str, *, subject: str | None = None) -> asyncio.Event:
        """Keep calls of an operation waiting until the event is set, or their time is up."""
        return self._hanging.setdefault((operation, subject), asyncio.Event())

    def subjects(self, operation: str) -> list[str]:
        """Return the subjects of an operation's calls, in order."""
        return [call.subject for call in self.calls if call.operation == operation]

    async def by_tag(self, full_tag: str, deadline: Deadline) -> ImageRecord | None:
        async with self._called(Call("by_tag", full_tag), deadline):
            return self._newest(full_tag)

    async def by_digest(self, digest: str, deadline: Deadline) -> ImageRecord | None:
        async with self._called(Call("by_digest", digest), deadline):
            return self._held(digest)

    async def check(
        self, digest: str, full_tag: str, policy: str | None, deadline: Deadline
    ) -> PolicyEvaluation | AnalysisState:
        if "@" in full_tag:
            raise ValueError(f"not a full tag: {full_tag!r}")
        async with self._called(Call("check", digest, full_tag, policy), deadline):
            record = self._held(digest)
            if record is None:
                return AnalysisState.UNKNOWN
            if record.state is not AnalysisState.ANALYZED:
                return record.state
            name = policy or self.active_policy
            if name not in self.policy_changes:
                raise PolicyNotFound(f"policy {name} does not exist in Anchore")
            default = self._evaluations.get((record.digest, name, None), replace(PASS, policy=name))
            return self._evaluations.get((record.digest, name, full_tag), default)

    async def submit(self, request: AnalysisRequest, deadline: Deadline) -> ImageRecord:
        async with self._called(Call("submit", request.full_tag), deadline):
            newest = self._newest(request.full_tag)
            digest = request.digest or self.registry.get(request.full_tag)
            digest = digest or (newest.digest if newest else digest_of(request.full_tag))
            held = self._held(digest)
            state = held.state if held and held.state is not AnalysisState.FAILED else AnalysisState.NOT_ANALYZED
            parent = held.parent_digest if held else None
            if request.digest:  # its label is no tag
                tags = held.tags if held else ()
                listed_by = held.listed_by if held else (request.full_tag,)
                kept = ImageRecord(held.digest if held else digest, state, tags, parent, "amd64", parent, listed_by)
                self._records[kept.digest] = kept
                return kept
            moved = f"2026-02-01T00:00:00.{next(self._moves):06}Z"
            return self.store(
                request.full_tag, state, digest=held.digest if held else digest, parent_digest=parent, detected_at=moved
            )

    async def policies(self, deadline: Deadline) -> tuple[PolicyVersion, ...]:
        async with self._called(Call("policies", ""), deadline):
            return tuple(
                PolicyVersion(policy, policy == self.active_policy, f"2026-01-01T00:00:00.{changes:06}Z")
                for policy, changes in self.policy_changes.items()
            )

    async def events(self, since: str, deadline: Deadline) -> Events:
        async with self._called(Call("events", since), deadline):
            found = self.log[int(since or 0) :]
            next_since = str(len(self.log) - 1) if self.log else since
            return Events(tuple(reversed(found[-self.most_events :])), next_since, more=len(found) > self.most_events)

    def _newest(self, full_tag: str) -> ImageRecord | None:
        found = [
            (tag.detected_at, record.digest)
            for record in self._records.values()
            for tag in record.tags
            if tag.full_tag == full_tag
        ]
        return self._records[max(found)[1]] if found else None

    def _held(self, digest: str) -> ImageRecord | None:
        by_parent = (record for record in self._records.values() if record.parent_digest == digest)
        return self._records.get(digest) or next(by_parent, None)

    @asynccontextmanager
    async def _called(self, call: Call, deadline: Deadline) -> AsyncIterator[None]:
        self.calls.append(call)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            async with deadline.bound():
                for subject in (call.subject, None):
                    if event := self._hanging.get((call.operation, subject)):
                        await event.wait()
            self._raise_fault(call)
            yield
        finally:
            self.in_flight -= 1

    def _raise_fault(self, call: Call) -> None:
        fault = next((fault for fault in self._faults if fault.strikes(call)), None)
        if fault:
            fault.times = None if fault.times is None else fault.times - 1
            raise fault.error.with_traceback(None)


@dataclass(slots=True)
class FakeRecorder(Recorder, ClusterRecorder, NamespaceRecorder):
    """A recorder that keeps every recorded review, Anchore call and cluster call."""

    reviews: list[ReviewRecord] = field(default_factory=list)
    pinnings: list[PinningRecord] = field(default_factory=list)
    malformed: list[tuple[str, str]] = field(default_factory=list)
    anchore_calls: list[tuple[str, str, str]] = field(default_factory=list)
    """Account, operation and outcome."""
    in_flight: int = 0
    most_in_flight: int = 0
    breakers: list[tuple[str, BreakerState]] = field(default_factory=list)
    sheds: list[str] = field(default_factory=list)
    """The account of each look-up that was shed."""
    submissions: list[tuple[str, str]] = field(default_factory=list)
    uses: list[tuple[str, str]] = field(default_factory=list)
    """Account and use of the facts about each image."""
    joined: list[str] = field(default_factory=list)
    memory: tuple[int, int] = (0, 0)
    evicted: int = 0
    depths: list[int] = field(default_factory=list)
    hints: list[HintSource] = field(default_factory=list)
    notifications: list[NotificationOutcome] = field(default_factory=list)
    event_log_errors: list[str] = field(default_factory=list)
    cluster_errors: list[tuple[str, str]] = field(default_factory=list)
    current: list[bool] = field(default_factory=list)
    repaired: list[Repair] = field(default_factory=list)
    left_in_place: int = 0
    store_lookups: list[StoreOutcome] = field(default_factory=list)
    store_puts: list[StorePut] = field(default_factory=list)
    store_claims: list[StoreClaim] = field(default_factory=list)
    namespace_errors: list[tuple[str, str]] = field(default_factory=list)
    known_namespaces: int = 0
    namespace_lists: int = 0
    namespace_reads: list[LiveRead] = field(default_factory=list)

    def review(self, record: ReviewRecord) -> None:
        self.reviews.append(record)

    def pinning(self, record: PinningRecord) -> None:
        self.pinnings.append(record)

    def malformed_review(self, code: str, message: str) -> None:
        self.malformed.append((code, message))

    def anchore_call(self, *, account: str, operation: str, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.anchore_calls.append((account, operation, outcome))

    def anchore_in_flight(self, change: int) -> None:
        self.in_flight += change
        self.most_in_flight = max(self.in_flight, self.most_in_flight)

    def breaker(self, *, account: str, state: BreakerState) -> None:
        self.breakers.append((account, state))

    def shed(self, *, account: str) -> None:
        self.sheds.append(account)

    def recalled(self, *, account: str, use: str) -> None:
        self.uses.append((account, use))

    def coalesced(self, account: str) -> None:
        self.joined.append(account)

    def remembered(self, answers: int, size: int) -> None:
        self.memory = (answers, size)

    def forgotten(self, answers: int) -> None:
        self.evicted += answers

    def submission(self, *, account: str, outcome: str) -> None:
        self.submissions.append((account, outcome))

    def hint(self, source: HintSource) -> None:
        self.hints.append(source)

    def notification(self, outcome: NotificationOutcome) -> None:
        self.notifications.append(outcome)

    def event_log_failed(self, account: str) -> None:
        self.event_log_errors.append(account)

    def queue_depth(self, waiting: int) -> None:
        self.depths.append(waiting)

    def store_lookup(self, *, outcome: StoreOutcome, seconds: float) -> None:
        assert seconds >= 0
        self.store_lookups.append(outcome)

    def store_put(self, outcome: StorePut) -> None:
        self.store_puts.append(outcome)

    def store_claim(self, outcome: StoreClaim) -> None:
        self.store_claims.append(outcome)

    def cluster_error(self, *, operation: str, code: str) -> None:
        self.cluster_errors.append((operation, code))

    def registration_current(self, kind: WebhookKind, current: bool) -> None:  # noqa: ARG002 - most tests have one
        self.current.append(current)

    def registration_repaired(self, kind: WebhookKind, when: Repair) -> None:  # noqa: ARG002 - as above
        self.repaired.append(when)

    def registration_left_in_place(self, kind: WebhookKind, fields: int) -> None:  # noqa: ARG002 - as above
        self.left_in_place = fields

    def namespace_error(self, *, operation: str, code: str) -> None:
        self.namespace_errors.append((operation, code))

    def namespaces_known(self, count: int) -> None:
        self.known_namespaces = count

    def namespaces_listed(self) -> None:
        self.namespace_lists += 1

    def namespace_read(self, outcome: LiveRead) -> None:
        self.namespace_reads.append(outcome)

    @property
    def outcomes(self) -> list[str]:
        """Return the outcomes of the calls to Anchore."""
        return [outcome for _, _, outcome in self.anchore_calls]
