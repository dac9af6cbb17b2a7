"""Foreign text, made safe and short before people or terminals see it.

The author of a workload chooses names, images and labels; Anchore, proxies and clients choose what they send. Such
text may hold line breaks (they forge a log line, and the API server drops a warning that has one), escape sequences
(a terminal obeys them) and bidirectional controls (they reorder the line that a person reads). ``str.isprintable`` is
False for all of them: it accepts letters, marks, numbers, punctuation, symbols and the space, nothing else.

Texts that must keep every character, such as JSON, are escaped by their encoder instead.
"""

from typing import Final

LIMIT: Final = 300
"""Characters shown of a name. Longer than an image reference that a registry accepts."""
_REPLACEMENT: Final = "?"
_ELLIPSIS: Final = "…"


def printable(text: str, *, keep: str = "") -> str:
    """Replace every unprintable character with a question mark, except those in ``keep``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _REPLACEMENT for c in text)


def shortened(text: str, limit: int) -> str:
    """Return at most ``limit`` characters, with an ellipsis where something is missing."""
    return text if len(text) <= limit else f"{text[: limit - 1]}{_ELLIPSIS}"


def shown(text: str, limit: int = LIMIT) -> str:
    """Return text for one line: printable, and at most ``limit`` characters.

    The rest is cut off before anything looks at it: a text may have millions of characters.
    """
    if len(text) <= limit and text.isprintable():
        return text
    return shortened(printable(text[: limit + 1]), limit)


def joined_lines(text: str) -> str:
    """Turn a text of several lines into one: unprintable characters become spaces, and runs of spaces one.

    For prose from a server, where a question mark in place of a line break would only confuse.
    """
    if text.isprintable():
        return text
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
