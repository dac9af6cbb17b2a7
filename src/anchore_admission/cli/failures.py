"""Turn the failures of commands into a short explanation on stderr and an exit code that never means admitted."""

import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from anchore_admission.cli.exit_codes import ExitCode
from anchore_admission.errors import AnchoreAdmissionError
from anchore_admission.ports.logs import LogFormat, LogLevel
from anchore_admission.redaction import redacted
from anchore_admission.text import printable
from anchore_admission.wiring.logs import configure_logging

_DEBUG = "debug"
_LOG_LEVEL = "log_level"

Debug = Annotated[bool, typer.Option("--debug", help="Log everything on stderr, and show the trace of an error.")]


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Prepare a command for Typer: explain its failures, reflow its help, and add the option ``--debug``.

    A command with ``--log-level`` configures its own logs and gets no ``--debug``.
    """
    signature = inspect.signature(command)
    parameters = list(signature.parameters.values())
    if _LOG_LEVEL not in signature.parameters:
        parameters.append(inspect.Parameter(_DEBUG, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Debug))

    @functools.wraps(command)
    def run(**options: Any) -> None:
        debug = options.get(_LOG_LEVEL) is LogLevel.DEBUG or options.pop(_DEBUG, False)
        _prepare_logs(debug=debug)
        with explained(debug=debug):
            command(**options)
            # Within the guard: at exit, Python would print the error itself and end with the exit code 120.
            sys.stdout.flush()

    # Typer takes the options from the signature and the help from the docstring.
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__doc__ = _flowing(inspect.getdoc(command) or "")
    return run


@contextmanager
def explained(*, debug: bool) -> Iterator[None]:
    """Turn an exception into a line on stderr and an exit code; Typer handles its own exceptions."""
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except KeyboardInterrupt as interrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from interrupt
    except BrokenPipeError as error:
        discard_output()
        raise typer.Exit(ExitCode.BROKEN_PIPE) from error
    except Exception as error:
        if debug:
            logging.getLogger("anchore_admission").exception("the command failed")
        _explain(error, debug=debug)
        raise typer.Exit(ExitCode.FAILED) from error


def note(text: str, style: str = "") -> None:
    """Write lines to stderr, without characters that control a terminal."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(printable(text, keep="\n"), style=style))


def _flowing(text: str) -> str:
    """Remove the line breaks inside paragraphs, which Typer would keep."""
    return "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in text.split("\n\n"))


def _explain(error: Exception, *, debug: bool) -> None:
    if isinstance(error, AnchoreAdmissionError):
        note(f"Error: {error}", "red")
        return
    hint = "" if debug else " (--debug shows where)"
    note(f"Error: unexpected {type(error).__name__}: {redacted(str(error))}{hint}", "red")


def _prepare_logs(*, debug: bool) -> None:
    """Log everything with ``--debug``, nothing without. Commands that always log configure it themselves."""
    if debug:
        configure_logging(LogLevel.DEBUG, LogFormat.TEXT)
    elif not logging.getLogger().handlers:
        # Without any handler, Python prints warnings to stderr (``logging.lastResort``).
        logging.getLogger().addHandler(logging.NullHandler())


def discard_output() -> None:
    """Discard the rest of the output after its reader went away, so that Python's flush at exit does not fail.

    Source: docs.python.org, "signal", "Note on SIGPIPE".
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
