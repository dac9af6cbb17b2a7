"""API v2 of the sandbox, and how the two APIs are told apart."""

from typing import Any

import pytest

from support.sandbox_calls import Sandbox

IMAGE = "docker.io/library/nginx:1.25"
UNKNOWN = f"sha256:{'0' * 64}"
V1_VERSION = {"service": {"version": "1.1.0"}, "api": {}, "db": {"schema_version": "0.0.16"}, "sandbox": True}
V2_VERSION = {
    "service": {"version": "5.0.0"},
    "api": {"version": "2"},
    "db": {"schema_version": "500"},
    "sandbox": True,
}

VERSIONS = [
    (["v1", "v2"], "/version", V1_VERSION),
    (["v1", "v2"], "/v1/version", V1_VERSION),
    (["v1", "v2"], "/v2/version", V2_VERSION),
    (["v1"], "/version", V1_VERSION),
    (["v1"], "/v2/version", 404),
    (["v2"], "/v2/version", V2_VERSION),
    (["v2"], "/version", V2_VERSION),
    (["v2"], "/v1/version", 404),
    (["v2"], "/images", 404),
    (["v2"], "/", 404),
    (["v2"], "/health", "ok"),
    (["v2"], "/v2", "v2"),
    (["v2"], "/v2/", "v2"),
    (["v1"], "/", "v1"),
    (["v1"], "/v1/v1/version", 404),
]


@pytest.mark.parametrize(("versions", "path", "expected"), VERSIONS)
async def test_a_sandbox_serves_the_apis_it_was_told_to(versions: list[str], path: str, expected: Any) -> None:
    answer = await Sandbox({"apiVersions": versions}).call("GET", path, user=None)

    assert answer.headers["x-anchore-sandbox"] == "true"
    if expected == 404:
        assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")
        assert answer.headers["content-type"] == "application/problem+json"
    else:
        assert (answer.status_code, answer.json()) == (200, expected)


@pytest.mark.parametrize("path", ["/status", "/v1/status", "/v2/status"])
async def test_the_status_says_that_this_is_a_sandbox(path: str) -> None:
    sandbox = Sandbox()

    status = await sandbox.get(path)

    assert (status["up"], status["message"], status["detail"]) == (True, "all good (sandbox)", {"sandbox": True})
    assert (await sandbox.call("GET", path, user=None)).status_code == 401
    assert (await sandbox.get("/sandbox", user=None))["sandbox"] is True


IMAGE_KEYS = {
    *("image_digest", "parent_digest", "account_name", "analysis_status", "image_status", "created_at"),
    *("last_updated", "analyzed_at", "annotations", "image_content", "image_detail", "image_type", "record_version"),
}
DETAIL_KEYS = {
    *("full_tag", "full_digest", "registry", "repo", "tag", "digest", "image_id", "image_digest"),
    *("created_at", "last_updated", "tag_detected_at", "dockerfile", "account_name"),
}


async def test_images_have_the_names_of_v2() -> None:
    sandbox = Sandbox({"images": [{"tag": IMAGE, "parentDigest": UNKNOWN}]})

    listed = await sandbox.get("/v2/images", params={"full_tag": IMAGE})
    by_list_digest = await sandbox.get(f"/v2/images/{UNKNOWN}")

    (image,) = listed["items"]
    assert image == by_list_digest
    assert set(image) == IMAGE_KEYS
    assert set(image["image_detail"][0]) == DETAIL_KEYS
    assert image["image_digest"] != image["parent_digest"] == UNKNOWN
    assert image["image_detail"][0]["full_tag"] == IMAGE


async def test_parameters_of_v1_widen_the_question_of_v2() -> None:
    sandbox = Sandbox({"images": [{"tag": IMAGE}, {"tag": "r.io/a:1"}]})

    for params in ({"fulltag": IMAGE}, {"full_tag": ""}, {}):
        assert len((await sandbox.get("/v2/images", params=params))["items"]) == 2


MISSING = [
    ("/v2/images?full_tag=r.io/none:1", 404, "image data not found in DB"),
    (f"/v2/images/{UNKNOWN}", 404, "image not found in DB"),
    ("/v2/images/latest", 400, "'latest' does not match 'sha256:[0-9a-f]{64}'"),
    (f"/v2/images/{UNKNOWN}/check?tag=a", 404, "image not found in DB"),
    ("{path}/check", 400, "Missing query parameter 'tag'"),
    ("{path}/check?tag=bad%20ref", 400, "cannot handle image input string"),
    ("{path}/check?tag=a&policy_id=none", 404, "Policy bundle none not found in DB"),
    ("{path}/check?tag=a&detail=perhaps", 400, "Wrong type, expected 'boolean' for query parameter 'detail'"),
    ("/v2/nosuch", 404, None),
]


@pytest.mark.parametrize(("path", "status", "message"), MISSING)
async def test_what_v2_refuses(path: str, status: int, message: str | None) -> None:
    sandbox = Sandbox({"images": [{"tag": IMAGE}]})
    (image,) = (await sandbox.get("/v2/images"))["items"]

    refused = await sandbox.refused("GET", path.format(path=f"/v2/images/{image['image_digest']}"))

    assert refused[0] == status
    assert message is None or refused[1] == message


async def test_an_image_that_is_not_analyzed_cannot_be_checked() -> None:
    sandbox = Sandbox({"analysisTime": 10})
    image = await sandbox.add(IMAGE, version="v2")
    path = f"/v2/images/{image['image_digest']}/check"

    refused = [await sandbox.refused("GET", path, params={"tag": IMAGE})]
    sandbox.clock.now += 5
    refused.append(await sandbox.refused("GET", path, params={"tag": IMAGE}))
    sandbox.clock.now += 5

    assert refused == [(404, f"image is not analyzed - analysis_status: {s}") for s in ("not_analyzed", "analyzing")]
    assert (await sandbox.get(path, params={"tag": IMAGE}))["evaluations"][0]["status"] == "pass"


async def test_a_check_has_the_shape_of_v2() -> None:
    finding = {"id": "CVE-1", "severity": "high", "package": "openssl"}
    sandbox = Sandbox({"images": [{"tag": IMAGE, "findings": [finding]}]})
    (image,) = (await sandbox.get("/v2/images"))["items"]
    path = f"/v2/images/{image['image_digest']}/check"

    body = await sandbox.get(path, params={"tag": "library/nginx:1.25"})
    brief = await sandbox.get(path, params={"tag": IMAGE, "detail": "false"})

    assert set(body) == {"policy_id", "image_digest", "evaluated_tag", "evaluations"}
    assert (body["evaluated_tag"], body["policy_id"]) == (IMAGE, "2c53a13c-1765-11e8-82ef-23527761d060")
    (evaluation,) = body["evaluations"]
    assert set(evaluation) == {
        *("status", "final_action", "final_action_reason", "evaluation_time", "evaluation_problems"),
        *("number_of_findings", "image_allowlisted", "image_denylisted", "image_mapped_to_rule"),
        *("matched_allowlisted_images_rule", "matched_denylisted_images_rule", "matched_mapping_rule"),
        *("comparison_image_digest", "details"),
    }
    assert set(evaluation["details"]) == {"policy", "findings", "remediations", "policy_action"}
    (told,) = evaluation["details"]["findings"]
    assert set(told) == {
        *("trigger_id", "gate", "trigger", "message", "action", "policy_id", "rule_id", "recommendation"),
        *("allowlisted", "allowlist_match", "inherited_from_base"),
    }
    assert brief["evaluations"] == [{**evaluation, "details": None}]
