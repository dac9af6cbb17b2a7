"""Run the soak test: ``make soak SECONDS=60``. It fails if a verdict is wrong, an answer late, or anything leaks."""

import argparse
import asyncio
import contextlib
import random
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from bench.load import fetch
from bench.processes import Server, controller, cpu_seconds, free_port, open_sockets, resident_mb
from bench.soak.anchore import REFUSALS, Fault, FaultyAnchore, Weather
from bench.soak.drive import POLICIES, RULES, Driver, Fleet, Tally, change
from bench.soak.model import Lifetimes, Model, Troubles
from bench.soak.report import CALLS, ENTRIES, MEMORY, QUEUE, Run, Size, Watch, report, run_problems
from bench.soak.truth import Truth
from bench.store import Store, new_store

LIFETIMES = Lifetimes(passed=4, failed=1, pending=1, unknown=1, tag=1.5, outage=12, submission=6)
"""Short enough for a run of a minute to reach the end of each."""
POLICY_INTERVAL = 5
WARM_UP = 0.25
"""The part of the run after which memory and sockets are measured for the first time."""
QUIET_SECONDS = 12.0
"""How long nothing happens at the end: longer than idle connections to Anchore are kept."""
SHOWN = 20
_OPERATIONS: Sequence[frozenset[str]] = (frozenset(), frozenset(), frozenset({"check"}), frozenset({"by_tag"}))


def configuration(anchore: int, store: Store | None) -> dict[str, object]:
    """Return the controller's configuration: a rule for each namespace, and short lifetimes."""
    rules = [
        {
            "name": namespace,
            "match": {"namespaces": [namespace]},
            "mode": rule.mode,
            "policy": rule.policy,
            "onError": rule.on_error,
            "enforcement": rule.enforcement,
        }
        for namespace, rule in RULES.items()
    ]
    return {
        "anchore": {"endpoint": f"http://127.0.0.1:{anchore}", "apiVersion": "v1"},
        "rules": rules,
        "memory": {
            "pass": LIFETIMES.passed,
            "fail": LIFETIMES.failed,
            "pending": LIFETIMES.pending,
            "unknown": LIFETIMES.unknown,
            "tag": LIFETIMES.tag,
            "outage": LIFETIMES.outage,
            "policyInterval": POLICY_INTERVAL,
            "entries": ENTRIES,
        },
        "tags": {"refreshInterval": LIFETIMES.submission / 2},
        "timeouts": {"connect": 0.5, "read": 1.5, "margin": 0.2},
        "lookups": {"concurrency": CALLS},
        "submissions": {"queueSize": QUEUE},
        "passive": {"wait": 0.3},
        "sharedStore": store.section if store else None,
    }


async def storms(anchore: FaultyAnchore, draw: random.Random, stopped: asyncio.Event) -> None:
    """Alternate calm weather and faults of every kind; now and then an outage outlasts all answers."""
    kinds: list[Fault] = []
    number = 0
    while not stopped.is_set():
        await _sleep(draw.uniform(1, 4), stopped)
        number += 1
        if number % 8 == 5:
            await anchore.suffer(Weather(draw.choice((Fault.REFUSED, Fault.HANG, Fault.BUSY))), LIFETIMES.outage + 3)
            continue
        if not kinds:
            kinds = draw.sample([*Fault], len(Fault))
        kind = kinds.pop()
        if kind in REFUSALS:  # long enough to tell an answer that stands in for Anchore from one that is still fresh
            await anchore.suffer(Weather(kind), LIFETIMES.outage)
            continue
        weather = Weather(kind, draw.choice((0.1, 0.5, 1.0)), draw.choice(_OPERATIONS))
        await anchore.suffer(weather, draw.uniform(0.5, 3))


async def forget(servers: Sequence[Server], model: Model, draw: random.Random, stopped: asyncio.Event) -> None:
    """Let every replica forget all answers now and then."""
    while not stopped.is_set():
        await _sleep(draw.uniform(5, 20), stopped)
        began = model.truth.clock()
        for server in servers:
            status, _ = await fetch(server.operations, "/forget", "POST")
            assert status == 200, status
        model.forgotten.append((began, model.truth.clock()))


async def store_storms(store: Store, draw: random.Random, stopped: asyncio.Event) -> None:
    """Freeze the shared store now and then, or let it be down for a while, which also empties it."""
    while not stopped.is_set():
        async with store.up():
            for _ in range(3):
                await _sleep(draw.uniform(2, 8), stopped)
                store.freeze()
                await _sleep(draw.uniform(0.1, 3), stopped)
                store.thaw()
            await _sleep(draw.uniform(2, 8), stopped)
        await _sleep(draw.uniform(0.1, 3), stopped)


async def _sleep(seconds: float, stopped: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopped.wait()


async def metrics(server: Server) -> dict[str, float]:
    """Return the controller's metrics; the samples of one name are added up."""
    _, body = await fetch(server.operations, "/metrics")
    found: dict[str, float] = {}
    for line in body.decode().splitlines():
        if line.startswith("anchore_admission_"):
            name, _, value = line.rpartition(" ")
            name = name.partition("{")[0]
            found[name] = found.get(name, 0.0) + float(value)
    return found


async def watch(servers: Sequence[Server], watched: Watch, model: Model, stopped: asyncio.Event) -> None:
    """Look at what must stay bounded once a second, and drop what no verdict can rest on any more."""
    while not stopped.is_set():
        await _sleep(1, stopped)
        for server in servers:
            watched.see(MEMORY, resident_mb(server.pid))
            for name, value in (await metrics(server)).items():
                watched.see(name, value)
        before = model.truth.clock() - LIFETIMES.outage - 60
        model.truth.forget(before)
        model.troubles.forget(before)


async def soak(options: argparse.Namespace) -> int:
    """Run the test and return the exit code."""
    draw = random.Random(options.seed)  # noqa: S311 - repeatable on purpose
    truth = Truth(time.monotonic, POLICIES, verdict=lambda: draw.random() < 0.8)
    fleet, tally, watched = Fleet(truth, draw), Tally(), Watch()
    is_alone = options.replicas == 1
    model = Model(truth, Troubles(has_one_breaker=is_alone), LIFETIMES, follows_polls=is_alone)
    anchore = FaultyAnchore(truth, model.troubles, draw, free_port())
    stopped = asyncio.Event()
    async with AsyncExitStack() as stack:
        log = Path(stack.enter_context(TemporaryDirectory()), "controller.log") if options.log is None else options.log
        await anchore.start()
        stack.push_async_callback(anchore.stop)
        store = stack.enter_context(new_store()) if options.store else None
        servers = [
            await stack.enter_async_context(controller(configuration(anchore.port, store), output=log))
            for _ in range(options.replicas)
        ]
        cpu = sum(cpu_seconds(server.pid) for server in servers)
        async with asyncio.TaskGroup() as tasks:
            for n in range(options.connections):
                port = servers[n % len(servers)].port
                tasks.create_task(Driver(port, fleet, model, tally, draw).run(stopped))
            tasks.create_task(change(truth, fleet, draw, stopped))
            tasks.create_task(watch(servers, watched, model, stopped))
            tasks.create_task(forget(servers, model, draw, stopped))
            if store:
                tasks.create_task(store_storms(store, draw, stopped))
            if not options.calm:
                tasks.create_task(storms(anchore, draw, stopped))
            await asyncio.sleep(options.seconds * WARM_UP)
            warm = [Size(resident_mb(server.pid), open_sockets(server.pid)) for server in servers]
            await asyncio.sleep(options.seconds * (1 - WARM_UP))
            stopped.set()
        cpu = sum(cpu_seconds(server.pid) for server in servers) - cpu
        await asyncio.sleep(QUIET_SECONDS)
        end = [Size(resident_mb(server.pid), open_sockets(server.pid)) for server in servers]
        idle = [await metrics(server) for server in servers]
    run = Run(tally, anchore, model, watched, options.seconds, options.connections, cpu, warm, end, idle)
    print(f"soak: seed {options.seed}, {options.seconds:g} s, {options.replicas} replicas")
    print("\n".join(report(run)))
    problems = list(run_problems(run))
    print("\n".join(f"WRONG: {problem}" for problem in problems[:SHOWN]))
    if problems:
        print(f"{len(problems)} problems; run again with SEED={options.seed}", file=sys.stderr)
    return 1 if problems else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--connections", type=int, default=24)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--store", action="store_true", help="share a real Redis or Valkey server, which fails, too")
    parser.add_argument("--calm", action="store_true", help="without faults")
    parser.add_argument("--log", type=Path, help="keep the controller's log in this file")
    sys.exit(uvloop.run(soak(parser.parse_args())))


if __name__ == "__main__":
    main()
