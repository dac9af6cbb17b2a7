import asyncio
import logging

import httpx2
import pytest

from anchore_admission.ports.tokens import TokenOwner
from anchore_admission.services.cluster.token_access import (
    DENIED_SECONDS,
    FAILED_SECONDS,
    GRANTED_SECONDS,
    LONGEST_TOKEN,
    REMEMBERED,
    Access,
    TokenAccess,
)
from anchore_admission.services.cluster.verification_budget import ADDRESS_BURST, ADDRESS_PER_SECOND
from support.fakes import ManualClock, settled
from support.token_api import AUDIENCE, KYVERNO, OTHER, TokenApi

CLIENT = "10.0.0.1"


class Setup:
    def __init__(self) -> None:
        self.api, self.clock = TokenApi(), ManualClock.of_loop()
        self.good = self.api.put("good")
        self.access = TokenAccess(self.api.source(), AUDIENCE, frozenset({KYVERNO}), self.clock)

    async def fill(self, number: int, name: str = "made-up", address: str = CLIENT) -> list[Access]:
        return [await self.access.of(f"{name}-{count}".encode(), address) for count in range(number)]


@pytest.fixture
async def setup() -> Setup:
    return Setup()


@pytest.mark.parametrize(
    ("user", "audiences", "expected"),
    [
        (KYVERNO, (AUDIENCE,), Access.GRANTED),
        (KYVERNO, ("another", AUDIENCE), Access.GRANTED),
        (KYVERNO, ("another",), Access.DENIED),
        (KYVERNO, None, Access.DENIED),
        (OTHER, (AUDIENCE,), Access.FORBIDDEN),
        (OTHER, ("another",), Access.DENIED),
        (KYVERNO.upper(), (AUDIENCE,), Access.FORBIDDEN),
        ("", (AUDIENCE,), Access.DENIED),
    ],
)
async def test_user_and_audience_decide(
    setup: Setup, user: str, audiences: tuple[str, ...] | None, expected: Access
) -> None:
    assert await setup.access.of(setup.api.put("token", user, audiences), CLIENT) is expected


async def test_an_answer_without_a_user_grants_nothing() -> None:
    class _Nameless:
        async def review(self, token: str, audience: str) -> TokenOwner:  # noqa: ARG002 - the port's
            return TokenOwner("", (audience,))

    access = TokenAccess(_Nameless(), AUDIENCE, frozenset({""}), ManualClock())
    assert await access.of(b"token", CLIENT) is Access.DENIED


@pytest.mark.parametrize("token", [b"", b"x" * (LONGEST_TOKEN + 1), "tökén".encode(), b"\xff\xfe"])
async def test_what_is_no_token_is_not_granted(setup: Setup, token: bytes) -> None:
    assert await setup.access.of(token, CLIENT) is Access.DENIED
    assert setup.api.asked == []


async def test_a_decision_counts_for_a_while(setup: Setup) -> None:
    assert [await setup.access.of(setup.good, CLIENT), await setup.access.of(setup.good, CLIENT)] == [
        Access.GRANTED
    ] * 2
    assert setup.api.asked == ["good"]
    del setup.api.tokens["good"]
    await setup.clock.advance(GRANTED_SECONDS - 1)
    assert await setup.access.of(setup.good, CLIENT) is Access.GRANTED
    await setup.clock.advance(1)
    assert await setup.access.of(setup.good, CLIENT) is Access.DENIED
    setup.api.put("good")
    assert await setup.access.of(setup.good, CLIENT) is Access.DENIED
    await setup.clock.advance(DENIED_SECONDS)
    assert await setup.access.of(setup.good, CLIENT) is Access.GRANTED
    assert setup.api.asked == ["good"] * 3


async def test_callers_that_come_together_share_one_verification(setup: Setup) -> None:
    setup.api.held = asyncio.Event()
    waiting = [asyncio.create_task(setup.access.of(setup.good, CLIENT)) for _ in range(50)]
    await settled()
    waiting[0].cancel()
    await settled()
    setup.api.held.set()
    assert set(await asyncio.gather(*waiting[1:])) == {Access.GRANTED}
    assert setup.api.asked == ["good"]


@pytest.mark.parametrize(
    "broken",
    [
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout(""),
        httpx2.Response(403, json={"message": "no right"}),
        httpx2.Response(500, text="x"),
        httpx2.Response(201, text="<html>"),
        httpx2.Response(201, json={"status": {"authenticated": "yes"}}),
        httpx2.Response(200, json={}),
        httpx2.Response(
            201,
            json={
                "status": {
                    "authenticated": True,
                    "user": {"username": KYVERNO},
                    "audiences": [AUDIENCE],
                    "error": "the authenticator did not respond",
                }
            },
        ),
        ValueError("unexpected"),
    ],
)
async def test_a_failure_grants_nothing_and_is_forgotten_soon(
    setup: Setup, broken: httpx2.Response | Exception
) -> None:
    assert await setup.access.of(setup.good, CLIENT) is Access.GRANTED
    await setup.clock.advance(GRANTED_SECONDS)
    setup.api.broken = broken
    assert [await setup.access.of(setup.good, CLIENT) for _ in range(5)] == [Access.UNKNOWN] * 5
    assert len(setup.api.asked) == 2
    setup.api.broken = None
    await setup.clock.advance(FAILED_SECONDS)
    assert await setup.access.of(setup.good, CLIENT) is Access.GRANTED


async def test_an_api_server_that_hangs_is_given_up(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    setup.api.held = asyncio.Event()
    waiting = asyncio.create_task(setup.access.of(setup.good, CLIENT))
    await settled()
    await setup.clock.advance(2)
    assert await waiting is Access.UNKNOWN
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert line.startswith("cannot verify the token of a caller that asks for facts: no response from the API server")
    assert line.endswith("; it gets 503")


async def test_failures_that_strangers_cause_are_logged_once_for_each_kind(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(8):
        setup.api.broken = httpx2.Response(500 if number % 2 else 403, json={"message": f"request {number} failed"})
        await setup.access.of(f"made-up-{number}".encode(), CLIENT)
    first, second = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "403: request 0 failed" in first
    assert "500: request 1 failed" in second


async def test_made_up_tokens_are_verified_a_few_at_a_time_and_do_not_stand_in_the_way_of_known_ones(
    setup: Setup,
) -> None:
    found = await setup.fill(1000)
    assert found.count(Access.DENIED) == ADDRESS_BURST + 1  # the first one is a rare one
    assert found.count(Access.UNKNOWN) == 1000 - ADDRESS_BURST - 1
    await setup.clock.advance(60)
    assert await setup.access.of(setup.good, CLIENT) is Access.GRANTED
    await setup.clock.advance(GRANTED_SECONDS)
    await setup.fill(1000, "others")
    assert await setup.access.of(setup.good, CLIENT) is Access.GRANTED
    assert await setup.access.of(setup.api.put("new"), CLIENT) is Access.UNKNOWN
    await setup.clock.advance(1 / ADDRESS_PER_SECOND)
    assert await setup.access.of(b"new", CLIENT) is Access.GRANTED


async def test_strangers_cannot_make_known_tokens_forgotten(setup: Setup) -> None:
    assert await setup.access.of(setup.good, CLIENT) is Access.GRANTED
    for count in range(2 * REMEMBERED):
        await setup.clock.advance(1 / ADDRESS_PER_SECOND)
        assert await setup.access.of(f"made-up-{count}".encode(), CLIENT) is Access.DENIED
    await setup.fill(100)
    assert await setup.access.of(b"new", CLIENT) is Access.UNKNOWN
    assert await setup.access.of(setup.good, CLIENT) is Access.GRANTED
