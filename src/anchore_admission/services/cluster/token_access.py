"""Decide by their tokens whom to answer: the API server verifies each token, and its verdict counts for a minute."""

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final

from anchore_admission.errors import ClusterError
from anchore_admission.ports.deadline import Clock
from anchore_admission.ports.tokens import TokenReviewer
from anchore_admission.services.cluster.verification_budget import VerificationBudget
from anchore_admission.throttled import Throttled

GRANTED_SECONDS: Final = 60.0
"""Seconds for which an accepted token needs no other verification; a deleted ServiceAccount is refused after them."""
DENIED_SECONDS: Final = 10.0
FAILED_SECONDS: Final = 1.0
"""Seconds for which a failed verification counts, so that requests do not add to an API server's trouble."""
KNOWN_SECONDS: Final = 900.0
"""Seconds for which an accepted token may be verified again before the tokens of strangers."""
REMEMBERED: Final = 512
"""The most tokens that are remembered of those that were accepted, and as many of the others."""
LONGEST_TOKEN: Final = 16 * 1024

logger = logging.getLogger("anchore_admission.facts")


class Access(StrEnum):
    """The decision on a token."""

    GRANTED = "granted"
    DENIED = "denied"
    """It is not valid, or not for this audience."""
    FORBIDDEN = "forbidden"
    """It is valid, but belongs to a user who is not on the list."""
    UNKNOWN = "unknown"
    """The API server could not be asked."""


_LIFETIMES: Final = {
    Access.GRANTED: GRANTED_SECONDS,
    Access.DENIED: DENIED_SECONDS,
    Access.FORBIDDEN: DENIED_SECONDS,
    Access.UNKNOWN: FAILED_SECONDS,
}


@dataclass(frozen=True, slots=True)
class _Decision:
    access: Access
    at: float


class TokenAccess:
    """Accepts tokens of these users for one audience. Tokens are remembered by their hashes only."""

    def __init__(self, reviewer: TokenReviewer, audience: str, users: frozenset[str], clock: Clock) -> None:
        self._reviewer = reviewer
        self._audience = audience
        self._users = users
        self._clock = clock
        self._warnings = Throttled(logger, clock)
        self._granted: OrderedDict[bytes, _Decision] = OrderedDict()
        self._others: OrderedDict[bytes, _Decision] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Task[Access]] = {}
        self._budget = VerificationBudget(clock())

    async def of(self, token: bytes, address: str) -> Access:
        """Return the decision on a token that a client with this address sends.

        Never raises; what cannot be verified is not accepted.
        """
        if not 0 < len(token) <= LONGEST_TOKEN or not token.isascii():
            return Access.DENIED
        key, now = sha256(token).digest(), self._clock()
        for decisions in (self._others, self._granted):
            found = decisions.get(key)
            if found and now - found.at < _LIFETIMES[found.access]:
                return found.access
        task = self._under_way.get(key)
        if task is None:
            if not self._may_ask(key, address, now):
                self._warnings.warn(
                    "limit",
                    "not all tokens of callers that ask for facts are verified: there are too many new ones; those "
                    "callers get 503",
                )
                return Access.UNKNOWN
            task = self._under_way[key] = asyncio.create_task(self._verified(key, token.decode()))
        # A caller that hangs up ends its own wait only: others may wait for the same token.
        access = await asyncio.shield(task)
        if access is Access.GRANTED:
            self._budget.accepted(address, self._clock())
        return access

    def _may_ask(self, key: bytes, address: str, now: float) -> bool:
        """Return whether one more token may be verified; one that was accepted lately always may."""
        known = self._granted.get(key)
        if known and now - known.at < KNOWN_SECONDS:
            return True
        return self._budget.takes_one(address, now)

    async def _verified(self, key: bytes, token: str) -> Access:
        access = Access.UNKNOWN
        try:
            owner = await self._reviewer.review(token, self._audience)
            # An API server that does not know audiences confirms none: the token may be meant for anyone.
            if owner.user and self._audience in owner.audiences:
                access = Access.GRANTED if owner.user in self._users else Access.FORBIDDEN
            else:
                access = Access.DENIED
        except ClusterError as error:
            # Strangers cause verifications, and each failure may have a text of its own.
            self._warnings.warn(
                error.code,
                f"cannot verify the token of a caller that asks for facts: {error}; it gets 503",
                even_if_changed=False,
            )
        except Exception:
            logger.exception("verifying the token of a caller failed unexpectedly")
        finally:
            del self._under_way[key]
        self._remember(key, _Decision(access, self._clock()))
        return access

    def _remember(self, key: bytes, decision: _Decision) -> None:
        granted = decision.access is Access.GRANTED
        if granted:
            self._others.pop(key, None)
        elif decision.access is not Access.UNKNOWN:
            self._granted.pop(key, None)
        decisions = self._granted if granted else self._others
        decisions[key] = decision
        decisions.move_to_end(key)
        if len(decisions) > REMEMBERED:
            decisions.popitem(last=False)
