"""The options that commands share, each written once."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from anchore_admission.documents.objects import DEFAULT_NAMESPACE, is_namespace
from anchore_admission.models.configuration import WorkloadHandling

CONFIG_VARIABLE = "ANCHORE_ADMISSION_CONFIG"
EXIT_CODES = "Exit code: 0 all admitted, 1 something is denied, 2 something could not be told or read."
REVIEW_EXIT_CODES = EXIT_CODES.removesuffix(".") + ", 3 something was not checked: its kind is not known."
_RULES = "Rules"
_ASKER = "On whose behalf"


def _not_empty(value: str | None) -> str | None:
    """Reject an empty text, as of a variable that is not set: it would leave the configuration's value in place."""
    if value == "":
        raise typer.BadParameter("must not be empty; leave the option out to use the configuration's value")
    return value


def _namespace(value: str) -> str:
    """Reject what is no namespace: no rule for a namespace would match it."""
    if not is_namespace(value):
        raise typer.BadParameter("expected a name of lower-case letters, digits and '-', at most 63")
    return value


class OutputFormat(StrEnum):
    """For people, or for machines."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


class Judging(StrEnum):
    """The modes that may stand for those of all rules."""

    PASSIVE = "passive"
    ANALYSIS = "analysis"
    STRICT = "strict"


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar=CONFIG_VARIABLE,
        metavar="FILE",
        help="The controller's configuration file: which Anchore, which rules.",
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
    Judging | None,
    typer.Option(
        "--mode",
        help="Judge every image in this mode, whatever its rule says; what a rule skips stays skipped.",
        rich_help_panel=_RULES,
    ),
]
Policy = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="ID",
        callback=_not_empty,
        help="Evaluate this policy (bundle) for every image, whatever its rule says.",
        rich_help_panel=_RULES,
    ),
]
Workloads = Annotated[
    WorkloadHandling,
    typer.Option(
        "--workloads",
        help="How Deployments and other templates are judged, whatever the configuration says: deny like the Pods "
        "they make; final, warn and off as the controller does with that setting.",
        rich_help_panel=_RULES,
    ),
]
IgnoreUnknownKinds = Annotated[
    bool,
    typer.Option(
        "--ignore-unknown-kinds",
        help="Exit with 0, not 3, when objects of unknown kinds were not checked; they are still counted.",
        rich_help_panel=_RULES,
    ),
]
Namespace = Annotated[
    str,
    typer.Option(
        "--namespace",
        "-n",
        callback=_namespace,
        help="Namespace of what names none, for rules that match it.",
        rich_help_panel=_ASKER,
    ),
]
User = Annotated[
    str,
    typer.Option("--user", help="Who creates the objects, for rules that match users.", rich_help_panel=_ASKER),
]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="GROUP", help="A group of that user; may be given again.", rich_help_panel=_ASKER),
]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.1, max=3600, metavar="SECONDS", help="For each object or image.")
]
Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="table for people, json or yaml for machines.")]

DEFAULT_TIMEOUT = 30.0
NAMESPACE = DEFAULT_NAMESPACE
