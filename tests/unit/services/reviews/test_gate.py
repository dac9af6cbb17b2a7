import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from anchore_admission.errors import (
    AnchoreBusy,
    AnchoreSuspended,
    AnchoreUnreachable,
    DeadlineExceeded,
    PolicyNotFound,
)
from anchore_admission.ports.telemetry import BreakerState
from anchore_admission.services.reviews.breaker import FAILURES, FIRST_PAUSE
from anchore_admission.services.reviews.gate import BACKGROUND, Gate, Ticket
from support.fakes import FakeRecorder, ManualClock, settled

SECONDS = 8.0
UNREACHABLE = AnchoreUnreachable("cannot connect")


@dataclass(eq=False)
class Flight:
    """A call that waits for its turn in a task, and ends when the test says so."""

    ticket: Ticket
    namespace: str | None
    task: asyncio.Task[None] = field(init=False)
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def error(self) -> BaseException | None:
        return self.task.exception()


class Setup:
    def __init__(self, concurrency: int = 8, places: int = 10_000) -> None:
        self.clock = ManualClock()
        self.recorder = FakeRecorder()
        self.gate = Gate("default", concurrency, self.recorder, self.clock, places=places)
        self.flights: list[Flight] = []
        self.order: list[str | None] = []
        self._queries = iter(range(1_000_000))

    def fly(self, namespace: str | None = "shop", seconds_left: float = SECONDS) -> Flight:
        ticket = self.gate.line_up(namespace, next(self._queries), seconds_left)
        flight = Flight(ticket, namespace)
        flight.task = asyncio.create_task(self._fly(flight))
        self.flights.append(flight)
        return flight

    def fly_many(self, count: int, namespace: str | None = "shop") -> list[Flight]:
        return [self.fly(namespace) for _ in range(count)]

    async def _fly(self, flight: Flight) -> None:
        async with self.gate.turn(flight.ticket):
            self.order.append(flight.namespace)
            await flight.done

    async def in_flight(self, namespace: str | None = "shop") -> int:
        await settled()
        flights = [it for it in self.flights if it.namespace == namespace and not it.task.done()]
        return sum(it.ticket.has_begun for it in flights)

    async def respond(self, flight: Flight, *, after: float = 0.0, error: Exception | None = None) -> None:
        await settled()
        self.clock.now += after
        if error:
            flight.done.set_exception(error)
        else:
            flight.done.set_result(None)
        await settled()

    async def respond_to_first(self) -> None:
        """End the first call that is under way."""
        await settled()
        await self.respond(next(it for it in self.flights if it.ticket.has_begun and not it.task.done()))

    def fly_until_shed(self, namespace: str | None = "shop", seconds_left: float = SECONDS) -> int:
        """Let calls line up until one is shed, and return how many were not."""
        for count in range(10_000):
            try:
                self.fly(namespace, seconds_left)
            except AnchoreBusy:
                return count
        pytest.fail("nothing was shed")

    async def measure(self, seconds: float, namespace: str | None = "shop") -> None:
        """Let a call of a namespace take that long, while another one keeps the line."""
        held = self.fly(namespace)
        await self.respond(self.fly(namespace), after=seconds)
        assert await self.in_flight(namespace) == 1
        self.flights.remove(held)
        self.flights.insert(0, held)

    async def finish(self) -> None:
        for flight in self.flights:
            flight.task.cancel()
            self.gate.leave(flight.ticket)
        await asyncio.gather(*(it.task for it in self.flights), return_exceptions=True)
        assert self.gate._free == self.gate._concurrency
        assert self.gate._occupied == 0
        assert not self.gate._turns
        assert list(self.gate._lines) == [BACKGROUND]


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    setup = Setup()
    yield setup
    await setup.finish()


async def test_one_namespace_gets_half_of_the_slots(setup: Setup) -> None:
    setup.fly_many(20)
    assert await setup.in_flight() == 4


async def test_another_namespace_finds_free_slots_however_long_the_line_of_the_first(setup: Setup) -> None:
    setup.fly_many(100, "flood")
    setup.fly_many(2)
    assert await setup.in_flight() == 2


@pytest.mark.parametrize(("concurrency", "count"), [(1, 1), (2, 1), (3, 2), (32, 16)])
async def test_at_most_the_configured_number_is_in_flight(concurrency: int, count: int) -> None:
    setup = Setup(concurrency)
    setup.fly_many(50)
    assert await setup.in_flight() == count
    for number in range(50):
        setup.fly(f"namespace {number}")
    await settled()
    assert sum(it.ticket.has_begun for it in setup.flights) == concurrency
    await setup.finish()


async def test_lines_are_served_in_turn() -> None:
    setup = Setup(concurrency=1)
    setup.fly()
    for namespace in ("a", "b", "c"):
        setup.fly_many(3, namespace)
    for _ in range(10):
        await setup.respond_to_first()
    assert setup.order == ["shop", *["a", "b", "c"] * 3]
    await setup.finish()


async def test_two_floods_share_the_slots_as_calls_end(setup: Setup) -> None:
    setup.fly_many(100, "a")
    setup.fly_many(100, "b")
    for _ in range(50):
        await setup.respond_to_first()
    assert {await setup.in_flight("a"), await setup.in_flight("b")} == {3}


async def test_tickets_of_one_namespace_are_served_first_come_first_served() -> None:
    setup = Setup(concurrency=1)
    first, second, third = setup.fly_many(3)
    await setup.respond(first)
    await settled()
    assert (second.ticket.has_begun, third.ticket.has_begun) == (True, False)
    await setup.finish()


async def test_ticket_is_served_by_the_first_of_its_lines() -> None:
    setup = Setup(concurrency=1)
    running, *_, last = setup.fly_many(5)
    setup.gate.join(last.ticket, "bank", SECONDS)
    setup.gate.join(last.ticket, "bank", SECONDS)
    await setup.respond(running)
    await setup.respond_to_first()
    assert last.ticket.has_begun
    assert last.ticket.lines == {}
    await setup.finish()


async def test_background_work_that_a_review_joins_is_not_background_any_more() -> None:
    setup = Setup(concurrency=1)
    running, _ = setup.fly_many(2, "shop")
    flight = setup.fly(BACKGROUND)
    setup.gate.join(flight.ticket, "bank", SECONDS)
    await setup.respond(running)
    await setup.respond(setup.flights[1])
    assert flight.ticket.has_begun
    await setup.finish()


async def test_joining_a_call_in_flight_changes_nothing(setup: Setup) -> None:
    flight = setup.fly()
    await settled()
    setup.gate.join(flight.ticket, "bank", 0.0)
    assert flight.ticket.lines == {}


async def test_background_work_gets_a_quarter_of_the_slots(setup: Setup) -> None:
    setup.fly_many(20, BACKGROUND)
    assert await setup.in_flight(BACKGROUND) == 2


async def test_background_work_waits_for_every_line_with_a_claim() -> None:
    setup = Setup(concurrency=1)
    running = setup.fly()
    background = setup.fly(BACKGROUND)
    later = setup.fly("bank")
    await setup.respond(running)
    assert (background.ticket.has_begun, later.ticket.has_begun) == (False, True)
    await setup.respond(later)
    assert background.ticket.has_begun
    await setup.finish()


async def test_flood_of_one_namespace_does_not_stop_background_work(setup: Setup) -> None:
    setup.fly_many(100)
    setup.fly(BACKGROUND)
    assert await setup.in_flight(BACKGROUND) == 1


async def test_review_without_a_namespace_is_no_background_work(setup: Setup) -> None:
    setup.fly_many(20, "")
    assert await setup.in_flight("") == 4


async def test_call_that_would_wait_longer_than_its_time_is_shed_at_once(setup: Setup) -> None:
    await setup.measure(4.0)
    # The other call holds a slot, three more follow at once. With 4 seconds per call and 8 slots, of which half stay
    # free, the 8th in the line waits for 2 * 8 - 1 calls: 7.5 seconds.
    assert setup.fly_until_shed() == 3 + 8
    with pytest.raises(AnchoreBusy) as shed:
        setup.fly()
    assert str(shed.value) == "too many lookups of this namespace wait for Anchore; try again in a few seconds"
    assert shed.value.code == "busy"
    assert setup.recorder.sheds == ["default", "default"]


async def test_more_time_makes_a_longer_line(setup: Setup) -> None:
    await setup.measure(4.0)
    assert setup.fly_until_shed(seconds_left=1.0) == 3 + 1
    assert setup.fly_until_shed(seconds_left=30.0) > 10


async def test_nothing_is_shed_before_the_first_response(setup: Setup) -> None:
    setup.fly_many(1000)
    assert setup.recorder.sheds == []


async def test_nothing_is_shed_because_the_processor_was_busy(setup: Setup) -> None:
    await setup.measure(4.0, "bank")
    setup.fly(seconds_left=-0.5)
    assert await setup.in_flight() == 1
    assert setup.recorder.sheds == []


@pytest.mark.parametrize("error", [UNREACHABLE, DeadlineExceeded("late"), PolicyNotFound("no such policy")], ids=repr)
async def test_failures_do_not_tell_how_long_a_response_takes(error: Exception, setup: Setup) -> None:
    setup.fly()
    await setup.respond(setup.fly(), after=60.0, error=error)
    setup.fly_many(100)
    assert setup.recorder.sheds == []


async def test_mean_follows_the_latest_durations(setup: Setup) -> None:
    await setup.measure(60.0)
    for _ in range(30):
        await setup.respond(setup.fly(), after=0.1)
    setup.fly_many(100)
    assert setup.recorder.sheds == []


async def test_slow_calls_and_a_long_line_of_one_namespace_shed_nothing_of_another(setup: Setup) -> None:
    await setup.measure(7.0, "flood")
    await setup.measure(0.1)
    setup.fly_until_shed("flood")
    setup.fly_many(100)
    assert setup.recorder.sheds == ["default"]


async def test_of_another_line_only_as_many_count_as_are_served_before(setup: Setup) -> None:
    setup.fly_many(1000, "flood")
    await setup.measure(1.0)
    setup.fly_many(4)
    waiting = len(setup.gate._lines["shop"].waiting)
    assert waiting < 4
    assert setup.gate._expected_wait(setup.gate._lines["shop"]) == 3 * (waiting + 1) / 8 - 1 / 8


async def test_joiner_is_shed_only_if_no_line_of_the_ticket_is_fast_enough(setup: Setup) -> None:
    await setup.measure(4.0)
    await setup.measure(4.0, "bank")
    setup.fly_many(6)
    setup.fly_many(6, "bank")
    first, *_, last = [it for it in setup.flights if it.namespace == "shop" and it.ticket.lines]
    setup.gate.join(first.ticket, "bank", 2.0)
    with pytest.raises(AnchoreBusy):
        setup.gate.join(last.ticket, "bank", 2.0)
    assert set(last.ticket.lines) == {"shop"}
    assert last.ticket.held_up == {"shop", "bank"}
    assert setup.recorder.sheds == ["default"]


async def test_ticket_is_held_up_by_earlier_calls_of_its_namespace(setup: Setup) -> None:
    *begun, waiting = setup.fly_many(5)
    assert [it.ticket.held_up for it in begun] == [set()] * 4
    assert waiting.ticket.held_up == {"shop"}
    await setup.respond(begun[0])
    assert waiting.ticket.has_begun
    assert waiting.ticket.held_up == {"shop"}, "it had to wait, so it had less time"


async def test_ticket_is_not_held_up_by_calls_of_other_namespaces() -> None:
    setup = Setup(concurrency=1)
    setup.fly_many(20, "flood")
    first, second = setup.fly("shop"), setup.fly("shop")
    assert first.ticket.held_up == set()
    assert second.ticket.held_up == {"shop"}
    await setup.finish()


async def test_each_namespace_that_joins_is_held_up_by_its_own_calls_only() -> None:
    setup = Setup(concurrency=1)
    *_, last = setup.fly_many(3)
    setup.gate.join(last.ticket, "bank", SECONDS)
    assert last.ticket.held_up == {"shop"}
    setup.fly("mail")
    setup.gate.join(last.ticket, "mail", SECONDS)
    assert last.ticket.held_up == {"shop", "mail"}
    await setup.finish()


async def test_ticket_that_is_left_gives_up_its_place(setup: Setup) -> None:
    *_, waiting, last = setup.fly_many(6)
    setup.gate.join(waiting.ticket, "flood", SECONDS)
    setup.gate.leave(last.ticket)
    await settled()
    assert isinstance(last.error(), DeadlineExceeded)
    assert setup.gate._occupied == 0


async def test_ticket_that_is_left_before_its_turn_gives_its_slot_to_the_next() -> None:
    setup = Setup(concurrency=1)
    first, second = setup.fly_many(2)
    setup.gate.leave(first.ticket)
    await settled()
    assert isinstance(first.error(), DeadlineExceeded)
    assert second.ticket.has_begun
    await setup.finish()


async def test_call_that_has_begun_is_not_left(setup: Setup) -> None:
    flight = setup.fly()
    await settled()
    setup.gate.leave(flight.ticket)
    await setup.respond(flight)
    assert flight.error() is None


async def test_ticket_without_a_turn_can_be_left(setup: Setup) -> None:
    setup.gate.leave(setup.gate.line_up("shop", "image", SECONDS))


async def test_ticket_is_good_for_one_turn(setup: Setup) -> None:
    flight = setup.fly()
    await setup.respond(flight)
    with pytest.raises(DeadlineExceeded):
        async with setup.gate.turn(flight.ticket):
            pytest.fail("the call was made twice")


async def test_cancelled_turn_gives_up_its_place(setup: Setup) -> None:
    *_, last = setup.fly_many(5)
    await settled()
    last.task.cancel()
    await settled()
    assert last.task.cancelled()
    assert setup.gate._occupied == 0


async def test_slot_is_not_lost_with_a_turn_that_is_cancelled_while_it_is_served() -> None:
    setup = Setup(concurrency=1)
    running, second, third = setup.fly_many(3)
    await settled()
    setup.gate._release(running.ticket)
    assert second.ticket.slot
    assert not second.ticket.has_begun
    second.task.cancel()
    await settled()
    assert third.ticket.has_begun
    await setup.finish()


async def test_slot_goes_past_a_turn_that_is_cancelled_in_the_same_moment() -> None:
    setup = Setup(concurrency=1)
    running, second, third = setup.fly_many(3)
    await settled()
    second.task.cancel()
    setup.gate._release(running.ticket)
    assert third.ticket.slot
    await setup.finish()


async def test_cancelled_call_gives_its_slot_to_the_next() -> None:
    setup = Setup(concurrency=1)
    running, second = setup.fly_many(2)
    await settled()
    running.task.cancel()
    assert await setup.in_flight() == 1
    assert second.ticket.has_begun
    await setup.finish()


async def test_full_lines_shed_the_last_of_the_longest_for_a_newcomer() -> None:
    setup = Setup(concurrency=1, places=10)
    *_, last = setup.fly_many(11, "flood")
    setup.fly_many(3, "bank")
    newcomer = setup.fly("shop")
    await settled()
    assert isinstance(last.error(), AnchoreBusy)
    assert not newcomer.task.done()
    assert {name: len(line.waiting) for name, line in setup.gate._turns.items()} == {"flood": 6, "bank": 3, "shop": 1}
    assert len(setup.recorder.sheds) == 4
    await setup.finish()


async def test_full_lines_shed_a_newcomer_to_the_longest() -> None:
    setup = Setup(concurrency=1, places=4)
    setup.fly_many(3, "bank")
    setup.fly_many(2, "flood")
    for namespace in ("bank", "flood"):
        with pytest.raises(AnchoreBusy):
            setup.fly(namespace)
    assert len(setup.recorder.sheds) == 2
    await setup.finish()


async def test_full_lines_shed_background_work_first() -> None:
    setup = Setup(concurrency=1, places=4)
    setup.fly_many(4)
    background = setup.fly(BACKGROUND)
    setup.fly()
    with pytest.raises(AnchoreBusy):
        setup.fly(BACKGROUND)
    await settled()
    assert isinstance(background.error(), AnchoreBusy)
    await setup.finish()


async def test_ticket_shed_from_one_line_keeps_its_place_in_another() -> None:
    setup = Setup(concurrency=1, places=5)
    *_, last = setup.fly_many(5, "flood")
    setup.gate.join(last.ticket, "bank", SECONDS)
    setup.fly("shop")
    await settled()
    assert set(last.ticket.lines) == {"bank"}
    assert setup.recorder.sheds == []
    await setup.finish()


async def test_open_breaker_fails_the_calls_that_wait_and_those_that_come(setup: Setup) -> None:
    for _ in range(FAILURES - 1):
        await setup.respond(setup.fly(), error=UNREACHABLE)
    setup.fly_many(10)
    background = setup.fly(BACKGROUND)
    await setup.respond(setup.flights[FAILURES - 1], error=UNREACHABLE)
    waiting = [it for it in setup.flights[FAILURES:] if not it.ticket.has_begun]
    assert len(waiting) == 6
    assert all(isinstance(it.error(), AnchoreSuspended) for it in waiting)
    assert not background.task.done()
    with pytest.raises(AnchoreSuspended):
        setup.fly()
    assert setup.recorder.breakers == [("default", BreakerState.CLOSED), ("default", BreakerState.OPEN)]


async def test_one_of_the_calls_that_come_after_the_pause_is_the_probe(setup: Setup) -> None:
    for _ in range(FAILURES):
        await setup.respond(setup.fly(), error=UNREACHABLE)
    setup.clock.now += 2 * FIRST_PAUSE
    probe, *others = setup.fly_many(20)
    assert await setup.in_flight() == 1
    assert all(isinstance(it.error(), AnchoreSuspended) for it in others)
    await setup.respond(probe)
    assert [state for _, state in setup.recorder.breakers] == [*BreakerState][::2] + [*BreakerState][1::-1]
    setup.fly_many(20)
    assert await setup.in_flight() == 4


async def test_calls_about_one_image_do_not_hold_up_each_other() -> None:
    gate = Gate("default", 2, FakeRecorder(), ManualClock())
    names = [gate.line_up("bank", name, 8.0, "image") for name in ("short", "long", "longest")]
    other = gate.line_up("bank", "other", 8.0)
    assert [ticket.slot is not None for ticket in (*names, other)] == [True, False, False, False]
    assert [ticket.held_up for ticket in (*names, other)] == [set(), set(), set(), {"bank"}]
    gate.leave(other)
    for ticket in names:
        gate.leave(ticket)
    assert gate.line_up("bank", "other", 8.0).slot
