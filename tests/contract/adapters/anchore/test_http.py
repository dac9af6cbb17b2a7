"""The rules of every call to Anchore: valid responses, their size, retries and timeouts."""

import asyncio
import gzip
import json
from typing import Any

import httpx
import pytest

from anchore_admission.adapters.anchore import Bounds
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.errors import (
    AnchoreRefused,
    AnchoreResponseInvalid,
    AnchoreUnavailable,
    DeadlineExceeded,
    EvaluationError,
)
from anchore_admission.ports.deadline import Deadline
from support.anchore_calls import (
    BOUNDS,
    DIGEST,
    TAG,
    Played,
    client,
    deadline,
    error,
    impatient,
    page,
    playing,
    problem,
    v1_image,
)
from support.fakes import FakeRecorder, ManualClock

FOUND = httpx.Response(200, json=[v1_image()])
JSON = {"content-type": "application/json"}
NGINX = "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>"
LONG = 1024 * 1024 + 1


def packed(raw: bytes, encoding: str = "gzip") -> httpx.Response:
    """Make a streamed response, which httpx does not read in advance."""
    headers = {"content-type": "application/json", "content-encoding": encoding}
    return httpx.Response(200, headers=headers, stream=httpx.ByteStream(raw))


def redirect(location: str, status: int = 301) -> httpx.Response:
    return httpx.Response(status, headers={"location": location})


REDIRECTS = [
    (redirect(location), AnchoreResponseInvalid, text)
    for location, text in [
        ("https://anchore.example.com/v1/images?fulltag=x", "redirects to https://anchore.example.com (301)"),
        ("https://u:p@anchore.example.com:8443/", "redirects to https://anchore.example.com:8443 (301)"),
        ("http://[fd00::1]:8228/", "redirects to http://[fd00::1]:8228 (301)"),
        ("//anchore.example.com/", "redirects elsewhere (301)"),
        ("https://[broken/", "redirects elsewhere (301)"),
        ("", "redirects elsewhere (301)"),
    ]
]


class TestAnswers:
    @pytest.mark.parametrize(
        ("answer", "kind", "text"),
        [
            (httpx.Response(401, text="Unauthorized"), AnchoreRefused, "rejects the credentials (401)"),
            (httpx.Response(403, html="<html>"), AnchoreRefused, "denies access (403)"),
            (error(403, "Not\nauthorized. http://u:p@h/"), AnchoreRefused, "(403): Not authorized. http://h/"),
            (httpx.Response(302, headers={"location": "/login"}), AnchoreResponseInvalid, "redirects elsewhere (302)"),
            *REDIRECTS,
            (page(), AnchoreResponseInvalid, "not JSON"),
            (page(404), AnchoreResponseInvalid, "no Anchore API at this address (404)"),
            (problem(404), AnchoreResponseInvalid, "no Anchore API at this address (404)"),
            (problem(405), AnchoreResponseInvalid, "no Anchore API at this address (405)"),
            (httpx.Response(404, json=[]), AnchoreResponseInvalid, "no Anchore API at this address (404)"),
            (
                httpx.Response(404, text="no", headers=JSON),
                AnchoreResponseInvalid,
                "(404)",
            ),
            (httpx.Response(404, content=b"[" * 100_000, headers=JSON), AnchoreResponseInvalid, "no Anchore API"),
            (
                httpx.Response(200, content=b"[" * 100_000, headers=JSON),
                AnchoreResponseInvalid,
                "does not match its API",
            ),
            (httpx.Response(418), AnchoreResponseInvalid, "unexpected response (418)"),
            (httpx.Response(407, html="<html>"), AnchoreRefused, "the proxy before Anchore asks for a user name"),
            (httpx.Response(400, html=NGINX), AnchoreResponseInvalid, "write https:// in the endpoint"),
            (httpx.Response(400, html="<html>"), AnchoreResponseInvalid, "unexpected response (400)"),
            (httpx.Response(200, content=b"[]"), AnchoreResponseInvalid, "not JSON"),
            (
                httpx.Response(204, headers=JSON),
                AnchoreResponseInvalid,
                "does not match its API",
            ),
            (
                httpx.Response(200, text="[{", headers=JSON),
                AnchoreResponseInvalid,
                "does not match",
            ),
            (httpx.Response(200, json={"a": 1}), AnchoreResponseInvalid, "does not match its API"),
            (httpx.Response(500, json="database exploded"), AnchoreUnavailable, "failed with a server error (500)"),
            (httpx.Response(501, html="<html>"), AnchoreUnavailable, "failed with a server error (501)"),
            (httpx.ReadTimeout("slow"), AnchoreUnavailable, "no response from Anchore within 20 seconds"),
            (httpx.ReadError("broke"), AnchoreUnavailable, "the connection to Anchore broke"),
            (httpx.RemoteProtocolError("what?"), AnchoreUnavailable, "the connection to Anchore broke"),
        ],
    )
    async def test_that_are_none(
        self, answer: httpx.Response | Exception, kind: type[EvaluationError], text: str
    ) -> None:
        recorder, played = FakeRecorder(), playing(answer)
        anchore, pauses = impatient(played.transport(), recorder=recorder)
        with pytest.raises(kind) as caught:
            await anchore.by_tag(TAG, deadline())
        assert text in str(caught.value)
        assert recorder.anchore_calls == [("default", "by_tag", kind.code)]
        assert (recorder.in_flight, recorder.most_in_flight) == (0, 1)
        assert (len(played.asked), pauses) == (1, [])

    @pytest.mark.parametrize(
        "content_type", ["application/json; charset=utf-8", "application/vnd.x+json", "Application/JSON"]
    )
    async def test_json_by_any_of_its_names(self, content_type: str) -> None:
        answer = httpx.Response(200, content=json.dumps([v1_image()]), headers={"content-type": content_type})
        assert await client(playing(answer).transport()).by_tag(TAG, deadline())

    async def test_a_bare_json_string_is_an_error_message(self) -> None:
        answer = httpx.Response(404, json="image not found in DB")
        assert await client(playing(answer).transport()).by_digest(DIGEST, deadline()) is None

    async def test_outcomes_are_counted(self) -> None:
        recorder = FakeRecorder()
        played = playing(FOUND, error(404, "image not found in DB"), error(404, "image not found in DB"), FOUND)
        anchore = client(played.transport(), recorder=recorder)
        await anchore.by_tag(TAG, deadline())
        await anchore.by_digest(DIGEST, deadline())
        await anchore.check(DIGEST, TAG, None, deadline())
        await anchore.submit(AnalysisRequest(TAG), deadline())
        assert recorder.anchore_calls == [
            ("default", "by_tag", "ok"),
            ("default", "by_digest", "not_found"),
            ("default", "check", "not_found"),
            ("default", "submit", "ok"),
        ]


class TestSize:
    async def test_an_answer_that_is_too_large_is_not_read_to_its_end(self) -> None:
        read = 0

        class Endless(httpx.AsyncByteStream):
            async def __aiter__(self) -> Any:
                nonlocal read
                while True:
                    read += 65536
                    yield b" " * 65536

        answer = httpx.Response(200, headers=JSON, stream=Endless())
        with pytest.raises(AnchoreResponseInvalid, match="larger than 1048576 bytes"):
            await client(playing(answer).transport()).by_tag(TAG, deadline())
        assert read <= LONG + 65536

    async def test_an_answer_of_just_the_allowed_size(self) -> None:
        raw = json.dumps([v1_image()]).encode()
        bounds = Bounds(5, 20, len(raw))
        answer = httpx.Response(200, content=raw, headers=JSON)
        assert await client(playing(answer).transport(), bounds=bounds).by_tag(TAG, deadline())
        with pytest.raises(AnchoreResponseInvalid, match="larger than"):
            await client(playing(answer).transport(), bounds=Bounds(5, 20, len(raw) - 1)).by_tag(TAG, deadline())

    async def test_packed_answers_are_unpacked(self) -> None:
        played = playing(packed(gzip.compress(json.dumps([v1_image()]).encode())))
        assert await client(played.transport()).by_tag(TAG, deadline())
        assert played.asked[0].headers["accept-encoding"] == "gzip"

    @pytest.mark.parametrize(
        ("answer", "text"),
        [
            (packed(gzip.compress(b" " * 100 * LONG)), "larger than"),
            (packed(gzip.compress(b" " * 1000)[:-9]), "cut short"),
            (packed(b"not gzip"), "not valid gzip"),
            (packed(b"?", "br"), "has a Content-Encoding"),
            (packed(b"?", "gzip, gzip"), "has a Content-Encoding"),
        ],
        ids=["a bomb", "cut short", "not gzip", "not asked for", "packed twice"],
    )
    async def test_packed_answers_obey_the_same_bound(self, answer: httpx.Response, text: str) -> None:
        with pytest.raises(AnchoreResponseInvalid, match=text):
            await client(playing(answer).transport()).by_tag(TAG, deadline())


BUSY = [httpx.Response(status, text="busy") for status in (429, 502, 503, 504)]


class TestSecondAttempts:
    @pytest.mark.parametrize(
        "first", [*BUSY, httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), httpx.ProxyError("no")]
    )
    async def test_a_query_is_sent_twice(self, first: httpx.Response | Exception) -> None:
        recorder, played = FakeRecorder(), playing(first, FOUND)
        anchore, pauses = impatient(played.transport(), recorder=recorder)
        assert await anchore.by_tag(TAG, deadline())
        assert recorder.anchore_calls == [("default", "by_tag", "ok")]
        assert len(pauses) == 1
        assert 0.05 <= pauses[0] <= 0.15

    @pytest.mark.parametrize("again", [*BUSY, httpx.ConnectError("refused")])
    async def test_but_not_thrice(self, again: httpx.Response | Exception) -> None:
        played = playing(again, again, FOUND)
        anchore, _ = impatient(played.transport())
        with pytest.raises(AnchoreUnavailable):
            await anchore.by_tag(TAG, deadline())
        assert len(played.asked) == 2

    @pytest.mark.parametrize("first", [BUSY[2], httpx.ConnectError("refused")])
    async def test_not_when_the_deadline_is_near(self, first: httpx.Response | Exception) -> None:
        played, clock = playing(first, FOUND), ManualClock()
        anchore, pauses = impatient(played.transport())
        with pytest.raises(AnchoreUnavailable):
            await anchore.by_tag(TAG, Deadline.after(0.54, clock))
        assert (len(played.asked), pauses) == (1, [])

    @pytest.mark.parametrize("first", [*BUSY, httpx.ConnectError("refused")])
    async def test_a_submission_is_never_repeated(self, first: httpx.Response | Exception) -> None:
        played = playing(first, FOUND)
        anchore, pauses = impatient(played.transport())
        with pytest.raises(AnchoreUnavailable):
            await anchore.submit(AnalysisRequest(TAG), deadline())
        assert (len(played.asked), pauses) == (1, [])


class TestTime:
    async def test_each_timeout_is_capped_by_the_remaining_time(self) -> None:
        played, clock = playing(FOUND, FOUND), ManualClock()
        anchore = client(played.transport(), bounds=BOUNDS)
        await anchore.by_tag(TAG, Deadline.after(60, clock))
        await anchore.by_tag(TAG, Deadline.after(7, clock))
        assert [request.extensions["timeout"] for request in played.asked] == [
            {"connect": 5, "read": 20},
            {"connect": 5, "read": 7.0},
        ]

    async def test_nothing_is_sent_after_the_deadline(self) -> None:
        recorder, clock = FakeRecorder(), ManualClock()
        anchore = client(playing(FOUND).transport(), recorder=recorder)
        with pytest.raises(DeadlineExceeded):
            await anchore.by_tag(TAG, Deadline.after(-1, clock))
        assert recorder.outcomes == ["deadline_exceeded"]
        assert recorder.in_flight == 0

    @pytest.mark.parametrize("error", [httpx.ReadTimeout("slow"), httpx.ConnectTimeout("slow"), TimeoutError()])
    @pytest.mark.parametrize("early", [0.0, 0.005])
    async def test_a_bound_that_ends_with_the_deadline_is_the_deadline(self, early: float, error: Exception) -> None:
        clock = ManualClock()

        def answer(_: httpx.Request) -> httpx.Response:
            clock.now += 30 - early
            raise error

        with pytest.raises(DeadlineExceeded):
            await client(Played(answer).transport()).by_tag(TAG, Deadline.after(30, clock))

    async def test_a_caller_that_leaves_takes_its_call_with_it(self) -> None:
        asked, recorder = asyncio.Event(), FakeRecorder()

        async def handle(_: httpx.Request) -> httpx.Response:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError("no caller is waiting")

        anchore = client(httpx.MockTransport(handle), recorder=recorder)
        task = asyncio.create_task(anchore.by_tag(TAG, deadline()))
        await asked.wait()
        assert recorder.in_flight == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (recorder.in_flight, recorder.outcomes) == (0, ["cancelled"])
