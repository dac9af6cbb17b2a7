"""The meaning of plain YAML words to Kubernetes.

Kubernetes reads YAML 1.1 without its surprises: ``yes``, ``y`` and ``off`` are booleans, but dates, ``1:30`` and ``=``
are text. Source: sigs.k8s.io/yaml and the go-yaml v2 inside it; kubectl 1.32 agrees on every word of the tests.
"""

import math
import re
from collections.abc import Iterator
from typing import Any


def _spellings(*words: str) -> Iterator[str]:
    return (spelling for word in words for spelling in (word, word.capitalize(), word.upper()))


_WORDS: dict[str, Any] = {
    **dict.fromkeys(["", "~", *_spellings("null")], None),
    **dict.fromkeys(_spellings("true", "yes", "on", "y"), True),
    **dict.fromkeys(_spellings("false", "no", "off", "n"), False),
    **dict.fromkeys([".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"], math.inf),
    **dict.fromkeys(["-.inf", "-.Inf", "-.INF"], -math.inf),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], math.nan),
}
_NUMBER_START = frozenset("-+.0123456789")
# Python's int() rejects texts of more than 4300 digits with a ValueError.
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,63})")
# In YAML 1.1 a leading zero alone makes a number octal, as in `defaultMode: 0644`.
_OTHER_BASE = re.compile(r"([-+]?)0([bB][01]+|[xX][0-9a-fA-F]+|[oO]?[0-7]+)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


def plain(text: str) -> Any:
    """Return the value of a word without quotes."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_START:
        return text
    # YAML 1.1 ignores underscores in numbers.
    word, text = text, text.replace("_", "")
    if _DECIMAL.fullmatch(text):
        return int(text)
    if based := _OTHER_BASE.fullmatch(text):
        sign, digits = based.groups()
        return int(f"{sign}0{digits if digits[0] in 'bBxXoO' else f'o{digits}'}", 0)
    return float(text) if _FLOAT.fullmatch(text) else word


def key_text(value: Any) -> str | None:
    """Return a key as text: ``8080:`` and ``on:`` are ``"8080"`` and ``"true"``. None if it cannot be a key."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else None
