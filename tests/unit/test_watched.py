import asyncio
import logging
from dataclasses import dataclass, field

import pytest

from anchore_admission.background import repeated_in_thread
from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.throttled import REPEAT_SECONDS
from anchore_admission.watched import FILE_SECONDS, Watched, refresh_due
from support.fakes import ManualClock


@dataclass
class Source:
    """A source whose value the test sets; an exception is raised instead."""

    value: str | Exception = "first"
    reads: int = 0
    used: list[str] = field(default_factory=list)

    def read(self) -> str:
        self.reads += 1
        if isinstance(self.value, Exception):
            raise self.value
        return self.value

    def use(self, value: str) -> None:
        if value == "unusable":
            raise invalid("cannot be used")
        self.used.append(value)


def invalid(why: str, path: str = "") -> ConfigurationError:
    return ConfigurationError("/mounted/file", [Problem(path, why)])


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def watched(source: Source, clock: ManualClock) -> Watched[str]:
    return Watched("secret", source.read, source="/mounted/file", use=source.use, clock=clock)


def test_it_is_ready_after_a_valid_start(watched: Watched[str], source: Source) -> None:
    assert not watched.is_ready()
    watched.start()
    assert (watched.value, watched.is_ready(), watched.is_unusable()) == ("first", True, False)
    assert source.used == ["first"]


def test_an_invalid_start_is_an_error(watched: Watched[str], source: Source) -> None:
    source.value = invalid("is empty")
    with pytest.raises(ConfigurationError, match="is empty"):
        watched.start()


def test_it_waits_until_the_source_is_valid(
    watched: Watched[str], source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anchore_admission.watched")
    source.value = invalid("is empty")
    watched.start(wait_until_valid=True)
    watched.refresh()
    assert (watched.is_ready(), watched.is_unusable()) == (False, True)
    source.value = "first"
    watched.refresh()
    watched.refresh()
    assert (watched.value, watched.is_unusable(), source.used) == ("first", False, ["first"])
    assert caplog.messages == [
        "invalid secret: /mounted/file: is empty; not ready until this is fixed",
        "secret in use: /mounted/file",
    ]


@pytest.mark.parametrize("broken", [invalid("is empty"), "unusable"])
def test_the_last_valid_version_stays_in_use(
    broken: str | Exception, watched: Watched[str], source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anchore_admission.watched")
    watched.start()
    source.value = broken
    watched.refresh()
    assert (watched.value, watched.is_ready(), watched.is_unusable()) == ("first", True, True)
    source.value = "second"
    watched.refresh()
    assert (watched.value, watched.is_unusable(), source.used) == ("second", False, ["first", "second"])
    why = "cannot be used" if broken == "unusable" else "is empty"
    assert caplog.messages == [
        f"invalid secret: /mounted/file: {why}; the last valid version stays in use",
        "secret changed: /mounted/file",
    ]
    assert caplog.records[0].levelno == logging.ERROR


def test_the_same_problem_is_logged_every_five_minutes_and_after_every_fix(
    watched: Watched[str], source: Source, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    watched.start()
    source.value = invalid("is empty", "password")
    for seconds in (0.0, 30.0, REPEAT_SECONDS - 31, 1.0):
        clock.now += seconds
        watched.refresh()
    assert caplog.messages == ["invalid secret: password: is empty; the last valid version stays in use"] * 2
    for value in ("first", invalid("is empty", "password")):
        source.value = value
        watched.refresh()
    assert len(caplog.messages) == 3


def test_each_source_is_read_at_its_own_interval(watched: Watched[str], source: Source, clock: ManualClock) -> None:
    often = Source()
    sources = [watched, Watched("other", often.read, source="", every=1.0, clock=clock)]
    for each in sources:
        each.start()
    for _ in range(int(FILE_SECONDS)):
        clock.now += 1
        refresh_due(sources)
    assert (source.reads, often.reads) == (1 + 1, 1 + FILE_SECONDS)


def test_an_unexpected_error_of_one_source_does_not_stop_the_others(
    watched: Watched[str], source: Source, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    other = Source()
    sources = [watched, Watched("other", other.read, source="", clock=clock)]
    for each in sources:
        each.start()
    source.value, other.value = ZeroDivisionError(), "second"
    clock.now += FILE_SECONDS
    refresh_due(sources)
    assert (watched.value, watched.is_unusable(), sources[1].value) == ("first", True, "second")
    assert caplog.messages == ["cannot read the secret again; the next attempt is in 30 s"]


async def test_sources_are_refreshed_in_a_thread(watched: Watched[str], source: Source) -> None:
    """A review on the event loop goes on while a file is read."""
    loop, used = asyncio.get_running_loop(), asyncio.Event()

    def use(_: str) -> None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        loop.call_soon_threadsafe(used.set)

    blocking = Watched("secret", source.read, source="", use=use, every=0.0)
    task = asyncio.create_task(repeated_in_thread(lambda: refresh_due([blocking]), 0.0))
    await used.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
