"""``anchore-admission forget``: make the controller in this Pod forget what Anchore answered."""

from http import HTTPStatus
from http.client import HTTPException

import typer

from anchore_admission.cli.exit_codes import ExitCode
from anchore_admission.cli.failures import note
from anchore_admission.cli.local_port import EVERYWHERE, PORT, Host, Port, Timeout, call, no_response


def command(
    *,
    host: Host = EVERYWHERE,
    operations_port: Port = PORT,
    timeout: Timeout = 5,
) -> None:
    """Make the controller in this Pod forget what Anchore answered.

    From then on, Anchore is asked about every image anew. Each replica has a memory of its own, so run this in every
    Pod. Exit code: 0 forgotten, 2 not.

    For example:

    [bold]kubectl exec --namespace anchore-admission POD -- anchore-admission forget[/bold]
    """
    try:
        status, text = call("POST", "/forget", host, operations_port, timeout)
    except (OSError, HTTPException) as error:
        note(f"Error: {no_response(host, operations_port, error)}", "red")
        raise typer.Exit(ExitCode.FAILED) from error
    typer.echo(text, err=status != HTTPStatus.OK)
    if status != HTTPStatus.OK:
        raise typer.Exit(ExitCode.FAILED)
