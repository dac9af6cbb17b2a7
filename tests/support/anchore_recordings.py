"""Replay recorded exchanges with Anchore Engine to the client, and compare its requests and results."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from anchore_admission.adapters.anchore import DetectingAnchore
from anchore_admission.core.facts import AnalysisState, Finding, ImageRecord, PolicyEvaluation, PolicyReason
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.errors import EvaluationError
from anchore_admission.ports.anchore import Anchore
from support.anchore_calls import Played, client, deadline
from support.paths import DATA

_RECORDINGS = DATA / "anchore-engine-v1"
Call = Callable[[Anchore], Awaitable[Any]]

WEB = "sha256:041f9806415e0bdd35072739cd96ef000fc600f90dbc4bdc20457083ce96d719"
WEB_1_1 = "sha256:3c1b8b9953ea8c721b014c15b9b47d0db6f3f225a8618b5c9977edcb6451ebca"
ROLL_A = "sha256:3e1a61cce3889cd68d994f9fc22db83309855ab8b906648cd13cd677289bcb05"
ROLL_B = "sha256:06cf6e5d5127b68a1f04e32026a34a0552eb93bf0ee876dead05b67add37550b"
CHILD = "sha256:0b80bbc6dcde86a1d9c3df1a16cbcbb21318443c41919976ec95fccdfbd0fbf5"
LIST = "sha256:d803f651d988276632959dc55aac851abaa26e0afda914a6129f755a7714432f"
BROKEN = "sha256:cf0e6523cc025566be1f6c0155a993e95142b0628c2e70a37d70cfc118761819"
BIG = "sha256:28d97f2ae6fac993b19e2cd81dd925af82cb4648244827573f522ab7dea82d0a"
NONE = "sha256:" + "0" * 64

NOT_ANALYZED, ANALYZING, ANALYZED, FAILED, UNKNOWN = (
    AnalysisState.NOT_ANALYZED,
    AnalysisState.ANALYZING,
    AnalysisState.ANALYZED,
    AnalysisState.FAILED,
    AnalysisState.UNKNOWN,
)


@dataclass(frozen=True)
class Held:
    """The compared parts of a record, without the times that Anchore chooses."""

    digest: str
    state: AnalysisState
    tags: frozenset[str]
    parent: str | None
    architecture: str | None


@dataclass(frozen=True)
class Refused:
    error: type[EvaluationError]
    text: str


@dataclass(frozen=True)
class Case:
    """A recorded exchange; ``other`` explains why its request differs from the client's."""

    number: str
    call: Call
    expected: Held | Refused | PolicyEvaluation | AnalysisState | dict[str, Any] | None
    other: str = ""


def demo(image: str) -> str:
    return f"127.0.0.1:5000/demo/{image}"


def by_tag(full_tag: str) -> Call:
    return lambda anchore: anchore.by_tag(full_tag, deadline())


def by_digest(digest: str) -> Call:
    return lambda anchore: anchore.by_digest(digest, deadline())


def check(digest: str, full_tag: str, policy: str | None) -> Call:
    return lambda anchore: anchore.check(digest, full_tag, policy, deadline())


def submit(full_tag: str, digest: str | None = None) -> Call:
    return lambda anchore: anchore.submit(AnalysisRequest(full_tag, digest), deadline())


def held(digest: str, state: AnalysisState, *tags: str, parent: str | None = None, arch: str | None = None) -> Held:
    """Anchore knows the architecture as soon as it has analyzed the image."""
    return Held(digest, state, frozenset(tags), parent, "amd64" if state is ANALYZED else arch)


def refused(kind: type[EvaluationError], text: str) -> Refused:
    return Refused(kind, text)


def passes(policy: str, **more: Any) -> PolicyEvaluation:
    return PolicyEvaluation(passed=True, policy=policy, **more)


def fails(policy: str, *findings: Finding, **more: Any) -> PolicyEvaluation:
    return PolicyEvaluation(passed=False, policy=policy, findings=findings, **more)


ALWAYS = Finding(gate="always", trigger="always", trigger_id="always", message="Unconditional trigger match")
ALLOWLISTED, DENYLISTED = PolicyReason.ALLOWLISTED, PolicyReason.DENYLISTED


def files(number: str) -> list[Path]:
    return sorted(_RECORDINGS.glob(f"{number}-*.json"))


def recording(number: str) -> dict[str, Any]:
    (path,) = files(number)
    exchange: dict[str, Any] = json.loads(path.read_text())
    return exchange


def parameters(cases: list[Case]) -> list[Any]:
    return [pytest.param(case, id=files(case.number)[0].stem) for case in cases]


def replaying(number: str, *, keeps_warnings: bool = False) -> DetectingAnchore:
    """An Anchore that answers everything as recorded once."""
    played = Played(lambda _: _response(recording(number)["response"]))
    return client(played.transport(), keeps_warnings=keeps_warnings)


async def replay(case: Case) -> None:
    """Send the requests of the case, respond as recorded, and compare both sides."""
    exchange = recording(case.number)
    router = respx.Router(assert_all_called=False)
    route = router.route().mock(return_value=_response(exchange["response"]))
    account = exchange["request"]["headers"].get("x-anchore-account") or None
    anchore = client(httpx.MockTransport(router.async_handler), anchore_account=account)
    try:
        understood = await _outcome(case.call, anchore)
    finally:
        await anchore.aclose()
    assert understood == case.expected
    assert route.call_count == 1
    if not case.other:
        _compare_request(route.calls.last.request, exchange["request"])


def _response(recorded: dict[str, Any]) -> httpx.Response:
    body, headers = recorded["body"], recorded["headers"]
    content = json.dumps(body) if "json" in headers["content-type"] else body
    return httpx.Response(recorded["status"], headers=headers, content=content)


async def _outcome(call: Call, anchore: Anchore) -> object:
    try:
        answer = await call(anchore)
    except EvaluationError as error:
        return Refused(type(error), str(error))
    if isinstance(answer, ImageRecord):
        tags = frozenset(tag.full_tag for tag in answer.tags)
        return Held(answer.digest, answer.state, tags, answer.parent_digest, answer.architecture)
    return answer


def _compare_request(sent: httpx.Request, recorded: dict[str, Any]) -> None:
    assert sent.method == recorded["method"]
    assert sent.url.path == recorded["path"]
    # A recorded submission leaves the subscription to Anchore's default; the client says it.
    said = {"autosubscribe": "false"} if sent.method == "POST" else {}
    assert dict(sent.url.params) == recorded["query"] | said
    assert sent.headers.get("x-anchore-account") == recorded["headers"].get("x-anchore-account")
    assert ("authorization" in sent.headers) == ("authorization" in recorded["headers"])
    if sent.method == "POST":
        _compare_source(json.loads(sent.content)["source"], recorded["body"])


def _compare_source(sent: dict[str, Any], recorded: dict[str, Any]) -> None:
    """The client always sends ``source``; some recordings have the older form, with the same meaning."""
    if "digest" in sent:
        old = {"pullstring": recorded.get("digest"), "tag": recorded.get("tag")}
        expected = recorded.get("source", {}).get("digest", old)
        assert sent["digest"].items() >= expected.items()
    else:
        assert sent["tag"] == recorded.get("source", {}).get("tag", {"pullstring": recorded.get("tag")})
