"""The run behind ``review --replay`` and ``review --cluster``: what changes under another configuration."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from anchore_admission.cli.exit_codes import ExitCode
from anchore_admission.cli.failures import note
from anchore_admission.cli.manual import Overrides, configured, given_namespaces
from anchore_admission.cli.options import OutputFormat
from anchore_admission.cli.progress import progress_on_terminal
from anchore_admission.cli.recorded_lines import recorded_entries
from anchore_admission.cli.replay_output import Compared, write_report
from anchore_admission.models.configuration import Configuration
from anchore_admission.models.review import UserInfo
from anchore_admission.services.replay.entries import Entry
from anchore_admission.services.replay.live import live_entries
from anchore_admission.services.replay.outcomes import Change
from anchore_admission.services.replay.report import Report
from anchore_admission.services.replay.run import replay
from anchore_admission.services.reviews.manual import Progress, Timeouts
from anchore_admission.services.reviews.rules import Rules
from anchore_admission.text import shown
from anchore_admission.wiring.namespaces import NamespaceOptions
from anchore_admission.wiring.replay import live_namespaces, live_objects, replay_reviews

DEFAULT_TOTAL_TIMEOUT = 3600.0
_PANEL = "Replay"

Replay = Annotated[
    list[str] | None,
    typer.Option(
        "--replay",
        metavar="FILE",
        help="Judge recorded requests: AdmissionReviews, or the API server's audit log, as JSON lines; - for standard "
        "input, *.gz is decompressed. Repeatable.",
        rich_help_panel=_PANEL,
    ),
]
Cluster = Annotated[
    bool,
    typer.Option(
        "--cluster",
        help="Judge the Pods and workloads of the live cluster of KUBECONFIG (~/.kube/config), or of this Pod; with "
        "--namespace, those of one namespace. Nothing is changed.",
        rich_help_panel=_PANEL,
    ),
]
Against = Annotated[
    Path | None,
    typer.Option(
        "--against",
        metavar="FILE",
        help="Compare --config with this configuration, and show what changes. --mode and --policy then apply to this "
        "one; without it, --config is compared with itself under them.",
        rich_help_panel=_PANEL,
    ),
]
Context = Annotated[
    str | None,
    typer.Option("--context", metavar="NAME", help="Context of the kubeconfig for --cluster.", rich_help_panel=_PANEL),
]


@dataclass(frozen=True, slots=True)
class Source:
    """The requests to judge: recorded ones in ``files``, or without files those of a live cluster.

    ``user`` stands for the creator of live objects that no known controller made.
    """

    files: Sequence[str]
    context: str | None
    namespace: str | None
    user: UserInfo


def compare(
    source: Source, overrides: Overrides, against: Path | None, timeouts: Timeouts, output: OutputFormat
) -> None:
    """Judge, print what changes, and end with its exit code. Raises ConfigurationError."""
    compared = _compared(overrides, against)
    today = configured(replace(overrides, mode=None, policy=None)) if compared.today else None
    new = configured(replace(overrides, config=against or overrides.config))
    with progress_on_terminal() as progress:
        report = asyncio.run(_report(source, (today, new), given_namespaces(overrides), timeouts, progress))
    write_report(report, compared, output, max_findings=new.messages.max_findings)
    if report.passive:
        note("Note: passive rules admit without a verdict from Anchore; --mode strict would judge their images.")
    raise typer.Exit(_exit_code(report, ignores_unchecked=overrides.ignores_unchecked))


def _compared(overrides: Overrides, against: Path | None) -> Compared:
    """Name the configurations. Only a second file, mode or policy makes it a comparison."""
    if against and not overrides.config:
        raise typer.BadParameter("--against needs --config FILE, the configuration of today")
    today = shown(str(overrides.config)) if overrides.config else ""
    new = shown(str(against)) if against else today or shown(overrides.anchore or "")
    changes = {"--mode": overrides.mode, "--policy": overrides.policy}
    for option, value in changes.items():
        new += f" with {option} {shown(value)}" if value else ""
    return Compared(today if against or any(changes.values()) else "", new)


async def _report(
    source: Source,
    configurations: tuple[Configuration | None, Configuration],
    namespaces: NamespaceOptions,
    timeouts: Timeouts,
    progress: Progress,
) -> Report:
    needs_labels = any(it and Rules.of(it).needs_namespace_labels for it in configurations)
    if needs_labels and namespaces.given is None and not source.files:
        namespaces = await live_namespaces(source.context)
    async with AsyncExitStack() as stack:
        judges = await stack.enter_async_context(replay_reviews(*configurations, namespaces))
        entries: AsyncIterator[Sequence[Entry]]
        if source.files:
            entries = recorded_entries(source.files)
        else:
            live = await stack.enter_async_context(live_objects(source.context))
            entries = live_entries(live, source.namespace, source.user)
        return await replay(entries, judges, timeouts, progress)


def _exit_code(report: Report, *, ignores_unchecked: bool) -> ExitCode:
    if report.totals()[Change.DENIED].requests:
        return ExitCode.DENIED
    if report.undecided or report.unread_count or report.stopped or not report.requests:
        return ExitCode.FAILED
    return ExitCode.NOT_CHECKED if report.unknown_kinds and not ignores_unchecked else ExitCode.OK
