import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import typer
from typer.testing import CliRunner

from anchore_admission.cli import health, local_port

PORT = "--operations-port"


class Operations(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()
        self.wfile.write(b'{"ready":"as the status says"}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Operations) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(health.command)
    return app


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1), (500, 1)])
def test_only_a_ready_controller_is_healthy(
    status: int, code: int, port: int, app: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Operations, "status", status)
    result = CliRunner().invoke(app, [PORT, str(port)])
    assert (result.exit_code, result.stdout.strip()) == (code, '{"ready":"as the status says"}')


def test_the_port_and_the_address_are_those_of_the_process(port: int, app: typer.Typer) -> None:
    env = {"ANCHORE_ADMISSION_OPERATIONS_PORT": str(port), "ANCHORE_ADMISSION_HOST": "127.0.0.1"}
    assert CliRunner().invoke(app, env=env).exit_code == 0


def test_no_answer_is_unhealthy_and_says_why(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, [PORT, "1"])
    assert result.exit_code == 1
    assert "no response from 127.0.0.1 port 1: " in result.stderr
    assert "refused" in result.stderr


def test_an_answer_that_is_no_http_is_unhealthy(app: typer.Typer, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setattr(Operations, "do_GET", lambda handler: handler.wfile.write(b"hello\r\n\r\n"))
    result = CliRunner().invoke(app, [PORT, str(port)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "hello" in result.stderr


def test_an_address_that_listens_everywhere_is_called_on_this_machine() -> None:
    assert local_port.LOOPBACK == {"0.0.0.0": "127.0.0.1", "::": "::1"}
