"""``anchore-admission sandbox`` as a process of its own."""

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.command_line import CommandLine, clean_environment

PROGRAM = [sys.executable, "-m", "anchore_admission", "sandbox"]


@pytest.fixture(name="program")
def _program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The process, its address, and the line about its user."""
    with subprocess.Popen(  # noqa: S603 - ourselves
        [*PROGRAM, "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=clean_environment(),
    ) as process:
        assert process.stdout
        try:
            found = re.search(r"sandbox, not Anchore, listens on (http://\S+:\d+) ", process.stdout.readline())
            assert found
            yield process, found[1], process.stdout.readline()
        finally:
            process.kill()


@pytest.mark.process
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_sandbox_says_where_it_is_answers_and_ends(program: CommandLine, ending: signal.Signals) -> None:
    with running() as (process, url, user):
        ended = program("check", "alpine:3.20", "nginx:1.25", "--anchore", url, "--mode", "strict")
        process.send_signal(ending)
        code = process.wait(timeout=20)

    assert ended.out.endswith("2 images: 1 admitted, 1 denied\n")
    assert user.startswith("User admin, password foobar;")
    assert code == 0


@pytest.mark.process
def test_the_sandbox_holds_the_images_of_its_seed(program: CommandLine, tmp_path: Path) -> None:
    seed = tmp_path / "seed.json"
    seed.write_text(json.dumps({"images": [{"tag": "registry.example.com/app:1", "state": "analyzing"}]}))

    with running("--seed", str(seed)) as (_, url, _user):
        ended = program("check", "registry.example.com/app:1", "--anchore", url, "--mode", "strict", "-o", "json")

    assert ended.document["images"][0]["reason"] == "pending"


def test_seed_that_is_wrong_is_explained(program: CommandLine, tmp_path: Path) -> None:
    seed = tmp_path / "seed.yaml"
    seed.write_text("images: [{tag: 'registry.example.com/app:1', state: odd}]\nimagez: []\n")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")

    ended = program("sandbox", "--seed", seed, "--port", "0")

    assert (ended.code, ended.out) == (2, "")
    assert f"Error: {seed}: 2 problem(s)" in ended.err
    assert "is not UTF-8 text" in program("sandbox", "--seed", binary).err
    assert "cannot be read: No such file" in program("sandbox", "--seed", tmp_path / "missing").err


def test_port_that_is_taken_is_explained(program: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = program("sandbox", "--port", port)

    assert (ended.code, ended.out) == (2, "")
    assert f"Error: cannot listen on 127.0.0.1:{port}: Address already in use; choose another with" in ended.err
