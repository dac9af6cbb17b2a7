"""Programs and libraries from Debian packages: unpacked into the cache, nothing is installed."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from e2e.cluster.places import PACKAGES, ROOT, TOOLS

NAMES: Final = (
    *("runc", "containernetworking-plugins", "busybox-static"),
    *("nftables", "libnftables1", "libnftnl11", "libxtables12"),
    *("conntrack", "libnetfilter-conntrack3", "libnfnetlink0"),
)
RUNC: Final = ROOT / "usr/sbin/runc"
PLUGINS: Final = ROOT / "usr/lib/cni"
BUSYBOX: Final = ROOT / "bin/busybox"
REGISTRY: Final = TOOLS / "docker-registry"
_TOOLS: Final = {"prometheus": "promtool", "docker-registry": REGISTRY.name}
"""Packages of which one program is enough; it needs nothing but the C library."""


def unpack() -> None:
    """Raises RuntimeError when the packages cannot be fetched."""
    if not ROOT.exists():
        _fetched(*NAMES).rename(ROOT)
    TOOLS.mkdir(parents=True, exist_ok=True)
    for package, program in _TOOLS.items():
        if not (TOOLS / program).exists():
            part = _fetched(package)
            (part / "usr/bin" / program).rename(TOOLS / program)
            shutil.rmtree(part)


def _fetched(*names: str) -> Path:
    """A folder with what the packages hold."""
    PACKAGES.mkdir(parents=True, exist_ok=True)
    _run("apt-get", "update", "-qq")
    _run("apt-get", "download", "-qq", *names)
    part = ROOT.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    for file in PACKAGES.glob("*.deb"):
        _run("dpkg", "-x", str(file), str(part))
        file.unlink()
    return part


def environment() -> dict[str, str]:
    """Return the environment in which kube-proxy and containerd can run programs of these packages."""
    libraries = next((ROOT / "usr/lib").glob("*-linux-gnu"))
    path = os.pathsep.join([str(ROOT / "usr/sbin"), os.environ["PATH"]])
    own = {"LD_LIBRARY_PATH": str(libraries), "XTABLES_LIBDIR": str(libraries / "xtables")}
    return {**os.environ, "PATH": path, **own}


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=PACKAGES, check=False, capture_output=True, text=True)  # noqa: S603 - Debian's own
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
