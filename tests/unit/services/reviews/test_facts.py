import asyncio
from dataclasses import replace

import pytest

from anchore_admission.core.facts import (
    AnalysisState,
    ImageFacts,
    ImageRecord,
    PolicyEvaluation,
    Selector,
    Submission,
    SubmissionState,
)
from anchore_admission.errors import (
    AnchoreBusy,
    AnchoreUnavailable,
    DeadlineExceeded,
    EvaluationError,
    ImageNotReached,
    PolicyNotFound,
)
from anchore_admission.models.configuration import ModeName
from anchore_admission.ports.deadline import Deadline
from anchore_admission.services.reviews import facts as gathering
from support.builders import rule
from support.fakes import ACTIVE_POLICY, PASS, Call, FakeAnchore, ManualClock, digest_of, settled
from support.review_setup import DEADLINE, ReviewSetup

APP = "registry.example.com/app:1"
NGINX = ("docker.io/library/nginx:latest", "docker.io/nginx:latest")
OUTAGE = AnchoreUnavailable("no connection")
REQUESTED = Submission(SubmissionState.REQUESTED)


@pytest.fixture
async def setup() -> ReviewSetup:
    return ReviewSetup()


@pytest.mark.parametrize(
    ("mode", "operations"),
    [
        (ModeName.PASSIVE, ["submit"]),
        (ModeName.ANALYSIS, ["by_tag"]),
        (ModeName.STRICT, ["by_tag", "check"]),
    ],
)
async def test_anchore_is_queried_for_the_facts_that_the_mode_needs(
    setup: ReviewSetup, mode: ModeName, operations: list[str]
) -> None:
    setup.anchore.store(APP)
    async with setup.running():
        await setup.facts(APP, by=rule(mode=mode))
        before_refresh = setup.operations[: len(operations)]
        await settled()

    refreshes = ["submit"] if mode in {ModeName.ANALYSIS, ModeName.STRICT} else []
    assert before_refresh == operations
    assert setup.operations == operations + refreshes


@pytest.mark.parametrize(
    "state", [AnalysisState.NOT_ANALYZED, AnalysisState.ANALYZING, AnalysisState.FAILED], ids=lambda state: state.value
)
async def test_policy_is_not_evaluated_before_the_analysis_is_done(setup: ReviewSetup, state: AnalysisState) -> None:
    record = setup.anchore.store(APP, state)
    (facts,) = await setup.facts(APP)

    assert facts.record == record
    assert setup.operations == ["by_tag"]


@pytest.mark.parametrize("policy", [None, "admissionpolicy"])
async def test_policy_is_evaluated_for_the_digest_and_the_tag(setup: ReviewSetup, policy: str | None) -> None:
    record = setup.anchore.store(APP)
    answer = PolicyEvaluation(passed=False, policy=policy or ACTIVE_POLICY)
    setup.anchore.evaluate(record.digest, answer, policy or ACTIVE_POLICY)
    (facts,) = await setup.facts(APP, by=rule(policy=policy))

    assert facts == ImageFacts(record, (answer,), REQUESTED)
    assert setup.anchore.calls[-1] == Call("check", record.digest, APP, policy)


async def test_rule_decides_the_queried_account(setup: ReviewSetup) -> None:
    record = setup.other.store(APP)
    (facts,) = await setup.facts(APP, by=rule(account="other"))

    assert facts.record == record
    assert setup.anchore.calls == []


async def test_every_spelling_of_a_reference_is_queried_once(setup: ReviewSetup) -> None:
    spellings = ["nginx", "nginx:latest", "docker.io/nginx", "index.docker.io/nginx", NGINX[0]]
    found = await setup.facts(*spellings)

    assert len(set(found)) == 1
    assert sorted(setup.anchore.subjects("by_tag")) == sorted(NGINX)


async def test_both_names_of_an_official_image_are_queried_at_once(setup: ReviewSetup) -> None:
    answer = setup.anchore.hang("by_tag")
    asking = asyncio.create_task(setup.facts("nginx"))
    await settled()

    assert setup.anchore.in_flight == 2
    answer.set()
    await asking


@pytest.mark.parametrize(
    ("library", "short", "wanted"),
    [
        ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", NGINX[0]),
        ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", NGINX[1]),
        ("2026-01-01T00:00:00Z", "", NGINX[0]),
        ("", "2026-01-01T00:00:00Z", NGINX[1]),
    ],
    ids=["library newer", "short newer", "library only", "short only"],
)
async def test_newest_of_both_names_wins(setup: ReviewSetup, library: str, short: str, wanted: str) -> None:
    for name, detected_at in zip(NGINX, (library, short), strict=True):
        if detected_at:
            setup.anchore.store(name, detected_at=detected_at)
    (facts,) = await setup.facts("nginx")

    assert facts.digest == digest_of(wanted)
    first, second = (call.tag for call in setup.anchore.calls if call.operation == "check")
    assert {first, second} == set(NGINX)
    assert first == wanted, "the name that the record carries is asked about first"


@pytest.mark.parametrize("failing", NGINX)
async def test_error_under_one_name_is_an_error(setup: ReviewSetup, failing: str) -> None:
    """The record that cannot be read may be the newer one, or a failed one."""
    for name in NGINX:
        setup.anchore.store(name)
    setup.anchore.fail("by_tag", OUTAGE, subject=failing)

    assert await setup.facts("nginx") == [ImageFacts(error=OUTAGE)]


async def test_error_under_one_name_does_not_wait_for_the_other(setup: ReviewSetup) -> None:
    setup.anchore.hang("by_tag", subject=NGINX[0])
    setup.anchore.fail("by_tag", OUTAGE, subject=NGINX[1])

    assert await setup.facts("nginx") == [ImageFacts(error=OUTAGE)]
    assert setup.anchore.in_flight == 1, "a late answer serves the next review"


@pytest.mark.parametrize("tag", ["", ":1"])
async def test_digest_reference_is_looked_up_by_digest(setup: ReviewSetup, tag: str) -> None:
    image = f"registry.example.com/app{tag}@{digest_of('list')}"
    record = setup.anchore.store(APP, digest=digest_of("amd64"), parent_digest=digest_of("list"))
    (facts,) = await setup.facts(image)

    assert facts == ImageFacts(record, (PASS,))
    assert setup.anchore.calls == [Call("by_digest", digest_of("list")), Call("check", record.digest, APP)]


async def test_tag_that_moved_back_is_looked_up_by_the_digest_that_anchore_answered_last(
    setup: ReviewSetup,
) -> None:
    """Anchore keeps reporting the digest that it learned of last, which is not what the registry has now."""
    setup.anchore.store(APP, digest=digest_of("first"))
    setup.anchore.store(APP, digest=digest_of("second"), detected_at="2027-01-01T00:00:00Z")
    setup.anchore.registry[APP] = digest_of("first")
    async with setup.queued():
        (facts,) = await setup.facts(APP)
    assert facts.digest == digest_of("second")
    setup.anchore.store(APP, digest=digest_of("first"))
    (facts,) = await setup.facts(APP)

    assert facts.digest == digest_of("first")


async def test_digest_that_others_added_since_wins_over_a_remembered_one(setup: ReviewSetup) -> None:
    setup.anchore.store(APP, digest=digest_of("old"))
    setup.anchore.registry[APP] = digest_of("old")
    async with setup.queued():
        await setup.facts(APP)
    setup.anchore.store(APP, AnalysisState.NOT_ANALYZED, digest=digest_of("new"), detected_at="2027-01-01T00:00:00Z")
    (facts,) = await setup.facts(APP)

    assert (facts.digest, facts.state) == (digest_of("new"), AnalysisState.NOT_ANALYZED)


async def test_error_about_a_remembered_digest_is_an_error(setup: ReviewSetup) -> None:
    async with setup.queued():
        await setup.facts(APP)
    setup.anchore.forget(APP)
    setup.anchore.fail("by_digest", OUTAGE)
    (facts,) = await setup.facts(APP)

    assert (facts.record, facts.error) == (None, OUTAGE)


STOP = replace(PASS, passed=False)


@pytest.mark.parametrize("held", NGINX)
@pytest.mark.parametrize("strict", NGINX)
async def test_policy_is_evaluated_under_both_names_whichever_anchore_has(
    setup: ReviewSetup, held: str, strict: str
) -> None:
    record = setup.anchore.store(held)
    setup.anchore.evaluate(record.digest, STOP, tag=strict)
    (facts,) = await setup.facts("nginx")

    assert set(facts.evaluations) == {PASS, STOP}


async def test_name_that_anchore_has_not_seen_on_the_image_may_be_unknown_to_a_check(setup: ReviewSetup) -> None:
    record = setup.anchore.store(NGINX[0])
    setup.anchore.evaluate(record.digest, AnalysisState.UNKNOWN, tag=NGINX[1])
    assert [facts.evaluations for facts in await setup.facts("nginx")] == [(PASS,)]
    setup.anchore.evaluate(record.digest, AnalysisState.UNKNOWN, tag=NGINX[0])
    assert [facts.record for facts in await setup.facts("nginx")] == [None]


@pytest.mark.parametrize(
    ("repositories", "checks"),
    [(None, 2), ((), 1), (("*", "team/*"), 1), (("library/*",), 2), (("*", "nginx"), 2)],
)
async def test_name_that_the_policy_does_not_distinguish_is_not_queried(
    setup: ReviewSetup, repositories: tuple[str, ...] | None, checks: int
) -> None:
    record = setup.anchore.store(NGINX[0])
    selectors = None if repositories is None else tuple(Selector("docker.io", name) for name in repositories)
    setup.anchore.evaluate(record.digest, replace(PASS, selectors=selectors))
    (facts,) = await setup.facts("nginx")

    assert len(facts.evaluations) == setup.operations.count("check") == checks


async def test_digest_under_another_tag_does_not_move_the_tag(setup: ReviewSetup) -> None:
    setup.anchore.store(APP, digest=digest_of("new"))
    setup.anchore.store("registry.example.com/app:0", digest=digest_of("old and harmless"))
    async with setup.queued():
        await setup.facts(f"{APP}@{digest_of('old and harmless')}")
    (facts,) = await setup.facts(APP)

    assert facts.digest == digest_of("new")


@pytest.mark.parametrize("state", list(AnalysisState), ids=lambda state: state.value)
async def test_state_that_a_check_answers_is_the_images_state(setup: ReviewSetup, state: AnalysisState) -> None:
    record = setup.anchore.store(APP)
    setup.anchore.evaluate(record.digest, state)
    (facts,) = await setup.facts(APP)

    assert (facts.state, facts.evaluations, facts.error) == (state, (), None)
    assert facts.record == (None if state is AnalysisState.UNKNOWN else replace(record, state=state))


@pytest.mark.parametrize("error", [OUTAGE, PolicyNotFound("policy x does not exist")])
@pytest.mark.parametrize(("operation", "known"), [("by_tag", False), ("check", True)])
async def test_error_keeps_the_facts_found_before(
    setup: ReviewSetup, operation: str, *, known: bool, error: EvaluationError
) -> None:
    record = setup.anchore.store(APP)
    setup.anchore.fail(operation, error)

    assert await setup.facts(APP) == [ImageFacts(record if known else None, error=error)]


@pytest.mark.parametrize(("operation", "known"), [("by_tag", False), ("check", True)])
async def test_unexpected_exception_is_an_error_of_one_image(
    setup: ReviewSetup, operation: str, *, known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    record, other = setup.anchore.store(APP), setup.anchore.store("registry.example.com/other:1")
    subject = APP if operation == "by_tag" else record.digest
    setup.anchore.fail(operation, ZeroDivisionError("a secret"), subject=subject)
    facts, others = await setup.facts(APP, "registry.example.com/other:1")

    assert facts.record == (record if known else None)
    assert str(facts.error) == "an unexpected error, see the controller's log"
    assert others == ImageFacts(other, (PASS,), REQUESTED)
    assert "failed unexpectedly" in caplog.text


async def test_account_that_is_gone_is_an_error(setup: ReviewSetup) -> None:
    (facts,) = await setup.facts(APP, by=rule(account="gone"))
    assert isinstance(facts.error, EvaluationError)


@pytest.mark.parametrize(("operation", "known"), [("by_tag", False), ("check", True)])
async def test_deadline_keeps_the_facts_found_before(setup: ReviewSetup, operation: str, *, known: bool) -> None:
    record = setup.anchore.store(APP)
    setup.anchore.hang(operation)
    (facts,) = await setup.late_facts(APP)

    assert facts.record == (record if known else None)
    assert isinstance(facts.error, DeadlineExceeded)
    assert setup.anchore.in_flight == 1, "a late answer serves the next review"


class LateAnchore(FakeAnchore):
    """Responds to look-ups when the review has no time left."""

    async def by_tag(self, full_tag: str, deadline: Deadline) -> ImageRecord | None:
        ManualClock.of_loop().now += DEADLINE
        return await super().by_tag(full_tag, deadline)


async def test_late_response_is_not_blamed_on_the_number_of_images() -> None:
    setup = ReviewSetup(anchore=LateAnchore())
    setup.anchore.store(APP)
    (facts,) = await setup.facts(APP)

    assert type(facts.error) is DeadlineExceeded


async def test_image_that_hangs_takes_nothing_from_the_others(setup: ReviewSetup) -> None:
    other = setup.anchore.store("registry.example.com/other:1")
    setup.anchore.hang("by_tag", subject=APP)
    facts, others = await setup.late_facts(APP, "registry.example.com/other:1")

    assert isinstance(facts.error, DeadlineExceeded)
    assert others.record == other


def apps(count: int) -> list[str]:
    return [f"registry.example.com/app:{number}" for number in range(count)]


@pytest.mark.parametrize("operation", ["by_tag", "check"])
async def test_calls_in_flight_are_bounded_over_all_reviews(operation: str) -> None:
    setup = ReviewSetup(concurrency=8)
    for app in apps(40):
        setup.anchore.store(app)
    answer = setup.anchore.hang(operation)
    reviews = [
        asyncio.create_task(setup.facts(*apps(40)[start : start + 4], namespace=f"team-{start}"))
        for start in range(0, 40, 4)
    ]
    await settled()

    assert setup.anchore.in_flight == 8
    answer.set()
    assert all(facts.evaluations for found in await asyncio.gather(*reviews) for facts in found)
    assert setup.anchore.most_in_flight == 8


async def test_both_names_of_an_image_count() -> None:
    setup = ReviewSetup(concurrency=1)
    await setup.facts("nginx", "redis")

    assert (setup.anchore.most_in_flight, len(setup.operations)) == (1, 4)


async def test_one_review_leaves_room_for_others() -> None:
    setup = ReviewSetup(concurrency=8)
    answer = setup.anchore.hang("by_tag")
    large = asyncio.create_task(setup.facts(*apps(1000)))
    await settled()

    assert setup.anchore.in_flight == 4
    answer.set()
    assert len(await large) == 1000


async def test_one_review_of_official_images_leaves_room_for_others() -> None:
    setup = ReviewSetup(concurrency=8)
    answer = setup.anchore.hang("by_tag")
    large = asyncio.create_task(setup.facts(*(f"nginx:{number}" for number in range(20))))
    await settled()

    assert setup.anchore.in_flight == 4
    answer.set()
    await large


async def test_wait_for_a_turn_obeys_the_deadline() -> None:
    setup = ReviewSetup(concurrency=1)
    setup.anchore.hang("by_tag")
    first = asyncio.create_task(setup.facts(APP))
    await settled()
    (facts,) = await setup.late_facts("registry.example.com/other:1")

    assert isinstance(facts.error, DeadlineExceeded)
    assert setup.anchore.subjects("by_tag") == [APP]
    assert isinstance((await first)[0].error, DeadlineExceeded)


async def test_account_that_hangs_does_not_hold_up_another() -> None:
    setup = ReviewSetup(concurrency=1)
    answer = setup.anchore.hang("by_tag")
    first = asyncio.create_task(setup.facts(APP))
    await settled()
    (facts,) = await setup.facts(APP, by=rule(account="other"))

    assert facts.error is None
    answer.set()
    await first


async def test_review_that_is_cancelled_gives_its_turns_back() -> None:
    setup = ReviewSetup(concurrency=1)
    answer = setup.anchore.hang("by_tag")
    reviews = [asyncio.create_task(setup.facts("nginx", "redis")) for _ in range(3)]
    await settled()
    for review in reviews:
        review.cancel()
    await settled()

    answer.set()
    await settled()
    assert len(setup.anchore.calls) == 1, "only the question that was under way has gone on"
    (facts,) = await setup.facts(APP)
    assert facts.error is None


async def test_review_of_many_images_takes_no_task_for_each() -> None:
    setup = ReviewSetup(concurrency=8)
    setup.anchore.hang("by_tag")
    before = len(asyncio.all_tasks())
    large = asyncio.create_task(setup.facts(*apps(1000)))
    await settled()

    assert len(asyncio.all_tasks()) - before < 20
    await setup.clock.advance(DEADLINE)
    errors = [type(facts.error) for facts in await large]
    assert errors == [DeadlineExceeded] * 4 + [ImageNotReached] * 996


async def test_many_reviews_at_once_take_few_tasks_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_WORKERS", 20)
    setup = ReviewSetup(concurrency=64)
    answer = setup.anchore.hang("by_tag")
    reviews = [
        asyncio.create_task(setup.facts(*apps(40)[start : start + 8], namespace=f"team-{start}"))
        for start in range(0, 40, 8)
    ]
    await settled()

    assert setup.anchore.in_flight == 8 + 7 + 4 + 3 + 2  # half of what is left for each, and one that does not count
    await setup.clock.advance(DEADLINE)
    found = [[type(facts.error) for facts in await review] for review in reviews]
    assert found == [[DeadlineExceeded] * 8] * 5  # the author of an image cannot choose the images of other reviews
    answer.set()
    assert (await setup.facts(APP))[0].error is None


async def test_reviews_of_one_namespace_do_not_hide_each_other_s_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_WORKERS", 8)
    setup = ReviewSetup(concurrency=64)
    setup.anchore.hang("by_tag")
    flood = asyncio.create_task(setup.facts(*apps(8)))
    await settled()
    hiding = asyncio.create_task(setup.facts("registry.example.com/slow:1", "registry.example.com/bad:1"))
    await setup.clock.advance(DEADLINE)

    assert [type(facts.error) for facts in await hiding] == [DeadlineExceeded, AnchoreBusy]
    await flood
