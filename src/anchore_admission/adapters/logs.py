"""Log lines: JSON for machines, one object per line; one coloured line for people at a terminal."""

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from json.encoder import encode_basestring_ascii
from typing import Any, Final, TextIO

from anchore_admission.adapters.redaction import redacted
from anchore_admission.ports.logs import LogFormat, LogLevel
from anchore_admission.text import printable, shortened

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
_CHATTY = ("uvicorn", "httpx", "httpcore", "httpx2", "httpcore2", "aiohttp", "asyncio")
quoted: Final = encode_basestring_ascii
"""A text as JSON. ASCII only, so that line separators, control characters and lone surrogates cannot break a line."""
to_json: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), default=str).encode


class JsonFormatter(logging.Formatter):
    """One JSON object per record; ``extra={"fields": {…}}`` stands beside the message.

    So does ``extra={"encoded": '"key":"value",…'}``: members that somebody had at hand as JSON (:data:`quoted`).
    """

    def __init__(self) -> None:
        super().__init__()
        self._second = (-1, "")

    def format(self, record: logging.LogRecord) -> str:
        message = quoted(shortened(redacted(record.getMessage()), MESSAGE_LIMIT))
        line = (
            f'{{"time":"{self._clock(record.created)}","level":"{record.levelname}","logger":"{record.name}",'
            f'"message":{message}'
        )
        more = record.__dict__
        if fields := more.get("fields"):
            line += f",{to_json(fields)[1:-1]}"
        if encoded := more.get("encoded"):
            line += f",{encoded}"
        if record.exc_info:
            line += f',"exception":{quoted(_trace(self, record))}'
        return line + "}"

    def _clock(self, created: float) -> str:
        """RFC 3339 in UTC; a busy process writes many lines in the same second."""
        second = int(created)
        if self._second[0] != second:
            self._second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return f"{self._second[1]}.{int((created - second) * 1000):03d}Z"


class TextFormatter(logging.Formatter):
    """Local time, level, message and ``key=value`` pairs on one line; a trace follows on its own lines."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        message = printable(shortened(redacted(record.getMessage()), MESSAGE_LIMIT))
        encoded = json.loads(f"{{{getattr(record, 'encoded', '')}}}")
        pairs = _pairs({**(getattr(record, "fields", None) or {}), **encoded})
        if self._colour:
            level = f"\x1b[{_COLOURS.get(record.levelno, '0')}m{record.levelname:<7}\x1b[0m"
            pairs = f"\x1b[2m{pairs}\x1b[0m" if pairs else ""
        else:
            level = f"{record.levelname:<7}"
        line = f"{clock}.{int(record.msecs):03d} {level} {message}"
        trace = "\n".join(printable(part) for part in _trace(self, record).splitlines())
        return "\n".join(filter(None, [f"{line}  {pairs}" if pairs else line, trace]))


class LineHandler(logging.StreamHandler[TextIO]):
    """A stream handler that leaves out what costs each line and changes nothing.

    A standard stream writes at the end of each line by itself.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        if self.filters and not self.filter(record):
            return False
        with self.lock or nullcontext():
            self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.stream.write(f"{self.format(record)}\n")
            if not getattr(self.stream, "line_buffering", False):
                self.stream.flush()
        except Exception:  # noqa: BLE001 - as every handler of the standard library
            self.handleError(record)


def configure_logging(level: LogLevel, log_format: LogFormat, stream: TextIO | None = None) -> None:
    """Send every logger of the process, the libraries' too, to one stream (stderr) in one format.

    Libraries talk at WARNING unless everything is wanted; uvicorn's access log stays off, because a review has a
    line of its own.
    """
    stream = sys.stderr if stream is None else stream
    handler = LineHandler(stream)
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


def _formatter(log_format: LogFormat, stream: TextIO) -> logging.Formatter:
    terminal = stream.isatty()
    if log_format is LogFormat.JSON or (log_format is LogFormat.AUTO and not terminal):
        return JsonFormatter()
    return TextFormatter(colour=terminal and not os.environ.get("NO_COLOR"))  # https://no-color.org


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The traceback; its end says what happened, so that is what stays of a long one."""
    trace = redacted(formatter.formatException(record.exc_info)) if record.exc_info else ""
    return trace if len(trace) <= TRACE_LIMIT else f"…{trace[1 - TRACE_LIMIT :]}"


def _pairs(fields: Mapping[str, Any]) -> str:
    return " ".join(
        f"{key}={printable(_shown(value))}"
        for key, value in fields.items()
        if key not in _ALREADY_IN_MESSAGE and value not in ("", None, [], False)
    )


def _shown(value: object) -> str:
    if isinstance(value, list):
        return f"[{'; '.join(_shown(item) for item in value)}]"
    if isinstance(value, dict):
        return " ".join(_shown(part) for key, part in value.items() if key not in _ALREADY_IN_MESSAGE and part)
    return str(value)
