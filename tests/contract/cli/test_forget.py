"""``anchore-admission forget`` against an operations port."""

import asyncio

import typer
from typer.testing import CliRunner, Result

from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.cli import forget
from anchore_admission.web.operations import Readiness, create_operations
from anchore_admission.web.routing import Routes
from support.served import served


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(forget.command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


async def test_controller_forgets() -> None:
    calls: list[str] = []

    def forgotten() -> int:
        calls.append("forget")
        return 12

    async with served(create_operations(Readiness(), Telemetry().exposition, forgotten, dict)) as port:
        result = await asyncio.to_thread(run, "--operations-port", port)

    assert (result.exit_code, result.stdout) == (0, '{"forgotten":12}\n')
    assert calls == ["forget"]


async def test_port_without_this_path_is_no_success() -> None:
    async with served(Routes({}, listed="nothing")) as port:
        result = await asyncio.to_thread(run, "--operations-port", port)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "path not found; this port serves nothing" in result.stderr


def test_controller_that_does_not_run_is_no_success() -> None:
    result = run("--operations-port", 1)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "no response from 127.0.0.1 port 1: " in result.stderr
