"""How ``review`` and ``check`` judge: the configuration with what the command line puts over it, and one run by it."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import typer
from pydantic_core import to_json

from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.cli.failures import CANNOT_TELL, note
from anchore_admission.cli.inputs import read_configuration_file
from anchore_admission.cli.options import CONFIG_VARIABLE, Judging, OutputFormat
from anchore_admission.cli.output import write
from anchore_admission.cli.progress import progress_on_terminal
from anchore_admission.models.configuration import Configuration, ModeName, RuleSection, WorkloadHandling
from anchore_admission.services.config.load import parse_configuration
from anchore_admission.services.reviews.manual import ManualReviews, Progress
from anchore_admission.services.reviews.summary import Summary
from anchore_admission.wiring.controller import build

DENIED = 1
NOT_CHECKED = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says of the rules; None leaves the configuration's word.

    ``ignores_unchecked`` lets objects of kinds that are not known pass.
    """

    config: Path | None = None
    anchore: str | None = None
    mode: Judging | None = None
    policy: str | None = None
    workloads: WorkloadHandling | None = None
    ignores_unchecked: bool = False


def judge(
    wanted: Wanted,
    ask: Callable[[ManualReviews, Progress], Awaitable[Summary]],
    output: OutputFormat,
    *,
    objects: bool,
) -> None:
    """Ask, write what comes of it, and end with the exit code that it stands for."""
    configuration = configured(wanted)
    with progress_on_terminal() as progress:
        summary = asyncio.run(_asked(configuration, ask, progress))
    summary = replace(summary, ignores_unchecked=wanted.ignores_unchecked)
    write(summary, output, max_findings=configuration.messages.max_findings, objects=objects)
    if any(image.judged.rule.mode is ModeName.PASSIVE for image in summary.images):
        note("Note: passive rules admit without asking Anchore; --mode strict would judge their images.")
    raise typer.Exit(exit_code(summary))


def exit_code(summary: Summary) -> int:
    if summary.denied:
        return DENIED
    if summary.undecided:
        return CANNOT_TELL
    return NOT_CHECKED if summary.unchecked and not summary.ignores_unchecked else 0


def configured(wanted: Wanted) -> Configuration:
    """Raises ConfigurationError."""
    configuration = _file(wanted)
    update: dict[str, object] = {}
    if wanted.anchore:
        update["anchore"] = configuration.anchore.model_copy(update={"endpoint": _endpoint(wanted.anchore)})
    if wanted.workloads:
        update["workloads"] = wanted.workloads
    if wanted.mode or wanted.policy:
        update["rules"] = [_over_rule(rule, wanted) for rule in configuration.rules]
        update["defaults"] = configuration.defaults.model_copy(
            update=_outcome(wanted, skips=configuration.defaults.mode is ModeName.SKIP)
        )
    return configuration.model_copy(update=update)


def _file(wanted: Wanted) -> Configuration:
    if wanted.config:
        return parse_configuration(*read_configuration_file(wanted.config))
    if wanted.anchore:
        return _only_anchore(wanted.anchore)
    raise typer.BadParameter(f"give --config FILE (or the variable {CONFIG_VARIABLE}), or --anchore URL")


def _only_anchore(url: str) -> Configuration:
    """Return a configuration without rules, strict: a passive run would pass without asking Anchore anything."""
    document = {"anchore": {"endpoint": url}, "defaults": {"mode": ModeName.STRICT}}
    return parse_configuration(to_json(document), "--anchore")


def _endpoint(url: str) -> object:
    return _only_anchore(url).anchore.endpoint


def _over_rule(rule: RuleSection, wanted: Wanted) -> RuleSection:
    """A rule without a mode of its own has that of the defaults, which may be skip."""
    return rule.model_copy(update=_outcome(wanted, skips=rule.mode in {ModeName.SKIP, None}))


def _outcome(wanted: Wanted, *, skips: bool) -> dict[str, object]:
    update: dict[str, object] = {}
    if wanted.mode and not skips:
        update["mode"] = ModeName(wanted.mode)
    if wanted.policy:
        update["policy"] = wanted.policy
    return update


async def _asked(
    configuration: Configuration, ask: Callable[[ManualReviews, Progress], Awaitable[Summary]], progress: Progress
) -> Summary:
    controller = build(configuration, Telemetry(), environ=os.environ)
    try:
        return await ask(controller.manual, progress)
    finally:
        await controller.aclose()
