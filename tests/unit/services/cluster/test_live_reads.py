import asyncio

import httpx2
import pytest

from anchore_admission.ports.namespaces import LiveRead
from anchore_admission.services.cluster.live_reads import BURST, READS_PER_SECOND, REMEMBERED_SECONDS, LiveReads
from support.fakes import FakeRecorder, ManualClock, settled
from support.kubernetes_api import failure
from support.namespace_api import NamespaceApi


class Setup:
    def __init__(self) -> None:
        self.api, self.recorder, self.clock = NamespaceApi(), FakeRecorder(), ManualClock.of_loop()
        self.reads = LiveReads(self.api.source(self.recorder), self.recorder, self.clock)

    async def env(self, namespace: str = "shop", seconds: float = 2.0) -> str | None:
        labels = await self.reads.labels_of(namespace, seconds)
        return None if labels is None else labels.get("env", "")


@pytest.fixture
async def setup() -> Setup:
    return Setup()


async def test_reviews_that_come_together_share_one_read(setup: Setup) -> None:
    setup.api.put("shop", env="prod")
    setup.api.held = asyncio.Event()
    waiting = [asyncio.create_task(setup.env()) for _ in range(50)]
    await settled()
    setup.api.held.set()
    assert set(await asyncio.gather(*waiting)) == {"prod"}
    assert setup.api.reads == ["shop"]
    assert setup.recorder.namespace_reads == [LiveRead.FOUND]


async def test_a_review_that_gives_up_does_not_end_the_read_of_others(setup: Setup) -> None:
    setup.api.put("shop", env="prod")
    setup.api.held = asyncio.Event()
    hurried, patient = (asyncio.create_task(setup.env(seconds=seconds)) for seconds in (0.1, 2))
    canceled = asyncio.create_task(setup.env())
    await settled()
    canceled.cancel()
    await setup.clock.advance(0.1)
    assert await hurried is None
    setup.api.held.set()
    assert await patient == "prod"


async def test_an_outcome_counts_for_a_moment_only(setup: Setup) -> None:
    assert await setup.env() is None
    setup.api.put("shop", env="prod")
    assert await setup.env() is None
    await setup.clock.advance(REMEMBERED_SECONDS)
    assert await setup.env() == "prod"
    setup.api.put("shop", env="test")
    assert await setup.env() == "prod"
    await setup.clock.advance(REMEMBERED_SECONDS)
    assert await setup.env() == "test"
    assert setup.recorder.namespace_reads == [LiveRead.NOT_FOUND, LiveRead.FOUND, LiveRead.FOUND]


@pytest.mark.parametrize("fault", [failure(403), failure(500), httpx2.ConnectError("refused")])
async def test_a_failure_is_unknown_and_not_repeated_at_once(setup: Setup, fault: httpx2.Response | Exception) -> None:
    setup.api.put("shop", env="prod")
    setup.api.faults.append(fault)
    assert await setup.env() is None
    assert await setup.env() is None
    assert setup.recorder.namespace_reads == [LiveRead.ERROR]
    await setup.clock.advance(REMEMBERED_SECONDS)
    assert await setup.env() == "prod"


async def test_an_unexpected_error_is_logged_and_unknown(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    setup.api.faults.append(RuntimeError("a mistake"))
    assert await setup.env() is None
    assert caplog.messages == ["reading a namespace failed unexpectedly"]


async def test_made_up_names_do_not_flood_the_api_server(setup: Setup) -> None:
    for number in range(10 * BURST):
        assert await setup.env(f"n{number}") is None
    assert len(setup.api.requests) == BURST
    assert setup.recorder.namespace_reads.count(LiveRead.LIMITED) == 9 * BURST
    await setup.clock.advance(1)
    for number in range(10 * BURST):
        assert await setup.env(f"m{number}") is None
    assert len(setup.api.requests) == BURST + READS_PER_SECOND
    assert len(setup.reads._outcomes) == READS_PER_SECOND, "outcomes of before are forgotten"
