"""The whole cluster: up in seconds, down without a trace, also after a crash."""

import contextlib
import fcntl
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from e2e.cluster import cert_manager, control_groups, images, network, packages, pki, programs
from e2e.cluster.api import Api
from e2e.cluster.control_plane import PKI, ControlPlane
from e2e.cluster.node import Node
from e2e.cluster.places import CACHE, IMAGES, LOCK, LOGS, NODES, PROGRAMS, STATE
from e2e.cluster.waiting import until

_SYSCTLS: Final = ("kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory")
SHIM: Final = "containerd-shim-runc-v2"
_DAEMONS: Final = (
    *("kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns"),
    *("kubelet", "containerd", SHIM),
)
"""Other programs, such as helm and kubectl, may also run for the tests of the chart."""
_SAVED: Final = CACHE / "sysctls"


def build(deadline: float, *, with_cert_manager: bool = False) -> None:
    """Everything that a cluster is started from. Raises RuntimeError or TimeoutExpired."""
    with _alone():
        packages.unpack()
        programs.build(deadline)
        _build_images(deadline)
        if with_cert_manager:
            cert_manager.build(deadline)


def _build_images(deadline: float) -> None:
    pause, busybox = IMAGES / "pause.tar", IMAGES / "busybox.tar"
    if not pause.exists():
        binary = PROGRAMS / "pause"
        programs.Go(deadline).binary(images.PAUSE_SOURCE, binary)
        images.write(pause, [images.PAUSE], ["/bin/pause"], {"bin/pause": binary})
    images.write(busybox, images.SLEEPING, images.SLEEP, {"bin/busybox": packages.BUSYBOX}, images.LINKS)


def why_not() -> str:
    """Return the reason why no cluster can run on this machine, or an empty string."""
    if platform.system() != "Linux" or os.geteuid():
        return "a cluster needs Linux and root"
    missing = [name for name in ("ip", "apt-get", "dpkg") if shutil.which(name) is None]
    return f"a cluster needs {', '.join(missing)}" if missing else ""


class Cluster:
    """Start it with this thread in its network namespace."""

    def __init__(self) -> None:
        self.control_plane = ControlPlane()
        self.nodes = [Node(place) for place in NODES]

    def start(self) -> None:
        pki.write(PKI)
        self.control_plane.start()
        for node in self.nodes:
            node.prepare()
            node.start()
        for node in self.nodes:
            self.await_node(node)

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
        self.control_plane.stop()

    def crash(self) -> None:
        """Kill all nodes as a power failure would: every process ends without a signal to stop."""
        for node in self.nodes:
            for daemon in (node.kubelet, node.containerd):
                daemon.stop(signal.SIGKILL)
        _kill(_running(SHIM))
        _kill(set(control_groups.processes()))

    def lose(self, node: Node) -> None:
        """Kill one node as a power failure would: its processes end, and packets to it are dropped."""
        network.cut_off(node.place)
        for daemon in (node.kubelet, node.containerd):
            daemon.stop(signal.SIGKILL)
        _kill({process for process in _running(SHIM) if str(node.place.socket) in _arguments(process)})
        _kill(set(control_groups.processes(node.name)))

    def recover(self, node: Node) -> None:
        """Start a lost node again."""
        network.reconnect(node.place)
        node.start()
        self.await_node(node)

    def load(self, archive: Path) -> None:
        for node in self.nodes:
            node.load(archive)

    def await_node(self, node: Node) -> None:
        with Api() as api:
            until(lambda: node.kubelet.require() and _is_ready(api, node.name), f"{node.name} is ready")


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    """A cluster for this thread, which is in its network namespace meanwhile."""
    with _alone():
        sweep()
        LOGS.mkdir(parents=True)
        STATE.mkdir(parents=True)
        _save_sysctls()
        network.create()
        try:
            with network.entered():
                cluster = Cluster()
                try:
                    cluster.start()
                    yield cluster
                finally:
                    cluster.stop()
        finally:
            sweep(keep_logs=True)


def down(seconds: float) -> bool:
    """Remove the leftovers of a crash, except the logs. Return False if it is in use for longer."""
    with _alone(seconds) as alone:
        if alone:
            sweep(keep_logs=True)
        return alone


def sweep(*, keep_logs: bool = False) -> None:
    """Remove all leftovers of an earlier cluster."""
    for name in ("kubelet", "containerd"):  # first the daemons that would restart Pods
        _kill(_running(name))
    _kill(set(control_groups.processes()))
    _kill(_running(*_DAEMONS) | set(network.processes()))
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted((mount for mount in mounts if mount.startswith(f"{STATE}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)  # noqa: S603, S607 - below our own folder
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(STATE):
            link.unlink()
    shutil.rmtree(STATE, ignore_errors=True)
    if not keep_logs:
        shutil.rmtree(LOGS, ignore_errors=True)
    network.remove()
    control_groups.remove()
    _restore_sysctls()


def _running(*names: str) -> set[int]:
    """Return the processes of our programs of these names, including replaced versions."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is a kernel thread
            program = (process / "exe").readlink()
            if program.is_relative_to(PROGRAMS) and program.name.removesuffix(" (deleted)") in names:
                found.add(int(process.name))
    return found


def _arguments(process: int) -> list[str]:
    with contextlib.suppress(OSError):  # it is gone
        return Path(f"/proc/{process}/cmdline").read_text().split("\0")
    return []


def _kill(processes: set[int]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    until(lambda: not any(map(_lives, processes)), f"processes {processes} have ended")


def _lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _is_ready(api: Api, name: str) -> bool:
    conditions = api.get(f"/api/v1/nodes/{name}")["status"]["conditions"]
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


@contextlib.contextmanager
def _alone(seconds: float = math.inf) -> Iterator[bool]:
    """Take the lock of the cluster. Yields False if another process holds it for longer than the timeout."""
    CACHE.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + seconds
    with LOCK.open("w") as lock:
        alone = _took(lock)
        if not alone:
            sys.stderr.write(f"waiting for the cluster in {CACHE} to go; E2E_CACHE chooses another place\n")
        while not alone and time.monotonic() < end:
            time.sleep(0.1)
            alone = _took(lock)
        yield alone


def _took(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _save_sysctls() -> None:
    """A kubelet changes these for the whole machine."""
    lines = [f"{name}={Path('/proc/sys', name).read_text().strip()}\n" for name in _SYSCTLS]
    _SAVED.write_text("".join(lines))


def _restore_sysctls() -> None:
    if _SAVED.exists():
        for line in _SAVED.read_text().splitlines():
            name, _, value = line.partition("=")
            Path("/proc/sys", name).write_text(value)
        _SAVED.unlink()
