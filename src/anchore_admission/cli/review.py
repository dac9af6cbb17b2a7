"""``anchore-admission review``: judge manifests, recorded requests or a live cluster as the controller would."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from anchore_admission.cli import options, replay
from anchore_admission.cli.exit_codes import REVIEW_EXIT_CODES
from anchore_admission.cli.inputs import Input, documents_of, read_inputs
from anchore_admission.cli.manual import Overrides, judge
from anchore_admission.cli.pinned_files import PinFormat, write_pinned
from anchore_admission.documents.objects import Requester
from anchore_admission.models.configuration import WorkloadHandling
from anchore_admission.models.review import UserInfo
from anchore_admission.services.reviews.manual import ManualReviews, Progress, Timeouts
from anchore_admission.services.reviews.summary import Summary

EPILOG = REVIEW_EXIT_CODES

Files = Annotated[
    list[str] | None,
    typer.Option(
        "--file",
        "-f",
        metavar="FILE",
        help="A file, - for standard input, or a directory: its *.yaml, *.yml and *.json, at any depth, except hidden "
        "ones. Repeatable.",
    ),
]

Pin = Annotated[
    PinFormat | None,
    typer.Option(
        "--pin",
        help="Pin every admitted tag to the digest that was judged, for manifests in Git: print a diff for git apply, "
        "or the whole document. The verdicts go to stderr.",
    ),
]

TotalTimeout = Annotated[
    float | None,
    typer.Option(
        "--total-timeout",
        min=0.1,
        max=options.MAX_TOTAL_TIMEOUT,
        metavar="SECONDS",
        show_default=f"{options.DEFAULT_TOTAL_TIMEOUT:g}; a replay: {replay.DEFAULT_TOTAL_TIMEOUT:g}",
        help="Timeout of the whole run, once files are read; anything not reviewed by then has no verdict.",
    ),
]


def command(
    *,
    files: Files = None,
    recorded: replay.Replay = None,
    cluster: replay.Cluster = False,
    against: replay.Against = None,
    context: replay.Context = None,
    output: options.Output = options.OutputFormat.TABLE,
    explain: options.Explain = False,
    pin: Pin = None,
    timeout: options.Timeout = options.DEFAULT_TIMEOUT,
    total_timeout: TotalTimeout = None,
    config: options.Config = None,
    anchore: options.AnchoreUrl = None,
    mode: options.Mode = None,
    policy: options.Policy = None,
    opa: options.Opa = None,
    no_opa: options.NoOpa = False,
    workloads: options.Workloads = None,
    ignore_unknown_kinds: options.IgnoreUnknownKinds = False,
    namespace: options.Namespace = None,
    namespace_labels: options.NamespaceLabels = None,
    user: options.User = "",
    group: options.Groups = None,
) -> None:
    """Review manifests, recorded requests or a live cluster as the admission controller would.

    Reads the same input as kubectl: YAML with several documents, JSON, Lists; also AdmissionReviews, whose object is
    judged as if it were new. Objects without images are counted, and so are those of unknown kinds, whose images
    cannot be found. No analysis is requested.

    With --replay or --cluster, requests are judged as the webhook judges them, and summed up: what --config denies, or
    what changes from it to --against, or to itself under --mode or --policy.

    For example:

    [bold]anchore-admission review -f deploy/ --config configuration.yaml[/bold]

    [bold]helm template chart | anchore-admission review -f - --namespace shop -o json[/bold]

    [bold]anchore-admission review -f deploy/ --config configuration.yaml --pin diff | git apply --allow-empty[/bold]

    [bold]anchore-admission review --cluster --config configuration.yaml --mode strict[/bold]
    """
    groups = tuple(group or ())
    names_requester = bool(namespace or user or groups)
    _check_source(files, recorded, against, context, cluster=cluster, names_requester=names_requester)
    _check_opa(files, opa, no_opa=no_opa)
    _check_pin(files, pin, output, explain=explain)
    overrides = Overrides(
        config,
        anchore,
        mode,
        policy,
        workloads,
        namespace_labels,
        ignores_unchecked=ignore_unknown_kinds,
        opa=opa,
        no_opa=no_opa,
    )
    if files:
        requester = Requester(namespace or options.NAMESPACE, user, groups)
        timeouts = Timeouts(timeout, total_timeout or options.DEFAULT_TOTAL_TIMEOUT)
        _review_files(read_inputs(files), requester, overrides, timeouts, output=output, explain=explain, pin=pin)
    else:
        source = replay.Source(recorded or (), context, namespace, UserInfo(user, list(groups)))
        timeouts = Timeouts(timeout, total_timeout or replay.DEFAULT_TOTAL_TIMEOUT)
        replay.compare(source, overrides, against, timeouts, output)


def _review_files(
    inputs: Sequence[Input],
    requester: Requester,
    overrides: Overrides,
    timeouts: Timeouts,
    *,
    output: options.OutputFormat,
    explain: bool,
    pin: PinFormat | None,
) -> None:
    """Judge the objects of manifests, print the verdicts, and with ``pin`` the pinned manifests. Ends the command."""
    documents = documents_of(inputs)
    reviewed: list[Summary] = []

    async def run(manual: ManualReviews, progress: Progress) -> Summary:
        # A pin is part of an explanation; without --explain, the other rules are of no interest.
        manual = manual.explaining(None if explain else 0) if explain or pin else manual
        summary = await manual.documents(documents, requester, timeouts, progress)
        reviewed.append(summary)
        return summary if explain or not pin else summary.without_explanations()

    judge(
        replace(overrides, workloads=overrides.workloads or WorkloadHandling.DENY),
        run,
        output,
        objects=True,
        documents=[document.value for document in documents],
        then=(lambda: write_pinned(inputs, reviewed[0], pin)) if pin else None,
    )


def _check_source(
    files: list[str] | None,
    recorded: list[str] | None,
    against: Path | None,
    context: str | None,
    *,
    cluster: bool,
    names_requester: bool,
) -> None:
    """Reject options that would have no effect on what is reviewed."""
    if len([given for given in (files, recorded, cluster) if given]) != 1:
        raise typer.BadParameter("give one of -f FILE, --replay FILE and --cluster")
    if files and against:
        raise typer.BadParameter("--against compares recorded requests (--replay) or a live cluster (--cluster)")
    if context and not cluster:
        raise typer.BadParameter("--context needs --cluster")
    if recorded and names_requester:
        raise typer.BadParameter("recorded requests have their own namespace, user and groups")


def _check_opa(files: list[str] | None, opa: str | None, *, no_opa: bool) -> None:
    """Reject options for OPA that would have no effect."""
    if opa and no_opa:
        raise typer.BadParameter("give --opa or --no-opa, not both")
    if opa and not files:
        raise typer.BadParameter("--opa needs -f FILE: recorded and live objects are judged without it")


def _check_pin(files: list[str] | None, pin: PinFormat | None, output: options.OutputFormat, *, explain: bool) -> None:
    """Reject options for what is printed that would have no effect."""
    if explain and not files:
        raise typer.BadParameter("--explain needs -f FILE")
    if pin and not files:
        raise typer.BadParameter("--pin needs -f FILE")
    if pin and output is not options.OutputFormat.TABLE:
        raise typer.BadParameter("--pin prints the manifests instead of --output; the verdicts are a table on stderr")
