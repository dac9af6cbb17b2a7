"""``anchore-admission config convert``: turn the Go controller's configuration into ours."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from anchore_admission.cli.conversion_files import (
    configuration_text,
    files_of,
    report_document,
    report_text,
    write_files,
)
from anchore_admission.cli.exit_codes import ExitCode
from anchore_admission.cli.failures import note
from anchore_admission.cli.inputs import read_configuration_file
from anchore_admission.core.convert.conversion import Conversion, convert
from anchore_admission.core.convert.namespaces import Namespace
from anchore_admission.core.convert.original import Rejected, read_configuration, read_credentials
from anchore_admission.core.convert.values import ChartValues, read_values
from anchore_admission.documents.objects import opened
from anchore_admission.documents.reader import load_documents
from anchore_admission.errors import ConfigurationError, DocumentError, Problem
from anchore_admission.models.configuration import Enforcement
from anchore_admission.services.config.load import parse_configuration
from anchore_admission.text import printable

_VALUES = "values"


class ReportFormat(StrEnum):
    """The report as text for people, or as JSON."""

    TEXT = "text"
    JSON = "json"


_Original = Annotated[
    Path | None, typer.Argument(metavar="CONFIG.JSON", help="The Go controller's config.json; - reads standard input.")
]
_Credentials = Annotated[
    Path | None,
    typer.Option("--credentials", metavar="FILE", help="Its credentials.json, for the Secrets; never printed."),
]
_Values = Annotated[
    Path | None,
    typer.Option(
        "--values",
        metavar="FILE",
        help="The values of its chart; without CONFIG.JSON, the selectors are read from here.",
    ),
]
_Namespaces = Annotated[
    Path | None,
    typer.Option(
        "--namespaces",
        metavar="FILE",
        help="The cluster's namespaces (kubectl get namespaces -o json), to check selectors for namespaces on them.",
    ),
]
_Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIRECTORY",
        help="Write configuration.yaml, values.yaml, a Secret for each user and report.json here, instead of printing "
        "the configuration.",
    ),
]
_Force = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]
_Enforcement = Annotated[
    Enforcement, typer.Option("--enforcement", help="defaults.enforcement; audit denies nothing, for comparing both.")
]
_Report = Annotated[ReportFormat, typer.Option("--report", help="text for people, json for machines.")]


def convert_configuration(
    *,
    original: _Original = None,
    credentials: _Credentials = None,
    values: _Values = None,
    namespaces: _Namespaces = None,
    output: _Output = None,
    force: _Force = False,
    enforcement: _Enforcement = Enforcement.AUDIT,
    report: _Report = ReportFormat.TEXT,
) -> None:
    """Convert the configuration of anchore/kubernetes-admission-controller, and report what is left to decide.

    What cannot be converted exactly gets the key undecided, with which the configuration is not valid. Exit code: 0
    everything is converted, 1 something is left to decide or to complete, 2 a file cannot be read or written.
    """
    if original is None and values is None:
        raise ConfigurationError("config convert", [Problem("", "give CONFIG.JSON, --values or both")])
    conversion = _converted(original, credentials, values, namespaces, enforcement)
    problems = _problems(conversion)
    text = _reported(conversion, problems, report)
    if output is None:
        sys.stdout.write(configuration_text(conversion))
        note(text.rstrip())
    else:
        files = files_of(conversion, problems)
        write_files(output, files, force=force)
        written = "" if report is ReportFormat.JSON else f"\nWritten to {output}: {', '.join(files)}\n"
        sys.stdout.write(printable(text + written, keep="\n"))
    if problems:
        raise typer.Exit(ExitCode.TO_DECIDE)


def _converted(
    original: Path | None,
    credentials: Path | None,
    values: Path | None,
    namespaces: Path | None,
    enforcement: Enforcement,
) -> Conversion:
    chart = _chart(values) if values else None
    configuration = _read(original, "configuration") if original else chart.configuration if chart else {}
    secret = _read(credentials, "credentials") if credentials else chart.credentials if chart else None
    return convert(
        _understood(original or values, read_configuration, configuration),
        None if secret is None else _understood(credentials or values, read_credentials, secret),
        chart.deployment if chart else None,
        enforcement,
        _cluster(namespaces) if namespaces else None,
    )


def _cluster(path: Path) -> tuple[Namespace, ...]:
    """Return the namespaces in a List. Raises ConfigurationError if there is none."""
    found = [it for it in opened(_read(path, "namespaces")) if isinstance(it, dict) and it.get("kind") == "Namespace"]
    metadata = [it["metadata"] for it in found if isinstance(it.get("metadata"), dict)]
    if not metadata:
        problem = Problem("", "expected namespaces, as kubectl get namespaces -o json prints them")
        raise ConfigurationError(str(path), [problem])
    return tuple(
        Namespace(str(it.get("name")), _texts(it.get("labels")), _texts(it.get("annotations"))) for it in metadata
    )


def _texts(value: Any) -> dict[str, str]:
    return {str(key): str(text) for key, text in value.items()} if isinstance(value, dict) else {}


def _chart(values: Path) -> ChartValues:
    document = _read(values, _VALUES)
    if not isinstance(document, dict):
        raise ConfigurationError(str(values), [Problem("", "expected the values of the Go controller's chart")])
    return read_values(document)


def _read(path: Path, what: str) -> Any:
    text, source = read_configuration_file(path)
    try:
        documents = load_documents(text, source=source, aliases=True)
    except DocumentError as error:
        raise ConfigurationError(source, error.problems) from error
    if not documents and what == _VALUES:  # `helm get values` prints null where none were given
        return {}
    if len(documents) != 1:
        raise ConfigurationError(source, [Problem("", f"expected one document with the {what}")])
    return documents[0]


def _understood(path: Path | None, read: Any, document: Any) -> Any:
    try:
        return read(document)
    except Rejected as error:
        raise ConfigurationError(str(path), error.problems) from error


def _problems(conversion: Conversion) -> list[Problem]:
    """Return what is left to do before the configuration is valid."""
    try:
        parse_configuration(configuration_text(conversion), "configuration.yaml")
    except ConfigurationError as error:
        return error.problems
    return []


def _reported(conversion: Conversion, problems: list[Problem], report: ReportFormat) -> str:
    if report is ReportFormat.JSON:
        return json.dumps(report_document(conversion, problems), indent=2) + "\n"
    return report_text(conversion, problems)
