"""The port to a store that replicas share: what one of them has learned from Anchore, the others need not ask."""

from dataclasses import dataclass
from typing import Final, Protocol

from anchore_admission.core.answers import Value
from anchore_admission.ports.deadline import Deadline

SKEW_SECONDS: Final = 1.0
"""Seconds that the clock of the replica that asked may be ahead of ours."""
CLAIM_SECONDS: Final = 2.0
"""Seconds for which a claim counts. It ends by itself, so that a replica that is gone holds up no one."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer of Anchore and its age: ``asked_at`` is when the question began, in Unix seconds."""

    value: Value
    asked_at: float


class FactStore(Protocol):
    """A store of answers that may be lost at any time: whatever it lacks is asked of Anchore.

    A key is any text that holds everything the answer depends on. Only final answers belong here, analyzed records and
    evaluations: "unknown" and "pending" would spread to replicas that could find out.

    Contract: ``tests/contract/adapters/test_store_port.py`` holds every implementation to it.
    """

    async def get(self, key: str, deadline: Deadline) -> StoredAnswer | None:
        """Return the answer stored under the key; None if there is none, or the store does not respond at once.

        Never raises an error of the store. Takes at most a small part of the time that the deadline leaves.
        """

    async def claim(self, key: str, deadline: Deadline) -> bool:
        """Announce to the other replicas that this one asks Anchore; return whether none has announced it before.

        A claim only saves calls: False also if the store does not respond at once. Errors and time as in ``get``.
        """

    async def is_claimed(self, key: str, deadline: Deadline) -> bool:
        """Return whether a replica has claimed the question, less than ``CLAIM_SECONDS`` ago. Never raises, as ``get``.

        Together with a ``get`` in the same turn of the event loop it takes one round trip.
        """

    def end_claim(self, key: str) -> None:
        """Queue the end of our claim, behind the answer if there is one: others need not wait any longer."""

    def put(self, key: str, answer: StoredAnswer) -> None:
        """Queue an answer to be stored. Returns at once; the answer is dropped if the queue is full."""

    async def run(self) -> None:
        """Connect and write queued answers, until cancelled."""

    async def aclose(self) -> None:
        """Close the connections."""
