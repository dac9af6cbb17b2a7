"""When gathering facts asks Anchore for an analysis."""

import asyncio

import pytest

from anchore_admission.core.facts import AnalysisState, ImageFacts, Submission, SubmissionState
from anchore_admission.core.names import AnalysisRequest, label_of
from anchore_admission.errors import AnchoreUnavailable
from anchore_admission.models.configuration import ModeName
from anchore_admission.services.reviews.facts import FactGathering
from anchore_admission.services.reviews.submissions import Submissions
from support.evaluation_bench import DEADLINE, EvaluationBench, rule
from support.fakes import PASS, digest_of

REPOSITORY = "registry.example.com/app"
TAG = f"{REPOSITORY}:1"
PINNED = f"{TAG}@{digest_of(TAG)}"
LABEL = f"{REPOSITORY}:{label_of(digest_of(TAG))}"
ASKING = [ModeName.PASSIVE, ModeName.ANALYSIS, ModeName.STRICT]
NONE = Submission()
DRY_RUN = Submission(SubmissionState.DRY_RUN)
REQUESTED = Submission(SubmissionState.REQUESTED)


@pytest.fixture
async def bench() -> EvaluationBench:
    return EvaluationBench()


@pytest.mark.parametrize(
    ("image", "state", "seconds"),
    [
        pytest.param(TAG, None, 30, id="unknown tag"),
        pytest.param(TAG, AnalysisState.FAILED, 30, id="failed tag"),
        pytest.param(TAG, AnalysisState.ANALYZED, 600, id="analysed tag may have moved"),
        pytest.param(TAG, AnalysisState.ANALYZING, 600, id="pending tag may have moved"),
        pytest.param(PINNED, None, 30, id="unknown digest"),
        pytest.param(PINNED, AnalysisState.FAILED, 30, id="failed digest"),
    ],
)
@pytest.mark.parametrize("mode", [ModeName.ANALYSIS, ModeName.STRICT])
async def test_analysis_is_requested_now_and_again(
    bench: EvaluationBench, mode: ModeName, image: str, state: AnalysisState | None, seconds: float
) -> None:
    async with bench.running():
        for times, pause in [(1, seconds - 0.1), (1, 0.1), (2, 0)]:
            bench.anchore.forget(TAG)
            if state:
                bench.anchore.store(TAG, state)
            (facts,) = await bench.facts(image, by=rule(mode))
            await bench.clock.advance(pause)

            assert facts.submission.state in {SubmissionState.REQUESTED, SubmissionState.ANSWERED}
            assert bench.submitted == [LABEL if image == PINNED else TAG] * times


@pytest.mark.parametrize("state", [AnalysisState.ANALYZED, AnalysisState.ANALYZING, AnalysisState.NOT_ANALYZED])
async def test_digest_does_not_move(bench: EvaluationBench, state: AnalysisState) -> None:
    bench.anchore.store(TAG, state)
    (facts,) = await bench.facts(PINNED)

    assert facts.submission == NONE


@pytest.mark.parametrize("operation", ["by_tag", "check"])
async def test_nothing_is_requested_after_an_error(bench: EvaluationBench, operation: str) -> None:
    """Unknown is not absent."""
    bench.anchore.store(TAG)
    bench.anchore.fail(operation, AnchoreUnavailable("no connection"))
    (facts,) = await bench.facts(TAG)

    assert facts.submission == NONE


@pytest.mark.parametrize("mode", ASKING)
@pytest.mark.parametrize("image", [TAG, PINNED])
async def test_nothing_is_requested_without_side_effects(bench: EvaluationBench, mode: ModeName, image: str) -> None:
    async with bench.queued():
        (facts,) = await bench.facts(image, by=rule(mode), side_effects=False)

    assert facts.submission == DRY_RUN
    assert bench.submitted == []


@pytest.mark.parametrize("mode", ASKING)
@pytest.mark.parametrize("side_effects", [True, False])
async def test_nothing_is_requested_where_the_rule_says_so(
    bench: EvaluationBench, mode: ModeName, *, side_effects: bool
) -> None:
    async with bench.queued():
        (facts,) = await bench.facts(TAG, by=rule(mode, request_analysis=False), side_effects=side_effects)

    assert facts.submission == NONE
    assert bench.submitted == []


async def test_official_image_is_submitted_as_people_see_it(bench: EvaluationBench) -> None:
    async with bench.queued():
        await bench.facts("nginx")

    assert bench.submitted == ["docker.io/nginx:latest"]


@pytest.mark.parametrize("held", ["docker.io/library/nginx:latest", "docker.io/nginx:latest"])
async def test_official_image_is_submitted_again_under_the_name_that_anchore_has(
    bench: EvaluationBench, held: str
) -> None:
    bench.anchore.store(held)
    async with bench.queued():
        await bench.facts("nginx")

    assert bench.submitted == [held]


@pytest.mark.parametrize("image", [TAG, PINNED])
async def test_passive_mode_waits_for_the_digest(bench: EvaluationBench, image: str) -> None:
    async with bench.running():
        (facts,) = await bench.facts(image, by=rule(ModeName.PASSIVE))

    assert facts == ImageFacts(submission=Submission(SubmissionState.ANSWERED, digest_of(TAG)))


@pytest.mark.parametrize(("wait", "seconds"), [(1, 1), (60, DEADLINE)], ids=["its own time", "the deadline"])
async def test_passive_mode_waits_no_longer_than_it_may(wait: float, seconds: float) -> None:
    bench = EvaluationBench(passive_wait=wait)
    bench.anchore.hang("submit")
    asking = asyncio.create_task(bench.facts(TAG, by=rule(ModeName.PASSIVE)))
    async with bench.running():
        await bench.clock.advance(seconds - 0.1)
        assert not asking.done()
        await bench.clock.advance(0.1)
        assert asking.done()

    assert await asking == [ImageFacts(submission=REQUESTED)]


class BrokenSubmissions(Submissions):
    def submit(
        self, account: str, request: AnalysisRequest, *, needed: bool, looked_up: str | None = None
    ) -> Submission:
        raise ZeroDivisionError(account, request, needed, looked_up)


@pytest.mark.parametrize("mode", ASKING)
async def test_request_that_breaks_takes_nothing_from_the_facts(bench: EvaluationBench, mode: ModeName) -> None:
    record = bench.anchore.store(TAG)
    broken = BrokenSubmissions(bench.accounts, bench.recorder, bench.schedule, clock=bench.clock)
    bench.gathering = FactGathering(bench.accounts, broken, concurrency=1, passive_wait=0)
    (facts,) = await bench.facts(TAG, by=rule(mode))

    assert facts.submission.state is SubmissionState.REFUSED
    assert facts.error is None
    assert facts.record == (None if mode is ModeName.PASSIVE else record)
    assert facts.evaluations == ((PASS,) if mode is ModeName.STRICT else ())
