"""What becomes of a command that fails: a short explanation on stderr, and an exit code that never says admitted."""

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

from anchore_admission.adapters.logs import configure_logging
from anchore_admission.adapters.redaction import redacted
from anchore_admission.errors import AnchoreAdmissionError
from anchore_admission.ports.logs import LogFormat, LogLevel
from anchore_admission.text import printable

CANNOT_TELL = 2
INTERRUPTED = 130
BROKEN_PIPE = 141
"""What a shell reports for a program that SIGPIPE ends; 1 would mean denied."""
_DEBUG = "debug"
_LOG_LEVEL = "log_level"

Debug = Annotated[bool, typer.Option("--debug", help="Log everything on stderr, and show the trace of an error.")]


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """The command as Typer gets it: its failures explained, its help flowing, and the option ``--debug``.

    A command that has ``--log-level`` sets its logs up itself and gets no other option for it.
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
            sys.stdout.flush()

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__doc__ = _flowing(inspect.getdoc(command) or "")
    return run


@contextmanager
def explained(*, debug: bool) -> Iterator[None]:
    """Turn whatever is raised into a line for people and an exit code; what Typer raises is Typer's."""
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except KeyboardInterrupt as interrupt:
        raise typer.Exit(INTERRUPTED) from interrupt
    except BrokenPipeError as error:
        discard_output()
        raise typer.Exit(BROKEN_PIPE) from error
    except Exception as error:
        if debug:
            logging.getLogger("anchore_admission").exception("the command failed")
        _tell(error, debug=debug)
        raise typer.Exit(CANNOT_TELL) from error


def note(text: str, style: str = "") -> None:
    """Write lines for people beside the output, without characters that command a terminal."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(printable(text, keep="\n"), style=style))


def _flowing(text: str) -> str:
    """Paragraphs without the line breaks of the source, which Typer would keep."""
    return "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in text.split("\n\n"))


def _tell(error: Exception, *, debug: bool) -> None:
    if isinstance(error, AnchoreAdmissionError):
        note(f"Error: {error}", "red")
        return
    hint = "" if debug else " (--debug shows where)"
    note(f"Error: unexpected {type(error).__name__}: {redacted(str(error))}{hint}", "red")


def _prepare_logs(*, debug: bool) -> None:
    """Without ``--debug``, a command speaks for itself; those that log set it up themselves."""
    if debug:
        configure_logging(LogLevel.DEBUG, LogFormat.TEXT)
    elif not logging.getLogger().handlers:
        logging.getLogger().addHandler(logging.NullHandler())


def discard_output() -> None:
    """Nobody reads any more, so that Python's flush at the end must not fail. Source: docs.python.org, "signal"."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
