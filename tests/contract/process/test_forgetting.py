"""``anchore-admission forget`` beside a running controller, as in its Pod."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from support.builders import pod, review
from support.command_line import CREDENTIALS, CommandLine, clean_environment
from support.listening import HOST
from support.sandbox_server import sandbox_served
from support.webhook import JSON

APP = "registry.example.com/team/app:1"
LISTENING = re.compile(r"listening on (http://[^\"\s]+)")
MESSAGE = re.compile(r'"message":"([^"]*)"')
STRICT = {"mode": "strict", "requestAnalysis": False}

pytestmark = pytest.mark.process


@pytest.fixture(name="program")
def _program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


@contextmanager
def serving(folder: Path, anchore: str) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """The process, the address of its webhook port and its operations port."""
    configuration = folder / "configuration.json"
    configuration.write_text(json.dumps({"anchore": {"endpoint": anchore}, "defaults": STRICT}))
    ports = ("--host", HOST, "--port", "0", "--operations-port", "0", "--insecure-http", "--log-level", "info")
    with subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-m", "anchore_admission", "serve", "--config", configuration, *ports],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=clean_environment(CREDENTIALS),
    ) as process:
        assert process.stdout
        lines: list[str] = []
        try:
            while len(addresses := LISTENING.findall("".join(lines))) < 2:
                lines.append(process.stdout.readline())
                assert lines[-1], lines
            yield process, addresses[0], urlsplit(addresses[1]).port or 0
        finally:
            process.kill()


def test_a_controller_that_forgot_asks_anchore_again(program: CommandLine, tmp_path: Path) -> None:
    calls: Counter[str] = Counter()

    def asked(address: str) -> int:
        """Return how often Anchore has been asked about the image, after one more review."""
        answer = httpx.post(f"{address}/validate", json=review(pod(APP)), headers={"content-type": JSON})
        assert answer.json()["response"]["allowed"] is True
        return sum(count for call, count in calls.items() if "/images" in call)

    with (
        sandbox_served({"images": [{"tag": APP}]}, calls=calls) as anchore,
        serving(tmp_path, anchore) as (process, address, port),
    ):
        before = [asked(address), asked(address)]
        forgotten = program("forget", "--operations-port", port)
        after = [asked(address), asked(address)]
        process.terminate()
        assert process.stdout
        messages = MESSAGE.findall(process.stdout.read())

    assert (before, after) == ([2, 2], [4, 4])
    assert (forgotten.code, forgotten.out) == (0, '{"forgotten":2}\n')
    assert "forgot 2 answers of Anchore, as requested on the operations port" in messages


def test_another_address_makes_it_forget_nothing(tmp_path: Path) -> None:
    # On Linux, all of 127.0.0.0/8 is this machine, and a sidecar passes requests from outside on from such an address.
    sidecar = ("127.0.0.6", 0)
    with (
        serving(tmp_path, "http://127.0.0.1:1") as (_, _, port),
        closing(HTTPConnection(HOST, port, timeout=10, source_address=sidecar)) as connection,
    ):
        connection.request("POST", "/forget")
        assert connection.getresponse().status == 403
