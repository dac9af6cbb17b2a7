"""The sandbox's event log in both APIs."""

from typing import Any

import pytest

from support.anchore_recordings import recording
from support.anchore_stage import CVE, policy
from support.sandbox_calls import Sandbox

IMAGE = "docker.io/library/nginx:1.25"
OTHER = "docker.io/library/nginx:stable"
BROKEN = "docker.io/library/broken:1"
DIGEST = "sha256:" + "a1" * 32
SEED: dict[str, Any] = {
    "analysisTime": 10,
    "images": [{"tag": "docker.io/library/known:1"}, {"tag": BROKEN, "state": "analysis_failed"}],
    "policies": [{"policy": policy("strict"), "active": True}, {"policy": policy("lenient", "WARN")}],
    "registry": [
        {"tag": [IMAGE, OTHER], "digest": DIGEST, "findings": [CVE]},
    ],
}
VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])


async def events(sandbox: Sandbox, version: str = "v1", **query: str) -> list[dict[str, Any]]:
    listed = await sandbox.get(f"/{version}/events", params=query)
    assert listed["item_count"] == len(listed["results"])
    return [row["event"] for row in listed["results"]]


async def told(sandbox: Sandbox, version: str = "v1", **query: str) -> list[tuple[str, str | None]]:
    return [(event["type"], event["resource"]["id"]) for event in await events(sandbox, version, **query)]


async def analyzed(*tags: str) -> Sandbox:
    sandbox = Sandbox(SEED)
    for tag in tags:
        await sandbox.add(tag)
    sandbox.clock.now += 60
    return sandbox


COMPLETED = ("user.image.analysis.completed", IMAGE)


@VERSIONS
async def test_an_analysis_that_ends_is_an_event_for_each_tag(version: str) -> None:
    sandbox = Sandbox(SEED)
    await sandbox.add(IMAGE)
    assert await told(sandbox, version) == []
    sandbox.clock.now += 60
    assert await told(sandbox, version) == [COMPLETED]
    await sandbox.add(OTHER)
    assert await told(sandbox, version) == [("user.image.analysis.completed", OTHER), COMPLETED]
    assert await told(sandbox, version) == [("user.image.analysis.completed", OTHER), COMPLETED]


async def test_every_analysis_is_an_event_even_if_nobody_looked_in_between() -> None:
    sandbox = await analyzed(IMAGE)
    await sandbox.add(IMAGE, force="true")
    sandbox.clock.now += 60
    assert await told(sandbox) == [COMPLETED, COMPLETED]


async def test_a_failed_analysis() -> None:
    sandbox = await analyzed(BROKEN)
    (event,) = await events(sandbox, level="error")
    assert (event["type"], event["resource"]["id"]) == ("user.image.analysis.failed", BROKEN)


@VERSIONS
async def test_the_time_of_an_event_is_that_of_the_end_of_the_analysis(version: str) -> None:
    sandbox = await analyzed(IMAGE)
    (row,) = (await sandbox.get(f"/{version}/events"))["results"]
    assert row["event"]["timestamp"] == "2026-11-23T11:49:46.000000Z"
    assert row["created_at"] == "2026-11-23T11:49:46.100000Z"
    for since, expected in (("2026-11-23T11:49:45.999999Z", [COMPLETED]), (row["event"]["timestamp"], [])):
        assert await told(sandbox, version, since=since) == expected
    for before, expected in (("2026-11-23T11:49:46.000001Z", [COMPLETED]), (row["event"]["timestamp"], [])):
        assert await told(sandbox, version, before=before) == expected


async def test_only_the_active_policy_has_events() -> None:
    sandbox = Sandbox(SEED)

    async def put(name: str, action: str, *, active: bool = False) -> None:
        body = {"policybundle": policy(name, action), "policyId": name, "active": active}
        answer = await sandbox.call("PUT", f"/v1/policies/{name}", json=body)
        assert answer.status_code == 200, answer.text

    await put("lenient", "STOP")
    assert await told(sandbox) == []
    await put("strict", "STOP")
    assert await told(sandbox) == []
    await put("strict", "WARN")
    assert await told(sandbox) == [("user.policy.active.content_change", None)]
    sandbox.clock.now += 1
    await put("lenient", "STOP", active=True)
    (event, _) = await events(sandbox)
    assert (event["type"], event["resource"]["type"]) == ("user.policy.active.updated", "policy_bundle")
    assert event["details"] == {"last_policy_bundle_id": "strict", "current_policy_bundle_id": "lenient"}


async def test_a_changed_result_is_an_event_only_if_checks_are_stored() -> None:
    sandbox = await analyzed(IMAGE)

    async def check(policy_id: str, interactive: str) -> None:
        query = {"tag": IMAGE, "policyId": policy_id, "interactive": interactive}
        await sandbox.get(f"/v1/images/{DIGEST}/check", params=query)

    for interactive in ("true", "false"):
        await check("strict", interactive)
    await check("lenient", "true")
    assert await told(sandbox, event_type="user.checks.*") == []
    await check("lenient", "false")
    assert await told(sandbox, event_type="user.checks.*") == [("user.checks.tag.policy_evaluation.update", IMAGE)]
    (event,) = await events(sandbox, event_type="user.checks.*")
    assert [event["details"][name]["status"] for name in ("last_eval", "curr_eval")] == ["fail", "pass"]


@pytest.mark.parametrize(
    ("version", "pattern", "count"),
    [
        ("v1", "user.image.*", 1),
        ("v1", "USER.Image.*", 1),
        ("v1", "user.image.", 0),
        ("v1", "user.image.analysis.completed", 1),
        ("v1", "*.completed", 1),
        ("v2", "user.image.", 1),
        ("v2", "user.image.*", 0),
        ("v2", "user.policy.", 0),
    ],
)
async def test_the_filter_by_type_differs(version: str, pattern: str, count: int) -> None:
    sandbox = await analyzed(IMAGE)
    assert len(await told(sandbox, version, event_type=pattern)) == count


async def test_pages() -> None:
    sandbox = await analyzed(IMAGE, OTHER)
    first = await sandbox.get("/v1/events", params={"limit": "1"})
    assert (first["next_page"], first["item_count"], first["page"]) == (True, 1, 1)
    second = await sandbox.get("/v1/events", params={"limit": "1", "page": "2"})
    assert (second["next_page"], second["item_count"], second["page"]) == (False, 1, 2)
    assert first["results"] != second["results"]


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "1001"}, {"page": "0"}, {"page": "x"}, {"since": "soon"}])
async def test_bad_parameters(query: dict[str, str]) -> None:
    assert (await Sandbox(SEED).refused("GET", "/v1/events", params=query))[0] == 400


async def test_each_account_has_its_own_log() -> None:
    sandbox = await analyzed(IMAGE)
    assert await sandbox.get("/v1/events", headers={"x-anchore-account": "other"}) == {
        "results": [],
        "next_page": False,
        "item_count": 0,
        "page": 1,
    }


async def test_events_have_the_keys_of_a_real_engines() -> None:
    """Recording 367; what ``details`` holds depends on the kind of event."""
    sandbox = await analyzed(BROKEN)
    recorded = recording("367")["response"]["body"]
    shown = await sandbox.get("/v1/events", params={"level": "error", "limit": "5"})

    def shape(value: Any) -> Any:
        return {key: shape(part) for key, part in value.items()} if isinstance(value, dict) else ...

    assert shown.keys() == recorded.keys()
    first, expected = shown["results"][0], recorded["results"][0]
    assert shape({**first, "details": None}) == shape({**expected, "details": None})
    assert (first["event"]["type"], first["event"]["level"]) == (expected["event"]["type"], "error")
