"""Send random Pods to the controller, and check each answer."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.load import CONNECTION, exchange, pod_review, request
from bench.soak.model import Image, Judged, Model, Review, Rule
from bench.soak.truth import Truth
from bench.standin import digest_of

POLICIES = ("first-policy", "second-policy")
RULES: Mapping[str, Rule] = {
    **{f"strict-{on_error}": Rule("strict", on_error) for on_error in ("deny", "warn", "allow")},
    **{f"analysis-{on_error}": Rule("analysis", on_error) for on_error in ("deny", "warn", "allow")},
    "strict-second": Rule("strict", policy="second-policy"),
    "strict-dry": Rule("strict", enforcement="warn"),
    "passive": Rule("passive"),
    "skip": Rule("skip"),
}
"""The rules of the configuration, by the namespace that each is for."""
_HUB = "docker.io/"
_WEIGHTS = {"strict-deny": 6, "strict-second": 4, "strict-allow": 3, "skip": 1, "passive": 1}
CHANGES = 2.0
"""Changes in a second."""
_GRACE = 5.0
"""Seconds after a review's timeout until its answer is given up."""


@dataclass
class Fleet:
    """The images that Pods use: most are known to Anchore and stay in use, a few are new."""

    truth: Truth
    draw: random.Random
    repositories: int = 40
    builds: int = 3
    new: int = 0
    tags: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for n in range(self.repositories):
            # Every fifth is an official image of Docker Hub, which Anchore holds under the short one of two names.
            name = f"{_HUB}soak-{n}" if n % 5 == 0 else f"quay.io/soak/app-{n}"
            for build in range(self.builds):
                self.truth.add_image(self.digest(name, build), "analyzed")
            self.tags += [f"{name}:1", f"{name}:2"]
            for tag in self.tags[-2:]:
                self.truth.move(tag, self.digest(name, 0))

    def digest(self, name: str, build: int) -> str:
        return digest_of(f"{name} {build}")

    def other_build(self, tag: str) -> str:
        """Return a digest of the tag's repository."""
        return self.digest(tag.rpartition(":")[0], self.draw.randrange(self.builds))

    def image(self) -> Image:
        """Return a random image as a Pod names it."""
        chance = self.draw.random()
        if chance < 0.03:
            self.new += 1
            is_private = self.new % 10 == 0
            text = f"quay.io/soak/{'private' if is_private else 'new'}-{self.new}:1"
            return Image(text, tag=text, is_private=is_private)
        tag = self.draw.choice(self.tags)
        if chance < 0.15:
            digest = self.other_build(tag)
            return Image(f"{tag.rpartition(':')[0]}@{digest}", digest=digest)
        return Image(tag.removeprefix(_HUB) if self.draw.random() < 0.5 else tag, tag=tag)


@dataclass
class Tally:
    """What the run has seen so far."""

    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    stale: int = 0
    objections: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    dry: set[str] = field(default_factory=set)
    """Images that only dry runs have named; they must never be submitted."""
    wet: set[str] = field(default_factory=set)


@dataclass
class Driver:
    """One client of the controller, with one connection after another."""

    port: int
    fleet: Fleet
    model: Model
    tally: Tally
    draw: random.Random

    async def run(self, stopped: asyncio.Event) -> None:
        """Send reviews until stopped."""
        while not stopped.is_set():
            try:
                connection = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    while not stopped.is_set():
                        await self._review(connection)
                finally:
                    connection[1].close()
            except (OSError, asyncio.IncompleteReadError) as error:
                self.tally.objections.append(f"a review had no answer: {error!r}")

    async def _review(self, connection: CONNECTION) -> None:
        namespace = self.draw.choices([*RULES], [_WEIGHTS.get(name, 2) for name in RULES])[0]
        images = {image.text: image for image in (self.fleet.image() for _ in range(self.draw.randint(1, 5)))}
        is_dry = self.draw.random() < 0.05
        (self.tally.dry if is_dry else self.tally.wet).update(image.tag or "" for image in images.values())
        timeout = self.draw.randint(2, 5)
        size = self.draw.choice((0, 0, 8_500, 8_500, 8_500, 50_000))
        body = pod_review([*images], size=size, namespace=namespace, dryRun=is_dry)
        clock = self.fleet.truth.clock
        sent = clock()
        async with asyncio.timeout(timeout + _GRACE):
            status, answer = await exchange(connection, request(body, f"/validate?timeout={timeout}s"))
        answered = clock()
        self.tally.latencies.append(answered - sent)
        if status != 200:
            self.tally.objections.append(f"a review was answered with {status}: {answer[:200]!r}")
            return
        response = json.loads(answer)["response"]
        judged = judged_images(response)
        review = Review(
            RULES[namespace], [*images.values()], timeout, sent, answered, allowed=response["allowed"], judged=judged
        )
        self._count(review)
        for objection in self.model.objections(review):
            self.tally.objections.append(f"{sent:.2f} s, {namespace}: {objection}")

    def _count(self, review: Review) -> None:
        self.tally.outcomes["admitted" if review.allowed else "denied"] += 1
        for judged in review.judged.values():
            self.tally.reasons[judged.error or judged.reason] += 1
            self.tally.stale += judged.stale is not None


def judged_images(response: Mapping[str, Any]) -> dict[str, Judged]:
    """Read the verdicts on images from a response's audit annotations."""
    annotations = response.get("auditAnnotations") or {}
    errors = dict(entry.rsplit(": ", 1) for entry in _entries(annotations, "errors"))
    stale = dict(entry.removesuffix(" s").rsplit(" ", 1) for entry in _entries(annotations, "stale"))
    judged = {}
    for entry in _entries(annotations, "images"):
        text, *between, decision, reason = entry.split(" ")
        digest = next((word for word in between if word.startswith("sha256:")), None)
        age = stale.get(text)
        judged[text] = Judged(
            digest, decision.rstrip(":"), reason, stale=float(age) if age else None, error=errors.get(text)
        )
    return judged


def _entries(annotations: Mapping[str, str], name: str) -> Sequence[str]:
    return list(filter(None, annotations.get(name, "").split("; ")))


async def change(truth: Truth, fleet: Fleet, draw: random.Random, stopped: asyncio.Event) -> None:
    """Change what Anchore holds, now and then: results, tags, policies, states."""
    while not stopped.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(draw.expovariate(CHANGES)):
                await stopped.wait()
        tag = draw.choice(fleet.tags)
        digest = fleet.other_build(tag)
        match draw.choices(("flip", "move", "delete", "edit", "activate", "state"), (40, 25, 5, 7, 2, 21))[0]:
            case "flip":
                truth.flip(draw.choice(POLICIES), digest)
            case "move":
                truth.move(tag, digest)
            case "delete":
                truth.move(tag, None)
            case "edit":
                truth.edit(draw.choice(POLICIES))
            case "activate":
                truth.activate(draw.choice(POLICIES))
            case _:
                truth.become(digest, draw.choice(("analyzing", "analyzed", "analyzed", "analysis_failed", None)))
