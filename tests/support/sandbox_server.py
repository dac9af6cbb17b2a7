"""The sandbox on a port of the loopback, as another process would see it."""

import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from anchore_admission.sandbox import DEFAULT_SEED, Seed, create_sandbox


@contextmanager
def sandbox_served(seed: Mapping[str, Any] | None = None, *, calls: Counter[str] | None = None) -> Iterator[str]:
    """The address of a sandbox with this seed, or the built-in one, while the block runs.

    ``calls`` counts the calls by method, path and query.
    """
    sandbox = create_sandbox(DEFAULT_SEED if seed is None else Seed.model_validate(seed))

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        if calls is not None:
            calls[f"{scope['method']} {scope['path']}?{unquote(scope['query_string'].decode())}"] += 1
        await sandbox(scope, receive, send)

    with served_in_thread(counted) as address:
        yield address


@contextmanager
def served_in_thread(app: ASGIApp) -> Iterator[str]:
    """The address of an application that another thread serves while the block runs."""
    settings = uvicorn.Config(app, interface="asgi3", log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes connections before the server is up
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            thread.join()
