"""Reject patterns that can never match: the rule would silently never apply."""

import fnmatch
import re
from collections.abc import Callable, Iterator
from typing import Any

from anchore_admission.core import workload
from anchore_admission.core.reference import DIGEST_LENGTHS, DOCKER_HUB, is_image_id, names_host, parse, registry
from anchore_admission.core.rules.patterns import Pattern, PatternMasks, image_pattern_of, pattern_of
from anchore_admission.errors import InvalidImageReference, InvalidPattern, Problem
from anchore_admission.models.configuration import EXPRESSION
from anchore_admission.models.problems import path
from anchore_admission.text import shortened

Part = dict[str, Any]

_REGEX = "is a regular expression; write regex: in front of it, or a glob (* matches any text, ? one character)"
_SHOWN = 80
_MAX = 1024
"""Characters of the longest glob; the model rejects longer ones for their length."""
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,30}://", re.IGNORECASE)
_MISSPELT = re.compile(r"\s*regexp?\s*:", re.IGNORECASE)
_REGEX_SIGNS = re.compile(r"\^|\$|\\|[(){}|+]|\.\*")
_IMAGE = re.compile(r"(?:\[[0-9A-Fa-f:*?]+\](?::[0-9*?]+)?/)?[A-Za-z0-9._:/@*?-]+")
_NAMESPACE = re.compile(r"[a-z0-9*?-]{1,63}")
_NAME = re.compile(r"[a-z0-9.*?-]{1,253}")
_LITERAL = re.compile(r"(?:[A-Za-z0-9_:-]|\\[.-])+")
_ACCOUNT = re.compile(r"(?:[a-z0-9*?-]{1,63}/)?[a-z0-9.*?-]{1,253}")
_BEGINNINGS = {
    "namespaces": re.compile(r"[a-z0-9-]*"),
    "names": re.compile(r"[a-z0-9.-]*"),
    "serviceAccounts": re.compile(r"[a-z0-9./-]*"),
}
_ACCOUNT_USER = "system:serviceaccount:"
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_LABEL_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")
_TAG = re.compile(r"[A-Za-z0-9_*?][A-Za-z0-9_.*?-]{0,127}")
_VERSION = re.compile(r"v[0-9]+(?:(?:alpha|beta)[0-9]+)?")
_SHORT_KINDS = {"po": "Pod", "deploy": "Deployment", "rs": "ReplicaSet", "sts": "StatefulSet", "ds": "DaemonSet"}
_SHORT_KINDS |= {"cj": "CronJob", "rc": "ReplicationController"}
_KINDS = sorted(
    {(f"{group}/{kind}" if group else kind) for group, kind in workload.KINDS} | {k for _, k in workload.KINDS}
)


def pattern_problems(document: Part) -> Iterator[Problem]:
    """Yield every pattern that can never match; the model reports values of a wrong type."""
    for number, rule in _sections(document.get("rules")):
        for key in ("modeFrom", "accountFrom", "policyFrom"):
            for location, problem in _choice(rule.get(key)):
                yield Problem(path(("rules", number, key, *location)), problem)
        annotation = rule["breakGlass"].get("annotation") if isinstance(rule.get("breakGlass"), dict) else None
        if isinstance(annotation, str) and annotation and (problem := _label_key(annotation)):
            yield Problem(path(("rules", number, "breakGlass", "annotation")), problem)
    for name in ("rules", "exemptions"):
        for number, section in _sections(document.get(name)):
            match = section.get("match")
            for location, problem in _match(match) if isinstance(match, dict) else ():
                yield Problem(path((name, number, "match", *location)), problem)


def _sections(sections: Any) -> Iterator[tuple[int, Part]]:
    for number, section in enumerate(sections if isinstance(sections, list) else ()):
        if isinstance(section, dict):
            yield number, section


def _choice(choice: Any) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Yield the keys of a choice that no label or annotation has, and the values that no label has."""
    if not isinstance(choice, dict):
        return
    for source in ("namespaceLabel", "label", "annotation"):
        key = choice.get(source)
        if isinstance(key, str) and key and (problem := _label_key(key)):
            yield (source,), problem
    allowed = choice.get("allowed")
    if "annotation" not in choice and isinstance(allowed, dict):
        for value in allowed:
            if isinstance(value, str) and not _LABEL_VALUE.fullmatch(value):
                yield (
                    ("allowed", value),
                    "no label has this value: they have at most 63 letters, digits, '-', '_' and '.'",
                )


def _match(match: Part) -> Iterator[tuple[tuple[int | str, ...], str]]:
    yield from _keys(match)
    exception = match.get("except")
    for location, problem in _keys(exception) if isinstance(exception, dict) else ():
        yield ("except", *location), problem


def _keys(match: Part) -> Iterator[tuple[tuple[int | str, ...], str]]:
    for key, check in _CHECKS.items():
        for number, pattern in _texts(match.get(key)):
            is_expression = pattern.startswith(EXPRESSION)
            if problem := _expression(key, pattern) if is_expression else _misspelt(pattern) or check(pattern):
                yield (key, number), problem
    yield from _annotations(match.get("annotations"))
    for key in ("objectSelector", "namespaceSelector"):
        selector = match.get(key)
        for location, problem in _selector(selector) if isinstance(selector, dict) else ():
            yield (key, *location), problem


def _annotations(annotations: Any) -> Iterator[tuple[tuple[int | str, ...], str]]:
    for name, patterns in annotations.items() if isinstance(annotations, dict) else ():
        if isinstance(name, str) and (problem := _label_key(name)):
            yield ("annotations", name), problem
        for number, pattern in _texts(patterns):
            problem = ""
            if pattern.startswith(EXPRESSION):
                problem = _expression("annotations", pattern)
            elif pattern.startswith("^") or pattern in {".*", ".+"}:
                problem = _regex(pattern)
            else:
                problem = _misspelt(pattern)
            if problem:
                yield ("annotations", name, number), problem


def _selector(selector: Part) -> Iterator[tuple[tuple[int | str, ...], str]]:
    labels = selector.get("matchLabels")
    for key, value in labels.items() if isinstance(labels, dict) else ():
        if isinstance(key, str) and (problem := _label_key(key)):
            yield ("matchLabels", key), problem
        if isinstance(value, str) and (problem := _label_value(value)):
            yield ("matchLabels", key), problem
    expressions = selector.get("matchExpressions")
    for number, expression in enumerate(expressions if isinstance(expressions, list) else ()):
        if not isinstance(expression, dict):
            continue
        key = expression.get("key")
        if isinstance(key, str) and key and (problem := _label_key(key)):
            yield ("matchExpressions", number, "key"), problem
        for position, value in _texts(expression.get("values"), empty=True):
            if problem := _label_value(value):
                yield ("matchExpressions", number, "values", position), problem


def _texts(values: Any, *, empty: bool = False) -> Iterator[tuple[int, str]]:
    for number, value in enumerate(values if isinstance(values, list) else ()):
        if isinstance(value, str) and (value or empty) and len(value) <= _MAX:
            yield number, value


def _expression(key: str, written: str) -> str:
    """Reject an expression that RE2 cannot read, and one for images that begins with something else than a registry."""
    if written == EXPRESSION:
        return "must not be empty after regex:"
    if written[len(EXPRESSION)].isspace():
        return "expected no space after regex:"
    try:
        pattern = (image_pattern_of if key == "images" else pattern_of)(written)
    except InvalidPattern as error:
        return f"is not an expression that RE2 can read: {error}"
    if key == "images":
        return _registry_of(written, pattern)
    if key == "kinds" and not PatternMasks.of([(pattern, 1)]).any_matching(_KINDS):
        return f"matches no kind that is judged: {', '.join(kind for kind in _KINDS if '/' not in kind)}"
    valid = _BEGINNINGS.get(key)
    return "" if not valid or valid.fullmatch(pattern.beginning) else f"none begins with {_short(pattern.beginning)}"


def _registry_of(written: str, pattern: Pattern) -> str:
    """Reject an expression that begins with a registry in a spelling that rules do not compare, or with none."""
    if scheme := _SCHEME.match(pattern.beginning):
        return f"an image reference does not begin with {scheme[0]}"
    name, slash, _ = pattern.beginning.partition("/")
    if slash and names_host(name) and registry(name) != name:
        return f"a registry is compared in one spelling: write {_short(registry(name))}/"
    first, slash, rest = written.removeprefix(EXPRESSION).removeprefix("^").partition("/")
    if not slash or not _LITERAL.fullmatch(first):
        return ""
    host = first.replace("\\", "")
    hub = f"{DOCKER_HUB}/{host}".replace(".", r"\.")
    return (
        "" if names_host(host) else f"an image's name begins with its registry: write {_short(f'regex:{hub}/{rest}')}"
    )


def _misspelt(glob: str) -> str:
    return "write regex: in lower case and without a space" if _MISSPELT.match(glob) else ""


def _image(glob: str) -> str:
    if scheme := _SCHEME.match(glob):
        return f"an image reference does not begin with {scheme[0]}{_form(glob[scheme.end() :])}"
    if glob.startswith("!"):
        return "a glob cannot be negated; put a rule for these images above this one"
    if "," in glob:
        return "expected one glob for each entry of the list"
    if re.search(r"\s", glob):
        words = glob.split()
        return f"an image has no spaces{_form(words[0]) if len(words) == 1 else ''}"
    if glob[0] in ":@":
        return f"expected a repository in front, or * for any: write *{_short(glob)}"
    return _parts_of_image(glob)


def _parts_of_image(glob: str) -> str:
    name, at, digest = glob.partition("@")
    first, slash, rest = name.partition("/")
    repository, colon, tag = _split_tag(rest if slash else name)
    if _is_regex(glob, repository if slash else name.partition(":")[0], tag):
        return _regex(glob)
    if not _IMAGE.fullmatch(glob):
        return _regex(glob) if "[" in glob else "holds a character that no image reference has"
    if colon and at:
        return f"the tag of tag@digest matches nothing: write {_short(glob.replace(f':{tag}@', '@'))}"
    problem = _host(glob, first, slash, repository)
    if not problem and colon and not _TAG.fullmatch(tag):
        problem = "a tag has letters, digits, '_', '.' and '-', at most 128, and begins with neither of the last two"
    return problem or (_digest(digest) if at else "") or _literal(glob)


def _is_regex(glob: str, repository: str, tag: str) -> bool:
    """Return whether a glob looks like a regular expression.

    ``.*`` is common in globs for tags (``1.*``) and possible in a registry's name, but not in a repository's.
    """
    signs = _REGEX_SIGNS.search(glob.replace(".*", "").replace(".+", "+"))
    return bool(signs) or ".*" in repository or tag.startswith(".") or glob.startswith(".*")


def _host(glob: str, first: str, slash: str, repository: str) -> str:
    """Check the part before the first slash, a registry or a part of the path; without a slash, it is on Docker Hub."""
    if is_image_id(glob):
        return ""
    if not slash:
        alone = first.partition(":")[0]
        if alone == "localhost" or ("." in alone and (not alone.startswith("*") or alone.startswith("*."))):
            return f"names no repository: write {_short(first.rstrip('*'))}/* for all of a registry"
    elif not first or "//" in glob or not repository:
        return f"a part of the path is empty{_form(f'{glob}*') if glob.endswith('/') and first else ''}"
    elif names_host(first) and first.lower() != first and "." not in first and ":" not in first:
        return f"repository names are lower case{_form(glob.lower())}"
    if repository.lower() != repository:
        return f"repository names are lower case{_form(glob.replace(repository, repository.lower()))}"
    return ""


def _digest(digest: str) -> str:
    algorithm, colon, encoded = digest.partition(":")
    if algorithm == "*" and not colon:
        return ""
    if not colon and re.fullmatch(r"[0-9a-fA-F*?]+", digest):
        return f"write the algorithm, too: sha256:{_short(digest)}"
    length = DIGEST_LENGTHS.get(algorithm)
    if length is None or not re.fullmatch(r"[0-9a-fA-F*?]*", encoded):
        return "a digest is sha256: and 64 hexadecimal digits; end a part of one with *"
    if encoded.lower() != encoded:
        return "a digest has lower-case hexadecimal digits"
    literal = len(encoded.replace("*", ""))
    if literal > length or ("*" not in encoded and literal != length):
        return f"a {algorithm} digest has {length} hexadecimal digits; end a part of one with *"
    return ""


def _literal(glob: str) -> str:
    if set("*?") & set(glob) or is_image_id(glob):
        return ""
    try:
        parse(glob)
    except InvalidImageReference as error:
        return str(error)
    return ""


def _split_tag(name: str) -> tuple[str, str, str]:
    """Return the repository, a colon where there is a tag, and the tag."""
    start, colon, tag = name.rpartition(":")
    return (start, colon, tag) if colon and "/" not in tag else (name, "", "")


def _namespace(glob: str) -> str:
    if _NAMESPACE.fullmatch(glob):
        return ""
    if _REGEX_SIGNS.search(glob):
        return _regex(glob)
    if "," in glob:
        return "expected one glob for each entry of the list"
    if _NAMESPACE.fullmatch(glob.lower()):
        return f"namespaces are lower case{_form(glob.lower())}"
    return "a namespace has lower-case letters, digits and '-', at most 63"


def _kind(glob: str) -> str:
    if any(fnmatch.fnmatchcase(kind, glob.replace("[", "[[]")) for kind in _KINDS):
        return ""
    if _REGEX_SIGNS.search(glob):
        return _regex(glob)
    group, _, name = glob.rpartition("/")
    group = "/".join(part for part in group.split("/") if part and not _VERSION.fullmatch(part))
    if "." in name and not group:
        name, _, group = name.partition(".")
    wanted = {name.lower(), name.lower().removesuffix("s"), _SHORT_KINDS.get(name.lower(), "").lower()} - {""}
    known = [kind for kind in _KINDS if kind.rpartition("/")[2].lower() in wanted]
    same = [kind for kind in known if kind.rpartition("/")[0] == group.lower()] or known
    if same:
        return f"kinds are compared as Kubernetes writes them, without a version: write {same[0]}"
    return f"is not a kind that is judged: expected one of {', '.join(kind for kind in _KINDS if '/' not in kind)}"


def _account(glob: str) -> str:
    if glob.startswith(_ACCOUNT_USER):
        return f"write {_short(glob.removeprefix(_ACCOUNT_USER).replace(':', '/'))}; the long form is for users"
    if _REGEX_SIGNS.search(glob):
        return _regex(glob)
    if _ACCOUNT.fullmatch(glob):
        return ""
    if _ACCOUNT.fullmatch(glob.replace(":", "/")):
        return f"expected a name, or a namespace and a name{_form(glob.replace(':', '/'))}"
    if _ACCOUNT.fullmatch(glob.lower()):
        return f"service accounts are lower case{_form(glob.lower())}"
    return "expected the name of a service account, alone or as namespace/name"


def _name(glob: str) -> str:
    if _NAME.fullmatch(glob):
        return ""
    if _REGEX_SIGNS.search(glob):
        return _regex(glob)
    return "the name of an object has lower-case letters, digits, '-' and '.', at most 253"


def _user(glob: str) -> str:
    """Reject clear regular expressions only: a user name may contain any character."""
    if glob.startswith("^") or re.search(r"(?:^|:)\.[*+]|\\\.|\.\*\$$", glob):
        return _regex(glob)
    if glob != glob.strip():
        return "begins or ends with a space"
    if glob.startswith(_ACCOUNT_USER) and "/" in glob:
        return f"the user of a service account has colons{_form(glob.replace('/', ':'))}"
    return ""


def _label_key(key: str) -> str:
    prefix, slash, name = key.rpartition("/")
    if _LABEL_NAME.fullmatch(name) and (not slash or _PREFIX.fullmatch(prefix)):
        return ""
    if set("*?") & set(key):
        return "a key is compared as written; only values of annotations are globs"
    return "expected a key such as app or example.com/team"


def _label_value(value: str) -> str:
    if _LABEL_VALUE.fullmatch(value):
        return ""
    if set("*?") & set(value) or _REGEX_SIGNS.search(value):
        return "labels are compared as they are written, without globs: list the values in matchExpressions (In)"
    return "expected at most 63 letters, digits, '-', '_' and '.', with a letter or digit at either end"


def _regex(glob: str) -> str:
    """Reject a regular expression, with the glob that was probably meant."""
    meant = re.sub(r"\.[*+]", "*", glob.removeprefix("^").removesuffix("$")).replace("\\", "")
    return _REGEX + ("" if set("^$()|+{}[]") & set(meant) else _form(meant))


def _form(meant: str) -> str:
    return f": write {_short(meant)}" if meant else ""


def _short(text: str) -> str:
    return shortened(text, _SHOWN)


_CHECKS: dict[str, Callable[[str], str]] = {
    "images": _image,
    "namespaces": _namespace,
    "kinds": _kind,
    "names": _name,
    "users": _user,
    "groups": _user,
    "serviceAccounts": _account,
}
