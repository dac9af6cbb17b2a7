"""Remember what Anchore answered, and ask each question once however many reviews wait for it.

Answers are facts. Verdicts are never remembered: rules, ``onError`` and ``enforcement`` apply to every review anew.
"""

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from msgspec import Struct, structs

from anchore_admission.core.answers import ByDigest, ByTag, Check, Query, Value
from anchore_admission.core.facts import AnalysisState, PolicyEvaluation
from anchore_admission.core.freshness import Answer, Freshness, Lifetimes, answer, known_elsewhere
from anchore_admission.core.names import repository_of
from anchore_admission.errors import (
    AnchoreBusy,
    AnchoreResponseInvalid,
    AnchoreResponseTooLarge,
    AnchoreUnavailable,
    DeadlineExceeded,
    EvaluationError,
    ImageNotReached,
    PolicyNotEvaluated,
)
from anchore_admission.ports.anchore import Anchore, Identity
from anchore_admission.ports.deadline import Clock, Deadline
from anchore_admission.ports.telemetry import Recorder
from anchore_admission.services.reviews.flights import FLIGHT_SECONDS, Asker, Flight, Flights, Outcome
from anchore_admission.services.reviews.gate import BACKGROUND, BY_HAND, Gate
from anchore_admission.services.reviews.policy_versions import PolicyVersions
from anchore_admission.services.reviews.remembered import Key, Remembered
from anchore_admission.services.reviews.shared_answers import SharedAnswers

logger = logging.getLogger("anchore_admission.memory")

PATIENCE_SECONDS: Final = 2.0
"""Seconds that a review waits for Anchore while it has an answer that may stand in for it."""
FIRST_POLL_SECONDS: Final = 1.0
"""Seconds that the first check waits for the policies' versions: without them, its result counts only while fresh."""
UNEXPECTED: Final = "an unexpected error, see the controller's log"
_OUTAGES = (AnchoreUnavailable, DeadlineExceeded, AnchoreResponseInvalid, PolicyNotEvaluated)
"""Errors of an Anchore that cannot be asked. A refusal (401, 403) is none, and neither is a policy that is gone."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account of Anchore, with the way to it and the versions of its policies."""

    anchore: Anchore
    gate: Gate
    policies: PolicyVersions


class State(Struct, frozen=True):
    """The state that decides on an account's answers besides time; see ``Memory.state``."""

    revision: int
    identity: Identity
    policies: int


class Memory:
    """The answers of all accounts, bounded in number and bytes."""

    def __init__(
        self,
        accounts: Mapping[str, Account],
        remembered: Remembered,
        lifetimes: Lifetimes,
        recorder: Recorder,
        *,
        shared: SharedAnswers,
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._remembered = remembered
        self._lifetimes = lifetimes
        self._longest = max(lifetimes.outage, 2 * lifetimes.passed, 2 * lifetimes.tag)
        """No answer is used at a greater age."""
        self._recorder = recorder
        self.clock = clock
        self._shared = shared
        self._flights = Flights(self._fly, clock)
        self._generation = 0
        self._revision = 0
        """Counts the changes of answers before their lifetimes are over."""

    def recall(self, account: str, repositories: Sequence[str], query: Query, *, stores: bool) -> Answer | None:
        """Return an answer that may be used without asking Anchore first; refresh it beside the review if it is due.

        ``repositories`` are the names of the image's repository that Anchore may know. ``stores`` also puts what is
        refreshed into the shared store.
        """
        key = self._key(account, query)
        known = self._known(key, repositories)
        if known is None:
            return None
        freshness = known.freshness(self.clock())
        if freshness is Freshness.REFRESHING:
            self._flights.refresh(key, self._accounts[account].gate, self._generation, stores=stores)
        return known if freshness else None

    @property
    def most_bytes(self) -> int:
        """The most bytes that the answers may take."""
        return self._remembered.most_bytes

    def state(self, account: str) -> State:
        """Return a value that changes when ``recall`` may return other answers before their lifetimes are over."""
        known = self._accounts[account]
        return State(self._revision, known.anchore.identity, known.policies.revision)

    async def ask(
        self, account: str, repositories: Sequence[str], query: Query, asker: Asker, subject: Hashable = None
    ) -> Outcome:
        """Ask Anchore, together with all other reviews that have the same question. Errors are returned, not raised.

        If Anchore cannot be asked, an answer that is not too old stands in, marked as stale. If the load of the asker's
        own namespace is the reason, none does, and the error is AnchoreBusy: an author must not be able to prolong a
        pass, or to be admitted by ``onError``. A review by hand admits nothing, so its load is no one's fault. Calls
        about the same ``subject``, an image with several names, are no load.
        """
        if isinstance(query, Check):
            await self._accounts[account].policies.first(min(FIRST_POLL_SECONDS, asker.deadline.left()))
        key = self._key(account, query)
        known = self._remembered.get(key)
        if known is not None and known.at > asker.deadline.began and not known.is_doubted:
            return known  # asked for another review while this one waited
        is_hurried = asker.namespace != BACKGROUND and self._standing_in(key, repositories)
        patience = PATIENCE_SECONDS if is_hurried else float("inf")
        outcome = await self._outcome(account, key, asker, patience, subject)
        if isinstance(outcome, Answer):
            return outcome
        if isinstance(outcome, AnchoreBusy) and asker.namespace == BY_HAND:
            outcome = DeadlineExceeded(str(outcome))
        if isinstance(outcome, DeadlineExceeded) and asker.was_held_up:
            return AnchoreBusy()
        if not _is_outage(outcome):
            return outcome
        current = self._key(account, query)
        if current != key and asker.deadline.left() > 0:
            return await self.ask(
                account, repositories, query, asker, subject
            )  # what was known before does not count any more
        return self._standing_in(current, repositories) or outcome

    def has_fresh(self, account: str, query: Query) -> bool:
        """Return whether an answer is remembered that is still fresh."""
        known = self._remembered.get(self._key(account, query))
        return known is not None and known.freshness(self.clock()) is Freshness.FRESH

    def know_by_digest(self, account: str, digest: str, known: Answer, namespace: str) -> None:
        """Remember a record that was found by another name as the answer to a look-up by its list's digest.

        It is as old as the answer that it comes from. An answer of Anchore's own that is still fresh stays.
        """
        if known.is_stale or self.has_fresh(account, ByDigest(digest)):
            return
        key = self._key(account, ByDigest(digest))
        found = answer(key.query, known.value, known.at, self._lifetimes)
        if found.freshness(self.clock()) is Freshness.FRESH and not known.is_doubted:
            self._recorder.forgotten(
                self._remembered.keep(key, found, owner=namespace, dead_before=self.clock() - self._longest)
            )
            self._record_size()

    def expect_checks(self, account: str) -> None:
        """Begin to follow the versions of the account's policies: its results will be needed."""
        self._accounts[account].policies.start()

    def doubt(self, account: str, *, full_tag: str | None = None, digest: str | None = None) -> None:
        """Ask Anchore about these answers before they are used again; without tag and digest, about all of the account.

        They may still stand in during an outage. What Anchore reports as changed can only make answers older.
        """
        self._remembered.doubt(account, full_tag, digest, self.clock())
        self._revision += 1

    async def aclose(self) -> None:
        """End the questions that are under way, and stop following the policies."""
        await self._flights.aclose()
        for account in self._accounts.values():
            await account.policies.aclose()

    def forget(self) -> int:
        """Forget every answer, also those that are still under way, and load no older one from the shared store.

        Return the number of answers that were remembered.
        """
        forgotten = len(self._remembered)
        self._generation += 1
        self._revision += 1
        self._shared.forget()
        self._flights.forget()
        self._remembered.clear()
        self._record_size()
        return forgotten

    def _key(self, account: str, query: Query) -> Key:
        known = self._accounts[account]
        version = known.policies.version(query.policy) if isinstance(query, Check) else None
        return Key(account, known.anchore.identity, query, version)

    async def _outcome(self, account: str, key: Key, asker: Asker, patience: float, subject: Hashable) -> Outcome:
        """Wait for the answer until the deadline, or as long as patience lasts."""
        seconds = asker.deadline.left()
        if seconds <= 0:
            return DeadlineExceeded("no time was left for a call to Anchore")
        if self._flights.is_closed:
            return AnchoreUnavailable("the controller is shutting down")
        flight = self._flights.get(key)
        if flight is None or self._remembered.is_doubted(key, flight.asked_at):
            gate, namespaces = self._accounts[account].gate, {asker.namespace: self.clock() + seconds}
            flight = Flight(key, gate, self._generation, namespaces, subject, loads=asker.loads)
            self._flights.start(flight)
        else:
            self._recorder.coalesced(account)
            self._flights.join(flight, asker.namespace, seconds)
        flight.stores = flight.stores or asker.stores
        return await self._flights.wait(flight, asker, patience)

    def _known(self, key: Key, repositories: Sequence[str]) -> Answer | None:
        """Return what is remembered. An unknown name of a tag counts longer while another of its names is known."""
        known = self._remembered.get(key)
        if known is None or not known.is_absent or not isinstance(key.query, ByTag | Check):
            return known
        tag = key.query.full_tag.rpartition(":")[2]
        others = (structs.replace(key.query, full_tag=f"{name}:{tag}") for name in repositories)
        is_known = any(self._is_usable(structs.replace(key, query=other)) for other in others)
        return known_elsewhere(known, self._lifetimes) if is_known else known

    def _is_usable(self, key: Key) -> bool:
        """Return whether a final answer is remembered that may be used, or may at least stand in."""
        known = self._remembered.get(key)
        return known is not None and known.is_final and self.clock() < max(known.refresh_until, known.usable_until)

    def _standing_in(self, key: Key, repositories: Sequence[str]) -> Answer | None:
        """Return the answer that may stand in during an outage. A policy's result needs its version to be known."""
        known = self._known(key, repositories)
        if known is None or self.clock() >= known.usable_until:
            return None
        if isinstance(key.query, Check) and key.policy_version is None:
            return None
        return structs.replace(known, is_stale=True)

    async def _fly(self, flight: Flight) -> Outcome:
        """Ask one question, of the other replicas or of Anchore."""
        known = self._accounts[flight.key.account]
        try:
            return await self._shared_answer(known, flight) or await self._asked(known, flight)
        except EvaluationError as error:
            if known.gate.is_in_doubt:
                known.policies.hurry()
            return _bare(error)
        except Exception:
            logger.exception("asking Anchore about %s failed unexpectedly", flight.key.query)
            return EvaluationError(UNEXPECTED)
        finally:
            if flight.is_claimed:
                self._shared.end_claim(flight.key)

    async def _asked(self, known: Account, flight: Flight) -> Answer:
        """Ask Anchore, and remember its answer."""
        query = flight.key.query
        async with known.gate.turn(flight.line_up(self.clock())):
            flight.has_begun = True
            flight.asked_at = self.clock()
            value = await _asked(known.anchore, query, Deadline.after(FLIGHT_SECONDS, self.clock))
        found = answer(query, value, flight.asked_at, self._lifetimes)
        if self._keep(known, flight, found) and flight.stores:
            self._shared.put(flight.key, found)
        return found

    async def _shared_answer(self, known: Account, flight: Flight) -> Answer | None:
        """Return the answer of another replica, also of one that asks now. None if this replica has to ask."""
        if not flight.loads:
            return None
        found = await self._stored(known, flight)
        if found is not None:
            return found
        seconds = min(flight.namespaces.values()) - self.clock()
        flight.is_claimed = flight.stores and await self._shared.claim(flight.key, seconds)
        if flight.is_claimed:
            return None
        return await self._shared.awaited(flight.key, partial(self._stored, known, flight), seconds)

    async def _stored(self, known: Account, flight: Flight) -> Answer | None:
        """Return the answer of the shared store, if it is fresh. An older one is kept: it may have to stand in."""
        loaded = await self._shared.load(flight.key, max(flight.namespaces.values()) - self.clock())
        if loaded is None:
            return None
        ours = self._remembered.get(flight.key)
        if ours is not None and ours.at >= loaded.at:
            return None  # an older entry was written late or put back, and may contradict what we know since
        found = self._remembered.heeding_doubts(flight.key, loaded)
        is_kept = self._keep(known, flight, found)
        return found if is_kept and found.freshness(self.clock()) is Freshness.FRESH else None

    def _keep(self, known: Account, flight: Flight, found: Answer) -> bool:
        """Remember an answer, unless it belongs to another generation, account or version than it was asked for."""
        key = flight.key
        if flight.generation != self._generation or key.identity != known.anchore.identity:
            return False
        if isinstance(found.value, PolicyEvaluation) and key.policy_version and found.value.policy:
            policy, _ = key.policy_version
            if found.value.policy != policy:  # another policy has become the active one
                known.policies.hurry()
                return False
        before = self._remembered.get(key)
        now = self.clock()
        # An absent name may count for longer than its own lifetime, see `known_elsewhere`.
        if before is not None and (before.is_absent or before.freshness(now) is Freshness.FRESH):
            self._revision += 1
        owner = next(iter(flight.namespaces))
        self._recorder.forgotten(self._remembered.keep(key, found, owner=owner, dead_before=now - self._longest))
        self._record_size()
        return True

    def _record_size(self) -> None:
        self._recorder.remembered(len(self._remembered), self._remembered.bytes)


async def _asked(anchore: Anchore, query: Query, deadline: Deadline) -> Value:
    match query:
        case ByTag(full_tag):
            return await anchore.by_tag(full_tag, deadline)
        case ByDigest(digest):
            return await anchore.by_digest(digest, deadline)
        case Check(digest, full_tag, policy):
            evaluation = await anchore.check(digest, full_tag, policy, deadline)
            if isinstance(evaluation, AnalysisState):
                return evaluation
            return replace(evaluation, repository=repository_of(full_tag))


def _is_outage(error: EvaluationError) -> bool:
    # An image's author decides how large Anchore's answer about it is, and how much he asks for at once.
    return isinstance(error, _OUTAGES) and not isinstance(error, AnchoreResponseTooLarge | ImageNotReached)


def _bare(error: EvaluationError) -> EvaluationError:
    """Return an error without its frames: in a cycle with the task, those hold the response, maybe of megabytes."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
