"""Anchore, as the services need it."""

from typing import Protocol

from anchore_admission.core.facts import AnalysisState, ImageRecord, PolicyEvaluation
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.ports.deadline import Deadline


class Anchore(Protocol):
    """One account of one Anchore. Every call raises an EvaluationError when it cannot tell.

    Contract: ``tests/contract/adapters/anchore/test_port.py`` holds every implementation to it.
    """

    async def by_tag(self, full_tag: str, deadline: Deadline) -> ImageRecord | None:
        """The newest active record that carries the full tag; None when Anchore surely holds none."""

    async def by_digest(self, digest: str, deadline: Deadline) -> ImageRecord | None:
        """The active record of a platform digest or a manifest list's digest; its own digest may differ."""

    async def check(
        self, digest: str, full_tag: str, policy: str | None, deadline: Deadline
    ) -> PolicyEvaluation | AnalysisState:
        """Evaluate a policy (None: the active one), or say in which state the image is that cannot be evaluated."""

    async def submit(self, request: AnalysisRequest, deadline: Deadline) -> ImageRecord:
        """Ask for analysis. The record's digest is what the tag points to now. Raises AnalysisRefused."""


class AnchoreAccounts(Protocol):
    """The accounts of the configuration, by name."""

    def __getitem__(self, account: str, /) -> Anchore: ...
