"""The memory of Anchore's answers, as the product composes it, over any accounts and clock."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from anchore_admission.core.freshness import Lifetimes
from anchore_admission.ports.anchore import Anchore
from anchore_admission.ports.deadline import Clock
from anchore_admission.ports.store import FactStore
from anchore_admission.ports.telemetry import Recorder
from anchore_admission.services.reviews.gate import Gate
from anchore_admission.services.reviews.memory import Account, Memory
from anchore_admission.services.reviews.policy_versions import PolicyVersions
from anchore_admission.services.reviews.remembered import Remembered
from anchore_admission.services.reviews.shared_answers import SharedAnswers

BOOT = 1_700_000_000.0
"""Unix time at which the clock of a test would show 0."""
FORGETFUL = Lifetimes(0, 0, 0, 0, 0, 0)
"""Nothing is remembered: each review asks anew."""


def memory_over(
    accounts: Mapping[str, Anchore],
    recorder: Recorder,
    *,
    lifetimes: Lifetimes = FORGETFUL,
    bounds: tuple[int, int] = (10_000, 10_000_000),
    concurrency: int = 32,
    policy_interval: float = 0.0,
    store: FactStore | None = None,
    clock: Clock = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Memory:
    """Build a memory; ``bounds`` are the most answers and bytes. Policies are not followed by default."""
    known: dict[str, Account] = {}
    for name, anchore in accounts.items():
        gate = Gate(name, concurrency, recorder, clock)
        policies = PolicyVersions(name, anchore, policy_interval, clock=clock, report_outage=gate.confirm, sleep=sleep)
        known[name] = Account(anchore, gate, policies)
    remembered = Remembered(*bounds)
    shared = SharedAnswers(store, lifetimes, recorder, clock=clock, wall_clock=lambda: clock() + BOOT, sleep=sleep)
    return Memory(known, remembered, lifetimes, recorder, shared=shared, clock=clock)
