"""Turn an expression that is searched in a text into our patterns, which are compared with the whole text."""

import re
from dataclasses import dataclass
from typing import Any

import re2

from anchore_admission.core.convert.expression import (
    DOT,
    Item,
    NotRead,
    Repeat,
    Row,
    matches,
    matches_all,
    rows_of,
    words_of,
)
from anchore_admission.core.reference import DOCKER_HUB, HUB_HOSTS, OFFICIAL, names_host, registry
from anchore_admission.core.rules.patterns import pattern_of
from anchore_admission.errors import InvalidPattern
from anchore_admission.models.configuration import EXPRESSION

MAX_PATTERN = 1024
"""Characters of the longest pattern in our configuration."""
_ANY_BYTE = re.compile(r"\\C")
_GLOB_SIGNS = frozenset("*?")
_COMPONENT = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
_BEGINNING = re.compile(rf"{_COMPONENT}(?::[0-9]+)?(?:/{_COMPONENT})*(?:[/_-]|:[a-z0-9]+(?:[._-][a-z0-9]+)*)?")
"""The beginning of an image that reads well as a glob."""
_ANY_HUB_NAME = r"(?:docker\.io/(?:library/)?)?"


@dataclass(frozen=True, slots=True)
class Searched:
    """An expression of the Go controller. ``rows`` is None if it has syntax of which nothing is proven."""

    expression: str
    problem: str
    rows: tuple[Row, ...] | None

    def search(self, text: str) -> bool:
        """Return whether the Go controller finds the expression in a text."""
        return not self.problem and re2.compile(self.expression, _options()).search(text) is not None

    @property
    def words(self) -> frozenset[str] | None:
        """The only texts in which it is found, if they can be listed."""
        return words_of(self.rows) if self.rows is not None else None

    def finds_all(self, *, if_empty: bool = True) -> bool:
        """Return whether it is found in every text of one line; without ``if_empty``, in all but the empty one."""
        return self.rows is not None and any(matches_all(row, if_empty=if_empty) for row in self.rows)

    @property
    def likely_words(self) -> frozenset[str]:
        """The texts that its author most likely meant, of those in which it is found: each dot is a dot."""
        texts = [_as_written(row).text for row in self.rows or ()]
        return frozenset(text for text in texts if text and self.search(text)) if all(texts) else frozenset()

    @property
    def remarks(self) -> tuple[str, ...]:
        """The traits that may surprise the author of the expression."""
        if not self.expression:
            return ("is empty, and so matches everything",)
        if self.problem or self.finds_all(if_empty=False):
            return ()
        rows, found = self.rows or (), []
        open_start = not all(row.starts for row in rows) and not self.expression.startswith((".*", "^.*"))
        open_end = not all(row.ends for row in rows) and not self.expression.endswith((".*", ".+", ".*$", "/"))
        if open_start or open_end:
            place = "in the middle" if open_start and open_end else "at the end" if open_start else "at the beginning"
            found.append(f"is not anchored: it also matches a text that has it {place}")
        if any(Repeat(DOT, 1, 1) in row.items for row in rows):
            found.append(r"has a dot that matches any character; a dot itself is \.")
        return tuple(found)


def searched(expression: str) -> Searched:
    """Read an expression; ``problem`` says why the Go controller cannot, and then finds it in no text."""
    try:
        re2.compile(expression, _options())
    except re2.error as error:
        return Searched(expression, error.args[0].decode(errors="replace"), None)
    if _ANY_BYTE.search(expression):
        return Searched(expression, r"\C is not supported", None)
    try:
        return Searched(expression, "", rows_of(expression) if len(expression) <= MAX_PATTERN else None)
    except NotRead:
        return Searched(expression, "", None)


def value_patterns(found: Searched, *, one_line: bool) -> list[str] | None:
    """Return the patterns that match a whole value exactly where the expression is found in it.

    None: the pattern would be too long. ``one_line`` says that the values have no line breaks.
    """
    rows = found.rows if found.rows is not None and (one_line or not any(row.one_line for row in found.rows)) else None
    if rows is not None and any(matches_all(row) for row in rows):
        return ["*"]
    globs = [_glob(row) for row in rows or ()]
    if globs and all(globs):
        return sorted({glob for glob in globs if glob})
    return _expression(found, one_line=one_line)


def image_patterns(found: Searched) -> list[str] | None:
    """Return patterns for images that match exactly where the expression is found in the image's text.

    The Go controller searches the text as the author of the workload wrote it; our patterns are compared with the
    names of :func:`image_names`. None: nothing is proven for every image whose registry is written in the spelling
    that rules compare. An empty list stands for every image.
    """
    if found.rows is None:
        return None
    if found.finds_all(if_empty=False):
        return []
    if not all(map(_proven, found.rows)):
        return None
    globs = [_image_glob(row) for row in found.rows]
    if all(globs):
        return sorted({glob for glob in globs if glob})
    return _expression(found, one_line=True)


def likely_images(found: Searched) -> list[str] | None:
    """Return patterns for the images that were most likely meant, to be checked by a person."""
    if found.rows is not None and (globs := [_likely_glob(row) for row in found.rows]) and all(globs):
        return sorted({glob for glob in globs if glob})
    row = found.rows[0] if found.rows else None
    names_registry = row is not None and "/" in row.items and _is_other_registry(row.items[: row.items.index("/")])
    return _expression(found, one_line=True, start="" if names_registry else _ANY_HUB_NAME)


def _expression(found: Searched, *, one_line: bool, start: str = "") -> list[str] | None:
    """Return a pattern that matches a whole text if the expression is found in it, ``start`` before its beginning.

    None: it would be too long for our configuration.
    """
    body, before, after = found.expression, ".*", ".*"
    rows = found.rows or ()
    if rows and "|" not in body:
        if body.startswith("^") and all(row.starts for row in rows):
            body, before = body[1:], start
        if body.endswith("$") and not body.endswith(r"\$") and all(row.ends for row in rows):
            body, after = body[:-1], ""
    if one_line and rows:
        body = f"(?:{body})" if "|" in body else body
        before = "" if body.startswith((".*", "^.*")) else before
        after = "" if body.endswith(".*") and not body.endswith(r"\.*") else after
    elif not rows or "." in body.replace(r"\.", ""):
        # In our patterns a dot also matches a line break, in Go's it does not.
        body = f"(?-s:{body})"
    elif "|" in body:
        body = f"(?:{body})"
    pattern = f"{EXPRESSION}{before}{body}{after}"
    try:
        pattern_of(pattern)
    except InvalidPattern:  # it needs too many steps
        return None
    return [pattern] if len(pattern) <= MAX_PATTERN else None


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False
    return options


def _glob(row: Row) -> str | None:
    text = row.text
    if not text or _GLOB_SIGNS & set(text) or text.startswith(EXPRESSION):
        return None
    glob = f"{'' if row.starts else '*'}{text}{'' if row.ends else '*'}"
    return glob if len(glob) <= MAX_PATTERN else None


def _image_glob(row: Row) -> str | None:
    """Return a glob for a proven row that names a registry and the beginning of a path."""
    is_plain = row.text is not None and _BEGINNING.fullmatch(row.text)
    return f"{row.text}*" if is_plain and row.starts and not row.ends else None


def _likely_glob(row: Row) -> str | None:
    row = _as_written(row)
    text = (row.text or "").removeprefix(f"{DOCKER_HUB}/library/")
    if not _BEGINNING.fullmatch(text) or (row.ends and text[-1] in "/_-"):
        return None
    if row.starts and "/" not in text and names_host(text) and ":" not in text and not row.ends:
        return f"{text}/*"
    return f"{'' if row.starts else '*'}{text}{'' if row.ends else '*'}"


def _as_written(row: Row) -> Row:
    """Read every dot that stands for one character as a dot: most people forget to escape it."""
    items = tuple("." if item == Repeat(DOT, 1, 1) else item for item in row.items)
    return Row(items, row.starts, row.ends, row.one_line)


def _proven(row: Row) -> bool:
    """Return whether the row is found in an image's text exactly if it is found in one of the image's names.

    Both begin with the repository, except that Docker Hub's images have several spellings. Only the repository holds a
    ``/``. So what a row matches up to its last ``/`` lies in the repository, and so does what follows if it holds
    neither ``:`` nor ``@``, with which tags and digests begin.
    """
    if "/" not in row.items:
        return False
    first = row.items.index("/")
    last = max(place for place, item in enumerate(row.items) if item == "/")
    host, rest = row.items[:first], row.items[last + 1 :]
    if not (_is_other_registry(host) if row.starts else _is_never_left_out(host)):
        return False
    if row.ends:
        return row.starts and _is_whole_tag(rest)
    # After a `/`, one more character always follows.
    return rest == (Repeat(DOT, 1, None),) or all(_avoids(item, ":@") for item in rest)


def _is_whole_tag(rest: tuple[Item, ...]) -> bool:
    """Return whether the items match a name and a tag to its end, but never ``latest``, which may be left out."""
    if rest.count(":") != 1:
        return False
    colon = rest.index(":")
    name, tag = rest[:colon], rest[colon + 1 :]
    return bool(name and tag) and all(_avoids(item, ":@") for item in (*name, *tag)) and not matches(tag, "latest")


def _is_never_left_out(items: tuple[Item, ...]) -> bool:
    """Return whether no part of an image's name that its text may leave out ends with what the items match.

    These are ``docker.io/``, under any of its names, and ``library/``. Items before a ``/``, which they must not match.
    """
    if not all(_avoids(item, "/") for item in items) or any(isinstance(i, str) and i != i.lower() for i in items):
        return False
    left_out = (*HUB_HOSTS, OFFICIAL.removesuffix("/"))
    return not any(matches(items, name[start:]) for name in left_out for start in range(len(name) + 1))


def _is_other_registry(items: tuple[Item, ...]) -> bool:
    """Return whether the items match only hosts of registries other than Docker Hub, each in the spelling of rules."""
    text = "".join(map(str, items)) if all(isinstance(item, str) for item in items) else None
    if text is not None:
        return names_host(text) and registry(text) == text and text not in HUB_HOSTS
    if "." not in items or not all(_avoids(item, "/:@") for item in items):
        return False
    return not any(matches(items, host) for host in HUB_HOSTS)


def _avoids(item: Item, characters: str) -> bool:
    return item not in characters if isinstance(item, str) else item.characters.avoids(characters)
