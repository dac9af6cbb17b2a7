"""``down`` removes the leftovers of a killed run of the cluster tests, and touches nothing else."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster.cluster import why_not
from e2e.cluster.waiting import until
from support.paths import ROOT

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

DAEMONS = ("kubelet", "containerd", "containerd-shim-runc-v2", "etcd", "kube-apiserver", "coredns")
NETWORK = "from e2e.cluster import network; network.create(); print(network.FILE)"


class Machine:
    """A cache of its own, and programs that sleep."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self._stack = stack

    def start(self, file: str, *before: str) -> subprocess.Popen[bytes]:
        program = self.folder / file
        program.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(shutil.which("sleep")), program)
        process = subprocess.Popen([*before, program, "1000"])  # noqa: S603 - it sleeps
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        until(lambda: Path(f"/proc/{process.pid}/exe").readlink() == program, f"{file} runs")
        return process

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with this cache."""
        environment = {**os.environ, "E2E_CACHE": str(self.cache), "PYTHONPATH": str(ROOT / "tests")}
        command = (sys.executable, *arguments)
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own

    def down(self) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "e2e.cluster", "down", "0")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with contextlib.ExitStack() as stack:
        yield Machine(tmp_path, stack)


def test_daemons_end_and_shared_programs_keep_running(machine: Machine) -> None:
    daemons = [machine.start(f"cache/programs/some-v1/{name}") for name in DAEMONS]
    (machine.folder / "cache/programs/some-v1/kubelet").unlink()  # as a newer one takes its place
    others = [machine.start(f"cache/programs/some-v1/{name}") for name in ("helm", "kubectl", "kubeconform")]
    others += [machine.start("cache/packages/tools/promtool"), machine.start("elsewhere/kubelet")]

    assert machine.down().returncode == 0

    assert [daemon.wait(10) for daemon in daemons] == [-signal.SIGKILL] * len(daemons)
    assert [other.poll() for other in others] == [None] * len(others)


def test_the_state_is_removed_and_the_logs_are_kept(machine: Machine) -> None:
    for file in ("cluster/pki/ca.key", "logs/kubelet.log"):
        (machine.cache / file).parent.mkdir(parents=True)
        (machine.cache / file).touch()

    assert machine.down().returncode == 0

    assert not (machine.cache / "cluster").exists()
    assert (machine.cache / "logs/kubelet.log").exists()


def test_processes_in_the_network_namespace_are_ended(machine: Machine) -> None:
    made = machine.python("-c", NETWORK)
    if made.returncode:
        pytest.skip(f"no network namespace can be made here: {made.stderr.splitlines()[-1]}")
    network = Path(made.stdout.strip())
    inside = machine.start("cache/programs/some-v1/helm", "nsenter", f"--net={network}")

    assert machine.down().returncode == 0

    assert inside.wait(10) == -signal.SIGKILL
    assert not network.exists()


def test_a_cluster_in_use_is_left_alone(machine: Machine) -> None:
    daemon = machine.start("cache/programs/some-v1/kubelet")
    with (machine.cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        done = machine.down()

    assert done.returncode == 3
    assert "the cluster is in use, and is left alone" in done.stderr
    assert daemon.poll() is None
