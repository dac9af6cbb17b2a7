import asyncio
from collections.abc import AsyncIterator

import pytest

from anchore_admission.core.facts import AnalysisState, Submission, SubmissionState
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.errors import AnchoreRefused, AnchoreResponseInvalid, AnchoreUnavailable
from anchore_admission.services.reviews import submissions
from anchore_admission.services.reviews.submissions import Schedule
from support.analysis_bench import ANSWERED, APP, NO_PULL, Bench, tags
from support.fakes import digest_of, settled


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    async with bench.running():
        yield bench


@pytest.mark.parametrize("error", [AnchoreUnavailable("no connection"), AnchoreResponseInvalid("not JSON")])
async def test_outage_is_retried_with_growing_pauses_and_then_given_up(bench: Bench, error: Exception) -> None:
    bench.anchore.fail("submit", error)
    bench.submit()
    await bench.clock.advance(29)

    assert len(bench.submitted) == submissions.ATTEMPTS
    for pause, middle in zip(bench.clock.slept, (2, 4, 8), strict=True):
        assert middle * 0.5 <= pause <= middle * 1.5
    assert bench.recorder.submissions == [("default", getattr(error, "code", ""))]
    assert bench.submit() == Submission(SubmissionState.REFUSED, None, str(error))


async def test_every_request_gets_all_its_attempts(bench: Bench) -> None:
    bench.anchore.fail("submit", AnchoreUnavailable("no connection"))
    for _ in range(3):
        bench.submit()
        await bench.clock.advance(600)

    assert len(bench.submitted) == 3 * submissions.ATTEMPTS


async def test_pauses_of_many_images_differ(bench: Bench) -> None:
    bench.anchore.fail("submit", AnchoreUnavailable("no connection"))
    for request in tags(20):
        bench.submit(request)
    await settled()

    assert len(set(bench.clock.slept)) > 10


async def test_outage_that_ends_is_forgotten(bench: Bench) -> None:
    bench.anchore.fail("submit", AnchoreUnavailable("no connection"), times=2)
    bench.submit()
    await bench.clock.advance(29)

    assert bench.submit() == ANSWERED
    assert bench.recorder.submissions == [("default", "answered")]


async def test_reason_of_an_outage_is_told_while_it_lasts(bench: Bench) -> None:
    bench.anchore.fail("submit", AnchoreUnavailable("no connection"))

    assert await bench.responded() == Submission(SubmissionState.REFUSED, None, "no connection")
    assert await bench.submissions.submit_and_wait("default", APP, 3600) == bench.submit()


@pytest.mark.parametrize("error", [NO_PULL, AnchoreRefused("Anchore refuses our credentials (401)")])
async def test_refusal_is_not_retried_at_once_but_remembered_until_a_success(bench: Bench, error: Exception) -> None:
    refused = Submission(SubmissionState.REFUSED, None, str(error))
    bench.anchore.fail("submit", error)

    assert await bench.responded() == refused
    await bench.clock.advance(29)
    assert bench.submit() == refused
    assert (len(bench.submitted), bench.clock.slept) == (1, [])
    bench.anchore.recover()
    await bench.clock.advance(1)
    assert bench.submit() == refused, "the old reason stands while the next submission is on its way"
    await settled()
    assert bench.submit() == ANSWERED


@pytest.mark.parametrize(
    ("error", "kept"),
    [(NO_PULL, None), (AnchoreRefused("401"), None), (AnchoreUnavailable("no connection"), ANSWERED.digest)],
    ids=["the registry refuses", "Anchore refuses", "an outage"],
)
async def test_refusal_ends_a_remembered_digest_and_an_outage_does_not(
    bench: Bench, error: Exception, kept: str | None
) -> None:
    await bench.responded()
    bench.anchore.fail("submit", error)
    await bench.clock.advance(600)
    await bench.responded()

    assert bench.submit() == Submission(SubmissionState.REFUSED, kept, str(error))
    assert bench.resolved() == kept


async def test_remembered_digest_ends_by_age(bench: Bench) -> None:
    await bench.responded()
    await bench.clock.advance(1199)
    assert bench.resolved() == ANSWERED.digest
    await bench.clock.advance(1)
    assert bench.resolved() is None


async def test_latest_answer_under_any_name_counts(bench: Bench) -> None:
    long, short = AnalysisRequest("docker.io/library/nginx:1"), AnalysisRequest("docker.io/nginx:1")
    await bench.responded(long)
    await bench.clock.advance(1)
    await bench.responded(short)

    assert bench.resolved(long, short) == digest_of(short.full_tag)
    assert bench.resolved(long) == digest_of(long.full_tag)


async def test_answer_that_nothing_was_compared_with_is_asked_for_again_when_a_look_up_differs(bench: Bench) -> None:
    """Passive mode looks nothing up, so nothing tells which of the two digests is newer."""
    await bench.responded(needed=False)
    await bench.clock.advance(30)
    for looked_up in (ANSWERED.digest, None, digest_of("other"), digest_of("other")):
        bench.submissions.submit("default", APP, needed=False, looked_up=looked_up)
        await settled()

    assert len(bench.submitted) == 2


@pytest.mark.parametrize("refused", [False, True], ids=["unknown or failed", "refused in passive mode"])
async def test_needed_image_is_submitted_again_after_doubling_pauses(bench: Bench, *, refused: bool) -> None:
    if refused:
        bench.anchore.fail("submit", NO_PULL)
    began, times = bench.clock.now, []
    for _ in range(250):
        before = len(bench.submitted)
        await bench.responded(needed=not refused)
        times += [bench.clock.now - began] * (len(bench.submitted) - before)
        await bench.clock.advance(10)

    assert times == [0, 30, 90, 210, 450, 930, 1530, 2130]


async def test_image_that_is_never_analysed_is_asked_for_forever() -> None:
    """The doubling once grew past what a float holds, after a week."""
    bench = Bench(Schedule(refresh_interval=1))
    async with bench.running():
        for _ in range(1100):
            bench.submit()
            bench.clock.now += 1
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    assert len(bench.submitted) == 1100


async def test_tag_is_refreshed_once_per_interval(bench: Bench) -> None:
    for _ in range(5):
        await bench.responded(needed=False)
        await bench.clock.advance(599)
        await bench.responded(needed=False)
        await bench.clock.advance(1)

    assert len(bench.submitted) == 5


async def test_moved_tag_resolves_to_the_old_digest_until_the_next_answer(bench: Bench) -> None:
    await bench.responded()
    moved = bench.anchore.registry[APP.full_tag] = digest_of("moved")
    await bench.clock.advance(600)
    assert bench.submit() == ANSWERED
    assert bench.resolved() == ANSWERED.digest
    await settled()

    assert bench.resolved() == moved


async def test_outage_met_while_draining_is_final(bench: Bench) -> None:
    answer = bench.anchore.hang("submit")
    bench.anchore.fail("submit", AnchoreUnavailable("no connection"))
    bench.submit()
    await settled()
    draining = asyncio.create_task(bench.submissions.drain(3600))
    await settled()
    answer.set()

    assert await draining == []
    assert bench.recorder.submissions == [("default", "unavailable")]


async def test_failed_analysis_is_queued_by_anchore_again(bench: Bench) -> None:
    bench.anchore.store(APP.full_tag, AnalysisState.FAILED)
    await bench.responded()

    assert bench.anchore._records[digest_of(APP.full_tag)].state is AnalysisState.NOT_ANALYZED
