import asyncio
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field

import pytest

from anchore_admission.errors import (
    AnalysisRefused,
    AnchoreRefused,
    AnchoreResponseInvalid,
    AnchoreResponseTooLarge,
    AnchoreSuspended,
    AnchoreUnavailable,
    AnchoreUnreachable,
    DeadlineExceeded,
    ImageNotReached,
    PolicyNotEvaluated,
    PolicyNotFound,
)
from anchore_admission.ports.telemetry import BreakerState
from anchore_admission.services.reviews.breaker import FAILURES, FIRST_PAUSE, LONGEST_PAUSE, PROBE_SECONDS, Breaker
from support.fakes import ManualClock

UNREACHABLE = AnchoreUnreachable("cannot connect to Anchore at anchore:8228")
FAILED = AnchoreUnavailable("Anchore failed with a server error (500)")
CLOSED, HALF_OPEN, OPEN = BreakerState
TENANTS = ("shop", "bank", "shop", "mail", "bank")
RESPONSES = [
    None,
    AnchoreRefused("401"),
    AnchoreResponseInvalid("no JSON"),
    AnchoreResponseTooLarge("too large"),
    AnalysisRefused("no such image"),
    PolicyNotFound("no such policy"),
    PolicyNotEvaluated("not evaluated"),
]
NO_NEWS = [asyncio.CancelledError(), DeadlineExceeded("late"), ImageNotReached("late"), ZeroDivisionError()]


def _raise(error: BaseException | None) -> None:
    if error:
        raise error


@dataclass
class Setup:
    clock: ManualClock = field(default_factory=ManualClock)
    reported: list[BreakerState] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.breaker = Breaker(self.clock, report=self.reported.append, jitter=lambda _low, _high: 1.0)

    def call(self, outcome: BaseException | None = None, query: str = "image", namespace: str | None = "shop") -> None:
        """Make a call that ends so. Raises AnchoreSuspended if it is not let through."""
        with ExitStack() as stack:
            stack.enter_context(suppress(type(outcome)) if outcome else nullcontext())
            stack.enter_context(self.breaker.call(query, namespace))
            stack.callback(_raise, outcome)

    def open(self) -> None:
        for _ in range(FAILURES):
            self.call(UNREACHABLE)

    def passes(self, seconds: float) -> None:
        self.clock.now += seconds

    def is_suspended(self) -> bool:
        try:
            self.breaker.check()
        except AnchoreSuspended:
            return True
        return False


@pytest.fixture
def setup() -> Setup:
    return Setup()


@pytest.fixture
def opened(setup: Setup) -> Setup:
    setup.open()
    return setup


def test_connections_that_fail_in_a_row_open_it(setup: Setup) -> None:
    for _ in range(FAILURES - 1):
        setup.call(UNREACHABLE)
    assert setup.breaker.state is CLOSED
    setup.call(UNREACHABLE)
    assert setup.breaker.state is OPEN
    with pytest.raises(AnchoreSuspended):
        setup.call()
    assert setup.reported == [CLOSED, OPEN]


@pytest.mark.parametrize("response", RESPONSES, ids=repr)
def test_any_response_ends_a_row_of_failures(response: BaseException | None, setup: Setup) -> None:
    for _ in range(FAILURES):
        for _ in range(FAILURES - 1):
            setup.call(UNREACHABLE)
        setup.call(response)
    assert setup.breaker.state is CLOSED


@pytest.mark.parametrize("outcome", [*RESPONSES, *NO_NEWS], ids=repr)
def test_what_is_no_failure_of_anchore_never_opens_it(outcome: BaseException | None, setup: Setup) -> None:
    for number in range(50):
        setup.call(outcome, f"image {number}", f"namespace {number}")
    assert setup.breaker.state is CLOSED


@pytest.mark.parametrize("outcome", NO_NEWS, ids=repr)
def test_what_tells_nothing_does_not_end_a_row_of_failures(outcome: BaseException, setup: Setup) -> None:
    for _ in range(FAILURES):
        setup.call(outcome)
        setup.call(UNREACHABLE)
    assert setup.breaker.state is OPEN


def test_queries_of_three_namespaces_that_fail_in_a_row_open_it(setup: Setup) -> None:
    for number, tenant in enumerate(TENANTS):
        assert setup.breaker.state is CLOSED
        setup.call(FAILED, f"image {number}", tenant)
    assert setup.breaker.state is OPEN


def test_two_namespaces_cannot_open_it_whatever_they_query(setup: Setup) -> None:
    for number in range(100):
        setup.call(FAILED, f"image {number}", TENANTS[number % 2])
    assert setup.breaker.state is CLOSED


def test_one_image_that_many_namespaces_use_cannot_open_it(setup: Setup) -> None:
    for number in range(100):
        setup.call(FAILED, f"image {number % (FAILURES - 1)}", f"namespace {number}")
    assert setup.breaker.state is CLOSED


def test_our_own_call_confirms_what_queries_of_any_namespaces_tell(setup: Setup) -> None:
    for number in range(FAILURES):
        assert not setup.breaker.is_in_doubt
        setup.breaker.confirm(FAILED)
        assert setup.breaker.state is CLOSED
        setup.call(FAILED, f"image {number}", (None, "shop")[number % 2])
    assert setup.breaker.is_in_doubt
    setup.breaker.confirm(FAILED)
    assert setup.breaker.state is OPEN
    assert not setup.breaker.is_in_doubt


def test_one_query_that_fails_again_and_again_is_no_doubt(setup: Setup) -> None:
    for _ in range(100):
        setup.call(FAILED)
    setup.breaker.confirm(FAILED)
    assert setup.breaker.state is CLOSED


@pytest.mark.parametrize("response", RESPONSES, ids=repr)
def test_any_response_ends_the_doubt(response: BaseException | None, setup: Setup) -> None:
    for number in range(FAILURES):
        setup.call(FAILED, f"image {number}")
    setup.call(response)
    setup.breaker.confirm(FAILED)
    assert setup.breaker.state is CLOSED


def test_confirmation_does_not_prolong_the_pause(opened: Setup) -> None:
    opened.passes(1)
    opened.breaker.confirm(FAILED)
    opened.passes(FIRST_PAUSE - 1)
    assert not opened.is_suspended()


def test_background_work_repeats_queries_of_any_author_and_counts_only_without_a_connection(setup: Setup) -> None:
    for number in range(100):
        setup.call(FAILED, f"image {number}", None)
    assert setup.breaker.state is CLOSED
    for _ in range(FAILURES):
        setup.call(UNREACHABLE, namespace=None)
    assert setup.breaker.state is OPEN


def test_after_the_pause_exactly_one_call_is_let_through(opened: Setup) -> None:
    opened.passes(FIRST_PAUSE - 0.01)
    assert opened.is_suspended()
    opened.passes(0.01)
    assert not opened.is_suspended()
    with opened.breaker.call("image", "shop"):
        assert opened.breaker.state is HALF_OPEN
        for _ in range(20):
            with pytest.raises(AnchoreSuspended):
                opened.call()
    assert opened.reported == [CLOSED, OPEN, HALF_OPEN, CLOSED]


@pytest.mark.parametrize("response", RESPONSES, ids=repr)
def test_any_response_closes_it(response: BaseException | None, opened: Setup) -> None:
    opened.passes(FIRST_PAUSE)
    opened.call(response)
    assert opened.breaker.state is CLOSED
    opened.open()
    opened.passes(FIRST_PAUSE)
    assert not opened.is_suspended()


def test_the_pause_doubles_with_every_probe_that_does_not_connect(opened: Setup) -> None:
    for pause in (FIRST_PAUSE, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE):
        opened.passes(pause - 0.01)
        assert opened.is_suspended()
        opened.passes(0.01)
        opened.call(UNREACHABLE)
        assert opened.breaker.state is OPEN


def test_the_pause_has_jitter() -> None:
    setup = Setup()
    setup.breaker = Breaker(setup.clock, report=setup.reported.append, jitter=lambda _low, high: high)
    setup.open()
    setup.passes(FIRST_PAUSE)
    assert setup.is_suspended()
    setup.passes(FIRST_PAUSE * 0.2)
    assert not setup.is_suspended()


@pytest.mark.parametrize("outcome", NO_NEWS, ids=repr)
def test_a_probe_that_tells_nothing_makes_room_for_the_next(outcome: BaseException, opened: Setup) -> None:
    opened.passes(FIRST_PAUSE)
    opened.call(outcome)
    assert opened.breaker.state is HALF_OPEN
    opened.call()
    assert opened.breaker.state is CLOSED


def test_a_probe_with_a_query_that_fails_holds_nobody_up(opened: Setup) -> None:
    """The author of an image on which Anchore stumbles could otherwise keep the breaker open."""
    opened.passes(FIRST_PAUSE)
    opened.call(FAILED, "evil", "evil")
    assert opened.breaker.state is CLOSED


def test_the_pause_stays_doubled_if_all_queries_fail(opened: Setup) -> None:
    opened.passes(FIRST_PAUSE)
    for number, tenant in enumerate(TENANTS):
        opened.call(FAILED, f"image {number}", tenant)
    opened.passes(2 * FIRST_PAUSE - 0.01)
    assert opened.is_suspended()


def test_a_probe_that_hangs_holds_up_the_next_for_two_seconds_only(opened: Setup) -> None:
    opened.passes(FIRST_PAUSE)
    with opened.breaker.call("evil", "evil"):
        opened.passes(PROBE_SECONDS - 0.01)
        assert opened.is_suspended()
        opened.passes(0.01)
        opened.call()
        assert opened.breaker.state is CLOSED


def test_calls_from_before_it_opened_prolong_nothing_when_they_fail(setup: Setup) -> None:
    with suppress(AnchoreUnreachable), setup.breaker.call("old", "shop"):
        setup.open()
        raise UNREACHABLE
    setup.passes(FIRST_PAUSE)
    assert not setup.is_suspended()
    with suppress(AnchoreUnreachable), setup.breaker.call("first", "shop"):
        setup.passes(PROBE_SECONDS)
        setup.call(UNREACHABLE, "second")
        raise UNREACHABLE
    setup.passes(2 * FIRST_PAUSE)
    assert not setup.is_suspended()


def test_a_response_to_a_call_from_before_it_opened_closes_it(setup: Setup) -> None:
    with setup.breaker.call("old", "shop"):
        setup.open()
    assert setup.breaker.state is CLOSED


def test_the_error_tells_since_when_why_and_for_how_long(setup: Setup) -> None:
    setup.call(FAILED)
    setup.passes(58)
    setup.open()
    setup.passes(0.5)
    with pytest.raises(AnchoreSuspended) as raised:
        setup.breaker.check()
    assert str(raised.value) == (
        "Anchore has been unavailable for 58 seconds (cannot connect to Anchore at anchore:8228); "
        "it is called again in about 2 seconds"
    )
    assert raised.value.code == "suspended"
    assert isinstance(raised.value, AnchoreUnavailable)
