"""A hostile or broken Anchore: its answers cost bounded time and memory, and hide no denial."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import httpx
import pytest

from anchore_admission.adapters.anchore import Bounds, DetectingAnchore
from anchore_admission.adapters.anchore.responses import SMALL, AnchoreResponse, contains
from anchore_admission.adapters.anchore.v1 import V1
from anchore_admission.adapters.anchore.v2 import V2
from anchore_admission.core.facts import PolicyEvaluation
from anchore_admission.errors import (
    AnchoreResponseInvalid,
    AnchoreResponseTooLarge,
    AnchoreUnavailable,
    DeadlineExceeded,
    EvaluationError,
)
from anchore_admission.models.configuration import ApiVersion, Configuration
from support.anchore_calls import DIGEST, TAG, Played, client, deadline, error, playing, v1_image
from support.anchore_servers import LOOPBACK

DEFAULT = Configuration().limits.anchore_response
FINDING: dict[str, Any] = {
    "gate": "vulnerabilities",
    "trigger": "package",
    "trigger_id": "CVE-2026-1+openssl",
    "message": "LOW Vulnerability found in os package type (dpkg) - openssl (fixed in: 1.1.1)",
    "recommendation": "Upgrade openssl",
    "action": "stop",
    "policy_id": "rs1",
    "rule_id": "r1",
    "allowlisted": False,
    "allowlist_match": None,
}
WORST = FINDING | {"trigger_id": "CVE-2026-2+zlib", "message": "CRITICAL Vulnerability found"}
V1_HEADER = ["Trigger_Id", "Gate", "Trigger", "Check_Output", "Gate_Action", "Whitelisted"]
V1_ROW = ["CVE-2026-1+openssl", "vulnerabilities", "package", FINDING["message"], "stop", False]


def bounds(answer: int = DEFAULT, read: float = 20) -> Bounds:
    return Bounds(connect=0.05, read=read, response=answer)


def v2_check(status: str, findings: int, *, detail: bool) -> dict[str, Any]:
    evaluation: dict[str, Any] = {
        "status": status,
        "final_action": "stop" if status == "fail" else "go",
        "final_action_reason": "policy_evaluation",
        "image_mapped_to_rule": True,
        "evaluation_problems": [],
        "details": {"findings": [FINDING] * findings + [WORST]} if detail else None,
    }
    return {"policy_id": "p", "image_digest": DIGEST, "evaluated_tag": TAG, "evaluations": [evaluation]}


def v1_check(status: str, findings: int, *, detail: bool) -> list[Any]:
    table = {"header": V1_HEADER, "rows": [V1_ROW] * findings}
    outcome = {
        "final_action": "stop" if status == "fail" else "go",
        "matched_mapping_rule": {"id": "m1"},
        "result": {"0" * 64: {"result": table}},
    }
    shown = {"result": outcome} if detail else {}
    evaluation = {"policyId": "p", "status": status, "last_evaluation": "2026-01-01T00:00:00Z", "detail": shown}
    return [{DIGEST: {TAG: [evaluation]}}]


def anchore(version: ApiVersion, status: str, findings: int) -> tuple[DetectingAnchore, Played]:
    made = v2_check if version is ApiVersion.V2 else v1_check

    def answer(request: httpx.Request) -> httpx.Response:
        detail = request.url.params["detail"] == "true"
        return httpx.Response(200, json=made(status, findings, detail=detail))

    played = Played(answer)
    return client(played.transport(), version, bounds=bounds()), played


class TestFindings:
    @pytest.mark.parametrize("text", [rb"\udcff", rb"\ud800", rb"\ud800\u0041", rb"\udc00\ud800", b"\xff", b"\xc3"])
    @pytest.mark.parametrize("version", [ApiVersion.V1, ApiVersion.V2])
    async def test_a_name_that_is_no_unicode_is_still_a_denial(self, version: ApiVersion, text: bytes) -> None:
        """An image may hold files whose names are any bytes; Python sends those as lone surrogates."""
        made = v2_check if version is ApiVersion.V2 else v1_check
        name = FINDING["trigger_id"].encode()
        body = json.dumps(made("fail", 1, detail=True)).encode().replace(name, text + name)
        assert text in body
        played = Played(lambda _: httpx.Response(200, content=body, headers={"content-type": "application/json"}))
        verdict = await client(played.transport(), version, bounds=bounds()).check(DIGEST, TAG, "p", deadline())
        assert isinstance(verdict, PolicyEvaluation)
        assert not verdict.passed
        shown = verdict.findings[0].trigger_id
        assert shown.endswith(FINDING["trigger_id"])
        assert shown.encode()

    @pytest.mark.parametrize("version", [ApiVersion.V1, ApiVersion.V2])
    async def test_forty_thousand_findings_are_still_a_denial(self, version: ApiVersion) -> None:
        asked, played = anchore(version, "fail", 40_000)
        assert await asked.check(DIGEST, TAG, "p", deadline()) == PolicyEvaluation(False, "p", truncated=True)
        assert [request.url.params["detail"] for request in played.asked] == ["true", "false"]

    async def test_a_pass_with_a_huge_answer_is_a_pass_where_the_short_answer_says_enough(self) -> None:
        asked, _ = anchore(ApiVersion.V2, "pass", 40_000)
        assert await asked.check(DIGEST, TAG, "p", deadline()) == PolicyEvaluation(passed=True, policy="p")

    async def test_a_pass_without_detail_is_too_large_to_judge_in_v1(self) -> None:
        asked, _ = anchore(ApiVersion.V1, "pass", 40_000)
        with pytest.raises(AnchoreResponseTooLarge):
            await asked.check(DIGEST, TAG, "p", deadline())

    async def test_thousands_of_findings_fit_the_default_limit_and_the_worst_are_kept(self) -> None:
        asked, played = anchore(ApiVersion.V2, "fail", 8_000)
        verdict = await asked.check(DIGEST, TAG, "p", deadline())
        assert isinstance(verdict, PolicyEvaluation)
        assert len(played.asked) == 1
        assert len(verdict.findings) == 500
        assert (verdict.truncated, verdict.findings_total) == (True, 8_001)
        assert verdict.findings[0].trigger_id == WORST["trigger_id"]


def values(kind: str) -> bytes:
    """Return a list of four million bytes of the smallest values of a kind, or of none."""
    value = {"objects": b"{}", "lists": b"[]", "numbers": b"1", "members": b'{"":1}'}[kind]
    return b"[" + b",".join([value] * (DEFAULT // (len(value) + 2))) + b"]"


@pytest.mark.parametrize("kind", ["objects", "lists", "numbers", "members"])
@pytest.mark.parametrize("shape", [b"%s", b'{"items":%s}', b'{"ignored":%s}', b'[{"ignored":%s}]'])
@pytest.mark.parametrize("read", [V1.listed, V2.listed, V1.held, V2.held])
def test_values_are_counted_before_they_are_built(kind: str, shape: bytes, read: Any) -> None:
    answer = AnchoreResponse(200, "application/json", shape % values(kind), limit=DEFAULT)
    with pytest.raises(AnchoreResponseTooLarge, match=f"larger than {DEFAULT} bytes"):
        read(answer)


class TestErrors:
    @pytest.mark.parametrize("message", ["account " * 20_000, "account " * 8_000, "image " * 8_000, "policy " * 8_000])
    async def test_a_long_message_is_looked_at_in_linear_time(self, message: str) -> None:
        anchore = client(playing(error(404, message)).transport(), bounds=bounds())
        try:
            assert await anchore.by_tag(TAG, deadline()) is None
        except EvaluationError as raised:
            assert len(str(raised)) < 300  # noqa: PT017 - either is fine

    async def test_only_the_beginning_of_an_error_is_read(self) -> None:
        read = 0

        class Endless(httpx.AsyncByteStream):
            async def __aiter__(self) -> Any:
                nonlocal read
                while True:
                    read += 4096
                    yield b" " * 4096

        answer = httpx.Response(404, headers={"content-type": "application/json"}, stream=Endless())
        with pytest.raises(AnchoreResponseInvalid, match="no Anchore API"):
            await client(playing(answer).transport()).by_tag(TAG, deadline())
        assert read <= SMALL + 2 * 4096

    def test_words_are_looked_for_in_their_order_and_near_the_beginning(self) -> None:
        assert contains("User Account  NOT FOUND", "account", "not found")
        assert not contains("not found: account", "account", "not found")
        assert not contains("account" + " " * 1000 + "not found", "account", "not found")


class TestMemory:
    async def test_two_large_answers_are_held_at_a_time(self) -> None:
        held, most, arrived = 0, 0, asyncio.Event()
        shared = bounds()
        body = json.dumps([v1_image(dockerfile="x" * 2 * SMALL)]).encode()

        class Slow(httpx.AsyncByteStream):
            async def __aiter__(self) -> Any:
                nonlocal held, most
                yield body[: SMALL + 1]
                held += 1
                most = max(most, held)
                if held == 2:
                    arrived.set()
                await arrived.wait()
                yield body[SMALL + 1 :]
                held -= 1

        def answer(_: httpx.Request) -> httpx.Response:
            return httpx.Response(200, headers={"content-type": "application/json"}, stream=Slow())

        anchores = [client(Played(answer).transport(), bounds=shared) for _ in range(6)]
        found = await asyncio.gather(*(anchore.by_tag(TAG, deadline()) for anchore in anchores))
        assert all(found)
        assert most == 2

    async def test_small_answers_wait_for_no_room(self) -> None:
        shared = bounds()
        async with shared.large, shared.large:
            played = playing(httpx.Response(200, json=[v1_image()]))
            assert await client(played.transport(), bounds=shared).by_tag(TAG, deadline())


@asynccontextmanager
async def endless(first: bytes, more: bytes) -> AsyncIterator[int]:
    """Serve answers that begin and never end, as fast as they are read."""
    writers: set[asyncio.StreamWriter] = set()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        with suppress(ConnectionError):
            writer.write(first)
            while not writer.is_closing():
                writer.write(more)
                await writer.drain()
                await asyncio.sleep(0)

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


class TestTime:
    @pytest.mark.parametrize(
        "said",
        [
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n",
        ],
        ids=["interim responses", "early hints", "a body in drops", "endless headers"],
    )
    async def test_an_answer_without_an_end_is_ended_by_the_timeout(self, said: bytes) -> None:
        again = {b"103": said, b"100": said, b"chunked": b"1\r\n \r\n"}
        more = next((text for mark, text in again.items() if mark in said), b"x-more: 1\r\n")
        async with endless(said, more) as port:
            url = f"http://{LOOPBACK}:{port}"
            async with aclosing(client(None, url=url, bounds=bounds(read=0.1))) as asked:
                with pytest.raises(AnchoreUnavailable):
                    await asked.by_tag(TAG, deadline())

    @pytest.mark.parametrize("count", [1, 10, 11, 1000])
    async def test_only_a_few_interim_responses_are_taken(self, count: int) -> None:
        """Every interim response costs time in which other reviews wait."""
        head = b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 29\r\n\r\n"
        absent = head + b'{"message":"image not found"}'
        said = b"HTTP/1.1 103 Early Hints\r\n\r\n" * count + absent
        async with endless(said, b"") as port, aclosing(client(None, url=f"http://{LOOPBACK}:{port}")) as asked:
            if count <= 10:
                assert await asked.by_tag(TAG, deadline()) is None
            else:
                with pytest.raises(AnchoreUnavailable, match="the connection to Anchore broke"):
                    await asked.by_tag(TAG, deadline())

    async def test_the_deadline_ends_it_too(self) -> None:
        said = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n"
        async with (
            endless(said, b"1\r\n \r\n") as port,
            aclosing(client(None, url=f"http://{LOOPBACK}:{port}")) as asked,
        ):
            with pytest.raises(DeadlineExceeded):
                await asked.by_tag(TAG, deadline(0.1))
