"""User and password of the shared store, from mounted files that may change."""

from pathlib import Path

from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError

from anchore_admission.files import is_readable, read_secret_text, read_together
from anchore_admission.redaction import pair_forms, remember
from anchore_admission.watched import Watched


class StoreCredentials(CredentialProvider):
    """Credentials for a new connection. Raises ConfigurationError if a file can never become readable."""

    def __init__(self, owner: str, password: Path, username: Path | None, *, until_valid: str) -> None:
        self._owner = owner
        self._paths = [path for path in (username, password) if path]
        self.watched = Watched(
            f"credentials of the {owner}",
            lambda: tuple(read_together(self._paths, read_secret_text)),
            source=", ".join(map(str, self._paths)),
            use=self._use,
            until_valid=until_valid,
        )
        self.watched.start(wait_until_valid=all(map(is_readable, self._paths)))

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """Return the arguments of AUTH: the password, with the user name before it if there is one."""
        found = self.watched.value
        if found is None:
            raise RedisConnectionError("there are no credentials yet")
        return (found[0], found[1]) if len(found) > 1 else (found[0],)

    def _use(self, found: tuple[str, ...]) -> None:
        remember(self._owner, pair_forms(found[0] if len(found) > 1 else "", found[-1]))
