"""Run ``anchore-admission`` in this process or in a subprocess, and keep its output."""

import io
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from anchore_admission.cli.main import run

CREDENTIALS = {
    "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_USERNAME": "admin",
    "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_PASSWORD": "foobar",
}


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """Calls the program with the sandbox's credentials in its environment, and nothing else of ours."""

    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch

    def __call__(self, *arguments: object, stdin: str = "", environ: Mapping[str, str] | None = None) -> Ended:
        with self.patch.context() as patch:
            for name, value in clean_environment(CREDENTIALS if environ is None else environ).items():
                patch.setenv(name, value)
            for name in set(os.environ) - set(clean_environment()) - set(environ or CREDENTIALS):
                patch.delenv(name)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            with pytest.raises(SystemExit) as ended:
                run([str(argument) for argument in arguments])
        out, err = self.capture.readouterr()
        return Ended(int(ended.value.code or 0), out, err)


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this environment without variables that configure or color the program, plus ``more``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**kept, **(more or {})}


_OURS = ("ANCHORE_ADMISSION_", "_ANCHORE_ADMISSION_", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "TERMINAL_WIDTH")
