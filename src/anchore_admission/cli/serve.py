"""``anchore-admission serve``: the controller itself."""

import inspect
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from anchore_admission.memory import return_large_blocks
from anchore_admission.models.quantities import written_duration
from anchore_admission.process import prepared, run
from anchore_admission.settings import Settings, declared, flag, value_type, variable
from anchore_admission.wiring.logs import configure_logging


def command(**flags: Any) -> None:
    """Answer the API server's AdmissionReviews.

    The webhook port speaks TLS with the given certificate; health and metrics are on the operations port. A flag
    overrides its environment variable. Stops gracefully on SIGTERM.
    """
    settings = Settings.load(**flags)
    settings.require_serving()
    configure_logging(settings.log_level, settings.log_format)
    # Before anything large is read: it applies to blocks that are allocated from now on.
    return_large_blocks()
    uvloop.run(run(prepared(settings)))


def _parameter(name: str) -> inspect.Parameter:
    """Derive the option of a setting.

    Typer checks only paths and enumerations. ``Settings`` checks the other values, as it checks variables, so that all
    problems are reported together.
    """
    setting, kind = declared(name), value_type(name)
    names, help_text, shared = [flag(name)], setting.help, {"rich_help_panel": setting.group}
    if kind is bool and Settings.model_fields[name].default:
        names = [f"{flag(name)}/--no-{name}"]
    if setting.short:
        names.append(f"-{setting.short}")
    if kind in {bool, tuple}:  # Typer would read the variable in a way of its own
        # The backslash: Rich would take the bracket for markup.
        help_text += rf" \[env var: {variable(name)}{', separated by commas' if kind is tuple else ''}]"
    else:
        shared["envvar"] = variable(name)
    option = typer.Option(
        *names,
        help=help_text,
        show_default=_shown_default(name),
        case_sensitive=False,
        metavar="NAME" if kind is tuple else None,
        **shared,  # type: ignore[arg-type]
    )
    accepted: Any = list[str] if kind is tuple else kind if issubclass(kind, bool | Path | StrEnum) else str
    annotation = Annotated[accepted | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _shown_default(name: str) -> str | bool:
    """Return the default for the help; False shows none."""
    default, kind = Settings.model_fields[name].default, value_type(name)
    if default in (None, ()) or kind is bool:
        return name if default is True else False
    return written_duration(default) if kind is float else str(default)


command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [_parameter(name) for name in Settings.model_fields]
)
