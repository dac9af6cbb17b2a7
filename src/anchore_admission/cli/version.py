"""``anchore-admission version``: the program's version, and Python's."""

import platform

import typer

from anchore_admission import __version__


def command() -> None:
    """Print the version."""
    typer.echo(f"anchore-admission {__version__} (Python {platform.python_version()}, {platform.machine()})")
