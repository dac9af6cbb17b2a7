"""The stand-in Anchore of the soak test: it answers by the truth, or fails in one of many ways."""

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import StrEnum

from bench.soak.model import Trouble, Troubles
from bench.soak.truth import ACTIVE, ANALYZED, ANALYZING, FAILED, QUEUED, Truth
from bench.standin import (
    NO_EVENTS,
    NOT_FOUND,
    Answer,
    Call,
    Json,
    digest_of,
    error,
    evaluation,
    image,
    of,
    policy_row,
    send,
    serving,
)

_DELIVERED = 0.3
_ENDLESS_BYTES = 8 * 1024 * 1024
_PRIVATE = error(400, "cannot fetch image digest/manifest from registry")


class Fault(StrEnum):
    """The ways in which Anchore fails."""

    REFUSED = "refused"
    """Nothing listens, and every open connection is reset: a crash, and later a restart."""
    RESET = "reset"
    HANG = "hang"
    HANG_IN_BODY = "hang_in_body"
    SLOW = "slow"
    SLOW_BODY = "slow_body"
    ENDLESS = "endless"
    SERVER_ERROR = "500"
    BUSY = "503"
    TOO_MANY = "429"
    HTML = "html"
    TRUNCATED = "truncated"
    WRONG_SHAPE = "wrong_shape"
    OTHER_IMAGE = "other_image"
    NO_ENGINE = "no_engine"
    UNAUTHORIZED = "401"
    FORBIDDEN = "403"


REFUSALS = frozenset({Fault.UNAUTHORIZED, Fault.FORBIDDEN})
_SPOILED: dict[Fault, Answer] = {
    Fault.SERVER_ERROR: error(500, "internal error"),
    Fault.BUSY: error(503, "not available"),
    Fault.TOO_MANY: error(429, "too many requests"),
    Fault.HTML: Answer(200, b"<html>Please log in</html>", "text/html"),
    Fault.WRONG_SHAPE: of({"images": 7}),
    Fault.UNAUTHORIZED: error(401, "Unauthorized"),
    Fault.FORBIDDEN: error(403, "not authorized"),
}


@dataclass(frozen=True, slots=True)
class Weather:
    """A fault, the part of the calls that it strikes, and the operations; none named: all of them."""

    fault: Fault
    part: float = 1.0
    operations: frozenset[str] = frozenset()


@dataclass
class FaultyAnchore:
    """Serves the truth on one port while it is up."""

    truth: Truth
    troubles: Troubles
    draw: random.Random
    port: int
    calls: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    submitted: set[str] = field(default_factory=set)
    """The tags and digests of all submissions."""
    _weather: Weather | None = None
    _up: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> None:
        await self._up.enter_async_context(serving(self.respond, self.port))

    async def stop(self) -> None:
        """Stop listening and reset every connection."""
        await self._up.aclose()

    async def suffer(self, weather: Weather, seconds: float) -> None:
        """Fail in one way for some time."""
        trouble = Trouble(
            weather.fault,
            self.truth.clock(),
            is_refusal=weather.fault in REFUSALS,
            is_endless=weather.fault is Fault.ENDLESS,
        )
        self.troubles.known.append(trouble)
        self._weather = weather
        if weather.fault is Fault.REFUSED:
            self.failed[Fault.REFUSED] += 1
            await self.stop()
        await asyncio.sleep(seconds)
        if weather.fault is Fault.REFUSED:
            await self.start()
        self._weather = None
        trouble.ended = self.truth.clock()

    async def respond(self, call: Call, writer: asyncio.StreamWriter) -> None:
        self.calls[call.operation] += 1
        fault = self._fault(call)
        if fault is None or fault in REFUSALS:
            self.troubles.recover(self.truth.clock())
        if fault is None:
            send(writer, self._answer(call, writer).wire())
            return
        self.failed[fault] += 1
        match fault:
            case Fault.RESET | Fault.REFUSED:  # the latter for a request that came just before the server stopped
                writer.transport.abort()
            case Fault.HANG:
                await writer.wait_closed()
            case Fault.HANG_IN_BODY:
                send(writer, self._answer(call).wire()[:-10])
                await writer.wait_closed()
            case Fault.SLOW:
                await asyncio.sleep(self.draw.uniform(0.2, 1.2))
                send(writer, self._answer(call, writer).wire())
            case Fault.SLOW_BODY:
                await _send_slowly(writer, self._answer(call).wire())
            case Fault.ENDLESS:
                await _send_endless(writer)
            case _:
                send(writer, self._spoiled(call, fault).wire())

    def _spoiled(self, call: Call, fault: Fault) -> Answer:
        """Return a response that is complete and wrong."""
        match fault:
            case Fault.TRUNCATED:
                answer = self._answer(call)
                return Answer(answer.status, answer.body[: len(answer.body) // 2])
            case Fault.OTHER_IMAGE:
                return of(evaluation(digest_of("another image"), call.query["tag"]))
            case Fault.NO_ENGINE:
                return error(404, "could not find any evaluations for the image")
            case _:
                return _SPOILED[fault]

    def _fault(self, call: Call) -> Fault | None:
        weather = self._weather
        if weather is None or (weather.operations and call.operation not in weather.operations):
            return None
        if weather.fault in {Fault.OTHER_IMAGE, Fault.NO_ENGINE} and call.operation != "check":
            return None
        return weather.fault if self.draw.random() < weather.part else None

    def _answer(self, call: Call, writer: asyncio.StreamWriter | None = None) -> Answer:
        """Answer by the truth of this moment. ``writer`` is given where the whole answer is sent at once."""
        match call.operation:
            case "by_tag":
                tag = call.query["fulltag"]
                history = self.truth.tags.get(tag)
                return self._record(history.current if history else None, tag, is_list=True)
            case "by_digest":
                return self._record(call.path[2], "", is_list=True)
            case "check":
                return self._check(call)
            case "submit":
                return self._submit(call.body["source"])
            case "policies":
                return self._policies(writer)
            case "events":
                return NO_EVENTS
            case _:
                return error(404, "no such path")

    def _record(self, digest: str | None, tag: str, *, is_list: bool) -> Answer:
        state = self.truth.states[digest].current if digest in self.truth.states and digest else None
        if state is None or digest is None:
            return NOT_FOUND
        tags = [tag] if tag else [t for t, history in self.truth.tags.items() if history.current == digest]
        found = image(digest, *(tags or ["docker.io/none:none"]), state=state)
        return of([found] if is_list else found)

    def _check(self, call: Call) -> Answer:
        digest, view = call.path[2], call.query.get("policyId", ACTIVE)
        states = self.truth.states.get(digest)
        if states is None or states.current is None:
            return NOT_FOUND
        if states.current != ANALYZED:
            return error(404, f"image is not analyzed - analysis_status: {states.current}")
        passed = self.truth.result(view, digest).current.passed
        policy = view or self.truth.active
        return of(
            evaluation(
                digest,
                call.query["tag"],
                passed=passed,
                policy=policy,
                findings=self.draw.choice((1, 5, 50)),
                is_detailed=call.query.get("detail") == "true",
            )
        )

    def _policies(self, writer: asyncio.StreamWriter | None) -> Answer:
        now = self.truth.clock()
        epochs = {view: self.truth.epoch(view) for view in self.truth.views()}
        if writer is not None:
            asyncio.get_running_loop().call_later(_DELIVERED, self._told, writer, now, epochs)
        return of(
            [
                policy_row(name, last_updated=_time(epochs[name]), active=name == self.truth.active)
                for name in self.truth.policies
            ]
        )

    def _told(self, writer: asyncio.StreamWriter, at: float, epochs: dict[str | None, int]) -> None:
        """Note that the controller knows the versions, unless the connection broke meanwhile."""
        if not writer.is_closing():
            for view, epoch in epochs.items():
                self.truth.polled[view].append((at, epoch))

    def _submit(self, source: Json) -> Answer:
        """Take an image up for analysis. Its analysis ends after a while; now and then it fails."""
        if digest_source := source.get("digest"):
            digest = digest_source["pullstring"].rpartition("@")[2]
            self.submitted.add(digest)
            return self._analyze(digest, digest_source["tag"], is_tag=False)
        tag = source["tag"]["pullstring"]
        self.submitted.add(tag)
        if "private" in tag:
            return _PRIVATE
        history = self.truth.tags.get(tag)
        return self._analyze((history.current if history else None) or digest_of(tag), tag, is_tag=True)

    def _analyze(self, digest: str, tag: str, *, is_tag: bool) -> Answer:
        if digest not in self.truth.states or self.truth.states[digest].current in {None, FAILED}:
            self.truth.add_image(digest, QUEUED)
            outcome = FAILED if self.draw.random() < 0.1 else ANALYZED
            loop = asyncio.get_running_loop()
            loop.call_later(self.draw.uniform(0.2, 1), self._progress, digest, ANALYZING)
            loop.call_later(self.draw.uniform(1, 4), self._progress, digest, outcome)
        if is_tag:
            if tag not in self.truth.tags or self.truth.tags[tag].current != digest:
                self.truth.move(tag, digest)
            self.truth.submitted[tag].append((self.truth.clock(), digest))
        return self._record(digest, tag if is_tag else "", is_list=True)

    def _progress(self, digest: str, state: str) -> None:
        """Let an analysis go on, unless the image was deleted or decided about meanwhile."""
        if self.truth.states[digest].current in {QUEUED, ANALYZING}:
            self.truth.become(digest, state)


def _time(epoch: int) -> str:
    return f"2026-01-{1 + epoch // 1440:02}T{epoch // 60 % 24:02}:{epoch % 60:02}:00Z"


async def _send_slowly(writer: asyncio.StreamWriter, wire: bytes) -> None:
    step = len(wire) // 10 + 1
    for start in range(0, len(wire), step):
        send(writer, wire[start : start + step])
        await asyncio.sleep(0.05)


async def _send_endless(writer: asyncio.StreamWriter) -> None:
    """Send a body that does not end, until the client has had enough."""
    send(writer, b"HTTP/1.1 200 -\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
    chunk = b" " * 65_536
    for _ in range(_ENDLESS_BYTES // len(chunk)):
        send(writer, b"%x\r\n%s\r\n" % (len(chunk), chunk))
        await writer.drain()
        await asyncio.sleep(0.001)
    writer.transport.abort()
