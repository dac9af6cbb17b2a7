"""Measured figures, printed."""

import os


def show(text: str) -> None:
    """Print a figure with the load of the machine, without which it says little."""
    print(f"\n{text}; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors", end="")  # noqa: T201 - what was asked for
