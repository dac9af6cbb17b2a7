"""Strangers that make tokens up: they cannot keep real callers out, nor load the API server."""

from collections.abc import Iterable, Iterator
from itertools import count

import pytest

from anchore_admission.services.cluster.token_access import GRANTED_SECONDS, Access, TokenAccess
from anchore_admission.services.cluster.verification_budget import (
    ADDRESS_BURST,
    ADDRESS_PER_SECOND,
    ADDRESSES,
    BURST,
    CALLER_SECONDS,
    CALLERS,
    NETWORK_BURST,
    NETWORK_PER_SECOND,
    NETWORKS,
    PER_SECOND,
    RARE_SECONDS,
    VerificationBudget,
    network_of,
)
from support.fakes import ManualClock
from support.token_api import AUDIENCE, KYVERNO, TokenApi

ENGINE = "10.1.7.9"
EVERYWHERE = [f"10.{2 + number // 250}.{number % 250}.4" for number in range(500)]
"""Strangers in as many networks."""
ON_THE_NODE = [f"10.1.7.{number}" for number in range(1, 255) if f"10.1.7.{number}" != ENGINE]
"""Strangers in the engine's own network."""


class Attack:
    """Strangers that send a new token each in every second, and an engine."""

    def __init__(self) -> None:
        self.api, self.clock = TokenApi(), ManualClock.of_loop()
        self.access = TokenAccess(self.api.source(), AUDIENCE, frozenset({KYVERNO}), self.clock)
        self.numbers = count()

    async def second(self, strangers: Iterable[str]) -> None:
        for address in strangers:
            await self.access.of(f"made-up-{next(self.numbers)}".encode(), address)
        await self.clock.advance(1)

    async def tries(self, strangers: list[str], token: str, most: int = 120) -> int:
        """Return how many times the engine asks until it is let in: once a second, after all strangers."""
        self.api.put(token)
        for number in range(1, most + 1):
            await self.second(strangers)
            if await self.access.of(token.encode(), ENGINE) is Access.GRANTED:
                return number
        return 0


@pytest.fixture
async def attack() -> Attack:
    return Attack()


@pytest.mark.parametrize("strangers", [EVERYWHERE, ON_THE_NODE], ids=["everywhere", "on the node"])
async def test_an_engine_gets_in_while_hundreds_of_strangers_ask_all_the_time(
    attack: Attack, strangers: list[str]
) -> None:
    for _ in range(60):
        await attack.second(strangers)
    assert await attack.tries(strangers, "first") == 1


@pytest.mark.parametrize("strangers", [EVERYWHERE, ON_THE_NODE], ids=["everywhere", "on the node"])
async def test_an_engine_that_begins_together_with_them_gets_in_within_a_minute(
    attack: Attack, strangers: list[str]
) -> None:
    assert 1 <= await attack.tries(strangers, "first") <= RARE_SECONDS


@pytest.mark.parametrize("strangers", [EVERYWHERE, ON_THE_NODE], ids=["everywhere", "on the node"])
async def test_a_known_engine_is_never_kept_waiting_with_a_new_token(attack: Attack, strangers: list[str]) -> None:
    assert await attack.tries([], "first") == 1
    for number in range(10):
        assert await attack.tries(strangers, f"renewed-{number}") == 1
    await attack.clock.advance(CALLER_SECONDS - 60)
    assert await attack.tries(strangers, "of-tomorrow") == 1


async def test_a_token_that_was_accepted_is_verified_again_from_any_address(attack: Attack) -> None:
    attack.api.put("good")
    assert await attack.access.of(b"good", "10.9.9.9") is Access.GRANTED
    await attack.clock.advance(GRANTED_SECONDS)
    for _ in range(3):
        await attack.second(EVERYWHERE)
    assert await attack.access.of(b"good", EVERYWHERE[0]) is Access.GRANTED


async def test_a_host_with_a_whole_network_takes_from_no_other(attack: Attack) -> None:
    def addresses() -> Iterator[str]:
        return (f"2001:db8:1:1::{next(attack.numbers):x}" for _ in range(300))

    for _ in range(10):
        await attack.second(addresses())
    assert await attack.tries(list(addresses()), "first") == 1
    attack.api.asked.clear()
    for _ in range(10):
        await attack.second(addresses())
    assert len(attack.api.asked) <= 2 * (NETWORK_BURST + 10 * NETWORK_PER_SECOND)


async def test_a_client_that_makes_tokens_up_takes_no_verifications_from_others(attack: Attack) -> None:
    for number in range(5):
        await attack.second(["10.0.0.66"] * 500)
        attack.api.put(f"new-{number}")
        assert await attack.access.of(f"new-{number}".encode(), f"10.0.{number}.2") is Access.GRANTED
    assert len(attack.api.asked) <= ADDRESS_BURST + 1 + 5 * (ADDRESS_PER_SECOND + 1)


async def test_the_api_server_is_asked_a_bounded_number_of_times(attack: Attack) -> None:
    seconds = 60
    for _ in range(seconds):
        await attack.second(EVERYWHERE)
    assert len(attack.api.asked) <= 2 * (BURST + seconds * PER_SECOND)
    assert len(attack.api.asked) >= BURST + seconds * PER_SECOND


def test_memory_is_bounded() -> None:
    budget = VerificationBudget(0.0)
    for number in range(2 * ADDRESSES):
        budget.takes_one(f"2001:db8:{number:x}::1", float(number))
        budget.accepted(f"2001:db8:{number:x}::2", float(number))
    assert [len(budget._addresses), len(budget._networks), len(budget._callers)] == [ADDRESSES, NETWORKS, CALLERS]


def test_a_known_caller_has_a_limit_too_and_is_forgotten() -> None:
    budget = VerificationBudget(0.0)
    budget.accepted(ENGINE, 0.0)
    assert [budget.takes_one(ENGINE, 0.0) for _ in range(100)].count(True) == ADDRESS_BURST
    for number, address in enumerate(EVERYWHERE):
        budget.takes_one(address, CALLER_SECONDS + number / 1000)
    # Its own allowance is full again, but it is one of all strangers now, whose is used up.
    assert [budget.takes_one(ENGINE, CALLER_SECONDS + 0.5) for _ in range(10)].count(True) <= 1


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3", "10.1.2.0/24"),
        ("::ffff:10.1.2.3", "10.1.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_the_network_of_an_address(address: str, network: str) -> None:
    assert network_of(address) == network
