"""Attacks of one namespace on the submissions of others."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchore_admission.core.facts import SubmissionState
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.errors import AnchoreUnavailable
from anchore_admission.services.reviews import submissions
from anchore_admission.services.reviews.submissions import Schedule
from support.builders import rule
from support.fakes import settled
from support.review_setup import DROPPED, REQUEST, REQUESTED, ReviewSetup, tags

FLOOD = "flood"


async def hold_workers(setup: ReviewSetup) -> None:
    """Let a namespace submit from many registries that respond once, and then hang."""
    names = [f"flood{number}.example.com" for number in range(20)]
    for name in names:
        await setup.responded(AnalysisRequest(f"{name}/once:1"), FLOOD)
    for name in names:
        for request in tags(3, name):
            setup.anchore.hang("submit", subject=request.full_tag)
            setup.submit(request, FLOOD)
        await settled()


@pytest.mark.parametrize("is_known", [True, False], ids=["known registry", "unknown registry"])
async def test_registries_that_hang_hold_no_submission_of_another_namespace(is_known: bool) -> None:
    setup = ReviewSetup()
    async with setup.running():
        if is_known:
            await setup.responded(tags(1)[0])
        await hold_workers(setup)
        setup.submit(REQUEST, "shop")
        await settled()

        assert setup.submitted[-1] == REQUEST.full_tag


async def test_namespace_that_submits_goes_on_while_another_holds_workers_for_long() -> None:
    setup = ReviewSetup()
    async with setup.running():
        await hold_workers(setup)
        for number in range(10):
            await setup.clock.advance(submissions.ATTEMPT_SECONDS / 7)
            (request,) = tags(1, f"shop{number}.example.com")
            setup.submit(request, "shop")
            await settled()

            assert request.full_tag in setup.submitted, number


async def test_image_that_waits_for_one_namespace_is_submitted_in_the_turn_of_another() -> None:
    setup = ReviewSetup()
    async with setup.running():
        await hold_workers(setup)
        setup.submit(REQUEST, FLOOD)
        await settled()
        assert REQUEST.full_tag not in setup.submitted
        setup.submit(REQUEST, "shop")
        await settled()

        assert setup.submitted[-1] == REQUEST.full_tag


async def test_review_of_an_image_that_waits_for_another_namespace_moves_it_on() -> None:
    setup = ReviewSetup()
    async with setup.running():
        await hold_workers(setup)
        await setup.facts(REQUEST.full_tag, by=rule("analysis"), namespace=FLOOD)
        await settled()
        assert REQUEST.full_tag not in setup.submitted
        await setup.facts(REQUEST.full_tag, by=rule("analysis"), namespace="shop")
        await settled()

        assert setup.submitted[-1] == REQUEST.full_tag


async def test_flood_of_one_namespace_fills_the_queue_for_itself_only() -> None:
    setup = ReviewSetup(schedule=Schedule(queue_size=10))
    flood, shop = tags(20, "flood.example.com"), tags(10)

    assert [setup.submit(request, FLOOD) for request in flood] == [REQUESTED] * 10 + [DROPPED] * 10
    assert [setup.submit(request, "shop") for request in shop] == [REQUESTED] * 5 + [DROPPED] * 5
    assert setup.submit(tags(1, "other.example.com")[0], "other") == REQUESTED
    async with setup.running():
        await settled()

    assert len(setup.submitted) == 10
    assert {request.full_tag for request in [*flood[:4], *shop[:4], *tags(1, "other.example.com")]} <= {
        *setup.submitted
    }


async def test_retries_of_one_namespace_give_way_too() -> None:
    setup = ReviewSetup(schedule=Schedule(queue_size=10))
    flood = tags(10, "flood.example.com")
    for request in flood:
        setup.anchore.fail("submit", AnchoreUnavailable("no connection"), subject=request.full_tag)
    async with setup.running():
        for request in flood:
            await setup.responded(request, FLOOD)
        assert setup.recorder.depths[-1] == 0
        tasks = len(asyncio.all_tasks())
        waiting = asyncio.create_task(setup.submissions.settled("default", [flood[9].full_tag], seconds=3600))
        assert setup.submit(REQUEST, "shop") == REQUESTED
        await settled()
        assert setup.submitted[-1] == REQUEST.full_tag
        assert waiting.done()
        assert len(asyncio.all_tasks()) == tasks - 1, "its retry is cancelled"
        assert setup.recorder.submissions.count(("default", "dropped")) == 1
        assert setup.submit(flood[9], FLOOD).state is SubmissionState.REFUSED
        await settled()
        assert setup.submitted.count(flood[9].full_tag) == 2, "it is due at once"
        await setup.clock.advance(3600)

        assert setup.submitted.count(flood[9].full_tag) == 1 + submissions.ATTEMPTS
        assert setup.submitted.count(flood[8].full_tag) == submissions.ATTEMPTS


async def test_dropped_submission_is_due_again_and_tells_that_it_was_dropped() -> None:
    setup = ReviewSetup(schedule=Schedule(queue_size=2))
    first, second = tags(2, "flood.example.com")
    setup.submit(first, FLOOD)
    waiting = asyncio.create_task(setup.submissions.submit_and_wait("default", second, FLOOD, 3600))
    await settled()
    setup.submit(REQUEST, "shop")
    await settled()

    assert (await waiting).state is SubmissionState.DROPPED
    assert len(setup.recent) == 2
    async with setup.running():
        await settled()
        await setup.responded(second, FLOOD)
    assert second.full_tag in setup.submitted


STEPS = st.tuples(
    st.sampled_from(["submit", "submit", "submit", "hang", "fail", "recover", "pass", "restart", "forget"]),
    st.integers(0, 11),
    st.sampled_from(["shop", FLOOD, "other"]),
)


@given(steps=st.lists(STEPS, min_size=5, max_size=60))
def test_nothing_is_left_of_a_history_with_outages_drops_and_restarts(steps: list[tuple[str, int, str]]) -> None:
    async def run() -> None:
        setup = ReviewSetup(schedule=Schedule(queue_size=4))
        running = asyncio.create_task(setup.submissions.run())
        for what, number, namespace in steps:
            request = AnalysisRequest(f"registry{number % 4}.example.com/app:{number}")
            match what:
                case "submit":
                    setup.submit(request, namespace)
                case "hang":
                    setup.anchore.hang("submit", subject=request.full_tag)
                case "fail":
                    setup.anchore.fail("submit", AnchoreUnavailable("no connection"), subject=request.full_tag)
                case "pass":
                    await setup.clock.advance(float(number))
                case "restart":
                    running.cancel()
                    await asyncio.gather(running, return_exceptions=True)
                    running = asyncio.create_task(setup.submissions.run())
                case "recover":
                    setup.anchore.recover()
                case _:
                    setup.submissions.forget()
            await settled()
            expected = 2 + setup.schedule.concurrency + len(setup.submissions._retries)
            assert len(asyncio.all_tasks()) == expected, "one task for each worker and retry"
        for _ in range(60):
            await setup.clock.advance(submissions.ATTEMPT_SECONDS)

        assert await setup.submissions.drain(0) == []
        assert not [entry for _, entry in setup.recent.items() if entry.active or entry._ends]
        assert (len(setup.submissions._turns), setup.submissions._retries) == (0, {})
        assert setup.anchore.in_flight == 0
        running.cancel()

    asyncio.run(run())
