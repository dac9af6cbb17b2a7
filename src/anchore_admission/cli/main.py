"""The program ``anchore-admission``: a command is imported only to run it or to show its help."""

import io
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from anchore_admission import __version__

PROGRAM = "anchore-admission"
_LAST_STREAM = 2
"""The file descriptor of standard error."""
COMMANDS = {
    "serve": "Answer the API server's AdmissionReviews.",
    "review": "Review manifests, recorded requests or a live cluster as the admission controller would.",
    "check": "Check images as the admission controller would.",
    "explain": "Explain which rule applies to images or manifests, and why others do not.",
    "config": "Validate, test or convert a configuration file, or print its JSON Schema.",
    "webhook": "Print the ValidatingWebhookConfiguration for kubectl apply -f -.",
    "provider": "Print Gatekeeper's Provider for kubectl apply -f -.",
    "probe": "Call the webhook the way an API server does, with a review that changes nothing.",
    "sandbox": "Run a simulated Anchore that needs no registry and no database.",
    "demo": "Show the product working: a simulated Anchore, the controller, and Pods in each mode.",
    "health": "Check that the controller on this machine is ready.",
    "forget": "Make the controller in this Pod forget what Anchore answered.",
    "version": "Print the version.",
}
"""The commands in the order of the help. The summaries repeat docstrings, so that the help imports no command."""

EPILOG = f"See {PROGRAM} COMMAND --help for the options of a command. --install-completion sets up shell completion."


class LazyGroup(TyperGroup):
    """A group whose commands are placeholders, with name and summary, until one is resolved."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, summary in COMMANDS.items():
            self.add_command(TyperCommand(name, help=summary), name)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in COMMANDS else command, rest


app = typer.Typer(
    cls=LazyGroup,
    name=PROGRAM,
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def load(name: str) -> Any:
    """Import a command, ready to be run."""
    from anchore_admission.cli.failures import guarded  # noqa: PLC0415 - the help does not need it

    module = import_module(f"{__package__}.{name}")
    if isinstance(module.command, typer.Typer):
        return typer.main.get_command(module.command)
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    single.command(name, epilog=getattr(module, "EPILOG", None))(guarded(module.command))
    return typer.main.get_command(single)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Ask Anchore about every container image before Kubernetes runs it."""


def _write_any_text() -> None:
    """Escape characters that the encoding of a terminal or pipe lacks, for example with ``PYTHONIOENCODING=ascii``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _open_closed_streams() -> None:
    """Open streams that were closed at the start on the null device.

    A socket or file that is opened later would otherwise take the place of the closed stream. Standard input stays
    None: a command that reads it reports that it is closed.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _LAST_STREAM:
        pass
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for as long as the program runs


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the program; always ends in SystemExit."""
    if os.getpid() == 1:  # in a container: the kernel sends it no signal without a handler
        signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    _open_closed_streams()
    _write_any_text()
    try:
        typer.main.get_command(app).main(args=arguments, prog_name=PROGRAM)
    except OSError as error:  # from help and version, which no command guards
        from anchore_admission.cli.exit_codes import ExitCode  # noqa: PLC0415 - only needed on failure
        from anchore_admission.cli.failures import discard_output, note  # noqa: PLC0415 - only needed on failure

        discard_output()
        note(f"Error: cannot write the output: {error.strerror or error}", "red")
        sys.exit(ExitCode.FAILED)
