"""Events become hints: each once, none of those before the start, and nothing is lost by a failure."""

import asyncio
import logging
from dataclasses import dataclass, field

import pytest

from anchore_admission.errors import AnchoreRefused, AnchoreUnavailable
from anchore_admission.ports.telemetry import HintSource
from anchore_admission.services.reviews.event_log import EventLogs
from anchore_admission.services.reviews.hints import Hints
from support.fakes import FakeAnchore, FakeRecorder, ManualClock, settled

COMPLETED = "user.image.analysis.completed"
TAG, OTHER = "r.example.com/a:1", "r.example.com/b:1"


@dataclass
class Following:
    """A log that is read every 30 seconds, and a memory that notes which tags are doubted (empty: all)."""

    anchore: FakeAnchore = field(default_factory=FakeAnchore)
    recorder: FakeRecorder = field(default_factory=FakeRecorder)
    clock: ManualClock = field(default_factory=ManualClock)
    doubted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hints = Hints(self, clock=self.clock, sleep=self.clock.sleep)
        accounts = {"default": self.anchore}
        self.logs = EventLogs(accounts, self.hints, self.recorder, 30, clock=self.clock, sleep=self.clock.sleep)

    def doubt(self, account: str, *, full_tag: str | None = None, digest: str | None = None) -> None:
        assert account == "default"
        self.doubted.append(full_tag or digest or "")

    async def read(self) -> list[str]:
        """Read the log once, and return what is doubted for it."""
        self.doubted.clear()
        await self.logs.read("default")
        task = asyncio.create_task(self.hints.run())
        await self.clock.advance(61)
        task.cancel()
        await settled()
        return self.doubted


@pytest.fixture
async def following() -> Following:
    return Following()


async def test_the_first_list_only_tells_where_the_log_ends(following: Following) -> None:
    following.anchore.happen(COMPLETED, TAG)
    assert await following.read() == []
    assert await following.read() == []
    following.anchore.happen(COMPLETED, OTHER)
    assert await following.read() == [OTHER]


async def test_each_event_gives_one_hint_although_lists_overlap(following: Following) -> None:
    assert await following.read() == []
    following.anchore.happen(COMPLETED, TAG)
    assert await following.read() == [TAG]
    assert await following.read() == []
    assert following.recorder.hints == [HintSource.EVENTS]


async def test_the_first_event_of_an_empty_log_is_new(following: Following) -> None:
    assert await following.read() == []
    following.anchore.happen("user.policy.active.updated", "", "policy_bundle")
    assert await following.read() == [""]


async def test_events_that_change_no_verdict_give_no_hint(following: Following) -> None:
    await following.read()
    following.anchore.happen("user.registry.added", TAG)
    assert await following.read() == []


async def test_several_events_about_one_tag_give_one_hint(following: Following) -> None:
    await following.read()
    for _ in range(5):
        following.anchore.happen(COMPLETED, TAG)
    assert await following.read() == [TAG]


class TestTooMany:
    async def test_missing_events_cast_doubt_on_everything(self, following: Following) -> None:
        following.anchore.most_events = 3
        await following.read()
        for number in range(4):
            following.anchore.happen(COMPLETED, f"r.example.com/a:{number}")
        assert await following.read() == [""]

    async def test_nothing_new_gives_no_hint(self, following: Following) -> None:
        following.anchore.most_events = 0
        following.anchore.happen(COMPLETED, TAG)
        await following.read()
        assert await following.read() == []


class TestFailures:
    @pytest.mark.parametrize("error", [AnchoreUnavailable("503"), AnchoreRefused("403")])
    async def test_nothing_is_doubted_or_lost(self, following: Following, error: Exception) -> None:
        await following.read()
        following.anchore.happen(COMPLETED, TAG)
        following.anchore.fail("events", error, times=2)
        assert await following.read() == []
        assert await following.read() == []
        assert await following.read() == [TAG]
        assert following.recorder.event_log_errors == ["default", "default"]

    async def test_a_start_during_an_outage_still_begins_with_the_end_of_the_log(self, following: Following) -> None:
        following.anchore.happen(COMPLETED, TAG)
        following.anchore.fail("events", AnchoreUnavailable("503"), times=1)
        assert await following.read() == []
        assert await following.read() == []

    async def test_a_failure_that_lasts_is_logged_every_five_minutes(
        self, following: Following, caplog: pytest.LogCaptureFixture
    ) -> None:
        following.anchore.fail("events", AnchoreUnavailable("no response"))
        with caplog.at_level(logging.WARNING, "anchore_admission.hints"):
            for _ in range(9):
                await following.read()
        assert [record.message for record in caplog.records] == [
            "cannot read Anchore's event log for account default: no response; changes show when answers expire"
        ] * 2
        assert len(following.recorder.event_log_errors) == 9


async def test_every_account_is_followed_at_its_interval() -> None:
    clock, anchores = ManualClock(), {"a": FakeAnchore(), "b": FakeAnchore()}
    anchores["a"].hang("events")
    hints = Hints(Following(), clock=clock, sleep=clock.sleep)
    logs = EventLogs(anchores, hints, FakeRecorder(), 30, clock=clock, sleep=clock.sleep)
    task = asyncio.create_task(logs.run())
    await clock.advance(4 * 33 + 1)  # time for four pauses of 27 to 33 s, and for no fifth
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(anchores["a"].calls) == 1
    assert len(anchores["b"].calls) == 5
    assert len(set(clock.slept)) == 5
    assert all(27 <= seconds <= 33 for seconds in clock.slept)
