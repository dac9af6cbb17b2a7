"""The event log: a recorded response of Anchore Engine, the requests for it, and strange events."""

import logging
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from anchore_admission.core.hints import Event, Events
from anchore_admission.errors import AnchoreRefused, AnchoreResponseInvalid, AnchoreResponseTooLarge, EvaluationError
from anchore_admission.models.configuration import ApiVersion
from support.anchore_calls import Played, client, deadline, error, page
from support.anchore_recordings import recording

ANALYSIS, POLICY, CHECKS = "user.image.analysis.", "user.policy.active.", "user.checks.tag."
AT = "2026-11-23T11:54:03.509241Z"
VERSIONS = pytest.mark.parametrize("version", [ApiVersion.V1, ApiVersion.V2])


def row(version: ApiVersion, kind: str = f"{ANALYSIS}completed", identity: Any = "e1", **more: Any) -> dict[str, Any]:
    """One row of the log; ``more`` replaces members of the event."""
    resource = {"id": "r.example.com/a:1", "type": "image_tag"}
    event = {"type": kind, "timestamp": AT, "resource": resource, **more}
    name = "generated_uuid" if version is ApiVersion.V1 else "event_id"
    return {name: identity, "created_at": "2026-11-23T11:54:03.609790Z", "event": event}


def listing(*rows: Any, more: Any = False) -> dict[str, Any]:
    return {"results": rows, "next_page": more, "item_count": len(rows), "page": 1}


def query(request: httpx.Request) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs(request.url.query.decode()).items()}


def log(**kinds: Any) -> Played:
    """An Anchore with these responses to requests for events of one kind each; to others it lists none."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked = query(request)["event_type"].rstrip("*")
        found = {ANALYSIS: "analysis", POLICY: "policy", CHECKS: "checks"}[asked]
        body = kinds.get(found, listing())
        if callable(body):
            body = body(int(query(request)["limit"]))
        return body if isinstance(body, httpx.Response) else httpx.Response(200, json=body)

    return Played(answer)


async def listed(anchore: Played, version: ApiVersion, since: str = "") -> Events:
    return await client(anchore.transport(), version).events(since, deadline())


@pytest.mark.parametrize(("version", "star"), [(ApiVersion.V1, "*"), (ApiVersion.V2, "")])
async def test_each_kind_is_requested_by_itself(version: ApiVersion, star: str) -> None:
    anchore = log()
    assert await listed(anchore, version) == Events((), "")
    assert [query(request) for request in anchore.asked] == [
        {"event_type": f"{ANALYSIS}{star}", "page": "1", "limit": "100"},
        {"event_type": f"{POLICY}{star}", "page": "1", "limit": "10"},
        {"event_type": f"{CHECKS}{star}", "page": "1", "limit": "20"},
    ]
    assert set(anchore.paths) == {f"/{version}/events"}
    await listed(anchore, version, "2026-11-23T11:53:03.509241Z")
    assert {query(request)["since"] for request in anchore.asked[3:]} == {"2026-11-23T11:53:03.509241Z"}


async def test_a_recorded_log_of_anchore_engine() -> None:
    """The recording has errors of every kind, as an Anchore lists that does not know ``event_type``."""
    body = recording("367")["response"]["body"]
    found = await listed(log(analysis=body | {"next_page": False}), ApiVersion.V1)
    assert found == Events(
        (
            Event(
                "2672db92f8534cd6907ddbc8570b8171",
                "user.image.analysis.failed",
                "image_tag",
                "127.0.0.1:5000/demo/broken:1.0",
            ),
            Event(
                "e81ad1b023ea43b7a8f4d5789a64245c",
                "user.image.analysis.failed",
                "image_tag",
                "127.0.0.1:5000/demo/ocimulti:1.0",
            ),
        ),
        since="2026-11-23T11:53:03.509241Z",
    )
    assert (await listed(log(analysis=body), ApiVersion.V1)).more


@VERSIONS
async def test_all_kinds_together(version: ApiVersion) -> None:
    policy = row(version, f"{POLICY}updated", "p1", resource={"id": None, "type": "policy_bundle"})
    check = row(version, f"{CHECKS}policy_evaluation.update", "c1", details={"last_eval": {"a": 1}})
    anchore = log(analysis=listing(row(version)), policy=listing(policy), checks=listing(check))
    assert (await listed(anchore, version)).entries == (
        Event("e1", f"{ANALYSIS}completed", "image_tag", "r.example.com/a:1"),
        Event("p1", f"{POLICY}updated", "policy_bundle", ""),
        Event("c1", f"{CHECKS}policy_evaluation.update", "image_tag", "r.example.com/a:1"),
    )


@pytest.mark.parametrize("kind", ["analysis", "policy", "checks"])
async def test_another_page_means_that_some_are_missing(kind: str) -> None:
    assert (await listed(log(**{kind: listing(more=True)}), ApiVersion.V1)).more
    assert not (await listed(log(**{kind: listing(more=None)}), ApiVersion.V1)).more


async def test_an_anchore_that_ignores_the_limit() -> None:
    rows = [row(ApiVersion.V1, identity=f"e{number}") for number in range(101)]
    found = await listed(log(analysis=listing(*rows)), ApiVersion.V1)
    assert (len(found.entries), found.more) == (100, True)


@VERSIONS
async def test_an_event_of_the_future_hides_no_other(version: ApiVersion) -> None:
    future = row(version, timestamp="2999-01-01T00:00:00Z") | {"created_at": "2999-01-01T00:00:00Z"}
    assert "2026-" < (await listed(log(analysis=listing(future)), version)).since < "2998-"


class TestLarge:
    @VERSIONS
    async def test_the_newest_event_alone_tells_where_to_go_on(self, version: ApiVersion) -> None:
        """Evaluations with all findings fill these events."""
        large = row(version, f"{CHECKS}policy_evaluation.update", details={"last_eval": "x" * 600_000})
        anchore = log(checks=lambda limit: listing(*[large] * min(limit, 5)))
        found = await listed(anchore, version)
        assert (len(found.entries), found.since, found.more) == (1, "2026-11-23T11:53:03.509241Z", True)
        assert [query(request)["limit"] for request in anchore.asked][2:] == ["20", "1"]

    async def test_one_event_that_is_too_large(self) -> None:
        large = row(ApiVersion.V1, f"{CHECKS}policy_evaluation.update", details={"last_eval": "x" * 1024 * 1024})
        with pytest.raises(AnchoreResponseTooLarge):
            await listed(log(checks=listing(large)), ApiVersion.V1)


class TestTimes:
    @pytest.mark.parametrize(
        ("timestamp", "created_at", "since"),
        [
            ("2026-11-23T11:54:03Z", "2026-11-23T11:54:03.1Z", "2026-11-23T11:53:03.000000Z"),
            ("2026-11-23T11:54:03", "2026-11-23T11:54:04", "2026-11-23T11:53:03.000000Z"),
            ("2026-11-23T13:54:03+02:00", None, "2026-11-23T11:53:03.000000Z"),
            ("2031-01-01T00:00:00Z", "2026-11-23T11:54:03Z", "2026-11-23T11:53:03.000000Z"),
            (None, "2026-11-23T11:54:03Z", "2026-11-23T11:53:03.000000Z"),
            ("yesterday", "", ""),
            (None, None, ""),
            ("0001-01-01T00:00:00Z", None, ""),
            ("9999-12-31T23:59:59-23:00", None, ""),
            (1795434843, 1795434843, ""),
        ],
    )
    async def test_of_one_event(self, timestamp: Any, created_at: Any, since: str) -> None:
        event = row(ApiVersion.V1, timestamp=timestamp) | {"created_at": created_at}
        found = await listed(log(analysis=listing(event)), ApiVersion.V1)
        assert (found.since, len(found.entries)) == (since, 1)

    async def test_the_latest_of_all_kinds_counts_and_never_goes_back(self) -> None:
        late = row(ApiVersion.V1, f"{CHECKS}policy_evaluation.update", "c", timestamp="2026-11-23T11:54:03.6Z")
        anchore = log(analysis=listing(row(ApiVersion.V1)), checks=listing(late))
        assert (await listed(anchore, ApiVersion.V1)).since == "2026-11-23T11:53:03.600000Z"
        later = "2026-11-23T12:00:00.000000Z"
        assert (await listed(anchore, ApiVersion.V1, later)).since == later


@VERSIONS
@pytest.mark.parametrize(
    "strange",
    [
        {"identity": None},
        {"identity": 7},
        {"identity": "x" * 5000},
        {"resource": None},
        {"resource": "text"},
        {"resource": {"id": 7, "type": None}},
        {"details": [[[]]], "level": {}},
    ],
)
async def test_a_strange_event_does_not_hide_the_others(version: ApiVersion, strange: dict[str, Any]) -> None:
    others = [{}, {"event": None}, {"event": "text"}, {"event": {"type": ["a"]}}]
    anchore = log(analysis=listing(row(version, **strange), *others, row(version, identity="sane")))
    first, second = (await listed(anchore, version)).entries
    assert 0 < len(first.id) <= 200
    assert second == Event("sane", f"{ANALYSIS}completed", "image_tag", "r.example.com/a:1")


@VERSIONS
@pytest.mark.parametrize("body", [[], {}, {"results": None}, {"results": [[]]}, {"results": {}}, "events", None])
async def test_a_response_that_is_no_list_of_events(version: ApiVersion, body: Any) -> None:
    with pytest.raises(AnchoreResponseInvalid):
        await listed(log(analysis=httpx.Response(200, json=body)), version)


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (page(), AnchoreResponseInvalid),
        (error(403, "Not authorized. Requires permissions: domain=a action=listEvents target=*"), AnchoreRefused),
        (error(404, "events not found in DB"), AnchoreResponseInvalid),
        (error(400, "bad"), AnchoreResponseInvalid),
    ],
)
async def test_a_failure_is_the_callers_to_report(
    response: httpx.Response, kind: type[EvaluationError], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(kind):
        await listed(log(checks=response), ApiVersion.V1)
    assert not [record for record in caplog.records if record.name == "anchore_admission.anchore"]
