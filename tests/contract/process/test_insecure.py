"""``serve --insecure-http`` as a process of its own, called like from a tunnel that terminates TLS."""

import json
import signal
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from support.command_line import CommandLine
from support.serving import serving
from support.webhook import JSON, POD_CREATE

SECRET = "s3cret-path-0123456789"
QUIETLY = ("--no-docs", "--log-level", "debug")

pytestmark = pytest.mark.process


@pytest.fixture(name="program")
def _program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


def _files(folder: Path) -> tuple[Path, Path]:
    """Write the configuration and the file of the secret path."""
    configuration, secret = folder / "configuration.json", folder / "secret-path"
    configuration.write_text(json.dumps({"anchore": {"endpoint": "http://127.0.0.1:1"}, "defaults": {"mode": "skip"}}))
    secret.write_text(f"{SECRET}\n")
    return configuration, secret


def ask(address: str) -> httpx.Response:
    return httpx.post(address, content=POD_CREATE, headers={"content-type": JSON})


def test_reviews_are_answered_only_at_the_printed_address_which_is_never_logged(
    program: CommandLine, tmp_path: Path
) -> None:
    printed = program("webhook", "--url", f"https://gate.example.com/validate/{SECRET}/").out
    path = urlsplit(yaml.safe_load(printed)["webhooks"][0]["clientConfig"]["url"]).path
    plain = ("/validate", "/validate/", "/mutate", "/mutate/")
    others = (*plain, f"{path}/", path[:-1], f"/mutate/{SECRET[:-1]}", "/review", "/docs", "/")
    configuration, secret = _files(tmp_path)
    facts = ("--facts-port", "0", "--facts-token-file", str(secret))
    with serving(configuration, "--secret-path-file", secret, *facts, *QUIETLY) as running:
        process, lines = running.process, running.lines
        answer = ask(f"{running.address}{path}?timeout=10s")
        mutated = ask(f"{running.address}/mutate/{SECRET}?timeout=3s")
        refused = {other: ask(f"{running.address}{other}").status_code for other in others}
        process.send_signal(signal.SIGTERM)
        assert process.stdout
        lines.extend(process.stdout)
        assert process.wait() == 0
    assert answer.json()["response"]["uid"] == json.loads(POD_CREATE)["request"]["uid"]
    assert mutated.json()["response"] == {"uid": answer.json()["response"]["uid"], "allowed": True}
    assert refused == dict.fromkeys(others, 404)
    messages = [json.loads(line)["message"] for line in lines]
    assert "serving without TLS: every client that reaches port 0 can read and forge reviews" in messages
    assert "serving facts without TLS: the network can read the tokens of callers on port 0" in messages
    assert messages[-1] == "stopped"
    assert "allowed Pod shop/shop" in messages
    assert [line for line in lines if SECRET in line] == []
