"""``anchore-admission config``: validate, test or convert a configuration file, or print its JSON Schema."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from pydantic_core import to_json

from anchore_admission.cli.config_cases import run_cases
from anchore_admission.cli.config_convert import convert_configuration
from anchore_admission.cli.exit_codes import ExitCode
from anchore_admission.cli.failures import guarded, note
from anchore_admission.cli.inputs import read_configuration_file
from anchore_admission.models.configuration import Configuration
from anchore_admission.services.config.load import configuration_schema, parse_configuration
from anchore_admission.services.config.warnings import warnings_about
from anchore_admission.settings import variable

command = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Validate, test or convert a configuration file, or print its JSON Schema.",
)

File = Annotated[
    Path,
    typer.Argument(metavar="FILE", envvar=variable("config"), help="The configuration file; - reads standard input."),
]


Strict = Annotated[bool, typer.Option("--strict", help="Treat warnings as errors: exit with 2.")]


def validate(*, file: File, strict: Strict = False) -> None:
    """Report every problem of a configuration file, with its path.

    Credentials are not read and Anchore is not contacted. Warnings point out what is valid but probably not meant:
    rules that never apply, rules that let everything through, rules and exemptions by which any author avoids a
    denial, exemptions that expire.

    Exit code: 0 the file is valid, 2 it is not. Warnings do not change it, except with --strict.
    """
    text, source = read_configuration_file(file)
    configuration = parse_configuration(text, source)
    warnings = list(warnings_about(configuration, time.time()))
    for problem in warnings:
        note(f"Warning: {source}: {problem}", "yellow")
    if warnings and strict:
        note(f"Error: {source}: {len(warnings)} warning(s), which --strict does not accept", "red")
        raise typer.Exit(ExitCode.FAILED)
    typer.echo(f"{source}: valid; {_described(configuration)}")


def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    sys.stdout.write(to_json(configuration_schema(), indent=2).decode() + "\n")


def _described(configuration: Configuration) -> str:
    rules = [f"{rule.name} ({rule.mode or configuration.defaults.mode})" for rule in configuration.rules]
    return f"rules in order: {', '.join([*rules, f'defaults ({configuration.defaults.mode})'])}"


command.command("validate")(guarded(validate))
command.command("test")(guarded(run_cases))
command.command("schema")(guarded(schema))
command.command("convert")(guarded(convert_configuration))
