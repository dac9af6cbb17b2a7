"""``anchore-admission forget`` beside a running controller, as in its Pod."""

import json
import re
from collections import Counter
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from support.builders import pod, review
from support.command_line import CommandLine
from support.listening import HOST
from support.sandbox_server import sandbox_served
from support.serving import serving
from support.webhook import JSON

APP = "registry.example.com/team/app:1"
MESSAGE = re.compile(r'"message":"([^"]*)"')
STRICT = {"mode": "strict", "requestAnalysis": False}

pytestmark = pytest.mark.process


@pytest.fixture(name="program")
def _program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


def _configuration(folder: Path, anchore: str) -> Path:
    file = folder / "configuration.json"
    file.write_text(json.dumps({"anchore": {"endpoint": anchore}, "defaults": STRICT}))
    return file


def test_a_controller_that_forgot_asks_anchore_again(program: CommandLine, tmp_path: Path) -> None:
    calls: Counter[str] = Counter()

    def asked(address: str) -> int:
        """Return how often Anchore has been asked about the image, after one more review."""
        answer = httpx.post(f"{address}/validate", json=review(pod(APP)), headers={"content-type": JSON})
        assert answer.json()["response"]["allowed"] is True
        return sum(count for call, count in calls.items() if "/images" in call)

    with (
        sandbox_served({"images": [{"tag": APP}]}, calls=calls) as anchore,
        serving(_configuration(tmp_path, anchore)) as running,
    ):
        before = [asked(running.address), asked(running.address)]
        forgotten = program("forget", "--operations-port", urlsplit(running.operations).port)
        after = [asked(running.address), asked(running.address)]
        running.process.terminate()
        assert running.process.stdout
        messages = MESSAGE.findall(running.process.stdout.read())

    assert (before, after) == ([2, 2], [4, 4])
    assert (forgotten.code, forgotten.out) == (0, '{"forgotten":2}\n')
    assert "forgot 2 answers of Anchore, as requested on the operations port" in messages


def test_another_address_makes_it_forget_nothing(tmp_path: Path) -> None:
    # On Linux, all of 127.0.0.0/8 is this machine, and a sidecar passes requests from outside on from such an address.
    sidecar = ("127.0.0.6", 0)
    with serving(_configuration(tmp_path, "http://127.0.0.1:1")) as running:
        port = urlsplit(running.operations).port
        with closing(HTTPConnection(HOST, port, timeout=10, source_address=sidecar)) as connection:
            connection.request("POST", "/forget")
            assert connection.getresponse().status == 403
