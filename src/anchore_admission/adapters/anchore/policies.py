"""The list of an account's policies: their IDs, which of them is active, and when each was changed last."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, Field

from anchore_admission.core.facts import PolicyVersion
from anchore_admission.errors import AnchoreResponseTooLarge

LARGEST_LIST = 1024 * 1024
"""Bytes of the largest list that is read. A policy takes about 250, since its rules are not requested."""
_MOST = 2000


PolicyId = Annotated[str, Field(min_length=1, max_length=1000)]


class PolicyRow(BaseModel):
    """One policy under the names of API v2; v1 adds its own name as an alias."""

    policy_id: PolicyId
    active: bool | None = None
    last_updated: Annotated[str, Field(max_length=100)] | None = None


def policy_versions(rows: Sequence[PolicyRow]) -> tuple[PolicyVersion, ...]:
    """Convert the rows, in Anchore's order. Raises AnchoreResponseTooLarge."""
    if len(rows) > _MOST:
        raise AnchoreResponseTooLarge(f"Anchore lists more than {_MOST} policies")
    # The time stays as Anchore wrote it: it is only ever compared with another one of the same policy.
    return tuple(PolicyVersion(row.policy_id, bool(row.active), row.last_updated or "") for row in rows)
