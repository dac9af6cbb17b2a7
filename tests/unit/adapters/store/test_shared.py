"""The shared store over a client in memory: batches, bounds, queue and breaker."""

import asyncio
import logging
from dataclasses import replace

import pytest

from anchore_admission.adapters.store.breaker import FAILURES, SUSPENDED_SECONDS
from anchore_admission.adapters.store.sealing import SealKeys
from anchore_admission.core.facts import Finding, PolicyEvaluation
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.store import CLAIM_SECONDS, StoredAnswer
from anchore_admission.ports.telemetry import StoreOutcome, StorePut
from anchore_admission.redaction import remember
from anchore_admission.throttled import REPEAT_SECONDS
from support.fakes import ManualClock, settled
from support.stores import LIFETIME, NOW, PASSED, RECORD, FakeClient, Stage

ANSWER = StoredAnswer(RECORD, NOW - 1)
SUSPENDED = StoreOutcome.SUSPENDED


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def stage(client: FakeClient) -> Stage:
    return Stage(client)


async def fail(stage: Stage, client: FakeClient, times: int = FAILURES) -> None:
    client.error = OSError("refused")
    for _ in range(times):
        assert await stage.get() is None


async def claim(stage: Stage, key: str = "key") -> bool:
    return await stage.store.claim(key, Deadline.after(600))


async def is_claimed(stage: Stage, key: str = "key") -> bool:
    return await stage.store.is_claimed(key, Deadline.after(600))


async def test_gets_of_one_turn_are_one_command(stage: Stage, client: FakeClient) -> None:
    async with stage.running():
        for number in range(4):
            stage.store.put(str(number), replace(ANSWER, asked_at=NOW - number))
        await stage.written()
        found = await asyncio.gather(*(stage.get(str(number)) for number in range(5)))
    assert [answer and answer.asked_at for answer in found] == [NOW, NOW - 1, NOW - 2, NOW - 3, None]
    assert [len(keys) for keys in client.reads] == [5]
    assert stage.recorder.store_lookups == [StoreOutcome.HIT] * 4 + [StoreOutcome.MISS]


async def test_many_gets_share_few_commands(client: FakeClient) -> None:
    stage = Stage(client, timeout=30)  # a busy machine may take long to begin three hundred tasks
    client.hanging = asyncio.Event()
    waiting = [asyncio.create_task(stage.get(str(number))) for number in range(300)]
    await settled()
    assert [len(keys) for keys in client.reads] == [32] * 4
    client.hanging.set()
    await asyncio.gather(*waiting)
    assert sum(len(keys) for keys in client.reads) == 300


async def test_a_get_that_was_given_up_is_not_sent(stage: Stage, client: FakeClient) -> None:
    given_up, kept = (asyncio.create_task(stage.get(key)) for key in ("a", "b"))
    await asyncio.sleep(0)
    given_up.cancel()
    await kept
    assert [len(keys) for keys in client.reads] == [1]


async def test_cancelling_one_get_leaves_the_others_of_its_batch_alone(stage: Stage, client: FakeClient) -> None:
    client.hanging = asyncio.Event()
    cancelled, kept = (asyncio.create_task(stage.get(key)) for key in ("a", "b"))
    await settled()
    cancelled.cancel()
    await settled()
    client.hanging.set()
    assert await kept is None
    assert stage.recorder.store_lookups == [StoreOutcome.MISS]


@pytest.mark.parametrize(("left", "bound"), [(10.0, 0.05), (0.2, 0.02), (0.0, 0.0)])
async def test_a_get_takes_a_small_part_of_the_time_left(
    stage: Stage, client: FakeClient, left: float, bound: float
) -> None:
    clock = ManualClock.of_loop()
    client.hanging = asyncio.Event()
    get = asyncio.create_task(stage.store.get("key", Deadline.after(left, clock)))
    await settled()
    await clock.advance(bound + 0.0001)  # then follows the grace for a busy loop
    await clock.advance(0.0051)
    assert get.done()
    assert await get is None
    assert stage.recorder.store_lookups == [StoreOutcome.ERROR]
    client.hanging.set()


async def test_a_response_that_waited_for_a_busy_loop_counts(stage: Stage, client: FakeClient) -> None:
    clock = ManualClock.of_loop()
    client.hanging = asyncio.Event()
    get = asyncio.create_task(stage.get())
    await settled()
    clock.now += 1.0  # the loop was busy; meanwhile, the response has arrived
    client.hanging.set()
    await get
    assert stage.recorder.store_lookups == [StoreOutcome.MISS]


async def test_other_prefixes_clusters_and_keys_do_not_meet(client: FakeClient) -> None:
    one = Stage(client)
    async with one.running():
        one.store.put("key", ANSWER)
        await one.written()
        assert await one.get("other") is None
        assert await Stage(client, prefix="other").get() is None
        assert await one.get() == ANSWER
    (name,) = client.entries
    assert name.startswith("anchore-admission:a/b:")


async def test_an_entry_moved_by_the_server_is_refused_and_logged_rarely(
    stage: Stage, client: FakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage.running():
        stage.store.put("key", ANSWER)
        await stage.written()
        await stage.get("other")
        client.entries[client.reads[-1][0]] = next(iter(client.entries.values()))
        for _ in range(5):
            assert await stage.get("other") is None
        assert stage.recorder.store_lookups[1:] == [StoreOutcome.INVALID] * 5
        assert await stage.get() == ANSWER
        assert len(caplog.messages) == 1
        await stage.clock.advance(REPEAT_SECONDS)
        assert await stage.get("other") is None
    assert len(caplog.messages) == 2


async def test_an_expired_entry_is_a_miss_of_its_own_kind(stage: Stage, client: FakeClient) -> None:
    async with stage.running():
        stage.store.put("key", ANSWER)
        await stage.written()
        await stage.clock.advance(LIFETIME)
        assert await stage.get() is None
    assert stage.recorder.store_lookups == [StoreOutcome.EXPIRED]


async def test_an_entry_lives_as_long_as_its_answer_counts(stage: Stage, client: FakeClient) -> None:
    async with stage.running():
        stage.store.put("key", replace(ANSWER, asked_at=NOW - 100))
        await stage.written()
    assert client.lives == [int((LIFETIME - 100) * 1000)]


@pytest.mark.parametrize(
    "answer",
    [
        StoredAnswer(None, NOW),
        replace(ANSWER, asked_at=NOW + 2),
        replace(ANSWER, asked_at=NOW - LIFETIME),
        StoredAnswer(PolicyEvaluation(False, "p", findings=(Finding("g", "t", "i", "m" * 100),) * 700), NOW),
    ],
    ids=["unknown", "of the future", "too old", "too large"],
)
async def test_an_answer_that_is_no_use_to_others_is_dropped(stage: Stage, answer: StoredAnswer) -> None:
    stage.store.put("key", answer)
    assert stage.recorder.store_puts == [StorePut.DROPPED]
    assert not stage.store._puts


async def test_the_queue_is_bounded_in_entries(stage: Stage) -> None:
    for number in range(1010):
        stage.store.put(str(number), ANSWER)
    assert stage.recorder.store_puts == [StorePut.DROPPED] * 10


async def test_the_queue_is_bounded_in_bytes(stage: Stage) -> None:
    findings = tuple(Finding("g", "t", f"CVE-{number}", "m" * 900) for number in range(50))
    for number in range(100):
        stage.store.put(str(number), StoredAnswer(PolicyEvaluation(False, "p", findings=findings), NOW))
    assert 10 < len(stage.recorder.store_puts) < 50
    assert stage.store._queued_bytes <= 4 * 1024 * 1024


async def test_a_write_that_fails_loses_only_its_entry(
    stage: Stage, client: FakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage.running():
        client.error = OSError("out of memory")
        for number in range(5):
            stage.store.put(str(number), ANSWER)
        await stage.written()
        client.error = None
        stage.store.put("key", ANSWER)
        await stage.written()
        assert await stage.get() == ANSWER
    assert stage.recorder.store_puts == [StorePut.ERROR] * 5 + [StorePut.STORED]
    assert caplog.messages == ["cannot write to the shared store: OSError out of memory; other replicas ask Anchore"]


async def test_an_entry_that_expired_in_the_queue_is_not_written(stage: Stage, client: FakeClient) -> None:
    stage.store.put("key", ANSWER)
    await stage.clock.advance(LIFETIME)
    async with stage.running():
        await stage.written()
    assert stage.recorder.store_puts == [StorePut.DROPPED]
    assert client.entries == {}


async def test_a_failing_store_is_left_alone_and_probed(
    stage: Stage, client: FakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage.running():
        stage.store.put("key", ANSWER)
        await stage.written()
        await fail(stage, client)
        assert await stage.get() is None
        assert len(client.reads) == FAILURES
        assert stage.recorder.store_lookups == [StoreOutcome.ERROR] * FAILURES + [SUSPENDED]
        await stage.clock.advance(SUSPENDED_SECONDS)
        assert len(client.reads) == FAILURES + 1  # one probe, which fails
        assert await stage.get() is None
        client.error = None
        await stage.clock.advance(SUSPENDED_SECONDS)
        assert client.disconnects == 2  # each probe connects anew
        assert await stage.get() == ANSWER
    why = "OSError refused; Anchore is asked until it does"
    assert caplog.messages == [f"the shared store does not respond: {why}"]


async def test_an_outage_that_comes_and_goes_is_logged_every_five_minutes(
    stage: Stage, client: FakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage.running():
        for number in range(10):
            client.error = OSError(f"another reason {number}")
            for _ in range(FAILURES):
                await stage.get()
            client.error = None
            await stage.clock.advance(SUSPENDED_SECONDS)
            assert await stage.get() is None
    assert len(caplog.messages) == 1


async def test_a_success_between_failures_keeps_the_store_in_use(stage: Stage, client: FakeClient) -> None:
    for _ in range(5):
        await fail(stage, client, FAILURES - 1)
        client.error = None
        await stage.get()
    assert SUSPENDED not in stage.recorder.store_lookups


async def test_slow_responses_suspend_the_store_although_they_arrive(stage: Stage, client: FakeClient) -> None:
    clock = ManualClock.of_loop()
    for _ in range(FAILURES):
        client.hanging = asyncio.Event()
        get = asyncio.create_task(stage.get())
        await settled()
        for _ in range(2):
            clock.now += 0.051
            await settled()
        client.hanging.set()
        await get
    await stage.get()
    assert stage.recorder.store_lookups == [StoreOutcome.ERROR] * FAILURES + [SUSPENDED]


async def test_answers_wait_while_the_store_is_suspended(stage: Stage, client: FakeClient) -> None:
    async with stage.running():
        await fail(stage, client)
        stage.store.put("key", ANSWER)
        await settled()
        assert stage.recorder.store_puts == []
        client.error = None
        await stage.clock.advance(SUSPENDED_SECONDS)
        assert stage.recorder.store_puts == [StorePut.STORED]


async def test_without_a_seal_key_the_store_is_not_used(client: FakeClient) -> None:
    stage = Stage(client, keys=None)
    stage.store.put("key", ANSWER)
    assert await stage.get() is None
    assert client.reads == []
    assert stage.recorder.store_lookups == [SUSPENDED]
    assert stage.recorder.store_puts == [StorePut.DROPPED]


async def test_a_rotation_of_the_seal_key_loses_nothing(client: FakeClient) -> None:
    stage = Stage(client, keys=SealKeys.of(b"1" * 32))
    async with stage.running():
        stage.store.put("key", ANSWER)
        await stage.written()
        stage.keys = SealKeys.of(b"2" * 32, b"1" * 32)
        assert await stage.get() == ANSWER
        stage.keys = SealKeys.of(b"2" * 32)
        assert await stage.get() is None
    assert stage.recorder.store_lookups == [StoreOutcome.HIT, StoreOutcome.INVALID]


async def test_an_error_is_described_in_one_short_line_without_the_password(
    stage: Stage, client: FakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    remember("shared store", ["hunter2-and-more"])
    client.error = OSError("AUTH hunter2-and-more\nnext\x1b[31m" + "x" * 1000)
    for _ in range(FAILURES):
        await stage.get()
    (message,) = caplog.messages
    assert message.isprintable()
    assert "hunter2" not in message
    assert len(message) < 400


async def test_a_client_that_swallows_a_cancellation_does_not_keep_a_stopping_replica(
    stage: Stage, client: FakeClient
) -> None:
    client.swallows_cancellation = True
    async with stage.running():
        client.hanging = asyncio.Event()
        stage.store.put("key", ANSWER)
        await settled()
    assert stage.recorder.store_puts == [StorePut.STORED]
    async with stage.running():
        client.hanging = None
        await fail(stage, client)
        client.hanging, client.error = asyncio.Event(), None
        await stage.clock.advance(SUSPENDED_SECONDS)
    assert len(client.reads) == FAILURES + 1


async def test_closing_ends_a_command_that_hangs(stage: Stage, client: FakeClient) -> None:
    client.hanging = asyncio.Event()
    get = asyncio.create_task(stage.get())
    await settled()
    await stage.store.aclose()
    assert client.disconnects == 1
    get.cancel()
    with pytest.raises(asyncio.CancelledError):
        await get


async def test_evaluations_are_stored_too(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with stage.running():
        stage.store.put("key", StoredAnswer(PASSED, NOW))
        await stage.written()
        found = await stage.get()
    assert found is not None
    assert repr(found.value) == repr(PASSED)
    assert caplog.messages == []


# Claims


async def test_claims_of_one_turn_are_one_command(stage: Stage, client: FakeClient) -> None:
    assert await asyncio.gather(*(claim(stage, str(number)) for number in range(4))) == [True] * 4
    other = Stage(client)
    assert await asyncio.gather(*(claim(other, str(number)) for number in range(5))) == [False] * 4 + [True]
    assert [len(keys) for keys in client.adds] == [4, 5]
    assert client.lives == [CLAIM_SECONDS * 1000] * 5


async def test_a_claim_and_the_answer_are_read_with_one_command(stage: Stage, client: FakeClient) -> None:
    await claim(stage)
    found, is_ours = await asyncio.gather(stage.get(), is_claimed(stage))
    assert (found, is_ours) == (None, True)
    assert [len(keys) for keys in client.reads] == [2]


async def test_a_claim_ends_although_it_is_kept_or_put_back(stage: Stage, client: FakeClient) -> None:
    await claim(stage)
    await stage.clock.advance(CLAIM_SECONDS - 0.1)
    assert await is_claimed(stage)
    await stage.clock.advance(0.1)
    assert not await is_claimed(stage)
    assert stage.recorder.store_lookups == []


async def test_a_claim_that_was_ended_is_none_although_it_is_still_there(stage: Stage, client: FakeClient) -> None:
    async with stage.running():
        await claim(stage)
        stage.store.end_claim("key")
        await stage.written()
        assert not await is_claimed(stage)
    assert client.lives == [CLAIM_SECONDS * 1000, 1]
    assert list(client.entries.values()) == [b""]
    assert stage.recorder.store_lookups == [], "it is not taken for a forged one"


@pytest.mark.parametrize("forged", ["moved", "an answer", "of the future", "garbage"])
async def test_a_claim_that_is_not_sealed_with_our_key_is_ignored(
    stage: Stage, client: FakeClient, forged: str
) -> None:
    async with stage.running():
        await claim(stage)
        (name,) = client.entries
        if forged == "moved":
            await claim(stage, "other")
            client.entries[name] = client.entries.popitem()[1]
        elif forged == "an answer":
            stage.store.put("key", ANSWER)
            await stage.written()
            client.entries[name] = client.entries.popitem()[1]
        elif forged == "of the future":
            stage.clock.now -= 1.1
        else:
            client.entries[name] = b"x" * 57
        assert not await is_claimed(stage)
        assert not await claim(stage), "it is not overwritten"
    assert stage.recorder.store_lookups == [StoreOutcome.INVALID]


async def test_a_claim_is_no_answer(stage: Stage, client: FakeClient) -> None:
    async with stage.running():
        stage.store.put("key", ANSWER)
        await stage.written()
        (name,) = client.entries
        await claim(stage)
        client.entries[name] = client.entries.popitem()[1]
        assert await stage.get() is None
    assert stage.recorder.store_lookups == [StoreOutcome.INVALID]


async def test_a_store_that_does_not_respond_is_not_asked_for_claims(stage: Stage, client: FakeClient) -> None:
    await claim(stage)
    await fail(stage, client, 1)
    client.error = None
    assert (await claim(stage, "other"), await is_claimed(stage)) == (False, False)
    assert (len(client.adds), len(client.reads)) == (1, 1)
    await stage.get()
    assert (await claim(stage, "other"), await is_claimed(stage)) == (True, True)


async def test_there_are_no_claims_while_the_store_is_suspended(stage: Stage, client: FakeClient) -> None:
    await fail(stage, client)
    client.error = None
    assert (await claim(stage), await is_claimed(stage)) == (False, False)
    stage = Stage(client, keys=None)
    assert (await claim(stage), await is_claimed(stage)) == (False, False)
    assert (client.adds, len(client.reads)) == ([], FAILURES)


async def test_a_store_that_only_rejects_writes_is_still_read(
    stage: Stage, client: FakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage.running():
        stage.store.put("key", ANSWER)
        await stage.written()
        for number in range(FAILURES + 1):
            client.error = OSError("out of memory")
            assert not await claim(stage, str(number))
            client.error = None
            assert await stage.get() == ANSWER
    assert caplog.messages == ["cannot write to the shared store: OSError out of memory; other replicas ask Anchore"]


@pytest.mark.parametrize(("left", "bound"), [(10.0, 0.05), (0.2, 0.02), (0.0, 0.0)])
@pytest.mark.parametrize("operation", ["claim", "is_claimed"])
async def test_a_claim_takes_a_small_part_of_the_time_left(
    stage: Stage, client: FakeClient, operation: str, left: float, bound: float
) -> None:
    clock = ManualClock.of_loop()
    client.hanging = asyncio.Event()
    claiming = asyncio.create_task(getattr(stage.store, operation)("key", Deadline.after(left, clock)))
    await settled()
    await clock.advance(bound + 0.0001)  # then follows the grace for a busy loop
    await clock.advance(0.0051)
    assert claiming.done()
    assert not await claiming
    client.hanging.set()


async def test_a_lookup_without_time_tells_nothing_about_the_store(stage: Stage, client: FakeClient) -> None:
    assert await stage.store.get("key", Deadline.after(0)) is None
    assert await claim(stage), "a claim is not worth it only where the store has not responded"
    assert client.reads == []
