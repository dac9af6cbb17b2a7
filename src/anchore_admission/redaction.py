"""Redact the secrets of this process from every text that leaves it.

Anchore, a proxy or a gateway may echo a request: the Authorization header, an address with a password in it. All text
from outside passes through :func:`redacted` before it reaches a message or a log line, and so does every log line.
"""

import html
import re
import threading
from base64 import b64encode, urlsafe_b64encode
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Final

REDACTED: Final = "[redacted]"
_SHORTEST = 4
"""Shorter secrets are found in ordinary words. They are redacted in their longer forms: as a pair and in Base64."""
_SHORTEST_INSIDE = 8
"""Characters of Base64 that must be left of a secret inside a longer text, for the same reason."""
_LONGEST_ESCAPE = 24
"""The most characters for one character: escaped twice, with unprintable ones around it."""
_KEPT = 2
"""Generations of one owner's secrets: the current one, and the previous one, which pending responses may hold."""
_UNPRINTABLE = r"\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\ufffd"
_SUSPECT: Final = re.compile(rf"[%&\\{_UNPRINTABLE}]")
"""The first characters of escapes. Most texts have none and are compared as they are."""
_ESCAPES: Final = re.compile(
    r"(?P<bytes>(?:%(?:25){0,2}[0-9a-f]{2}|\\{1,8}x[0-9a-f]{2}){1,1024})"
    r"|(?P<units>(?:\\{1,8}u[0-9a-f]{4}){1,1024})"
    r"|(?P<entity>&(?:amp;){0,2}(?:\#x?[0-9a-f]{1,10}|[a-z][a-z0-9]{1,30});)"
    rf"|(?P<dropped>\\{{1,8}}[bfnrt0]?|[{_UNPRINTABLE}]{{1,1024}})",
    re.IGNORECASE,
)
"""Characters as URLs, JSON, Python and HTML write them. Dropped ones, such as backslashes, vanish from messages."""
_PRINTED: Final = re.compile(f"[{_UNPRINTABLE}]+")
# A scheme with credentials is redacted even if they are not known: an echo may be cut short or changed on its way.
_HEADER: Final = re.compile(r"\b(Basic|Bearer)( |%20|\+|: ?)([A-Za-z0-9+/=._~%-]{16,4096})", re.IGNORECASE)

_KEY: Final = re.compile(
    r"(?<![\w-])eyJ[\w-]{8,4096}\.[\w-]{8,8192}\.[\w-]{8,4096}"
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[^-]{0,16384}"
    r"|LS0tLS1CRUdJTi(?:BQUklWQVRF|BFQyBQUklWQVRF|BSU0EgUFJJVkFURS|BFTkNSWVBURUQgUFJJVkFUR)[\w+/=-]{0,32768}"
)
"""A service account's token, and a private key in PEM, plain or in the Base64 of a Secret. They are redacted even if
they are not among the known secrets."""


class Redaction:
    """The secrets of this process, recognized in every form in which a response may repeat them."""

    def __init__(self) -> None:
        self._secrets: dict[str, list[frozenset[str]]] = {}
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()
        self.longest = 0
        """The length of the longest form of a secret."""

    def remember(self, owner: str, secrets: Iterable[str]) -> None:
        """Redact these secrets from now on; ``owner`` names their source, whose older generations are forgotten.

        Any thread may call this: files are watched in a thread, calls to Anchore are made in the event loop.
        """
        found = frozenset(secret for secret in secrets if len(secret) >= _SHORTEST)
        with self._lock:
            generations = self._secrets.get(owner, [])
            if not found or found in generations[-1:]:
                return
            self._secrets[owner] = [*generations, found][-_KEPT:]
            self._compile()

    def _compile(self) -> None:
        known = {secret for kept in self._secrets.values() for generation in kept for secret in generation}
        # The longest first: a pair is redacted as a whole, not only the password in it.
        ordered = sorted(known | {form for secret in known for form in _unescaped(secret)}, key=len, reverse=True)
        # In a form of a web page, a space is written as a plus sign.
        texts = (re.escape(secret).replace(r"\ ", "[ +]") for secret in ordered if len(secret) >= _SHORTEST)
        self._pattern = re.compile("|".join(texts) or "(?!)")
        self.longest = _LONGEST_ESCAPE * len(ordered[0])

    def apply(self, text: str) -> str:
        """Return the text without secrets."""
        if self._pattern is not None:
            if _SUSPECT.search(text):
                text = _redacted_escapes(self._pattern, text)
            text = self._pattern.sub(REDACTED, text)
        # A cheap test before the expensive expression. `eyJ` and `LS0tLS1` are the Base64 of `{"` and `-----`.
        if "eyJ" in text or "BEGIN" in text or "LS0tLS1" in text:
            text = _KEY.sub(REDACTED, text)
        return _HEADER.sub(_without_credentials, text)

    def cut(self, text: str, limit: int) -> str:
        """Return at most ``limit`` characters of the text, without secrets, and without a part of one at the cut."""
        if len(text) <= limit + self.longest:
            return self.apply(text)[:limit]
        clean = self.apply(text[: limit + self.longest])
        return clean[: min(limit, max(0, len(clean) - self.longest))]


def _without_credentials(header: re.Match[str]) -> str:
    return f"{header[1]}{header[2]}{REDACTED}"


_process = Redaction()


def remember(owner: str, secrets: Iterable[str]) -> None:
    """Redact these secrets from every text of this process."""
    _process.remember(owner, secrets)


def redacted(text: str) -> str:
    """Return the text without the secrets of this process."""
    return _process.apply(text)


def cut(text: str, limit: int) -> str:
    """Return at most ``limit`` characters of the text, without secrets."""
    return _process.cut(text, limit)


def pair_forms(username: str, password: str) -> Iterator[str]:
    """Yield the forms in which a response may repeat a user name and a password."""
    for text in (password, f"{username}:{password}"):
        yield from _misread(text)
        data = text.encode("utf-8", "surrogateescape")
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(data).decode().rstrip("=")
    yield from _inside(password.encode("utf-8", "surrogateescape"))


def _misread(text: str) -> Iterator[str]:
    """Yield a text as it is, and as it comes back from a server that mistakes its UTF-8 for another encoding."""
    yield text
    if not text.isascii():
        data = text.encode("utf-8", "surrogateescape")
        yield data.decode("latin-1")
        yield data.decode("cp1252", "replace")
        yield text.encode("ascii", "replace").decode()
        yield text.encode("ascii", "ignore").decode()


def _inside(data: bytes) -> Iterator[str]:
    """Yield the Base64 of a secret within a longer text: one form for each place in a group of three bytes."""
    for before, foreign in ((1, 2), (2, 3)):
        # Base64 writes three bytes as four characters. Those at either end also depend on the neighbors and are left
        # out.
        whole = (before + len(data)) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            form = encode(b"\0" * before + data).decode()[foreign:whole]
            if len(form) >= _SHORTEST_INSIDE:
                yield form
    start = b64encode(data).decode()[: len(data) * 8 // 6]
    if len(start) >= _SHORTEST_INSIDE:
        yield start
        yield start.translate(str.maketrans("+/", "-_"))


def _unescaped(secret: str) -> tuple[str, str]:
    """Return the forms of a secret in an unescaped text: a password may look like an escape, as in ``a%41``."""
    return _ESCAPES.sub(_read, secret), _PRINTED.sub("", secret).replace("\\", "")


def _redacted_escapes(pattern: re.Pattern[str], text: str) -> str:
    """Redact the matches of a pattern in the unescaped text; an escape that holds a part of one is redacted whole."""
    parts: list[str] = []
    begins: list[int] = []
    """The start of each part in the unescaped text."""
    places: list[tuple[int, int]] = []
    """The place of each part in the text; every second part is an escape."""
    length = 0
    for place, part in _parts(text):
        parts.append(part)
        begins.append(length)
        places.append(place)
        length += len(part)

    def place_of(index: int) -> tuple[int, int]:
        number = bisect_right(begins, index) - 1
        if number % 2:
            return places[number]
        at = places[number][0] + index - begins[number]
        return at, at + 1

    clean: list[str] = []
    done = 0
    for secret in pattern.finditer("".join(parts)):
        begin, end = place_of(secret.start())[0], place_of(secret.end() - 1)[1]
        clean += [text[done:begin], REDACTED]
        done = max(done, end)
    return "".join([*clean, text[done:]])


def _parts(text: str) -> Iterator[tuple[tuple[int, int], str]]:
    """Yield the texts between escapes and the meanings of escapes, in turn, each with its place."""
    begin = at = 0
    while found := _SUSPECT.search(text, at):
        escape = _ESCAPES.match(text, found.start())
        at = escape.end() if escape else found.end()
        if escape:
            yield (begin, escape.start()), text[begin : escape.start()]
            yield escape.span(), _read(escape)
            begin = at
    yield (begin, len(text)), text[begin:]


def _read(escape: re.Match[str]) -> str:
    """Return the characters that an escape stands for, without unprintable ones."""
    kind, text = escape.lastgroup, escape[0]
    if kind == "bytes":
        data = bytes(int(code, 16) for code in re.findall(r"(?:%(?:25){0,2}|x)([0-9a-f]{2})", text, re.IGNORECASE))
        try:
            read = data.decode()
        except UnicodeDecodeError:
            read = data.decode("latin-1")
    elif kind == "units":
        units = re.findall(r"u([0-9a-f]{4})", text, re.IGNORECASE)
        read = bytes.fromhex("".join(units)).decode("utf-16-be", "replace")
    elif kind == "entity":
        read = html.unescape(html.unescape(html.unescape(text)))
    else:
        read = ""
    return _PRINTED.sub("", read).replace("\\", "")
