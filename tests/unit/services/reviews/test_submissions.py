import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from anchore_admission.core.facts import Submission, SubmissionState
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.errors import AnchoreUnavailable
from anchore_admission.services.reviews import submissions
from anchore_admission.services.reviews.recent import Recent
from anchore_admission.services.reviews.submission_turns import QUICK_SECONDS
from anchore_admission.services.reviews.submissions import Schedule
from support.fakes import digest_of, settled
from support.review_setup import ANSWERED, DROPPED, NO_PULL, REQUEST, REQUESTED, ReviewSetup, tags


@pytest.fixture
async def setup() -> AsyncIterator[ReviewSetup]:
    setup = ReviewSetup()
    async with setup.running():
        yield setup


async def test_submission_is_answered_with_the_digest_of_the_tag(setup: ReviewSetup) -> None:
    assert setup.submit() == REQUESTED
    await settled()

    assert setup.submit() == ANSWERED
    assert setup.resolved() == ANSWERED.digest
    assert setup.recorder.submissions == [("default", "answered")]
    assert setup.recorder.depths == [1, 0]


async def test_image_is_in_flight_once_however_often_it_is_submitted() -> None:
    setup = ReviewSetup(schedule=Schedule(refresh_interval=1))
    answer = setup.anchore.hang("submit")
    async with setup.running():
        for _ in range(5):
            assert setup.submit() == REQUESTED
            await setup.clock.advance(5)
        answer.set()
        await settled()

    assert setup.submitted == [REQUEST.full_tag]


async def test_submission_that_hangs_is_given_up(setup: ReviewSetup) -> None:
    setup.anchore.hang("submit", subject=REQUEST.full_tag)
    setup.submit()
    await setup.clock.advance(submissions.ATTEMPT_SECONDS)

    assert setup.submit() == Submission(SubmissionState.REFUSED, None, "no response before the deadline")
    assert setup.anchore.in_flight == 0


async def test_accounts_do_not_share_facts(setup: ReviewSetup) -> None:
    setup.other.fail("submit", NO_PULL)
    await setup.responded()
    setup.submit(account="other")
    await settled()

    assert setup.submit() == ANSWERED
    assert setup.submit(account="other") == Submission(SubmissionState.REFUSED, None, str(NO_PULL))
    assert setup.resolved(account="other") is None


async def test_submission_of_a_digest_says_nothing_about_a_tag(setup: ReviewSetup) -> None:
    """Only the response to a plain tag shows its current digest."""
    await setup.responded(AnalysisRequest(REQUEST.full_tag, digest_of("old and harmless")))

    assert setup.resolved() is None


async def test_at_most_the_configured_number_is_in_flight(setup: ReviewSetup) -> None:
    await setup.responded()  # so its registry is known as quick
    answer = setup.anchore.hang("submit")
    for number, request in enumerate(tags(10)):
        setup.submit(request, f"shop{number}")
    await settled()

    assert setup.anchore.in_flight == 3
    answer.set()
    await settled()
    assert (setup.anchore.most_in_flight, len(setup.submitted)) == (3, 11)


async def test_full_queue_drops_and_says_so() -> None:
    setup = ReviewSetup(schedule=Schedule(queue_size=2))
    first, second, third = tags(3)

    assert [setup.submit(first), setup.submit(second), setup.submit(third)] == [REQUESTED, REQUESTED, DROPPED]
    assert setup.recorder.submissions == [("default", "dropped")]
    async with setup.running():
        await settled()
        assert setup.submit(third) == REQUESTED


async def test_dropped_submissions_take_no_memory() -> None:
    setup = ReviewSetup(schedule=Schedule(queue_size=1))
    for request in tags(100):
        setup.submit(request)

    assert len(setup.recent) == 1


async def test_full_queue_removes_no_known_facts() -> None:
    setup = ReviewSetup(schedule=Schedule(queue_size=1))
    async with setup.running():
        await setup.responded()
    await setup.clock.advance(600)
    setup.submit(tags(1)[0])

    assert setup.submit(needed=False) == ANSWERED


async def test_submissions_waiting_for_a_retry_fill_the_queue_too() -> None:
    setup = ReviewSetup(schedule=Schedule(queue_size=5))
    setup.anchore.fail("submit", AnchoreUnavailable("no connection"))
    async with setup.running():
        for request in tags(5):
            await setup.responded(request)

        assert setup.submit() == DROPPED


async def test_registry_that_hangs_holds_up_its_own_images_first() -> None:
    setup = ReviewSetup(schedule=Schedule(concurrency=1))
    async with setup.running():
        slow = tags(50, "slow.example.com")
        answer = setup.anchore.hang("submit", subject=slow[0].full_tag)
        for request in slow:
            setup.submit(request)
        await settled()
        setup.submit()
        answer.set()
        await settled()

    assert REQUEST.full_tag in setup.submitted[:3]
    assert len(setup.submitted) == 51


@pytest.mark.parametrize("registries", [1, 5], ids=["one registry", "several registries"])
async def test_registries_that_hang_leave_a_worker_to_quick_ones_of_the_same_namespace(registries: int) -> None:
    setup = ReviewSetup(schedule=Schedule(concurrency=3))
    async with setup.running():
        await setup.responded()
        for number in range(10):
            (request,) = tags(1, f"slow{number % registries}.example.com/team{number}")
            setup.anchore.hang("submit", subject=request.full_tag)
            setup.submit(request)
        await settled()
        later = tags(20)
        for request in later:
            setup.submit(request)
        await settled()

        slow = [name for name in setup.submitted if name.startswith("slow")]
        assert len(slow) == 1
        assert {request.full_tag for request in later} <= {*setup.submitted}


async def test_registries_that_hang_for_all_namespaces_leave_a_worker_to_others() -> None:
    setup = ReviewSetup(schedule=Schedule(concurrency=3))
    slow = [AnalysisRequest(f"slow{number % 3}.example.com/app:{number}") for number in range(15)]
    for request in slow:
        setup.anchore.hang("submit", subject=request.full_tag)
    async with setup.running():
        for number, request in enumerate(slow):
            setup.submit(request, f"shop{number}")
        await setup.clock.advance(submissions.ATTEMPT_SECONDS)
        await setup.responded(REQUEST, "late")
        assert setup.anchore.in_flight == 2
        assert setup.submitted[-1] == REQUEST.full_tag

        for _ in range(60):
            await setup.clock.advance(submissions.ATTEMPT_SECONDS)
    assert sorted(setup.submitted) == sorted([REQUEST.full_tag, *[request.full_tag for request in slow] * 4])


@pytest.mark.parametrize(("seconds", "begun"), [(QUICK_SECONDS, 2), (QUICK_SECONDS + 1, 1)], ids=["quick", "hangs"])
async def test_quick_registry_has_every_worker_of_its_namespace_until_it_hangs(seconds: float, begun: int) -> None:
    setup = ReviewSetup(schedule=Schedule(concurrency=3))
    async with setup.running():
        await setup.responded()
        setup.anchore.hang("submit")
        first, *others = tags(5)
        setup.submit(first)
        await setup.clock.advance(seconds)
        for request in others:
            setup.submit(request)
        await settled()

        assert setup.anchore.in_flight == begun


async def test_memory_is_bounded_and_the_longest_unused_is_dropped_first() -> None:
    setup = ReviewSetup(recent=Recent(most=3))
    async with setup.running():
        await setup.responded()
        for request in tags(5, "other.example.com"):
            await setup.responded(request)
            setup.submit()

    assert len(setup.recent) == 3
    assert setup.submitted.count(REQUEST.full_tag) == 1


async def test_a_submission_in_progress_is_not_forgotten() -> None:
    setup = ReviewSetup(recent=Recent(most=1))
    answer = setup.anchore.hang("submit")
    async with setup.running():
        for request in tags(5):
            setup.submit(request)
        await settled()
        answer.set()
        await settled()

    assert setup.recorder.submissions == [("default", "answered")] * 5


async def test_a_waiter_gets_the_response_as_soon_as_it_arrives(setup: ReviewSetup) -> None:
    answer = setup.anchore.hang("submit")
    waiting = asyncio.create_task(setup.submissions.submit_and_wait("default", REQUEST, "shop", 3600))
    await settled()
    assert not waiting.done()
    answer.set()

    assert await waiting == ANSWERED
    assert await setup.submissions.submit_and_wait("default", REQUEST, "shop", 3600) == ANSWERED


async def test_a_waiter_is_released_in_time_with_the_known_facts(setup: ReviewSetup) -> None:
    setup.anchore.hang("submit")
    waiting = asyncio.create_task(setup.submissions.submit_and_wait("default", REQUEST, "shop", 1))
    await setup.clock.advance(0.9)
    assert not waiting.done()
    await setup.clock.advance(0.1)

    assert waiting.done()
    assert await waiting == REQUESTED


async def test_a_waiter_for_a_failed_refresh_gets_the_remembered_digest(setup: ReviewSetup) -> None:
    await setup.responded()
    setup.anchore.hang("submit")
    await setup.clock.advance(600)

    assert await setup.submissions.submit_and_wait("default", REQUEST, "shop", 0) == ANSWERED
    assert len(setup.submitted) == 2


async def test_cancelling_a_waiter_leaves_the_submission_alone(setup: ReviewSetup) -> None:
    answer = setup.anchore.hang("submit")
    waiting = asyncio.create_task(setup.submissions.submit_and_wait("default", REQUEST, "shop", 3600))
    await settled()
    waiting.cancel()
    await settled()
    answer.set()
    await settled()

    assert setup.submit() == ANSWERED


async def test_unexpected_exception_ends_one_submission_and_no_worker(
    setup: ReviewSetup, caplog: pytest.LogCaptureFixture
) -> None:
    setup.anchore.fail("submit", ZeroDivisionError("a secret"), times=3)
    requests = tags(4)
    for request in requests:
        setup.submit(request)
    await settled()

    assert setup.submit(requests[0]) == Submission(SubmissionState.REFUSED, None, "the request for analysis failed")
    assert setup.submit(requests[3]).state is SubmissionState.ANSWERED
    assert setup.recorder.submissions[:3] == [("default", "internal")] * 3
    assert "failed unexpectedly" in caplog.text


async def test_account_that_is_gone_is_an_unexpected_exception(setup: ReviewSetup) -> None:
    setup.submit(account="gone")
    await settled()

    assert setup.submit(account="gone").state is SubmissionState.REFUSED


async def test_restarted_workers_send_interrupted_submissions() -> None:
    setup = ReviewSetup()
    setup.anchore.hang("submit")
    async with setup.running():
        setup.submit()
        await settled()
    setup.anchore.hang("submit").set()
    async with setup.running():
        await settled()

    assert setup.submit() == ANSWERED


async def test_drain_sends_queued_submissions_and_accepts_no_more(setup: ReviewSetup) -> None:
    answer = setup.anchore.hang("submit")
    for request in tags(5):
        setup.submit(request)
    await settled()
    draining = asyncio.create_task(setup.submissions.drain(3600))
    await settled()
    assert setup.submit() == DROPPED
    answer.set()

    assert await draining == []
    assert len(setup.submitted) == 5


async def test_drain_names_unsent_submissions_when_its_time_is_up(
    setup: ReviewSetup, caplog: pytest.LogCaptureFixture
) -> None:
    setup.anchore.hang("submit", subject=REQUEST.full_tag)
    setup.submit()
    outage = tags(1)[0]
    setup.anchore.fail("submit", AnchoreUnavailable("no connection"), subject=outage.full_tag)
    setup.submit(outage)
    await settled()

    with caplog.at_level(logging.WARNING):
        assert await setup.submissions.drain(0) == [REQUEST.full_tag, outage.full_tag]
    assert REQUEST.full_tag in caplog.text
    await setup.clock.advance(3600)
    assert setup.submitted == [REQUEST.full_tag, outage.full_tag], "no attempt follows a drain"


async def test_forgotten_responses_do_not_count_and_are_requested_again(setup: ReviewSetup) -> None:
    await setup.responded()

    setup.submissions.forget()

    assert setup.resolved() is None
    assert setup.submit() == REQUESTED
    await settled()
    assert setup.submitted == [REQUEST.full_tag] * 2
    assert setup.resolved() == ANSWERED.digest


async def test_response_to_a_submission_from_before_it_forgot_names_no_digest(setup: ReviewSetup) -> None:
    answer = setup.anchore.hang("submit")
    setup.submit()
    await settled()

    setup.submissions.forget()
    assert setup.submit() == REQUESTED
    answer.set()
    await settled()

    assert setup.resolved() is None
    assert setup.submitted == [REQUEST.full_tag]
    assert setup.recorder.submissions == [("default", "answered")]


async def test_forgetting_leaves_the_queue_and_the_retries_as_they_are(setup: ReviewSetup) -> None:
    setup.anchore.fail("submit", AnchoreUnavailable("no connection"), times=1)
    setup.submit()
    await settled()

    setup.submissions.forget()
    await setup.clock.advance(2 * submissions.FIRST_RETRY)

    assert setup.submitted == [REQUEST.full_tag] * 2
    assert setup.resolved() == ANSWERED.digest
