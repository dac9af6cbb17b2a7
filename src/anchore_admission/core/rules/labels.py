"""The label selectors of many matches, evaluated together: one dictionary look-up for each label that they name."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from anchore_admission.models.configuration import LabelSelector


class _Label(Struct, frozen=True):
    """The comparisons with one label, as bit masks over the positions of the matches.

    ``listed`` are the positions that list allowed values, ``allowed`` those that list a value, ``denied`` those that
    exclude it.
    """

    key: str
    listed: int
    allowed: Mapping[str, int]
    denied: Mapping[str, int]
    must_exist: int
    must_be_absent: int

    def failing(self, labels: Mapping[str, str]) -> int:
        """Compare as k8s.io/apimachinery does: NotIn holds for an absent label."""
        value = labels.get(self.key)
        if value is None:
            return self.listed | self.must_exist
        return (self.listed & ~self.allowed.get(value, 0)) | self.denied.get(value, 0) | self.must_be_absent


class LabelMasks(Struct, frozen=True):
    """The compiled selectors. ``keyed`` is the mask of the positions that have one."""

    labels: tuple[_Label, ...]
    keyed: int

    @classmethod
    def of(cls, selectors: Iterable[tuple[int, LabelSelector]]) -> "LabelMasks":
        """Compile selectors, each with its position."""
        found: dict[str, dict[int, list[Comparison]]] = {}
        keyed = 0
        for position, selector in selectors:
            keyed |= 1 << position
            for comparison in comparisons_of(selector):
                found.setdefault(comparison.key, {}).setdefault(1 << position, []).append(comparison)
        return cls(tuple(_label(key, comparisons) for key, comparisons in found.items()), keyed)

    def failing(self, labels: Mapping[str, str]) -> int:
        """Return the mask of the selectors that these labels do not satisfy."""
        mask = 0
        for label in self.labels:
            mask |= label.failing(labels)
        return mask


class Comparison(Struct, frozen=True):
    """One comparison of a selector with a label."""

    key: str
    operator: str
    values: tuple[str, ...]


def comparisons_of(selector: LabelSelector) -> Iterator[Comparison]:
    """Yield the comparisons of a selector; ``matchLabels`` is In with one value."""
    for key, value in selector.match_labels.items():
        yield Comparison(key, "In", (value,))
    for expression in selector.match_expressions:
        yield Comparison(expression.key, expression.operator, tuple(expression.values))


def _label(key: str, comparisons: Mapping[int, Sequence[Comparison]]) -> _Label:
    """Compile the comparisons with one label, given by the bit of their match."""
    allowed: dict[str, int] = {}
    denied: dict[str, int] = {}
    masks = dict.fromkeys(("In", "NotIn", "Exists", "DoesNotExist"), 0)
    for bit, found in comparisons.items():
        for comparison in found:
            masks[comparison.operator] |= bit
            if comparison.operator == "NotIn":
                for value in comparison.values:
                    denied[value] = denied.get(value, 0) | bit
        lists = [set(comparison.values) for comparison in found if comparison.operator == "In"]
        # Of several lists, all must hold: only a value in every one of them is allowed.
        for value in set.intersection(*lists) if lists else ():
            allowed[value] = allowed.get(value, 0) | bit
    return _Label(key, masks["In"], allowed, denied, masks["Exists"], masks["DoesNotExist"])
