"""The room that the bodies of all requests share."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Message

from anchore_admission.errors import BodyTimeout, Overloaded, ReviewTooLarge
from anchore_admission.web import bodies
from anchore_admission.web.bodies import KEPT, SMALL, Bodies, Received
from anchore_admission.web.body import Disconnected
from support.fakes import ManualClock, settled

MIB = 1024 * 1024
LIMIT = 16 * MIB
ROOM = 40 * MIB
"""30 MiB of it for large bodies."""


class Sender:
    """A client that sends a body in parts, when the test says so."""

    def __init__(self, room: Bodies, length: int | None = None, *, patience: float = 60.0) -> None:
        self._messages = asyncio.Queue[Message]()
        self.received: Received | None = None
        self.let_go = asyncio.Event()
        self.first_sent = asyncio.Event()
        self._scope = {"headers": [(b"content-length", b"%d" % length)] if length is not None else []}
        self.task = asyncio.create_task(self._read(room, patience))

    def send(self, size: int, *, more: bool = True) -> None:
        self._messages.put_nowait({"type": "http.request", "body": b"x" * size, "more_body": more})

    def go_away(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})

    async def _read(self, room: Bodies, patience: float) -> Received:
        first = await self._messages.get()
        async with room.read(self._scope, self._messages.get, first, LIMIT, patience) as received:
            self.received = received
            await self.let_go.wait()
        return received

    @property
    def size(self) -> int:
        assert self.received
        assert self.received.missing is None
        return len(self.received.content)


async def whole(room: Bodies, size: int, **options: Any) -> Sender:
    sender = Sender(room, size, **options)
    sender.send(size, more=False)
    await settled()
    return sender


async def held(room: Bodies, size: int) -> Sender:
    """A body of which all but the last byte has come."""
    sender = Sender(room, size)
    sender.send(size - 1)
    await settled()
    return sender


@pytest.fixture
async def room() -> Bodies:
    return Bodies(ROOM)


@pytest.mark.parametrize("length", [True, False], ids=["with its length", "chunked"])
@pytest.mark.parametrize("size", [1, SMALL, SMALL + 1, MIB, LIMIT])
async def test_a_body_is_read_whole(size: int, length: bool, room: Bodies) -> None:
    sender = Sender(room, size if length else None)
    for start in range(0, size, MIB):
        sender.send(min(MIB, size - start), more=start + MIB < size)
    await settled()
    assert sender.size == size


@pytest.mark.parametrize("length", [LIMIT + 1, None, LIMIT * 100], ids=["with its length", "chunked", "endless"])
async def test_of_one_that_is_too_large_the_first_part_is_kept(length: int | None, room: Bodies) -> None:
    sender = Sender(room, length)
    for _ in range(17):
        sender.send(MIB)
    sender.send(1, more=False)
    await settled()
    assert sender.received
    assert isinstance(sender.received.missing, ReviewTooLarge)
    assert len(sender.received.content) == bodies.START


async def test_large_ones_wait_in_order_and_small_ones_overtake(room: Bodies) -> None:
    first, second = await held(room, 12 * MIB), await held(room, 12 * MIB)
    waiting = [await whole(room, 12 * MIB), await whole(room, MIB)]
    small = await whole(room, SMALL)
    assert (small.size, [sender.received for sender in waiting]) == (SMALL, [None, None])
    first.send(1, more=False)
    await settled()
    assert first.size == 12 * MIB
    assert [sender.size for sender in waiting] == [12 * MIB, MIB]
    second.go_away()
    with pytest.raises(Disconnected):
        await second.task


async def test_the_memory_of_a_review_counts_until_it_ends(room: Bodies) -> None:
    senders = [await whole(room, 12 * MIB) for _ in range(9)]
    assert sum(1 for sender in senders if sender.received) == 5  # 5 x 4 MiB, and no room for another 12
    for sender in senders:
        sender.let_go.set()
    await asyncio.gather(*(sender.task for sender in senders))
    assert KEPT == 4 * MIB
    again = await whole(room, LIMIT)
    assert again.size == LIMIT


@pytest.mark.parametrize("end", [Sender.go_away, lambda sender: sender.task.cancel()], ids=["gone", "cancelled"])
async def test_a_client_that_disconnects_leaves_room(end: Callable[[Sender], None], room: Bodies) -> None:
    for _ in range(5):
        sender = await held(room, LIMIT)
        end(sender)
        await asyncio.wait({sender.task})
        assert sender.task.cancelled() or isinstance(sender.task.exception(), Disconnected)
    assert (await whole(room, LIMIT)).size == LIMIT


async def test_without_room_in_time_the_first_part_is_kept(room: Bodies) -> None:
    holders = [await held(room, 14 * MIB), await held(room, 14 * MIB)]
    sender = Sender(room, LIMIT, patience=0.0)
    sender.send(LIMIT, more=False)
    await asyncio.wait({sender.task}, timeout=0)
    await settled()
    assert sender.received
    assert isinstance(sender.received.missing, Overloaded)
    assert len(sender.received.content) == SMALL
    for holder in holders:
        holder.send(1, more=False)
        await settled()
        assert holder.size == 14 * MIB


async def test_only_so_many_wait(room: Bodies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "LONGEST_QUEUE", 1)
    for _ in range(2):
        await held(room, 14 * MIB)
    senders = [await whole(room, LIMIT) for _ in range(2)]
    assert senders[0].received is None
    assert senders[1].received
    assert isinstance(senders[1].received.missing, Overloaded)


async def test_the_slowest_of_those_that_have_stalled_makes_room(room: Bodies) -> None:
    clock = ManualClock.of_loop()
    slow, slower = Sender(room, 14 * MIB), Sender(room, 14 * MIB)
    slow.send(SMALL * 3)
    slower.send(SMALL * 2)
    await settled()
    clock.now += bodies.STALLED_SECONDS
    waiting = await whole(room, LIMIT)
    assert waiting.size == LIMIT
    with pytest.raises(BodyTimeout):
        await slower.task
    assert not slow.task.done()


async def test_several_that_wait_make_one_that_has_stalled_give_up_once(room: Bodies) -> None:
    """Its task notices a few turns of the loop later, in which the others look as well."""
    clock = ManualClock.of_loop()
    stalled = Sender(room, LIMIT)
    stalled.send(SMALL * 2)
    await settled()
    clock.now += bodies.STALLED_SECONDS
    waiting = []
    for _ in range(6):
        waiting.append(Sender(room, LIMIT))
        waiting[-1].send(LIMIT, more=False)
        await asyncio.sleep(0)
    await settled()
    assert isinstance(stalled.task.exception(), BodyTimeout)
    assert [sender.task.done() for sender in waiting] == [False] * 6
    assert waiting[0].size == LIMIT


async def test_one_that_makes_progress_keeps_its_room(room: Bodies) -> None:
    clock = ManualClock.of_loop()
    for _ in range(2):
        await held(room, 14 * MIB)
    clock.now += bodies.STALLED_SECONDS
    assert (await whole(room, LIMIT)).received is None


async def test_of_small_ones_only_so_many_are_waited_for(room: Bodies) -> None:
    senders = []
    for number in range(ROOM // 4 // SMALL + 3):
        senders.append(Sender(room))
        senders[-1].send(1000 + number)
        await settled()
    await settled()
    given_up = [sender for sender in senders if sender.task.done()]
    assert len(given_up) == 3
    for sender in given_up:
        assert isinstance(sender.task.exception(), BodyTimeout)


async def test_newcomers_of_one_moment_drop_a_small_one_each(room: Bodies) -> None:
    small = [Sender(room) for _ in range(ROOM // 4 // SMALL)]
    for number, sender in enumerate(small):
        sender.send(1000 + number)
    await settled()
    newcomers = [Sender(room) for _ in range(3)]
    for sender in newcomers:
        sender.send(SMALL)
        await asyncio.sleep(0)
    await settled()
    assert [sender.task.done() for sender in newcomers] == [False] * 3
    given_up = [sender.task.exception() for sender in small if sender.task.done()]
    assert [type(error) for error in given_up] == [BodyTimeout] * 3


@pytest.mark.parametrize("length", [b"", b"x", b"-1", b"9" * 5000])
async def test_a_length_that_makes_no_sense_does_no_harm(length: bytes, room: Bodies) -> None:
    messages = asyncio.Queue[Message]()
    messages.put_nowait({"type": "http.request", "body": b"x" * MIB, "more_body": False})
    scope = {"headers": [(b"content-length", length)]}
    async with room.read(scope, messages.get, await messages.get(), LIMIT, 1.0) as received:
        assert len(received.content) in {MIB, bodies.START}


async def test_the_decoded_size_of_a_small_body_takes_room(room: Bodies) -> None:
    async with room.room(29 * MIB, 60.0) as has_room:
        assert has_room
        waiting = await whole(room, 2 * MIB)
        assert waiting.received is None
    await settled()
    assert waiting.size == 2 * MIB


async def test_room_that_does_not_come_in_time_is_not_held(room: Bodies) -> None:
    async with room.room(14 * MIB, 0.0), room.room(100 * MIB, 0.0) as has_room:
        assert not has_room
    async with room.room(100 * MIB, 0.0) as has_room:
        assert has_room


async def test_the_decoded_size_of_a_large_body_keeps_others_waiting(room: Bodies) -> None:
    first = await whole(room, MIB)
    assert first.received
    first.received.hold(30 * MIB)
    waiting = await whole(room, MIB)
    assert waiting.received is None
    first.let_go.set()
    await settled()
    assert waiting.size == MIB
