"""The images of an account: records, their tags, and the progress of their analysis."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from anchore_admission.sandbox.references import Reference
from anchore_admission.sandbox.registry import Content
from anchore_admission.sandbox.responses import AnchoreError
from anchore_admission.sandbox.seed import State

MAX_IMAGES = 10_000
MAX_TAGS = 1_000
QUEUED_PART = 0.4  # of the analysis time; an idle engine leaves an image queued for about that long
COLLECTED_AFTER = 60.0  # a deleted image stays readable, and passes checks, for up to a minute
ALREADY = float("-inf")


@dataclass(slots=True)
class TagRow:
    """One tag of one digest; ``created_at`` decides which digest a look-up by tag returns.

    ``detected_at`` is the time when the row was written, whatever ``created_at`` the request set.
    """

    reference: Reference
    created_at: float
    detected_at: float
    sequence: int
    dockerfile: str | None = None


@dataclass(slots=True)
class ImageRecord:
    """One image of one account; its state follows from the clock, without a background task.

    ``created_at`` is the time that a digest add may override; ``added_at`` is when the record was written.
    ``announced`` are the tags for which the event log has the end of the last analysis.
    """

    account: str
    content: Content
    created_at: float
    sequence: int
    added_at: float
    queued_at: float
    held: State | None = None
    outcome_at: float | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    tags: dict[str, TagRow] = field(default_factory=dict)
    announced: set[str] = field(default_factory=set)
    deleted_at: float | None = None

    @property
    def digest(self) -> str:
        return self.content.digest

    def state(self, now: float, analysis_time: float) -> State:
        if self.held is not None:
            return self.held
        age = now - self.queued_at
        if age >= analysis_time:
            return "analysis_failed" if self.content.fails_analysis else "analyzed"
        return "not_analyzed" if age < analysis_time * QUEUED_PART else "analyzing"

    def analyzed_at(self, now: float, analysis_time: float) -> float | None:
        """Return when the last analysis ended; while a forced one runs, that of the previous one, as Anchore does."""
        if self.state(now, analysis_time) != "analyzed":
            return self.outcome_at
        return max(self.added_at, self.queued_at + analysis_time)

    def requeue(self, now: float, analysis_time: float) -> None:
        self.outcome_at = self.analyzed_at(now, analysis_time)
        self.queued_at, self.held, self.deleted_at = now, None, None
        self.announced.clear()

    def annotate(self, annotations: dict[str, str]) -> None:
        """Merge annotations; the value ``null`` removes a key."""
        # Annotations belong to the digest, so every add of any of its tags changes the same ones.
        for key, value in annotations.items():
            if value == "null":
                self.annotations.pop(key, None)
            else:
                self.annotations[key] = value

    def add_tag(self, reference: Reference, created_at: float, now: float, sequence: int) -> TagRow:
        """Return the row of a tag. A tag that the digest already has keeps its time: a rollback goes unnoticed."""
        full_tag = reference.full_tag or ""
        if full_tag not in self.tags:
            if len(self.tags) >= MAX_TAGS:
                raise AnchoreError(400, f"the sandbox holds at most {MAX_TAGS} tags per image")
            self.tags[full_tag] = TagRow(reference, created_at, now, sequence)
        return self.tags[full_tag]

    def rows(self) -> list[TagRow]:
        return [self.tags[name] for name in sorted(self.tags)]


@dataclass(slots=True)
class Images:
    """The images of one account."""

    _records: dict[str, ImageRecord] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: ImageRecord) -> None:
        if len(self._records) >= MAX_IMAGES:
            raise AnchoreError(400, f"the sandbox holds at most {MAX_IMAGES} images per account")
        self._records[record.digest] = record

    def _live(self, now: float) -> list[ImageRecord]:
        """Return the records, and drop those that were deleted long enough ago."""
        for digest in [r.digest for r in self._records.values() if _collected(r, now)]:
            del self._records[digest]
        return list(self._records.values())

    def all(self, now: float) -> list[ImageRecord]:
        """Return all records, newest first."""
        return sorted(self._live(now), key=lambda r: (r.created_at, r.sequence), reverse=True)

    def exact(self, digest: str, now: float) -> ImageRecord | None:
        """Return the record of a platform digest."""
        record = self._records.get(digest)
        return None if record is None or _collected(record, now) else record

    def by_digest(self, digest: str, now: float) -> ImageRecord | None:
        """Return the record of a platform digest, or the newest of a manifest list's digest."""
        exact = self.exact(digest, now)
        return exact or next((r for r in self.all(now) if r.content.parent_digest == digest), None)

    def by_reference(self, reference: Reference, now: float) -> list[ImageRecord]:
        """Return every record that ever had the reference, the newest tag row first."""
        found = [(row, record) for record in self._live(now) for row in _matching(record, reference)]
        found.sort(key=lambda pair: (pair[0].created_at, pair[0].sequence), reverse=True)
        return list({record.digest: record for _, record in found}.values())


def _collected(record: ImageRecord, now: float) -> bool:
    return record.deleted_at is not None and now - record.deleted_at >= COLLECTED_AFTER


def _matching(record: ImageRecord, reference: Reference) -> Iterable[TagRow]:
    if reference.image_id is not None:
        return record.rows() if record.content.image_id == reference.image_id else ()
    if reference.tag is not None:
        return (row for name, row in record.tags.items() if name == reference.full_tag)
    if reference.repo is None:
        # a bare digest filters by the registry docker.io alone, whatever the digest
        return (row for row in record.rows() if row.reference.registry == reference.registry)
    if record.digest != reference.digest:
        return ()
    wanted = (reference.registry, reference.repo)
    return (row for row in record.rows() if (row.reference.registry, row.reference.repo) == wanted)
