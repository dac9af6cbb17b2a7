"""The options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from anchore_admission.documents.objects import DEFAULT_NAMESPACE, is_namespace
from anchore_admission.models.configuration import ModeName, WorkloadHandling
from anchore_admission.settings import variable

DEFAULT_TIMEOUT = 30.0
DEFAULT_TOTAL_TIMEOUT = 300.0
MAX_TOTAL_TIMEOUT = 86400.0
NAMESPACE = DEFAULT_NAMESPACE
_JUDGING = [mode for mode in ModeName if mode is not ModeName.SKIP]
_RULES = "Rules"
_REQUESTER = "Requesting user"


def _not_empty(value: str | None) -> str | None:
    """Reject an empty text, such as that of a shell variable that is not set: it would have no effect."""
    if value == "":
        raise typer.BadParameter("must not be empty; leave the option out to use the configuration's value")
    return value


def _namespace(value: str | None) -> str | None:
    """Reject an invalid namespace: no rule for a namespace would match it."""
    if value is not None and not is_namespace(value):
        raise typer.BadParameter("expected a name of lower-case letters, digits and '-', at most 63")
    return value


def _judging(value: ModeName | None) -> ModeName | None:
    """Reject the mode that would judge nothing."""
    if value is ModeName.SKIP:
        raise typer.BadParameter(f"expected one of {', '.join(_JUDGING)}")
    return value


class OutputFormat(StrEnum):
    """A table for people, or a document for machines."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar=variable("config"),
        metavar="FILE",
        help="The controller's configuration file, with Anchore's address and the rules.",
        rich_help_panel=_RULES,
    ),
]
AnchoreUrl = Annotated[
    str | None,
    typer.Option(
        "--anchore",
        metavar="URL",
        callback=_not_empty,
        help="Address of Anchore's API, instead of the configuration's anchore.endpoint; "
        "without a configuration file, images are judged in strict mode.",
        rich_help_panel=_RULES,
    ),
]
Mode = Annotated[
    ModeName | None,
    typer.Option(
        "--mode",
        metavar=f"<{'|'.join(_JUDGING)}>",
        callback=_judging,
        autocompletion=lambda: list(_JUDGING),
        help="Judge every image in this mode instead of its rule's; images that a rule skips stay skipped.",
        rich_help_panel=_RULES,
    ),
]
Policy = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="ID",
        callback=_not_empty,
        help="Evaluate this policy (bundle) for every image instead of its rule's.",
        rich_help_panel=_RULES,
    ),
]
Workloads = Annotated[
    WorkloadHandling | None,
    typer.Option(
        "--workloads",
        show_default="deny; a replay: the configuration's",
        help="How to judge Deployments and other templates, instead of the configuration's workloads: deny judges them "
        "like their Pods; final, warn and off work as in the configuration.",
        rich_help_panel=_RULES,
    ),
]
Opa = Annotated[
    str | None,
    typer.Option(
        "--opa",
        metavar="URL",
        callback=_not_empty,
        help="Address of an Open Policy Agent to ask, such as http://localhost:8181, instead of the configuration's "
        "opa.url.",
        rich_help_panel=_RULES,
    ),
]
NoOpa = Annotated[
    bool,
    typer.Option(
        "--no-opa",
        help="Do not ask the configuration's Open Policy Agent, which may only be reachable in the cluster.",
        rich_help_panel=_RULES,
    ),
]
IgnoreUnknownKinds = Annotated[
    bool,
    typer.Option(
        "--ignore-unknown-kinds",
        help="Exit with 0, not 3, if objects of unknown kinds were not checked; they are still counted.",
        rich_help_panel=_RULES,
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        callback=_namespace,
        show_default=NAMESPACE,
        help="Namespace of objects that name none, for rules that match it.",
        rich_help_panel=_REQUESTER,
    ),
]
NamespaceLabels = Annotated[
    Path | None,
    typer.Option(
        "--namespace-labels",
        metavar="FILE",
        help="Labels of namespaces, for rules that need them: a mapping of namespaces to their labels, or what kubectl "
        "get namespaces -o yaml prints; - for standard input.",
        rich_help_panel=_REQUESTER,
    ),
]
User = Annotated[
    str,
    typer.Option("--user", help="User who creates the objects, for rules about users.", rich_help_panel=_REQUESTER),
]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="GROUP", help="A group of that user; repeatable.", rich_help_panel=_REQUESTER),
]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.1, max=3600, metavar="SECONDS", help="Timeout of each object or image.")
]
TotalTimeout = Annotated[
    float,
    typer.Option(
        "--total-timeout",
        min=0.1,
        max=MAX_TOTAL_TIMEOUT,
        metavar="SECONDS",
        help="Timeout of the whole run, once its input is read; anything not reviewed by then has no verdict.",
    ),
]
Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="table for people, json or yaml for machines.")]
Explain = Annotated[
    bool,
    typer.Option("--explain", help="Also show why each image falls under its rule: the keys of other rules that fail."),
]
