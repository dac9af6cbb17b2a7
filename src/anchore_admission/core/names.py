"""The names under which Anchore may hold an image, and the request to analyze one."""

import fnmatch
import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

from anchore_admission.core.facts import ImageRecord, ResolvedTag, Selector
from anchore_admission.core.reference import ImageReference, parse
from anchore_admission.errors import InvalidImageReference

_LABEL = re.compile(r"sha256-(?:[0-9a-f]{12}|[0-9a-f]{64})")
LABEL_TIME = "2000-01-01T00:00:00Z"
"""The time of the tag row that a digest submission makes; Anchore keeps it if it did not hold the image before.

Earlier releases submitted a digest under the author's own tag with this time, so such rows are recognized by it.
"""
_PLATFORMS = frozenset(
    [
        *("amd64", "x64", "x86", "386", "i386", "arm", "arm64", "aarch64", "armhf", "armv6", "armv7", "armv8"),
        *("ppc64le", "s390x", "riscv64", "linux", "windows"),
    ]
)
"""Parts of the tags that continuous integration gives to single platforms, before it makes a manifest list of them."""


class AnalysisRequest(Struct, frozen=True, gc=False):
    """A request for analysis: a full tag, or a digest with a full tag as its label (see ``label_of``)."""

    full_tag: str
    digest: str | None = None

    @property
    def repository(self) -> str:
        return repository_of(self.full_tag)


def anchore_repositories(reference: ImageReference) -> tuple[str, ...]:
    """Return the names under which Anchore may hold the image's repository, the one to submit it under last.

    To Anchore, the two spellings of a Docker Hub repository (``ImageReference.repositories``) are two repositories,
    and so are all spellings of a registry (``Registry.example.com:443``). Operators may add images and map policies
    under one spelling while the authors of workloads use another.
    """
    names = reference.repositories
    return names if reference.repository in names else (*names, reference.repository)


def lookup_tags(reference: ImageReference) -> tuple[str, ...]:
    """Return the full tags under which to look up a tag reference; none for a reference that carries a digest."""
    if reference.digest:
        return ()
    return tuple(f"{repository}:{reference.tag}" for repository in anchore_repositories(reference))


def label_of(digest: str) -> str:
    """Return the tag to submit a digest with, since Anchore does not accept a digest without one: ``sha256-<hex>``.

    It contains the whole digest, so no other image can have it.
    """
    algorithm, _, encoded = digest.partition(":")
    # A tag cannot hold the colon of a digest.
    return f"{algorithm}-{encoded}"


def is_label(tag: str) -> bool:
    """Return whether a tag is a digest's label, also as earlier releases wrote it, with 12 digits."""
    return _LABEL.fullmatch(tag) is not None


def analysis_request(reference: ImageReference, found: ImageRecord | None = None) -> AnalysisRequest:
    """Return the request for analysis: a tag under the name of its record (``found``), else under the short name.

    The short name is the one that people see in Anchore. A digest is submitted under its own label, not under the tag
    in front of it: the author chooses that tag, and the submission would move it for every other workload.
    """
    if reference.digest:
        return AnalysisRequest(f"{anchore_repositories(reference)[-1]}:{label_of(reference.digest)}", reference.digest)
    names = lookup_tags(reference)
    held = [tag for tag in found.tags if tag.full_tag in names] if found else []
    return AnalysisRequest(max(held, key=lambda tag: tag.detected_at).full_tag if held else names[-1])


def newest(records: list[ImageRecord], reference: ImageReference) -> ImageRecord | None:
    """Return the record whose matching tag was detected last, of those found under several names."""
    return max(records, key=lambda record: detected_at(record, reference), default=None)


def detected_at(record: ImageRecord, reference: ImageReference) -> str:
    """Return the time at which Anchore saw the reference's tag at the record first, as far as it tells."""
    names = lookup_tags(reference)
    return max((tag.detected_at for tag in record.tags if tag.full_tag in names), default="")


def check_tags(record: ImageRecord, reference: ImageReference) -> tuple[str, ...]:
    """Return the full tags to evaluate a policy for: one per name of the workload's own repository.

    A policy maps by registry, repository and tag, as text. The tag is the reference's own; for ``repo:tag@digest``
    that tag if the record carries it, else the newest tag of the repository on the record, else the digest's label.
    Names that the record carries come first. A digest never takes the place of the tag: Anchore would respond with a
    false ``stop``.
    """
    names = anchore_repositories(reference)
    own = [tag for tag in record.tags if repository_of(tag.full_tag) in names]
    tag = reference.tag or ""
    if reference.digest and tag not in {_tag(row.full_tag) for row in own}:
        latest = max(own, key=lambda row: row.detected_at, default=None)
        tag = _tag(latest.full_tag) if latest else label_of(reference.digest)
    carried = {row.full_tag: row.full_tag for row in own}
    wanted = sorted((f"{name}:{tag}" for name in names), key=lambda full_tag: full_tag not in carried)
    # The record's own texts: thousands of checks are remembered beside their records.
    return tuple(carried.get(full_tag, full_tag) for full_tag in wanted)


def distinguishes(selectors: Iterable[Selector], full_tags: Sequence[str]) -> bool:
    """Return whether any of a policy's selectors matches some of the names and not the others.

    Anchore's patterns are case-sensitive, match the whole registry and repository, and have only the wildcard ``*``.
    """
    # Tags do not matter here: all of the names carry the same one, see `check_tags`.
    names = [repository_of(full_tag).partition("/") for full_tag in full_tags]
    for selector in selectors:
        host, path = (_literal(pattern) for pattern in (selector.registry, selector.repository))
        holds = {fnmatch.fnmatchcase(name[0], host) and fnmatch.fnmatchcase(name[2], path) for name in names}
        if len(holds) > 1:
            return True
    return False


def _literal(pattern: str) -> str:
    """Escape the special characters of ``fnmatch`` other than ``*``."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


def shared_digest(found: ImageRecord | ResolvedTag, reference: ImageReference) -> str | None:
    """Return the digest by which nodes of every platform can pull a tag's image; None if Anchore does not tell.

    Anchore keeps the manifest list that it found an image in first. Another repository may have the image in another
    list, or in none, and lack that one; and a user could choose it by naming the image in a repository of his own
    first. An image that was first added without a list may be in one under another tag, if its own names a platform.
    """
    if not found.list_digest or not found.listed_by:
        return None
    own = lookup_tags(reference)
    others = [full_tag for full_tag in found.listed_by if full_tag not in own]
    try:
        repositories = [parse(full_tag).repositories for full_tag in others]
    except InvalidImageReference:
        return None
    if any(each != reference.repositories for each in repositories):
        return None
    tags = [tag for tag in map(_tag, others) if tag != reference.tag]
    if found.list_digest == found.digest and any(_PLATFORMS & set(re.split("[-_.]", tag.lower())) for tag in tags):
        return None
    return found.list_digest


def repository_of(full_tag: str) -> str:
    """Return a full tag without its tag."""
    return full_tag.rpartition(":")[0]


def _tag(full_tag: str) -> str:
    return full_tag.rpartition(":")[2]
