"""Stop on signals: the first one ends the process gracefully, the second at once."""

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator

logger = logging.getLogger("anchore_admission.server")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _end_at_once(number: int, _frame: object) -> None:
    """Exit at once. Without a handler, the kernel ignores the signal: a container's program is process 1."""
    os._exit(128 + number)


@contextlib.contextmanager
def stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """Set ``stop`` on a signal. Only the main thread receives signals; in others, the caller sets ``stop``."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        loop.add_signal_handler(number, _begin_to_stop, number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            # After ``remove_signal_handler``, which sets the default handler.
            signal.signal(number, handler)


def _begin_to_stop(number: signal.Signals, stop: asyncio.Event) -> None:
    logger.info("%s: stopping", number.name)
    loop = asyncio.get_running_loop()
    for each in _SIGNALS:
        loop.remove_signal_handler(each)
        # Not a handler of the loop: this one works while a callback keeps the loop busy, too.
        signal.signal(each, _end_at_once)
    stop.set()
