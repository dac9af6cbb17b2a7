"""Coverage: a match that certainly holds wherever another one does. What cannot be proven does not count."""

from collections.abc import Callable, Sequence

from anchore_admission.core.reference import DOCKER_HUB, is_image_id, names_host, registry
from anchore_admission.core.rules.labels import Comparison, comparisons_of
from anchore_admission.core.rules.patterns import image_pattern_of
from anchore_admission.models.configuration import EXPRESSION, LabelSelector, Match, MatchKeys

_TEXTS = ("namespaces", "kinds", "names", "users", "groups", "service_accounts")
_ALWAYS_THERE = ("images", "namespaces", "users")
"""Keys whose value every request has, so that the glob ``*`` always matches it.

An object of the cluster has the empty namespace. A Pod may have no service account, a user no groups, and an
image that is checked alone no kind.
"""


def covers(wide: Match, narrow: Match) -> bool:
    """Return True if ``wide`` certainly holds for every image for which ``narrow`` does."""
    if not _keys_cover(wide, narrow):
        return False
    # Whatever the wide match excepts, the narrow one must except too.
    return wide.except_ is None or (narrow.except_ is not None and _keys_cover(narrow.except_, wide.except_))


def matches_everything(match: Match) -> bool:
    """Return True if the match certainly holds for every image of every request."""
    return covers(match, Match())


def excepts_itself(match: Match) -> bool:
    """Return True if a match certainly holds for no image, because its exception takes away all that it matches."""
    return match.except_ is not None and _keys_cover(match.except_, match)


def is_everything(pattern: str) -> bool:
    """Return True for a pattern that matches any text, such as ``*``."""
    return not pattern.strip("*") or pattern == f"{EXPRESSION}.*"


def _keys_cover(wide: MatchKeys, narrow: MatchKeys) -> bool:
    if wide.images and not _list_covers("images", wide.images, narrow.images, _image_covers):
        return False
    for key in _TEXTS:
        patterns = getattr(wide, key)
        if patterns and not _list_covers(key, patterns, getattr(narrow, key), _text_covers):
            return False
    for name, patterns in (wide.annotations or {}).items():
        if not _list_covers("annotations", patterns, (narrow.annotations or {}).get(name), _text_covers):
            return False
    selectors = (
        (wide.object_selector, narrow.object_selector),
        (wide.namespace_selector, narrow.namespace_selector),
    )
    return all(_selector_covers(*pair) for pair in selectors)


def _list_covers(
    key: str, wide: Sequence[str], narrow: Sequence[str] | None, one_covers: Callable[[str, str], bool]
) -> bool:
    """Compare the patterns of a key; ``narrow`` is None where the key is left out."""
    if any(map(is_everything, wide)):
        return narrow is not None or key in _ALWAYS_THERE
    return narrow is not None and all(any(one_covers(one, other) for one in wide) for other in narrow)


def _text_covers(wide: str, narrow: str) -> bool:
    if EXPRESSION in {wide[: len(EXPRESSION)], narrow[: len(EXPRESSION)]}:
        return wide == narrow
    return _glob_covers(wide, narrow)


def _glob_covers(wide: str, narrow: str) -> bool:
    """Return True if one glob matches every text that another one does.

    The narrow glob is read as a text in which ``*`` and ``?`` stand for themselves: a star of the wide one takes
    anything, its ``?`` anything but a star. On a mismatch, the last star takes one character more.
    """
    at, star, resumed = 0, -1, 0
    position = 0
    while position < len(narrow):
        expected = wide[at] if at < len(wide) else ""
        if expected == "*":
            star, resumed = at, position
            at += 1
        elif expected and (expected == narrow[position] or (expected == "?" and narrow[position] != "*")):
            at += 1
            position += 1
        elif star >= 0:
            resumed += 1
            at, position = star + 1, resumed
        else:
            return False
    return is_everything(wide[at:])


def _image_covers(wide: str, narrow: str) -> bool:
    """Compare globs for images as ``image_pattern_of`` reads them: a registry, and a glob for what follows it."""
    if wide == narrow:
        return True
    if any(glob.startswith(EXPRESSION) or is_image_id(glob) for glob in (wide, narrow)):
        return False
    (host, path), (narrow_host, narrow_path) = split_image_glob(wide), split_image_glob(narrow)
    # A glob for tags matches no digest.
    if _is_for_tags(path) and ("@" in narrow_path or narrow_path.count(":") > 1):
        return False
    if host == narrow_host:
        return _glob_covers(path, narrow_path)
    if host is None:
        return (
            narrow_host is not None
            and not _has_wildcards(narrow_host)
            and _glob_covers(path, f"{narrow_host}/{narrow_path}")
        )
    return _host_covers(host, narrow_host) and _glob_covers(path, narrow_path)


def _host_covers(wide: str, narrow: str | None) -> bool:
    if narrow is None or not _has_wildcards(wide) or _has_wildcards(narrow):
        return False
    pattern, name = image_pattern_of(f"{wide}/*"), f"{narrow}/name"
    return name.startswith(pattern.beginning) and pattern.matches(name)


def split_image_glob(glob: str) -> tuple[str | None, str]:
    """Return a glob's registry in its one spelling, None if the glob matches any, and the rest."""
    host, slash, rest = glob.partition("/")
    if slash and names_host(host):
        return (host.lower() if _has_wildcards(host) else registry(host)), rest
    return (None if glob.startswith("*") else DOCKER_HUB), glob


def _is_for_tags(path: str) -> bool:
    _, colon, tag = path.rpartition(":")
    return bool(colon) and "@" not in path and not is_everything(tag)


def _has_wildcards(text: str) -> bool:
    return "*" in text or "?" in text


def _selector_covers(wide: LabelSelector | None, narrow: LabelSelector | None) -> bool:
    if wide is None:
        return True
    known = list(comparisons_of(narrow)) if narrow else []
    return all(any(_implies(other, one) for other in known) for one in comparisons_of(wide))


def _implies(known: Comparison, other: Comparison) -> bool:
    """Return True if one comparison of a label certainly holds where another one does."""
    if known.key != other.key:
        return False
    values, others = set(known.values), set(other.values)
    match known.operator, other.operator:
        case "In", "In":
            return values <= others
        case "In", "NotIn":
            return not values & others
        case "NotIn", "NotIn":
            return values >= others
        case ("In" | "Exists", "Exists") | ("DoesNotExist", "DoesNotExist" | "NotIn"):
            return True
        case _:
            return False
