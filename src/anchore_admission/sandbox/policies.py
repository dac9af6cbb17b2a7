"""The policies of an account."""

from dataclasses import dataclass, field

from anchore_admission.sandbox.policy_models import Document, Policy
from anchore_admission.sandbox.responses import AnchoreError

DEFAULT_ID = "2c53a13c-1765-11e8-82ef-23527761d060"
MAX_POLICIES = 1_000


@dataclass(slots=True)
class StoredPolicy:
    """One policy of an account, with the document it was read from under v2's names."""

    policy: Policy
    document: Document
    created_at: float
    updated_at: float
    source: str = "local"


@dataclass(slots=True)
class Policies:
    """The policies of one account; at most one is active."""

    stored: dict[str, StoredPolicy] = field(default_factory=dict)
    active_id: str | None = None

    def get(self, policy_id: str) -> StoredPolicy:
        if policy_id not in self.stored:
            raise AnchoreError(404, f"Policy bundle {policy_id} not found in DB")
        return self.stored[policy_id]

    def put(self, policy: Policy, document: Document, now: float, *, active: bool = False) -> StoredPolicy:
        known = self.stored.get(policy.id)
        if known is None and len(self.stored) >= MAX_POLICIES:
            raise AnchoreError(400, f"the sandbox holds at most {MAX_POLICIES} policies per account")
        created_at = known.created_at if known else now
        self.stored[policy.id] = StoredPolicy(policy, document, created_at, now)
        if active:
            # Anchore writes every policy whose flag changes.
            if self.active_id not in {None, policy.id}:
                self.stored[self.active_id].updated_at = now
            self.active_id = policy.id
        return self.stored[policy.id]

    def delete(self, policy_id: str) -> None:
        self.get(policy_id)
        if policy_id == self.active_id:
            message = "cannot delete an active policy - activate a different policy then delete this one"
            raise AnchoreError(500, message)
        del self.stored[policy_id]
