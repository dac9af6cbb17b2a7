"""Submissions while facts are gathered."""

import asyncio

import pytest

from anchore_admission.core.facts import AnalysisState, ImageFacts, Submission, SubmissionState
from anchore_admission.core.names import AnalysisRequest, label_of
from anchore_admission.errors import AnchoreUnavailable
from anchore_admission.models.configuration import ModeName
from anchore_admission.services.reviews.submissions import Submissions
from support.builders import rule
from support.fakes import PASS, digest_of
from support.review_setup import DEADLINE, ReviewSetup

REPOSITORY = "registry.example.com/app"
TAG = f"{REPOSITORY}:1"
PINNED = f"{TAG}@{digest_of(TAG)}"
LABEL = f"{REPOSITORY}:{label_of(digest_of(TAG))}"
ASKING = [ModeName.PASSIVE, ModeName.ANALYSIS, ModeName.STRICT]
NONE = Submission()
DRY_RUN = Submission(SubmissionState.DRY_RUN)
REQUESTED = Submission(SubmissionState.REQUESTED)


@pytest.fixture
async def setup() -> ReviewSetup:
    return ReviewSetup()


@pytest.mark.parametrize(
    ("image", "state", "seconds"),
    [
        pytest.param(TAG, None, 30, id="unknown tag"),
        pytest.param(TAG, AnalysisState.FAILED, 30, id="failed tag"),
        pytest.param(TAG, AnalysisState.ANALYZED, 600, id="analyzed tag may have moved"),
        pytest.param(TAG, AnalysisState.ANALYZING, 600, id="pending tag may have moved"),
        pytest.param(PINNED, None, 30, id="unknown digest"),
        pytest.param(PINNED, AnalysisState.FAILED, 30, id="failed digest"),
    ],
)
@pytest.mark.parametrize("mode", [ModeName.ANALYSIS, ModeName.STRICT])
async def test_analysis_is_requested_periodically(
    setup: ReviewSetup, mode: ModeName, image: str, state: AnalysisState | None, seconds: float
) -> None:
    async with setup.running():
        for times, pause in [(1, seconds - 0.1), (1, 0.1), (2, 0)]:
            setup.anchore.forget(TAG)
            if state:
                setup.anchore.store(TAG, state)
            (facts,) = await setup.facts(image, by=rule(mode=mode))
            await setup.clock.advance(pause)

            assert facts.submission.state in {SubmissionState.REQUESTED, SubmissionState.ANSWERED}
            assert setup.submitted == [LABEL if image == PINNED else TAG] * times


@pytest.mark.parametrize("state", [AnalysisState.ANALYZED, AnalysisState.ANALYZING, AnalysisState.NOT_ANALYZED])
async def test_digest_does_not_move(setup: ReviewSetup, state: AnalysisState) -> None:
    setup.anchore.store(TAG, state)
    (facts,) = await setup.facts(PINNED)

    assert facts.submission == NONE


@pytest.mark.parametrize("operation", ["by_tag", "check"])
async def test_nothing_is_requested_after_an_error(setup: ReviewSetup, operation: str) -> None:
    """Unknown is not absent."""
    setup.anchore.store(TAG)
    setup.anchore.fail(operation, AnchoreUnavailable("no connection"))
    (facts,) = await setup.facts(TAG)

    assert facts.submission == NONE


@pytest.mark.parametrize("mode", ASKING)
@pytest.mark.parametrize("image", [TAG, PINNED])
async def test_nothing_is_requested_without_side_effects(setup: ReviewSetup, mode: ModeName, image: str) -> None:
    async with setup.queued():
        (facts,) = await setup.facts(image, by=rule(mode=mode), side_effects=False)

    assert facts.submission == DRY_RUN
    assert setup.submitted == []


@pytest.mark.parametrize("mode", ASKING)
@pytest.mark.parametrize("side_effects", [True, False])
async def test_nothing_is_requested_where_the_rule_says_so(
    setup: ReviewSetup, mode: ModeName, *, side_effects: bool
) -> None:
    async with setup.queued():
        (facts,) = await setup.facts(TAG, by=rule(mode=mode, request_analysis=False), side_effects=side_effects)

    assert facts.submission == NONE
    assert setup.submitted == []


async def test_official_image_is_submitted_as_people_see_it(setup: ReviewSetup) -> None:
    async with setup.queued():
        await setup.facts("nginx")

    assert setup.submitted == ["docker.io/nginx:latest"]


@pytest.mark.parametrize("held", ["docker.io/library/nginx:latest", "docker.io/nginx:latest"])
async def test_official_image_is_submitted_again_under_the_name_that_anchore_has(setup: ReviewSetup, held: str) -> None:
    setup.anchore.store(held)
    async with setup.queued():
        await setup.facts("nginx")

    assert setup.submitted == [held]


@pytest.mark.parametrize("image", [TAG, PINNED])
async def test_passive_mode_waits_for_the_digest(setup: ReviewSetup, image: str) -> None:
    async with setup.running():
        (facts,) = await setup.facts(image, by=rule(mode=ModeName.PASSIVE))

    assert facts == ImageFacts(submission=Submission(SubmissionState.ANSWERED, digest_of(TAG)))


@pytest.mark.parametrize(("wait", "seconds"), [(1, 1), (60, DEADLINE)], ids=["its own time", "the deadline"])
async def test_passive_mode_waits_no_longer_than_it_may(wait: float, seconds: float) -> None:
    setup = ReviewSetup(passive_wait=wait)
    setup.anchore.hang("submit")
    asking = asyncio.create_task(setup.facts(TAG, by=rule(mode=ModeName.PASSIVE)))
    async with setup.running():
        await setup.clock.advance(seconds - 0.1)
        assert not asking.done()
        await setup.clock.advance(0.1)
        assert asking.done()

    assert await asking == [ImageFacts(submission=REQUESTED)]


class BrokenSubmissions(Submissions):
    def submit(
        self,
        account: str,
        request: AnalysisRequest,
        namespace: str | None,
        *,
        needed: bool,
        looked_up: str | None = None,
    ) -> Submission:
        raise ZeroDivisionError(account, request, namespace, needed, looked_up)


@pytest.mark.parametrize("mode", ASKING)
async def test_request_that_breaks_takes_nothing_from_the_facts(setup: ReviewSetup, mode: ModeName) -> None:
    record = setup.anchore.store(TAG)
    broken = BrokenSubmissions(setup.accounts, setup.recorder, setup.schedule, clock=setup.clock)
    setup.gathering = setup.gathering_over(broken)
    (facts,) = await setup.facts(TAG, by=rule(mode=mode))

    assert facts.submission.state is SubmissionState.REFUSED
    assert facts.error is None
    assert facts.record == (None if mode is ModeName.PASSIVE else record)
    assert facts.evaluations == ((PASS,) if mode is ModeName.STRICT else ())
