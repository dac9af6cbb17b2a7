"""``serve --insecure-http`` as a process of its own, called like from a tunnel that terminates TLS."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from support.command_line import CREDENTIALS, CommandLine, clean_environment
from support.listening import HOST
from support.webhook import JSON, POD_CREATE

SECRET = "s3cret-path-0123456789"
LISTENING = re.compile(r"listening on (http://[^\"\s]+)")
QUIETLY = ("--no-docs", "--log-level", "debug")

pytestmark = pytest.mark.process


@pytest.fixture(name="program")
def _program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[str], str]]:
    """The process, the lines of its log until it was ready, and the address of its webhook port."""
    configuration, secret = folder / "configuration.json", folder / "secret-path"
    configuration.write_text(json.dumps({"anchore": {"endpoint": "http://127.0.0.1:1"}, "defaults": {"mode": "skip"}}))
    secret.write_text(f"{SECRET}\n")
    ports = ("--host", HOST, "--port", "0", "--operations-port", "0")
    guarded = ("--insecure-http", "--secret-path-file", secret)
    with subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-m", "anchore_admission", "serve", "--config", configuration, *ports, *guarded, *QUIETLY],
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
            yield process, lines, addresses[0]
        finally:
            process.kill()


def ask(address: str) -> httpx.Response:
    return httpx.post(address, content=POD_CREATE, headers={"content-type": JSON})


def test_reviews_are_answered_only_at_the_printed_address_which_is_never_logged(
    program: CommandLine, tmp_path: Path
) -> None:
    printed = program("webhook", "--url", f"https://gate.example.com/validate/{SECRET}/").out
    path = urlsplit(yaml.safe_load(printed)["webhooks"][0]["clientConfig"]["url"]).path
    others = ("/validate", "/validate/", f"{path}/", path[:-1], "/review", "/docs", "/")
    with serving(tmp_path) as (process, lines, address):
        answer = ask(f"{address}{path}?timeout=10s")
        refused = {other: ask(f"{address}{other}").status_code for other in others}
        process.send_signal(signal.SIGTERM)
        assert process.stdout
        lines.extend(process.stdout)
        assert process.wait() == 0
    assert answer.json()["response"]["uid"] == json.loads(POD_CREATE)["request"]["uid"]
    assert refused == dict.fromkeys(others, 404)
    messages = [json.loads(line)["message"] for line in lines]
    assert "serving without TLS: every client that reaches port 0 can read and forge reviews" in messages
    assert messages[-1] == "stopped"
    assert "allowed Pod shop/shop" in messages
    assert [line for line in lines if SECRET in line] == []
