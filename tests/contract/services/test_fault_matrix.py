"""Every fault of Anchore, with every mode, every ``onError`` and every state of the memory: a table of the answers."""

import asyncio
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from anchore_admission.adapters import transport
from anchore_admission.adapters.anchore import Credentials
from anchore_admission.adapters.transport import PooledTransport
from anchore_admission.adapters.trust import system_trust
from anchore_admission.core.freshness import Lifetimes
from anchore_admission.core.verdict import ReviewVerdict
from anchore_admission.models.configuration import ApiVersion, Configuration, ModeName, OnError
from anchore_admission.models.review import AdmissionRequest, AdmissionResponse, decode
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.telemetry import Origin
from anchore_admission.services.reviews.facts import FactGathering
from anchore_admission.services.reviews.judging import Judging
from anchore_admission.services.reviews.pinning import PIN_SECONDS, Pinning
from anchore_admission.services.reviews.review import Reviews
from anchore_admission.services.reviews.rules import CurrentRules, Rules
from anchore_admission.services.reviews.submissions import Schedule, Submissions
from support.anchore_calls import client
from support.anchore_servers import LOOPBACK, http_answer, own_certificate, reset, serving
from support.anchore_stage import policy
from support.builders import pod, review
from support.fakes import FakeRecorder, digest_of
from support.memory import memory_over
from support.review_setup import CONTROLLER
from support.sandbox_calls import ADMIN, Sandbox

Json = dict[str, Any]
Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


class Kind(StrEnum):
    """What a fault means to a review."""

    OUTAGE = "outage"
    """Anchore cannot be asked."""
    SILENCE = "silence"
    """Anchore cannot be asked, and nothing says so before the deadline."""
    REFUSAL = "refusal"
    """Anchore refuses to answer: nothing that it said before counts."""
    NO_POLICIES = "no-policies"
    """Anchore looks images up, but evaluates no policy."""
    TOO_LARGE = "too-large"
    """The response is larger than the limit, as the author of an image can arrange it."""


class Known(StrEnum):
    """What is remembered of the image, which has passed."""

    COLD = "nothing"
    FRESH = "fresh"
    STALE = "stale"
    BEYOND = "beyond"


AGES = {Known.COLD: 1, Known.FRESH: 1, Known.STALE: 300, Known.BEYOND: 700}
"""Seconds; a pass is fresh for 60, used once more until 120, and stands in until 600."""


class Answer(StrEnum):
    ADMITTED = "admitted"
    WARNED = "warned"
    """Admitted with a warning."""
    STALE = "stale"
    """Admitted by an older answer, with a warning that says so."""
    DENIED = "denied"
    NO_VERDICT = "no-verdict"
    """As ``onError`` says."""


ON_ERROR = {OnError.DENY: Answer.DENIED, OnError.WARN: Answer.WARNED, OnError.ALLOW: Answer.ADMITTED}
"""What "no verdict" amounts to. Nothing else depends on ``onError``."""

MODES = (ModeName.PASSIVE, ModeName.ANALYSIS, ModeName.STRICT)
TABLE = """
                        nothing     fresh       stale       beyond

outage      passive     warned      warned      warned      warned
outage      analysis    no-verdict  admitted    stale       no-verdict
outage      strict      no-verdict  admitted    stale       no-verdict

silence     passive     admitted    admitted    admitted    admitted
silence     analysis    no-verdict  admitted    stale       no-verdict
silence     strict      no-verdict  admitted    stale       no-verdict

refusal     passive     warned      warned      warned      warned
refusal     analysis    no-verdict  admitted    no-verdict  no-verdict
refusal     strict      no-verdict  admitted    no-verdict  no-verdict

no-policies passive     admitted    admitted    admitted    admitted
no-policies analysis    admitted    admitted    admitted    admitted
no-policies strict      no-verdict  admitted    stale       no-verdict

too-large   passive     warned      warned      warned      warned
too-large   analysis    denied      admitted    denied      denied
too-large   strict      denied      admitted    denied      denied
"""


def _expected() -> dict[tuple[Kind, Known, ModeName, OnError], Answer]:
    header, *rows = (line.split() for line in TABLE.splitlines() if line)
    expected = {}
    for kind, mode, *answers in rows:
        for known, answer, on_error in ((k, a, e) for k, a in zip(header, answers, strict=True) for e in OnError):
            verdict = ON_ERROR[on_error] if answer == Answer.NO_VERDICT else Answer(answer)
            expected[Kind(kind), Known(known), ModeName(mode), on_error] = verdict
    return expected


EXPECTED = _expected()
CASES = tuple(product(MODES, OnError))


# Faults


IMAGE, OTHER = "registry.example.com/app:1", "registry.example.com/other:1"
SEED: Json = {
    "apiVersions": ["v1"],
    "images": [{"tag": image, "digest": digest_of(image)} for image in (IMAGE, OTHER)],
    "policies": [{"policy": policy("strict"), "active": True}],
}
IMAGES = json.dumps([{"imageDigest": digest_of(IMAGE), "analysis_status": "analyzed"}]).encode()
TRICKLE = 0.02
"""Seconds between two bytes of a slow body."""


def _sandbox(**changes: Any) -> httpx.AsyncBaseTransport:
    return httpx.ASGITransport(Sandbox({**SEED, **changes}).app)


@dataclass
class Leading(httpx.AsyncBaseTransport):
    """A transport over real connections to another address than the request names."""

    scheme: str
    host: str
    port: int
    transport: PooledTransport = field(default_factory=lambda: PooledTransport(system_trust))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(scheme=self.scheme, host=self.host, port=self.port)
        return await self.transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self.transport.aclose()


@dataclass(frozen=True)
class World:
    """What a fault may need of its test."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch


Break = Callable[[World], AbstractAsyncContextManager[httpx.AsyncBaseTransport]]


def responding(response: bytes | None) -> Break:
    """A server that sends this to every request; an empty response closes the connection, None is never sent."""

    @asynccontextmanager
    async def broken(_: World) -> AsyncIterator[httpx.AsyncBaseTransport]:
        async with serving(lambda _: response) as served:
            yield Leading("http", LOOPBACK, served.port)

    return broken


def handling(handle: Handle) -> Break:
    """A server that handles each connection so."""

    @asynccontextmanager
    async def broken(_: World) -> AsyncIterator[httpx.AsyncBaseTransport]:
        async with await asyncio.start_server(handle, LOOPBACK, 0) as server:
            yield Leading("http", LOOPBACK, server.sockets[0].getsockname()[1])

    return broken


def simulated(**changes: Any) -> Break:
    """A sandbox with a fault of its own."""

    @asynccontextmanager
    async def broken(_: World) -> AsyncIterator[httpx.AsyncBaseTransport]:
        yield _sandbox(**changes)

    return broken


@asynccontextmanager
async def refused(_: World) -> AsyncIterator[httpx.AsyncBaseTransport]:
    async with serving(lambda _: None) as served:
        pass
    yield Leading("http", LOOPBACK, served.port)


async def slow_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(http_answer(IMAGES + b" " * 100_000)[:-100_000])
    while not reader.at_eof():
        writer.write(b" ")
        with suppress(TimeoutError):
            await asyncio.wait_for(reader.read(1), TRICKLE)
    writer.close()


async def endless_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n[")
    with suppress(ConnectionError):
        while not reader.at_eof():
            writer.write(b" " * 65_536)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def unknown_host(world: World) -> AsyncIterator[httpx.AsyncBaseTransport]:
    def look_up(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    world.monkeypatch.setattr(transport, "look_up", look_up)
    yield Leading("http", "anchore.invalid", 80)


@asynccontextmanager
async def untrusted_certificate(world: World) -> AsyncIterator[httpx.AsyncBaseTransport]:
    _, tls = own_certificate(world.folder)
    async with serving(lambda _: None, tls) as served:
        yield Leading("https", LOOPBACK, served.port)


def _page(status: bytes = b"200 OK") -> bytes:
    body = b"<html>Please log in</html>"
    return b"HTTP/1.1 %s\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body)


@dataclass(frozen=True)
class Fault:
    """What a fault means, the words of a denial that show that it happened, and how to bring it about."""

    kind: Kind
    words: str
    broken: Break


LATE = "no response before the deadline"
FAULTS = {
    "connection refused": Fault(Kind.OUTAGE, "cannot connect to Anchore", refused),
    "connection reset": Fault(Kind.OUTAGE, "Anchore closed the connection", handling(reset)),
    "hang before headers": Fault(Kind.SILENCE, LATE, responding(None)),
    "hang after headers": Fault(Kind.SILENCE, LATE, responding(http_answer(IMAGES)[: -len(IMAGES)])),
    "slow body": Fault(Kind.SILENCE, LATE, handling(slow_body)),
    "endless body": Fault(Kind.TOO_LARGE, "response is larger than", handling(endless_body)),
    "500": Fault(Kind.OUTAGE, "server error (500)", responding(_page(b"500 Internal Server Error"))),
    "503": Fault(Kind.OUTAGE, "is not available (503)", responding(_page(b"503 Service Unavailable"))),
    "429": Fault(Kind.OUTAGE, "is not available (429)", responding(_page(b"429 Too Many Requests"))),
    "HTML with 200": Fault(Kind.OUTAGE, "is not JSON", responding(_page())),
    "truncated JSON": Fault(Kind.OUTAGE, "does not match its API", responding(http_answer(IMAGES[:-5]))),
    "wrong shape": Fault(Kind.OUTAGE, "does not match its API", responding(http_answer(b'{"images": 1}'))),
    "401 of a dead database": Fault(
        Kind.REFUSAL, "while its database is down", simulated(faults=[{"mode": "databaseDown"}])
    ),
    "404 of a dead policy engine": Fault(
        Kind.NO_POLICIES, "its policy engine may be down", simulated(faults=[{"mode": "policyEngineDown"}])
    ),
    "version flip": Fault(Kind.OUTAGE, "no Anchore API at this address (404)", simulated(apiVersions=["v2"])),
    "DNS": Fault(Kind.OUTAGE, "its host name is not known", unknown_host),
    "TLS": Fault(Kind.OUTAGE, "its TLS certificate is not trusted", untrusted_certificate),
}
SECONDS = {kind: 0.4 if kind is Kind.SILENCE else 20.0 for kind in Kind}
"""The deadline of a review. Without silence, it is not meant to pass."""
MARGIN = 15.0
"""Seconds after the deadline in which even a busy machine must have answered."""


# The controller


class ShiftedClock:
    """The machine's clock, set forward."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Road(httpx.AsyncBaseTransport):
    """The way to Anchore, until it leads elsewhere."""

    def __init__(self, to: httpx.AsyncBaseTransport) -> None:
        self.to = to

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.to.handle_async_request(request)

    async def aclose(self) -> None:
        await self.to.aclose()


def _rule(mode: ModeName, on_error: OnError) -> Json:
    """A rule for a namespace of its own. Only passive mode submits, so that nothing else happens beside the reviews."""
    name = f"{mode}-{on_error}"
    applied = {"mode": mode, "onError": on_error, "requestAnalysis": mode is ModeName.PASSIVE}
    return {"name": name, "match": {"namespaces": [name]}, **applied}


PINNED = {
    "name": "pinned",
    "match": {"namespaces": ["pinned"]},
    "mode": "strict",
    "onError": "allow",
    "pin": "required",
}
RULES = CurrentRules(Rules.of(Configuration.model_validate({"rules": [*(_rule(*case) for case in CASES), PINNED]})))


class Controller:
    """The services of reviews over the whole adapter, on a road that leads to a healthy Anchore first."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.clock = ShiftedClock()
        self.road = Road(_sandbox())
        user = Credentials(ADMIN[0], SecretStr(ADMIN[1]))
        self.anchore = client(self.road, ApiVersion.AUTO, url="http://anchore.test", credentials=user)
        accounts, recorder = {"default": self.anchore}, FakeRecorder()
        self.submissions = Submissions(accounts, recorder, Schedule(), clock=self.clock)
        self.memory = memory_over(
            accounts, recorder, lifetimes=Lifetimes(), policy_interval=30.0, clock=self.clock, concurrency=32
        )
        gathering = FactGathering(
            self.memory, self.submissions, recorder, concurrency=32, passive_wait=SECONDS[Kind.OUTAGE]
        )
        judging = Judging(gathering)
        self.reviews = Reviews(RULES, judging, recorder)
        self.pinning = Pinning(RULES, judging, gathering, recorder)

    async def review(self, mode: ModeName, on_error: OnError, image: str, seconds: float) -> ReviewVerdict:
        """Judge an image by a rule. Raises TimeoutError if the verdict is not there soon after the deadline."""
        return await self.judged(_asked(image, f"{mode}-{on_error}"), seconds)

    async def judged(self, request: AdmissionRequest, seconds: float) -> ReviewVerdict:
        """Judge a request, as ``review`` does."""
        async with asyncio.timeout(seconds + MARGIN):
            return await self.reviews.review(request, Deadline.after(seconds, self.clock), origin=Origin.ADMISSION)

    async def mutate(self, request: AdmissionRequest, seconds: float) -> AdmissionResponse:
        """Pin the images of a request. Raises TimeoutError as ``review`` does."""
        async with asyncio.timeout(seconds + MARGIN):
            return await self.pinning.mutate(request, Deadline.after(seconds, self.clock))

    async def remember(self, known: Known) -> None:
        """Let the image pass, and let time pass; an unknown one follows another image, so that the API is known."""
        image = OTHER if known is Known.COLD else IMAGE
        verdict = await self.review(ModeName.STRICT, OnError.DENY, image, SECONDS[Kind.OUTAGE])
        assert (verdict.allowed, verdict.warnings) == (True, ())
        self.clock.ahead += AGES[known]

    async def verdicts(self) -> dict[tuple[ModeName, OnError], ReviewVerdict]:
        """Judge the image by all rules at once."""
        verdicts = await asyncio.gather(*(self.review(*case, IMAGE, self.seconds) for case in CASES))
        return dict(zip(CASES, verdicts, strict=True))


def _asked(image: str, namespace: str) -> AdmissionRequest:
    body = review(pod(image), namespace=namespace, userInfo={"username": CONTROLLER})
    return decode(json.dumps(body).encode()).request


def _answer(verdict: ReviewVerdict) -> Answer:
    if not verdict.allowed:
        return Answer.DENIED
    if "stale" in verdict.audit_annotations:
        assert re.search(r"is judged by Anchore's answer of 3\d\d s ago", verdict.warnings[0])
        return Answer.STALE
    return Answer.WARNED if verdict.warnings else Answer.ADMITTED


@asynccontextmanager
async def controller(seconds: float) -> AsyncIterator[Controller]:
    built = Controller(seconds)
    sending = asyncio.create_task(built.submissions.run())
    try:
        yield built
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await built.submissions.drain(0)
        await built.memory.aclose()
        await built.anchore.aclose()


def test_table_is_whole() -> None:
    assert EXPECTED.keys() == set(product(Kind, Known, MODES, OnError))
    assert {fault.kind for fault in FAULTS.values()} == set(Kind)


@pytest.mark.parametrize("known", Known)
@pytest.mark.parametrize("name", FAULTS)
async def test_answer_is_the_expected_one(
    name: str, known: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = FAULTS[name]
    expected = {(mode, on_error): EXPECTED[fault.kind, known, mode, on_error] for mode, on_error in CASES}
    async with fault.broken(World(tmp_path, monkeypatch)) as road, controller(SECONDS[fault.kind]) as built:
        await built.remember(known)
        built.road.to = road
        verdicts = await built.verdicts()
        assert {case: _answer(verdict) for case, verdict in verdicts.items()} == expected
        if known is Known.COLD:
            assert fault.words in verdicts[ModeName.STRICT, OnError.DENY].message


async def test_anchore_of_another_version_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an upgrade the paths of API v1 are gone; three failed calls are enough to notice."""
    flip = FAULTS["version flip"]
    async with flip.broken(World(tmp_path, monkeypatch)) as road, controller(SECONDS[Kind.OUTAGE]) as built:
        await built.remember(Known.BEYOND)
        built.road.to = road
        for _ in range(3):
            verdict = await built.review(ModeName.STRICT, OnError.DENY, IMAGE, built.seconds)
            assert not verdict.allowed
        verdict = await built.review(ModeName.STRICT, OnError.DENY, IMAGE, built.seconds)
        assert verdict.allowed


@pytest.mark.parametrize("name", FAULTS)
async def test_no_fault_lets_a_tag_in_where_a_digest_is_required(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutating webhook admits and changes nothing; the validating one denies, although ``onError`` is allow."""
    fault, asked = FAULTS[name], _asked(IMAGE, "pinned")
    async with fault.broken(World(tmp_path, monkeypatch)) as road, controller(SECONDS[fault.kind]) as built:
        await built.remember(Known.COLD)
        built.road.to = road
        response = await built.mutate(asked, min(built.seconds, PIN_SECONDS))
        verdict = await built.judged(asked, built.seconds)

    assert (response.allowed, response.patch) == (True, ())
    assert "not-pinned" in response.audit_annotations
    assert not verdict.allowed
