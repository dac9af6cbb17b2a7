"""How the process writes its logs."""

from enum import StrEnum


class LogFormat(StrEnum):
    """The format of log lines; ``auto`` is text if the stream is a terminal, JSON otherwise."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    """The lowest level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
