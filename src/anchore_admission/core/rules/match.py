"""Conditions of rules: globs, regular expressions, selectors, and the names that an image is matched by."""

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

from anchore_admission.core.reference import (
    DEFAULT_PORT,
    DOCKER_HUB,
    HUB_HOSTS,
    ImageReference,
    is_image_id,
    names_host,
    registry,
    split_port,
)
from anchore_admission.models.configuration import LabelSelector, Match

Pattern = re.Pattern[str]


class Circumstances(Struct, frozen=True):
    """Everything except the image that a rule may match."""

    namespace: str = ""
    kinds: tuple[str, ...] = ()
    user: str = ""
    groups: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


class Condition(Protocol):
    """One key of a rule's ``match``, compiled."""

    def __call__(self, names: tuple[str, ...], circumstances: Circumstances, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class ImageCondition:
    """The condition on the image itself."""

    expression: Pattern

    def __call__(self, names: tuple[str, ...], _: Circumstances, /) -> bool:
        return any(self.expression.fullmatch(name) for name in names)


def image_names(reference: ImageReference) -> tuple[str, ...]:
    """Return the texts an image glob is tried on: the repository alone, with its tag or with its digest.

    All begin with the registry in its one spelling. The tag of ``tag@digest`` is left out because anyone can write it.
    """
    suffix = f"@{reference.digest}" if reference.digest else f":{reference.tag}"
    return tuple(f"{repository}{end}" for repository in reference.repositories for end in ("", suffix))


def text_names(text: str) -> tuple[str, ...]:
    """Return the texts an image glob is tried on for an invalid reference, whose registry is read as in a glob."""
    host, slash, rest = text.partition("/")
    return (f"{registry(host)}/{rest}" if slash and names_host(host) else f"{DOCKER_HUB}/{text}",)


def conditions_of(match: Match) -> tuple[Condition, ...]:
    """Compile a match, cheap conditions first; an empty match holds for everything."""
    conditions: list[Condition] = []
    if match.namespaces:
        conditions.append(_any_glob(match.namespaces, lambda _, c: (c.namespace,)))
    if match.kinds:
        conditions.append(_any_glob(match.kinds, lambda _, c: c.kinds))
    if match.users:
        conditions.append(_any_glob(match.users, lambda _, c: (c.user,)))
    if match.groups:
        conditions.append(_any_glob(match.groups, lambda _, c: c.groups))
    if match.service_accounts:
        conditions.append(_any_glob(match.service_accounts, lambda _, c: c.service_accounts))
    if match.images:
        conditions.append(ImageCondition(_any_of(map(_image_expression, match.images))))
    if match.object_selector:
        conditions.append(_labels(match.object_selector))
    conditions.extend(_annotation(key, globs) for key, globs in (match.annotations or {}).items())
    return tuple(conditions)


class _Values(Protocol):
    def __call__(self, names: tuple[str, ...], circumstances: Circumstances, /) -> Iterable[str]: ...


def _any_glob(globs: Iterable[str], values: _Values) -> Condition:
    matcher = _any_of(map(_expression, globs))
    return lambda names, circumstances: any(matcher.fullmatch(value) for value in values(names, circumstances))


def _annotation(key: str, globs: Iterable[str]) -> Condition:
    matcher = _any_of(map(_expression, globs))
    return lambda _, c: key in c.annotations and matcher.fullmatch(c.annotations[key]) is not None


def _labels(selector: LabelSelector) -> Condition:
    def holds(_: tuple[str, ...], circumstances: Circumstances) -> bool:
        labels = circumstances.labels
        if any(labels.get(key) != value for key, value in selector.match_labels.items()):
            return False
        return all(_compares(e.key, e.operator, e.values, labels) for e in selector.match_expressions)

    return holds


def _compares(key: str, operator: str, values: list[str], labels: Mapping[str, str]) -> bool:
    """Compare as k8s.io/apimachinery does: NotIn holds for an absent key."""
    match operator:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def _any_of(expressions: Iterable[str]) -> Pattern:
    # A star matches line breaks, too: with one in an annotation, an author could otherwise leave a rule.
    return re.compile("|".join(expressions), re.DOTALL)


def _image_expression(glob: str) -> str:
    """Translate an image glob for names that begin with a registry.

    A glob that names a registry is compared with the registry alone, because an author chooses the path of an image.
    A glob that begins with ``*`` and names no registry matches every registry. An image ID has no registry. Any other
    glob without a registry means Docker Hub.
    """
    host, slash, rest = glob.partition("/")
    if slash and names_host(host):
        return f"{_registry_expression(host.lower())}/{_path_expression(rest)}"
    if is_image_id(glob):
        return _expression(glob)
    return _path_expression(glob if glob.startswith("*") else f"{DOCKER_HUB}/{glob}")


def _path_expression(glob: str) -> str:
    """Translate the part of a glob after the registry.

    A glob for tags matches no digest: ``app*:2*`` would hold for every digest that begins with a 2, and an author can
    produce one. A star for the whole tag (``app*:*``) matches every image, by digest too.
    """
    repository, colon, tag = glob.rpartition(":")
    if not colon or "@" in glob or not tag.strip("*"):
        return _expression(glob)
    return f"{_expression(repository, any_character='[^@]')}:{_expression(tag)}"


def _registry_expression(glob: str) -> str:
    """Translate the registry's part of a glob, whose stars end at the first ``/``, for :func:`registry`'s spelling."""
    if not set("*?") & set(glob):
        return re.escape(registry(glob))
    name, port = split_port(glob)
    is_default = not port or fnmatch.fnmatchcase(DEFAULT_PORT, port)
    expression = _expression(name, any_character="[^/]")
    if port:
        expression += f"(?::{_expression(port, any_character='[^/]')}){'?' if is_default else ''}"
    if is_default and any(fnmatch.fnmatchcase(host, name) for host in HUB_HOSTS):
        expression += f"|{re.escape(DOCKER_HUB)}"
    return f"(?:{expression})"


def _expression(glob: str, any_character: str = ".") -> str:
    """Translate a glob: ``*`` and ``?`` are special, brackets are not (IPv6 hosts carry them).

    As in ``fnmatch.translate``, the text between two stars is matched once, at its first place (an atomic group). This
    keeps globs with many stars from backtracking without bound.
    """
    first, *others = [re.escape(part).replace(r"\?", any_character) for part in re.split(r"\*+", glob)]
    if not others:
        return first
    between = "".join(f"(?>{any_character}*?{part})" for part in others[:-1])
    return f"{first}{between}{any_character}*{others[-1]}"
