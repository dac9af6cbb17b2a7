"""The contract of the port ``FactStore``: in memory, and the real client with servers of every topology."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from anchore_admission.adapters.store.client import Connecting, connect
from anchore_admission.core.answers import Value
from anchore_admission.core.facts import AnalysisState, Finding, ImageRecord, PolicyEvaluation, TagRow
from anchore_admission.models.configuration.store import Server, Topology
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.store import CLAIM_SECONDS, FactStore, StoredAnswer
from support.fakes import digest_of
from support.listening import HOST
from support.ports import free_port
from support.stores import LIFETIME, NOW, FakeStore, SentinelServer, Stage, StoreServer, cluster, started

PREFIXES = itertools.count()
KEY = "record\0fingerprint\0sha256:0\0docker.io/library/nginx:1.27\0"
RECORD = ImageRecord(
    digest_of("image"),
    AnalysisState.ANALYZED,
    (TagRow("docker.io/library/nginx:1.27", "2026-01-01T00:00:00Z"),),
    digest_of("list"),
    "amd64",
)
FAILED = PolicyEvaluation(
    passed=False,
    policy="2c53a13c-1765-11e8-82ef-23527761d060",
    findings=(Finding("vulnerabilities", "package", "CVE-2026-0001+ö", "HIGH\n…", "update"),),
    repository="docker.io/library/nginx",
)


@dataclass
class Subject:
    """A store, a way to wait until it has written what was put, and its time of day."""

    store: FactStore
    written: Callable[[], Awaitable[None]]
    pass_time: Callable[[float], None]

    async def get(self, key: str = KEY) -> StoredAnswer | None:
        return await self.store.get(key, Deadline.after(60))

    async def claim(self, key: str = KEY) -> bool:
        return await self.store.claim(key, Deadline.after(60))

    async def is_claimed(self, key: str = KEY) -> bool:
        return await self.store.is_claimed(key, Deadline.after(60))

    async def put(self, answer: StoredAnswer, key: str = KEY) -> None:
        self.store.put(key, answer)
        await self.written()


def in_memory() -> Subject:
    store = FakeStore()

    async def written() -> None:
        """Nothing is queued."""

    def pass_time(seconds: float) -> None:
        store.now += seconds

    return Subject(store, written, pass_time)


@pytest.fixture(scope="module", params=["memory", "standalone", "sentinel", "cluster"], name="how")
def _how(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connecting | None]:
    """How to reach the servers, which serve all tests of this file; None for the store in memory."""
    folder = tmp_path_factory.mktemp(request.param)
    with contextlib.ExitStack() as stack:
        if request.param == "memory":
            yield None
        elif request.param == "cluster":
            nodes = stack.enter_context(cluster(folder))
            yield Connecting([node.address for node in nodes], Topology.CLUSTER)
        else:
            server = stack.enter_context(started(StoreServer()))
            if request.param == "standalone":
                yield Connecting([server.address], database=2)
            else:
                sentinel = stack.enter_context(started(SentinelServer(folder, server)))
                # The first Sentinel does not respond.
                yield Connecting([Server(HOST, free_port()), sentinel.address], Topology.SENTINEL, "gate", database=2)


@pytest.fixture
async def subject(how: Connecting | None) -> AsyncIterator[Subject]:
    if how is None:
        yield in_memory()
        return
    # A machine that is busy with other tests may be slow to respond. Each test has keys of its own.
    stage = Stage(connect(how), timeout=5, prefix=f"test-{next(PREFIXES)}")

    def pass_time(seconds: float) -> None:
        stage.clock.now += seconds

    async with stage.running():
        yield Subject(stage.store, stage.written, pass_time)


async def test_what_is_put_is_found_with_its_age(subject: Subject) -> None:
    assert await subject.get() is None
    await subject.put(StoredAnswer(RECORD, NOW - 7.5))
    await subject.put(StoredAnswer(FAILED, NOW - 3), "evaluation")
    found = await subject.get()
    assert found == StoredAnswer(RECORD, NOW - 7.5)
    evaluation = await subject.get("evaluation")
    assert evaluation is not None
    assert repr(evaluation.value) == repr(FAILED)
    assert evaluation.asked_at == NOW - 3


async def test_a_newer_answer_replaces_an_older_one(subject: Subject) -> None:
    await subject.put(StoredAnswer(RECORD, NOW - 60))
    newer = StoredAnswer(replace(RECORD, tags=()), NOW)
    await subject.put(newer)
    assert await subject.get() == newer


async def test_many_keys_are_kept_apart(subject: Subject) -> None:
    async def roundtrip(number: int) -> StoredAnswer | None:
        return await subject.get(f"key {number}")

    for number in range(100):
        subject.store.put(f"key {number}", StoredAnswer(RECORD, NOW - number))
    await subject.written()
    found = await asyncio.gather(*map(roundtrip, range(101)))
    assert [answer and answer.asked_at for answer in found] == [*(NOW - number for number in range(100)), None]


async def test_an_answer_does_not_become_younger_and_expires(subject: Subject) -> None:
    await subject.put(StoredAnswer(RECORD, NOW - 10))
    subject.pass_time(LIFETIME - 11)
    assert await subject.get() == StoredAnswer(RECORD, NOW - 10)
    subject.pass_time(1)
    assert await subject.get() is None


@pytest.mark.parametrize("value", [None, AnalysisState.ANALYZING, replace(RECORD, state=AnalysisState.FAILED)])
async def test_what_may_still_change_is_not_kept(subject: Subject, value: Value) -> None:
    await subject.put(StoredAnswer(value, NOW))
    assert await subject.get() is None


async def test_an_answer_of_the_future_or_too_large_is_not_kept(subject: Subject) -> None:
    await subject.put(StoredAnswer(RECORD, NOW + 60))
    assert await subject.get() is None
    await subject.put(StoredAnswer(replace(FAILED, findings=FAILED.findings * 1000), NOW))
    assert await subject.get() is None


async def test_no_time_left_is_a_miss(subject: Subject) -> None:
    await subject.put(StoredAnswer(RECORD, NOW))
    assert await subject.store.get(KEY, Deadline.after(0)) is None


async def test_one_of_many_gets_the_claim(subject: Subject) -> None:
    assert not await subject.is_claimed()
    assert [await subject.claim() for _ in range(3)] == [True, False, False]
    assert await subject.is_claimed()
    assert await subject.get() is None, "it is not taken for an answer"


async def test_claims_of_many_keys_are_kept_apart(subject: Subject) -> None:
    keys = [f"key {number}" for number in range(100)]
    assert all(await asyncio.gather(*map(subject.claim, keys[::2])))
    assert await asyncio.gather(*map(subject.is_claimed, keys)) == [True, False] * 50
    assert await asyncio.gather(*map(subject.claim, keys)) == [False, True] * 50


async def test_a_claim_ends_by_itself(subject: Subject) -> None:
    await subject.claim()
    subject.pass_time(CLAIM_SECONDS)
    assert not await subject.is_claimed()


async def test_a_claim_that_was_ended_can_be_had_again(subject: Subject) -> None:
    await subject.claim()
    subject.store.end_claim(KEY)
    await subject.written()
    assert not await subject.is_claimed()
    async with asyncio.timeout(30):
        while not await subject.claim():  # noqa: ASYNC110 - it expires in the server within a millisecond
            await asyncio.sleep(0)
    assert await subject.is_claimed()


async def test_no_time_left_is_no_claim(subject: Subject) -> None:
    assert not await subject.store.claim(KEY, Deadline.after(0))
    assert await subject.get() is None
    await subject.claim()
    assert not await subject.store.is_claimed(KEY, Deadline.after(0))
