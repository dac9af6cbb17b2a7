import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from anchore_admission.core.facts import Submission, SubmissionState
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.errors import AnchoreUnavailable
from anchore_admission.services.reviews import submissions
from anchore_admission.services.reviews.recent import Recent
from anchore_admission.services.reviews.submissions import Schedule
from support.analysis_bench import ANSWERED, APP, DROPPED, NO_PULL, REQUESTED, Bench, tags
from support.fakes import digest_of, settled


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    async with bench.running():
        yield bench


async def test_submission_is_answered_with_the_digest_of_the_tag(bench: Bench) -> None:
    assert bench.submit() == REQUESTED
    await settled()

    assert bench.submit() == ANSWERED
    assert bench.resolved() == ANSWERED.digest
    assert bench.recorder.submissions == [("default", "answered")]
    assert bench.recorder.depths == [1, 0]


async def test_image_is_in_flight_once_however_often_it_is_asked_for() -> None:
    bench = Bench(Schedule(refresh_interval=1))
    answer = bench.anchore.hang("submit")
    async with bench.running():
        for _ in range(5):
            assert bench.submit() == REQUESTED
            await bench.clock.advance(5)
        answer.set()
        await settled()

    assert bench.submitted == [APP.full_tag]


async def test_submission_that_hangs_is_given_up(bench: Bench) -> None:
    bench.anchore.hang("submit", subject=APP.full_tag)
    bench.submit()
    await bench.clock.advance(submissions.ATTEMPT_SECONDS)

    assert bench.submit() == Submission(SubmissionState.REFUSED, None, "no response before the deadline")
    assert bench.anchore.in_flight == 0


async def test_accounts_do_not_share_what_they_know(bench: Bench) -> None:
    bench.other.fail("submit", NO_PULL)
    await bench.responded()
    bench.submit(account="other")
    await settled()

    assert bench.submit() == ANSWERED
    assert bench.submit(account="other") == Submission(SubmissionState.REFUSED, None, str(NO_PULL))
    assert bench.resolved(account="other") is None


async def test_submission_of_a_digest_says_nothing_about_a_tag(bench: Bench) -> None:
    """Only a plain tag's answer says where the tag points to."""
    await bench.responded(AnalysisRequest(APP.full_tag, digest_of("old and harmless")))

    assert bench.resolved() is None


async def test_at_most_the_configured_number_is_in_flight(bench: Bench) -> None:
    answer = bench.anchore.hang("submit")
    for request in tags(10):
        bench.submit(request)
    await settled()

    assert bench.anchore.in_flight == 3
    answer.set()
    await settled()
    assert (bench.anchore.most_in_flight, len(bench.submitted)) == (3, 10)


async def test_full_queue_drops_and_says_so() -> None:
    bench = Bench(Schedule(queue_size=2))
    first, second, third = tags(3)

    assert [bench.submit(first), bench.submit(second), bench.submit(third)] == [REQUESTED, REQUESTED, DROPPED]
    assert bench.recorder.submissions == [("default", "dropped")]
    async with bench.running():
        await settled()
        assert bench.submit(third) == REQUESTED


async def test_what_is_dropped_takes_no_memory() -> None:
    bench = Bench(Schedule(queue_size=1))
    for request in tags(100):
        bench.submit(request)

    assert len(bench.recent) == 1


async def test_full_queue_takes_nothing_away_from_what_is_known() -> None:
    bench = Bench(Schedule(queue_size=1))
    async with bench.running():
        await bench.responded()
    await bench.clock.advance(600)
    bench.submit(tags(1)[0])

    assert bench.submit(needed=False) == ANSWERED


async def test_what_waits_for_its_next_attempt_fills_the_queue_too() -> None:
    bench = Bench(Schedule(queue_size=5))
    bench.anchore.fail("submit", AnchoreUnavailable("no connection"))
    async with bench.running():
        for request in tags(5):
            await bench.responded(request)

        assert bench.submit() == DROPPED


async def test_registry_that_hangs_holds_up_its_own_images_first() -> None:
    bench = Bench(Schedule(concurrency=1))
    async with bench.running():
        slow = tags(50, "slow.example.com")
        answer = bench.anchore.hang("submit", subject=slow[0].full_tag)
        for request in slow:
            bench.submit(request)
        await settled()
        bench.submit()
        answer.set()
        await settled()

    assert APP.full_tag in bench.submitted[:3]
    assert len(bench.submitted) == 51


async def test_memory_is_bounded_and_the_longest_unused_goes_first() -> None:
    bench = Bench(recent=Recent(most=3))
    async with bench.running():
        await bench.responded()
        for request in tags(5, "other.example.com"):
            await bench.responded(request)
            bench.submit()

    assert len(bench.recent) == 3
    assert bench.submitted.count(APP.full_tag) == 1


async def test_what_is_under_way_is_not_forgotten() -> None:
    bench = Bench(recent=Recent(most=1))
    answer = bench.anchore.hang("submit")
    async with bench.running():
        for request in tags(5):
            bench.submit(request)
        await settled()
        answer.set()
        await settled()

    assert bench.recorder.submissions == [("default", "answered")] * 5


async def test_who_waits_gets_the_answer_as_soon_as_it_is_there(bench: Bench) -> None:
    answer = bench.anchore.hang("submit")
    waiting = asyncio.create_task(bench.submissions.submit_and_wait("default", APP, 3600))
    await settled()
    assert not waiting.done()
    answer.set()

    assert await waiting == ANSWERED
    assert await bench.submissions.submit_and_wait("default", APP, 3600) == ANSWERED


async def test_who_waits_is_let_go_in_time_with_what_is_known(bench: Bench) -> None:
    bench.anchore.hang("submit")
    waiting = asyncio.create_task(bench.submissions.submit_and_wait("default", APP, 1))
    await bench.clock.advance(0.9)
    assert not waiting.done()
    await bench.clock.advance(0.1)

    assert waiting.done()
    assert await waiting == REQUESTED


async def test_who_waits_for_a_refresh_in_vain_gets_the_remembered_digest(bench: Bench) -> None:
    await bench.responded()
    bench.anchore.hang("submit")
    await bench.clock.advance(600)

    assert await bench.submissions.submit_and_wait("default", APP, 0) == ANSWERED
    assert len(bench.submitted) == 2


async def test_who_waits_and_is_cancelled_leaves_the_submission_alone(bench: Bench) -> None:
    answer = bench.anchore.hang("submit")
    waiting = asyncio.create_task(bench.submissions.submit_and_wait("default", APP, 3600))
    await settled()
    waiting.cancel()
    await settled()
    answer.set()
    await settled()

    assert bench.submit() == ANSWERED


async def test_unexpected_exception_ends_one_submission_and_no_worker(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.anchore.fail("submit", ZeroDivisionError("a secret"), times=3)
    requests = tags(4)
    for request in requests:
        bench.submit(request)
    await settled()

    assert bench.submit(requests[0]) == Submission(SubmissionState.REFUSED, None, "the request for analysis failed")
    assert bench.submit(requests[3]).state is SubmissionState.ANSWERED
    assert bench.recorder.submissions[:3] == [("default", "internal")] * 3
    assert "failed unexpectedly" in caplog.text


async def test_account_that_is_gone_is_an_unexpected_exception(bench: Bench) -> None:
    bench.submit(account="gone")
    await settled()

    assert bench.submit(account="gone").state is SubmissionState.REFUSED


async def test_workers_that_are_started_again_send_what_was_under_way() -> None:
    bench = Bench()
    bench.anchore.hang("submit")
    async with bench.running():
        bench.submit()
        await settled()
    bench.anchore.hang("submit").set()
    async with bench.running():
        await settled()

    assert bench.submit() == ANSWERED


async def test_drain_finishes_what_is_queued_and_takes_no_more(bench: Bench) -> None:
    answer = bench.anchore.hang("submit")
    for request in tags(5):
        bench.submit(request)
    await settled()
    draining = asyncio.create_task(bench.submissions.drain(3600))
    await settled()
    assert bench.submit() == DROPPED
    answer.set()

    assert await draining == []
    assert len(bench.submitted) == 5


async def test_drain_names_what_is_left_when_its_time_is_up(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.anchore.hang("submit", subject=APP.full_tag)
    bench.submit()
    outage = tags(1)[0]
    bench.anchore.fail("submit", AnchoreUnavailable("no connection"), subject=outage.full_tag)
    bench.submit(outage)
    await settled()

    with caplog.at_level(logging.WARNING):
        assert await bench.submissions.drain(0) == [APP.full_tag, outage.full_tag]
    assert APP.full_tag in caplog.text
    await bench.clock.advance(3600)
    assert bench.submitted == [APP.full_tag, outage.full_tag], "no attempt follows a drain"
