"""Log lines: JSON for machines, one object per line; one coloured line for people at a terminal."""

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TextIO

MESSAGE_LIMIT: Final = 4096
TRACE_LIMIT: Final = 16_384
_ALREADY_IN_MESSAGE = frozenset({"uid", "kind", "namespace", "name", "digest"})
"""Left out of the line for people, to fit a terminal; the JSON has them."""
_COLOURS = {
    logging.DEBUG: "2",
    logging.INFO: "32",
    logging.WARNING: "33",
    logging.ERROR: "31",
    logging.CRITICAL: "1;31",
}
_CHATTY = ("uvicorn", "httpx", "httpcore", "aiohttp", "asyncio")


class LogFormat(StrEnum):
    """``auto`` is text where a person looks (the stream is a terminal), JSON elsewhere."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class JsonFormatter(logging.Formatter):
    """One JSON object per record; ``extra={"fields": {…}}`` stands beside the message.

    ASCII only, so that line separators, control characters and lone surrogates cannot break the line.
    """

    def __init__(self) -> None:
        super().__init__()
        self._encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), default=str).encode

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            # isoformat ends in +00:00 for UTC; Z is what log stores are used to
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname,
            "logger": record.name,
            "message": shortened(record.getMessage(), MESSAGE_LIMIT),
        }
        fields = getattr(record, "fields", None)
        if fields:
            line.update(fields)
        trace = _trace(self, record)
        if trace:
            line["exception"] = trace
        return self._encode(line)


class TextFormatter(logging.Formatter):
    """Local time, level, message and ``key=value`` pairs on one line; a trace follows on its own lines."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        message = _printable(shortened(record.getMessage(), MESSAGE_LIMIT))
        pairs = _pairs(getattr(record, "fields", None) or {})
        if self._colour:
            level = f"\x1b[{_COLOURS.get(record.levelno, '0')}m{record.levelname:<7}\x1b[0m"
            pairs = f"\x1b[2m{pairs}\x1b[0m" if pairs else ""
        else:
            level = f"{record.levelname:<7}"
        line = f"{clock}.{int(record.msecs):03d} {level} {message}"
        trace = "\n".join(_printable(part) for part in _trace(self, record).splitlines())
        return "\n".join(filter(None, [f"{line}  {pairs}" if pairs else line, trace]))


def configure_logging(level: LogLevel, log_format: LogFormat, stream: TextIO | None = None) -> None:
    """Send every logger of the process, the libraries' too, to one stream (stderr) in one format.

    Libraries talk at WARNING unless everything is wanted; uvicorn's access log stays off, because a review has a
    line of its own.
    """
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
    # What no line shows need not be looked up (Python's HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def shortened(text: str, limit: int) -> str:
    """At most ``limit`` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _formatter(log_format: LogFormat, stream: TextIO) -> logging.Formatter:
    terminal = stream.isatty()
    if log_format is LogFormat.JSON or (log_format is LogFormat.AUTO and not terminal):
        return JsonFormatter()
    return TextFormatter(colour=terminal and not os.environ.get("NO_COLOR"))  # https://no-color.org


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The traceback; its end says what happened, so that is what stays of a long one."""
    trace = formatter.formatException(record.exc_info) if record.exc_info else ""
    return trace if len(trace) <= TRACE_LIMIT else f"…{trace[1 - TRACE_LIMIT :]}"


def _pairs(fields: Mapping[str, Any]) -> str:
    return " ".join(
        f"{key}={_printable(_shown(value))}"
        for key, value in fields.items()
        if key not in _ALREADY_IN_MESSAGE and value not in ("", None, [], False)
    )


def _shown(value: object) -> str:
    if isinstance(value, list):
        return f"[{'; '.join(_shown(item) for item in value)}]"
    if isinstance(value, dict):
        return " ".join(str(part) for key, part in value.items() if key not in _ALREADY_IN_MESSAGE and part)
    return str(value)


def _printable(text: str) -> str:
    """A terminal obeys control characters, and text from outside must not command it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
