"""``build [SECONDS [cert-manager]]``, ``down [SECONDS]``, ``run COMMAND…`` in a cluster, ``in COMMAND…`` in tests'."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence

from e2e.cluster import network
from e2e.cluster.cluster import build, down, running, why_not
from e2e.cluster.places import KUBECONFIG
from e2e.cluster.programs import search_path

CANNOT = 3
"""Exit code: not on this machine, or not in this time."""


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] not in {"build", "run", "in", "down"}:
        sys.stderr.write(f"usage: python -m e2e.cluster {__doc__}\n")
        return 2
    if reason := why_not():
        sys.stderr.write(f"{reason}\n")
        return CANNOT
    match arguments[0]:
        case "build":
            return _build(float(arguments[1]) if len(arguments) > 1 else 3600, "cert-manager" in arguments[2:])
        case "down":
            return _down(float(arguments[1]) if len(arguments) > 1 else 10)
        case "run":
            build(time.monotonic() + 3600)
            with running():
                return _command(arguments[1:])
        case _:
            with network.entered():
                return _command(arguments[1:])


def _build(seconds: float, with_cert_manager: bool) -> int:
    began = time.monotonic()
    try:
        build(began + seconds, with_cert_manager=with_cert_manager)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"the cluster's programs are not built: {error}\n")
        return CANNOT
    sys.stdout.write(f"the cluster's programs are ready after {time.monotonic() - began:.0f} s\n")
    return 0


def _down(seconds: float) -> int:
    if down(seconds):
        return 0
    sys.stderr.write("the cluster is in use, and is left alone\n")
    return CANNOT


def _command(command: Sequence[str]) -> int:
    environment = {**os.environ, "KUBECONFIG": str(KUBECONFIG), "PATH": search_path()}
    return subprocess.run(command or ["bash"], check=False, env=environment).returncode  # noqa: S603 - what was asked for


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
