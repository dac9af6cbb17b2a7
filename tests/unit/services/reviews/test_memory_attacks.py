"""Attempts to turn what is remembered, or the bounds around it, against a verdict or against another tenant."""

import asyncio
import gc
from dataclasses import dataclass

import pytest

from anchore_admission.core.facts import Finding, ImageRecord, PolicyEvaluation, PolicyVersion
from anchore_admission.core.freshness import Lifetimes
from anchore_admission.errors import AnchoreRefused, AnchoreUnavailable, DeadlineExceeded, ImageNotReached
from anchore_admission.ports.anchore import Identity
from anchore_admission.ports.deadline import Deadline
from anchore_admission.services.reviews import facts as gathering
from anchore_admission.services.reviews.policy_versions import PolicyVersions
from support.builders import pod, rule
from support.fakes import ACTIVE_POLICY, PASS, FakeAnchore, settled
from support.review_setup import APP, BAD, DEADLINE, REGISTRY, ReviewSetup, defaults

OUTAGE = AnchoreUnavailable("no connection")
QUIET = rule(request_analysis=False)
SLOW = f"{REGISTRY}/slow:1"


@pytest.fixture
async def setup() -> ReviewSetup:
    setup = ReviewSetup(lifetimes=Lifetimes(), policy_interval=30.0)
    setup.anchore.store(APP)
    return setup


# Tags that are submitted again


async def due_for_submission(setup: ReviewSetup) -> None:
    """Let APP be known, and its tag be due for another submission."""
    await setup.facts(APP)
    await setup.clock.advance(550)
    await setup.facts(APP)
    await setup.clock.advance(55)


async def test_an_outage_makes_no_storm_of_look_ups_for_tags_that_are_due(setup: ReviewSetup) -> None:
    async with setup.running():
        await due_for_submission(setup)
        await setup.clock.advance(70)
        setup.anchore.fail_all(OUTAGE)
        before = len(setup.anchore.subjects("by_tag"))
        (facts,) = await setup.facts(APP)
        await settled()

    assert facts.is_stale
    assert len(setup.anchore.subjects("by_tag")) <= before + 2


@dataclass(slots=True)
class SlowAnchore(FakeAnchore):
    """An Anchore that takes its time for each look-up."""

    seconds: float = 0.0

    async def by_tag(self, full_tag: str, deadline: Deadline) -> ImageRecord | None:
        await asyncio.sleep(self.seconds)
        return await FakeAnchore.by_tag(self, full_tag, deadline)


async def test_a_slow_anchore_does_not_hide_that_a_tag_has_moved() -> None:
    anchore = SlowAnchore()
    setup = ReviewSetup(lifetimes=Lifetimes(), policy_interval=30.0, anchore=anchore)
    anchore.store(APP)
    async with setup.running():
        await due_for_submission(setup)
        anchore.seconds = 6
        await setup.facts(APP)
        for _ in range(4):
            await setup.clock.advance(6)

    assert setup.submitted == [APP] * 2


# Memory


async def test_facts_kept_whole_do_not_outgrow_the_memory() -> None:
    """One digest under many names that its author makes up, each with findings of its own."""
    setup = ReviewSetup(lifetimes=Lifetimes(), bounds=(10_000, 100_000), concurrency=200)
    record = setup.anchore.store(BAD)
    findings = tuple(Finding("vulnerabilities", "package", f"CVE-{n}", "x" * 1000) for n in range(20))
    setup.anchore.evaluate(record.digest, PolicyEvaluation(False, ACTIVE_POLICY, findings=findings))
    for number in range(100):
        image = f"{REGISTRY}/copy-{number}@{record.digest}"
        for _ in range(2):
            (facts,) = await setup.facts(image)
            assert facts.evaluations
    gc.collect()
    kept = sum(isinstance(value, PolicyEvaluation) and value.findings is findings for value in gc.get_objects())

    assert kept < 20


async def test_flood_of_one_namespace_evicts_no_answers_of_another() -> None:
    setup = ReviewSetup(lifetimes=Lifetimes(), bounds=(20, 10_000_000), policy_interval=30.0)
    setup.anchore.store(APP)
    await setup.facts(APP, by=QUIET, namespace="shop")
    for number in range(100):
        await setup.facts(f"{REGISTRY}/flood:{number}", by=QUIET, namespace="flood")
    setup.anchore.fail_all(OUTAGE)
    await setup.clock.advance(130)
    (facts,) = await setup.facts(APP, by=QUIET, namespace="shop")

    assert (facts.is_stale, facts.evaluations) == (True, (PASS,))


# Time


async def test_the_last_of_many_images_is_not_admitted_because_time_ran_out() -> None:
    setup = ReviewSetup(settings=defaults("strict", onError="allow", requestAnalysis=False), concurrency=2)
    for image in (SLOW, BAD):
        setup.anchore.store(image)
    setup.fail_policy(BAD)
    slow = setup.anchore.hang("by_tag", subject=SLOW)
    setup.anchore.hang("by_tag", subject=BAD)
    reviewing = asyncio.create_task(setup.review(pod(SLOW, BAD)))
    await setup.clock.advance(DEADLINE - 0.1)
    slow.set()
    await setup.clock.advance(0.2)

    assert not (await reviewing).allowed


async def test_the_last_of_many_images_has_no_older_answer_because_time_ran_out() -> None:
    setup = ReviewSetup(lifetimes=Lifetimes(), concurrency=2, policy_interval=30.0)
    for image in (SLOW, APP):
        setup.anchore.store(image)
    await setup.facts(APP, by=QUIET)
    await setup.clock.advance(200)
    slow = setup.anchore.hang("by_tag", subject=SLOW)
    setup.anchore.hang("by_tag", subject=APP)
    asking = asyncio.create_task(setup.facts(SLOW, APP, by=QUIET))
    await setup.clock.advance(DEADLINE - 0.1)
    slow.set()
    await setup.clock.advance(0.2)

    assert [type(facts.error) for facts in await asking] == [type(None), ImageNotReached]


async def test_one_namespace_does_not_take_all_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one worker instead of many, another namespace's Pods would not be looked up in time."""
    monkeypatch.setattr(gathering, "_WORKERS", 20)
    setup = ReviewSetup(concurrency=64)
    setup.anchore.hang("by_tag")
    flooding = [
        asyncio.create_task(setup.facts(*(f"{REGISTRY}/flood-{pods}:{n}" for n in range(8)), namespace="flood"))
        for pods in range(8)
    ]
    await settled()
    before = setup.anchore.in_flight
    victim = asyncio.create_task(setup.facts(*(f"{REGISTRY}/shop:{n}" for n in range(5)), namespace="shop"))
    await settled()
    began = setup.anchore.in_flight - before
    await setup.clock.advance(DEADLINE)
    await asyncio.gather(*flooding)

    assert began == 5
    assert [type(facts.error) for facts in await victim] == [DeadlineExceeded] * 5


# Policies and accounts that change


@dataclass(slots=True)
class LateAnchore(FakeAnchore):
    """An Anchore whose list of policies takes its time to arrive."""

    late: asyncio.Event | None = None
    error: AnchoreRefused | None = None

    async def policies(self, deadline: Deadline) -> tuple[PolicyVersion, ...]:
        late, error, listed = self.late, self.error, await FakeAnchore.policies(self, deadline)
        if late:
            await late.wait()
        if error:
            raise error
        return listed


@pytest.mark.parametrize("error", [None, AnchoreRefused("401")], ids=["list", "refusal"])
async def test_a_response_about_the_policies_that_arrives_late_does_not_undo_a_newer_one(
    error: AnchoreRefused | None,
) -> None:
    late = asyncio.Event()
    anchore = LateAnchore(late=late, error=error)
    policies = PolicyVersions("default", anchore, 30.0, clock=lambda: 0.0, report_outage=lambda _: None)
    polling = asyncio.create_task(policies.poll())
    await settled()
    anchore.late = anchore.error = None
    anchore.change_policy(ACTIVE_POLICY)
    await policies.poll()
    new = policies.version(None)
    late.set()
    await polling

    assert new is not None
    assert policies.version(None) == new


@pytest.mark.parametrize("change", ["credentials", "policy"])
async def test_nothing_of_before_a_change_stands_in_after_it(change: str) -> None:
    """The change is noticed while a review waits for a check."""
    setup = ReviewSetup(lifetimes=Lifetimes(), policy_interval=1.0)
    setup.anchore.store(APP)
    await setup.facts(APP, by=QUIET)
    await setup.clock.advance(200)
    setup.anchore.hang("check")
    asking = asyncio.create_task(setup.facts(APP, by=QUIET))
    await settled()
    if change == "credentials":
        setup.anchore.identity = Identity("fake", 2)
    else:
        setup.anchore.change_policy(ACTIVE_POLICY)
    await setup.clock.advance(1.5)
    await setup.clock.advance(DEADLINE)

    (facts,) = await asking
    assert not facts.is_stale
    assert isinstance(facts.error, DeadlineExceeded)


async def test_a_review_joins_no_question_from_before_a_hint(setup: ReviewSetup) -> None:
    answer = setup.anchore.hang("by_tag")
    before = asyncio.create_task(setup.facts(APP, by=QUIET))
    await setup.clock.advance(1)
    setup.memory.doubt("default", full_tag=APP)
    after = [asyncio.create_task(setup.facts(APP, by=QUIET)) for _ in range(3)]
    await setup.clock.advance(1)
    assert setup.anchore.subjects("by_tag") == [APP] * 2

    answer.set()
    await asyncio.gather(before, *after)


async def test_a_review_that_began_before_a_hint_uses_no_answer_from_before_it() -> None:
    setup = ReviewSetup(lifetimes=Lifetimes(), policy_interval=30.0, concurrency=2)
    for image in (SLOW, APP):
        setup.anchore.store(image)
    slow = setup.anchore.hang("by_tag", subject=SLOW)
    asking = asyncio.create_task(setup.facts(SLOW, APP, by=QUIET))
    await setup.clock.advance(1)
    await setup.facts(APP, by=QUIET, namespace="mail")
    await setup.clock.advance(1)
    setup.fail_policy(APP)
    setup.memory.doubt("default")
    slow.set()

    assert not (await asking)[1].evaluations[0].passed
