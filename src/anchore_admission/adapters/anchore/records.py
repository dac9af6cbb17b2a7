"""An image record as Anchore sends it, and which of several is the one that was asked for."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from pydantic import BaseModel

from anchore_admission.adapters.anchore.answers import Answer, bad_request, cleaned, contains
from anchore_admission.core.facts import AnalysisState, ImageRecord, TagRow
from anchore_admission.core.names import LABEL_TIME, is_label
from anchore_admission.errors import AnchoreRefused, AnchoreReplyInvalid

_DIGEST = re.compile(r"[a-z0-9]+:[a-f0-9]{32,}")
_CANONICAL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_ACTIVE = "active"


class TagDetail(BaseModel):
    """One tag of an image. Nearly everything is optional in Anchore's schema."""

    full_tag: str | None = None
    tag_detected_at: str | None = None
    created_at: str | None = None

    @property
    def is_of_a_digest(self) -> bool:
        """True if a digest submission made this row: it carries text that nothing compared with the registry."""
        times = {comparable(self.tag_detected_at), comparable(self.created_at)}
        return LABEL_TIME in times or is_label((self.full_tag or "").rpartition(":")[2])


class Metadata(BaseModel):
    arch: str | None = None


class Content(BaseModel):
    metadata: Metadata | None = None


class ImageRow(BaseModel):
    """One image in the words of API v2; v1 gives its own names as aliases."""

    image_digest: str | None = None
    parent_digest: str | None = None
    analysis_status: str | None = None
    image_status: str | None = None
    created_at: str | None = None
    image_detail: tuple[TagDetail, ...] | None = None
    image_content: Content | None = None

    @property
    def active(self) -> bool:
        return (self.image_status or _ACTIVE) == _ACTIVE

    @property
    def tags(self) -> list[TagDetail]:
        """The rows that say what a tag is."""
        return [detail for detail in self.image_detail or () if detail.full_tag and not detail.is_of_a_digest]


def lookup_tag(full_tag: str) -> str:
    """A digest in the place of a tag is another question: as a tag of a check it gives a false stop."""
    if not full_tag or "@" in full_tag:
        raise ValueError(f"not a full tag: {full_tag!r}")
    return full_tag


def newest_with_tag(rows: Iterable[ImageRow], full_tag: str) -> ImageRecord | None:
    """The row whose own detail for the tag is the latest.

    Rows without the tag are dropped: an Anchore that does not know the parameter answers with every image. So are
    those that carry it only because a digest was submitted beside it.
    """
    found = [
        ((comparable(detail.tag_detected_at), comparable(detail.created_at or row.created_at)), row)
        for row in rows
        if row.active
        for detail in row.tags
        if detail.full_tag == full_tag
    ]
    return record(max(found, key=lambda pair: pair[0])[1]) if found else None


def with_digest(rows: Iterable[ImageRow], digest: str) -> ImageRecord | None:
    """The row whose own or whose manifest list's digest was asked for. Raises AnchoreReplyInvalid."""
    known = list(rows)
    asked = [row for row in known if digest in {row.image_digest, row.parent_digest}]
    if known and not asked:
        raise AnchoreReplyInvalid("Anchore answered with another image than the one asked for")
    usable = [row for row in asked if row.active]
    return record(max(usable, key=lambda row: comparable(row.created_at))) if usable else None


def record(row: ImageRow) -> ImageRecord:
    """Raises AnchoreReplyInvalid where the parts that a verdict hangs on are missing."""
    if not row.image_digest or not _DIGEST.fullmatch(row.image_digest):
        raise AnchoreReplyInvalid("Anchore's answer names no digest for the image")
    parent = row.parent_digest if row.parent_digest != row.image_digest else None
    metadata = row.image_content.metadata if row.image_content else None
    return ImageRecord(
        digest=row.image_digest,
        state=analysis_state(row.analysis_status or ""),
        tags=tuple(
            TagRow(tag.full_tag, comparable(tag.tag_detected_at or tag.created_at)) for tag in row.tags if tag.full_tag
        ),
        parent_digest=parent or None,
        architecture=cleaned((metadata.arch if metadata else None) or "") or None,
    )


def analysis_state(text: str) -> AnalysisState:
    """Raises AnchoreReplyInvalid: a state nobody knows is not one to guess from."""
    if text not in {state.value for state in AnalysisState if state is not AnalysisState.UNKNOWN}:
        raise AnchoreReplyInvalid(f"Anchore names an analysis state that is not known: {cleaned(text) or 'none'}")
    return AnalysisState(text)


def expect_absent(answer: Answer) -> None:
    """Let pass only "there is no such image" of a look-up's refusals. Raises EvaluationError.

    On these two routes a 404 in Anchore's own shape has no other meaning, whatever its words: specifications promise
    none, and releases differ. A document with nothing but a message may be a gateway's, so its words have to fit.
    """
    if not answer.missing:
        raise bad_request(answer)
    if not answer.is_anchores and not names_no_image(answer.message):
        raise AnchoreRefused(f"Anchore refuses to look the image up: {cleaned(answer.message)}")


def names_no_image(message: str) -> bool:
    """Return whether a 404 says that there is no such image, in the words of any release that is known."""
    return message.lstrip().lower().startswith("image") and contains(message, "image", "not found")


def comparable(time: str | None) -> str:
    """UTC to the second, so that times compare as text whatever form a release sends; empty when unreadable."""
    if not time or _CANONICAL_TIME.fullmatch(time):
        return time or ""
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return ""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
