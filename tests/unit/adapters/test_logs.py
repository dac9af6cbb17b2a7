import io
import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest

from anchore_admission.adapters.logs import MESSAGE_LIMIT, TRACE_LIMIT
from anchore_admission.ports.logs import LogFormat, LogLevel
from anchore_admission.wiring.logs import configure_logging

ODD_TEXTS = [
    "two\nlines",
    "carriage\r\nreturn",
    "nul \x00 and bell \x07",
    "escape \x1b[31mred\x1b[0m",
    "line separator \u2028 next line \x85",
    "emoji \U0001f433",
    "lone surrogate \ud800",
    'quotes " and \\ backslashes',
    "",
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    names = ("", "uvicorn", "uvicorn.access", "uvicorn.error", "httpx", "httpcore", "aiohttp", "asyncio")
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.level, logger.propagate, logger.handlers[:]) for logger in loggers]
    yield
    for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate = propagate
        logger.handlers[:] = handlers


def fail(text: str) -> None:
    raise ValueError(text)


def configured(
    log_format: LogFormat = LogFormat.JSON, level: LogLevel = LogLevel.INFO, stream: io.StringIO | None = None
) -> io.StringIO:
    stream = io.StringIO() if stream is None else stream
    configure_logging(level, log_format, stream)
    return stream


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_a_json_record_is_one_line_whatever_its_text(text: str) -> None:
    stream = configured()
    logging.getLogger("any").warning("%s", text, extra={"fields": {"user": text, "images": [{"image": text}]}})
    written = stream.getvalue()
    assert written.endswith("\n")
    assert written.isascii()
    assert len(written.splitlines()) == 1
    line = json.loads(written)
    assert (line["message"], line["user"], line["images"]) == (text, text, [{"image": text}])


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_a_text_record_is_one_line_without_control_characters(text: str) -> None:
    stream = configured(LogFormat.TEXT)
    logging.getLogger("any").warning("%s", text, extra={"fields": {"user": text, "images": [{"image": text}]}})
    written = stream.getvalue()
    assert written.endswith("\n")
    assert written.removesuffix("\n").isprintable()


def test_a_json_record_says_when_how_bad_and_where_from() -> None:
    stream = configured()
    logging.getLogger("anchore_admission.some").error("broken %d", 7)
    line = json.loads(stream.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {"level": "ERROR", "logger": "anchore_admission.some", "message": "broken 7"}


def test_an_exception_brings_its_trace_in_a_field_of_the_same_line() -> None:
    stream = configured()
    try:
        fail("what\nhappened")
    except ValueError:
        logging.getLogger("any").exception("failed")
    (written,) = stream.getvalue().splitlines()
    trace = json.loads(written)["exception"]
    assert trace.startswith("Traceback")
    assert trace.endswith("ValueError: what\nhappened")


def test_a_long_message_and_a_long_trace_are_cut_and_the_trace_keeps_its_end() -> None:
    stream = configured()
    try:
        fail("x" * TRACE_LIMIT + "the end")
    except ValueError:
        logging.getLogger("any").exception("m" * (MESSAGE_LIMIT + 1))
    line = json.loads(stream.getvalue())
    assert len(line["message"]) == MESSAGE_LIMIT
    assert len(line["exception"]) == TRACE_LIMIT
    assert line["exception"].endswith("the end")


def test_values_json_does_not_know_are_written_as_text() -> None:
    stream = configured()
    logging.getLogger("any").error("odd", extra={"fields": {"value": ValueError("why")}})
    assert json.loads(stream.getvalue())["value"] == "why"


@pytest.mark.parametrize(
    ("log_format", "terminal", "is_json", "is_coloured"),
    [
        (LogFormat.AUTO, False, True, False),
        (LogFormat.AUTO, True, False, True),
        (LogFormat.JSON, True, True, False),
        (LogFormat.TEXT, False, False, False),
    ],
)
def test_the_format_follows_the_stream_unless_it_is_given(
    log_format: LogFormat, terminal: bool, is_json: bool, is_coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = configured(log_format, stream=Terminal() if terminal else None)
    logging.getLogger("any").error("hello")
    written = stream.getvalue()
    assert written.startswith("{") is is_json
    assert ("\x1b[" in written) is is_coloured


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = configured(stream=Terminal(), log_format=LogFormat.TEXT)
    logging.getLogger("any").error("hello")
    assert "\x1b" not in stream.getvalue()


def test_the_text_line_shows_fields_shortly_and_the_trace_below() -> None:
    stream = configured(LogFormat.TEXT)
    fields = {
        "uid": "1",
        "operation": "CREATE",
        "scope": None,
        "images": [{"image": "a", "digest": "sha256:…", "rule": "r"}, {"image": "b"}],
    }
    try:
        fail("why")
    except ValueError:
        logging.getLogger("any").exception("denied", extra={"fields": fields})
    first, *trace = stream.getvalue().splitlines()
    assert first.endswith("ERROR   denied  operation=CREATE images=[a r; b]")
    assert trace[-1] == "ValueError: why"


def test_libraries_log_in_our_format_and_only_from_warning_on() -> None:
    stray = logging.StreamHandler(io.StringIO())
    logging.getLogger("uvicorn").addHandler(stray)
    stream = configured()
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("httpx").info("HTTP Request: GET")
    logging.getLogger("uvicorn.error").error("Exception in ASGI application")
    logging.getLogger("uvicorn.access").info("GET /")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["Exception in ASGI application"]
    assert stray.stream.getvalue() == ""


def test_the_debug_level_opens_the_libraries_too() -> None:
    stream = configured(level=LogLevel.DEBUG)
    logging.getLogger("uvicorn.error").info("Started server process")
    assert json.loads(stream.getvalue())["level"] == "INFO"


def test_a_line_that_cannot_be_written_does_not_disturb_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    stream = configured()
    stream.close()
    logging.getLogger("any").error("hello")
    assert "Logging error" in capsys.readouterr().err


def test_a_filter_of_the_handler_is_applied() -> None:
    stream = configured()
    logging.getLogger().handlers[0].addFilter(lambda record: record.levelno < logging.ERROR)
    logging.getLogger("any").error("hidden")
    logging.getLogger("any").warning("shown")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["shown"]


def test_a_second_configuration_replaces_the_first() -> None:
    first, second = configured(), configured(level=LogLevel.ERROR)
    logging.getLogger("any").warning("quiet")
    logging.getLogger("any").error("loud")
    assert first.getvalue() == ""
    assert json.loads(second.getvalue())["message"] == "loud"


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogLevel.INFO, LogFormat.JSON)
    logging.getLogger("any").error("hello")
    sys.stderr.flush()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["message"] == "hello"
