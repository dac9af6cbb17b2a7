"""The network namespace that holds all of the cluster's traffic; tests step into it."""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from e2e.cluster import packages
from e2e.cluster.places import MAIN, NAME, NODES, ROOT, SERVICES, Place

FILE: Final = Path("/run/netns") / NAME
_CLONE_NEWNET: Final = 0x40000000
_LOOPED_BACK: Final = """
table ip e2e {{
    chain looped-back {{
        type nat hook postrouting priority 110;
        ct status dnat ip saddr {pods} ip daddr {pods} masquerade
    }}
}}
"""
_CUT_OFF_TABLE: Final = "e2e-cut-off-{name}"
_CUT_OFF: Final = f"""
table ip {_CUT_OFF_TABLE} {{{{
    chain sent {{{{
        type filter hook output priority 0;
        ip daddr {{pods}} drop
    }}}}
    chain forwarded {{{{
        type filter hook forward priority 0;
        ip daddr {{pods}} drop
    }}}}
}}}}
"""
_libc = ctypes.CDLL(None, use_errno=True)


def create() -> None:
    """One interface with the addresses of the nodes; Services are routed to it, so that kube-proxy sees them.

    Pods that reach themselves through a Service need another source address. The one kube-proxy gives it to Pods of its
    own node only; a replica on the other would ask itself in vain.
    """
    _ip("netns", "add", NAME)
    with entered():
        _ip("link", "set", "lo", "up")
        _ip("link", "add", "node0", "type", "veth", "peer", "name", "node0p")
        _ip("link", "set", "node0p", "up")
        for node in NODES:
            _ip("address", "add", f"{node.address}/24", "dev", "node0")
        _ip("link", "set", "node0", "up")
        _ip("route", "add", SERVICES, "dev", "node0", "src", MAIN)
        _ip("route", "add", "default", "dev", "node0")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        for node in NODES:
            _nft(_LOOPED_BACK.format(pods=node.pods))


def cut_off(node: Place) -> None:
    """Drop all packets to the Pods of a node, as if its machine were gone: no response, no error."""
    _nft(_CUT_OFF.format(name=node.name, pods=node.pods))


def reconnect(node: Place) -> None:
    """Undo ``cut_off``."""
    _nft(f"delete table ip {_CUT_OFF_TABLE.format(name=node.name)}")


def remove() -> None:
    if FILE.exists():
        _ip("netns", "delete", NAME)


def processes() -> Iterator[int]:
    """Yield the processes in the network namespace."""
    if FILE.exists():
        own = FILE.stat()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it is gone
                if os.path.samestat((process / "ns/net").stat(), own):
                    yield int(process.name)


@contextlib.contextmanager
def entered() -> Iterator[None]:
    """This thread, and what it starts, are in the namespace. Not by ``ip netns exec``, which hides the cgroups."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        inside = os.open(FILE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(inside)
        finally:
            os.close(inside)
        try:
            yield
        finally:
            _enter(before)
    finally:
        os.close(before)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)  # noqa: S603, S607 - iproute2


def _nft(rules: str) -> None:
    nft, environment = ROOT / "usr/sbin/nft", packages.environment()
    subprocess.run([nft, "-f", "-"], input=rules, check=True, capture_output=True, text=True, env=environment)  # noqa: S603 - unpacked by us
