import logging
from pathlib import Path

import pytest

from anchore_admission.adapters.files import AGAIN_SECONDS, CHECK_EVERY, SECRET_LIMIT, FileCredentials, read_text
from anchore_admission.errors import AnchoreRefused, ConfigurationError

LOGGER = "anchore_admission.files"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def tick(self) -> None:
        self.now += CHECK_EVERY


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

    def source(self, clock: Clock, *, wait_until_valid: bool = False) -> FileCredentials:
        return FileCredentials.user(self.username, self.password, clock, wait_until_valid=wait_until_valid)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def secret(tmp_path: Path) -> MountedSecret:
    secret = MountedSecret(tmp_path / "credentials")
    secret.write(username="admin\n", password="first\n")
    return secret


def password(source: FileCredentials) -> str:
    return source.current().password.get_secret_value()


def test_the_newline_at_the_end_is_no_part_of_a_secret(secret: MountedSecret, clock: Clock) -> None:
    credentials = secret.source(clock).current()
    assert (credentials.username, credentials.password.get_secret_value()) == ("admin", "first")


def test_spaces_are_part_of_a_secret(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(" a key \r\n")
    credentials = FileCredentials.api_key(key).current()
    assert (credentials.username, credentials.password.get_secret_value()) == ("_api_key", " a key ")


def test_unchanged_files_give_the_same_object(secret: MountedSecret, clock: Clock) -> None:
    source = secret.source(clock)
    first = source.current()
    clock.tick()
    assert source.current() is first


def test_touched_files_with_the_same_content_give_the_same_object(secret: MountedSecret, clock: Clock) -> None:
    source = secret.source(clock)
    first = source.current()
    secret.write(username="admin", password="first")
    clock.tick()
    assert source.current() is first


def test_a_rotated_secret_is_used_at_the_next_look(
    secret: MountedSecret, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    source = secret.source(clock)
    secret.write(username="admin", password="second")
    assert password(source) == "first"
    clock.tick()
    assert password(source) == "second"
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "second" not in caplog.text


@pytest.mark.parametrize("broken", [{"username": "admin"}, {"username": "admin", "password": "\n"}])
def test_the_last_good_credentials_stay_while_the_files_are_broken(
    broken: dict[str, str], secret: MountedSecret, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    source = secret.source(clock)
    secret.write(**broken)
    for _ in range(3):
        clock.tick()
        assert password(source) == "first"
        assert source.is_unusable()
    (message,) = caplog.messages
    assert message.startswith(f"the last good credentials stay in use: {secret.password}: ")
    clock.now += AGAIN_SECONDS
    source.refresh()
    assert caplog.messages == [message] * 2
    secret.write(username="admin", password="second")
    clock.tick()
    assert password(source) == "second"
    assert not source.is_unusable()


def test_a_second_breakage_is_told_again(secret: MountedSecret, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    source = secret.source(clock)
    for content in ("", "first", ""):
        secret.write(username="admin", password=content)
        clock.tick()
        source.current()
    assert len(caplog.records) == 2


def test_a_user_name_never_meets_the_password_of_another_version(
    secret: MountedSecret, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Secret is swapped after the user name was read and before the password is."""
    source = secret.source(clock)
    secret.write(username="second-user", password="second")
    clock.tick()
    open_file = Path.open

    def swap_first(path: Path, mode: str = "r") -> object:
        if path == secret.password:
            monkeypatch.undo()
            secret.write(username="third-user", password="third")
        return open_file(path, mode)

    monkeypatch.setattr(Path, "open", swap_first)
    assert source.current().username == "admin"
    clock.tick()
    third = source.current()
    assert (third.username, third.password.get_secret_value()) == ("third-user", "third")


def test_every_file_that_is_wrong_at_the_start_is_listed(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("")
    with pytest.raises(ConfigurationError) as caught:
        FileCredentials.user(tmp_path / "missing", empty)
    missing, void = map(str, caught.value.problems)
    assert missing == f"{tmp_path}/missing: cannot be read: No such file or directory"
    assert void == f"{empty}: is empty"


def test_a_user_name_with_a_colon_is_named_by_its_file(secret: MountedSecret, clock: Clock) -> None:
    secret.write(username="admin:x", password="first")
    with pytest.raises(ConfigurationError) as caught:
        secret.source(clock)
    (problem,) = caught.value.problems
    assert str(problem) == f"{secret.username}: holds a colon, which ends the name in Basic credentials"


@pytest.mark.parametrize("broken", ["\n", "x" * (SECRET_LIMIT + 1)])
def test_the_patient_wait_for_what_files_should_hold(
    broken: str, secret: MountedSecret, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    secret.write(username="admin", password=broken)
    source = secret.source(clock, wait_until_valid=True)
    for _ in range(3):
        with pytest.raises(AnchoreRefused, match="there are no credentials for Anchore yet"):
            source.current()
        assert (source.is_there(), source.is_unusable()) == (False, True)
        clock.tick()
    secret.write(username="admin", password="first")
    source.refresh()
    assert (source.is_there(), source.is_unusable()) == (True, False)
    assert password(source) == "first"
    assert [message.partition(":")[0] for message in caplog.messages] == [
        "not ready until this is mended",
        "credentials in use",
    ]


def test_the_patient_do_not_wait_for_files_that_are_not_there(secret: MountedSecret, clock: Clock) -> None:
    secret.write(username="")
    with pytest.raises(ConfigurationError) as caught:
        secret.source(clock, wait_until_valid=True)
    assert [str(problem) for problem in caught.value.problems] == [
        f"{secret.username}: is empty",
        f"{secret.password}: cannot be read: No such file or directory",
    ]


@pytest.mark.parametrize("kept", [{}, {"username": "admin"}])
def test_the_patient_wait_for_what_a_mounted_secret_does_not_hold_yet(
    kept: dict[str, str],
    tmp_path: Path,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    secret = MountedSecret(tmp_path / "credentials")
    secret.write(**kept)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == secret.root)
    source = secret.source(clock, wait_until_valid=True)
    (said,) = caplog.messages
    missing = f"does not exist: create the Secret or ConfigMap that is mounted at {secret.root}, with the key"
    problems = [f"{secret.root / key}: {missing} {key}" for key in ("username", "password") if key not in kept]
    assert said.partition(": ")[2] == "; ".join(problems)
    assert (source.is_there(), source.is_unusable()) == (False, True)

    secret.write(username="admin", password="first")
    clock.tick()
    assert password(source) == "first"
    assert not source.is_unusable()


def test_a_secret_that_is_deleted_leaves_the_last_good_credentials_in_use(
    secret: MountedSecret, clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kubelet empties the volume of an optional Secret."""
    monkeypatch.setattr(Path, "is_mount", lambda path: path == secret.root)
    source = secret.source(clock, wait_until_valid=True)
    secret.write()
    clock.tick()
    assert password(source) == "first"
    assert source.is_unusable()
    assert caplog.messages[-1].startswith(f"the last good credentials stay in use: {secret.username}: does not exist: ")


def test_the_root_file_system_brings_no_files(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda path: path == Path("/"))
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        FileCredentials.api_key(Path("/no-such-file"), clock, wait_until_valid=True)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"x" * (SECRET_LIMIT + 1), "is larger than 65536 bytes"),
        (b"\xff", "is not UTF-8 text: byte 0xff in line 1"),
    ],
)
def test_a_file_that_is_no_secret_is_refused(content: bytes, why: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(content)
    with pytest.raises(ConfigurationError, match=why):
        FileCredentials.api_key(key)


def test_text_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "configuration.yaml"
    path.write_bytes("\ufeffname: żółw\n".encode())
    assert read_text(path) == "name: żółw\n"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a\nb\n\xc3(", "is not UTF-8 text: byte 0xc3 in line 3"),
        (b"123456789", "is larger than 8 bytes"),
    ],
)
def test_text_that_cannot_be_read_says_why(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "configuration.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_text(path, limit=8)
    assert caught.value.source == str(path)
    assert [str(problem) for problem in caught.value.problems] == [why]


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        read_text(tmp_path)
