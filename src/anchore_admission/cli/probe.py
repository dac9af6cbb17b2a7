"""``anchore-admission probe``: call the webhook the way an API server does."""

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from anchore_admission.cli.exit_codes import ExitCode
from anchore_admission.cli.failures import note
from anchore_admission.cli.webhook import HTTPS_ADDRESS, is_https_address
from anchore_admission.core.decision import Decision
from anchore_admission.errors import (
    ClientCertificateWanted,
    ClusterError,
    ConfigurationError,
    Problem,
)
from anchore_admission.text import printable
from anchore_admission.wiring.probe import Target, registered_target, target_at

_PAUSE_SECONDS = 2.0
EPILOG = "Example: anchore-admission probe --registration anchore-admission --image nginx:1.25 --wait 120"
_WHERE, _WHAT = "Which webhook", "What to send"

_Registration = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Read address and CA bundle from the ValidatingWebhookConfiguration of this name, as API servers do.",
        rich_help_panel=_WHERE,
    ),
]
_Url = Annotated[str | None, typer.Option(metavar="URL", help="The webhook's https address.", rich_help_panel=_WHERE)]
_CaFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="PEM file with the CAs to trust with --url.", rich_help_panel=_WHERE),
]
_ClientCertificates = Annotated[
    bool,
    typer.Option(
        "--client-certificates",
        help="The webhook accepts only clients with a certificate, which this command does not have: a request for one "
        "counts as an answer.",
        rich_help_panel=_WHERE,
    ),
]
_Image = Annotated[
    str | None,
    typer.Option(
        metavar="IMAGE",
        help="Send a new Pod with this image, as a dry run. By default, send the deletion of a Pod, which needs no "
        "verdict from Anchore.",
        rich_help_panel=_WHAT,
    ),
]
_Wait = Annotated[
    float,
    typer.Option(min=0, max=3600, metavar="SECONDS", help="Keep trying for this long.", rich_help_panel=_WHAT),
]


def command(
    *,
    registration: _Registration = None,
    url: _Url = None,
    ca_file: _CaFile = None,
    client_certificates: _ClientCertificates = False,
    image: _Image = None,
    wait: _Wait = 0,
) -> None:
    """Call the webhook the way an API server does, with a review that changes nothing.

    Run it where the webhook's Service can be reached, such as in a Pod. Exit code: 0 the webhook answers, 1 it answers
    about an image without a verdict from Anchore, 2 it does not answer.
    """
    if (registration is None) == (url is None):
        raise ConfigurationError("probe", [Problem("--registration", "expected, or --url instead")])
    if url is not None and not is_https_address(url):
        raise ConfigurationError("probe", [Problem("--url", HTTPS_ADDRESS)])
    if ca_file and not url:
        raise ConfigurationError("probe", [Problem("--ca-file", "expected together with --url")])
    fixed = target_at(url, ca_file) if url else None
    code = asyncio.run(_until_answered(registration or "", fixed, image, wait, client_certificates))
    if code:
        raise typer.Exit(code)


async def _until_answered(
    registration: str, fixed: Target | None, image: str | None, wait: float, client_certificates: bool
) -> ExitCode:
    """Return the exit code for the first answer, or NO_ANSWER if there is none in time."""
    end = time.monotonic() + wait
    while True:
        try:
            return await _answered(fixed or await registered_target(registration), image)
        except ClusterError as error:
            if client_certificates and isinstance(error, ClientCertificateWanted):
                typer.echo("The webhook answers: it asks for the certificate of an API server.")
                return ExitCode.OK
            note(f"no answer: {error}")
        left = end - time.monotonic()
        if left <= 0:
            note("The webhook does not answer.", "red")
            return ExitCode.NO_ANSWER
        await asyncio.sleep(min(left, _PAUSE_SECONDS))


async def _answered(target: Target, image: str | None) -> ExitCode:
    if image is None:
        await target.probe()
        typer.echo("The webhook answers.")
        return ExitCode.OK
    answer = await target.probe_pod(image)
    effect = "admitted" if answer.allowed else "denied"
    reason = f": {answer.message}" if answer.message else ""
    verdict = f"verdict: {answer.verdict or 'none'}"
    text = f"The webhook answers: a Pod with image {image} would be {effect} ({verdict}){reason}"
    typer.echo(printable(text, keep="\n"))  # another server may answer at this address
    if answer.verdict == Decision.NO_VERDICT:
        note("Anchore gives no verdict: see the controller's log.", "red")
        return ExitCode.NO_VERDICT
    return ExitCode.OK
