"""The program with an Anchore in its own process that responds at once, so that a review costs only our own code.

Every image is analyzed and passes the policy. Run it as ``anchore-admission`` itself: ``instant.py serve …``.
"""

from typing import Any

from anchore_admission.cli.main import run
from anchore_admission.core.facts import AnalysisState, ImageRecord, PolicyEvaluation, PolicyVersion, TagRow
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.ports.anchore import Anchore
from anchore_admission.ports.deadline import Deadline
from anchore_admission.wiring import controller

DIGEST = "sha256:" + "a" * 64


class InstantAnchore(Anchore):
    """One account of an Anchore that holds every image and needs no network."""

    async def by_tag(self, full_tag: str, deadline: Deadline) -> ImageRecord | None:  # noqa: ARG002
        return ImageRecord(DIGEST, AnalysisState.ANALYZED, (TagRow(full_tag, "2026-01-01T00:00:00Z"),))

    async def by_digest(self, digest: str, deadline: Deadline) -> ImageRecord | None:  # noqa: ARG002
        return ImageRecord(digest, AnalysisState.ANALYZED)

    async def check(
        self,
        digest: str,  # noqa: ARG002
        full_tag: str,  # noqa: ARG002
        policy: str | None,
        deadline: Deadline,  # noqa: ARG002
    ) -> PolicyEvaluation | AnalysisState:
        return PolicyEvaluation(passed=True, policy=policy or "active", selectors=())

    async def submit(self, request: AnalysisRequest, deadline: Deadline) -> ImageRecord:
        record = await self.by_tag(request.full_tag, deadline)
        assert record
        return record

    async def policies(self, deadline: Deadline) -> tuple[PolicyVersion, ...]:  # noqa: ARG002
        return (PolicyVersion("active", True, "2026-01-01T00:00:00Z"),)

    async def aclose(self) -> None:
        """Close nothing."""


def connect(*_: Any, **__: Any) -> InstantAnchore:
    return InstantAnchore()


if __name__ == "__main__":
    controller.connect = connect  # type: ignore[assignment, attr-defined]
    run()
