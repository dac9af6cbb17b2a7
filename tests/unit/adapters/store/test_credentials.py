"""The password of the shared store: read for each connection, and kept out of the log."""

import base64
from pathlib import Path

import pytest

from anchore_admission.adapters.store.credentials import StoreCredentials
from anchore_admission.redaction import REDACTED, redacted

USER, PASSWORD = "gate", "correct-horse-battery"


def credentials(folder: Path, *, user: bool) -> StoreCredentials:
    (folder / "username").write_text(USER)
    (folder / "password").write_text(PASSWORD)
    username = folder / "username" if user else None
    return StoreCredentials("shared store", folder / "password", username, until_valid="it is not used")


@pytest.mark.parametrize(("user", "expected"), [(True, (USER, PASSWORD)), (False, (PASSWORD,))])
async def test_a_new_connection_logs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, user: bool, expected: tuple[str, ...]
) -> None:
    """The server decides how many connections there are."""
    assert await credentials(tmp_path, user=user).get_credentials_async() == expected
    assert caplog.messages == []


@pytest.mark.parametrize("user", [True, False])
def test_a_server_that_repeats_the_password_in_base64_does_not_reveal_it(tmp_path: Path, user: bool) -> None:
    credentials(tmp_path, user=user)
    for echo in (PASSWORD, *([f"{USER}:{PASSWORD}"] if user else [])):
        assert redacted(f"ERR {base64.b64encode(echo.encode()).decode().rstrip('=')}") == f"ERR {REDACTED}"
