"""A progress bar on a terminal's stderr while many reviews run."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich import progress
from rich.console import Console

from anchore_admission.services.reviews.manual import Progress

MANY = 10


def _silent(_ended: int, _all: int) -> None:
    """Show nothing without a terminal."""


@contextmanager
def progress_on_terminal() -> Iterator[Progress]:
    """Provide a callback for the number of finished reviews; a few reviews draw no bar. A total of 0 is unknown."""
    if not sys.stderr.isatty():
        yield _silent
        return
    bar = _bar()
    task = bar.add_task("", total=None)

    def update(ended: int, of: int) -> None:
        bar.update(task, completed=ended, total=of or None)
        if max(ended, of) >= MANY and not bar.live.is_started:
            bar.start()

    try:
        yield update
    finally:
        if bar.live.is_started:
            bar.stop()


def _bar() -> progress.Progress:
    columns = (progress.TextColumn("Reviewing"), progress.BarColumn(), progress.MofNCompleteColumn())
    return progress.Progress(*columns, console=Console(stderr=True), transient=True)
