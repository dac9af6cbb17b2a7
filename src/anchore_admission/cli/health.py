"""``anchore-admission health``: for a container engine's health check, in an image without a shell or curl."""

from http import HTTPStatus
from http.client import HTTPException

import typer

from anchore_admission.cli.exit_codes import ExitCode
from anchore_admission.cli.local_port import EVERYWHERE, PORT, Host, Port, Timeout, call, no_response


def command(
    *,
    host: Host = EVERYWHERE,
    operations_port: Port = PORT,
    timeout: Timeout = 3,
) -> None:
    """Check that the controller on this machine is ready.

    Exit code: 0 ready, 1 not ready or no response. This command is for [bold]HEALTHCHECK[/bold] of container engines;
    Kubernetes probes /livez and /readyz itself.
    """
    try:
        status, text = call("GET", "/readyz", host, operations_port, timeout)
    except (OSError, HTTPException) as error:
        typer.echo(no_response(host, operations_port, error), err=True)
        raise typer.Exit(ExitCode.NOT_READY) from error
    typer.echo(text)
    if status != HTTPStatus.OK:
        raise typer.Exit(ExitCode.NOT_READY)
