"""The port for Anchore's notifications: its secret, its bounds, and its only effect."""

import asyncio
import base64
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from anchore_admission.core.hints import Hint
from anchore_admission.errors import ConfigurationError
from anchore_admission.ports.telemetry import NotificationOutcome
from anchore_admission.services.reviews.hints import Hints
from anchore_admission.services.reviews.notifications import Notifications
from anchore_admission.web.notifications import NotificationEndpoint, watched_notifications_secret
from anchore_admission.web.server import Listener
from support.fakes import FakeRecorder, ManualClock
from support.listening import HOST, running

SECRET, OTHER = "s3cret-of-notifications", "another-secret-0123"
TAG = "docker.io/library/nginx:1.25"
FLAT = {
    "id": "f1",
    "type": "user.checks.tag.policy_evaluation.update",
    "level": "info",
    "timestamp": "2026-11-23T10:00:00",
    "resource": {"account_name": "team", "type": "image_tag", "id": TAG},
}
DENIED, HINT, IGNORED = NotificationOutcome.DENIED, NotificationOutcome.HINT, NotificationOutcome.IGNORED


@dataclass
class Port:
    """The port over a memory that notes what is doubted; rates are by the test's clock."""

    clock: ManualClock = field(default_factory=ManualClock)
    recorder: FakeRecorder = field(default_factory=FakeRecorder)
    doubted: list[Hint] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hints = Hints(self, clock=self.clock, sleep=self.clock.sleep)
        notifications = Notifications({"default": None}, self.hints, self.recorder)
        self.endpoint = NotificationEndpoint(notifications, self.recorder, clock=self.clock)
        self.endpoint.use([SECRET, OTHER])
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.endpoint), base_url="http://hints")

    def doubt(self, account: str, *, full_tag: str | None = None, digest: str | None = None) -> None:
        assert account == "default"
        self.doubted.append(Hint(full_tag, digest))

    async def post(self, path: str = f"/notifications/{SECRET}", body: Any = FLAT, **options: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.http.post(path, content=content, **options)

    @contextlib.asynccontextmanager
    async def passing_on(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.hints.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def port() -> Port:
    return Port()


async def test_a_notification_is_answered_at_once_and_its_hint_follows(port: Port) -> None:
    answer = await port.post()
    assert (answer.status_code, answer.json()) == (200, {})
    assert (port.doubted, port.recorder.notifications) == ([], [HINT])
    async with port.passing_on():
        await port.clock.advance(1)
    assert port.doubted == [Hint(full_tag=TAG)]


class TestSecret:
    @pytest.mark.parametrize("secret", [SECRET, OTHER])
    async def test_in_the_path(self, port: Port, secret: str) -> None:
        assert (await port.post(f"/notifications/{secret}")).status_code == 200
        assert (await port.post(f"/notifications/{secret}?x=1")).status_code == 200

    @pytest.mark.parametrize("secret", [SECRET, OTHER])
    @pytest.mark.parametrize("user", ["anchore", "", "user"])
    async def test_as_the_password(self, port: Port, user: str, secret: str) -> None:
        assert (await port.post("/notifications", auth=(user, secret))).status_code == 200

    @pytest.mark.parametrize(
        ("path", "authorization"),
        [
            ("/", None),
            ("/notifications", None),
            ("/notifications/", None),
            (f"/notifications/{SECRET}/", None),
            (f"/notifications/{SECRET}x", None),
            (f"/notifications/{SECRET[:-1]}", None),
            (f"/notifications/{SECRET.upper()}", None),
            (f"/notifications//{SECRET}", None),
            (f"/{SECRET}", None),
            (f"/notifications/{SECRET}%0A", None),
            ("/notifications/%00", None),
            ("/notifications/%ff", None),
            ("/notifications/%C3%A9", None),
            (f"/notifications/{SECRET},{OTHER}", None),
            ("/notifications", "Basic"),
            ("/notifications", "Basic %%%"),
            ("/notifications", f"Bearer {SECRET}"),
            ("/notifications", f"Basic {SECRET}"),
            ("/notifications", "Basic " + base64.b64encode(SECRET.encode()).decode()),
            ("/notifications", "Basic " + base64.b64encode(f"{SECRET}:".encode()).decode()),
            ("/notifications", "Basic " + base64.b64encode(f"u:{SECRET}x".encode()).decode()),
            ("/notifications", "Basic " + base64.b64encode(b"u:" + b"x" * 100_000).decode()),
            ("/notifications", "Basic " + base64.b64encode(b"u:\xff\xfe").decode()),
            ("/validate", None),
            ("/metrics", None),
            ("/livez", None),
        ],
    )
    async def test_without_it_nothing_happens(self, port: Port, path: str, authorization: str | None) -> None:
        headers = {"authorization": authorization} if authorization else {}
        answer = await port.post(path, headers=headers)
        assert (answer.status_code, answer.json()["reason"]) == (401, "Unauthorized")
        assert answer.headers["connection"] == "close"
        assert SECRET not in answer.text
        assert (port.recorder.notifications, port.recorder.hints) == ([DENIED], [])

    async def test_its_absence_is_logged_once_in_a_while(self, port: Port, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "anchore_admission.hints"):
            for _ in range(100):
                await port.post(f"/notifications/{SECRET}x")
        assert [record.message for record in caplog.records] == [
            "rejected a notification without the secret in its path or password"
        ]

    async def test_it_is_asked_for_before_anything_else(self, port: Port) -> None:
        assert (await port.http.get("/notifications")).status_code == 401
        assert (await port.http.get(f"/notifications/{SECRET}")).status_code == 405
        assert (await port.post("/notifications", b"x" * 100_000)).status_code == 401

    @pytest.mark.parametrize("secret", ["", "short", "with/slash/0123456789", "x" * 254])
    def test_one_that_can_be_guessed_is_rejected(self, port: Port, secret: str) -> None:
        with pytest.raises(ConfigurationError, match=r"--notifications-secret-file / .*: expected a file with 16"):
            port.endpoint.use([SECRET, secret])

    async def test_until_there_is_one_every_request_is_denied(self, port: Port, tmp_path: Path) -> None:
        file, endpoint = (
            tmp_path / "secret",
            NotificationEndpoint(Notifications({}, port.hints, port.recorder), port.recorder),
        )
        file.write_text("")
        followed = watched_notifications_secret(endpoint, file)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(endpoint), base_url="http://hints") as asking:
            for path in ("/notifications", "/notifications/"):
                assert (await asking.post(path, auth=("", ""))).status_code == 401
            file.write_text(SECRET)
            followed.refresh()
            assert (await asking.post(f"/notifications/{SECRET}", json=FLAT)).status_code == 200

    def test_a_path_that_does_not_exist_is_a_mistake(self, port: Port, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="cannot be read"):
            watched_notifications_secret(port.endpoint, tmp_path / "none")

    async def test_a_changed_one_is_followed_and_an_invalid_one_is_not(self, port: Port, tmp_path: Path) -> None:
        file, changed = tmp_path / "secret", "a-changed-secret-0123"
        file.write_text(SECRET)
        followed = watched_notifications_secret(port.endpoint, file)
        file.write_text("short")
        followed.refresh()
        assert followed.is_unusable()
        assert (await port.post(f"/notifications/{SECRET}")).status_code == 200
        file.write_text(changed)
        followed.refresh()
        assert (await port.post(f"/notifications/{changed}")).status_code == 200
        assert (await port.post(f"/notifications/{SECRET}")).status_code == 401


class TestBounds:
    async def test_the_rate(self, port: Port) -> None:
        statuses = [(await port.post()).status_code for _ in range(50)]
        assert statuses == [200] * 10 + [429] * 40
        port.clock.now += 1
        assert [(await port.post()).status_code for _ in range(10)] == [200] * 5 + [429] * 5
        port.clock.now += 3600
        assert [(await port.post()).status_code for _ in range(11)] == [200] * 10 + [429]
        assert port.recorder.notifications.count(NotificationOutcome.TOO_MANY) == 46

    async def test_strangers_do_not_use_the_rate_up(self, port: Port) -> None:
        for _ in range(100):
            await port.post("/notifications/wrong")
        assert (await port.post()).status_code == 200

    @pytest.mark.parametrize(("size", "status"), [(64 * 1024, 200), (64 * 1024 + 1, 413)])
    @pytest.mark.parametrize("chunked", [False, True])
    async def test_the_body(self, port: Port, size: int, status: int, chunked: bool) -> None:
        start = json.dumps(FLAT)[:-1].encode() + b', "x": "'
        content = start + b"x" * (size - len(start) - 2) + b'"}'
        assert len(content) == size

        async def chunks() -> AsyncIterator[bytes]:
            for begin in range(0, size, 1000):
                yield content[begin : begin + 1000]

        answer = await port.http.post(f"/notifications/{SECRET}", content=chunks() if chunked else content)
        assert answer.status_code == status
        outcome = HINT if status == 200 else NotificationOutcome.TOO_LARGE
        assert port.recorder.notifications == [outcome]

    @pytest.mark.parametrize("length", ["65537", "9" * 5000, "9" * 20])
    async def test_a_body_announced_as_too_large_is_not_read(self, port: Port, length: str) -> None:
        received: list[str] = []
        sent: list[Any] = []

        async def receive() -> Any:
            received.append("asked")
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"content-length", length.encode())]
        scope = {"type": "http", "method": "POST", "path": f"/notifications/{SECRET}", "headers": headers}
        await port.endpoint(scope, receive, send)
        assert (sent[0]["status"], received) == (413, [])

    async def test_a_client_that_is_gone_gets_no_answer(self, port: Port) -> None:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": f"/notifications/{SECRET}", "headers": []}
        await port.endpoint(scope, receive, send)
        assert (sent, port.recorder.notifications) == ([], [])


class TestHostile:
    @pytest.mark.parametrize(
        "body",
        [b"", b"null", b"[]", b"{", b'"x"', b"[" * 60_000, b'{"data":' * 8_000, b"\xff\xfe", b"\x1f\x8b\x08\x00"],
    )
    async def test_a_body_that_is_no_object(self, port: Port, body: bytes) -> None:
        answer = await port.post(body=body)
        assert (answer.status_code, answer.json()["message"]) == (400, "the body is not a JSON object")
        assert port.recorder.notifications == [NotificationOutcome.UNREADABLE]
        assert port.recorder.hints == []

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"type": "alerts", "resource": {"type": "image_tag", "id": TAG}},
            {"type": "user.registry.added"},
            {"data": {"notification_type": "repo_update", "notification_payload": {"subscription_key": "r/x"}}},
            {"type": ["user.policy.active.updated"], "resource": 7, "data": "x"},
        ],
    )
    async def test_unknown_notifications_are_accepted_and_ignored(self, port: Port, body: Any) -> None:
        assert (await port.post(body=body)).status_code == 200
        assert port.recorder.notifications == [IGNORED]

    async def test_a_repeated_delivery_counts_once(self, port: Port) -> None:
        for _ in range(5):
            assert (await port.post()).status_code == 200
        assert port.recorder.notifications == [HINT] + [NotificationOutcome.REPEATED] * 4

    async def test_a_flood_with_the_secret_doubts_no_answer_twice_a_minute(self, port: Port) -> None:
        """Whoever has the secret can still only make Anchore be asked a little more often."""
        minutes = 4
        async with port.passing_on():
            for second in range(60 * minutes):
                for number in range(8):
                    kind = "user.policy.active.updated" if second % 7 == 0 else FLAT["type"]
                    resource = {"type": "image_tag", "id": f"{TAG}-{number}"}
                    await port.post(body={"id": f"{second}/{number}", "type": kind, "resource": resource})
                await port.clock.advance(1)
            await port.clock.advance(120)
        assert port.doubted
        for number in range(8):
            about = [hint for hint in port.doubted if hint.full_tag in {f"{TAG}-{number}", None}]
            assert 0 < len(about) <= minutes + 3


async def test_it_is_served_on_a_port_of_its_own(port: Port) -> None:
    async with (
        running(Listener(port.endpoint, HOST, 0, setting="notifications_port", connections=4)) as server,
        httpx.AsyncClient() as asking,
    ):
        url = server.url()
        assert (await asking.post(f"{url}notifications/{SECRET}", json=FLAT)).status_code == 200
        assert (await asking.post(f"{url}notifications", json=FLAT, auth=("anchore", SECRET))).status_code == 200
        assert (await asking.post(f"{url}notifications/{OTHER}x", json=FLAT)).status_code == 401
        assert (await asking.post(f"{url}validate", json={})).status_code == 401
        for path in ("notifications", f"notifications/{SECRET}"):
            # The connection is closed while the client still sends: it may see a reset instead of the response.
            with contextlib.suppress(httpx.TransportError):
                await asking.post(f"{url}{path}", content=b"x" * 10_000_000)
        assert (await asking.post(f"{url}notifications/{SECRET}", json=FLAT)).status_code == 200
    outcomes = port.recorder.notifications
    assert (outcomes.count(DENIED), outcomes.count(NotificationOutcome.TOO_LARGE)) == (3, 1)
