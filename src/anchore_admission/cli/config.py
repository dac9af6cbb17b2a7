"""``anchore-admission config``: is a configuration right, and what may stand in one."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic_core import to_json

from anchore_admission.cli.failures import guarded
from anchore_admission.cli.inputs import read_configuration_file
from anchore_admission.cli.options import CONFIG_VARIABLE
from anchore_admission.models.configuration import Configuration
from anchore_admission.services.config.load import configuration_schema, parse_configuration

command = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Validate a configuration file, or print its JSON Schema.",
)

File = Annotated[
    Path, typer.Argument(metavar="FILE", envvar=CONFIG_VARIABLE, help="The configuration file; - for standard input.")
]


def validate(file: File) -> None:
    """Tell everything that is wrong with a configuration file, each problem with its path.

    Credentials are not looked at and Anchore is not asked. Exit code: 0 it is right, 2 it is not.
    """
    text, source = read_configuration_file(file)
    configuration = parse_configuration(text, source)
    typer.echo(f"{source}: valid; {_described(configuration)}")


def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    sys.stdout.write(to_json(configuration_schema(), indent=2).decode() + "\n")


def _described(configuration: Configuration) -> str:
    rules = [f"{rule.name} ({rule.mode or configuration.defaults.mode})" for rule in configuration.rules]
    return f"rules in order: {', '.join([*rules, f'defaults ({configuration.defaults.mode})'])}"


command.command("validate")(guarded(validate))
command.command("schema")(guarded(schema))
