"""The reflector over the real client and a scripted API server: no change is lost, whatever the connection does."""

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import httpx2
import pytest

from anchore_admission.errors import ClusterResponseInvalid
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.namespaces import Labels
from anchore_admission.services.cluster import namespaces
from anchore_admission.services.cluster.live_reads import BURST
from anchore_admission.services.cluster.namespaces import (
    PAUSE_SECONDS,
    QUIET_FAILURES,
    READ_SECONDS,
    WATCH_SECONDS,
    NamespaceReflector,
    listed_namespaces,
)
from support.fakes import FakeRecorder, ManualClock, settled
from support.kubernetes_api import failure
from support.namespace_api import NamespaceApi, Watch, event, expired_event

PROD = {"kubernetes.io/metadata.name": "shop", "env": "prod"}
TEST = {"kubernetes.io/metadata.name": "shop", "env": "test"}
BROKEN: list[httpx2.Response | Exception] = [
    failure(500),
    failure(503),
    httpx2.Response(502, text="<html>bad gateway</html>"),
    httpx2.ConnectError("connection refused"),
    httpx2.ReadTimeout("too slow"),
]


class Cluster:
    """An API with one namespace, and a reflector that follows it."""

    def __init__(self) -> None:
        self.api = NamespaceApi()
        self.api.put("shop", env="prod")
        self.recorder = FakeRecorder()
        self.clock = ManualClock.of_loop()
        self.pauses: list[tuple[float, float]] = []
        self.is_needed = True
        self.reflector = NamespaceReflector(
            self.api.source(self.recorder),
            self.recorder,
            is_needed=lambda: self.is_needed,
            clock=self.clock,
            sleep=self.clock.sleep,
            uniform=self._highest,
        )

    def _highest(self, low: float, high: float) -> float:
        self.pauses.append((low, high))
        return high

    async def labels(self, namespace: str = "shop", *, may_ask: bool = False) -> Labels | None:
        return await self.reflector.labels_of(namespace, Deadline.after(10, self.clock), may_ask=may_ask)

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.reflector.run())
        await settled()
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @property
    def watch_since(self) -> int:
        """The version from which the last watch began."""
        return int(self.api.watches[-1].parameters["resourceVersion"])


@pytest.fixture
async def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
async def following(cluster: Cluster) -> AsyncIterator[Cluster]:
    async with cluster.followed():
        yield cluster


async def test_nothing_is_known_before_the_first_list(cluster: Cluster) -> None:
    assert await cluster.labels() is None
    assert not cluster.reflector.is_synced()
    assert cluster.reflector.age() != cluster.reflector.age(), "not a number"
    async with cluster.followed():
        assert await cluster.labels() == PROD
        assert cluster.reflector.is_synced()
        assert (cluster.recorder.known_namespaces, cluster.recorder.namespace_lists) == (1, 1)


async def test_the_list_is_read_in_pages_and_watched_from_its_version(cluster: Cluster) -> None:
    for number in range(1200):
        cluster.api.put(f"n{number:04}")
    async with cluster.followed():
        assert cluster.recorder.known_namespaces == 1201
        assert [it.url.params.get("limit") for it in cluster.api.requests] == ["500", "500", "500", None]
        assert cluster.watch_since == cluster.api.version


async def test_changes_are_followed(following: Cluster) -> None:
    following.api.put("shop", env="test")
    following.api.put("bank", env="prod")
    await settled()
    assert await following.labels() == TEST
    assert await following.labels("bank") is not None
    following.api.delete("shop")
    await settled()
    assert await following.labels() is None
    assert following.recorder.known_namespaces == 1


async def test_a_namespace_that_is_deleted_and_created_again_has_the_new_labels(following: Cluster) -> None:
    following.api.delete("shop")
    following.api.put("shop", env="test")
    await settled()
    assert await following.labels() == TEST


async def test_an_event_may_come_in_pieces(following: Cluster) -> None:
    line = event("MODIFIED", {"name": "shop", "resourceVersion": "200", "labels": TEST})
    watch = following.api.watches[-1]
    for byte in line[:-1]:
        watch.send(bytes([byte]))
    await settled()
    assert await following.labels() == PROD
    watch.send(b"\n")
    await settled()
    assert await following.labels() == TEST


@pytest.mark.parametrize("text", ["\u2028", "\x85"])
async def test_only_a_newline_ends_an_event(following: Cluster, text: str) -> None:
    """JSON may contain other characters that str.splitlines takes for the end of a line."""
    metadata = {"name": "shop", "resourceVersion": "200", "labels": TEST, "annotations": {"note": text}}
    line = json.dumps({"type": "MODIFIED", "object": {"metadata": metadata}}, ensure_ascii=False)
    following.api.watches[-1].send(line.encode(), b"\n")
    await settled()
    assert await following.labels() == TEST


async def test_several_events_may_come_at_once(following: Cluster) -> None:
    lines = [event("ADDED", {"name": f"n{number}", "resourceVersion": str(200 + number)}) for number in range(3)]
    following.api.watches[-1].send(b"".join(lines))
    await settled()
    assert following.recorder.known_namespaces == 4
    assert await following.labels("n2") == {}


async def test_a_watch_that_ends_is_continued_from_the_last_version(following: Cluster) -> None:
    following.api.put("shop", env="test")
    await settled()
    version = following.api.version
    await following.clock.advance(300)
    following.api.watches[-1].end()
    await settled()
    assert following.watch_since == version
    assert len(following.api.watches) == 2
    assert following.clock.slept == []
    assert following.api.lists == 1


async def test_a_bookmark_advances_the_version(following: Cluster) -> None:
    following.api.version = 170
    following.api.bookmark()
    await settled()
    assert await following.labels() == PROD
    following.api.watches[-1].reset()
    await following.clock.advance(1)
    assert following.watch_since == 170


@pytest.mark.parametrize("broken_off", [b"", b'{"type":"MODIFIED","object":{"metadata":{"name":"sh'])
async def test_changes_during_a_disconnect_are_caught_up(following: Cluster, broken_off: bytes) -> None:
    following.api.watches[-1].send(broken_off)
    following.api.watches[-1].reset()
    following.api.faults.append(httpx2.ConnectError("connection refused"))
    await settled()
    following.api.put("shop", env="test")
    following.api.put("bank")
    following.api.delete("bank")
    assert await following.labels() == PROD, "what was known stays in use"
    await following.clock.advance(PAUSE_SECONDS[1])
    assert await following.labels() == TEST
    assert await following.labels("bank") is None
    assert following.api.lists == 1


async def test_a_stream_that_ends_in_the_middle_of_an_event_is_continued(following: Cluster) -> None:
    following.api.watches[-1].send(b'{"type":"DELETED","object":{"metadata":{"name":"shop"')
    following.api.watches[-1].end()
    await following.clock.advance(PAUSE_SECONDS[1])
    assert await following.labels() == PROD
    assert following.recorder.namespace_errors == [("watch_namespaces", "unavailable")]
    assert len(following.api.watches) == 2


def _as_status(cluster: Cluster) -> None:
    cluster.api.watches[-1].reset()
    cluster.api.faults.append(failure(410))


def _in_stream(cluster: Cluster) -> None:
    cluster.api.watches[-1].send(expired_event())


@pytest.mark.parametrize("expire", [_as_status, _in_stream])
async def test_after_a_410_the_list_replaces_what_was_known(
    cluster: Cluster, expire: Callable[[Cluster], None]
) -> None:
    cluster.api.put("bank")
    async with cluster.followed():
        # Nobody sees these events.
        stream = cluster.api.watches.pop()
        cluster.api.delete("bank")
        cluster.api.put("shop", env="test")
        cluster.api.compact()
        cluster.api.watches.append(stream)
        expire(cluster)
        await cluster.clock.advance(PAUSE_SECONDS[1])
        assert await cluster.labels() == TEST
        assert await cluster.labels("bank") is None
        assert (cluster.recorder.known_namespaces, cluster.recorder.namespace_lists) == (1, 2)
        assert ("watch_namespaces", "expired") not in cluster.recorder.namespace_errors


def _happen(rng: random.Random, cluster: Cluster) -> None:
    """Change a namespace, or harm the connection."""
    api, watch = cluster.api, cluster.api.watches[-1]
    name = rng.choice("abcdef")
    match rng.randrange(11):
        case 0 | 1 | 2 | 3:
            api.put(name, env=rng.choice(["prod", "test"]))
        case 4 | 5 if name in api.namespaces:
            api.delete(name)
        case 6:
            watch.send(b'{"type":"DELETED","object":{"metadata":{"name":"a"')
            _end(rng, watch)
        case 7:
            watch.end()
        case 8:
            api.compact()
            watch.send(expired_event() if rng.random() < 0.5 else b"")
            _end(rng, watch)
        case 9:
            api.faults.append(rng.choice([*BROKEN, failure(410)]))
        case _:
            api.bookmark()


def _end(rng: random.Random, watch: Watch) -> None:
    if rng.random() < 0.5:
        watch.reset()
    else:
        watch.end()


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_happens_the_labels_become_those_of_the_api_server(following: Cluster, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - a test
    for _ in range(100):
        _happen(rng, following)
        if rng.random() < 0.5:
            await following.clock.advance(rng.choice([0, 0.1, 5]))
    following.api.faults.clear()
    await following.clock.advance(100)
    assert following.reflector._labels == {name: found["labels"] for name, found in following.api.namespaces.items()}


async def test_an_expired_page_begins_the_list_anew(cluster: Cluster) -> None:
    for number in range(600):
        cluster.api.put(f"n{number}")
    page = await cluster.api.source(cluster.recorder).list_page("")
    assert page.next
    first = cluster.api._list(500, "")
    cluster.api.faults.extend([first, failure(410)])
    async with cluster.followed():
        assert cluster.recorder.known_namespaces == 601
        assert cluster.clock.slept == []


async def test_a_list_that_does_not_end_is_given_up(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "MAX_PAGES", 3)
    cluster.api.put("bank")
    cluster.api.faults.extend(cluster.api._list(1, "") for _ in range(4))
    with pytest.raises(ClusterResponseInvalid, match="does not end"):
        await listed_namespaces(cluster.api.source(cluster.recorder))
    assert len(cluster.api.requests) == 4


async def test_where_no_watch_gets_through_everything_is_listed_again(following: Cluster) -> None:
    following.api.watches[-1].reset()
    following.api.faults.extend(failure(503) for _ in range(namespaces.QUIET_FAILURES - 1))
    await following.clock.advance(PAUSE_SECONDS[1])
    assert following.api.lists == 2


async def test_an_api_that_always_answers_410_is_not_asked_in_a_loop(following: Cluster) -> None:
    following.api.oldest = 10**9
    following.api.watches[-1].send(expired_event())
    await settled()
    assert following.api.lists == 2
    assert len(following.clock.slept) == 1


@pytest.mark.parametrize("answer", BROKEN)
async def test_a_failed_list_is_repeated_after_a_pause(cluster: Cluster, answer: httpx2.Response | Exception) -> None:
    cluster.api.faults.append(answer)
    async with cluster.followed():
        assert await cluster.labels() is None
        await cluster.clock.advance(PAUSE_SECONDS[1])
        assert await cluster.labels() == PROD


async def test_pauses_grow_to_their_limit_and_begin_anew_after_a_success(cluster: Cluster) -> None:
    cluster.api.faults.extend([failure(500) for _ in range(8)])
    async with cluster.followed():
        await cluster.clock.advance(200)
        assert cluster.clock.slept == [1, 2, 4, 8, 16, 30, 30, 30]
        assert {low for low, _ in cluster.pauses[:-1]} == {PAUSE_SECONDS[0]}
        assert cluster.pauses[-1] == WATCH_SECONDS
        cluster.api.put("shop", env="test")
        await settled()
        cluster.api.watches[-1].reset()
        await cluster.clock.advance(1)
        assert cluster.clock.slept[8:] == [1]


async def test_a_watch_that_ends_at_once_is_not_repeated_in_a_loop(following: Cluster) -> None:
    following.api.watches[-1].end()
    await settled()
    assert len(following.api.watches) == 1
    assert following.clock.slept == [1]


@pytest.mark.parametrize(
    "line",
    [
        b"not JSON\n",
        b'{"type":"MODIFIED","object":{"metadata":{"name":"shop","labels":{"env":"test"}}}}\n',
        b'{"type":"MODIFIED","object":{"metadata":{"resourceVersion":"9","labels":{"env":"test"}}}}\n',
        b'{"type":"MODIFIED","object":{"metadata":{"name":"shop","resourceVersion":"9","labels":{"env":5}}}}\n',
        b'{"type":"RENAMED","object":{"metadata":{"name":"shop","resourceVersion":"9"}}}\n',
        b'{"type":"ERROR","object":{"code":500,"message":"etcd: too many requests"}}\n',
        b"x" * (4 * 2**20 + 1),
    ],
)
async def test_after_an_event_that_cannot_be_read_everything_is_listed(following: Cluster, line: bytes) -> None:
    following.api.watches[-1].send(line)
    await settled()
    assert await following.labels() == PROD
    await following.clock.advance(PAUSE_SECONDS[1])
    assert following.recorder.namespace_lists == 2
    assert following.recorder.namespace_errors == [("watch_namespaces", "invalid_response")]


async def test_the_age_is_that_of_the_last_sign_of_life(following: Cluster) -> None:
    await following.clock.advance(60)
    assert following.reflector.age() == 60
    following.api.bookmark()
    await settled()
    assert following.reflector.age() == 0
    following.api.faults.extend([failure(503) for _ in range(50)])
    following.api.watches[-1].reset()
    await following.clock.advance(1000)
    assert following.reflector.age() == 1000
    assert await following.labels() == PROD


async def test_only_failures_that_last_are_logged(following: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anchore_admission.namespaces")
    following.api.watches[-1].reset()
    following.api.faults.extend([failure(500)] * (QUIET_FAILURES - 2))
    await following.clock.advance(10)
    following.api.bookmark()
    await settled()
    assert caplog.messages == []
    following.api.watches[-1].reset()
    following.api.faults.extend([failure(500)] * (QUIET_FAILURES + 2))
    await following.clock.advance(100)
    following.api.bookmark()
    await settled()
    warning, recovery = caplog.messages
    assert warning.startswith("cannot follow the labels of namespaces: 500: as arranged")
    assert warning.endswith("; the labels known so far stay in use")
    assert recovery == "the labels of namespaces are up to date again"


async def test_a_missing_right_is_named_with_its_remedy(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    cluster.api.faults.extend([failure(403)] * 5)
    async with cluster.followed():
        await cluster.clock.advance(10)
    (warning,) = caplog.messages
    assert "403: as arranged; its ServiceAccount needs get, list and watch of namespaces" in warning
    assert warning.endswith("; each namespace is read when needed")


async def test_labels_are_followed_only_while_they_are_needed(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.is_needed = False
    async with cluster.followed():
        await cluster.clock.advance(10)
        assert cluster.api.requests == []
        cluster.is_needed = True
        await cluster.clock.advance(1)
        assert await cluster.labels() == PROD
        # A reload removes the rule, and the chart removes the right.
        cluster.is_needed = False
        cluster.api.faults.append(failure(403))
        cluster.api.watches[-1].reset()
        await cluster.clock.advance(3600)
        assert await cluster.labels() is None
        assert not cluster.reflector.is_synced()
        assert (cluster.recorder.known_namespaces, len(cluster.api.requests)) == (0, 2)
        cluster.api.faults.clear()
        cluster.is_needed = True
        await cluster.clock.advance(1)
        assert await cluster.labels() == PROD
    assert caplog.messages == []


async def test_a_namespace_that_is_not_known_is_read_alone(following: Cluster) -> None:
    following.api.watches.clear()
    following.api.put("new", env="prod")
    assert await following.labels("new") is None
    labels = await following.labels("new", may_ask=True)
    assert labels is not None
    assert labels["env"] == "prod"
    assert following.api.reads == ["new"]


async def test_before_the_first_list_namespaces_are_read_alone(cluster: Cluster) -> None:
    assert await cluster.labels(may_ask=True) == PROD
    assert cluster.api.reads == ["shop"]


async def test_before_the_first_list_reviews_wait_for_it_if_a_read_does_not_help(cluster: Cluster) -> None:
    for number in range(2 * BURST):
        cluster.api.put(f"n{number}")
    names = [f"n{number}" for number in range(2 * BURST)]
    reviews = [asyncio.create_task(cluster.labels(name, may_ask=True)) for name in names]
    await settled()
    assert len(cluster.api.reads) == BURST
    async with cluster.followed():
        assert None not in await asyncio.gather(*reviews)


async def test_without_a_list_a_review_does_not_wait_for_ever(cluster: Cluster) -> None:
    waiting = asyncio.create_task(cluster.labels("nowhere", may_ask=True))
    await cluster.clock.advance(READ_SECONDS - 0.1)
    assert not waiting.done()
    await cluster.clock.advance(0.1)
    assert await waiting is None


async def test_a_namespace_that_was_deleted_is_not_remembered_from_a_read(following: Cluster) -> None:
    following.api.delete("shop")
    await settled()
    assert await following.labels(may_ask=True) is None


@pytest.mark.parametrize(
    "name", ["", "Shop", "../secrets", "shop/pods", "shop?watch=true", "a" * 64, "-a", "a-", "a\n"]
)
async def test_an_invalid_name_is_never_asked_about(cluster: Cluster, name: str) -> None:
    assert await cluster.labels(name, may_ask=True) is None
    assert cluster.api.requests == []


async def test_a_review_waits_only_a_part_of_its_time_for_a_read(cluster: Cluster) -> None:
    cluster.api.held = asyncio.Event()
    deadline = Deadline.after(1, cluster.clock)
    waiting = asyncio.create_task(cluster.reflector.labels_of("shop", deadline, may_ask=True))
    await cluster.clock.advance(0.4)
    assert not waiting.done()
    await cluster.clock.advance(0.1)
    assert waiting.done()
    assert await waiting is None
    cluster.api.held.set()
    await settled()
    assert await cluster.labels(may_ask=True) == PROD, "a late answer serves the next review"
    assert cluster.api.reads == ["shop"]
