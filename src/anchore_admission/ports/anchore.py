"""The port to Anchore."""

from typing import Protocol

from msgspec import Struct

from anchore_admission.core.facts import AnalysisState, ImageRecord, PolicyEvaluation, PolicyVersion
from anchore_admission.core.hints import Events
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.ports.deadline import Deadline


class Identity(Struct, frozen=True):
    """The identity of an account: its answers depend on nothing else but the question.

    ``fingerprint`` stands for the endpoint, the user and the account that the calls act in, and for the parts of a
    response that are kept; replicas of the same configuration have the same. ``generation`` counts the changes of the
    credentials in this process.
    """

    fingerprint: str
    generation: int = 0


class Anchore(Protocol):
    """One account of one Anchore. Every call raises an EvaluationError if the facts cannot be learned.

    Contract: ``tests/contract/adapters/anchore/test_port.py`` holds every implementation to it.
    """

    @property
    def identity(self) -> Identity:
        """The identity of the account now. Never raises, and never waits."""

    async def by_tag(self, full_tag: str, deadline: Deadline) -> ImageRecord | None:
        """Return the newest active record that carries the full tag; None if Anchore surely holds none."""

    async def by_digest(self, digest: str, deadline: Deadline) -> ImageRecord | None:
        """Return the active record of a platform digest or a manifest list's digest; its own digest may differ."""

    async def check(
        self, digest: str, full_tag: str, policy: str | None, deadline: Deadline
    ) -> PolicyEvaluation | AnalysisState:
        """Evaluate a policy (None: the active one), or return the state of an image that cannot be evaluated."""

    async def submit(self, request: AnalysisRequest, deadline: Deadline) -> ImageRecord:
        """Submit an image for analysis. The record's digest is that of the tag now. Raises AnalysisRefused."""

    async def policies(self, deadline: Deadline) -> tuple[PolicyVersion, ...]:
        """List the account's policies without their rules; at most one of them is active."""

    async def events(self, since: str, deadline: Deadline) -> Events:
        """List the newest events that can change a verdict, after ``since`` of an earlier result; empty: any."""


class AnchoreAccounts(Protocol):
    """The accounts of the configuration, by name."""

    def __getitem__(self, account: str, /) -> Anchore: ...
