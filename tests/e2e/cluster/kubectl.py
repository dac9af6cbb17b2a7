"""kubectl and helm, as people use them."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster.programs import search_path


class Kubectl:
    def __init__(self, kubeconfig: Path, home: Path) -> None:
        self.home = home
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PATH": search_path(), "HOME": str(home)}

    def run(self, *command: str, stdin: str | None = None, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Run kubectl and return its result, whatever the exit code."""
        return subprocess.run(  # noqa: S603 - kubectl and helm
            command,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            env=self._environment,
        )

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(command, env=self._environment, stdout=subprocess.PIPE, text=True)  # noqa: S603 - kubectl

    def __call__(self, *arguments: str, stdin: str | None = None, seconds: float = 300) -> str:
        """Return the output of kubectl. Raises RuntimeError if it fails."""
        return self._said("kubectl", *arguments, stdin=stdin, seconds=seconds)

    def helm(self, *arguments: str, seconds: float = 420) -> str:
        """Return the output of helm. Raises RuntimeError if it fails."""
        return self._said("helm", *arguments, seconds=seconds)

    def apply(self, *things: Mapping[str, Any]) -> str:
        return self("apply", "-f", "-", stdin=yaml.safe_dump_all(things))

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("get", "-o", "json", *arguments))
        return found

    def _said(self, *command: str, stdin: str | None = None, seconds: float = 300) -> str:
        done = self.run(*command, stdin=stdin, seconds=seconds)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}{done.stdout}")
        return done.stdout
