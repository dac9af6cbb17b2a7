"""The event log: list."""

from collections.abc import Iterator

from fastapi.responses import Response

from anchore_admission.sandbox.calls import Call, Operation, respond
from anchore_admission.sandbox.events import Event
from anchore_admission.sandbox.responses import AnchoreError

_MOST = 1000


async def list_events(call: Call) -> Response:
    """List events, newest first. Like Anchore, ignore the parameters of the other API."""
    page, limit = _number(call, "page", 1), _number(call, "limit", 100)
    if page < 1:
        raise AnchoreError(400, "page must be a valid integer greater than 0")
    if not 1 <= limit <= _MOST:
        raise AnchoreError(400, f"limit must be valid integer between 1 and {_MOST}")
    tenant, now = call.tenant, call.world.clock()
    tenant.events.announce_analyses(tenant.images.all(now), now, call.world.analysis_time)
    found = list(_filtered(call, tenant.events.newest_first()))
    first = (page - 1) * limit
    shown = [call.api.event(call.account, event) for event in found[first : first + limit]]
    following = len(found) > first + limit
    return respond({"results": shown, "next_page": following, "item_count": len(shown), "page": page})


def _filtered(call: Call, events: list[Event]) -> Iterator[Event]:
    since, before = call.time("since"), call.time("before")
    equal = {name: value for name in ("level", "resource_type", "resource_id") if (value := call.query(name))}
    pattern = (call.query("event_type") or "").lower()
    for event in events:
        kind, identity = event.resource
        actual = {"level": event.level, "resource_type": kind, "resource_id": identity}
        if (
            (since is None or event.at > since)
            and (before is None or event.at < before)
            and (not pattern or call.api.matches_event(pattern, event.type))
            and equal.items() <= actual.items()
        ):
            yield event


def _number(call: Call, name: str, default: int) -> int:
    text = call.query(name)
    try:
        return default if text is None else int(text)
    except ValueError as error:
        raise AnchoreError(400, f"Wrong type, expected 'integer' for query parameter '{name}'") from error


OPERATIONS = (Operation("GET", "/events", "listEvents", list_events),)
