"""``anchore-admission sandbox``: a simulated Anchore server on this machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from anchore_admission.cli.inputs import read_configuration_file
from anchore_admission.errors import AnchoreAdmissionError, ConfigurationError, Problem
from anchore_admission.ports.logs import LogFormat, LogLevel
from anchore_admission.sandbox import DEFAULT_SEED, InvalidSeed, Seed, create_sandbox, load_seed
from anchore_admission.web.server import Listener, serve
from anchore_admission.wiring.logs import configure_logging

_DRAIN_SECONDS = 1.0
"""The longest time that a stop waits for calls in progress: an injected fault can make one hang."""


class CannotListen(AnchoreAdmissionError):
    """The address or port cannot be used."""


def command(
    *,
    seed: Annotated[
        Path | None,
        typer.Option("--seed", metavar="FILE", help="File with images and policies; by default, a small built-in set."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any client that reaches it may use it.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8228,
    log_level: Annotated[
        LogLevel, typer.Option(help="info logs every call, warning only problems.", case_sensitive=False)
    ] = LogLevel.INFO,
) -> None:
    """Run a simulated Anchore that needs no registry and no database.

    It speaks Anchore's API v1 and v2 and keeps everything in memory: for a first look, for tests, for rehearsing
    failures. It pulls nothing and scans nothing. Stop it with Ctrl-C.

    In two terminals:

    [bold]anchore-admission sandbox[/bold]

    [bold]anchore-admission check alpine:3.20 nginx:1.25 --anchore http://127.0.0.1:8228 --mode strict[/bold]
    """
    configure_logging(log_level, LogFormat.AUTO)
    content = _seed(seed)

    def announce(ports: Sequence[int]) -> None:
        _announce(content, host, ports[0])

    listener = Listener(create_sandbox(content), host, port)
    try:
        uvloop.run(serve([listener], on_ready=announce, drain_seconds=_DRAIN_SECONDS))
    except ConfigurationError as error:
        raise CannotListen(f"{error.problems[0].message}; choose another with --port or --host") from error


def _seed(file: Path | None) -> Seed:
    if file is None:
        return DEFAULT_SEED
    text, source = read_configuration_file(file)
    try:
        return load_seed(text.decode(), source)
    except UnicodeDecodeError as error:
        raise InvalidSeed(source, [Problem("", "is not UTF-8 text")]) from error


def _announce(seed: Seed, host: str, port: int) -> None:
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    users = [user for account in seed.accounts for user in account.users]
    typer.echo(f"A sandbox, not Anchore, listens on {url} (API {', '.join(seed.api_versions)})")
    for user in users[:1]:  # of the first account
        typer.echo(f"User {user.username}, password {user.password}; its state: {url}/sandbox")
    typer.echo("Ctrl-C stops it.")
