"""Free ports of the loopback for programs that take a port number."""

import random
import socket
from typing import Final

_UNASSIGNED: Final = range(10_000, 32_768)
"""Below the ports that Linux hands out, of which a connection of another test may take one at any moment."""


def free_port() -> int:
    """Return a port that nothing listens on."""
    while True:
        port = random.choice(_UNASSIGNED)  # noqa: S311 - keeps tests that run at the same time apart
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
