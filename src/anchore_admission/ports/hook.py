"""The port to another policy engine, which decides on a whole review once Anchore's facts are known."""

from typing import Protocol

from anchore_admission.core.hook import HookDecision
from anchore_admission.ports.deadline import Deadline


class DecisionHook(Protocol):
    """A policy engine that is asked once for each review.

    Contract: ``tests/contract/adapters/test_hook_port.py`` holds every implementation to it.
    """

    @property
    def name(self) -> str:
        """The path of the policy, which begins its messages and the audit annotation."""

    async def decide(self, document: bytes, deadline: Deadline) -> HookDecision:
        """Return the decision on a document, which is the AdmissionReview with our members added, as JSON.

        Anything but a decision in the expected form is an error; no answer is ever read as "no objection".

        Raises:
            HookUnavailable: no connection, a timeout, a failed call.
            HookUndefined: the path has no value, because the policy is not loaded or has no rule ``deny``.
            HookInvalid: the answer has another form.
            HookFailed: the policy fails on this document, or says more about it than is read.
            DeadlineExceeded: the deadline has passed.
        """

    async def aclose(self) -> None:
        """Close the connections."""
