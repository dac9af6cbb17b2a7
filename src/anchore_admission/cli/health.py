"""``anchore-admission health``: for a container engine's health check, in an image without a shell or curl."""

from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Annotated

import typer

from anchore_admission.cli.exit_codes import ExitCode

LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - a process that listens on all addresses is reached here


def command(
    *,
    host: Annotated[
        str, typer.Option(help="Address that serve listens on.", envvar="ANCHORE_ADMISSION_HOST")
    ] = "0.0.0.0",  # noqa: S104 - the default of serve
    operations_port: Annotated[
        int,
        typer.Option(help="Port of health and metrics.", envvar="ANCHORE_ADMISSION_OPERATIONS_PORT", min=1, max=65535),
    ] = 8080,
    timeout: Annotated[float, typer.Option(min=0.1, max=60, metavar="SECONDS", help="How long to wait.")] = 3,
) -> None:
    """Check that the controller on this machine is ready.

    Exit code: 0 ready, 1 not ready or no response. This command is for [bold]HEALTHCHECK[/bold] of container engines;
    Kubernetes probes /livez and /readyz itself.
    """
    host = LOOPBACK.get(host, host)
    try:
        # Not httpx: every check is a new process, and has to load what it uses.
        with closing(HTTPConnection(host, operations_port, timeout=timeout)) as connection:
            connection.request("GET", "/readyz")
            with connection.getresponse() as response:
                typer.echo(response.read(1000).decode(errors="replace"))
    except (OSError, HTTPException) as error:
        typer.echo(f"no response from {host} port {operations_port}: {error}", err=True)
        raise typer.Exit(ExitCode.NOT_READY) from error
    if response.status != HTTPStatus.OK:
        raise typer.Exit(ExitCode.NOT_READY)
