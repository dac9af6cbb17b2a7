"""The run behind ``review`` and ``check``: apply the command line to the configuration, judge, print, exit."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from pydantic_core import to_json

from anchore_admission.cli.exit_codes import exit_code
from anchore_admission.cli.failures import note
from anchore_admission.cli.inputs import read_configuration_file
from anchore_admission.cli.options import MAX_TOTAL_TIMEOUT, OutputFormat
from anchore_admission.cli.output import write
from anchore_admission.cli.progress import progress_on_terminal
from anchore_admission.models.configuration import Configuration, MemorySection, ModeName, RuleSection, WorkloadHandling
from anchore_admission.models.configuration.opa import OpaSection
from anchore_admission.ports.namespaces import Labels
from anchore_admission.services.cluster.known_namespaces import declared_namespaces, parse_namespace_labels
from anchore_admission.services.config.load import parse_configuration
from anchore_admission.services.reviews.manual import ManualReviews, Progress
from anchore_admission.services.reviews.summary import Summary
from anchore_admission.settings import variable
from anchore_admission.wiring.controller import build
from anchore_admission.wiring.namespaces import NamespaceOptions

_FOR_THE_WHOLE_RUN = MemorySection().model_copy(
    update={
        **dict.fromkeys(("passed", "fail", "pending", "unknown", "tag"), MAX_TOTAL_TIMEOUT),
        "outage": 0.0,
        "policy_interval": 0.0,
    }
)
"""Every answer counts until the end, so that a run asks each question once, and judges an image alike in all objects.
No answer stands in for an Anchore that cannot be asked."""
Run = Callable[[ManualReviews, Progress], Awaitable[Summary]]


@dataclass(frozen=True, slots=True)
class Overrides:
    """The command line's choices; None keeps the configuration's value.

    ``ignores_unchecked`` lets objects of unknown kinds pass. ``opa`` is the address of an Open Policy Agent; ``no_opa``
    asks none.
    """

    config: Path | None = None
    anchore: str | None = None
    mode: ModeName | None = None
    policy: str | None = None
    workloads: WorkloadHandling | None = None
    namespace_labels: Path | None = None
    ignores_unchecked: bool = False
    opa: str | None = None
    no_opa: bool = False


def judge(
    overrides: Overrides,
    run: Run,
    output: OutputFormat,
    *,
    objects: bool,
    documents: Iterable[Any] = (),
    then: Callable[[], None] | None = None,
) -> None:
    """Judge, print the verdicts, and end with their exit code. ``documents`` may declare namespaces with labels.

    ``then`` prints something else to stdout; the verdicts go to stderr before it.
    """
    configuration = configured(overrides)
    namespaces = given_namespaces(overrides, documents)
    with progress_on_terminal() as progress:
        summary = asyncio.run(_judged(configuration, namespaces, run, progress))
    summary = replace(summary, ignores_unchecked=overrides.ignores_unchecked)
    with redirect_stdout(sys.stderr) if then else nullcontext():
        write(summary, output, max_findings=configuration.messages.max_findings, objects=objects)
    if any(image.judged.rule.mode is ModeName.PASSIVE for image in summary.images):
        note("Note: passive rules admit without a verdict from Anchore; --mode strict would judge their images.")
    if then:
        then()
    raise typer.Exit(exit_code(summary))


def configured(overrides: Overrides) -> Configuration:
    """Return the configuration with the overrides in place. Raises ConfigurationError."""
    configuration = _file(overrides)
    update: dict[str, object] = {"memory": _FOR_THE_WHOLE_RUN}
    if overrides.anchore:
        # ``model_copy`` checks nothing, so parse the address as that of a file.
        endpoint = _only_anchore(overrides.anchore).anchore.endpoint
        update["anchore"] = configuration.anchore.model_copy(update={"endpoint": endpoint})
    if overrides.opa or overrides.no_opa:
        update["opa"] = _opa(overrides.opa, configuration.opa) if overrides.opa else None
    if overrides.workloads:
        update["workloads"] = overrides.workloads
    if overrides.mode or overrides.policy:
        defaults = configuration.defaults
        update["rules"] = [_overridden(rule, overrides) for rule in configuration.rules]
        update["defaults"] = defaults.model_copy(update=_action(overrides, skips=defaults.mode is ModeName.SKIP))
    return configuration.model_copy(update=update)


def given_namespaces(overrides: Overrides, documents: Iterable[Any] = ()) -> NamespaceOptions:
    """Return the labels of ``--namespace-labels``, and over them those of Namespace objects among documents."""
    given: dict[str, Labels] = {}
    if overrides.namespace_labels:
        given = parse_namespace_labels(*read_configuration_file(overrides.namespace_labels))
    given |= declared_namespaces(documents)
    return NamespaceOptions(given=given or None)


def _file(overrides: Overrides) -> Configuration:
    if overrides.config:
        return parse_configuration(*read_configuration_file(overrides.config))
    if overrides.anchore:
        return _only_anchore(overrides.anchore)
    raise typer.BadParameter(f"give --config FILE (or the variable {variable('config')}), or --anchore URL")


def _only_anchore(url: str) -> Configuration:
    """Return a configuration without rules, in strict mode: passive mode would admit every image unchecked."""
    document = {"anchore": {"endpoint": url}, "defaults": {"mode": ModeName.STRICT}}
    return parse_configuration(to_json(document), "--anchore")


def _opa(url: str, section: OpaSection | None) -> OpaSection | None:
    """Return the section with another address. Without TLS, the files for it do not count."""
    # Parsed as that of a file, which needs an address of Anchore, too.
    document = {"anchore": {"endpoint": "http://not-used"}, "opa": {"url": url}}
    given = parse_configuration(to_json(document), "--opa").opa
    if not given or not section:
        return given
    tls = {} if url.startswith("https://") else dict.fromkeys(("ca_file", "certificate_file", "key_file"))
    return section.model_copy(update={"url": given.url, **tls})


def _overridden(rule: RuleSection, overrides: Overrides) -> RuleSection:
    """Override a rule unless it skips; without a mode of its own it has that of the defaults, which may be skip."""
    update = _action(overrides, skips=rule.mode in {ModeName.SKIP, None})
    if overrides.mode and rule.mode_from:
        modes = {key: mode if mode is ModeName.SKIP else overrides.mode for key, mode in rule.mode_from.allowed.items()}
        update["mode_from"] = rule.mode_from.model_copy(update={"allowed": modes})
    if overrides.policy:
        update["policy_from"] = None
    return rule.model_copy(update=update)


def _action(overrides: Overrides, *, skips: bool) -> dict[str, object]:
    update: dict[str, object] = {}
    if overrides.mode and not skips:
        update["mode"] = overrides.mode
    if overrides.policy:
        update["policy"] = overrides.policy
    return update


async def _judged(configuration: Configuration, namespaces: NamespaceOptions, run: Run, progress: Progress) -> Summary:
    controller = build(configuration, namespaces=namespaces)
    try:
        return await run(controller.manual, progress)
    finally:
        await controller.aclose()
