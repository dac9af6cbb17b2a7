"""Image records as Anchore sends them, and the choice of the requested one among several."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from pydantic import BaseModel

from anchore_admission.adapters.anchore.responses import AnchoreResponse, bad_request, contains
from anchore_admission.adapters.failures import cleaned
from anchore_admission.core.facts import AnalysisState, ImageRecord, TagRow
from anchore_admission.core.names import LABEL_TIME, is_label
from anchore_admission.errors import AnchoreRefused, AnchoreResponseInvalid

_DIGEST = re.compile(r"[a-z0-9]{1,32}:[a-f0-9]{32,128}")
_CANONICAL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_UTC_SECONDS = "%Y-%m-%dT%H:%M:%SZ"
_YEARS = range(1970, 2262)
"""The years whose times fit into the nanoseconds that OPA counts with."""
_ACTIVE = "active"


class TagDetail(BaseModel):
    """One tag of an image. Nearly all members are optional in Anchore's schema."""

    full_tag: str | None = None
    tag_detected_at: str | None = None
    created_at: str | None = None

    @property
    def is_of_a_digest(self) -> bool:
        """True if a submission by digest created this row: Anchore never compared its tag with the registry."""
        times = {comparable(self.tag_detected_at), comparable(self.created_at)}
        return LABEL_TIME in times or is_label((self.full_tag or "").rpartition(":")[2])

    @property
    def since(self) -> str:
        """The earliest of the row's times; empty if it has none."""
        return min(filter(None, (comparable(self.tag_detected_at), comparable(self.created_at))), default="")


class Metadata(BaseModel):
    arch: str | None = None


class Content(BaseModel):
    metadata: Metadata | None = None


class ImageRow(BaseModel):
    """One image under the names of API v2; v1 adds its own names as aliases."""

    image_digest: str | None = None
    parent_digest: str | None = None
    analysis_status: str | None = None
    image_status: str | None = None
    created_at: str | None = None
    analyzed_at: object = None  # of any type: no verdict depends on it
    image_detail: tuple[TagDetail, ...] | None = None
    image_content: Content | None = None

    @property
    def active(self) -> bool:
        # Anchore deletes images in the background; until the row is gone, its status is ``deleting``.
        return (self.image_status or _ACTIVE) == _ACTIVE

    @property
    def tags(self) -> list[TagDetail]:
        """The rows whose tags come from the registry."""
        return [detail for detail in self.image_detail or () if detail.full_tag and not detail.is_of_a_digest]


def lookup_tag(full_tag: str) -> str:
    """Return a full tag. Raises ValueError for a digest: as the tag of a check it would produce a false stop."""
    if not full_tag or "@" in full_tag:
        raise ValueError(f"not a full tag: {full_tag!r}")
    return full_tag


def newest_with_tag(rows: Iterable[ImageRow], full_tag: str) -> ImageRecord | None:
    """Return the record whose row for the tag is the latest.

    Records without the tag are ignored: an Anchore that does not know the parameter returns every image. Records that
    have it only because it was submitted together with a digest are ignored, too.
    """
    # The specifications fix no order: compare the times at which Anchore first saw each digest under the tag.
    found = [
        ((comparable(detail.tag_detected_at), comparable(detail.created_at or row.created_at)), row)
        for row in rows
        if row.active
        for detail in row.tags
        if detail.full_tag == full_tag
    ]
    return record(max(found, key=lambda pair: pair[0])[1]) if found else None


def with_digest(rows: Iterable[ImageRow], digest: str) -> ImageRecord | None:
    """Return the record with this digest, its own or that of its manifest list. Raises AnchoreResponseInvalid."""
    known = list(rows)
    matching = [row for row in known if digest in {row.image_digest, row.parent_digest}]
    if known and not matching:
        raise AnchoreResponseInvalid("Anchore returned another image than the requested one")
    usable = [row for row in matching if row.active]
    return record(max(usable, key=lambda row: comparable(row.created_at))) if usable else None


def record(row: ImageRow) -> ImageRecord:
    """Convert a row. Raises AnchoreResponseInvalid if a part that a verdict depends on is missing."""
    if not row.image_digest or not _DIGEST.fullmatch(row.image_digest):
        raise AnchoreResponseInvalid("Anchore's response names no digest for the image")
    # For an image without a manifest list, Anchore repeats its own digest as that of the parent.
    parent = row.parent_digest if row.parent_digest != row.image_digest else None
    metadata = row.image_content.metadata if row.image_content else None
    list_digest, listed_by = _list_digest(row)
    return ImageRecord(
        digest=row.image_digest,
        state=analysis_state(row.analysis_status or ""),
        tags=tuple(
            TagRow(tag.full_tag, comparable(tag.tag_detected_at or tag.created_at)) for tag in row.tags if tag.full_tag
        ),
        parent_digest=parent or None,
        architecture=cleaned((metadata.arch if metadata else None) or "") or None,
        list_digest=list_digest,
        listed_by=listed_by,
        analyzed_at=_analyzed_at(row.analyzed_at),
    )


def _list_digest(row: ImageRow) -> tuple[str | None, tuple[str, ...]]:
    """Return the digest by which every platform can pull the image, if the row tells, and the tags that it is from.

    A record keeps the parent of its first submission for ever, also if its tags are added to other lists later. One
    platform of a manifest list that is added by its own digest has that as its parent, like an image without a list.
    Its first tag is then the label of that digest.
    Source: recorded responses of Anchore Engine 1.1.0, and its ``catalog_impl.add_or_update_image``.
    """
    parent = row.parent_digest
    if not parent or not _DIGEST.fullmatch(parent):
        return None, ()
    since = min([detail.since for detail in row.image_detail or ()], default="")
    first = [detail for detail in row.image_detail or () if detail.since == since]
    if not first or (parent == row.image_digest and any(detail.is_of_a_digest for detail in first)):
        return None, ()
    # Thousands of records are remembered: let each keep one text of an equal digest.
    shared = row.image_digest if parent == row.image_digest else parent
    return shared, tuple(sorted(detail.full_tag or "" for detail in first))


def analysis_state(text: str) -> AnalysisState:
    """Parse a state. Raises AnchoreResponseInvalid for an unknown one: guessing could admit an image."""
    if text not in {state.value for state in AnalysisState if state is not AnalysisState.UNKNOWN}:
        raise AnchoreResponseInvalid(f"Anchore names an unknown analysis state: {cleaned(text) or 'none'}")
    return AnalysisState(text)


def expect_absent(response: AnchoreResponse) -> None:
    """Accept a look-up's 404 for an unknown image; raise EvaluationError for every other refusal.

    On these two routes, a 404 in Anchore's own format has no other meaning, whatever its message: the specifications
    fix none, and releases differ. A document with only a message may be a gateway's, so the message has to match.
    """
    if not response.is_not_found:
        raise bad_request(response)
    if not response.is_from_anchore and not names_no_image(response.message):
        raise AnchoreRefused(f"Anchore refuses to look the image up: {cleaned(response.message)}")


def names_no_image(message: str) -> bool:
    """Return True if the message of a 404 says that the image is unknown, in the words of any known release."""
    return message.lstrip().lower().startswith("image") and contains(message, "image", "not found")


def comparable(time: str | None) -> str:
    """Convert a time to UTC to the second, so that times of all releases compare as text; empty if unreadable."""
    if not time or _CANONICAL_TIME.fullmatch(time):
        return time or ""
    moment = _moment(time)
    return moment.strftime(_UTC_SECONDS) if moment else ""


def _analyzed_at(time: object) -> str:
    """Return the time of an analysis; empty for one that policies could not compute with, such as the year 1."""
    moment = _moment(time) if isinstance(time, str) else None
    return moment.strftime(_UTC_SECONDS) if moment and moment.year in _YEARS else ""


def _moment(time: str) -> datetime | None:
    """Read a time, in UTC if it names no zone; None if it is unreadable."""
    try:
        moment = datetime.fromisoformat(time)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # the zone may lead out of the years that exist
        return None
