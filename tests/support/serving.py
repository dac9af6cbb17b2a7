"""``serve --insecure-http`` as a process of its own."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.command_line import CREDENTIALS, clean_environment
from support.listening import HOST

_LISTENING = re.compile(r"listening on (http://[^\"\s]+)")


@dataclass
class Serving:
    """A process, the lines of its log until it was ready, and the addresses of its ports."""

    process: subprocess.Popen[str]
    lines: list[str]
    address: str
    operations: str


@contextmanager
def serving(configuration: Path, *options: str | Path) -> Iterator[Serving]:
    """Start the controller on free ports, wait until it listens, and kill it after the block."""
    ports = ("--host", HOST, "--port", "0", "--operations-port", "0", "--insecure-http", "--log-level", "info")
    with subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-m", "anchore_admission", "serve", "--config", configuration, *ports, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=clean_environment(CREDENTIALS),
    ) as process:
        assert process.stdout
        lines: list[str] = []
        try:
            while len(addresses := _LISTENING.findall("".join(lines))) < 2:
                lines.append(process.stdout.readline())
                assert lines[-1], lines
            yield Serving(process, lines, *addresses)
        finally:
            process.kill()
