"""The event log of an account: which events are asked for, and how they are read."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator

from anchore_admission.core.hints import Event, Events

LARGEST_PAGE: Final = 1024 * 1024
"""Bytes of the largest list of events that is read. One about a check may hold two whole evaluations."""
PAGES: Final = {"user.image.analysis.": 100, "user.policy.active.": 10, "user.checks.tag.": 20}
"""The most events to list, by the beginning of their type. Separate lists: one kind must not crowd out the others."""
_OVERLAP = timedelta(seconds=60)
_FIRST_YEAR = 1970
_LONGEST_ID = 200
_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


def _only_text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _only_object(value: object) -> object:
    return value if isinstance(value, dict) else {}


EventText = Annotated[str, BeforeValidator(_only_text)]
"""Any value; empty unless it is a text. One strange event must not hide the others."""
_Object = BeforeValidator(_only_object)


class _Resource(BaseModel):
    type: EventText = ""
    id: EventText = ""


class _Event(BaseModel):
    type: EventText = ""
    timestamp: EventText = ""
    resource: Annotated[_Resource, _Object] = _Resource()


class EventRow(BaseModel):
    """One row of the log under the names of API v2; v1 adds its own name as an alias."""

    event_id: EventText = ""
    created_at: EventText = ""
    event: Annotated[_Event, _Object] = _Event()

    @property
    def at(self) -> datetime | None:
        """The time of the event, but not later than that of its row.

        Each of Anchore's services sets the time of its own events, and one whose clock is fast must not hide later
        events of the others. One service writes all rows.
        """
        times = [time for text in (self.created_at, self.event.timestamp) if (time := _time(text))]
        return min(times, default=None)


class EventPage(BaseModel):
    results: Sequence[EventRow]
    next_page: bool | None = None


def newest_of(page: EventPage, family: str, limit: int) -> Events:
    """Convert the first page of one kind of events. An Anchore that does not know a parameter lists others, too."""
    found = [row for row in page.results if row.event.type.startswith(family)]
    latest = max((at for row in found if (at := row.at)), default=None)
    since = (latest - _OVERLAP).strftime(_FORMAT) if latest else ""
    entries = tuple(_entry(row) for row in found[:limit])
    return Events(entries, since, more=bool(page.next_page) or len(found) > limit)


def merged(pages: Sequence[Events], since: str) -> Events:
    """Merge the pages of all kinds. ``since`` never goes back: its format makes the later time the greater text.

    It is never later than now, either: one event of the future would hide all others until then.
    """
    latest = max(since, *(page.since for page in pages))
    return Events(
        entries=tuple(entry for page in pages for entry in page.entries),
        since=min(latest, datetime.now(UTC).strftime(_FORMAT)),
        more=any(page.more for page in pages),
    )


def _entry(row: EventRow) -> Event:
    event = row.event
    identity = row.event_id or f"{event.type} {event.timestamp} {event.resource.id}"
    return Event(identity[:_LONGEST_ID], event.type, event.resource.type, event.resource.id)


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    # Earlier times are none that Anchore has written, and ``strftime`` would not pad the first years.
    return time if time.year >= _FIRST_YEAR else None
