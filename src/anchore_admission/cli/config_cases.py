"""``anchore-admission config test``: run cases against the rules of a configuration, without Anchore."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from anchore_admission.cli import options
from anchore_admission.cli.exit_codes import ExitCode
from anchore_admission.cli.inputs import read_configuration_file
from anchore_admission.cli.manual import Overrides, configured
from anchore_admission.cli.output import write_document
from anchore_admission.core.rules.book import DEFAULTS_NAME
from anchore_admission.models.cases import Case
from anchore_admission.models.configuration import Configuration, WorkloadHandling
from anchore_admission.services.config.cases import parse_cases
from anchore_admission.services.reviews.cases import differences
from anchore_admission.settings import variable
from anchore_admission.text import shown
from anchore_admission.wiring.explaining import reviews_for_cases

_Cases = Annotated[Path, typer.Argument(metavar="FILE", help="The file of cases; - reads standard input.")]
_Config = Annotated[
    Path,
    typer.Option("--config", "-c", envvar=variable("config"), metavar="FILE", help="The configuration to test."),
]
_NAME_LIMIT = 200


@dataclass(frozen=True, slots=True)
class _Result:
    name: str
    differences: list[str]


def run_cases(*, file: _Cases, config: _Config, output: options.Output = options.OutputFormat.TABLE) -> None:
    """Run cases against the rules of a configuration: which rule, mode, policy or exemption applies?

    A case is an image or object with its namespace, the namespace's labels, user and groups, and the expected outcome.
    Anchore is not contacted, and no credentials are needed.

    Exit code: 0 all cases pass, 1 a case fails, 2 a file is not valid.
    """
    cases = parse_cases(*read_configuration_file(file))
    configuration = configured(Overrides(config, workloads=WorkloadHandling.DENY))
    results = asyncio.run(_results(cases, configuration))
    failed = [result for result in results if result.differences]
    if output is options.OutputFormat.TABLE:
        typer.echo("\n".join([*map(_line, results), _summary(results, failed)]))
    else:
        write_document(_document(results), output)
    raise typer.Exit(ExitCode.TEST_FAILED if failed else ExitCode.OK)


async def _results(cases: list[Case], configuration: Configuration) -> list[_Result]:
    reviews = reviews_for_cases(configuration)
    rules = {DEFAULTS_NAME, *(rule.name for rule in configuration.rules)}
    return [
        _Result(_name(case, number), await differences(case, reviews(case.namespace_labels), rules))
        for number, case in enumerate(cases)
    ]


def _name(case: Case, number: int) -> str:
    return shown(case.name or f"cases[{number}]", _NAME_LIMIT)


def _line(result: _Result) -> str:
    if not result.differences:
        return f"passed  {result.name}"
    return "\n".join([f"FAILED  {result.name}", *(f"          {text}" for text in result.differences)])


def _summary(results: list[_Result], failed: list[_Result]) -> str:
    number = f"{len(results)} case{'' if len(results) == 1 else 's'}"
    return f"\n{number}: {len(results) - len(failed)} passed, {len(failed)} failed"


def _document(results: list[_Result]) -> dict[str, Any]:
    return {
        "passed": not any(result.differences for result in results),
        "cases": [
            {"name": result.name, "passed": not result.differences, "differences": result.differences}
            for result in results
        ],
    }
