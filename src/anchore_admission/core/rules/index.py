"""Many matches compiled together, so that choosing among a thousand rules costs hardly more than among ten.

Every key of ``match`` becomes one table over all matches. A bit mask says which matches a key leaves, and the masks of
all keys are combined. Bit ``n`` of every mask stands for the match at position ``n``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct

from anchore_admission.core.rules.labels import LabelMasks
from anchore_admission.core.rules.match import Circumstances
from anchore_admission.core.rules.patterns import (
    Pattern,
    PatternMasks,
    image_pattern_of,
    pattern_of,
    stands_for_ids,
)
from anchore_admission.models.configuration import Match, MatchKeys

EXCEPT = "except"
UNKNOWN_LABELS = "namespaceSelector (unknown)"
"""Stands among the failing keys where the labels of the namespace are not known."""


class Holding(Struct, frozen=True):
    """The matches that hold for one image: ``certain`` ones, and ``possible`` ones, which include them.

    They differ only where the labels of the namespace are not known.
    """

    certain: int
    possible: int


_NONE = Holding(0, 0)


def positions(mask: int) -> Iterator[int]:
    """Yield the positions of a mask, lowest first."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


class _Key(Struct, frozen=True):
    """One key whose patterns are compared with texts. ``unkeyed`` are the matches without the key: it always holds."""

    name: str
    values: Callable[[Circumstances], Iterable[str]]
    patterns: PatternMasks
    unkeyed: int

    def holding(self, circumstances: Circumstances) -> int:
        return self.unkeyed | self.patterns.any_matching(self.values(circumstances))


_VALUES: dict[str, Callable[[Circumstances], Iterable[str]]] = {
    "namespaces": lambda c: (c.namespace,),
    "kinds": lambda c: c.kinds,
    "names": lambda c: c.names,
    "users": lambda c: (c.user,),
    "groups": lambda c: c.groups,
    "service_accounts": lambda c: c.service_accounts,
}
_WRITTEN = {"service_accounts": "serviceAccounts"}


class _Images(Struct, frozen=True):
    """The key ``images``.

    ``tagged`` are expressions that are compared with names without a digest only, ``ids`` the patterns for image IDs.
    """

    patterns: PatternMasks
    tagged: PatternMasks
    ids: PatternMasks
    unkeyed: int

    def holding(self, names: tuple[str, ...]) -> int:
        named = self.unkeyed | self.patterns.any_matching(names)
        return named | self.tagged.any_matching(name for name in names if "@" not in name)

    def holding_for_id(self, image_id: str) -> int:
        """Return the matches that hold for every image that the ID may belong to."""
        return self.unkeyed | self.ids.matching(image_id)


class _Keys(Struct, frozen=True):
    """All keys of many matches, or of their exceptions. ``given`` are the positions that have one at all."""

    given: int
    texts: tuple[_Key, ...]
    annotations: tuple[tuple[str, PatternMasks, int], ...]
    object_labels: LabelMasks
    namespace_labels: LabelMasks
    images: _Images

    @classmethod
    def of(cls, matches: Sequence[MatchKeys | None]) -> "_Keys":
        given = [(position, match) for position, match in enumerate(matches) if match]
        return cls(
            _mask(position for position, _ in given),
            tuple(_texts(given)),
            tuple(_annotations(given)),
            LabelMasks.of([(n, match.object_selector) for n, match in given if match.object_selector]),
            LabelMasks.of([(n, match.namespace_selector) for n, match in given if match.namespace_selector]),
            _images(given),
        )

    def failing(self, circumstances: Circumstances) -> Iterator[tuple[str, int]]:
        """Yield each key, and the mask of the matches for which it certainly does not hold."""
        for key in self.texts:
            yield key.name, self.given & ~key.holding(circumstances)
        for name, patterns, keyed in self.annotations:
            value = circumstances.annotations.get(name)
            yield f"annotations.{name}", keyed if value is None else keyed & ~patterns.matching(value)
        yield "objectSelector", self.object_labels.failing(circumstances.labels)
        if circumstances.namespace_labels is not None:
            yield "namespaceSelector", self.namespace_labels.failing(circumstances.namespace_labels)

    def masks(self, circumstances: Circumstances) -> tuple[int, int]:
        """Return the matches that certainly hold and those that may hold, whatever the image is."""
        failing = 0
        for _, mask in self.failing(circumstances):
            failing |= mask
        possible = self.given & ~failing
        unknown = self.namespace_labels.keyed if circumstances.namespace_labels is None else 0
        return possible & ~unknown, possible


class MatchIndex(Struct, frozen=True):
    """The compiled matches."""

    matches: _Keys
    exceptions: _Keys

    @classmethod
    def of(cls, matches: Sequence[Match]) -> "MatchIndex":
        """Compile matches. Raises InvalidPattern."""
        return cls(_Keys.of(matches), _Keys.of([match.except_ for match in matches]))

    @property
    def needs_namespace_labels(self) -> bool:
        """True if one of the matches selects namespaces by their labels."""
        return bool(self.matches.namespace_labels.keyed or self.exceptions.namespace_labels.keyed)

    def narrowed(self, circumstances: Circumstances) -> "Narrowed":
        """Evaluate every key but ``images``, once for all images of an object.

        An author chooses how many images there are, and how long the annotations.
        """
        certain, possible = self.matches.masks(circumstances)
        excepted, may_be_excepted = self.exceptions.masks(circumstances) if self.exceptions.given else (0, 0)
        return Narrowed(self, circumstances, certain, possible, excepted, may_be_excepted)


class Narrowed(Struct, frozen=True):
    """The matches that are left in some circumstances, before the image is known.

    ``excepted`` are those whose exception certainly holds for the images that it names, ``may_be_excepted`` those whose
    exception may hold.
    """

    index: MatchIndex
    circumstances: Circumstances
    certain: int
    possible: int
    excepted: int
    may_be_excepted: int

    def holding(self, names: tuple[str, ...]) -> Holding:
        """Return the matches that hold for the image known by these names."""
        if not self.possible:
            return _NONE
        images = self.index.matches.images.holding(names)
        if not self.may_be_excepted:
            return Holding(self.certain & images, self.possible & images)
        excepted = self.index.exceptions.images.holding(names)
        return Holding(
            self.certain & images & ~(self.may_be_excepted & excepted),
            self.possible & images & ~(self.excepted & excepted),
        )

    def holding_for_any(self, image_id: str = "") -> Holding:
        """Return the matches that certainly hold for every image that the ID may belong to, and all possible ones.

        It may belong to any image, so that any match on images and any exception may hold for it. Without an ID, the
        image is one that has a name.
        """
        images = self.index.matches.images
        certain = self.certain & (images.holding_for_id(image_id) if image_id else images.unkeyed)
        unless_excepted = self.excepted & self.index.exceptions.images.unkeyed
        return Holding(certain & ~self.may_be_excepted, self.possible & ~unless_excepted)

    def failing(self, names: tuple[str, ...], before: int) -> list[tuple[str, ...]]:
        """Return, for each match before a position, the keys because of which it does not hold for an image."""
        first = (1 << before) - 1
        masks = [*self.index.matches.failing(self.circumstances), ("images", ~self.index.matches.images.holding(names))]
        found: list[list[str]] = [[] for _ in range(before)]
        for key, mask in masks:
            for position in positions(mask & first):
                found[position].append(key)
        holding = self.holding(names)
        for position, keys in enumerate(found):
            if not keys and not holding.possible >> position & 1:
                keys.append(EXCEPT)
            if not keys and not holding.certain >> position & 1:
                keys.append(UNKNOWN_LABELS)
        return [tuple(keys) for keys in found]


def _mask(found: Iterable[int]) -> int:
    mask = 0
    for position in found:
        mask |= 1 << position
    return mask


_Given = Sequence[tuple[int, MatchKeys]]


def _texts(given: _Given) -> Iterator[_Key]:
    every = _mask(position for position, _ in given)
    for name, values in _VALUES.items():
        keyed = [(position, globs) for position, match in given if (globs := getattr(match, name))]
        if keyed:
            patterns = PatternMasks.of((pattern_of(glob), 1 << position) for position, globs in keyed for glob in globs)
            unkeyed = every & ~_mask(position for position, _ in keyed)
            yield _Key(_WRITTEN.get(name, name), values, patterns, unkeyed)


def _annotations(given: _Given) -> Iterator[tuple[str, PatternMasks, int]]:
    found: dict[str, list[tuple[Pattern, int]]] = {}
    for position, match in given:
        for name, globs in (match.annotations or {}).items():
            found.setdefault(name, []).extend((pattern_of(glob), 1 << position) for glob in globs)
    for name, patterns in found.items():
        keyed = 0
        for _, mask in patterns:
            keyed |= mask
        yield name, PatternMasks.of(patterns), keyed


def _images(given: _Given) -> _Images:
    globs = [(glob, 1 << position) for position, match in given for glob in match.images or ()]
    patterns = [(image_pattern_of(glob), mask) for glob, mask in globs]
    return _Images(
        PatternMasks.of((pattern, mask) for pattern, mask in patterns if not pattern.but_digests),
        PatternMasks.of((pattern, mask) for pattern, mask in patterns if pattern.but_digests),
        PatternMasks.of((image_pattern_of(glob), mask) for glob, mask in globs if stands_for_ids(glob)),
        _mask(position for position, match in given if not match.images),
    )
