"""Our own secrets, kept out of every text that leaves the process.

Anchore, a proxy or a gateway may echo what it was sent: the Authorization header, an address with a password in it.
All text from outside passes :func:`redacted` before it reaches a message or a log line, and so does every log line.
"""

import html
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from typing import Final

REDACTED: Final = "[redacted]"
_SHORTEST = 4
"""Shorter secrets are found in ordinary words. They are redacted in their longer forms: as a pair and in Base64."""
_LONGEST_ESCAPE = 14
"""Characters that an escape of one character takes at most."""
_KEPT = 2
"""Generations of one owner's secrets: those in use, and those in use before, which answers under way may still hold."""
# A scheme with credentials is redacted even if they are not known: an echo may be cut short or changed on its way.
_HEADER: Final = re.compile(r"\b(Basic|Bearer)( |%20|\+|: ?)([A-Za-z0-9+/=._~%-]{16,4096})", re.IGNORECASE)


class Redaction:
    """The secrets of this process, each recognized in every form that it may come back in."""

    def __init__(self) -> None:
        self._secrets: dict[str, list[frozenset[str]]] = {}
        self._pattern: re.Pattern[str] | None = None
        self.longest = 0
        """Length of the longest text that a secret may take."""

    def remember(self, owner: str, secrets: Iterable[str]) -> None:
        """Redact these secrets from now on; ``owner`` names where they come from, and its oldest ones are forgotten."""
        found = frozenset(secret for secret in secrets if len(secret) >= _SHORTEST)
        generations = self._secrets.get(owner, [])
        if not found or found in generations[-1:]:
            return
        self._secrets[owner] = [*generations, found][-_KEPT:]
        known = {secret for kept in self._secrets.values() for generation in kept for secret in generation}
        # The longest first: a pair is redacted as a whole, not only the password in it.
        ordered = sorted(known, key=len, reverse=True)
        self._pattern = re.compile("|".join("".join(map(_escapes, secret)) for secret in ordered))
        self.longest = _LONGEST_ESCAPE * len(ordered[0])

    def apply(self, text: str) -> str:
        """Return the text without secrets."""
        if self._pattern is not None:
            text = self._pattern.sub(REDACTED, text)
        return _HEADER.sub(rf"\1\2{REDACTED}", text)

    def cut(self, text: str, limit: int) -> str:
        """Return at most ``limit`` characters of the text, without secrets, and without a part of one at the cut."""
        if len(text) <= limit + self.longest:
            return self.apply(text)[:limit]
        clean = self.apply(text[: limit + self.longest])
        return clean[: min(limit, max(0, len(clean) - self.longest))]


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
    """Yield the forms in which a user name and a password may come back."""
    yield password
    yield f"{username}:{password}"
    for text in (password, f"{username}:{password}"):
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(text.encode()).decode().rstrip("=")


def _escapes(character: str) -> str:
    """Return a pattern for one character of a secret: as it is, or as URLs, JSON and HTML escape it."""
    if character.isascii() and character.isalnum():
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    escapes = [
        "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogatepass")),
        "".join(rf"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)),
        rf"&\#0{{0,4}}{ord(character)};",
        rf"&\#x0{{0,4}}{ord(character):x};",
        re.escape(html.escape(character)),
        re.escape(json.dumps(character)[1:-1]),
        re.escape(f"\\{character}"),
    ]
    space = r"|\+" if character == " " else ""
    return rf"(?:{re.escape(character)}|(?i:{'|'.join(escapes)}){space})"
