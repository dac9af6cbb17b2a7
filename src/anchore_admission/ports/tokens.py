"""The tokens that callers send with their requests, and the API server that verifies them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """The API server's verdict on a token: its user (empty: it is not valid), and those asked for it is meant for."""

    user: str
    audiences: Sequence[str] = ()


class TokenReviewer(Protocol):
    """An API server that verifies tokens. Contract: ``tests/contract/adapters/test_token_port.py``."""

    async def review(self, token: str, audience: str) -> TokenOwner:
        """Verify a token for an audience. Raises a ClusterError."""
