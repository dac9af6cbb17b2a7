"""Faults of the sandbox: it misbehaves as configured."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import Message

from support.sandbox_calls import ADMIN, Sandbox

IMAGE = "docker.io/library/nginx:1.25"
SEED: dict[str, Any] = {"images": [{"tag": IMAGE}]}


async def faulty_sandbox(*faults: dict[str, Any]) -> Sandbox:
    sandbox = Sandbox(SEED)
    answer = await sandbox.call("PUT", "/sandbox/faults", json=list(faults), user=None)
    assert answer.status_code == 200, answer.text
    return sandbox


async def statuses(sandbox: Sandbox, *calls: tuple[str, str]) -> list[int]:
    return [(await sandbox.call(method, path)).status_code for method, path in calls]


async def test_a_slow_call_answers_after_its_delay() -> None:
    sandbox = await faulty_sandbox({"mode": "slow", "delay": 2.5})

    assert await statuses(sandbox, ("GET", "/v1/images"), ("GET", "/v2/images")) == [200, 200]
    assert sandbox.waited == [2.5, 2.5]


async def test_a_failing_call_responds_with_the_configured_status() -> None:
    sandbox = await faulty_sandbox({"mode": "fail", "status": 503, "delay": 1})

    refused = await sandbox.refused("GET", "/v2/version", user=None)

    assert refused == (503, "a fault of the sandbox: 503")
    assert sandbox.waited == [1]


async def test_a_login_proxy_answers_html() -> None:
    sandbox = await faulty_sandbox({"mode": "html"})

    answer = await sandbox.call("GET", "/v1/images")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "sandbox" in answer.text


async def test_a_hanging_call_ends_without_an_answer_when_the_client_leaves(caplog: pytest.LogCaptureFixture) -> None:
    sandbox = await faulty_sandbox({"mode": "hang"})
    sent: list[Message] = []
    messages: Iterator[Message] = iter(
        [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
    )

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/v1/images", "query_string": b"", "headers": []}
    with caplog.at_level(logging.INFO):
        await sandbox.app(scope, receive, send)

    assert sent == []
    assert "no response" in caplog.text
    assert "fault=hang" in caplog.text


SCOPES = [
    ({"paths": "/images"}, "GET", "/v1/images", True),
    ({"paths": ["/images"]}, "GET", "/images", True),
    ({"paths": ["/v1/images"]}, "GET", "/images", True),
    ({"paths": ["/v2/images"]}, "GET", "/v1/images", False),
    ({"paths": ["/images/*/check"]}, "GET", "/v1/images", False),
    ({"paths": ["/images/*/check"]}, "GET", f"/v2/images/sha256:{'0' * 64}/check", True),
    ({"paths": ["/policies"]}, "GET", "/v1/images", False),
    ({"methods": ["POST"]}, "GET", "/v1/images", False),
    ({"methods": ["POST", "GET"]}, "GET", "/v1/images", True),
    ({}, "GET", "/sandbox", False),
]


@pytest.mark.parametrize(("limits", "method", "path", "meant"), SCOPES)
async def test_a_fault_is_for_the_calls_it_names(limits: dict[str, Any], method: str, path: str, meant: bool) -> None:
    sandbox = await faulty_sandbox({"mode": "fail", "status": 599, **limits})

    assert ((await sandbox.call(method, path)).status_code == 599) is meant


async def test_a_fault_can_be_for_a_number_of_calls_and_the_first_rule_wins() -> None:
    sandbox = await faulty_sandbox(
        {"mode": "fail", "status": 502, "times": 2}, {"mode": "fail", "status": 503, "times": 1}
    )

    assert await statuses(sandbox, *[("GET", "/v1/images")] * 4) == [502, 502, 503, 200]
    assert [f["left"] for f in (await sandbox.get("/sandbox/faults"))["faults"]] == [0, 0]


async def test_faults_are_shown_and_cleared() -> None:
    sandbox = await faulty_sandbox({"mode": "fail", "status": 503, "paths": ["/images"]})

    shown = await sandbox.get("/sandbox/faults", user=None)
    cleared = await sandbox.call("DELETE", "/sandbox/faults", user=None)

    assert shown == {"faults": [{"mode": "fail", "status": 503, "paths": ["/images"], "left": None}]}
    assert cleared.json() == {"faults": []}
    assert await statuses(sandbox, ("GET", "/v1/images")) == [200]


async def test_faults_come_from_the_seed_too() -> None:
    sandbox = Sandbox({"faults": [{"mode": "fail", "status": 500, "paths": "/images"}]})

    assert await statuses(sandbox, ("GET", "/v1/images"), ("GET", "/v1/policies")) == [500, 200]


WRONG = [
    ({"mode": "sulk"}, "mode"),
    ({"mode": "slow"}, "mode slow needs a delay"),
    ({"mode": "fail", "status": 200}, "status"),
    ({"mode": "hang", "extra": 1}, "extra"),
    ({"mode": "slow", "delay": -1}, "delay"),
    ("hang", "[0]: "),
    (None, "[0]: "),
    ([{"mode": "hang"}] * 101, "at most 100 items"),
]


@pytest.mark.parametrize(("body", "problem"), WRONG)
async def test_a_wrong_fault_is_rejected_and_the_old_ones_stay(body: Any, problem: str) -> None:
    sandbox = await faulty_sandbox({"mode": "fail", "status": 503})

    answer = await sandbox.call("PUT", "/sandbox/faults", json=body)

    assert answer.status_code == 400
    assert any(problem in line for line in answer.json()["problems"])
    assert await statuses(sandbox, ("GET", "/v1/images")) == [503]


async def test_a_policy_engine_that_is_down_fails_only_calls_that_need_it() -> None:
    sandbox = await faulty_sandbox({"mode": "policyEngineDown"})
    (image,) = await sandbox.get("/v1/images")
    path = f"/v2/images/{image['imageDigest']}/check"

    assert await sandbox.refused("GET", path, params={"tag": IMAGE}) == (
        404,
        "could not find any evaluations for input images",
    )
    assert (await sandbox.get("/v2/policies"))[0]["active"] is True
    unknown = await sandbox.refused("GET", f"/v2/images/sha256:{'0' * 64}/check", params={"tag": IMAGE})
    assert unknown == (404, "image not found in DB")


async def test_a_database_that_is_down_makes_right_credentials_wrong() -> None:
    sandbox = await faulty_sandbox({"mode": "databaseDown"})

    assert (await sandbox.call("GET", "/v2/images", user=ADMIN)).text == "Unauthorized"
    assert (await sandbox.call("GET", "/v2/version", user=None)).status_code == 200


async def test_a_registry_that_is_down_rejects_adds() -> None:
    sandbox = await faulty_sandbox({"mode": "registryDown"})

    answer = await sandbox.call("POST", "/v2/images", json={"source": {"tag": {"pull_string": IMAGE}}})

    assert answer.json()["detail"]["error_codes"] == ["REGISTRY_NOT_ACCESSIBLE"]


async def test_a_tag_is_moved_and_made_an_error_at_run_time() -> None:
    sandbox = Sandbox()
    first = await sandbox.add("r.io/a:1")
    other = f"sha256:{'b' * 64}"

    moved = await sandbox.call("PUT", "/sandbox/registry", json={"tag": "r.io/a:1", "digest": other})
    assert moved.json() == await sandbox.get("/sandbox/registry") == {"tags": {"r.io/a:1": other}}
    assert first["imageDigest"] != (await sandbox.add("r.io/a:1"))["imageDigest"] == other

    await sandbox.call("PUT", "/sandbox/registry", json={"tag": "r.io/a:1", "error": "REGISTRY_PERMISSION_DENIED"})
    assert (await sandbox.refused("POST", "/v1/images", json={"tag": "r.io/a:1"}))[0] == 400
    wrong = await sandbox.call("PUT", "/sandbox/registry", json={"tag": "r.io/a@sha256:x"})
    assert wrong.status_code == 400


async def test_a_tag_is_moved_to_another_manifest_list_at_run_time() -> None:
    sandbox = Sandbox({"registry": [{"tag": "r.io/a:1", "digest": f"sha256:{'1' * 64}"}]})
    child, listed = f"sha256:{'b' * 64}", f"sha256:{'c' * 64}"
    before = await sandbox.add("r.io/a:1")

    moved = {"tag": "r.io/a:1", "digest": child, "parentDigest": listed}
    assert (await sandbox.call("PUT", "/sandbox/registry", json=moved)).status_code == 200
    added = await sandbox.add("r.io/a:1")

    assert before["parentDigest"] == before["imageDigest"] == f"sha256:{'1' * 64}"
    assert (added["imageDigest"], added["parentDigest"]) == (child, listed)


async def test_the_log_says_sandbox_and_holds_no_credentials(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "anchore_admission.sandbox"):
        sandbox = Sandbox()
        await sandbox.call("GET", "/v1/images", params={"fulltag": "a\nb"})

    first, second = caplog.records
    assert (first.levelname, "not Anchore" in first.message) == ("WARNING", True)
    assert second.message.startswith("sandbox GET /v1/images?fulltag=a%0Ab 400")
    assert "foobar" not in caplog.text
