"""Call the operations port of the controller on this machine, in an image without a shell or curl."""

from contextlib import closing
from http.client import HTTPConnection
from typing import Annotated

import typer

LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - a process that listens on all addresses is reached here
EVERYWHERE = "0.0.0.0"  # noqa: S104 - the default of serve
PORT = 8080
"""The default of serve."""
TEXT_LIMIT = 1000
"""Bytes of a response that are shown."""

Host = Annotated[str, typer.Option(help="Address that serve listens on.", envvar="ANCHORE_ADMISSION_HOST")]
Port = Annotated[
    int,
    typer.Option(help="Port of health and metrics.", envvar="ANCHORE_ADMISSION_OPERATIONS_PORT", min=1, max=65535),
]
Timeout = Annotated[float, typer.Option(min=0.1, max=60, metavar="SECONDS", help="How long to wait.")]


def call(method: str, path: str, host: str, port: int, timeout: float) -> tuple[int, str]:
    """Return the status of a response and the beginning of its text. Raises OSError and HTTPException."""
    # Not httpx: every check of health is a new process, and has to load what it uses.
    with closing(HTTPConnection(LOOPBACK.get(host, host), port, timeout=timeout)) as connection:
        connection.request(method, path)
        with connection.getresponse() as response:
            return response.status, response.read(TEXT_LIMIT).decode(errors="replace")


def no_response(host: str, port: int, error: Exception) -> str:
    return f"no response from {LOOPBACK.get(host, host)} port {port}: {error}"
