"""Patterns of rules: globs and regular expressions, many of them compared with a text at once.

Most patterns are a text, or begin with one: they are found in dictionaries. What is left is compared one by one, with
RE2, which takes time in proportion to the text. All expressions in one automaton (``RE2::Set``) would be faster for
usual texts, but an author could choose texts for which it builds a new state at every character: 50 ms for an image of
1,000 characters among 1,000 patterns such as ``*/team-1/*``, where this module takes 0.3 ms.
"""

import fnmatch
import re
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from itertools import takewhile
from typing import Any

import re2
from msgspec import Struct

from anchore_admission.core.reference import (
    DEFAULT_PORT,
    DOCKER_HUB,
    HUB_HOSTS,
    is_image_id,
    names_host,
    registry,
    split_port,
)
from anchore_admission.errors import InvalidPattern
from anchore_admission.models.configuration import EXPRESSION

MAX_INSTRUCTIONS = 1000
"""Instructions of one compiled expression: RE2 takes up to as many steps for each character of a text."""
COMPARED = 4096
"""Characters of a text that are compared: an annotation may have 256 KiB. Images and names have fewer."""
_BEGINNING = 256
"""Bytes of the longest beginning that RE2 is asked for."""
_WORD_BOUNDARY = re.compile(rb"\\[bB]")
_WILDCARDS = re.compile(r"[*?]+")


class Ending(Enum):
    """The part of a matching text after the pattern's beginning."""

    NOTHING = auto()
    ANYTHING = auto()
    AS_COMPILED = auto()


class Pattern(Struct, frozen=True):
    """A translated pattern. Every text that it matches begins with ``beginning`` and contains ``part``.

    ``compiled`` is an expression over the whole text, where the ending needs one. ``but_digests`` is True for an
    expression for images that must not be compared with ``repository@digest``.
    """

    beginning: str
    ending: Ending
    part: str = ""
    compiled: Any = None
    but_digests: bool = False

    def matches(self, text: str) -> bool:
        """Compare with a text that has the beginning. It is cut, so that even a slow expression takes a few ms."""
        text = text[:COMPARED]
        if self.part not in text:
            return False
        # A lone surrogate cannot be encoded; as in any text for output, it counts as a question mark.
        return self.compiled.fullmatch(text.encode(errors="replace")) is not None


def pattern_of(written: str) -> Pattern:
    """Translate a glob or ``regex:`` expression. Raises InvalidPattern."""
    return _expression(written) if written.startswith(EXPRESSION) else _glob_pattern(written)


def image_pattern_of(written: str) -> Pattern:
    """Translate a pattern for names that begin with a registry. Raises InvalidPattern.

    A glob that names a registry is compared with the registry alone, because an author chooses the path of an image.
    A glob that begins with ``*`` and names no registry matches every registry. An image ID has no registry. Any other
    glob without a registry means Docker Hub. An expression that does not mention ``@`` matches no digest: an author can
    produce one that begins with the digits of a tag.
    """
    if written.startswith(EXPRESSION):
        return _expression(written, but_digests="@" not in written)
    host, slash, rest = written.partition("/")
    if slash and names_host(host):
        if not _WILDCARDS.search(host):
            return _path_pattern(f"{registry(host)}/", rest)
        path, end = _without_any_tag(rest)
        return _compiled(f"{_registry_glob(host.lower())}/{_path_glob(path)}{end}", part=_longest_part(f"/{path}"))
    if is_image_id(written):
        return _glob_pattern(written)
    return _path_pattern("" if written.startswith("*") else f"{DOCKER_HUB}/", written)


def stands_for_ids(written: str) -> bool:
    """Return whether a pattern for images is meant for image IDs, too: it begins like one, or matches everything.

    The author of a workload chooses the digits of an ID, and these could be those of a tag (``*:5*``).
    """
    return is_image_id(written.removeprefix(EXPRESSION)) or written == f"{EXPRESSION}.*" or not written.strip("*")


class PatternMasks(Struct, frozen=True):
    """The patterns of one key of many matches; a bit mask says which of the matches a text satisfies.

    Bit ``n`` stands for the match at position ``n``. Texts, beginnings, and patterns by their beginning: each has the
    mask of its matches. ``lengths`` are those of the beginnings.
    """

    texts: Mapping[str, int]
    beginnings: Mapping[str, int]
    compiled: Mapping[str, tuple[tuple[Pattern, int], ...]]
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, patterns: Iterable[tuple[Pattern, int]]) -> "PatternMasks":
        """Join patterns, each with the mask of its matches."""
        texts: dict[str, int] = {}
        beginnings: dict[str, int] = {}
        compiled: dict[str, dict[str, tuple[Pattern, int]]] = {}
        for pattern, mask in patterns:
            match pattern.ending:
                case Ending.NOTHING:
                    texts[pattern.beginning] = texts.get(pattern.beginning, 0) | mask
                case Ending.ANYTHING:
                    beginnings[pattern.beginning] = beginnings.get(pattern.beginning, 0) | mask
                case Ending.AS_COMPILED:
                    same = compiled.setdefault(pattern.beginning, {})
                    source = pattern.compiled.pattern
                    same[source] = (pattern, same[source][1] | mask if source in same else mask)
        lengths = tuple({len(beginning) for beginning in (*beginnings, *compiled)})
        by_beginning = {beginning: tuple(same.values()) for beginning, same in compiled.items()}
        return cls(texts, beginnings, by_beginning, lengths)

    def matching(self, text: str) -> int:
        """Return the mask of the matches of which one pattern matches the text."""
        mask = self.texts.get(text, 0)
        for length in self.lengths:
            beginning = text[:length]
            mask |= self.beginnings.get(beginning, 0)
            for pattern, matches in self.compiled.get(beginning, ()):
                # First whether it would add anything: comparing costs more.
                if matches & ~mask and pattern.matches(text):
                    mask |= matches
        return mask

    def any_matching(self, texts: Iterable[str]) -> int:
        """Return the mask of the matches of which one pattern matches one of the texts."""
        mask = 0
        for text in texts:
            mask |= self.matching(text)
        return mask


def _compiled(source: str, *, beginning: str = "", part: str = "", but_digests: bool = False) -> Pattern:
    try:
        # Bytes, which need not be decoded for each comparison.
        compiled = re2.compile(source.encode(), _quiet())
    except re2.error as error:
        # RE2 gives its message as bytes for a pattern that is bytes.
        reason = error.args[0]
        raise InvalidPattern(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from error
    return Pattern(beginning or _beginning_of(compiled), Ending.AS_COMPILED, part, compiled, but_digests)


def _quiet() -> Any:
    options = re2.Options()
    options.log_errors = False
    return options


def _beginning_of(compiled: Any) -> str:
    """Return the text that every match begins with: what the first and the last possible match have in common."""
    if _WORD_BOUNDARY.search(compiled.pattern):
        return ""  # RE2 overlooks matches that end at one: it gives aa for ^a\ba?, which matches a alone
    try:
        first, last = compiled.possiblematchrange(_BEGINNING)
    except re2.error:
        return ""
    same = bytes(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
    return same.decode(errors="ignore")  # it may end within a character


def _expression(written: str, *, but_digests: bool = False) -> Pattern:
    """Translate an expression, in a group of its own, so that its alternatives and flags end with it."""
    source = written.removeprefix(EXPRESSION)
    # First as it is written: for the message, and because a parenthesis could close the group.
    size = _compiled(source).compiled.programsize
    if size > MAX_INSTRUCTIONS:
        raise InvalidPattern(f"it is too large ({size} instructions, {MAX_INSTRUCTIONS} at most): repeat less")
    # A dot matches line breaks, too, as a star does: with one in an annotation, an author could otherwise leave a rule.
    return _compiled(f"(?s:{source})", but_digests=but_digests)


def _glob_pattern(glob: str) -> Pattern:
    beginning, wildcards, rest = _split(glob)
    if not rest and "?" not in wildcards:
        return Pattern(beginning, Ending.ANYTHING if wildcards else Ending.NOTHING)
    return _compiled(_glob(glob), beginning=beginning, part=_longest_part(glob))


def _path_pattern(registry_part: str, glob: str) -> Pattern:
    """Translate a glob for the part after a registry without wildcards."""
    path, end = _without_any_tag(glob)
    source, whole = _path_glob(path), registry_part + path
    if not end and source == _glob(path):
        return _glob_pattern(whole)
    return _compiled(re2.escape(registry_part) + source + end, beginning=_split(whole)[0], part=_longest_part(path))


def _split(glob: str) -> tuple[str, str, str]:
    """Return the text before the first wildcards, these, and the rest."""
    first = _WILDCARDS.search(glob)
    return (glob[: first.start()], first[0], glob[first.end() :]) if first else (glob, "", "")


def _longest_part(glob: str) -> str:
    return max(_WILDCARDS.split(glob), key=len)


def _without_any_tag(glob: str) -> tuple[str, str]:
    """Split a star for the whole tag (``app:*``, ``app:?*``) off a glob, and return the expression for it.

    It stands for every image of the repository, by digest too: otherwise an author could leave a rule with a digest.
    """
    repository, colon, tag = glob.rpartition(":")
    if not colon or "@" in glob or "*" not in tag or tag.replace("*", "") not in {"", "?"}:
        return glob, ""
    return repository, "" if repository.endswith("*") else "(?s:[:@].*)?"


def _path_glob(glob: str) -> str:
    """Translate the part of a glob after the registry.

    A glob for tags matches no digest: ``app*:2*`` would hold for every digest that begins with a 2, and an author can
    produce one.
    """
    repository, colon, tag = glob.rpartition(":")
    if not colon or "@" in glob:
        return _glob(glob)
    return f"{_glob(repository, any_character='[^@]')}:{_glob(tag)}"


def _registry_glob(glob: str) -> str:
    """Translate the registry's part of a glob, whose stars end at the first ``/``, for :func:`registry`'s spelling."""
    name, port = split_port(glob)
    is_default = not port or fnmatch.fnmatchcase(DEFAULT_PORT, port)
    expression = _glob(name, any_character="[^/]")
    if port:
        expression += f"(?::{_glob(port, any_character='[^/]')}){'?' if is_default else ''}"
    if is_default and any(fnmatch.fnmatchcase(host, name) for host in HUB_HOSTS):
        expression += f"|{re.escape(DOCKER_HUB)}"
    return f"(?:{expression})"


def _glob(glob: str, any_character: str = "(?s:.)") -> str:
    """Translate a glob: ``*`` and ``?`` are special, brackets are not (IPv6 hosts carry them)."""
    parts = [re2.escape(part).replace(r"\?", any_character) for part in re.split(r"\*+", glob)]
    return f"{any_character}*".join(parts)
