"""HTTP responses: distinguish Anchore's from those of proxies and gateways, and read their errors."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from anchore_admission.adapters.failures import cleaned
from anchore_admission.errors import (
    AnchoreRefused,
    AnchoreResponseInvalid,
    AnchoreResponseTooLarge,
    AnchoreUnavailable,
    AnchoreUnreachable,
    EvaluationError,
)
from anchore_admission.models.problems import path

T = TypeVar("T")

SMALL: Final = 64 * 1024
"""Bytes that a response may have without waiting for room; of an error response, no more than these are read."""
_SUCCESS = range(200, 300)
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
"""Statuses with which a proxy or a starting service asks the client to try again."""

_JSON_TYPE = re.compile(r"application/(?:[\w.+-]{1,100}\+)?json\b", re.IGNORECASE)
_PROBLEM_TYPE = "application/problem+json"
_ACCOUNT = re.compile(r"\s{0,20}(?:user )?account(?:\s|$)", re.IGNORECASE)
_MARKS = frozenset({"httpcode", "code", "error_type", "anchore_request_id"})
"""Members of Anchore's own error documents: servers send the first, the specification names the others."""
_LOGGED = 1000
_PLACES = 3
"""The most mistakes of a response that the log names."""
_COSTS = ((b"{", 600), (b"[", 90), (b",", 90))
"""Bytes of memory that a value costs while it is parsed, measured with pydantic 2.14 and the models of this package."""
_FLOOR = 2 * 1024 * 1024
_COST_FACTOR = 6
"""The most memory to parse a response, as a multiple of the largest response. Findings take five times their size."""


class WrongPath(AnchoreResponseInvalid):
    """A response from a server without this path of Anchore's: another API version, a proxy, another server."""


class Transient(AnchoreUnavailable):
    """A failure that an immediate second attempt may fix."""


class NoConnection(Transient, AnchoreUnreachable):
    """A failed attempt to connect."""


def too_large(limit: int) -> AnchoreResponseTooLarge:
    """Return the error for a response that would take too much memory."""
    return AnchoreResponseTooLarge(f"Anchore's response is larger than {limit} bytes")


def contains(text: str, *words: str) -> bool:
    """Return True if the beginning of the text contains the words in this order, in any case.

    A regular expression with ``.*`` would take time that grows with the square of a hostile text's length.
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
class AnchoreResponse:
    """One HTTP response, decompressed and bounded; ``cut_short`` if the rest was not read."""

    status: int
    content_type: str
    body: bytes
    location: str = ""
    cut_short: bool = False
    limit: int = SMALL
    """The largest response that is read, in bytes."""

    @property
    def is_success(self) -> bool:
        return self.status in _SUCCESS

    @property
    def is_not_found(self) -> bool:
        return self.status == _NOT_FOUND

    @property
    def is_not_served(self) -> bool:
        """True if the server does not serve GET at this path."""
        return self.status in {_NOT_FOUND, _WRONG_METHOD}

    @property
    def is_json(self) -> bool:
        return _JSON_TYPE.match(self.content_type) is not None

    @cached_property
    def error(self) -> dict[str, Any]:
        """The error document. A bare JSON string, as some handlers of v1 send it, counts as its message."""
        try:
            document = json.loads(self.body) if self.is_json and not self.cut_short else None
        except (ValueError, RecursionError):  # the latter: nested deeper than any error document
            return {}
        if isinstance(document, str):
            return {"message": document}
        return document if isinstance(document, dict) else {}

    @property
    def message(self) -> str:
        """Anchore's own message; empty for a framework's problem document and for responses of other servers."""
        message = self.error.get("message")
        return message if isinstance(message, str) and not self.is_problem else ""

    @property
    def is_problem(self) -> bool:
        """True if a framework wrote the document (RFC 9457): about the path or a parameter, not an image."""
        return self.content_type.lower().startswith(_PROBLEM_TYPE) or isinstance(self.error.get("detail"), str)

    @property
    def is_from_anchore(self) -> bool:
        """True if the error has Anchore's own format; a gateway's has a message at most."""
        return bool(self.message) and (not _MARKS.isdisjoint(self.error) or isinstance(self.error.get("detail"), dict))

    @property
    def detail(self) -> dict[str, Any]:
        detail = self.error.get("detail")
        return detail if isinstance(detail, dict) else {}

    def excerpt(self) -> str:
        """Return the beginning of the body, for the log only."""
        return cleaned(f"{self.status} {self.body[:SMALL].decode(errors='replace')}", _LOGGED)


def parse(adapter: TypeAdapter[T], response: AnchoreResponse) -> T:
    """Parse the body of a successful response. Raises AnchoreResponseInvalid.

    An empty object of three bytes becomes a model of 600, so the values are counted before they are built.
    """
    if sum(response.body.count(mark) * cost for mark, cost in _COSTS) > _COST_FACTOR * max(response.limit, _FLOOR):
        raise too_large(response.limit)
    try:
        return adapter.validate_json(response.body)
    except ValidationError as error:
        body = _with_valid_text(response.body) if _is_no_json(error) else None
        if body is None:
            raise AnchoreResponseInvalid("Anchore's response does not match its API") from _places(error)
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        raise AnchoreResponseInvalid("Anchore's response does not match its API") from _places(error)


def _places(error: ValidationError) -> ValueError:
    """Return the places of the mistakes in a response, without values.

    Pydantic's own text quotes a value without its middle, and the rest of a secret would not be recognized.
    """
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    lines = (": ".join(filter(None, [path(problem["loc"]), problem["msg"]])) for problem in problems[:_PLACES])
    return ValueError("; ".join(lines))


def _is_no_json(error: ValidationError) -> bool:
    return any(problem["type"] == "json_invalid" for problem in error.errors(include_url=False, include_input=False))


def _with_valid_text(body: bytes) -> bytes | None:
    """Replace invalid Unicode in the texts of a JSON document; return None if the result is still not JSON.

    Anchore repeats file names of an image, which may hold any bytes. Python sends those as lone surrogates, which
    pydantic's parser rejects; the author of an image must not be able to make a response unreadable.
    """
    try:
        document = json.loads(body.decode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    return json.dumps(document, ensure_ascii=False).encode(errors="replace")


def expect_readable(response: AnchoreResponse, *, submission: bool = False) -> None:
    """Accept responses that a caller can interpret: JSON, Anchore's own 400 and 404, a refused submission.

    Raises EvaluationError for all others.
    """
    if response.is_success and response.is_json:
        return
    # First: Anchore Enterprise sends a 404 for an account that it does not know, and the image may well exist.
    if response.is_not_found and names_no_account(response.message):
        raise AnchoreRefused(f"Anchore denies access (404): {cleaned(response.message)}")
    if (response.status == _BAD_REQUEST and response.is_json) or (response.is_not_found and response.message):
        return
    if submission and (response.status == _CONFLICT or is_license_limit(response)):
        return
    raise _unreadable(response)


def names_no_account(message: str) -> bool:
    """Return True if a 404 is about a missing account: "Account not found: team", "User account not found".

    Only the subject of the sentence counts. An image may be called ``team/account``, and its author must not choose
    the meaning of a response that repeats the name.
    """
    return _ACCOUNT.match(message) is not None and contains(message, "account", "not found")


def is_license_limit(response: AnchoreResponse) -> bool:
    """Return True if a 402 or 403 is about the number of images that Anchore's license covers."""
    if response.status == _PAYMENT_REQUIRED:
        return True
    text = f"{response.message} {response.detail.get('error_codes', '')}"
    words = ("licens", "licenc", "limit_exceeded", "limit exceeded", "limit reached", "quota", "entitle")
    return response.status == _FORBIDDEN and any(contains(text, word) for word in words)


def is_conflict(response: AnchoreResponse) -> bool:
    """Return True if another request for the same image is in progress."""
    return response.status == _CONFLICT


def _unreadable(response: AnchoreResponse) -> EvaluationError:  # noqa: PLR0911 - a table of causes
    status = response.status
    if status == _UNAUTHORIZED:
        return AnchoreRefused("Anchore rejects the credentials (401); it says the same while its database is down")
    if status == _FORBIDDEN:
        return AnchoreRefused(f"Anchore denies access (403){_quoted(response)}")
    if status == _PROXY_AUTHENTICATION:
        return AnchoreRefused("the proxy before Anchore asks for a user name and password (407)")
    if status in _REDIRECT:
        return AnchoreResponseInvalid(_redirect(response))
    if response.is_not_served:
        return WrongPath(f"no Anchore API at this address ({status}); check the endpoint and its API version")
    # Behind an ingress, other paths lead to Anchore's web interface, and a login page is a 200 as well.
    if response.is_success:
        return WrongPath("the response is not JSON, so it is not from Anchore; check the endpoint")
    if status in BUSY:
        return Transient(f"Anchore is not available ({status})")
    if status >= _SERVER_ERROR:
        return AnchoreUnavailable(f"Anchore failed with a server error ({status})")
    # The words of nginx and of Go's net/http, whose responses are not JSON.
    if status == _BAD_REQUEST and b"HTTPS" in response.body[:SMALL]:
        return AnchoreResponseInvalid(
            "a plain HTTP request was sent to an HTTPS port (400): write https:// in the endpoint"
        )
    return AnchoreResponseInvalid(f"Anchore sent an unexpected response ({status}){_quoted(response)}")


def _redirect(response: AnchoreResponse) -> str:
    """Name the target of a redirect, without credentials, path and query.

    The client never follows a redirect: it would send the credentials to another server.
    """
    target = _origin(response.location)
    if not target:
        return f"the endpoint redirects elsewhere ({response.status}), perhaps to a login page; check the endpoint"
    return f"the endpoint redirects to {target} ({response.status}); if Anchore is there, set the endpoint to it"


def _origin(url: str) -> str:
    """Return scheme, host and port of an address; an empty text if it has none.

    Secrets are redacted before the address is parsed: parsing lowers the case of a host name and would hide them.
    """
    try:
        parts = urlsplit(cleaned(url, _LOGGED))
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    if not host or parts.scheme not in {"http", "https"}:
        return ""
    return cleaned(f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}")


def _quoted(response: AnchoreResponse) -> str:
    return f": {cleaned(response.message)}" if response.message else ""


def bad_request(response: AnchoreResponse) -> EvaluationError:
    """Return the error for a 400 to a request that should be valid: client and server disagree on the API."""
    return AnchoreResponseInvalid(f"Anchore rejects the request ({response.status}){_quoted(response)}")
