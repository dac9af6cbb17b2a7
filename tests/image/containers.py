"""Containers of the image that ``tools/image/build`` made, run as tightly as a cluster would run them."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from support.paths import ROOT

TOOLS = ROOT / "tools/image"
IMAGE = "localhost/anchore-admission:ci"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anchore-admission/image"
ARCHIVE = CACHE / "anchore-admission.tar"
SBOM = CACHE / "anchore-admission.cdx.json"
PYTHON = "/app/bin/python"
MEMORY = "256m"

HARDENED = (
    *("--pull", "never", "--network", "host", "--no-healthcheck", "--log-driver", "k8s-file"),
    *("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096", "--memory", MEMORY),
    *("--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp:rw,noexec,nosuid,nodev,size=64m,mode=1777"),  # noqa: S108 - of the container
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)


def podman(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(TOOLS / "podman"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - our own


def answered(arguments: tuple[object, ...]) -> str:
    done = podman(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Container:
    def __init__(self, name: str) -> None:
        self.name = name

    def inspect(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(answered(("inspect", "--type", "container", self.name)))
        return found[0]

    def logs(self) -> str:
        done = podman("logs", self.name)
        return done.stdout + done.stderr

    def exec(self, *command: str) -> subprocess.CompletedProcess[str]:
        return podman("exec", self.name, *command)

    def python(self, code: str) -> Any:
        """Run a program in the container and return its JSON output."""
        return json.loads(answered(("exec", self.name, PYTHON, "-c", f"import json, os, pathlib\n{code}")))

    def stop(self) -> int:
        """Stop the container with SIGTERM and return the exit code; 137 if it had to be killed."""
        answered(("stop", "--time", 10, self.name))
        code: int = self.inspect()["State"]["ExitCode"]
        return code

    def wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end, f"{self.name} is not there:\n{self.logs()}"
            time.sleep(0.01)


@contextlib.contextmanager
def running(
    *command: object, mounts: Mapping[Path, str] | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Container]:
    volumes = [f"--volume={source}:{target}:ro" for source, target in (mounts or {}).items()]
    variables = [f"--env={name}={value}" for name, value in (environment or {}).items()]
    container = Container(answered(("run", "--detach", *HARDENED, *volumes, *variables, IMAGE, *command)).strip())
    try:
        yield container
    finally:
        podman("rm", "--force", "--time", 0, container.name)
