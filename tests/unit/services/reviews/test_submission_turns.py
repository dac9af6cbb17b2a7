"""Random histories of submissions, checked against the rules of the queue."""

import asyncio
from collections import Counter
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from anchore_admission.core.names import AnalysisRequest
from anchore_admission.services.reviews.recent import Key
from anchore_admission.services.reviews.submission_turns import MOST_LINES, QUICK_SECONDS, SubmissionTurns
from support.fakes import ManualClock

NAMESPACES = ["a", "b", "c", "d", None]
KEYS: list[Key] = [
    ("default", AnalysisRequest(f"registry{registry}.example.com/app:{tag}"))
    for registry in range(5)
    for tag in range(6)
]
STEPS = st.tuples(
    st.sampled_from(["want", "want", "want", "end", "end", "pause", "resume", "pass", "cancel"]),
    st.integers(0, len(KEYS) - 1),
    st.integers(0, len(NAMESPACES) - 1),
)


def queue(workers: int = 3, places: int = 1000) -> SubmissionTurns:
    return SubmissionTurns(workers, places, ManualClock())


async def test_many_namespaces_that_want_one_image_take_bounded_room() -> None:
    turns = queue()
    turns.put(KEYS[0], "shop")
    for number in range(100):
        assert turns.join(KEYS[0], f"shop{number}")

    assert len(turns) == 1
    assert len(turns._lines) == MOST_LINES
    assert await turns.get() == KEYS[0]
    assert len(turns._lines) == 1


async def test_names_of_registries_take_bounded_room() -> None:
    turns = queue()
    for number in range(2000):
        key = ("default", AnalysisRequest(f"registry{number}.example.com/app:1"))
        turns.put(key, "shop")
        assert await turns.get() == key
        turns.end(key, pauses=False)

    assert len(turns._quick) == 1000


def test_image_that_a_flood_wants_too_keeps_its_place_in_the_other_line() -> None:
    turns = queue(places=5)
    for key in KEYS[:5]:
        assert turns.put(key, "flood") == []
    turns.join(KEYS[4], "shop")

    assert turns.put(KEYS[5], "other") == [KEYS[3]]
    assert turns.put(KEYS[6], "other") == [KEYS[2]]
    assert turns.has_room("shop") is False
    assert turns.join(KEYS[4], "shop")


async def test_image_counts_for_every_namespace_again_after_a_pause() -> None:
    turns = queue(workers=2)
    turns.put(KEYS[0], "flood")
    assert await turns.get() == KEYS[0]
    assert not turns.join(KEYS[0], "shop"), "it is under way"
    turns.end(KEYS[0], pauses=True)
    assert {*turns._lines} == {"flood", "shop"}
    turns.put(KEYS[1], "flood")
    assert await turns.get() == KEYS[1]
    turns.resume(KEYS[0])

    assert await turns.get() == KEYS[0]


class World:
    """Workers that take submissions from the queue, and end when the history says so."""

    def __init__(self, workers: int, places: int) -> None:
        self.clock = ManualClock()
        self.turns = SubmissionTurns(workers, places, self.clock)
        self.places = places
        self.ends: dict[Key, asyncio.Future[bool]] = {}
        """The submissions under way; True pauses one."""
        self.paused: list[Key] = []
        self.begun: Counter[Key] = Counter()
        self.wanted: Counter[Key] = Counter()
        self.quick: dict[str, bool] = {}
        self.passed_over: dict[str | None, Counter[str | None]] = {}
        """Of each namespace that could begin at once, the others that began before it."""
        self.workers = [asyncio.create_task(self.work()) for _ in range(workers)]

    async def work(self) -> None:
        while True:
            key = await self.turns.get()
            self.began(key)
            end = self.ends[key] = asyncio.get_running_loop().create_future()
            began, pauses, is_cancelled = self.clock(), True, True
            try:
                pauses = await end
                is_cancelled = False
            finally:
                del self.ends[key]
                self.quick[host(key)] = self.clock() - began <= QUICK_SECONDS
                self.turns.end(key, pauses=pauses)
                if is_cancelled:
                    self.turns.resume(key)
                elif pauses:
                    self.paused.append(key)

    def began(self, key: Key) -> None:
        assert key not in self.ends
        self.begun[key] += 1
        holder = self.holders()[key]
        held, free = Counter(self.holders().values())[holder], len(self.workers) - len(self.turns._under_way)
        assert held <= free + 1, "as many stay free as a namespace held before its last"
        self.passed_over.pop(holder, None)
        for counts in self.passed_over.values():
            counts[holder] += 1
            assert counts[holder] == 1, "every other namespace has one turn first, at most"

    async def step(self, what: str, number: int, other: int) -> None:
        if what == "want":
            self.want(KEYS[number], NAMESPACES[other])
        elif what in {"end", "pause"} and self.ends:
            [*self.ends.values()][number % len(self.ends)].set_result(what == "pause")
        elif what == "resume" and self.paused:
            self.turns.resume(self.paused.pop(number % len(self.paused)))
        elif what == "pass":
            self.clock.now += number / 3
        elif what == "cancel":
            place = number % len(self.workers)
            self.workers[place].cancel()
            with suppress(asyncio.CancelledError):
                await self.workers[place]
            self.workers[place] = asyncio.create_task(self.work())
        for _ in range(5 + 3 * len(self.workers)):
            await asyncio.sleep(0)
        self.check()

    def want(self, key: Key, namespace: str | None) -> None:
        if key in self.turns._tickets:
            self.turns.join(key, namespace)
            return
        before = self.lengths()
        if not self.turns.has_room(namespace):
            assert before[namespace] + 1 >= max(before.values()), "a flood takes no room from a shorter line"
            return
        self.wanted[key] += 1
        dropped = self.turns.put(key, namespace)
        before[namespace] += 1
        after = self.lengths()
        for loser in [name for name in before if after[name] < before[name]]:
            assert after[loser] + 1 >= max(after.values()), "only the longest line loses"
        for lost in dropped:
            self.wanted[lost] -= 1
            if lost in self.paused:
                self.paused.remove(lost)

    def check(self) -> None:
        """Check that no worker is free that a submission could have, and note who is next."""
        free = len(self.workers) - len(self.ends)
        holders = self.holders()
        held = Counter(holders.values())
        doubtful = Counter(holders[key] for key in self.ends if not self.was_quick(host(key)))
        slow = sum(self.was_quick(host(key)) is False for key in self.ends)
        assert len(self.turns) <= self.places + len(self.workers)
        assert held.total() == len(self.ends) == sum(line.held for line in self.turns._lines.values())
        for namespace, line in self.turns._lines.items():
            for key in [ticket.key for ticket in line.tickets if not ticket.pauses]:
                was_quick = self.was_quick(host(key))
                may_begin = was_quick or (
                    doubtful[namespace] < max(1, len(self.workers) // 4)
                    and (was_quick is None or slow < max(1, len(self.workers) - 1))
                )
                assert not (may_begin and held[namespace] < free), "a worker is free for it"
                if not held[namespace] and was_quick is not False:
                    assert not free, "a namespace that holds no worker gets any"
                    self.passed_over.setdefault(namespace, Counter())
        for namespace in [*self.passed_over]:
            if not self.is_unhindered(namespace, held):
                del self.passed_over[namespace]

    def is_unhindered(self, namespace: str | None, held: Counter[str | None]) -> bool:
        line = self.turns._lines.get(namespace)
        waiting = [ticket.key for ticket in line.tickets if not ticket.pauses] if line else []
        return not held[namespace] and any(self.was_quick(host(key)) is not False for key in waiting)

    def was_quick(self, registry: str) -> bool | None:
        late = [ticket for ticket in self.turns._under_way if self.clock() - ticket.began > QUICK_SECONDS]
        return False if registry in [host(ticket.key) for ticket in late] else self.quick.get(registry)

    def holders(self) -> dict[Key, str | None]:
        return {ticket.key: ticket.holder.namespace for ticket in self.turns._under_way if ticket.holder}

    def lengths(self) -> Counter[str | None]:
        return Counter({name: len(line.tickets) for name, line in self.turns._lines.items()})

    async def finish(self) -> None:
        """End everything; each step frees a worker or begins a submission."""
        for _ in range(10 * len(KEYS)):
            await self.step("resume", 0, 0)
            await self.step("end", 0, 0)
        for worker in self.workers:
            worker.cancel()
        await asyncio.gather(*self.workers, return_exceptions=True)


def host(key: Key) -> str:
    return key[1].full_tag.partition("/")[0]


@given(workers=st.integers(1, 6), places=st.integers(1, 15), steps=st.lists(STEPS, min_size=10, max_size=120))
def test_every_history_keeps_the_rules_and_ends_with_nothing_held(
    workers: int, places: int, steps: list[tuple[str, int, int]]
) -> None:
    async def run() -> None:
        world = World(workers, places)
        for step in steps:
            await world.step(*step)
        await world.finish()

        assert all(world.begun[key] >= count for key, count in world.wanted.items()), "nothing starves"
        assert (world.turns._lines, world.turns._tickets, world.turns._under_way) == ({}, {}, {})

    asyncio.run(run())
