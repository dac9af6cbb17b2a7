"""The path from a review to its verdict, as the product composes it, over an Anchore in memory and a manual clock."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from anchore_admission.core.facts import Finding, ImageFacts, PolicyEvaluation, Submission, SubmissionState
from anchore_admission.core.freshness import Lifetimes
from anchore_admission.core.images import JudgedImage
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.core.question import question_about
from anchore_admission.core.reference import parse
from anchore_admission.core.rules.book import Rule
from anchore_admission.core.verdict import ReviewVerdict
from anchore_admission.errors import AnalysisRefused
from anchore_admission.models.configuration import Configuration
from anchore_admission.models.review import encode_request
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.hook import DecisionHook
from anchore_admission.ports.namespaces import NamespaceLabels
from anchore_admission.ports.store import FactStore
from anchore_admission.ports.telemetry import Origin
from anchore_admission.services.reviews.facts import FactGathering
from anchore_admission.services.reviews.hooking import Hooking
from anchore_admission.services.reviews.judging import Judging
from anchore_admission.services.reviews.pinning import Pinning
from anchore_admission.services.reviews.recent import Recent
from anchore_admission.services.reviews.review import Reviews
from anchore_admission.services.reviews.rules import CurrentRules, Rules
from anchore_admission.services.reviews.submissions import Schedule, Submissions
from support.builders import UID, Json, request, rule
from support.fakes import ACTIVE_POLICY, FakeAnchore, FakeRecorder, ManualClock, digest_of, settled
from support.memory import FORGETFUL, memory_over

REGISTRY = "registry.example.com"
APP = f"{REGISTRY}/app:1"
BAD = f"{REGISTRY}/bad:1"
CONTROLLER = "system:serviceaccount:kube-system:replicaset-controller"
HOUR = 3600.0
DEADLINE = 8.0
"""Seconds that a review has."""
REQUEST = AnalysisRequest(APP)
ANSWERED = Submission(SubmissionState.ANSWERED, digest_of(REQUEST.full_tag))
REQUESTED = Submission(SubmissionState.REQUESTED)
DROPPED = Submission(SubmissionState.DROPPED)
NO_PULL = AnalysisRefused("Anchore cannot pull it: registry needs credentials")


def tags(count: int, registry: str = "registry.example.com") -> list[AnalysisRequest]:
    return [AnalysisRequest(f"{registry}/other:{number}") for number in range(count)]


def defaults(mode: str, **more: Any) -> Json:
    """A configuration without rules."""
    return {"defaults": {"mode": mode, **more}}


@dataclass
class ReviewSetup:
    """Submissions, fact gathering and reviews; ``settings`` is what the configuration file says.

    Submissions wait in the queue until ``running``.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    schedule: Schedule = field(default_factory=Schedule)
    concurrency: int = 32
    passive_wait: float = HOUR
    anchore: FakeAnchore = field(default_factory=FakeAnchore)
    other: FakeAnchore = field(default_factory=FakeAnchore)
    recorder: FakeRecorder = field(default_factory=FakeRecorder)
    clock: ManualClock = field(default_factory=ManualClock.of_loop)
    recent: Recent = field(default_factory=Recent)
    lifetimes: Lifetimes = FORGETFUL
    bounds: tuple[int, int] = (10_000, 10_000_000)
    policy_interval: float = 0.0
    store: FactStore | None = None
    now: float = 0.0
    """The Unix time, which exemptions are compared with."""
    namespaces: NamespaceLabels | None = None
    hook: DecisionHook | None = None
    """The decision hook, which is asked if ``settings`` have the section ``opa``."""

    def __post_init__(self) -> None:
        self.accounts = {"default": self.anchore, "other": self.other}
        self.submissions = Submissions(
            self.accounts, self.recorder, self.schedule, clock=self.clock, sleep=self.clock.sleep, recent=self.recent
        )
        self.memory = memory_over(
            self.accounts,
            self.recorder,
            lifetimes=self.lifetimes,
            bounds=self.bounds,
            concurrency=self.concurrency,
            policy_interval=self.policy_interval,
            store=self.store,
            clock=self.clock,
            sleep=self.clock.sleep,
        )
        self.gathering = self.gathering_over(self.submissions)
        configuration = Configuration.model_validate(self.settings)
        rules = CurrentRules(Rules.of(configuration))
        hooking = Hooking(self.hook, configuration.opa) if self.hook and configuration.opa else None
        judging = Judging(self.gathering, self.namespaces, lambda: self.now)
        self.reviews = Reviews(rules, judging, self.recorder, hooking=hooking)
        self.pinning = Pinning(rules, judging, self.gathering, self.recorder)

    def gathering_over(self, submissions: Submissions) -> FactGathering:
        return FactGathering(
            self.memory, submissions, self.recorder, concurrency=self.concurrency, passive_wait=self.passive_wait
        )

    def submit(
        self,
        request: AnalysisRequest = REQUEST,
        namespace: str = "shop",
        *,
        needed: bool = True,
        account: str = "default",
    ) -> Submission:
        return self.submissions.submit(account, request, namespace, needed=needed)

    def resolved(self, *requests: AnalysisRequest, account: str = "default") -> str | None:
        """Return the digest that is remembered of a tag under these names."""
        found = self.submissions.resolved(account, [request.full_tag for request in requests or (REQUEST,)])
        return found.digest if found else None

    async def responded(
        self, request: AnalysisRequest = REQUEST, namespace: str = "shop", *, needed: bool = True
    ) -> Submission:
        """Submit, let Anchore respond, and return what is known then."""
        self.submit(request, namespace, needed=needed)
        await settled()
        return self.submit(request, namespace, needed=False)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.submissions.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @property
    def submitted(self) -> list[str]:
        return self.anchore.subjects("submit")

    def deadline(self, seconds: float = DEADLINE) -> Deadline:
        return Deadline.after(seconds, self.clock)

    async def facts(
        self,
        *images: str,
        by: Rule | None = None,
        side_effects: bool = True,
        namespace: str = "shop",
        seconds: float = DEADLINE,
    ) -> list[ImageFacts]:
        """The facts about each image, in order, all judged by one rule."""
        judged = [JudgedImage(image, (), parse(image), by or rule()) for image in images]
        asked = [question for image in judged if (question := question_about(image))]
        assert len(asked) == len(images), "skip asks nothing"
        return await self.gathering.facts(asked, self.deadline(seconds), namespace=namespace, side_effects=side_effects)

    async def late_facts(self, *images: str, by: Rule | None = None) -> list[ImageFacts]:
        """Return the facts known when the deadline has passed; assert that none are returned before."""
        asking = asyncio.create_task(self.facts(*images, by=by))
        await self.clock.advance(DEADLINE - 0.1)
        assert not asking.done()
        await self.clock.advance(0.1)
        assert asking.done()
        return await asking

    @asynccontextmanager
    async def queued(self) -> AsyncIterator[None]:
        """Send the submissions that the block has queued."""
        yield
        async with self.running():
            assert await self.submissions.drain(HOUR) == []

    @property
    def operations(self) -> list[str]:
        return [call.operation for call in self.anchore.calls]

    async def review(
        self,
        new: Any,
        *,
        old: Any = None,
        operation: str = "",
        subresource: str | None = None,
        user: str = "jane",
        groups: tuple[str, ...] = (),
        dry_run: bool = False,
        origin: Origin = Origin.ADMISSION,
        namespace: str = "shop",
    ) -> ReviewVerdict:
        """Review an object as the API server would send it; an old object makes it an UPDATE."""
        user_info = {"username": user, "groups": list(groups)}
        about = {"operation": operation or ("UPDATE" if old else "CREATE"), "subResource": subresource}
        about["namespace"] = namespace
        asked = request(new, name=None, oldObject=old, userInfo=user_info, dryRun=dry_run, uid=UID, **about)
        body = partial(encode_request, asked, new)
        return await self.reviews.review(asked, self.deadline(), origin=origin, body=body)

    def fail_policy(self, full_tag: str, *findings: Finding) -> None:
        """Let an image that is held fail the active policy."""
        found = findings or (Finding("dockerfile", "instruction", "x", "no HEALTHCHECK"),)
        for anchore in self.accounts.values():
            anchore.evaluate(digest_of(full_tag), PolicyEvaluation(False, ACTIVE_POLICY, findings=found))

    async def late_review(self, new: Any, seconds: float = DEADLINE) -> ReviewVerdict:
        """Return the verdict after this much time; assert that it does not come earlier."""
        reviewing = asyncio.create_task(self.review(new))
        await self.clock.advance(seconds - 0.1)
        assert not reviewing.done()
        await self.clock.advance(0.1)
        assert reviewing.done()
        return await reviewing
