"""The sandbox on a port of the loopback, as another process would see it."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvicorn

from anchore_admission.sandbox import DEFAULT_SEED, Seed, create_sandbox


@contextmanager
def sandbox_served(seed: Mapping[str, Any] | None = None) -> Iterator[str]:
    """The address of a sandbox with this seed, or the built-in one, while the block runs."""
    content = DEFAULT_SEED if seed is None else Seed.model_validate(seed)
    settings = uvicorn.Config(create_sandbox(content), log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes connections before the server is up
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            thread.join()
