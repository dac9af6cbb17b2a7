"""A response over HTTP: whether it is an answer of Anchore's API at all, and what its error says."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from anchore_admission.adapters.redaction import cut
from anchore_admission.errors import (
    AnchoreRefused,
    AnchoreReplyInvalid,
    AnchoreReplyTooLarge,
    AnchoreUnavailable,
    EvaluationError,
)
from anchore_admission.text import joined_lines, shortened

T = TypeVar("T")

SMALL: Final = 64 * 1024
"""Bytes that every answer may have without waiting for room; of an error, nothing past them is read."""
_GOOD = range(200, 300)
_REDIRECT = range(300, 400)
_BAD_REQUEST = 400
_NOT_FOUND = 404
_UNAUTHORIZED = 401
_FORBIDDEN = 403
_WRONG_METHOD = 405
_PROXY_AUTHENTICATION = 407
_CONFLICT = 409
_PAYMENT_REQUIRED = 402
_SERVER_ERROR = 500
BUSY = frozenset({429, 502, 503, 504})
"""A proxy's or a starting service's way to say: come back."""

_JSON_TYPE = re.compile(r"application/(?:[\w.+-]{1,100}\+)?json\b", re.IGNORECASE)
_PROBLEM_TYPE = "application/problem+json"
_ACCOUNT = re.compile(r"\s{0,20}(?:user )?account(?:\s|$)", re.IGNORECASE)
_USER_INFO = re.compile(r"//[^/@\s]{1,1000}@")
_MARKS = frozenset({"httpcode", "code", "error_type", "anchore_request_id"})
"""Members of Anchore's own error documents; the first is what servers send, the others are its specification's."""
_SHORT = 200
_LOGGED = 1000
_PLACES = 3
"""Mistakes of an answer that the log names."""
_COSTS = ((b"{", 600), (b"[", 90), (b",", 90))
"""Bytes of memory that a value costs while it is parsed, measured with pydantic 2.14 and the models of this package."""
_FLOOR = 2 * 1024 * 1024
_COST_FACTOR = 6
"""Memory that an answer may take while it is parsed, as a multiple of the largest answer. Findings take five times."""


class WrongPath(AnchoreReplyInvalid):
    """Something that does not know Anchore's path answered: another API version, a proxy, not Anchore."""


class Transient(AnchoreUnavailable):
    """A failure that a second attempt may cure at once."""


class AnswerTooLarge(AnchoreReplyTooLarge):
    """An answer that would take too much memory."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"Anchore's answer is larger than {limit} bytes")


def cleaned(text: str, limit: int = _SHORT) -> str:
    """Return one printable line of bounded length, without our secrets and without credentials in addresses.

    Every text from outside passes here before it reaches a message or the log.
    """
    line = joined_lines(cut(text, 4 * limit))
    if "@" in line:
        line = _USER_INFO.sub("//", line)
    return shortened(line, limit)


def contains(text: str, *words: str) -> bool:
    """Return whether the words stand in the text's beginning in this order, whatever their case.

    In place of a regular expression with ``.*``, whose time grows with the square of a hostile text's length.
    """
    beginning = text[:_LOGGED].lower()
    position = 0
    for word in words:
        position = beginning.find(word, position)
        if position < 0:
            return False
        position += len(word)
    return True


@dataclass(frozen=True)
class Answer:
    """One HTTP response, unpacked and bounded; ``cut_short`` if more of it was not read."""

    status: int
    content_type: str
    body: bytes
    location: str = ""
    cut_short: bool = False
    limit: int = SMALL
    """Bytes of the largest answer that is read."""

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
            document = json.loads(self.body) if self.is_json and not self.cut_short else None
        except (ValueError, RecursionError):  # the latter: nested deeper than any error document
            return {}
        if isinstance(document, str):
            return {"message": document}
        return document if isinstance(document, dict) else {}

    @property
    def message(self) -> str:
        """Anchore's own words; empty for a framework's problem document and for anything that is not Anchore's."""
        message = self.error.get("message")
        return message if isinstance(message, str) and not self.is_problem else ""

    @property
    def is_problem(self) -> bool:
        """Return whether a framework wrote the document (RFC 9457): about the path or a parameter, not an image."""
        return self.content_type.lower().startswith(_PROBLEM_TYPE) or isinstance(self.error.get("detail"), str)

    @property
    def is_anchores(self) -> bool:
        """Return whether the error has the shape of Anchore's own; a gateway's has a message at most."""
        return bool(self.message) and (not _MARKS.isdisjoint(self.error) or isinstance(self.error.get("detail"), dict))

    @property
    def detail(self) -> dict[str, Any]:
        detail = self.error.get("detail")
        return detail if isinstance(detail, dict) else {}

    def excerpt(self) -> str:
        """The beginning of the body, for the log only."""
        return cleaned(f"{self.status} {self.body[:SMALL].decode(errors='replace')}", _LOGGED)


def parsed(adapter: TypeAdapter[T], answer: Answer) -> T:
    """Read a good answer's body. Raises AnchoreReplyInvalid.

    An empty object of three bytes becomes a model of 600, so the values are counted before they are built.
    """
    if sum(answer.body.count(mark) * cost for mark, cost in _COSTS) > _COST_FACTOR * max(answer.limit, _FLOOR):
        raise AnswerTooLarge(answer.limit)
    try:
        return adapter.validate_json(answer.body)
    except ValidationError as error:
        body = _with_valid_text(answer.body) if _is_no_json(error) else None
        if body is None:
            raise AnchoreReplyInvalid("Anchore's answer is not what its API promises") from _places(error)
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        raise AnchoreReplyInvalid("Anchore's answer is not what its API promises") from _places(error)


def _places(error: ValidationError) -> ValueError:
    """Return where an answer is wrong, without its values.

    Pydantic's own text quotes a value without its middle, and what is left of a secret is not recognized.
    """
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    lines = (f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems[:_PLACES])
    return ValueError("; ".join(lines))


def _is_no_json(error: ValidationError) -> bool:
    return any(problem["type"] == "json_invalid" for problem in error.errors(include_url=False, include_input=False))


def _with_valid_text(body: bytes) -> bytes | None:
    """Replace what is no Unicode in texts of a JSON document; None where that does not make it one.

    Anchore repeats names of files from an image, which may be any bytes. Python sends those as lone surrogates, which
    pydantic's parser rejects; the author of an image must not make an answer unreadable by them.
    """
    try:
        document = json.loads(body.decode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    return json.dumps(document, ensure_ascii=False).encode(errors="replace")


def expect_readable(answer: Answer, *, submission: bool = False) -> None:
    """Let pass what a caller can judge: good JSON, Anchore's own 400 and 404, and a submission's refusal.

    Raises EvaluationError.
    """
    if answer.good and answer.is_json:
        return
    if answer.missing and names_no_account(answer.message):
        raise AnchoreRefused(f"Anchore refuses access (404): {cleaned(answer.message)}")
    if (answer.status == _BAD_REQUEST and answer.is_json) or (answer.missing and answer.message):
        return
    if submission and (answer.status == _CONFLICT or is_license_limit(answer)):
        return
    raise _unreadable(answer)


def names_no_account(message: str) -> bool:
    """Return whether a 404 says that there is no such account: "Account not found: team", "User account not found".

    Only the subject counts. An image may be called ``team/account``, and its author must not choose the meaning of an
    answer that repeats the name.
    """
    return _ACCOUNT.match(message) is not None and contains(message, "account", "not found")


def is_license_limit(answer: Answer) -> bool:
    """Return whether a 402 or 403 is about the number of images that the license of Anchore covers."""
    if answer.status == _PAYMENT_REQUIRED:
        return True
    text = f"{answer.message} {answer.detail.get('error_codes', '')}"
    words = ("licens", "licenc", "limit_exceeded", "limit exceeded", "limit reached", "quota", "entitle")
    return answer.status == _FORBIDDEN and any(contains(text, word) for word in words)


def is_conflict(answer: Answer) -> bool:
    """Return whether another request for the same image is under way."""
    return answer.status == _CONFLICT


def _unreadable(answer: Answer) -> EvaluationError:  # noqa: PLR0911 - a table of causes
    status = answer.status
    if status == _UNAUTHORIZED:
        return AnchoreRefused("Anchore refuses the credentials (401); it says the same while its database is down")
    if status == _FORBIDDEN:
        return AnchoreRefused(f"Anchore refuses access (403){_quoted(answer)}")
    if status == _PROXY_AUTHENTICATION:
        return AnchoreRefused("the proxy before Anchore asks for a user name and password (407)")
    if status in _REDIRECT:
        return AnchoreReplyInvalid(_redirect(answer))
    if answer.absent:
        return WrongPath(f"no Anchore API at this address ({status}); check the endpoint and its API version")
    if answer.good:
        return WrongPath("the answer is not JSON, so not Anchore's; check the endpoint")
    if status in BUSY:
        return Transient(f"Anchore is not available ({status})")
    if status >= _SERVER_ERROR:
        return AnchoreUnavailable(f"Anchore failed to answer ({status})")
    if status == _BAD_REQUEST and b"HTTPS" in answer.body[:SMALL]:
        return AnchoreReplyInvalid(
            "a plain HTTP request was sent to an HTTPS port (400): write https:// in the endpoint"
        )
    return AnchoreReplyInvalid(f"Anchore gave an unexpected answer ({status}){_quoted(answer)}")


def _redirect(answer: Answer) -> str:
    """Name where a redirect leads, without credentials, path and query. We never follow one with our credentials."""
    target = _origin(answer.location)
    if not target:
        return f"the endpoint redirects elsewhere ({answer.status}), perhaps to a login page; check the endpoint"
    return f"the endpoint redirects to {target} ({answer.status}); if Anchore is there, set the endpoint to it"


def _origin(url: str) -> str:
    """Return scheme, host and port of an address; an empty text without them.

    Secrets are redacted before the address is taken apart: a host name's lower case would hide them.
    """
    try:
        parts = urlsplit(cleaned(url, _LOGGED))
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    if not host or parts.scheme not in {"http", "https"}:
        return ""
    return cleaned(f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}")


def _quoted(answer: Answer) -> str:
    return f": {cleaned(answer.message)}" if answer.message else ""


def bad_request(answer: Answer) -> EvaluationError:
    """The meaning of a 400 where the question was ours: the two sides misunderstand each other."""
    return AnchoreReplyInvalid(f"Anchore does not accept the question ({answer.status}){_quoted(answer)}")
