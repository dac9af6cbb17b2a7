"""``review`` and ``check`` with an Open Policy Agent: what they show of its decision, and their exit codes."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from support.builders import pod, workload
from support.command_line import CommandLine
from support.listening import HOST
from support.sandbox_server import sandbox_served

GOOD, BAD = "alpine:3.20", "nginx:1.25"
Json = dict[str, Any]


class Opa:
    """A server that gives one answer to every question; it keeps the inputs."""

    def __init__(self) -> None:
        self.answer: Json = {"result": {"deny": []}}
        self.inputs: list[Json] = []
        self.paths: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.inputs.append(body["input"])
                outer.paths.append(self.path)
                answer = json.dumps(outer.answer).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_args: object) -> None:
                """Write no log."""

        self.server = ThreadingHTTPServer((HOST, 0), Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server.server_address[1]}"


@pytest.fixture(scope="module", name="anchore")
def _anchore() -> Iterator[str]:
    with sandbox_served() as url:
        yield url


@pytest.fixture
def opa() -> Iterator[Opa]:
    found = Opa()
    thread = threading.Thread(target=found.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield found
    finally:
        found.server.shutdown()
        thread.join()
        found.server.server_close()


@pytest.fixture(name="program")
def _program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


def configuration(folder: Path, anchore: str, **more: Any) -> str:
    file = folder / "configuration.json"
    file.write_text(json.dumps({"anchore": {"endpoint": anchore}, "defaults": {"mode": "strict"}, **more}))
    return str(file)


def test_an_objection_denies(program: CommandLine, opa: Opa, anchore: str, tmp_path: Path) -> None:
    opa.answer = {"result": {"deny": ["host network"], "warn": ["no owner"]}, "decision_id": "d1"}
    config = configuration(tmp_path, anchore, opa={"url": opa.url})
    command = ("review", "-f", "-", "--config", config)
    result = program(*command, stdin=json.dumps(pod(GOOD, hostNetwork=True)))
    assert result.code == 1
    rows = [line.split(maxsplit=4)[2:] for line in result.out.splitlines() if "policy anchore/admission" in line]
    assert rows == [
        [GOOD, "denied", "policy anchore/admission: host network"],
        [GOOD, "warned", "policy anchore/admission: no owner"],
    ]
    assert "1 object denied by the policy" in result.out
    document = json.loads(program(*command, "-o", "json", stdin=json.dumps(pod(GOOD))).out)
    [decision] = document["decisions"]
    assert (document["allowed"], decision["outcome"], decision["decisionId"]) == (False, "denied", "d1")
    assert decision["objections"] == ["policy anchore/admission: host network", "policy anchore/admission: no owner"]
    asked = opa.inputs[0]["request"]
    assert (asked["operation"], asked["dryRun"], asked["resource"]["resource"]) == ("CREATE", True, "pods")
    assert asked["object"]["spec"]["hostNetwork"] is True


def test_no_objection(program: CommandLine, opa: Opa, anchore: str, tmp_path: Path) -> None:
    config = configuration(tmp_path, anchore, opa={"url": opa.url, "path": "team/rules"})
    result = program("check", GOOD, BAD, "--config", config)
    assert result.code == 1
    assert result.out.count("policy team/rules has no objection") == 2
    assert opa.paths == ["/v1/data/team/rules?strict-builtin-errors=true"] * 2


def test_no_decision_is_never_a_pass(program: CommandLine, opa: Opa, anchore: str, tmp_path: Path) -> None:
    opa.answer = {}
    for on_error in ("deny", "allow"):
        config = configuration(tmp_path, anchore, opa={"url": opa.url, "onError": on_error})
        result = program("check", GOOD, "--config", config)
        assert result.code == 2
        assert "undecided" in result.out
        assert "1 object without a decision of the policy" in result.out


def test_a_template_is_judged_like_its_pods(program: CommandLine, opa: Opa, anchore: str, tmp_path: Path) -> None:
    opa.answer = {"result": {"deny": ["no"]}}
    config = configuration(tmp_path, anchore, opa={"url": opa.url})
    deployment = json.dumps(workload("Deployment", {"containers": [{"name": "c", "image": GOOD}]}))
    assert program("review", "-f", "-", "--config", config, stdin=deployment).code == 1
    assert program("review", "-f", "-", "--config", config, "--workloads", "final", stdin=deployment).code == 0


def test_another_address_and_none(program: CommandLine, opa: Opa, anchore: str, tmp_path: Path) -> None:
    opa.answer = {"result": {"deny": ["no"]}}
    section = {"url": "unix:///run/opa/opa.sock", "path": "team/rules"}
    config = configuration(tmp_path, anchore, opa=section)
    assert program("check", GOOD, "--config", config).code == 2
    assert program("check", GOOD, "--config", config, "--no-opa").code == 0
    assert program("check", GOOD, "--config", config, "--opa", opa.url).code == 1
    assert opa.paths == ["/v1/data/team/rules?strict-builtin-errors=true"]
    assert program("check", GOOD, "--anchore", anchore, "--opa", opa.url).code == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["check", GOOD, "--opa", "http://x", "--no-opa"], "give --opa or --no-opa, not both"),
        (["check", GOOD, "--opa", "localhost:8181"], "opa.url: expected unix:///run/opa/opa.sock"),
        (["check", GOOD, "--opa", ""], "must not be empty"),
        (["review", "--replay", "x", "--opa", "http://x"], "--opa needs -f FILE"),
    ],
)
def test_mistakes(program: CommandLine, anchore: str, tmp_path: Path, arguments: list[str], problem: str) -> None:
    result = program(*arguments, "--config", configuration(tmp_path, anchore))
    assert result.code == 2
    assert problem in " ".join(result.err.split())


def test_explanations_say_that_it_is_asked(program: CommandLine, opa: Opa, anchore: str, tmp_path: Path) -> None:
    rules = [{"name": "off", "match": {"images": ["nginx"]}, "opa": False}]
    config = configuration(tmp_path, anchore, opa={"url": opa.url}, rules=rules)
    found = program("explain", "-f", "-", "--config", config, "-o", "json", stdin=json.dumps(pod(GOOD, BAD)))
    assert [image["opa"] for image in json.loads(found.out)["images"]] == ["anchore/admission", None]
    assert opa.inputs == []
    shown = program("check", GOOD, "--config", config, "--explain")
    assert "opa policy anchore/admission is asked" in shown.out
