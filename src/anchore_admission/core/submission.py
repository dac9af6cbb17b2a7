"""Under which names Anchore may hold an image, and how it is asked to analyse one."""

from dataclasses import dataclass

from anchore_admission.core.facts import ImageRecord
from anchore_admission.core.reference import DOCKER_HUB, ImageReference

_LABEL_HEX = 12


@dataclass(frozen=True, slots=True)
class AnalysisRequest:
    """What is submitted: a full tag, or a digest with a full tag as its label (Anchore takes no digest alone)."""

    full_tag: str
    digest: str | None = None

    @property
    def repository(self) -> str:
        return self.full_tag.rpartition(":")[0]


def repositories(reference: ImageReference) -> tuple[str, ...]:
    """The image's repository as Anchore may have stored it.

    Anchore keeps ``docker.io/library/nginx`` and ``docker.io/nginx`` apart, and people add either.
    """
    if reference.official_name:
        return reference.repository, f"{DOCKER_HUB}/{reference.official_name}"
    return (reference.repository,)


def lookup_tags(reference: ImageReference) -> tuple[str, ...]:
    """The full tags to look a tag reference up by; none for a reference that carries a digest."""
    if reference.digest:
        return ()
    return tuple(f"{repository}:{reference.tag}" for repository in repositories(reference))


def analysis_request(reference: ImageReference) -> AnalysisRequest:
    """Submit the form people see in Anchore: the short one for an official image."""
    repository = repositories(reference)[-1]
    tag = reference.tag or _synthetic_label(reference)
    return AnalysisRequest(f"{repository}:{tag}", reference.digest)


def newest(records: list[ImageRecord], reference: ImageReference) -> ImageRecord | None:
    """Of records found under several names, the one whose matching tag was detected last."""
    names = lookup_tags(reference)

    def detected(record: ImageRecord) -> str:
        return max((tag.detected_at for tag in record.tags if tag.full_tag in names), default="")

    return max(records, key=detected, default=None)


def check_tag(record: ImageRecord, reference: ImageReference) -> str:
    """The tag to evaluate a policy for: always of the workload's own repository, since a policy may map by it.

    Its own tag for a tag reference; for ``repo:tag@digest`` that tag if the record carries it; else the newest tag of
    the repository on the record; else the synthetic label. A digest must never stand there: Anchore answers with a
    false stop.
    """
    own = [tag for tag in record.tags if tag.full_tag.rpartition(":")[0] in repositories(reference)]
    wanted = [tag for tag in own if reference.tag and tag.full_tag.rpartition(":")[2] == reference.tag]
    if wanted or not reference.digest:
        names = [tag.full_tag for tag in sorted(wanted, key=lambda tag: tag.detected_at)]
        return names[-1] if names else analysis_request(reference).full_tag
    if own:
        return max(own, key=lambda tag: tag.detected_at).full_tag
    return f"{repositories(reference)[-1]}:{_synthetic_label(reference)}"


def _synthetic_label(reference: ImageReference) -> str:
    """A label that no real tag can be mistaken for: ``sha256-<12 hex>``."""
    algorithm, _, encoded = (reference.digest or "").partition(":")
    return f"{algorithm}-{encoded[:_LABEL_HEX]}"
