#!/usr/bin/env python3
"""Draw the README's picture of a denial from what ``anchore-admission demo`` prints: docs/pictures/denial.svg.

``tests/e2e/test_program.py`` fails when the demo prints something other than the picture shows.
"""

import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "denial.svg"
WIDTH = 100
ENVIRONMENT = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(WIDTH), "NO_COLOR": ""}
"""Variables that make the demo print as to a terminal of that width."""
_REMOTE_FONT = re.compile(r"@font-face \{\{.*?\}\}\s*(?=\.\{unique_id\}|@font-face)", re.DOTALL)
_FIRST, _LAST = "After the analyses", "Try it yourself"


def picture(output: str) -> str:
    """Draw the second half of the demo as an SVG, without the fonts that Rich would load from the network."""
    text = Text.from_ansi(output)
    start = text.plain.index(_FIRST)
    text = text[start : text.plain.index(_LAST, start)]
    text.rstrip()
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text("$ make demo", style="bold"), Text("…\n"), sep="\n")
    console.print(text, highlight=False)
    template = _REMOTE_FONT.sub("", CONSOLE_SVG_FORMAT)
    return console.export_svg(title="anchore-admission", theme=DIMMED_MONOKAI, code_format=template, unique_id="denial")


def main() -> None:
    """Run the demo and write the picture."""
    command = [sys.executable, "-m", "anchore_admission", "demo", "--once", "--port", "0"]
    done = subprocess.run(command, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=True)  # noqa: S603 - our own program
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture(done.stdout))


if __name__ == "__main__":
    main()
