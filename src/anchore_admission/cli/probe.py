"""``anchore-admission probe``: call the webhook the way an API server does."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from anchore_admission.cli.exit_codes import ExitCode
from anchore_admission.cli.failures import note
from anchore_admission.cli.inputs import read_configuration_file
from anchore_admission.cli.webhook import HTTPS_ADDRESS, is_https_address
from anchore_admission.core.decision import Decision
from anchore_admission.core.webhook.entry import WebhookKind
from anchore_admission.documents.objects import DEFAULT_NAMESPACE, is_namespace
from anchore_admission.errors import (
    ClientCertificateWanted,
    ClusterError,
    ConfigurationError,
    Problem,
)
from anchore_admission.services.config.load import parse_configuration
from anchore_admission.text import printable
from anchore_admission.wiring.probe import Target, registered_target, registered_withholding, target_at

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
_Mutating = Annotated[
    bool,
    typer.Option(
        "--mutating",
        help="Also call the webhook of the MutatingWebhookConfiguration of this name, which pins the tags of Pods.",
        rich_help_panel=_WHERE,
    ),
]
_MutatingUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="With --url: the mutating webhook's https address, to call it as well.",
        rich_help_panel=_WHERE,
    ),
]
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
_Namespace = Annotated[
    str,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAME",
        help="The namespace of that Pod, which has to exist if rules match the labels of namespaces.",
        rich_help_panel=_WHAT,
    ),
]
_Wait = Annotated[
    float,
    typer.Option(min=0, max=3600, metavar="SECONDS", help="Keep trying for this long.", rich_help_panel=_WHAT),
]
_Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="With --registration: the controller's configuration file; warn if the registered match conditions keep "
        "updates away that its opa.requests asks for.",
        rich_help_panel=_WHAT,
    ),
]


def command(
    *,
    registration: _Registration = None,
    mutating: _Mutating = False,
    url: _Url = None,
    mutating_url: _MutatingUrl = None,
    ca_file: _CaFile = None,
    client_certificates: _ClientCertificates = False,
    image: _Image = None,
    namespace: _Namespace = DEFAULT_NAMESPACE,
    wait: _Wait = 0,
    config: _Config = None,
) -> None:
    """Call the webhook the way an API server does, with a review that changes nothing.

    Run it where the webhook's Service can be reached, such as in a Pod. Exit code: 0 the webhook answers, 1 it answers
    about an image without a verdict from Anchore, 2 it does not answer. With two webhooks, the higher code counts.
    """
    problems = [*_problems(registration, url, mutating_url, ca_file, config=config, mutating=mutating)]
    if not is_namespace(namespace):
        problems.append(Problem("--namespace", "expected a name of lower-case letters, digits and '-', at most 63"))
    if problems:
        raise ConfigurationError("probe", problems)
    if registration:
        kinds = [WebhookKind.VALIDATING, *([WebhookKind.MUTATING] if mutating else [])]
        webhooks = [_Webhook(kind, partial(registered_target, registration, kind)) for kind in kinds]
    else:
        urls = {WebhookKind.VALIDATING: url, WebhookKind.MUTATING: mutating_url}
        webhooks = [_at(kind, target_at(address, ca_file)) for kind, address in urls.items() if address]
    every_update = config and parse_configuration(*read_configuration_file(config)).judges_every_update
    pod = _Pod(image, namespace) if image else None
    code = asyncio.run(_until_answered(webhooks, pod, wait, client_certificates))
    if registration and every_update and code is not ExitCode.NO_ANSWER:
        _report_withholding(registration)
    if code:
        raise typer.Exit(code)


def _problems(
    registration: str | None,
    url: str | None,
    mutating_url: str | None,
    ca_file: Path | None,
    *,
    config: Path | None,
    mutating: bool,
) -> Iterator[Problem]:
    if (registration is None) == (url is None):
        yield Problem("--registration", "expected, or --url instead")
        return
    for option, address in (("--url", url), ("--mutating-url", mutating_url)):
        if address is not None and not is_https_address(address):
            yield Problem(option, HTTPS_ADDRESS)
    for option, is_given in (("--mutating-url", mutating_url is not None), ("--ca-file", ca_file is not None)):
        if is_given and url is None:
            yield Problem(option, "expected together with --url")
    for option, is_given in (("--mutating", mutating), ("--config", config is not None)):
        if is_given and registration is None:
            yield Problem(option, "expected together with --registration")


@dataclass(frozen=True, slots=True)
class _Pod:
    """The Pod to send."""

    image: str
    namespace: str


@dataclass(frozen=True, slots=True)
class _Webhook:
    """One of the webhooks to call; its target is read again at every attempt, since it may be registered late."""

    kind: WebhookKind
    target: Callable[[], Awaitable[Target]]

    def __str__(self) -> str:
        return "mutating webhook" if self.kind is WebhookKind.MUTATING else "validating webhook"


def _at(kind: WebhookKind, fixed: Target) -> _Webhook:
    async def target() -> Target:
        return fixed

    return _Webhook(kind, target)


async def _until_answered(
    webhooks: Sequence[_Webhook], pod: _Pod | None, wait: float, client_certificates: bool
) -> ExitCode:
    """Return the gravest exit code of the webhooks' first answers; NO_ANSWER if one does not answer in time."""
    end = time.monotonic() + wait
    waiting, gravest = list(webhooks), ExitCode.OK
    while True:
        for webhook in list(waiting):
            try:
                gravest = max(gravest, await _answered(webhook, pod))
            except ClusterError as error:
                if not client_certificates or not isinstance(error, ClientCertificateWanted):
                    note(f"no answer from the {webhook}: {error}")
                    continue
                typer.echo(f"The {webhook} answers: it asks for the certificate of an API server.")
            waiting.remove(webhook)
        left = end - time.monotonic()
        if not waiting:
            return gravest
        if left <= 0:
            for webhook in waiting:
                note(f"The {webhook} does not answer.", "red")
            return ExitCode.NO_ANSWER
        await asyncio.sleep(min(left, _PAUSE_SECONDS))


async def _answered(webhook: _Webhook, pod: _Pod | None) -> ExitCode:
    """Call a webhook once and print its answer. Raises ClusterError."""
    target = await webhook.target()
    if pod is None:
        await target.probe()
        typer.echo(f"The {webhook} answers.")
        return ExitCode.OK
    about = f"The {webhook} answers: a Pod with image {pod.image}"
    if webhook.kind is WebhookKind.MUTATING:
        pinning = await target.probe_pinning(pod.image, pod.namespace)
        unpinned = f" ({pinning.not_pinned})" if pinning.not_pinned else ""
        effect = f"would be pinned ({pinning.pinned})" if pinning.pinned else f"would not be pinned{unpinned}"
        typer.echo(printable(f"{about} {effect}", keep="\n"))
        return ExitCode.OK
    answer = await target.probe_pod(pod.image, pod.namespace)
    effect = "admitted" if answer.allowed else "denied"
    reason = f": {answer.message}" if answer.message else ""
    verdict = f"verdict: {answer.verdict or 'none'}"
    # Another server may answer at this address.
    typer.echo(printable(f"{about} would be {effect} ({verdict}){reason}", keep="\n"))
    if answer.verdict == Decision.NO_VERDICT:
        note("Anchore gives no verdict: see the controller's log.", "red")
        return ExitCode.NO_VERDICT
    return ExitCode.OK


def _report_withholding(registration: str) -> None:
    """Warn of the registered match conditions that keep updates away which the configuration judges."""
    names = asyncio.run(registered_withholding(registration))
    if names:
        note(
            f"Warning: {WebhookKind.VALIDATING} {registration}: API servers do not send every update that opa.requests "
            f"asks for, because of the match conditions {', '.join(names)}; remove them, or leave all out of "
            "opa.requests",
            "yellow",
        )
