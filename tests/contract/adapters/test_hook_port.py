"""The contract of the port ``DecisionHook``: in memory, with OPA's recorded answers, and with a real OPA."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from anchore_admission.adapters.opa.hook import OpaHook, Target
from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.core.hook import HookDecision, ImageOpinion
from anchore_admission.errors import DeadlineExceeded, HookFailed, HookInvalid, HookUnavailable, HookUndefined
from anchore_admission.models.configuration import Configuration
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.hook import DecisionHook
from anchore_admission.wiring.hook import decision_hook
from support.certificates import pair, plain_pair, written
from support.hooks import (
    AUTHORIZATION,
    CONTRACT,
    POLICY,
    TOKEN,
    AnsweringTransport,
    Document,
    FakeHook,
    OpaServer,
    document,
    started,
)

WAYS = ("memory", "recorded", "port", "token", "certificate", "socket")
NGINX = "docker.io/library/nginx:1.27"
FAILED = {
    "code": "internal_error",
    "message": "error(s) occurred while evaluating query",
    "errors": [
        {
            "code": "eval_builtin_error",
            "message": 'to_number: strconv.ParseFloat: parsing "many": invalid syntax',
            "location": {"file": "contract.rego", "row": 6, "col": 24},
        }
    ],
}
RESULTS: dict[str, Any] = {
    "shapes/absent": {},
    "shapes/empty": {"result": {}},
    "shapes/allowing": {"result": {"allow": True}},
}
"""OPA's answers about packages that decide nothing."""
REPEATED = {"deny", "warn", "images"}


@dataclass
class Subject:
    """A hook, and ways to make it hang and to let it go on."""

    hook: DecisionHook
    hang: Callable[[], None]
    go_on: Callable[[], None]

    async def decide(self, seconds: float = 30, **said: Any) -> HookDecision:
        return await self.hook.decide(document(**said), Deadline.after(seconds))


def in_memory(policy: str) -> Subject:
    def decide(asked: Document) -> HookDecision:
        said = asked["say"]
        if policy != POLICY:
            raise HookUndefined("there is no such policy")
        if not REPEATED.issuperset(said.keys() - {"padding"}):
            raise HookFailed("the policy fails")
        images = said.get("images", {}).items()
        opinions = (ImageOpinion(name, texts(it.get("deny", ())), texts(it.get("warn", ()))) for name, it in images)
        return HookDecision(texts(said.get("deny", ())), texts(said.get("warn", ())), tuple(opinions))

    fake = FakeHook(decide, name=policy)
    return _held(fake, fake)


def texts(entries: Sequence[Any]) -> tuple[str, ...]:
    found = [entry["msg"] if isinstance(entry, dict) else entry for entry in entries]
    if not all(isinstance(text, str) for text in found):
        raise HookInvalid("an entry has no text")
    return tuple(sorted(" ".join(text.split()) for text in found))


def _held(hook: DecisionHook, holder: Any) -> Subject:
    def hang() -> None:
        holder.hanging = asyncio.Event()

    def go_on() -> None:
        holder.hanging.set()

    return Subject(hook, hang, go_on)


class Recorded:
    """The answers of OPA 1.22.3 to ``contract.rego``."""

    def __init__(self) -> None:
        self.hanging: asyncio.Event | None = None

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.hanging:
            await self.hanging.wait()
        assert request.url.query == b"strict-builtin-errors=true"
        said = json.loads(request.content)["input"]["say"]
        policy = request.url.path.removeprefix("/v1/data/")
        if policy != POLICY:
            return httpx.Response(200, json=RESULTS[policy])
        if "number" in said or "conflict" in said:
            return httpx.Response(500, json=FAILED)
        repeated = {key: said[key] for key in REPEATED & said.keys()}
        return httpx.Response(200, json={"result": {"deny": [], "warn": [], **repeated}})


def recorded(policy: str) -> Subject:
    answers = Recorded()
    hook = OpaHook(AnsweringTransport(answers), Target("http://opa", "http://opa", policy), timeout=10)
    return _held(hook, answers)


@dataclass
class Way:
    """A way to a server, with the configuration for it; none for a hook in this process."""

    name: str
    server: OpaServer | None = None
    section: dict[str, Any] | None = None

    def subject(self, policy: str) -> Subject:
        if self.server is None:
            return in_memory(policy) if self.name == "memory" else recorded(policy)
        opa = {"url": self.server.url, "path": policy, "timeout": "10s", **(self.section or {})}
        wired = decision_hook(Configuration.model_validate({"opa": opa}), Telemetry(), {})
        assert wired
        return Subject(wired.hook, self.server.freeze, self.server.thaw)


@pytest.fixture(scope="module", params=WAYS, name="way")
def _way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """A way to a hook; its server serves all tests of this file."""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    with contextlib.ExitStack() as stack:
        if name in {"memory", "recorded"}:
            yield Way(name)
            return
        server, section = _server(name, folder)
        yield Way(name, stack.enter_context(started(server)), section)


def _server(name: str, folder: Path) -> tuple[OpaServer, dict[str, Any]]:
    if name == "port":
        return OpaServer(CONTRACT), {}
    if name == "socket":
        return OpaServer(CONTRACT, folder / "opa.sock"), {}
    own, client = pair(), plain_pair("controller")
    files, ca = written(folder, own.certificate, own.key), folder / "ca.crt"
    ca.write_bytes(own.ca_bundle)
    options = [
        "--tls-cert-file",
        str(files.certificate),
        "--tls-private-key-file",
        str(files.key),
        "--authorization",
        "basic",
    ]
    guarded: Sequence[Path] = [*CONTRACT, AUTHORIZATION]
    if name == "token":
        token = folder / "token"
        token.write_text(f"{TOKEN}\n")
        server = OpaServer(guarded, options=[*options, "--authentication", "token"], scheme="https")
        return server, {"caFile": str(ca), "tokenFile": str(token)}
    clients, mine = folder / "clients.crt", folder / "client"
    clients.write_bytes(client.ca_bundle)
    mine.mkdir()
    shown = written(mine, client.certificate, client.key)
    options += ["--authentication", "tls", "--tls-ca-cert-file", str(clients)]
    section = {"caFile": str(ca), "certificateFile": str(shown.certificate), "keyFile": str(shown.key)}
    return OpaServer(guarded, options=options, scheme="https"), section


@pytest.fixture
async def subject(way: Way) -> AsyncIterator[Subject]:
    subject = way.subject(POLICY)
    async with contextlib.aclosing(subject.hook):
        yield subject


async def test_no_message_is_no_objection(subject: Subject) -> None:
    assert await subject.decide() == HookDecision()
    assert subject.hook.name == POLICY


async def test_messages_are_sorted_whatever_their_form(subject: Subject) -> None:
    decision = await subject.decide(deny=["b", {"msg": "c", "details": 1}, "a"], warn=[{"msg": "w"}])
    assert decision == HookDecision(deny=("a", "b", "c"), warn=("w",))


async def test_messages_are_one_line(subject: Subject) -> None:
    assert (await subject.decide(deny=["one\ntwo\t three"])).deny == ("one two three",)


async def test_messages_about_images_are_kept_apart(subject: Subject) -> None:
    decision = await subject.decide(images={NGINX: {"deny": ["d"], "warn": ["w"]}, "z": {}})
    assert decision.images == (ImageOpinion(NGINX, ("d",), ("w",)), ImageOpinion("z"))
    assert not decision.deny


@pytest.mark.parametrize("entry", [1, None, [], True])
async def test_an_entry_without_a_text_is_invalid(subject: Subject, entry: object) -> None:
    with pytest.raises(HookInvalid):
        await subject.decide(deny=["a", entry])


@pytest.mark.parametrize("said", [{"number": "many"}, {"conflict": True}])
async def test_a_policy_that_fails_is_no_decision(subject: Subject, said: dict[str, Any]) -> None:
    with pytest.raises(HookFailed):
        await subject.decide(**said)


@pytest.mark.parametrize("policy", ["shapes/absent", "shapes/empty", "shapes/allowing"])
async def test_a_policy_that_is_absent_or_denies_nothing_is_undefined(way: Way, policy: str) -> None:
    # A policy system.authz that allows one path hides which others there are.
    expected = HookUnavailable if way.name in {"token", "certificate"} else HookUndefined
    subject = way.subject(policy)
    async with contextlib.aclosing(subject.hook):
        with pytest.raises(expected):
            await subject.decide()


async def test_no_time_left_is_no_decision(subject: Subject) -> None:
    with pytest.raises(DeadlineExceeded):
        await subject.decide(seconds=0)


async def test_a_hook_that_hangs_ends_at_the_deadline(subject: Subject) -> None:
    await subject.decide()
    subject.hang()
    try:
        with pytest.raises(DeadlineExceeded):
            await subject.decide(seconds=0.2)
    finally:
        subject.go_on()
    assert await subject.decide() == HookDecision()


async def test_each_of_many_calls_at_once_has_its_own_decision(subject: Subject) -> None:
    decisions = await asyncio.gather(*(subject.decide(deny=[str(number)]) for number in range(50)))
    assert [decision.deny for decision in decisions] == [(str(number),) for number in range(50)]


async def test_a_large_document_is_read(subject: Subject) -> None:
    assert (await subject.decide(deny=["d"], padding="x" * 2_000_000)).deny == ("d",)
