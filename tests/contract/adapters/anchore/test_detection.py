"""Detection of the API version: safe, once, and again when Anchore is upgraded."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from anchore_admission.adapters.anchore import DetectingAnchore
from anchore_admission.adapters.anchore.endpoint import AnchoreEndpoint, root_of
from anchore_admission.adapters.anchore.http import AnchoreHttp
from anchore_admission.errors import (
    AnchoreRefused,
    AnchoreResponseInvalid,
    AnchoreUnavailable,
    DeadlineExceeded,
    EvaluationError,
)
from anchore_admission.models.configuration import ApiVersion
from support.anchore_calls import (
    ADMIN,
    BOUNDS,
    TAG,
    Played,
    client,
    deadline,
    error,
    page,
    problem,
    v1_image,
)
from support.anchore_recordings import recording
from support.fakes import FakeRecorder, ManualClock

V1_VERSION = httpx.Response(200, json=recording("003")["response"]["body"])
V2_VERSION = httpx.Response(200, json={"service": {"version": "5.0.0"}, "api": {"version": "2"}, "db": {}})
EMPTY = httpx.Response(200, json={})
V1_IMAGES = httpx.Response(200, json=[v1_image()])
V2_IMAGES = httpx.Response(200, json={"items": []})
ABSENT = problem(404)
AT_V2, AT_ROOT, AT_V1 = "/v2/version", "/version", "/v1/version"


def by_path(answers: Mapping[str, httpx.Response | Exception]) -> Played:
    """A server that responds with 404 on every path without a given response."""

    def answer(request: httpx.Request) -> httpx.Response:
        match answers.get(request.url.path, ABSENT):
            case httpx.Response() as given:
                return httpx.Response(given.status_code, headers=given.headers, stream=given.stream)
            case raised:
                raise raised

    return Played(answer)


def engine() -> dict[str, httpx.Response | Exception]:
    return {AT_ROOT: V1_VERSION, AT_V1: V1_VERSION, "/v1/images": V1_IMAGES}


def enterprise() -> dict[str, httpx.Response | Exception]:
    return {AT_ROOT: V2_VERSION, AT_V2: V2_VERSION, "/v2/images": V2_IMAGES}


def detecting(
    played: Played, clock: ManualClock, url: str = "http://anchore.test:8228", recorder: FakeRecorder | None = None
) -> DetectingAnchore:
    async def pause(_: float) -> None:
        pass

    root = root_of(AnchoreEndpoint(url))
    http = AnchoreHttp(
        httpx.AsyncClient(transport=played.transport()),
        root=root.url,
        name="default",
        headers={},
        credentials=ADMIN,
        bounds=BOUNDS,
        recorder=recorder or FakeRecorder(),
        pause=pause,
    )
    return DetectingAnchore(http, root, clock=clock)


class TestDetection:
    @pytest.mark.parametrize(
        ("answers", "expected", "asked"),
        [
            (engine(), ApiVersion.V1, [AT_V2, AT_ROOT]),
            (enterprise(), ApiVersion.V2, [AT_V2]),
            (engine() | enterprise(), ApiVersion.V2, [AT_V2]),
            ({AT_V1: V1_VERSION, "/v1/images": V1_IMAGES}, ApiVersion.V1, [AT_V2, AT_ROOT, AT_V1]),
            (engine() | {AT_V2: problem(405)}, ApiVersion.V1, [AT_V2, AT_ROOT]),
            (engine() | {AT_V2: page(404)}, ApiVersion.V1, [AT_V2, AT_ROOT]),
            (engine() | {AT_V2: error(404, "not here")}, ApiVersion.V1, [AT_V2, AT_ROOT]),
            (engine() | {AT_V2: EMPTY}, ApiVersion.V1, [AT_V2, AT_ROOT]),
            (engine() | {AT_V2: V1_VERSION}, ApiVersion.V1, [AT_V2, AT_ROOT]),
            (engine() | {AT_ROOT: EMPTY}, ApiVersion.V1, [AT_V2, AT_ROOT, AT_V1]),
            (enterprise() | {AT_V2: ABSENT}, ApiVersion.V2, [AT_V2, AT_ROOT]),
            (
                enterprise() | {AT_V2: httpx.Response(200, json={"api": {"version": "2.13.0"}})},
                ApiVersion.V2,
                [AT_V2],
            ),
            (
                engine() | {AT_ROOT: httpx.Response(200, json={"api": {"version": "0.6.0"}})},
                ApiVersion.V1,
                [AT_V2, AT_ROOT],
            ),
        ],
        ids=[
            "engine",
            "enterprise",
            "both (4.9)",
            "v1 behind an ingress",
            "405",
            "404 of an ingress",
            "404 in Anchore's words",
            "a version that names no API",
            "v1 everywhere",
            "nothing at the root",
            "v2 at the root",
            "v2 with its minor version",
            "v1 that names its version",
        ],
    )
    async def test_finds(self, answers: dict[str, Any], expected: ApiVersion, asked: list[str]) -> None:
        played = by_path(answers)
        anchore = client(played.transport(), ApiVersion.AUTO)
        assert anchore.version is ApiVersion.AUTO
        await anchore.by_tag(TAG, deadline())
        assert anchore.version is expected
        assert played.paths == [*asked, f"/{expected}/images"]

    @pytest.mark.parametrize(
        ("url", "answers", "expected", "asked"),
        [
            ("http://a/v1", engine() | enterprise(), ApiVersion.V1, [AT_V1]),
            ("http://a/v1", enterprise(), ApiVersion.V2, [AT_V1, AT_V2]),
            ("http://a/v2", engine() | enterprise(), ApiVersion.V2, [AT_V2]),
            ("http://a/v2", engine(), ApiVersion.V1, [AT_V2, AT_ROOT]),
        ],
    )
    async def test_a_version_in_the_address_is_a_hint_and_no_more(
        self, url: str, answers: dict[str, Any], expected: ApiVersion, asked: list[str]
    ) -> None:
        played = by_path(answers)
        anchore = client(played.transport(), ApiVersion.AUTO, url=url)
        await anchore.by_tag(TAG, deadline())
        assert anchore.version is expected
        assert played.paths[:-1] == asked

    @pytest.mark.parametrize("version", [ApiVersion.V1, ApiVersion.V2])
    async def test_a_version_of_the_configuration_is_not_tried(self, version: ApiVersion) -> None:
        played = by_path(engine() | enterprise())
        anchore = client(played.transport(), version)
        await anchore.by_tag(TAG, deadline())
        assert anchore.version is version
        assert played.paths == [f"/{version}/images"]

    @pytest.mark.parametrize(
        ("at_v2", "kind"),
        [
            (httpx.ReadTimeout("slow"), AnchoreUnavailable),
            (httpx.ConnectError("refused"), AnchoreUnavailable),
            (httpx.Response(500), AnchoreUnavailable),
            (httpx.Response(503), AnchoreUnavailable),
            (httpx.Response(401, text="Unauthorized"), AnchoreRefused),
            (httpx.Response(403), AnchoreRefused),
            (page(), AnchoreResponseInvalid),
            (httpx.Response(302), AnchoreResponseInvalid),
            (problem(400), AnchoreResponseInvalid),
            (httpx.Response(200, json={"api": {"version": "3"}}), AnchoreResponseInvalid),
            (httpx.Response(200, json="v2"), AnchoreResponseInvalid),
        ],
    )
    async def test_an_unknown_version_is_never_taken_for_v1(
        self, at_v2: httpx.Response | Exception, kind: type[EvaluationError]
    ) -> None:
        played = by_path(engine() | {AT_V2: at_v2})
        anchore = detecting(played, ManualClock())
        with pytest.raises(kind):
            await anchore.by_tag(TAG, deadline())
        assert anchore.version is ApiVersion.AUTO
        assert set(played.paths) == {AT_V2}

    async def test_no_anchore_at_all(self) -> None:
        with pytest.raises(AnchoreResponseInvalid, match="no Anchore API at this address; check the endpoint"):
            await detecting(by_path({}), ManualClock()).by_tag(TAG, deadline())


class TestFailures:
    async def test_are_repeated_for_a_moment_without_asking_again(self) -> None:
        answers: dict[str, httpx.Response | Exception] = {AT_V2: httpx.Response(500)}
        played, clock, recorder = by_path(answers), ManualClock(), FakeRecorder()
        anchore = detecting(played, clock, recorder=recorder)
        texts = set()
        for _ in range(3):
            with pytest.raises(AnchoreUnavailable) as caught:
                await anchore.by_tag(TAG, deadline())
            texts.add(str(caught.value))
        assert texts == {"Anchore failed with a server error (500)"}
        assert recorder.anchore_calls == [("default", "version", "unavailable")]
        answers |= enterprise()
        clock.now += 1
        assert await anchore.by_tag(TAG, deadline()) is None
        assert anchore.version is ApiVersion.V2

    async def test_one_callers_deadline_is_no_failure_for_the_next(self) -> None:
        slow = asyncio.Event()

        async def handle(request: httpx.Request) -> httpx.Response:
            if request.url.path == AT_V2:
                await slow.wait()
            return by_path(enterprise()).answer(request)

        anchore = client(httpx.MockTransport(handle), ApiVersion.AUTO)
        with pytest.raises(DeadlineExceeded):
            await anchore.by_tag(TAG, deadline(0.02))
        slow.set()
        assert await anchore.by_tag(TAG, deadline()) is None

    async def test_a_waiting_call_waits_no_longer_than_its_own_deadline(self) -> None:
        asked = asyncio.Event()

        async def handle(_: httpx.Request) -> httpx.Response:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError("no caller is waiting")

        anchore = client(httpx.MockTransport(handle), ApiVersion.AUTO)
        first = asyncio.create_task(anchore.by_tag(TAG, deadline()))
        await asked.wait()
        with pytest.raises(DeadlineExceeded):
            await anchore.by_tag(TAG, deadline(0.02))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first

    async def test_callers_at_the_same_time_find_out_once(self) -> None:
        played = by_path(enterprise())
        anchore = client(played.transport(), ApiVersion.AUTO)
        await asyncio.gather(*(anchore.by_tag(TAG, deadline()) for _ in range(20)))
        assert played.paths.count(AT_V2) == 1
        assert played.paths.count("/v2/images") == 20


class TestUpgrade:
    async def upgraded(self, version: ApiVersion = ApiVersion.AUTO) -> tuple[DetectingAnchore, Played]:
        """An Anchore that spoke v1 and now speaks v2."""
        answers = engine()
        played = by_path(answers)
        anchore = client(played.transport(), version)
        await anchore.by_tag(TAG, deadline())
        assert anchore.version is ApiVersion.V1
        answers.clear()
        answers |= enterprise()
        return anchore, played

    async def test_is_noticed_after_three_wrong_paths(self) -> None:
        anchore, _ = await self.upgraded()
        for _ in range(3):
            assert anchore.version is ApiVersion.V1
            with pytest.raises(AnchoreResponseInvalid, match="no Anchore API"):
                await anchore.by_tag(TAG, deadline())
        assert await anchore.by_tag(TAG, deadline()) is None
        assert anchore.version is ApiVersion.V2

    async def test_calls_at_the_same_time_count_like_others(self) -> None:
        anchore, _ = await self.upgraded()
        failed = await asyncio.gather(*(anchore.by_tag(TAG, deadline()) for _ in range(8)), return_exceptions=True)
        assert all(isinstance(error, AnchoreResponseInvalid) for error in failed)
        assert await anchore.by_tag(TAG, deadline()) is None

    async def test_a_version_of_the_configuration_stays(self) -> None:
        anchore, played = await self.upgraded(ApiVersion.V1)
        for _ in range(5):
            with pytest.raises(AnchoreResponseInvalid, match="no Anchore API"):
                await anchore.by_tag(TAG, deadline())
        assert set(played.paths) == {"/v1/images"}

    async def test_a_valid_response_between_them_restarts_the_count(self) -> None:
        answers = engine()
        anchore = client(by_path(answers).transport(), ApiVersion.AUTO)
        for _ in range(3):
            assert await anchore.by_tag(TAG, deadline())
            answers["/v1/images"] = ABSENT
            for _ in range(2):
                with pytest.raises(AnchoreResponseInvalid):
                    await anchore.by_tag(TAG, deadline())
            answers["/v1/images"] = V1_IMAGES
        assert anchore.version is ApiVersion.V1
