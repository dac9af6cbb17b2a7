"""The client of Open Policy Agent: every answer that is not a decision is an error, and says why."""

import asyncio
import gzip
import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from anchore_admission.adapters.opa.answer import LARGEST_ANSWER, LONGEST_MESSAGE, MOST_MESSAGES, NO_TEXT
from anchore_admission.adapters.opa.hook import OpaHook, Target
from anchore_admission.core.hook import HookDecision, ImageOpinion
from anchore_admission.errors import (
    DeadlineExceeded,
    HookError,
    HookFailed,
    HookInvalid,
    HookUnavailable,
    HookUndefined,
)
from anchore_admission.ports.deadline import Deadline
from anchore_admission.redaction import REDACTED, remember
from support.hooks import POLICY, AnsweringTransport, Chunks

OPA = "http://opa.example.com:8181"
TARGET = Target(OPA, OPA, POLICY)
JSON = "application/json"


def failed(message: str, code: str = "eval_builtin_error") -> dict[str, Any]:
    error = {"code": code, "message": message, "location": {"file": "policy.rego", "row": 6, "col": 24}}
    return {"code": "internal_error", "message": "error(s) occurred while evaluating query", "errors": [error]}


NO_INPUT = {
    "result": {"deny": [], "warn": []},
    "warning": {"code": "api_usage_warning", "message": "'input' key missing from the request"},
}
NO_POLICY = "OPA has no policy anchore/admission: it is not loaded, or opa.path names another package"
UNAUTHORIZED = {"code": "unauthorized", "message": "request rejected by administrative policy"}


def json_of(value: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=value)


def text_of(body: bytes | str, status: int = 200, content_type: str = JSON) -> httpx.Response:
    return httpx.Response(status, content=body, headers={"content-type": content_type})


def result_of(**result: Any) -> httpx.Response:
    return json_of({"result": result})


class Answers:
    """A transport with one answer or error after the other; the last one repeats."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.transport = AnsweringTransport(self._next)

    async def _next(self, _request: httpx.Request) -> httpx.Response:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def requests(self) -> Sequence[httpx.Request]:
        return self.transport.requests


async def no_pause(_seconds: float) -> None:
    """Go on at once."""


async def decide(answers: Answers, document: bytes = b"{}", **more: Any) -> HookDecision:
    hook = OpaHook(answers.transport, TARGET, **{"timeout": 30.0, "pause": no_pause, **more})
    return await hook.decide(document, Deadline.after(60))


async def failure(answers: Answers, kind: type[HookError], **more: Any) -> str:
    with pytest.raises(kind) as caught:
        await decide(answers, **more)
    return str(caught.value)


@pytest.mark.parametrize(
    ("result", "decision"),
    [
        ({"deny": []}, HookDecision()),
        ({"deny": [], "warn": [], "images": {}}, HookDecision()),
        ({"deny": ["b", "a", "b"]}, HookDecision(deny=("a", "b"))),
        ({"deny": [{"msg": "m", "details": {"x": [1]}}, "a"]}, HookDecision(deny=("a", "m"))),
        ({"deny": [], "warn": ["w"]}, HookDecision(warn=("w",))),
        ({"deny": [], "images": {"i": {"deny": ["d"]}}}, HookDecision(images=(ImageOpinion("i", ("d",)),))),
        ({"deny": [], "images": {"i": {"warn": ["w"]}}}, HookDecision(images=(ImageOpinion("i", (), ("w",)),))),
        ({"deny": [], "allow": True, "violation": ["v"], "main": {}}, HookDecision()),
    ],
)
async def test_a_decision_is_read(result: dict[str, Any], decision: HookDecision) -> None:
    assert await decide(Answers(result_of(**result))) == decision


@pytest.mark.parametrize(
    ("value", "found"),
    [("4ca636c1", "4ca636c1"), ("a\nb", "a b"), ("x" * 101, "x" * 99 + "…"), (7, ""), (None, ""), ({}, "")],
)
async def test_the_id_of_a_decision_is_kept(value: object, found: str) -> None:
    answers = Answers(json_of({"result": {"deny": []}, "decision_id": value}))
    assert (await decide(answers)).decision_id == found


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({}, NO_POLICY),
        ({"decision_id": "1"}, NO_POLICY),
        ({"result": {}}, "the policy anchore/admission has no rule deny"),
        ({"result": {"warn": ["w"]}}, "the policy anchore/admission has no rule deny"),
        ({"result": {"Deny": []}}, "the policy anchore/admission has no rule deny"),
        ({"result": {"allow": True}}, "the policy anchore/admission has no rule deny; a rule allow has no effect"),
    ],
)
async def test_an_undefined_policy_is_never_no_objection(answer: dict[str, Any], text: str) -> None:
    assert await failure(Answers(json_of(answer)), HookUndefined) == text


@pytest.mark.parametrize("result", [None, True, False, 0, 1.5, "", "deny", [], ["a message"]])
async def test_a_result_that_is_no_package_is_invalid(result: object) -> None:
    text = await failure(Answers(json_of({"result": result})), HookInvalid)
    assert text.startswith("OPA's answer is not a decision: anchore/admission is ")
    assert text.endswith(", not a package; opa.path names the package, not one of its rules")


WRONG_MESSAGES = [None, True, False, 0, 1, "", "text", {}, {"msg": "m"}, {"a": "b"}]
WRONG_TEXTS: list[object] = [None, True, 0, [], ["a"], {}]
WRONG_ENTRIES = [*WRONG_TEXTS, *({"msg": text} for text in WRONG_TEXTS), {"message": "m"}]
WRONG_LISTS = [*([entry] for entry in WRONG_ENTRIES), *(["a", entry] for entry in WRONG_ENTRIES)]


@pytest.mark.parametrize("value", [*WRONG_MESSAGES, *WRONG_LISTS])
@pytest.mark.parametrize("place", ["deny", "warn", "image's deny", "image's warn"])
async def test_messages_of_another_form_are_invalid(place: str, value: object) -> None:
    result: dict[str, Any] = {"deny": ["a"]}
    if place.startswith("image"):
        result["images"] = {"i": {place.rpartition(" ")[2]: value}}
    else:
        result[place] = value
    text = await failure(Answers(result_of(**result)), HookInvalid)
    assert text.startswith("OPA's answer is not a decision: ")


@pytest.mark.parametrize(
    "images", [None, True, 1, "i", [], ["i"], *({"i": opinion} for opinion in (None, [], ["d"], "d", True, 1))]
)
async def test_images_of_another_form_are_invalid(images: object) -> None:
    text = await failure(Answers(result_of(deny=[], images=images)), HookInvalid)
    assert text.startswith("OPA's answer is not a decision: ")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"deny"',
        b"true",
        b"3",
        b'{"result":{"deny":[]}',
        b'{"result":{"deny":[]}}}',
        b'{"result":{"deny":[]}} {"result":{"deny":["d"]}}',
        b'{"result":{"deny":[],}}',
        b"{'result':{'deny':[]}}",
        b'{"result":{"deny":[],"n":NaN}}',
        b'{"result":{"deny":[],"n":-Infinity}}',
        b'{"result":{"deny":["d"],"deny":[]}}',
        b'{"result":{"deny":["d"]},"result":{"deny":[]}}',
        b'{"result":{"deny":[],"images":{"i":{"deny":["d"]},"i":{}}}}',
        b'{"result":{"deny":[{"msg":"a","msg":"b"}]}}',
        b'{"result":{"deny":[],"n":' + b"9" * 5000 + b"}}",
        b'{"result":{"deny":["\xff"]}}',
        b'\xef\xbb\xbf{"result":{"deny":[]}}',
        '{"result":{"deny":[]}}'.encode("utf-16"),
        b"<!doctype html><title>Log in</title>",
    ],
)
async def test_what_is_no_object_of_json_is_invalid(body: bytes) -> None:
    assert len(body) <= LARGEST_ANSWER
    assert (await failure(Answers(text_of(body)), HookInvalid)).startswith("OPA's answer is ")


@pytest.mark.parametrize("depth", [30_000, 100_000])
@pytest.mark.parametrize("deny", [[], ["d"]])
async def test_an_answer_that_is_nested_deeply_is_the_objects_fault(depth: int, deny: list[str]) -> None:
    body = b'{"result":{"deny":%b,"n":%b}}' % (json.dumps(deny).encode(), b"[" * depth + b"]" * depth)
    text = await failure(Answers(text_of(body)), HookFailed)
    assert text == "OPA's answer is nested too deeply; move rules that repeat the input to another package"


@pytest.mark.parametrize("text", ["", " ", "\n", "\u200b", "\u0007"])
@pytest.mark.parametrize("entry", [lambda text: text, lambda text: {"msg": text}])
async def test_an_objection_without_a_visible_text_counts(entry: Any, text: str) -> None:
    """A policy may quote what the author of the object wrote."""
    assert (await decide(Answers(result_of(deny=[entry(text)])))).deny == (NO_TEXT,)


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "", "text/plain", "image/png"])
async def test_a_page_is_not_from_opa(content_type: str) -> None:
    page = text_of('{"result":{"deny":[]}}', content_type=content_type)
    expected = "the response is not JSON, so it is not from OPA; check opa.url"
    assert await failure(Answers(page), HookInvalid) == expected


async def test_a_call_that_lost_its_input_is_invalid() -> None:
    expected = "OPA did not receive the input; look for a proxy that drops the body of requests"
    assert await failure(Answers(json_of(NO_INPUT)), HookInvalid) == expected


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (
            json_of(failed('http.send: Get "http://a": dial tcp: connection refused'), 500),
            "OPA cannot evaluate the policy (500): http.send: Get (policy.rego:6)",
        ),
        (
            json_of(failed("net.lookup_ip_addr: lookup a: no such host"), 500),
            "OPA cannot evaluate the policy (500): net.lookup_ip_addr: lookup a: no such host (policy.rego:6)",
        ),
        (
            json_of(failed("caller cancelled query execution", "eval_cancel_error"), 500),
            "OPA cannot evaluate the policy (500): caller cancelled query execution (policy.rego:6)",
        ),
        (
            json_of(
                {"code": "internal_error", "errors": [{"message": "a"}, {"message": "b\nc"}, {"message": "d"}]}, 500
            ),
            "OPA cannot evaluate the policy (500): a; b",
        ),
        (
            json_of({"message": "m" * 999, "errors": [None, {}, {"message": 1}]}, 500),
            f"OPA cannot evaluate the policy (500): {'m' * 199}…",
        ),
        (
            json_of({"errors": [{"message": "a", "location": {"file": 1}}, {"message": "b", "location": []}]}, 500),
            "OPA cannot evaluate the policy (500): a; b",
        ),
        (json_of({"message": ["m"], "errors": {}}, 500), "OPA sent an unexpected response (500)"),
        (text_of("[]", 500), "OPA sent an unexpected response (500)"),
        (text_of("[" * 60_000, 500), "OPA sent an unexpected response (500)"),
        (text_of(b"\xff", 500), "OPA sent an unexpected response (500)"),
        (
            json_of(UNAUTHORIZED, 401),
            "OPA does not authorize the request (401); check opa.tokenFile, and the policy system.authz of OPA",
        ),
        (
            text_of("Client sent an HTTP request to an HTTPS server.\n", 400, "text/plain"),
            "a plain HTTP request was sent to an HTTPS port (400): write https:// in opa.url",
        ),
        (text_of("no", 403), "a server before OPA denies access (403)"),
        (text_of("no", 404), "no OPA at this address (404); check opa.url"),
        (text_of("no", 407), "the proxy before OPA asks for a user name and password (407)"),
        (text_of("no", 429), "OPA is not available (429)"),
        (text_of("no", 503), "OPA is not available (503)"),
        (
            httpx.Response(302, headers={"location": "https://login.example.com"}),
            "opa.url redirects elsewhere (302), perhaps to a login page; check opa.url",
        ),
        (
            json_of({"code": "other", "message": "unexpected EOF"}, 400),
            "OPA sent an unexpected response (400): unexpected EOF",
        ),
        (json_of({"result": {"deny": []}}, 201), "OPA sent an unexpected response (201)"),
        (httpx.Response(204), "OPA sent an unexpected response (204)"),
    ],
)
async def test_a_failed_call_says_why(response: httpx.Response, text: str) -> None:
    answers = Answers(response)
    assert await failure(answers, HookUnavailable) == text
    assert len(answers.requests) == 1, "it is neither repeated nor sent elsewhere"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            failed('to_number: strconv.ParseFloat: parsing "many": invalid syntax'),
            "to_number: strconv.ParseFloat: parsing (policy.rego:6)",
        ),
        (
            failed("rule data.p.deny produced conflicting values:\n  1 at p:20\n  2 at p:22", "eval_conflict_error"),
            "rule data.p.deny produced conflicting values (policy.rego:6)",
        ),
        (failed("json.unmarshal: unexpected EOF", "eval_type_error"), "json.unmarshal: unexpected EOF (policy.rego:6)"),
    ],
)
async def test_a_policy_that_fails_on_the_object_is_the_objects_fault(error: dict[str, Any], text: str) -> None:
    answers = Answers(json_of(error, 500))
    assert await failure(answers, HookFailed) == f"OPA cannot evaluate the policy (500): {text}"
    assert len(answers.requests) == 1
    mixed = {"errors": [*failed("http.send: refused")["errors"], *error["errors"]]}
    assert text in await failure(Answers(json_of(mixed, 500)), HookFailed)


async def test_a_document_that_opa_does_not_read_is_the_objects_fault() -> None:
    answer = json_of({"code": "invalid_parameter", "message": "invalid number: number too big"}, 400)
    text = await failure(Answers(answer), HookFailed)
    assert text == "OPA sent an unexpected response (400): invalid number: number too big"


async def test_an_error_that_quotes_too_much_is_the_objects_fault() -> None:
    stream = Chunks(b'{"code":"internal_error","errors":[{"message":"', *[b"9" * 16_384] * 320)
    answer = httpx.Response(500, headers={"content-type": JSON}, stream=stream)
    assert await failure(Answers(answer), HookFailed) == "OPA cannot evaluate the policy (500)"


async def test_messages_are_short_printable_lines_without_secrets() -> None:
    remember("a test of OPA", ["hunter2-and-more"])
    hostile = ["a\r\n\x1b[31mb\u202ec", "x" * 2000, "\ud800 lone", "the password hunter2-and-more", " surrounded\n"]
    decision = await decide(Answers(text_of(json.dumps({"result": {"deny": hostile}}))))
    long = "x" * (LONGEST_MESSAGE - 1) + "…"
    assert set(decision.deny) == {"a [31mb c", long, "lone", f"the password {REDACTED}", "surrounded"}


async def test_too_many_messages_are_still_a_denial() -> None:
    texts = [f"{number:03}" for number in range(MOST_MESSAGES + 6)]
    decision = await decide(Answers(result_of(deny=texts, images={"i": {"deny": texts}})))
    expected = (*texts[:MOST_MESSAGES], "6 more messages of the policy")
    assert (decision.deny, decision.images) == (expected, (ImageOpinion("i", expected),))


async def test_the_largest_answer_is_read() -> None:
    body = b'{"result":{"deny":["d"]}}'
    body += b" " * (LARGEST_ANSWER - len(body))
    assert (await decide(Answers(text_of(body)))).deny == ("d",)
    text = await failure(Answers(text_of(body + b" ")), HookFailed)
    assert text == "OPA's answer is larger than 256 KiB; move rules that repeat the input to another package"


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    stream = Chunks(b'{"result":{"deny":["', *[b"x" * 16_384] * 320, b'"]}}')
    answers = Answers(httpx.Response(200, headers={"content-type": JSON}, stream=stream))
    await failure(answers, HookFailed)
    assert stream.read < LARGEST_ANSWER + 16_384 * 2
    assert stream.is_closed


async def test_a_compressed_answer_is_not_unpacked() -> None:
    stream = Chunks(gzip.compress(b'{"result":{"deny":[]}}'))
    headers = {"content-type": JSON, "content-encoding": "gzip"}
    text = await failure(Answers(httpx.Response(200, headers=headers, stream=stream)), HookInvalid)
    assert text == "OPA's answer has a Content-Encoding that was not requested"
    assert (stream.read, stream.is_closed) == (0, True)


async def test_the_request_holds_the_document_as_it_is() -> None:
    answers = Answers(httpx.Response(200, json={"result": {"deny": []}}, headers={"set-cookie": "a=b"}))
    document = b'{ "kind":"AdmissionReview","n":1.0,"n":2 }'
    await decide(answers, document)
    await decide(answers, document, token=lambda: "token-1")
    first, second = answers.requests
    assert (first.method, str(first.url)) == ("POST", f"{OPA}/v1/data/{POLICY}?strict-builtin-errors=true")
    assert first.content == b'{"input":' + document + b"}"
    assert first.headers["accept-encoding"] == "identity"
    assert "authorization" not in first.headers
    assert "cookie" not in second.headers
    assert second.headers["authorization"] == "Bearer token-1"


async def test_without_a_token_nothing_is_sent() -> None:
    def none_yet() -> str:
        raise HookUnavailable("there is no valid token for OPA yet")

    answers = Answers(result_of(deny=[]))
    assert await failure(answers, HookUnavailable, token=none_yet) == "there is no valid token for OPA yet"
    assert not answers.requests


async def test_a_failure_to_connect_is_retried_once() -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    error = httpx.ConnectError("refused")
    assert (await decide(Answers(error, result_of(deny=["d"])), pause=pause)).deny == ("d",)
    assert len(pauses) == 1
    assert 0 < pauses[0] < 0.1
    answers = Answers(error)
    assert await failure(answers, HookUnavailable) == f"cannot connect to OPA at {OPA}"
    assert len(answers.requests) == 2


async def test_a_request_that_may_have_arrived_is_not_retried() -> None:
    answers = Answers(httpx.ReadError("closed"))
    assert await failure(answers, HookUnavailable) == "OPA closed the connection without a response"
    assert len(answers.requests) == 1


async def test_an_answer_that_breaks_off_is_not_retried() -> None:
    stream = Chunks(b'{"result":{"deny":[]}}', error=httpx.ReadError("closed"))
    answers = Answers(httpx.Response(200, headers={"content-type": JSON}, stream=stream))
    expected = "OPA closed the connection in the middle of its response"
    assert await failure(answers, HookUnavailable) == expected
    assert len(answers.requests) == 1


async def test_a_silent_server_costs_the_timeout() -> None:
    async def silent(_request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    hook = OpaHook(AnsweringTransport(silent), TARGET, timeout=0.05)
    with pytest.raises(HookUnavailable, match=r"^no response from OPA within 0\.05 seconds$"):
        await hook.decide(b"{}", Deadline.after(5))
    with pytest.raises(DeadlineExceeded):
        await hook.decide(b"{}", Deadline.after(0.01))
