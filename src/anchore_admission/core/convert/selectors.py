"""Turn a policy selector of the Go controller into rules that match the same images, or say why there are none."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from anchore_admission.core.convert.namespaces import Comparison, Namespace, compare
from anchore_admission.core.convert.original import Selector
from anchore_admission.core.convert.patterns import Searched, image_patterns, likely_images, searched, value_patterns
from anchore_admission.models.configuration import EXPRESSION, ModeName
from anchore_admission.text import shown

_IMAGE, _RESOURCE, _NAMESPACE = "image", "resource", "namespace"
_MODES = {"policy": ModeName.STRICT, "analysis": ModeName.ANALYSIS}
_BREAK_GLASS = "breakglass"
_NAME_KEY = "name"
_LABEL_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = re.compile(rf"(?:[a-z0-9](?:[-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_LABEL_NAME}")
_LABEL_VALUE = re.compile(rf"(?:{_LABEL_NAME})?")
_OBJECT_NAME = re.compile(r"[a-z0-9.*?-]{1,253}")
_NAMESPACE_NAME = re.compile(r"[a-z0-9*?-]{1,63}")
_SHOWN = 80
_MAX_NAMES = 10

_SPELLING = (
    "what it matches depends on how an author writes the image (nginx, docker.io/library/nginx:latest, a tag beside a "
    "digest); a rule compares the image's full name"
)
_LABEL_EXPRESSION = "a rule compares a label with values, not with an expression"
_KEY_EXPRESSION = "a rule names the keys of labels and annotations; this expression matches too many to list them"
_NAMESPACE_ANNOTATIONS = "the Go controller also compares the annotations of the namespace, which no rule sees"
_TOO_LONG = "the expression is too long for a rule"


class Status(StrEnum):
    """The degree to which the rules stand for a selector."""

    EXACT = "exact"
    """They match the same images."""
    CHECKED = "checked"
    """They select the same of the namespaces that the cluster has today."""
    STRICTER = "stricter"
    """They admit fewer images without a check, never more."""
    DECIDE = "decide"
    """A person has to decide; until then the configuration is not valid."""
    UNUSED = "unused"
    """The selector matches nothing, or is never reached: there is no rule."""


@dataclass(frozen=True, slots=True)
class ConvertedSelector:
    """The rules for one selector, and what to know about it."""

    selector: Selector
    status: Status
    rules: tuple[Mapping[str, Any], ...]
    remarks: tuple[str, ...]

    @property
    def matches_everything(self) -> bool:
        return self.status is Status.EXACT and any("match" not in rule for rule in self.rules)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The values besides the selector that its rules depend on.

    ``users`` is None if the credentials are not given, and ``namespaces`` if the namespaces of the cluster are not.
    """

    request_analysis: bool
    users: frozenset[str] | None
    accounts: Mapping[str, str]
    default_account: str
    namespaces: tuple[Namespace, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Part:
    """One rule of a selector: any of them may hold. ``reason`` is why a person has to decide about it."""

    suffix: str
    match: Mapping[str, Any] | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Parts:
    """The rules of a selector. ``gaps`` are the reasons why they do not match all that the selector matches."""

    parts: tuple[_Part, ...]
    gaps: tuple[str, ...] = ()

    @property
    def reasons(self) -> list[str]:
        """Everything that is not exact, each once."""
        return list(dict.fromkeys([*self.gaps, *(part.reason for part in self.parts if part.reason)]))


def convert_selector(number: int, selector: Selector, surroundings: Surroundings) -> ConvertedSelector:
    """Convert the selector with this number, from 1 on."""
    key, value = searched(selector.key), searched(selector.value)
    of_image = selector.resource_type not in {_RESOURCE, _NAMESPACE}
    found = _parts(selector, key, value)
    compared = _compared(found, selector, key, value, surroundings.namespaces)
    is_checked = compared is not None and compared.proves_something
    if is_checked:
        found = _Parts(tuple(replace(part, reason="") for part in found.parts))
    denied = _always_denied(selector, surroundings)
    if denied:
        found = _Parts(
            tuple(replace(part, reason=part.reason or denied) for part in found.parts), (*found.gaps, denied)
        )
    lax = selector.mode == _BREAK_GLASS and not denied
    parts, status = _settled(found, lax=lax, of_image=of_image)
    remarks = [*_remarks(selector, key, value), *_problems(selector, key, value)]
    if status in {Status.STRICTER, Status.DECIDE}:
        remarks += [f"not exact: {reason}" for reason in found.reasons]
    if compared:
        remarks.append(_comparison(compared))
    status = Status.CHECKED if is_checked and status is Status.EXACT else status
    rules = tuple(_rule(number, part, selector, surroundings) for part in parts)
    return ConvertedSelector(selector, status, rules, tuple(remarks))


def _settled(found: _Parts, *, lax: bool, of_image: bool) -> tuple[tuple[_Part, ...], Status]:
    """Choose the rules to write, and say how well they stand for the selector.

    If the selector admits without a check, a rule that matches less only admits less, and nothing has to be decided.
    Otherwise, what the rule does not match might fall under a laxer one.
    """
    everything = next((part for part in found.parts if part.match == {} and not part.reason), None)
    if everything:
        return (everything,), Status.EXACT
    if not found.gaps and not any(part.reason for part in found.parts):
        return found.parts, Status.EXACT if found.parts else Status.UNUSED
    matching = tuple(part for part in found.parts if part.match)
    if lax and not (of_image and matching):
        return tuple(replace(part, reason="") for part in matching), Status.STRICTER
    reason = "; ".join(found.gaps)
    parts = tuple(replace(part, reason=part.reason or reason) for part in (matching if lax else found.parts))
    return parts or (_Part("", None, reason),), Status.DECIDE


def _compared(
    found: _Parts, selector: Selector, key: Searched, value: Searched, namespaces: tuple[Namespace, ...] | None
) -> Comparison | None:
    """Compare the rules of a selector for namespaces that are not exact, if the cluster's namespaces are given."""
    matches = [part.match for part in found.parts]
    if namespaces is None or selector.resource_type != _NAMESPACE or not found.reasons or not all(matches):
        return None
    return compare(key, value, matches, namespaces) if matches else None


def _comparison(compared: Comparison) -> str:
    if compared.proves_something:
        return f"selects the same namespaces as its rules: {_listed(compared.selected)}"
    if compared.different:
        return f"differs from its rules for the namespaces {_listed(compared.different)}"
    return "selects none of the cluster's namespaces, and neither do its rules"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMES
    return ", ".join(map(_short, names[:_MAX_NAMES])) + (f" and {more} more" if more > 0 else "")


def _parts(selector: Selector, key: Searched, value: Searched) -> _Parts:
    if value.problem or (key.problem and selector.resource_type in {_RESOURCE, _NAMESPACE}):
        return _Parts((), ("the Go controller cannot read the expression, logs an error and matches nothing",))
    match selector.resource_type:
        case "resource":
            return _object_parts(key, value)
        case "namespace":
            return _namespace_parts(key, value)
        case _:
            patterns = image_patterns(value)
            if patterns is not None:
                return _Parts((_Part("", {"images": patterns} if patterns else {}),))
            likely = likely_images(value)
            return _Parts((_Part("", {"images": likely} if likely else None, _SPELLING),))


def _object_parts(key: Searched, value: Searched) -> _Parts:
    """Labels, annotations and, for the key ``name``, the name of the object."""
    keys, gaps = _keys(key)
    parts = [*_label_parts(keys, value, "objectSelector")]
    patterns = value_patterns(value, one_line=False)
    for number, name in enumerate(keys, 1):
        suffix = _suffix("annotation", number, keys)
        match = {"annotations": {name: patterns}} if patterns else None
        parts.append(_Part(suffix, match, "" if patterns else _TOO_LONG))
    return _Parts((*_name_part(key, value, "names", _OBJECT_NAME), *parts), gaps)


def _namespace_parts(key: Searched, value: Searched) -> _Parts:
    """Labels of the namespace and, for the key ``name``, its name; no rule sees its annotations."""
    keys, gaps = _keys(key)
    parts = [*_name_part(key, value, "namespaces", _NAMESPACE_NAME), *_label_parts(keys, value, "namespaceSelector")]
    return _Parts(tuple(parts), (*gaps, _NAMESPACE_ANNOTATIONS) if keys or gaps else ())


def _keys(key: Searched) -> tuple[list[str], tuple[str, ...]]:
    """Return the keys of labels and annotations that the expression matches, or some of them with the reason."""
    if key.words is not None:
        return sorted(filter(_KEY.fullmatch, key.words)), ()
    # The key `name` means the object's name, which has a rule of its own.
    likely = [] if key.expression.lower() == _NAME_KEY else sorted(filter(_KEY.fullmatch, key.likely_words))
    return likely, (_KEY_EXPRESSION,)


def _label_parts(keys: Sequence[str], value: Searched, selector: str) -> Iterable[_Part]:
    for number, key in enumerate(keys, 1):
        suffix = _suffix("label", number, keys)
        if value.finds_all():
            yield _Part(suffix, {selector: {"matchExpressions": [{"key": key, "operator": "Exists"}]}})
        elif value.finds_all(if_empty=False):
            expressions = [{"key": key, "operator": "Exists"}, {"key": key, "operator": "NotIn", "values": [""]}]
            yield _Part(suffix, {selector: {"matchExpressions": expressions}})
        else:
            proven = value.words
            words = sorted(filter(_LABEL_VALUE.fullmatch, value.likely_words if proven is None else proven))
            match = {selector: _one_of(key, words)} if words else None
            if match or proven is None:
                yield _Part(suffix, match, _LABEL_EXPRESSION if proven is None else "")


def _one_of(key: str, words: list[str]) -> Mapping[str, Any]:
    if len(words) == 1:
        return {"matchLabels": {key: words[0]}}
    return {"matchExpressions": [{"key": key, "operator": "In", "values": words}]}


def _name_part(key: Searched, value: Searched, name: str, possible: re.Pattern[str]) -> Iterable[_Part]:
    """Only the key ``name``, in any case, means the name; ``^name$`` does not."""
    if key.expression.lower() != _NAME_KEY:
        return
    patterns = value_patterns(value, one_line=True)
    if patterns is None:
        yield _Part("name", None, _TOO_LONG)
    elif patterns == ["*"]:
        yield _Part("name", {})
    elif found := [p for p in patterns if p.startswith(EXPRESSION) or possible.fullmatch(p)]:
        yield _Part("name", {name: found})


def _suffix(kind: str, number: int, keys: Sequence[str]) -> str:
    return kind if len(keys) == 1 else f"{kind}-{number}"


def _always_denied(selector: Selector, surroundings: Surroundings) -> str:
    """Return why the Go controller denies every image that the selector matches; empty if it does not."""
    if selector.mode not in {*_MODES, _BREAK_GLASS}:
        return (
            f'Mode "{_short(selector.mode)}" is not one of policy, analysis and breakglass (case matters): '
            "the Go controller denies every image"
        )
    # Without credentials.json, it is only known that a selector without a user has no credentials.
    missing = not selector.username if surroundings.users is None else selector.username not in surroundings.users
    if missing:
        return f'user "{_short(selector.username)}" has no credentials: the Go controller denies every image'
    return ""


def _rule(number: int, part: _Part, selector: Selector, surroundings: Surroundings) -> Mapping[str, Any]:
    rule: dict[str, Any] = {"name": f"selector-{number}{'-' if part.suffix else ''}{part.suffix}"}
    if part.reason:
        rule["undecided"] = part.reason
    if part.match:
        rule["match"] = dict(part.match)
    if selector.mode == _BREAK_GLASS:
        rule["mode"] = str(ModeName.PASSIVE if surroundings.request_analysis else ModeName.SKIP)
    else:
        rule["mode"] = str(_MODES.get(selector.mode, ModeName.STRICT))
    account = surroundings.accounts.get(selector.username, surroundings.default_account)
    if account != surroundings.default_account:
        rule["account"] = account
    if rule["mode"] == ModeName.STRICT and selector.policy:
        rule["policy"] = selector.policy
    return rule


def _remarks(selector: Selector, key: Searched, value: Searched) -> Iterable[str]:
    """Yield what the selector never did although it says so, and what it does although it does not."""
    kind = selector.resource_type
    if kind not in {_IMAGE, _RESOURCE, _NAMESPACE}:
        yield (
            f'ResourceType "{_short(kind)}" is not one of image, resource and namespace (case matters): '
            "the Go controller compares SelectorValueRegex with the image"
        )
    if kind not in {_RESOURCE, _NAMESPACE}:
        if selector.key not in {"", ".*"}:
            yield "SelectorKeyRegex has no effect on an image"
    elif selector.key.lower() == _NAME_KEY:
        yield f'the key "{selector.key}" means the name, and also every label and annotation whose key contains it'
    else:
        for remark in key.remarks:
            yield f'SelectorKeyRegex "{_short(selector.key)}" {remark}'
    for remark in value.remarks:
        yield f'SelectorValueRegex "{_short(selector.value)}" {remark}'
    if kind == _RESOURCE and selector.mode == _BREAK_GLASS:
        yield "anyone who may create the object sets its name, labels and annotations, and so admits its images"
    if kind == _NAMESPACE:
        yield "if the lookup of the namespace fails, the Go controller compares SelectorValueRegex with the image"


def _problems(selector: Selector, key: Searched, value: Searched) -> Iterable[str]:
    if key.problem and selector.resource_type in {_RESOURCE, _NAMESPACE}:
        yield f"SelectorKeyRegex cannot be read: {key.problem}"
    if value.problem:
        yield f"SelectorValueRegex cannot be read: {value.problem}"


def _short(text: str) -> str:
    return shown(text, _SHOWN)
