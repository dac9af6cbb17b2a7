"""What is remembered of Anchore's answers, for how long, and what ends it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from anchore_admission.core.answers import ByTag, Value
from anchore_admission.core.decision import Decision
from anchore_admission.core.facts import AnalysisState, ImageFacts, PolicyEvaluation
from anchore_admission.core.freshness import Lifetimes
from anchore_admission.core.rules.book import Rule
from anchore_admission.errors import (
    AnchoreBusy,
    AnchoreRefused,
    AnchoreResponseInvalid,
    AnchoreResponseTooLarge,
    AnchoreUnavailable,
    DeadlineExceeded,
    EvaluationError,
    PolicyNotEvaluated,
    PolicyNotFound,
)
from anchore_admission.ports.anchore import Identity
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.store import FactStore, StoredAnswer
from anchore_admission.ports.telemetry import BreakerState, Origin, StoreClaim
from anchore_admission.services.reviews.breaker import FAILURES
from anchore_admission.services.reviews.flights import Asker
from anchore_admission.services.reviews.policy_versions import HURRY_SECONDS
from support.builders import pod, rule
from support.fakes import ACTIVE_POLICY, PASS, digest_of, settled
from support.memory import BOOT
from support.review_setup import APP, BAD, DEADLINE, REGISTRY, ReviewSetup, defaults

OUTAGE = AnchoreUnavailable("no connection")
QUIET = rule(request_analysis=False)
"""Strict, without submissions, which these tests are not about."""
FAILED = PolicyEvaluation(False, ACTIVE_POLICY)
OFFICIAL = "nginx:1"
LONGEST_PAUSE = 0.05
"""Seconds after which a replica that waits for another one's answer has looked at the store again."""
SHORT, LONG = "docker.io/nginx:1", "docker.io/library/nginx:1"
"""The names that Anchore may know an official image of Docker Hub by."""


@pytest.fixture
async def setup() -> ReviewSetup:
    setup = ReviewSetup(lifetimes=Lifetimes(), policy_interval=30.0)
    setup.anchore.store(APP)
    return setup


async def ask(setup: ReviewSetup, *images: str, by: Rule = QUIET) -> list[ImageFacts]:
    return await setup.facts(*images or (APP,), by=by)


async def after(setup: ReviewSetup, seconds: float) -> ImageFacts:
    """The facts about APP once this time has passed."""
    await setup.clock.advance(seconds)
    (facts,) = await ask(setup)
    return facts


def questions(setup: ReviewSetup) -> list[str]:
    """The questions asked about images."""
    return [operation for operation in setup.operations if operation not in {"policies", "submit"}]


async def test_a_known_image_is_not_asked_about_again(setup: ReviewSetup) -> None:
    first = await ask(setup)
    again = [await after(setup, 1) for _ in range(10)]

    assert [first[0]] * 10 == again
    assert questions(setup) == ["by_tag", "check"]
    assert [use for _, use in setup.recorder.uses] == ["asked"] + ["fresh"] * 10


async def test_rules_are_applied_anew_and_share_the_facts(setup: ReviewSetup) -> None:
    await ask(setup)
    (facts,) = await ask(setup, by=rule(name="other", require_mapping=True, request_analysis=False))

    assert facts.evaluations == (PASS,)
    assert questions(setup) == ["by_tag", "check"]


async def test_another_policy_is_another_question(setup: ReviewSetup) -> None:
    setup.anchore.change_policy("other")
    await ask(setup)
    (facts,) = await ask(setup, by=rule(policy="other", request_analysis=False))

    assert facts.evaluations[0].policy == "other"
    assert questions(setup) == ["by_tag", "check", "check"]


async def test_an_answer_past_its_lifetime_is_used_once_more_and_refreshed(setup: ReviewSetup) -> None:
    await ask(setup)
    setup.anchore.hang("by_tag")
    setup.anchore.hang("check")
    facts = await after(setup, 59.9)  # the tag's lifetime is over, the pass's is not

    assert (facts.error, facts.is_stale) == (None, False)
    assert facts.age == pytest.approx(59.9)
    await settled()
    assert questions(setup) == ["by_tag", "check", "by_tag"]
    assert setup.recorder.uses[-1] == ("default", "refreshing")


async def test_a_steady_rollout_never_waits_and_learns_of_changes(setup: ReviewSetup) -> None:
    record = setup.anchore.store(APP)
    await ask(setup)
    await after(setup, 59.9)
    setup.anchore.evaluate(record.digest, FAILED)
    facts = await after(setup, 0.2)
    assert facts.evaluations == (PASS,), "used once more"

    await settled()
    facts = await after(setup, 0)
    assert facts.evaluations == (FAILED,)


async def test_an_answer_of_twice_its_lifetime_is_asked_for_first(setup: ReviewSetup) -> None:
    record = setup.anchore.store(APP)
    await ask(setup)
    setup.anchore.evaluate(record.digest, FAILED)
    facts = await after(setup, 120)

    assert facts.evaluations == (FAILED,)


@pytest.mark.parametrize(
    ("state", "evaluation", "seconds"),
    [
        (AnalysisState.ANALYZED, FAILED, 20),
        (AnalysisState.ANALYZED, replace(FAILED, problems=("broken",)), 3),
        (AnalysisState.ANALYZING, None, 3),
        (AnalysisState.FAILED, None, 3),
        (None, None, 3),
    ],
    ids=["fail", "problem", "pending", "analysis failed", "unknown"],
)
async def test_what_denies_is_asked_for_again_before_it_denies_once_more(
    setup: ReviewSetup, state: AnalysisState | None, evaluation: PolicyEvaluation | None, seconds: float
) -> None:
    setup.anchore.forget(APP)
    if state:
        record = setup.anchore.store(APP, state)
        if evaluation:
            setup.anchore.evaluate(record.digest, evaluation)
    await ask(setup)
    asked = questions(setup)
    await after(setup, seconds - 0.1)
    assert questions(setup) == asked

    record = setup.anchore.store(APP)
    setup.anchore.evaluate(record.digest, PASS)
    facts = await after(setup, 0.1)
    assert facts.evaluations == (PASS,)


@pytest.mark.parametrize(
    "error",
    [
        OUTAGE,
        DeadlineExceeded("late"),
        AnchoreResponseInvalid("not JSON"),
        PolicyNotEvaluated("the policy engine may be down"),
    ],
    ids=lambda error: error.code,
)
async def test_a_pass_stands_in_for_ten_minutes_while_anchore_cannot_be_asked(
    setup: ReviewSetup, error: EvaluationError
) -> None:
    await ask(setup)
    setup.anchore.fail_all(error)
    facts = await after(setup, 599)

    assert (facts.error, facts.is_stale, facts.evaluations) == (None, True, (PASS,))
    assert facts.age == pytest.approx(599)
    assert setup.recorder.uses[-1] == ("default", "stale")
    facts = await after(setup, 1)
    assert (facts.error, facts.is_stale) == (error, False)


@pytest.mark.parametrize(
    "error",
    [AnchoreRefused("401"), AnchoreResponseTooLarge("too large"), PolicyNotFound("no such policy")],
    ids=lambda error: error.code,
)
@pytest.mark.parametrize("operation", ["by_tag", "check"])
async def test_a_refusal_extends_nothing(setup: ReviewSetup, operation: str, error: EvaluationError) -> None:
    await ask(setup)
    setup.anchore.fail(operation, error)
    facts = await after(setup, 130)

    assert (facts.error, facts.is_stale) == (error, False)


async def test_a_fail_stands_in_too(setup: ReviewSetup) -> None:
    """An outage must not admit by ``onError: allow`` what is known to fail."""
    setup.anchore.evaluate(setup.anchore.store(APP).digest, FAILED)
    await ask(setup)
    setup.anchore.fail_all(OUTAGE)
    facts = await after(setup, 300)

    assert (facts.evaluations, facts.is_stale) == ((FAILED,), True)


async def test_an_anchore_that_hangs_is_waited_for_only_a_moment_while_something_stands_in(setup: ReviewSetup) -> None:
    await ask(setup)
    await setup.clock.advance(200)
    setup.anchore.hang("by_tag")
    setup.anchore.hang("check")
    asking = asyncio.create_task(ask(setup))
    await setup.clock.advance(2.1)  # a moment for the look-up
    await setup.clock.advance(2.1)  # and one for the check

    assert asking.done()
    (facts,) = await asking
    assert (facts.is_stale, facts.evaluations) == (True, (PASS,))


async def test_nothing_stands_in_for_an_image_that_anchore_did_not_know(setup: ReviewSetup) -> None:
    await ask(setup, BAD)
    setup.anchore.fail_all(OUTAGE)
    await setup.clock.advance(10)
    (facts,) = await ask(setup, BAD)

    assert facts.error == OUTAGE


# Images of two names


@pytest.fixture
async def official(setup: ReviewSetup) -> ReviewSetup:
    """A setup that has been asked about an official image of Docker Hub, which Anchore holds under its short name."""
    setup.anchore.store(SHORT)
    await ask(setup, OFFICIAL)
    return setup


async def official_after(setup: ReviewSetup, seconds: float) -> ImageFacts:
    await setup.clock.advance(seconds)
    (facts,) = await ask(setup, OFFICIAL)
    return facts


def look_ups(setup: ReviewSetup) -> list[str]:
    return setup.anchore.subjects("by_tag")


async def test_a_name_that_is_not_held_is_remembered_as_long_as_the_tag(official: ReviewSetup) -> None:
    assert sorted(look_ups(official)) == [LONG, SHORT]
    await official_after(official, 29)
    assert len(look_ups(official)) == 2

    facts = await official_after(official, 30)  # used once more, and refreshed
    await settled()
    assert facts.evaluations
    assert sorted(look_ups(official)[2:]) == [LONG, SHORT]


async def test_an_image_of_two_names_stands_in(official: ReviewSetup) -> None:
    official.anchore.fail_all(OUTAGE)
    facts = await official_after(official, 599)

    assert (facts.error, facts.is_stale) == (None, True)
    assert (await official_after(official, 1)).error == OUTAGE


async def test_a_name_of_a_pending_image_is_asked_for_soon(setup: ReviewSetup) -> None:
    setup.anchore.store(SHORT, AnalysisState.ANALYZING)
    await ask(setup, OFFICIAL)
    await official_after(setup, 3)

    assert sorted(look_ups(setup)) == [LONG, LONG, SHORT, SHORT]


async def test_a_name_of_an_unknown_image_is_asked_for_soon(setup: ReviewSetup) -> None:
    await ask(setup, OFFICIAL)
    setup.anchore.store(LONG)

    assert (await official_after(setup, 3)).digest == digest_of(LONG)


async def test_a_tag_that_moves_to_the_other_name_is_seen(official: ReviewSetup) -> None:
    official.anchore.store(LONG, detected_at="2026-02-01T00:00:00Z")

    assert (await official_after(official, 29)).digest == digest_of(SHORT)
    await official_after(official, 2)
    await settled()
    assert (await official_after(official, 0)).digest == digest_of(LONG)


async def test_a_hint_about_a_name_that_is_not_held_is_heeded(official: ReviewSetup) -> None:
    official.anchore.store(LONG, detected_at="2026-02-01T00:00:00Z")
    official.memory.doubt("default", full_tag=LONG)

    assert (await official_after(official, 0)).digest == digest_of(LONG)


async def test_a_name_that_anchore_evaluates_nothing_by_stands_in_too(setup: ReviewSetup) -> None:
    """An Anchore that does not show its mappings is asked about both names, and may know only one."""
    record = setup.anchore.store(SHORT)
    setup.anchore.evaluate(record.digest, AnalysisState.UNKNOWN, tag=LONG)
    await ask(setup, OFFICIAL)
    assert len(setup.anchore.subjects("check")) == 2
    assert (await official_after(setup, 29)).error is None
    assert len(setup.anchore.subjects("check")) == 2

    setup.anchore.fail_all(OUTAGE)
    facts = await official_after(setup, 500)
    assert (facts.error, facts.is_stale, len(facts.evaluations)) == (None, True, 1)


# Policies


async def test_results_of_another_version_of_the_policy_are_not_used(setup: ReviewSetup) -> None:
    record = setup.anchore.store(APP)
    await ask(setup)
    setup.anchore.evaluate(record.digest, FAILED)
    setup.anchore.change_policy(ACTIVE_POLICY)
    await setup.clock.advance(34)  # the next poll, with its jitter
    (facts,) = await ask(setup)

    assert facts.evaluations == (FAILED,)


async def test_a_result_of_another_version_does_not_stand_in_either(setup: ReviewSetup) -> None:
    await ask(setup)
    setup.anchore.change_policy(ACTIVE_POLICY)
    await setup.clock.advance(34)
    setup.anchore.fail("check", OUTAGE)

    assert (await after(setup, 100)).error == OUTAGE


async def test_a_result_of_another_policy_than_the_active_one_is_not_remembered(setup: ReviewSetup) -> None:
    await ask(setup)
    setup.anchore.change_policy("other", active=True)
    setup.anchore.store(BAD)
    await ask(setup, BAD)
    asked = len(questions(setup))
    await setup.clock.advance(6)
    await ask(setup, BAD)
    assert questions(setup)[asked:] == ["check"]

    await settled()  # the policies have been asked for at once
    await ask(setup, BAD)
    await ask(setup, BAD)
    assert questions(setup)[asked:] == ["check"] * 2


@pytest.mark.parametrize(("error", "stands_in"), [(OUTAGE, True), (AnchoreRefused("403"), False)])
async def test_while_the_policies_are_refused_only_fresh_results_count(
    setup: ReviewSetup, error: EvaluationError, *, stands_in: bool
) -> None:
    await ask(setup)
    setup.anchore.fail("policies", error)
    await setup.clock.advance(34)
    (facts,) = await ask(setup)
    assert facts.error is None
    setup.anchore.fail("check", OUTAGE)
    facts = await after(setup, 100)

    assert facts.is_stale is stands_in


async def test_without_the_policies_versions_a_pass_is_remembered_while_it_is_fresh(setup: ReviewSetup) -> None:
    setup.anchore.fail("policies", AnchoreRefused("403"))
    await ask(setup)
    await after(setup, 29)
    assert questions(setup) == ["by_tag", "check"]

    await after(setup, 32)
    await settled()
    assert questions(setup).count("check") == 2


async def test_policies_that_could_not_be_listed_at_first_are_listed_soon(setup: ReviewSetup) -> None:
    """An outage shortly after the start must find results that stand in."""
    setup.anchore.fail("policies", OUTAGE)
    await ask(setup)
    setup.anchore.recover()
    await setup.clock.advance(6)
    await ask(setup)
    setup.anchore.fail_all(OUTAGE)

    assert (await after(setup, 100)).is_stale


# Generations


async def test_new_credentials_begin_anew(setup: ReviewSetup) -> None:
    await ask(setup)
    setup.anchore.identity = Identity("fake", 2)
    setup.anchore.fail_all(OUTAGE)
    (facts,) = await ask(setup)

    assert facts.error == OUTAGE


@pytest.mark.parametrize("change", ["forget", "credentials"])
async def test_an_answer_of_an_older_generation_is_dropped(setup: ReviewSetup, change: str) -> None:
    answer = setup.anchore.hang("by_tag")
    asking = asyncio.create_task(ask(setup))
    await settled()
    if change == "forget":
        setup.memory.forget()
    else:
        setup.anchore.identity = Identity("fake", 2)
    answer.set()
    await asking
    await ask(setup)

    assert questions(setup).count("by_tag") == 2


async def test_two_accounts_share_nothing(setup: ReviewSetup) -> None:
    await ask(setup)
    await ask(setup, by=rule(account="other", request_analysis=False))

    assert setup.other.subjects("by_tag") == [APP]


# Overload and outages


def flood(setup: ReviewSetup, images: int, namespace: str) -> list[asyncio.Task[list[ImageFacts]]]:
    return [
        asyncio.create_task(setup.facts(f"{REGISTRY}/{namespace}:{number}", by=QUIET, namespace=namespace))
        for number in range(images)
    ]


async def held_up(setup: ReviewSetup, by: str, *, images: int = 2) -> ImageFacts:
    """The facts about APP for a namespace, while Anchore hangs and another namespace, or the same, fills the lines."""
    setup.anchore.hang("by_tag")
    flooding = flood(setup, images, by)
    await settled()
    asking = asyncio.create_task(setup.facts(APP, by=QUIET, namespace="shop"))
    await setup.clock.advance(DEADLINE)
    (facts,) = await asking
    await asyncio.gather(*flooding)
    return facts


async def test_author_cannot_bring_about_no_verdict_by_flooding_his_namespace() -> None:
    facts = await held_up(ReviewSetup(lifetimes=Lifetimes(), concurrency=2), by="shop")
    assert type(facts.error) is AnchoreBusy


async def test_author_cannot_prolong_a_pass_by_flooding_his_namespace() -> None:
    setup = ReviewSetup(lifetimes=Lifetimes(), concurrency=2, policy_interval=30.0)
    setup.anchore.store(APP)
    await ask(setup)
    await setup.clock.advance(200)
    facts = await held_up(setup, by="shop")
    assert (type(facts.error), facts.is_stale) == (AnchoreBusy, False)


async def test_flood_of_other_namespaces_is_no_fault_of_this_one() -> None:
    setup = ReviewSetup(lifetimes=Lifetimes(), concurrency=2, policy_interval=30.0)
    setup.anchore.store(APP)
    await ask(setup)
    await setup.clock.advance(200)
    setup.anchore.hang("by_tag")
    others = flood(setup, 2, "mail") + flood(setup, 2, "bank")
    await settled()
    setup.anchore.hang("check")
    facts = await held_up(setup, by="market")
    assert (facts.error, facts.is_stale) == (None, True)
    await asyncio.gather(*others)


async def test_time_that_a_flood_took_from_a_review_counts_until_its_end() -> None:
    """The look-up comes through at the last moment, and the check then has no time."""
    setup = ReviewSetup(lifetimes=Lifetimes(), concurrency=2)
    setup.anchore.store(APP)
    answer = setup.anchore.hang("by_tag")
    setup.anchore.hang("check")
    flooding = flood(setup, 1, "shop")
    await settled()
    asking = asyncio.create_task(ask(setup))
    await setup.clock.advance(DEADLINE - 0.1)
    answer.set()
    await setup.clock.advance(0.1)

    (facts,) = await asking
    assert questions(setup)[-1] == "check"
    assert type(facts.error) is AnchoreBusy
    await asyncio.gather(*flooding)


async def test_shed_question_has_no_older_answer_either() -> None:
    setup = ReviewSetup(lifetimes=Lifetimes(), concurrency=2, policy_interval=30.0)
    setup.anchore.store(APP)
    await ask(setup)
    await setup.clock.advance(200)
    answers = [setup.anchore.hang("by_tag", subject=f"{REGISTRY}/shop:{number}") for number in range(4)]
    flooding = flood(setup, 4, "shop")
    await setup.clock.advance(7.0)
    answers[0].set()  # so one call takes 7 seconds, and two wait
    await settled()
    (facts,) = await ask(setup)

    assert setup.recorder.sheds == ["default"]
    assert (type(facts.error), facts.is_stale) == (AnchoreBusy, False)
    for task in flooding:
        task.cancel()


@pytest.mark.parametrize("before", [0, 200])
async def test_processor_that_is_busy_until_the_deadline_is_no_fault_of_the_namespace(before: float) -> None:
    setup = ReviewSetup(lifetimes=Lifetimes(), policy_interval=30.0)
    setup.anchore.store(APP)
    if before:
        await ask(setup)
        await setup.clock.advance(before)
    setup.anchore.hang("by_tag")
    asking = asyncio.create_task(ask(setup))
    await asyncio.sleep(0)  # it has begun, but the call to Anchore has not
    setup.clock.now += DEADLINE + 1

    (facts,) = await asking
    assert (type(facts.error), facts.is_stale) == ((type(None), True) if before else (DeadlineExceeded, False))
    assert setup.recorder.sheds == []


async def test_question_of_a_hurried_call_has_the_time_of_a_review_that_joins_it() -> None:
    """The mutating webhook has a second; the review of the same image, which has longer, must not be shed with it."""
    setup = ReviewSetup(lifetimes=Lifetimes(), concurrency=2, policy_interval=30.0)
    setup.anchore.store(APP)
    answers = [setup.anchore.hang("by_tag", subject=f"{REGISTRY}/shop:{number}") for number in range(4)]
    flooding = flood(setup, 4, "shop")
    await setup.clock.advance(2.0)
    answers[0].set()  # so one call takes 2 seconds, and two wait
    await settled()
    hurried, patient = (asyncio.create_task(setup.facts(APP, by=QUIET, seconds=seconds)) for seconds in (1.0, DEADLINE))
    await setup.clock.advance(1.0)
    assert isinstance((await hurried)[0].error, AnchoreBusy)
    assert setup.recorder.sheds == []
    for answer in answers:
        answer.set()
    assert (await patient)[0].error is None
    await asyncio.gather(*flooding)


async def test_reviews_by_hand_have_no_verdict_when_they_hold_each_other_up() -> None:
    """They admit nothing, and a pipeline must not take an Anchore that is slow for a denial."""
    setup = ReviewSetup(settings=defaults("strict"), lifetimes=Lifetimes(), concurrency=2)
    setup.anchore.hang("by_tag")
    objects = [pod(f"{REGISTRY}/app:{number}") for number in range(4)]
    reviewing = [asyncio.create_task(setup.review(value, origin=Origin.MANUAL)) for value in objects]
    await setup.clock.advance(DEADLINE)

    verdicts = await asyncio.gather(*reviewing)
    assert [verdict.decision for verdict in verdicts] == [Decision.NO_VERDICT] * 4


async def test_reviews_by_hand_do_not_hold_up_the_namespace_that_they_name() -> None:
    setup = ReviewSetup(settings=defaults("strict", requestAnalysis=False), lifetimes=Lifetimes(), concurrency=4)
    setup.anchore.hang("by_tag", subject=f"{REGISTRY}/slow:0")
    setup.anchore.hang("by_tag", subject=f"{REGISTRY}/slow:1")
    setup.anchore.store(APP)
    by_hand = [
        asyncio.create_task(setup.review(pod(f"{REGISTRY}/slow:{number}"), origin=Origin.MANUAL)) for number in range(2)
    ]
    await settled()
    assert (await setup.review(pod(APP))).allowed
    await setup.clock.advance(DEADLINE)
    await asyncio.gather(*by_hand)


@pytest.mark.parametrize("error", [OUTAGE, DeadlineExceeded("late")], ids=repr)
async def test_dead_anchore_of_one_namespace_opens_the_breaker(setup: ReviewSetup, error: EvaluationError) -> None:
    setup.anchore.fail("by_tag", OUTAGE)
    for number in range(FAILURES):
        await ask(setup, f"{REGISTRY}/other:{number}")
    await settled()
    assert setup.recorder.breakers[-1][1] is BreakerState.CLOSED, "the list of policies can be read"

    setup.anchore.fail("policies", error)
    await setup.clock.advance(HURRY_SECONDS)
    await ask(setup)
    await settled()
    assert setup.recorder.breakers[-1] == ("default", BreakerState.OPEN)


async def test_policies_are_read_early_only_now_and_then(setup: ReviewSetup) -> None:
    await ask(setup, f"{REGISTRY}/other:first")
    setup.anchore.fail("by_tag", OUTAGE)
    setup.anchore.fail("policies", OUTAGE)
    for number in range(FAILURES - 1):
        await ask(setup, f"{REGISTRY}/other:{number}")
    await setup.clock.advance(HURRY_SECONDS)
    before = setup.operations.count("policies")
    for _ in range(3):
        await ask(setup)
        await settled()
    assert setup.operations.count("policies") == before + 1


async def test_error_keeps_nothing_alive(setup: ReviewSetup) -> None:
    try:
        raise OUTAGE from ValueError("the response")
    except AnchoreUnavailable as error:
        setup.anchore.fail("by_tag", error)
    (facts,) = await ask(setup)

    assert facts.error is not None
    assert (facts.error.__traceback__, facts.error.__cause__, facts.error.__context__) == (None, None, None)


async def test_closed_memory_asks_nothing_more(setup: ReviewSetup) -> None:
    setup.anchore.hang("by_tag")
    asking = asyncio.create_task(ask(setup))
    await settled()
    setup.memory.forget()
    later = asyncio.create_task(ask(setup))
    await asyncio.sleep(0)
    await setup.memory.aclose()
    (facts,), (later_facts,) = await asyncio.gather(asking, later)
    assert (type(facts.error), type(later_facts.error)) == (DeadlineExceeded, DeadlineExceeded)

    asked = questions(setup)
    (facts,) = await ask(setup)
    assert isinstance(facts.error, AnchoreUnavailable)
    assert questions(setup) == asked
    assert setup.anchore.in_flight == 0


async def test_closed_memory_refreshes_nothing(setup: ReviewSetup) -> None:
    await ask(setup)
    await setup.memory.aclose()
    assert (await after(setup, 59.9)).evaluations == (PASS,)
    await settled()
    assert questions(setup) == ["by_tag", "check"]


CHANGES: dict[str, Callable[[ReviewSetup], object]] = {
    "hint": lambda setup: setup.memory.doubt("default"),
    "forgotten": lambda setup: setup.memory.forget(),
    "credentials": lambda setup: setattr(setup.anchore, "identity", Identity("fake", 2)),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_facts_kept_whole_heed_every_change(setup: ReviewSetup, change: str) -> None:
    for _ in range(3):
        await ask(setup, by=rule())
    CHANGES[change](setup)
    setup.anchore.evaluate(digest_of(APP), FAILED)

    assert (await ask(setup, by=rule()))[0].evaluations == (FAILED,)


async def test_facts_kept_whole_heed_another_version_of_the_policy(setup: ReviewSetup) -> None:
    for _ in range(3):
        await ask(setup, by=rule())
    await setup.clock.advance(25)
    await ask(setup)
    setup.anchore.change_policy(ACTIVE_POLICY)
    setup.anchore.evaluate(digest_of(APP), FAILED)
    await setup.clock.advance(9)  # the next poll; the result itself would still be fresh

    assert (await ask(setup, by=rule()))[0].evaluations == (FAILED,)


async def test_facts_kept_whole_heed_the_response_to_a_submission(setup: ReviewSetup) -> None:
    setup.anchore.registry[APP] = digest_of("moved")
    setup.anchore.store("registry.example.com/other:1", digest=digest_of("moved"))
    await ask(setup, by=rule())
    for _ in range(3):
        assert (await ask(setup, by=rule()))[0].digest == digest_of(APP)
    async with setup.running():
        await settled()

    assert (await ask(setup, by=rule()))[0].digest == digest_of("moved")


async def test_facts_kept_whole_heed_a_younger_answer(setup: ReviewSetup) -> None:
    """Another look-up, before a submission, tells that the tag has moved, while the remembered one is fresh."""
    for _ in range(3):
        await ask(setup)
    await setup.clock.advance(6)
    await ask(setup)
    setup.anchore.store(APP, digest=digest_of("moved"), detected_at="2026-03-01T00:00:00Z")
    await ask(setup, by=rule())  # the first that may request an analysis
    await settled()

    assert (await ask(setup))[0].digest == digest_of("moved")


# Identical questions


async def test_identical_questions_are_asked_once(setup: ReviewSetup) -> None:
    answer = setup.anchore.hang("by_tag")
    asking = [asyncio.create_task(setup.facts(APP, by=QUIET, namespace=f"team-{n}")) for n in range(50)]
    await settled()
    answer.set()
    found = [(await review)[0].evaluations for review in asking]

    assert found == [(PASS,)] * 50
    assert questions(setup) == ["by_tag", "check"]
    assert len(setup.recorder.joined) == 98


async def test_review_that_is_cancelled_does_not_fail_the_others(setup: ReviewSetup) -> None:
    answer = setup.anchore.hang("by_tag")
    first, second = [asyncio.create_task(ask(setup)) for _ in range(2)]
    await settled()
    first.cancel()
    await settled()
    answer.set()

    assert (await second)[0].evaluations == (PASS,)
    assert questions(setup) == ["by_tag", "check"]


async def test_a_late_answer_serves_the_next_review(setup: ReviewSetup) -> None:
    answer = setup.anchore.hang("by_tag")
    asking = asyncio.create_task(ask(setup))
    await setup.clock.advance(DEADLINE + 1)
    assert isinstance((await asking)[0].error, DeadlineExceeded)
    answer.set()
    await settled()

    facts = await after(setup, 0)
    assert facts.error is None
    assert questions(setup) == ["by_tag", "check"]


async def test_a_question_in_line_that_nobody_waits_for_is_not_asked() -> None:
    setup = ReviewSetup(lifetimes=Lifetimes(), concurrency=1)
    answer = setup.anchore.hang("by_tag")
    under_way = asyncio.create_task(ask(setup))
    await settled()
    waiting = asyncio.create_task(ask(setup, BAD))
    await settled()
    waiting.cancel()
    await settled()
    answer.set()
    await under_way

    assert setup.anchore.subjects("by_tag") == [APP]


async def test_one_namespace_does_not_hold_up_the_question_of_another() -> None:
    """The other namespace's line is short, although the same question also stands at the end of a long one."""
    setup = ReviewSetup(lifetimes=Lifetimes(), concurrency=2)
    setup.anchore.hang("by_tag")
    flood = [
        asyncio.create_task(setup.facts(f"registry.example.com/flood:{n}", by=QUIET, namespace="loud"))
        for n in range(50)
    ]
    await settled()
    shared = "registry.example.com/flood:49"
    asking = asyncio.create_task(setup.facts(shared, by=QUIET, namespace="quiet"))
    await settled()

    assert setup.anchore.subjects("by_tag") == ["registry.example.com/flood:0", shared]
    for task in (*flood, asking):
        task.cancel()


# Bounds and hints


async def test_the_least_recently_used_are_forgotten_first() -> None:
    setup = ReviewSetup(lifetimes=Lifetimes(), bounds=(4, 1_000_000))
    images = [f"registry.example.com/app:{n}" for n in range(3)]
    for image in images:
        setup.anchore.store(image)
    await ask(setup, images[0])
    await ask(setup, images[1])
    await ask(setup, images[0])
    await ask(setup, images[2])
    asked = len(setup.operations)
    await ask(setup, images[0])
    assert len(setup.operations) == asked

    await ask(setup, images[1])
    assert len(setup.operations) == asked + 2
    assert setup.recorder.memory[0] == 4
    assert setup.recorder.evicted == 4


async def test_memory_is_bounded_in_bytes() -> None:
    setup = ReviewSetup(lifetimes=Lifetimes(), bounds=(10_000, 50_000))
    for n in range(100):
        setup.anchore.store(f"registry.example.com/app:{n}")
        await ask(setup, f"registry.example.com/app:{n}")

    answers, size = setup.recorder.memory
    assert 20 < answers < 60
    assert 45_000 < size <= 50_000


@pytest.mark.parametrize(
    ("hint", "asked"),
    [
        ({}, ["by_tag", "check"]),
        ({"full_tag": APP}, ["by_tag", "check"]),
        ({"digest": digest_of(APP)}, ["by_tag", "check"]),
        ({"full_tag": BAD}, []),
        ({"digest": digest_of(BAD)}, []),
    ],
)
async def test_a_hint_makes_answers_older(setup: ReviewSetup, hint: dict[str, str], asked: list[str]) -> None:
    await ask(setup)
    before = len(questions(setup))
    setup.memory.doubt("default", **hint)
    await ask(setup)

    assert questions(setup)[before:] == asked


async def test_a_hint_takes_nothing_from_an_outage(setup: ReviewSetup) -> None:
    await ask(setup)
    setup.memory.doubt("default")
    setup.anchore.fail_all(OUTAGE)

    assert (await after(setup, 10)).is_stale


async def test_a_hint_about_a_question_that_is_under_way(setup: ReviewSetup) -> None:
    """What the answer says may be older than the change."""
    let_go = setup.anchore.hang("check")
    asking = asyncio.create_task(ask(setup))
    await settled()
    await setup.clock.advance(1)
    setup.memory.doubt("default", full_tag=APP)
    let_go.set()
    await asking
    await after(setup, 1)
    assert questions(setup) == ["by_tag", "check", "by_tag", "check"]
    await after(setup, 1)
    assert questions(setup) == ["by_tag", "check", "by_tag", "check"]


# The shared store


class BrokenStore(FactStore):
    """A store that breaks its promise never to raise."""

    async def get(self, key: str, deadline: Deadline) -> StoredAnswer | None:
        raise RuntimeError(key, deadline)

    async def claim(self, key: str, deadline: Deadline) -> bool:
        raise RuntimeError(key, deadline)

    async def is_claimed(self, key: str, deadline: Deadline) -> bool:
        raise RuntimeError(key, deadline)

    def end_claim(self, key: str) -> None:
        raise RuntimeError(key)

    def put(self, key: str, answer: StoredAnswer) -> None:
        raise RuntimeError(key, answer)

    async def run(self) -> None:
        """Write nothing."""

    async def aclose(self) -> None:
        """Hold nothing open."""


async def test_broken_store_takes_no_verdict_away(caplog: pytest.LogCaptureFixture) -> None:
    setup = ReviewSetup(lifetimes=Lifetimes(), store=BrokenStore(), policy_interval=30.0)
    setup.anchore.store(APP)
    (facts,) = await ask(setup)

    assert (facts.error, facts.evaluations) == (None, (PASS,))
    assert "the shared store failed unexpectedly" in caplog.text


class Shelf(FactStore):
    """A store in memory."""

    def __init__(self) -> None:
        self.answers: dict[str, StoredAnswer] = {}
        self.gets: list[str] = []
        self.claims: set[str] = set()
        """Claims that do not end by themselves."""

    async def get(self, key: str, deadline: Deadline) -> StoredAnswer | None:
        assert deadline.left() > 0
        self.gets.append(key)
        return self.answers.get(key)

    async def claim(self, key: str, deadline: Deadline) -> bool:
        assert deadline.left() > 0
        is_ours = key not in self.claims
        self.claims.add(key)
        return is_ours

    async def is_claimed(self, key: str, deadline: Deadline) -> bool:
        assert deadline.left() > 0
        return key in self.claims

    def end_claim(self, key: str) -> None:
        self.claims.discard(key)

    def put(self, key: str, answer: StoredAnswer) -> None:
        self.answers[key] = answer

    async def run(self) -> None:
        """Write at once."""

    async def aclose(self) -> None:
        """Hold nothing open."""


def replicas(shelf: Shelf, *, versions: bool = True) -> tuple[ReviewSetup, ReviewSetup]:
    first = ReviewSetup(lifetimes=Lifetimes(), store=shelf, policy_interval=30.0 if versions else 0.0)
    second = replace(first, recorder=type(first.recorder)())
    first.anchore.store(APP)
    return first, second


async def test_replicas_ask_anchore_once() -> None:
    first, second = replicas(Shelf())
    await ask(first)
    (facts,) = await ask(second)

    assert facts.evaluations == (PASS,)
    assert questions(first) == ["by_tag", "check"]


async def test_loading_does_not_make_an_answer_younger() -> None:
    first, second = replicas(Shelf())
    await ask(first)
    await first.clock.advance(20)
    (facts,) = await ask(second)
    assert facts.age == pytest.approx(20)

    await first.clock.advance(99)
    await ask(second)
    await settled()
    first.anchore.fail_all(OUTAGE)
    facts = await after(second, 599)
    assert facts.is_stale


async def test_an_old_answer_of_the_store_only_stands_in() -> None:
    first, second = replicas(Shelf())
    await ask(first)
    second.memory.expect_checks("default")
    await first.clock.advance(300)
    first.anchore.fail_all(OUTAGE)
    (facts,) = await ask(second)

    assert (facts.is_stale, facts.evaluations) == (True, (PASS,))
    assert facts.age == pytest.approx(300)


@pytest.mark.parametrize(("change", "seconds"), [("fails", 20), ("is unknown", 3)])
async def test_an_older_answer_that_was_put_back_does_not_replace_a_younger_one(change: str, seconds: float) -> None:
    shelf = Shelf()
    first, second = replicas(shelf)
    await ask(first)
    taken, shelf.answers = shelf.answers, {}
    await first.clock.advance(10)
    if change == "fails":
        first.anchore.evaluate(digest_of(APP), FAILED)
    else:
        first.anchore.forget(APP)
    (before,) = await ask(second)
    shelf.answers = taken
    await first.clock.advance(seconds)
    (after_it,) = await ask(second)

    assert before.evaluations == after_it.evaluations != (PASS,)


async def test_a_hint_is_not_undone_by_the_store() -> None:
    first, second = replicas(Shelf())
    await ask(first)
    await ask(second)
    before = questions(second)
    assert before == ["by_tag", "check"]
    await second.clock.advance(1)
    second.memory.doubt("default", full_tag=APP)
    await ask(second)
    assert questions(second) == [*before, "by_tag", "check"]


async def test_a_dry_run_stores_nothing() -> None:
    shelf = Shelf()
    first, _ = replicas(shelf)
    for _ in range(2):
        await first.facts(APP, by=QUIET, side_effects=False)
        await first.clock.advance(59.9)

    assert questions(first) == ["by_tag", "check", "by_tag"], "the second one has refreshed the look-up"
    assert shelf.answers == {}


@pytest.mark.parametrize(
    ("state", "stored"), [(AnalysisState.ANALYZED, 2), (AnalysisState.ANALYZING, 0), (None, 0)], ids=str
)
async def test_only_final_answers_are_stored(state: AnalysisState | None, stored: int) -> None:
    shelf = Shelf()
    first, _ = replicas(shelf)
    first.anchore.forget(APP)
    if state:
        first.anchore.store(APP, state)
    await ask(first)

    values: list[Value] = [answer.value for answer in shelf.answers.values()]
    assert len(values) == stored
    assert all(answer.asked_at == BOOT + 1000.0 for answer in shelf.answers.values())


async def test_a_result_is_not_stored_without_the_version_of_its_policy() -> None:
    shelf = Shelf()
    first, _ = replicas(shelf, versions=False)
    await ask(first)

    (key,) = shelf.answers
    assert key.startswith("tag\0fake\0")


@pytest.mark.parametrize(("seconds", "asked"), [(0.0, 2), (1.0, 2), (1.1, 1)])
async def test_the_store_s_older_answers_are_forgotten_too(seconds: float, asked: int) -> None:
    """The clock of the replica that asked may be ahead by a second."""
    first, second = replicas(Shelf())
    second.memory.forget()
    await first.clock.advance(seconds)
    await ask(first)
    await ask(second)

    assert questions(first) == ["by_tag", "check"] * asked


async def test_replicas_ask_once_even_at_the_same_moment() -> None:
    shelf = Shelf()
    first, second = replicas(shelf)
    let_go = [first.anchore.hang(operation) for operation in ("by_tag", "check")]
    asking = [asyncio.create_task(ask(setup)) for setup in (first, second)]
    for each in let_go:
        await first.clock.advance(0.5)
        each.set()
    await first.clock.advance(LONGEST_PAUSE)

    assert [facts.evaluations for (facts,) in await asyncio.gather(*asking)] == [(PASS,), (PASS,)]
    assert questions(first) == ["by_tag", "check"]
    assert first.recorder.store_claims == [StoreClaim.CLAIMED] * 2
    assert second.recorder.store_claims == [StoreClaim.ANSWERED] * 2
    assert shelf.claims == set()


async def test_a_replica_asks_when_the_one_with_the_claim_has_failed() -> None:
    first, second = replicas(Shelf())
    let_go = first.anchore.hang("by_tag")
    asking = [asyncio.create_task(ask(setup)) for setup in (first, second)]
    await settled()
    first.anchore.fail("by_tag", AnchoreRefused("401"), times=1)
    let_go.set()
    await first.clock.advance(LONGEST_PAUSE)
    (failed,), (facts,) = await asyncio.gather(*asking)

    assert isinstance(failed.error, AnchoreRefused)
    assert facts.evaluations == (PASS,)
    assert questions(first) == ["by_tag", "by_tag", "check"]
    assert second.recorder.store_claims == [StoreClaim.UNANSWERED, StoreClaim.CLAIMED]


@pytest.mark.parametrize("state", [None, AnalysisState.ANALYZING], ids=str)
async def test_a_claim_does_not_outlive_an_answer_that_is_not_shared(state: AnalysisState | None) -> None:
    shelf = Shelf()
    first, second = replicas(shelf)
    first.anchore.forget(APP)
    if state:
        first.anchore.store(APP, state)
    for setup in (first, second):
        await ask(setup)

    assert shelf.claims == set()
    assert StoreClaim.UNANSWERED not in second.recorder.store_claims


async def test_a_claim_does_not_outlive_the_reviews_that_wait() -> None:
    shelf = Shelf()
    first = ReviewSetup(lifetimes=Lifetimes(), store=shelf, concurrency=1)
    first.anchore.hang("by_tag", subject=BAD)
    reviewing = [asyncio.create_task(ask(first, image)) for image in (BAD, APP)]
    await settled()
    assert len(shelf.claims) == 2
    reviewing[1].cancel()  # its question stands in line behind the other one
    await settled()
    assert len(shelf.claims) == 1
    reviewing[0].cancel()
    await first.memory.aclose()
    assert shelf.claims == set()


@pytest.mark.parametrize(("left", "wait"), [(DEADLINE, 1.0), (2.0, 0.5), (0.2, 0.05)])
async def test_a_claim_that_never_ends_costs_little(left: float, wait: float) -> None:
    """Such as one that an attacker puts back."""
    shelf = Shelf()
    _, second = replicas(shelf)
    second.anchore.hang("by_tag")
    await shelf.claim(f"tag\0fake\0{APP}", second.deadline())
    asker = Asker(Deadline.after(left, second.clock), "shop", stores=True)
    asking = asyncio.create_task(second.memory.ask("default", (), ByTag(APP), asker))
    await second.clock.advance(wait - 0.001)
    assert questions(second) == []
    await second.clock.advance(0.0011)
    assert questions(second) == ["by_tag"]
    assert second.recorder.store_claims == [StoreClaim.UNANSWERED]
    assert len(shelf.claims) == 1, "it is not ours"
    await second.clock.advance(left)
    await asking


async def test_the_store_is_looked_at_every_now_and_then_by_each_replica_at_other_times() -> None:
    shelf = Shelf()
    _, second = replicas(shelf)
    await shelf.claim(f"tag\0fake\0{APP}", second.deadline())
    await asyncio.gather(ask(second), second.clock.advance(1.1))
    pauses = [pause for pause in second.clock.slept if pause <= LONGEST_PAUSE]

    assert 19 <= len(pauses) <= 41
    assert len(set(pauses)) > 10
    assert len([pause for pause in pauses if 1e-6 < pause < 0.025]) <= 1, "only the last one may be shorter"


async def test_an_old_answer_of_the_store_is_asked_for_again_by_one_replica() -> None:
    first, second = replicas(Shelf())
    await ask(first)
    await first.clock.advance(300)
    before = len(questions(first))
    asking = [asyncio.create_task(ask(setup)) for setup in (first, second)]
    await first.clock.advance(1.0)
    await asyncio.gather(*asking)

    assert questions(first)[before:] == ["by_tag", "check"]


async def test_replicas_refresh_an_answer_once() -> None:
    first, second = replicas(Shelf())
    await ask(first)
    await ask(second)
    let_go = first.anchore.hang("by_tag")
    await first.clock.advance(59.9)
    for setup in (first, second):
        await ask(setup)
    await first.clock.advance(0.05)
    let_go.set()
    await first.clock.advance(0.1)
    ages = [facts.age for setup in (first, second) for facts in await ask(setup)]

    assert questions(first) == ["by_tag", "check", "by_tag"]
    assert ages == pytest.approx([60.05, 60.05]), "that of the check"


async def test_a_dry_run_claims_nothing_but_waits_for_another_replica() -> None:
    shelf = Shelf()
    first, second = replicas(shelf)
    let_go = first.anchore.hang("by_tag")
    dry_run = asyncio.create_task(first.facts(APP, by=QUIET, side_effects=False))
    await settled()
    assert shelf.claims == set()
    let_go.set()
    await dry_run

    let_go = first.anchore.hang("check")
    first.memory.forget()
    await first.clock.advance(2)
    asking = asyncio.create_task(ask(second))
    await settled()
    dry_run = asyncio.create_task(first.facts(APP, by=QUIET, side_effects=False))
    await first.clock.advance(0.1)
    let_go.set()
    await first.clock.advance(LONGEST_PAUSE)
    assert await dry_run == await asking
    assert questions(first) == ["by_tag", "check"] * 2


async def test_it_forgets_as_many_answers_as_it_remembered(setup: ReviewSetup) -> None:
    await ask(setup)

    assert [setup.memory.forget(), setup.memory.forget()] == [2, 0]


# Tags that are submitted again


async def test_a_tag_is_looked_up_again_before_it_is_submitted_again(setup: ReviewSetup) -> None:
    await ask(setup)
    await setup.clock.advance(10)
    async with setup.running():
        await ask(setup, by=rule())
        await settled()

    assert setup.operations[-2:] == ["by_tag", "submit"]


async def test_a_tag_is_not_submitted_after_an_older_answer_and_tried_once_a_review() -> None:
    shelf = Shelf()
    first, second = replicas(shelf)
    await ask(first)
    await first.clock.advance(10)
    await ask(second)  # from the store
    second.anchore.fail("by_tag", OUTAGE)
    for _ in range(3):
        await ask(second, by=rule())
        await settled()

    assert second.submitted == []
    assert second.anchore.subjects("by_tag") == [APP] * 4


async def test_the_store_is_not_asked_for_the_look_up_before_a_submission() -> None:
    shelf = Shelf()
    first, second = replicas(shelf)
    await ask(first)
    await first.clock.advance(10)
    await ask(second)
    loaded = len(shelf.gets)
    async with second.running():
        await ask(second, by=rule())
        await settled()

    assert second.submitted == [APP]
    assert len(shelf.gets) == loaded
