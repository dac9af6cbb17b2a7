import asyncio
from collections.abc import AsyncIterator

import pytest

from anchore_admission.core.facts import AnalysisState, Submission, SubmissionState
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.errors import AnchoreRefused, AnchoreResponseInvalid, AnchoreUnavailable
from anchore_admission.services.reviews import submissions
from anchore_admission.services.reviews.submissions import Schedule
from support.fakes import digest_of, settled
from support.review_setup import ANSWERED, NO_PULL, REQUEST, ReviewSetup, tags


@pytest.fixture
async def setup() -> AsyncIterator[ReviewSetup]:
    setup = ReviewSetup()
    async with setup.running():
        yield setup


@pytest.mark.parametrize("error", [AnchoreUnavailable("no connection"), AnchoreResponseInvalid("not JSON")])
async def test_outage_is_retried_with_growing_pauses_and_then_given_up(setup: ReviewSetup, error: Exception) -> None:
    setup.anchore.fail("submit", error)
    setup.submit()
    await setup.clock.advance(29)

    assert len(setup.submitted) == submissions.ATTEMPTS
    for pause, middle in zip(setup.clock.slept, (2, 4, 8), strict=True):
        assert middle * 0.5 <= pause <= middle * 1.5
    assert setup.recorder.submissions == [("default", getattr(error, "code", ""))]
    assert setup.submit() == Submission(SubmissionState.REFUSED, None, str(error))


async def test_every_request_gets_all_its_attempts(setup: ReviewSetup) -> None:
    setup.anchore.fail("submit", AnchoreUnavailable("no connection"))
    for _ in range(3):
        setup.submit()
        await setup.clock.advance(600)

    assert len(setup.submitted) == 3 * submissions.ATTEMPTS


async def test_pauses_of_many_images_differ(setup: ReviewSetup) -> None:
    setup.anchore.fail("submit", AnchoreUnavailable("no connection"))
    for request in tags(20):
        setup.submit(request)
    await settled()

    assert len(set(setup.clock.slept)) > 10


async def test_outage_that_ends_is_forgotten(setup: ReviewSetup) -> None:
    setup.anchore.fail("submit", AnchoreUnavailable("no connection"), times=2)
    setup.submit()
    await setup.clock.advance(29)

    assert setup.submit() == ANSWERED
    assert setup.recorder.submissions == [("default", "answered")]


async def test_reason_of_an_outage_is_given_while_it_lasts(setup: ReviewSetup) -> None:
    setup.anchore.fail("submit", AnchoreUnavailable("no connection"))

    assert await setup.responded() == Submission(SubmissionState.REFUSED, None, "no connection")
    assert await setup.submissions.submit_and_wait("default", REQUEST, "shop", 3600) == setup.submit()


@pytest.mark.parametrize("error", [NO_PULL, AnchoreRefused("Anchore refuses our credentials (401)")])
async def test_rejection_is_not_retried_at_once_but_remembered_until_a_success(
    setup: ReviewSetup, error: Exception
) -> None:
    refused = Submission(SubmissionState.REFUSED, None, str(error))
    setup.anchore.fail("submit", error)

    assert await setup.responded() == refused
    await setup.clock.advance(29)
    assert setup.submit() == refused
    assert (len(setup.submitted), setup.clock.slept) == (1, [])
    setup.anchore.recover()
    await setup.clock.advance(1)
    assert setup.submit() == refused, "the old reason stands while the next submission is on its way"
    await settled()
    assert setup.submit() == ANSWERED


@pytest.mark.parametrize(
    ("error", "kept"),
    [(NO_PULL, None), (AnchoreRefused("401"), None), (AnchoreUnavailable("no connection"), ANSWERED.digest)],
    ids=["the registry refuses", "Anchore refuses", "an outage"],
)
async def test_rejection_ends_a_remembered_digest_and_an_outage_does_not(
    setup: ReviewSetup, error: Exception, kept: str | None
) -> None:
    await setup.responded()
    setup.anchore.fail("submit", error)
    await setup.clock.advance(600)
    await setup.responded()

    assert setup.submit() == Submission(SubmissionState.REFUSED, kept, str(error))
    assert setup.resolved() == kept


async def test_remembered_digest_ends_by_age(setup: ReviewSetup) -> None:
    await setup.responded()
    await setup.clock.advance(1199)
    assert setup.resolved() == ANSWERED.digest
    await setup.clock.advance(1)
    assert setup.resolved() is None


async def test_latest_answer_under_any_name_counts(setup: ReviewSetup) -> None:
    long, short = AnalysisRequest("docker.io/library/nginx:1"), AnalysisRequest("docker.io/nginx:1")
    await setup.responded(long)
    await setup.clock.advance(1)
    await setup.responded(short)

    assert setup.resolved(long, short) == digest_of(short.full_tag)
    assert setup.resolved(long) == digest_of(long.full_tag)


async def test_response_without_a_comparison_is_requested_again_when_a_look_up_differs(
    setup: ReviewSetup,
) -> None:
    """Passive mode looks nothing up, so it is unknown which of the two digests is newer."""
    await setup.responded(needed=False)
    await setup.clock.advance(30)
    for looked_up in (ANSWERED.digest, None, digest_of("other"), digest_of("other")):
        setup.submissions.submit("default", REQUEST, "shop", needed=False, looked_up=looked_up)
        await settled()

    assert len(setup.submitted) == 2


@pytest.mark.parametrize("refused", [False, True], ids=["unknown or failed", "refused in passive mode"])
async def test_needed_image_is_submitted_again_after_doubling_pauses(setup: ReviewSetup, *, refused: bool) -> None:
    if refused:
        setup.anchore.fail("submit", NO_PULL)
    began, times = setup.clock.now, []
    for _ in range(250):
        before = len(setup.submitted)
        await setup.responded(needed=not refused)
        times += [setup.clock.now - began] * (len(setup.submitted) - before)
        await setup.clock.advance(10)

    assert times == [0, 30, 90, 210, 450, 930, 1530, 2130]


async def test_image_that_is_never_analyzed_is_submitted_again_forever() -> None:
    """The doubling once grew past what a float holds, after a week."""
    setup = ReviewSetup(schedule=Schedule(refresh_interval=1))
    async with setup.running():
        for _ in range(1100):
            setup.submit()
            setup.clock.now += 1
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    assert len(setup.submitted) == 1100


async def test_tag_is_refreshed_once_per_interval(setup: ReviewSetup) -> None:
    for _ in range(5):
        await setup.responded(needed=False)
        await setup.clock.advance(599)
        await setup.responded(needed=False)
        await setup.clock.advance(1)

    assert len(setup.submitted) == 5


async def test_moved_tag_resolves_to_the_old_digest_until_the_next_answer(setup: ReviewSetup) -> None:
    await setup.responded()
    moved = setup.anchore.registry[REQUEST.full_tag] = digest_of("moved")
    await setup.clock.advance(600)
    assert setup.submit() == ANSWERED
    assert setup.resolved() == ANSWERED.digest
    await settled()

    assert setup.resolved() == moved


async def test_outage_met_while_draining_is_final(setup: ReviewSetup) -> None:
    answer = setup.anchore.hang("submit")
    setup.anchore.fail("submit", AnchoreUnavailable("no connection"))
    setup.submit()
    await settled()
    draining = asyncio.create_task(setup.submissions.drain(3600))
    await settled()
    answer.set()

    assert await draining == []
    assert setup.recorder.submissions == [("default", "unavailable")]


async def test_failed_analysis_is_queued_by_anchore_again(setup: ReviewSetup) -> None:
    setup.anchore.store(REQUEST.full_tag, AnalysisState.FAILED)
    await setup.responded()

    assert setup.anchore._records[digest_of(REQUEST.full_tag)].state is AnalysisState.NOT_ANALYZED
