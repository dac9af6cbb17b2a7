"""Log lines: one JSON object per line for machines, one colored line for people at a terminal."""

import json
import logging
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from anchore_admission.redaction import redacted
from anchore_admission.text import printable, shortened

MESSAGE_LIMIT: Final = 4096
TRACE_LIMIT: Final = 16_384
_ALREADY_IN_MESSAGE = frozenset({"uid", "kind", "namespace", "name", "digest"})
"""Left out of the line for people, to fit a terminal; the JSON has them."""
_COLORS = {
    logging.DEBUG: "2",
    logging.INFO: "32",
    logging.WARNING: "33",
    logging.ERROR: "31",
    logging.CRITICAL: "1;31",
}
_fast: Final = msgspec.json.Encoder(enc_hook=str)
_escaping: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), default=str)


class JsonFormatter(logging.Formatter):
    """One JSON object per record; the members of ``extra={"fields": {…}}`` stand beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{clock}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = _trace(self, record)
        return _to_json(line)


class TextFormatter(logging.Formatter):
    """Local time, level, message and ``key=value`` pairs on one line; a trace follows on its own lines."""

    def __init__(self, *, color: bool) -> None:
        super().__init__()
        self._color = color

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        message = printable(_message(record))
        pairs = _pairs(_fields(record))
        if self._color:
            level = f"\x1b[{_COLORS.get(record.levelno, '0')}m{record.levelname:<7}\x1b[0m"
            pairs = f"\x1b[2m{pairs}\x1b[0m" if pairs else ""
        else:
            level = f"{record.levelname:<7}"
        line = f"{clock}.{int(record.msecs):03d} {level} {message}"
        trace = "\n".join(printable(part) for part in _trace(self, record).splitlines())
        return "\n".join(filter(None, [f"{line}  {pairs}" if pairs else line, trace]))


def _to_json(line: Mapping[str, Any]) -> str:
    """Encode in ASCII only, so that line separators, control characters and lone surrogates cannot break a line."""
    try:
        encoded = _fast.encode(line)
    except UnicodeEncodeError:  # a lone surrogate, which UTF-8 cannot hold
        return _escaping.encode(line)
    return encoded.decode() if encoded.isascii() else _escaping.encode(line)


def _message(record: logging.LogRecord) -> str:
    return shortened(redacted(record.getMessage()), MESSAGE_LIMIT)


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    return getattr(record, "fields", None) or {}


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """Return the traceback; of a long one the end, which names the error."""
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
