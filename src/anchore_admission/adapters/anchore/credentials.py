"""Who asks Anchore: a user or an API key."""

from base64 import b64encode
from dataclasses import dataclass
from typing import Protocol

from pydantic import SecretStr

_API_KEY_USER = "_api_key"  # every API key of Anchore Enterprise has this user name


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and its password. Fixed credentials are their own source."""

    username: str
    password: SecretStr

    @classmethod
    def api_key(cls, key: SecretStr) -> "Credentials":
        return cls(_API_KEY_USER, key)

    def current(self) -> "Credentials":
        return self

    def authorization(self) -> str:
        """The value of the Authorization header."""
        pair = f"{self.username}:{self.password.get_secret_value()}"
        return f"Basic {b64encode(pair.encode()).decode()}"


class CredentialSource(Protocol):
    """Credentials that may change while the process runs, because mounted secrets rotate."""

    def current(self) -> Credentials:
        """Asked before every call, so it must be cheap; the same object as long as nothing changed.

        Raises an EvaluationError when they cannot be read.
        """
