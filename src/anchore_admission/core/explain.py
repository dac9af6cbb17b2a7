"""Explain the selection for an image: the rule, the rules before it with the keys that do not hold, the exemptions."""

from collections.abc import Sequence

from msgspec import Struct

from anchore_admission.core.images import JudgedImage, Uncheckable
from anchore_admission.core.reference import is_image_id, parse
from anchore_admission.core.rules.book import NarrowedBook, Rule
from anchore_admission.core.rules.exemptions import Exemption
from anchore_admission.core.rules.match import image_names, text_names
from anchore_admission.errors import InvalidImageReference

STRICTEST = "an image ID may belong to any image, so that the strictest rule in question applies"


class PassedOver(Struct, frozen=True):
    """A rule before the one that applies, and the keys of its ``match`` that do not hold."""

    rule: str
    keys: tuple[str, ...]


class Explanation(Struct, frozen=True):
    """The selection for one image.

    ``more`` is the number of rules that were passed over but are not listed. ``exemptions`` apply if the image is
    denied. ``problem`` says why the rule is not certain, or why Anchore cannot check the image. ``pin_digest`` is the
    digest to which a manifest may pin the tag, as far as Anchore knows it now; ``not_pinned`` the reason why none is.
    ``pin_conflict`` says why the pinned image would fall under another rule or exemption, so that it is never pinned.
    ``hook`` is the policy of the decision hook that has a say about the image; empty if none has.
    """

    rule: Rule
    passed_over: tuple[PassedOver, ...] = ()
    more: int = 0
    exemptions: tuple[Exemption, ...] = ()
    problem: str = ""
    pin_digest: str = ""
    not_pinned: str = ""
    pin_conflict: str = ""
    hook: str = ""


def explanation_of(
    image: JudgedImage, book: NarrowedBook, exemptions: Sequence[Exemption] = (), most: int | None = None
) -> Explanation:
    """Explain the rule of an image; lists ``most`` of the rules that were passed over, or all."""
    names = _names(image.text)
    rules = book.book.rules
    applies = next((n for n, rule in enumerate(rules) if rule.name == image.rule.name), len(rules))
    listed = applies if most is None else min(applies, most)
    failing = book.narrowed.failing(names, listed)
    passed_over = (PassedOver(rule.name, keys) for rule, keys in zip(rules, failing, strict=False))
    return Explanation(
        image.rule,
        # A rule in question that is not the most severe was not passed over for a key.
        tuple(passed for passed in passed_over if passed.keys),
        applies - listed,
        tuple(exemptions),
        _problem(image),
    )


def _names(text: str) -> tuple[str, ...]:
    if is_image_id(text):
        return (text,)
    try:
        return image_names(parse(text))
    except InvalidImageReference:
        return text_names(text)


def _problem(image: JudgedImage) -> str:
    if not isinstance(image.meaning, Uncheckable):
        return ""
    if is_image_id(image.text):
        return STRICTEST
    return image.meaning.problem or str(image.meaning.reason).replace("_", " ")
