import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar, Self

import httpx
import pytest
from starlette.types import Message

from anchore_admission.models.configuration import Configuration
from anchore_admission.web.bodies import DRAINED
from support.served import HOST, served
from support.webhook import JSON, POD_CREATE, Webhook, failure

LIMIT = 64 * 1024
CHUNK = 16 * 1024
TOO_LARGE = (413, "RequestEntityTooLarge", f"the body is larger than the limit of {LIMIT} bytes")
HEADERS = {"content-type": JSON}


def padded(size: int) -> bytes:
    """Return a readable review of exactly this many bytes."""
    return POD_CREATE.ljust(size)


class Counted(bytes):
    """A chunk of a body; ``alive`` counts the bytes of chunks that are still referenced."""

    alive: ClassVar[int] = 0

    def __new__(cls, size: int) -> Self:
        Counted.alive += size
        return super().__new__(cls, size)

    def __del__(self) -> None:
        Counted.alive -= len(self)


class Call:
    """An ASGI call whose body comes in chunks; endless if ``chunks`` is None."""

    def __init__(self, chunks: int | None, *, cut: bool = False) -> None:
        self.left = chunks
        self.cut = cut
        self.received = 0
        self.most_alive = 0
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if self.left == 0:
            return {"type": "http.disconnect"}
        self.left = None if self.left is None else self.left - 1
        body = Counted(CHUNK)
        self.received += CHUNK
        self.most_alive = max(self.most_alive, Counted.alive)
        return {"type": "http.request", "body": body, "more_body": self.left != 0 or self.cut}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def run(self, webhook: Webhook, headers: Sequence[tuple[bytes, bytes]] = ()) -> "Call":
        scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/validate", "query_string": b""}
        scope["headers"] = [(b"content-type", JSON.encode()), *headers]
        await webhook.app(scope, self.receive, self.send)
        return self

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])


async def pieces(body: bytes, size: int = CHUNK) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize("size", [len(POD_CREATE), LIMIT - 1, LIMIT])
async def test_a_body_up_to_the_limit_is_read_whole_however_it_comes(size: int) -> None:
    webhook = Webhook(body_limit=LIMIT)
    for content in (padded(size), pieces(padded(size)), pieces(padded(size), 7)):
        answer = await webhook.http.post("/validate", content=content, headers=HEADERS)
        assert answer.status_code == 200


@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT * 2, LIMIT * 20])
@pytest.mark.parametrize("limit", [1024, LIMIT])
async def test_a_review_over_the_limit_is_denied_however_it_comes(size: int, limit: int) -> None:
    sent = json.loads(POD_CREATE)["request"]
    webhook = Webhook(body_limit=limit)
    for content in (padded(size), pieces(padded(size)), pieces(padded(size), 999)):
        answer = await webhook.http.post("/validate", content=content, headers=HEADERS)
        assert answer.status_code == 200
        response = answer.json()["response"]
        assert (response["uid"], response["allowed"], response["status"]["code"]) == (sent["uid"], False, 403)
        why = f"the object cannot be read: the body is larger than the limit of {limit} bytes"
        assert response["status"]["message"] == why
    assert webhook.recorder.malformed == []
    for record in webhook.recorder.reviews:
        assert (record.user, record.namespace) == (sent["userInfo"]["username"], sent["namespace"])
        assert record.name


async def test_so_is_one_whose_object_is_escaped() -> None:
    """API servers send '<' as six bytes, as in oversize.py."""
    sent = json.loads(POD_CREATE)
    sent["request"]["object"]["spec"]["containers"][0]["args"] = ["<" * 120_000] * 12
    body = json.dumps(sent).replace("<", "\\u003c").encode()
    denied = await Webhook(body_limit=8 * 1024 * 1024).judged(body)
    assert (denied["uid"], denied["allowed"]) == (sent["request"]["uid"], False)
    assert "larger than the limit of 8388608 bytes" in denied["status"]["message"]
    judged = await Webhook(body_limit=Configuration().limits.body).judged(body)
    assert "larger" not in judged["status"]["message"]


@pytest.mark.parametrize("changes", [{"operation": "DELETE"}, {"subResource": "status"}])
async def test_requests_out_of_scope_are_admitted_however_large(changes: dict[str, str]) -> None:
    sent = json.loads(POD_CREATE)
    sent["request"] = {**changes, **{k: v for k, v in sent["request"].items() if k not in changes}}
    response = await Webhook(body_limit=LIMIT).judged(json.dumps(sent).encode().ljust(3 * LIMIT))
    assert response["allowed"] is True


@pytest.mark.parametrize(("kind", "allowed"), [("Pod", False), ("Rollout", True)])
async def test_an_object_that_is_being_deleted_may_hide_a_new_image(kind: str, *, allowed: bool) -> None:
    """A Pod that is padded enough before it is deleted could otherwise be given any image while it ends."""
    sent = json.loads(POD_CREATE)
    sent["request"]["operation"] = "UPDATE"
    sent["request"]["kind"]["kind"] = kind
    sent["request"]["object"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    response = await Webhook(body_limit=LIMIT).judged(json.dumps(sent).encode().ljust(3 * LIMIT))
    assert response["allowed"] is allowed


@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT * 2, LIMIT * 20])
async def test_a_body_that_is_no_review_and_too_large_is_reported_however_it_comes(size: int) -> None:
    webhook = Webhook(body_limit=LIMIT)
    for content in (b" " * size, pieces(b" " * size)):
        answer = await webhook.http.post("/validate", content=content, headers=HEADERS)
        assert failure(answer) == TOO_LARGE
        assert answer.headers["connection"] == "close"
    assert [code for code, _ in webhook.recorder.malformed] == ["review_too_large"] * 2


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"10")], [(b"content-length", b"9" * 30)]])
async def test_an_endless_body_is_neither_kept_nor_read_to_its_end(headers: list[tuple[bytes, bytes]]) -> None:
    call = await Call(None).run(Webhook(body_limit=LIMIT), headers)
    assert call.status == 413
    assert call.most_alive <= LIMIT + CHUNK
    assert call.received <= LIMIT + DRAINED + CHUNK
    assert Counted.alive == 0


@pytest.mark.parametrize("chunks", [0, 1, LIMIT // CHUNK, LIMIT // CHUNK + 2])
async def test_a_client_that_disconnects_amid_the_body_gets_no_response_and_leaves_no_trace(chunks: int) -> None:
    webhook = Webhook(body_limit=LIMIT)
    call = await Call(chunks, cut=True).run(webhook)
    assert call.sent == []
    assert webhook.recorder.malformed == []
    assert webhook.recorder.reviews == []
    assert Counted.alive == 0


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "chunked"])
@pytest.mark.parametrize(("path", "size"), [("/validate", 40_000_000), ("/mutate", 40_000_000), ("/review", 3_000_000)])
async def test_a_client_that_sends_megabytes_can_read_why_they_are_too_many(
    path: str, size: int, chunked: bool
) -> None:
    limit = Configuration().limits.body
    async with served(Webhook(body_limit=limit).app) as port, httpx.AsyncClient() as client:
        content = pieces(b" " * size, 64 * 1024) if chunked else b" " * size
        answer = await client.post(f"http://{HOST}:{port}{path}", content=content, headers=HEADERS)
        assert failure(answer)[:2] == TOO_LARGE[:2]
        assert answer.headers["connection"] == "close"
        again = await client.post(f"http://{HOST}:{port}/validate", content=POD_CREATE, headers=HEADERS)
        assert again.status_code == 200


async def test_connections_that_break_amid_the_body_do_not_disturb_the_others(caplog: pytest.LogCaptureFixture) -> None:
    webhook = Webhook()
    with caplog.at_level(logging.WARNING):
        async with served(webhook.app) as port, httpx.AsyncClient() as client:
            for head in (b"Content-Length: 1000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\nff\r\n{", b"\r\n"):
                _, writer = await asyncio.open_connection(HOST, port)
                writer.write(b"POST /validate HTTP/1.1\r\nHost: webhook\r\nContent-Type: application/json\r\n" + head)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
            answer = await client.post(f"http://{HOST}:{port}/validate", content=POD_CREATE, headers=HEADERS)
            assert answer.status_code == 200
    assert len(webhook.recorder.reviews) == 1
    assert caplog.records == []
