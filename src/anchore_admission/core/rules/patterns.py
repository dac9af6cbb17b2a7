"""Patterns of rules: globs and regular expressions, many of them compared with a text in one pass of RE2.

RE2 takes time linear in the text, whatever the pattern, so no author of a workload can hold up the event loop.
"""

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

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

_EXPRESSION_MEMORY = 1 << 20
"""Bytes that one compiled expression may take."""
_SET_MEMORY = 64 << 20
"""Bytes that all patterns of one key may take together, with the states that RE2 builds while it matches."""


class Pattern(NamedTuple):
    """A pattern as RE2 reads it, or a text that must be equal, which needs no RE2.

    ``but_digests`` is True for an expression for images that must not be compared with ``repository@digest``.
    """

    source: str
    is_text: bool = False
    but_digests: bool = False


def pattern_of(written: str) -> Pattern:
    """Translate a glob or ``regex:`` expression. Raises InvalidPattern."""
    if written.startswith(EXPRESSION):
        return Pattern(_expression(written))
    return Pattern(written, is_text=True) if _is_text(written) else Pattern(_glob(written))


def image_pattern_of(written: str) -> Pattern:
    """Translate a pattern for names that begin with a registry. Raises InvalidPattern.

    A glob that names a registry is compared with the registry alone, because an author chooses the path of an image.
    A glob that begins with ``*`` and names no registry matches every registry. An image ID has no registry. Any other
    glob without a registry means Docker Hub. An expression that does not mention ``@`` matches no digest: an author can
    produce one that begins with the digits of a tag.
    """
    if written.startswith(EXPRESSION):
        return Pattern(_expression(written), but_digests="@" not in written)
    host, slash, rest = written.partition("/")
    if slash and names_host(host):
        if _is_text(written):
            return Pattern(f"{registry(host)}/{rest}", is_text=True)
        return Pattern(f"{_registry_glob(host.lower())}/{_path_glob(rest)}")
    if is_image_id(written):
        return Pattern(written, is_text=True) if _is_text(written) else Pattern(_glob(written))
    anywhere = written if written.startswith("*") else f"{DOCKER_HUB}/{written}"
    return Pattern(anywhere, is_text=True) if _is_text(anywhere) else Pattern(_path_glob(anywhere))


class PatternSet(Struct, frozen=True):
    """Patterns compared with a whole text, all in one pass."""

    patterns: tuple[str, ...]
    compiled: Any
    every_text: int
    """The position of one more pattern, which matches every text.

    Without it, RE2 running out of memory would look like "no pattern matches".
    """

    @classmethod
    def of(cls, patterns: Sequence[str]) -> "PatternSet":
        """Compile valid patterns. Raises InvalidPattern if they need too much memory together."""
        compiled = re2.Set.FullMatchSet(_options(_SET_MEMORY))
        for pattern in patterns:
            compiled.Add(pattern)
        every_text = compiled.Add("(?s:.*)")
        try:
            compiled.Compile()
        except re2.error as error:
            raise InvalidPattern("the patterns of one key need too much memory together") from error
        return cls(tuple(patterns), compiled, every_text)

    def matching(self, text: str) -> list[int]:
        """Return the positions of the patterns that match."""
        # A lone surrogate cannot be encoded; as in any text for output, it counts as a question mark.
        encoded = text.encode(errors="replace")
        found: list[int] | None = self.compiled.Match(encoded)
        if not found or self.every_text not in found:
            return [index for index, pattern in enumerate(self.patterns) if _compiled(pattern).fullmatch(encoded)]
        found.remove(self.every_text)
        return found


class PatternMasks(Struct, frozen=True):
    """The patterns of one key of many matches; a bit mask says which of the matches a text satisfies.

    Bit ``n`` stands for the match at position ``n``. Texts without wildcards need no RE2.
    """

    texts: Mapping[str, int]
    masks: tuple[int, ...]
    patterns: PatternSet | None

    @classmethod
    def of(cls, patterns: Iterable[tuple[Pattern, int]]) -> "PatternMasks":
        """Compile patterns, each with the mask of its matches. Raises InvalidPattern."""
        texts: dict[str, int] = {}
        sources: dict[str, int] = {}
        for pattern, mask in patterns:
            known = texts if pattern.is_text else sources
            known[pattern.source] = known.get(pattern.source, 0) | mask
        return cls(texts, tuple(sources.values()), PatternSet.of(tuple(sources)) if sources else None)

    def matching(self, text: str) -> int:
        """Return the mask of the matches of which one pattern matches the text."""
        mask = self.texts.get(text, 0)
        if self.patterns:
            for index in self.patterns.matching(text):
                mask |= self.masks[index]
        return mask

    def any_matching(self, texts: Iterable[str]) -> int:
        """Return the mask of the matches of which one pattern matches one of the texts."""
        mask = 0
        for text in texts:
            mask |= self.matching(text)
        return mask


def _compiled(source: str) -> Any:
    try:
        return re2.compile(source.encode(), _options(_EXPRESSION_MEMORY))
    except re2.error as error:
        # RE2 gives its message as bytes for a pattern that is bytes.
        reason = error.args[0]
        raise InvalidPattern(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from error


def _options(memory: int) -> Any:
    options = re2.Options()
    options.max_mem = memory
    options.log_errors = False
    return options


def _expression(written: str) -> str:
    """Return the expression in a group of its own, so that its alternatives and flags end with it."""
    source = written.removeprefix(EXPRESSION)
    _compiled(source)
    # A star matches line breaks, too, as in globs: with one in an annotation, an author could otherwise leave a rule.
    return f"(?s:{source})"


def _is_text(glob: str) -> bool:
    return "*" not in glob and "?" not in glob


def _path_glob(glob: str) -> str:
    """Translate the part of a glob after the registry.

    A glob for tags matches no digest: ``app*:2*`` would hold for every digest that begins with a 2, and an author can
    produce one. A star for the whole tag (``app*:*``) matches every image, by digest too.
    """
    repository, colon, tag = glob.rpartition(":")
    if not colon or "@" in glob or not tag.strip("*"):
        return _glob(glob)
    return f"{_glob(repository, any_character='[^@]')}:{_glob(tag)}"


def _registry_glob(glob: str) -> str:
    """Translate the registry's part of a glob, whose stars end at the first ``/``, for :func:`registry`'s spelling."""
    if _is_text(glob):
        return re.escape(registry(glob))
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
