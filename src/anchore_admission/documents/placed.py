"""Texts of a document that know where they stand, so that a file can be changed without writing it anew."""

import json
from collections.abc import Callable
from json import decoder as json_decoder
from json import scanner as json_scanner
from typing import Any

# Both names are old and stable, but not documented, so that the type stubs lack them.
_scanstring: Any = vars(json_decoder)["scanstring"]
_make_scanner: Any = vars(json_scanner)["py_make_scanner"]


class PlacedText(str):
    """A text value and its place: ``start`` and ``end`` count the characters of the text that was read.

    ``style`` is the quote around it, ``|`` or ``>`` for a block, and empty for a plain word. ``is_tagged`` is True if a
    YAML tag stands before it.
    """

    __slots__ = ("end", "is_tagged", "start", "style")

    start: int
    end: int
    style: str
    is_tagged: bool

    @classmethod
    def at(cls, value: str, span: tuple[int, int], style: str, *, is_tagged: bool = False) -> "PlacedText":
        """Return a text with its place."""
        text = cls(value)
        text.start, text.end = span
        text.style, text.is_tagged = style, is_tagged
        return text


def placing_decoder(mapping: Callable[[list[tuple[str, Any]]], Any]) -> json.JSONDecoder:
    """Return a JSON decoder whose text values are placed. It is slower than Python's own, which is written in C."""
    decoder: Any = json.JSONDecoder(object_pairs_hook=mapping)

    def placed(text: str, begin: int, strict: bool = True) -> tuple[str, int]:
        value, end = _scanstring(text, begin, strict)
        # ``begin`` is after the quote.
        return PlacedText.at(value, (begin - 1, end), '"'), end

    decoder.parse_string = placed
    decoder.scan_once = _make_scanner(decoder)
    made: json.JSONDecoder = decoder
    return made
