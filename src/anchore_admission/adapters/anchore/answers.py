"""What came back over HTTP: is it an answer of Anchore's API at all, and what does its error say."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from anchore_admission.errors import (
    AnchoreRefused,
    AnchoreReplyInvalid,
    AnchoreUnavailable,
    EvaluationError,
)

T = TypeVar("T")

_GOOD = range(200, 300)
_BAD_REQUEST = 400
_NOT_FOUND = 404
_UNAUTHORIZED = 401
_FORBIDDEN = 403
_WRONG_METHOD = 405
_SERVER_ERROR = 500
BUSY = frozenset({429, 502, 503, 504})
"""A proxy's or a starting service's way to say: come back."""

_JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json\b", re.IGNORECASE)
_USER_INFO = re.compile(r"//[^/@\s]+@")
_ACCOUNT_UNKNOWN = re.compile(r"account\b.*\bnot found", re.IGNORECASE)
_SHORT = 200
_LOGGED = 1000


class WrongPath(AnchoreReplyInvalid):
    """What answered does not know Anchore's path: another API version, a proxy, not Anchore."""


class Transient(AnchoreUnavailable):
    """A failure that a second attempt may cure at once."""


def shortened(text: str, limit: int = _SHORT) -> str:
    """One printable line of bounded length, without credentials in addresses."""
    line = text[: 4 * limit]
    if not line.isprintable():
        line = " ".join("".join(c if c.isprintable() else " " for c in line).split())
    if "@" in line:
        line = _USER_INFO.sub("//", line)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, unpacked and bounded."""

    status: int
    content_type: str
    body: bytes

    @property
    def good(self) -> bool:
        return self.status in _GOOD

    @property
    def missing(self) -> bool:
        return self.status == _NOT_FOUND

    @property
    def absent(self) -> bool:
        """Nothing is served at this path, or not to be read."""
        return self.status in {_NOT_FOUND, _WRONG_METHOD}

    @property
    def is_json(self) -> bool:
        return _JSON_TYPE.match(self.content_type) is not None

    @cached_property
    def error(self) -> dict[str, Any]:
        """The error document; a bare JSON string, as some handlers of v1 send, counts as its message."""
        try:
            document = json.loads(self.body) if self.is_json else None
        except (ValueError, RecursionError):  # the latter: nested deeper than any error document
            return {}
        if isinstance(document, str):
            return {"message": document}
        return document if isinstance(document, dict) else {}

    @property
    def message(self) -> str:
        """Anchore's own words; empty for a framework's problem document and for anything that is not Anchore's."""
        message = self.error.get("message")
        return message if isinstance(message, str) else ""

    @property
    def detail(self) -> dict[str, Any]:
        detail = self.error.get("detail")
        return detail if isinstance(detail, dict) else {}

    def excerpt(self) -> str:
        """The beginning of the body, for the log only."""
        return shortened(f"{self.status} {self.body[: 4 * _LOGGED].decode(errors='replace')}", _LOGGED)


def parsed(adapter: TypeAdapter[T], answer: Answer) -> T:
    """Read a good answer's body. Raises AnchoreReplyInvalid."""
    try:
        return adapter.validate_json(answer.body)
    except ValidationError as error:
        raise AnchoreReplyInvalid("Anchore's answer is not what its API promises") from error


def expect_readable(answer: Answer) -> None:
    """Let pass what a caller can judge: good JSON, and Anchore's own 400 and 404. Raises EvaluationError."""
    if answer.good and answer.is_json:
        return
    if answer.missing and _ACCOUNT_UNKNOWN.search(answer.message):
        raise AnchoreRefused(f"Anchore refuses access (404): {shortened(answer.message)}")
    if answer.status == _BAD_REQUEST or (answer.missing and answer.message):
        return
    raise _unreadable(answer)


def _unreadable(answer: Answer) -> EvaluationError:
    status = answer.status
    if status == _UNAUTHORIZED:
        return AnchoreRefused("Anchore refuses the credentials (401); it says the same while its database is down")
    if status == _FORBIDDEN:
        return AnchoreRefused(f"Anchore refuses access (403){_quoted(answer)}")
    if answer.absent:
        return WrongPath(f"no Anchore API at this address ({status}); check the endpoint and its API version")
    if answer.good:
        return WrongPath("the answer is not JSON, so not Anchore's; check the endpoint")
    if status in BUSY:
        return Transient(f"Anchore is not available ({status})")
    if status >= _SERVER_ERROR:
        return AnchoreUnavailable(f"Anchore failed to answer ({status})")
    return AnchoreReplyInvalid(f"Anchore gave an unexpected answer ({status})")


def _quoted(answer: Answer) -> str:
    return f": {shortened(answer.message)}" if answer.message else ""


def bad_request(answer: Answer) -> EvaluationError:
    """What a 400 means where the question was ours: the two sides misunderstand each other."""
    return AnchoreReplyInvalid(f"Anchore does not accept the question (400){_quoted(answer)}")
