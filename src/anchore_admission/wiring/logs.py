"""Wire the process's logs: every logger writes to one stream, in one format."""

import logging
import os
import sys
from typing import TextIO

from anchore_admission.adapters.logs import JsonFormatter, TextFormatter
from anchore_admission.ports.logs import LogFormat, LogLevel

# At INFO, httpx logs every request with its address.
_CHATTY = ("uvicorn", "httpx", "httpcore", "httpx2", "httpcore2", "aiohttp", "asyncio")


def configure_logging(level: LogLevel, log_format: LogFormat, stream: TextIO | None = None) -> None:
    """Send every logger of the process, the libraries' too, to one stream (stderr) in one format.

    Libraries log warnings and errors only, and everything at DEBUG. uvicorn's access log stays off, because a review
    has a line of its own.
    """
    _collect_only_what_is_printed()
    stream = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(log_format, stream))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(logging.NOTSET if level is LogLevel.DEBUG else max(logging.WARNING, root.level))
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False


def _collect_only_what_is_printed() -> None:
    """Keep the library from finding the caller, thread and process of each line, which no format of ours prints.

    Source: Python's Logging HOWTO, "Optimization".
    """
    logging._srcfile = None  # noqa: SLF001 - documented there
    for name in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):  # the last since Python 3.12
        setattr(logging, name, False)


def _formatter(log_format: LogFormat, stream: TextIO) -> logging.Formatter:
    terminal = stream.isatty()
    if log_format is LogFormat.JSON or (log_format is LogFormat.AUTO and not terminal):
        return JsonFormatter()
    return TextFormatter(color=terminal and not os.environ.get("NO_COLOR"))  # https://no-color.org
