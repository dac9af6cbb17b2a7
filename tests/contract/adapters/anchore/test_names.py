"""A silent name server costs no more than the call's own time, also when the event loop ends."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest

from anchore_admission.adapters import transport
from anchore_admission.adapters.transport import ThreadResolver
from anchore_admission.errors import AnchoreUnavailable, DeadlineExceeded
from support.anchore_calls import TAG, client, deadline


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let the system's resolver wait for an answer that comes when the test has ended."""
    asked, ended = threading.Event(), threading.Event()

    def wait(*_: Any, **__: Any) -> list[Any]:
        asked.set()
        ended.wait()
        return []

    monkeypatch.setattr(transport, "look_up", wait)
    yield asked
    ended.set()


def test_neither_a_call_nor_the_end_of_the_loop_waits_for_a_silent_name_server(silent: threading.Event) -> None:
    async def ask() -> None:
        async with aclosing(client(None, url="http://anchore.example.com")) as anchore:
            with pytest.raises((DeadlineExceeded, AnchoreUnavailable)):
                await anchore.by_tag(TAG, deadline(0.05))

    asyncio.run(ask())  # asyncio.run waits for the loop's own threads
    assert silent.is_set()


async def test_addresses_are_those_of_the_system() -> None:
    resolver = ThreadResolver()
    (found,) = await resolver.resolve("127.0.0.1", 8228, socket.AF_INET)
    assert (found["host"], found["port"], found["hostname"]) == ("127.0.0.1", 8228, "127.0.0.1")
    await resolver.close()


async def test_an_unknown_name_is_an_error_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(transport, "look_up", unknown)
    with pytest.raises(OSError, match="Name or service not known"):
        await ThreadResolver().resolve("anchore.example.com")


async def test_an_invalid_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> list[Any]:
        raise UnicodeError("label too long")

    monkeypatch.setattr(transport, "look_up", broken)
    with pytest.raises(OSError, match="label too long"):
        await ThreadResolver().resolve("a" * 64)


async def test_a_scoped_address_keeps_its_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 8228, 0, 2))
    monkeypatch.setattr(transport, "look_up", lambda *_, **__: [entry])
    (found,) = await ThreadResolver().resolve("anchore.example.com", 8228, socket.AF_UNSPEC)
    assert found["host"] == "fe80::1%2"
