"""Shadows: rules that never apply, because an earlier rule matches every image that they match.

Comparing each rule with every earlier one takes minutes for thousands of rules. A rule that covers another one matches
every image of it, so one sample of its images, looked up among all rules, leaves few that have to be compared.
"""

from collections.abc import Iterator, Mapping, Sequence

from anchore_admission.core.rules.coverage import covers, is_everything, split_image_glob
from anchore_admission.core.rules.index import MatchIndex, positions
from anchore_admission.core.rules.labels import comparisons_of
from anchore_admission.core.rules.match import Circumstances
from anchore_admission.models.configuration import EXPRESSION, LabelSelector, Match

_TEXTS = ("namespaces", "kinds", "names", "users", "groups", "service_accounts")
_ONE = "x"
"""The character in place of a ``?``."""


def shadowed(matches: Sequence[Match]) -> Iterator[tuple[int, int]]:
    """Yield the position of each match that an earlier one covers, and the position of the first such match."""
    tokens: dict[str, str] = {}
    plain = [_without_expressions(match, tokens) for match in matches]
    index = MatchIndex.of(plain)
    for position, match in enumerate(plain):
        circumstances, name = _sample(match)
        candidates = index.narrowed(circumstances).holding((name,)).possible & ((1 << position) - 1)
        first = next((at for at in positions(candidates) if covers(matches[at], matches[position])), None)
        if first is not None:
            yield position, first


def _without_expressions(match: Match, tokens: dict[str, str]) -> Match:
    """Replace each regular expression by a text of its own, and leave the exception out: a sample has to be found."""

    def replaced(patterns: Sequence[str]) -> list[str]:
        return [
            "*"
            if is_everything(pattern)
            else tokens.setdefault(pattern, f"expression-{len(tokens)}")
            if pattern.startswith(EXPRESSION)
            else pattern
            for pattern in patterns
        ]

    keys = {key: replaced(patterns) for key in ("images", *_TEXTS) if (patterns := getattr(match, key))}
    annotations = {name: replaced(patterns) for name, patterns in (match.annotations or {}).items()}
    return match.model_copy(update={**keys, "annotations": annotations or None, "except_": None})


def _sample(match: Match) -> tuple[Circumstances, str]:
    """Return circumstances, and the name of an image, for which the match holds."""
    texts = {key: (_text(patterns[0]),) if (patterns := getattr(match, key)) else () for key in _TEXTS}
    circumstances = Circumstances(
        namespace="".join(texts["namespaces"]),
        namespace_labels=_labels(match.namespace_selector),
        kinds=texts["kinds"],
        names=texts["names"],
        user="".join(texts["users"]),
        groups=texts["groups"],
        service_accounts=texts["service_accounts"],
        labels=_labels(match.object_selector),
        annotations={name: _text(patterns[0]) for name, patterns in (match.annotations or {}).items()},
    )
    if not match.images:
        return circumstances, ""
    host, path = split_image_glob(match.images[0])
    return circumstances, _text(f"{host}/{path}" if host is not None else path)


def _text(glob: str) -> str:
    return glob.replace("*", "").replace("?", _ONE)


def _labels(selector: LabelSelector | None) -> Mapping[str, str]:
    labels: dict[str, str] = {}
    for comparison in comparisons_of(selector) if selector else ():
        if comparison.operator == "In":
            labels[comparison.key] = comparison.values[0]
        elif comparison.operator == "Exists":
            labels.setdefault(comparison.key, _ONE)
    return labels
