import asyncio
import logging

import pytest

from anchore_admission.background import supervised


async def test_work_that_keeps_failing_is_started_again_ever_more_slowly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pauses: list[float] = []
    enough = asyncio.Event()

    async def fail() -> None:
        raise ZeroDivisionError

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 9:
            enough.set()
            await asyncio.Event().wait()

    async with supervised("the work", fail, pause):
        await enough.wait()
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert caplog.messages == [f"the work failed; starting again in {seconds:g} s" for seconds in pauses]
    assert caplog.records[0].levelno == logging.ERROR


async def test_the_work_ends_with_its_block() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with supervised("the work", work):
        await asyncio.sleep(0)
    assert ended.is_set()
