import logging
from pathlib import Path

import pytest

from anchore_admission.adapters.anchore.credentials import FileCredentials
from anchore_admission.errors import AnchoreRefused, ConfigurationError
from anchore_admission.files import SECRET_LIMIT

LOGGER = "anchore_admission.watched"


class MountedSecret:
    """A Secret volume as the kubelet writes it: every version in a directory, swapped by one symbolic link."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.username = root / "username"
        self.password = root / "password"
        self._version = 0

    def write(self, **contents: str) -> None:
        self._version += 1
        version = self.root / f"..version-{self._version}"
        version.mkdir(parents=True)
        for name, content in contents.items():
            (version / name).write_text(content)
            if not (self.root / name).is_symlink():
                (self.root / name).symlink_to(Path("..data") / name)
        fresh = self.root / "..data_tmp"
        fresh.symlink_to(version.name)
        fresh.replace(self.root / "..data")

    def source(self, *, wait_until_valid: bool = False) -> FileCredentials:
        return FileCredentials.user(self.username, self.password, wait_until_valid=wait_until_valid)


@pytest.fixture
def secret(tmp_path: Path) -> MountedSecret:
    secret = MountedSecret(tmp_path / "credentials")
    secret.write(username="admin\n", password="first\n")
    return secret


def password(source: FileCredentials) -> str:
    return source.current().password.get_secret_value()


def test_the_newline_at_the_end_is_no_part_of_a_secret(secret: MountedSecret) -> None:
    credentials = secret.source().current()
    assert (credentials.username, credentials.password.get_secret_value()) == ("admin", "first")


def test_spaces_are_part_of_a_secret(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(" a key \r\n")
    credentials = FileCredentials.api_key(key).current()
    assert (credentials.username, credentials.password.get_secret_value()) == ("_api_key", " a key ")


def test_unchanged_files_give_the_same_object(secret: MountedSecret) -> None:
    source = secret.source()
    first = source.current()
    source.watched.refresh()
    assert source.current() is first


def test_touched_files_with_the_same_content_give_the_same_object(secret: MountedSecret) -> None:
    source = secret.source()
    first = source.current()
    secret.write(username="admin", password="first")
    source.watched.refresh()
    assert source.current() is first


def test_a_rotated_secret_is_used_after_the_next_refresh(
    secret: MountedSecret, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    source = secret.source()
    secret.write(username="admin", password="second")
    assert password(source) == "first"
    source.watched.refresh()
    assert password(source) == "second"
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "second" not in caplog.text


@pytest.mark.parametrize("broken", [{"username": "admin"}, {"username": "admin", "password": "\n"}])
def test_the_last_valid_credentials_stay_while_the_files_are_invalid(
    broken: dict[str, str], secret: MountedSecret, caplog: pytest.LogCaptureFixture
) -> None:
    source = secret.source()
    secret.write(**broken)
    source.watched.refresh()
    assert password(source) == "first"
    assert source.watched.is_unusable()
    (message,) = caplog.messages
    assert message.startswith(f"invalid credentials: {secret.password}: ")
    assert message.endswith("; the last valid version stays in use")
    secret.write(username="admin", password="second")
    source.watched.refresh()
    assert password(source) == "second"
    assert not source.watched.is_unusable()


def test_a_review_reads_no_file(secret: MountedSecret) -> None:
    source = secret.source()
    secret.write()
    assert password(source) == "first"
    assert not source.watched.is_unusable()


def test_a_user_name_never_meets_the_password_of_another_version(
    secret: MountedSecret, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Secret is swapped after the user name was read and before the password is."""
    source = secret.source()
    secret.write(username="second-user", password="second")
    open_file = Path.open

    def swap_first(path: Path, mode: str = "r") -> object:
        if path == secret.password:
            monkeypatch.undo()
            secret.write(username="third-user", password="third")
        return open_file(path, mode)

    monkeypatch.setattr(Path, "open", swap_first)
    source.watched.refresh()
    third = source.current()
    assert (third.username, third.password.get_secret_value()) == ("third-user", "third")


def test_every_invalid_file_is_listed_at_the_start(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("")
    with pytest.raises(ConfigurationError) as caught:
        FileCredentials.user(tmp_path / "missing", empty)
    missing, void = map(str, caught.value.problems)
    assert missing == f"{tmp_path}/missing: cannot be read: No such file or directory"
    assert void == f"{empty}: is empty"


def test_a_user_name_with_a_colon_is_named_by_its_file(secret: MountedSecret) -> None:
    secret.write(username="admin:x", password="first")
    with pytest.raises(ConfigurationError) as caught:
        secret.source()
    (problem,) = caught.value.problems
    assert str(problem) == f"{secret.username}: holds a colon, which ends the name in Basic credentials"


@pytest.mark.parametrize("broken", ["\n", "x" * (SECRET_LIMIT + 1)])
def test_invalid_contents_are_waited_for(broken: str, secret: MountedSecret, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    secret.write(username="admin", password=broken)
    source = secret.source(wait_until_valid=True)
    with pytest.raises(AnchoreRefused, match="there are no credentials for Anchore yet"):
        source.current()
    assert (source.watched.is_ready(), source.watched.is_unusable()) == (False, True)
    secret.write(username="admin", password="first")
    source.watched.refresh()
    assert (source.watched.is_ready(), source.watched.is_unusable()) == (True, False)
    assert password(source) == "first"
    invalid, in_use = caplog.messages
    assert invalid.startswith(f"invalid credentials: {secret.password}: ")
    assert invalid.endswith("; not ready until this is fixed")
    assert in_use == f"credentials in use: {secret.username}, {secret.password}"


def test_missing_files_are_not_waited_for(secret: MountedSecret) -> None:
    secret.write(username="")
    with pytest.raises(ConfigurationError) as caught:
        secret.source(wait_until_valid=True)
    assert [str(problem) for problem in caught.value.problems] == [
        f"{secret.username}: is empty",
        f"{secret.password}: cannot be read: No such file or directory",
    ]


@pytest.mark.parametrize("kept", [{}, {"username": "admin"}])
def test_keys_that_a_mounted_secret_does_not_hold_yet_are_waited_for(
    kept: dict[str, str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    secret = MountedSecret(tmp_path / "credentials")
    secret.write(**kept)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == secret.root)
    source = secret.source(wait_until_valid=True)
    (said,) = caplog.messages
    missing = f"does not exist: create the Secret or ConfigMap that is mounted at {secret.root}, with the key"
    problems = [f"{secret.root / key}: {missing} {key}" for key in ("username", "password") if key not in kept]
    assert said == f"invalid credentials: {'; '.join(problems)}; not ready until this is fixed"
    assert (source.watched.is_ready(), source.watched.is_unusable()) == (False, True)

    secret.write(username="admin", password="first")
    source.watched.refresh()
    assert password(source) == "first"
    assert not source.watched.is_unusable()


def test_a_deleted_secret_leaves_the_last_valid_credentials_in_use(
    secret: MountedSecret, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kubelet empties the volume of an optional Secret."""
    monkeypatch.setattr(Path, "is_mount", lambda path: path == secret.root)
    source = secret.source(wait_until_valid=True)
    secret.write()
    source.watched.refresh()
    assert password(source) == "first"
    assert source.watched.is_unusable()
    assert caplog.messages[-1].startswith(f"invalid credentials: {secret.username}: does not exist: ")


def test_the_root_file_system_brings_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda path: path == Path("/"))
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        FileCredentials.api_key(Path("/no-such-file"), wait_until_valid=True)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"x" * (SECRET_LIMIT + 1), "is larger than 65536 bytes"),
        (b"\xff", "is not UTF-8 text: byte 0xff in line 1"),
    ],
)
def test_a_file_that_is_no_secret_is_rejected(content: bytes, why: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(content)
    with pytest.raises(ConfigurationError, match=why):
        FileCredentials.api_key(key)
