"""API v2 of the sandbox, and the differences between the two APIs."""

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
async def test_a_sandbox_serves_only_the_configured_apis(versions: list[str], path: str, expected: Any) -> None:
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
    ("/v2/images/latest", 400, "'latest' does not match '^sha256:[a-fA-F0-9]{64}$'"),
    (f"/v2/images/{UNKNOWN}/check?tag=a", 404, "image not found in DB"),
    ("{path}/check", 400, "Missing query parameter 'tag'"),
    ("{path}/check?tag=bad%20ref", 400, "cannot handle image input string"),
    ("{path}/check?tag=a&policy_id=none", 404, "Policy bundle none not found in DB"),
    ("{path}/check?tag=a&detail=perhaps", 400, "Wrong type, expected 'boolean' for query parameter 'detail'"),
    ("/v2/nosuch", 404, None),
]


@pytest.mark.parametrize(("path", "status", "message"), MISSING)
async def test_v2_rejects_these_requests(path: str, status: int, message: str | None) -> None:
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
    (finding,) = evaluation["details"]["findings"]
    assert set(finding) == {
        *("trigger_id", "gate", "trigger", "message", "action", "policy_id", "rule_id", "recommendation"),
        *("allowlisted", "allowlist_match", "inherited_from_base"),
    }
    assert brief["evaluations"] == [{**evaluation, "details": None}]


TYPO = {"x-anchore-account": "typo"}
ACCOUNT_CALLS = [
    ("GET", "/v2/images", None),
    ("GET", f"/v2/images/{UNKNOWN}", None),
    ("GET", f"/v2/images/{UNKNOWN}/check?tag=a", None),
    ("DELETE", f"/v2/images/{UNKNOWN}", None),
    ("GET", "/v2/policies", None),
    ("POST", "/v2/policies", {}),
    ("POST", "/v2/images", {"source": {"tag": {"pull_string": "r.io/a:1"}}}),
]


@pytest.mark.parametrize(("method", "path", "body"), ACCOUNT_CALLS)
async def test_an_unknown_account_is_rejected_and_leaves_nothing(method: str, path: str, body: Any) -> None:
    sandbox = Sandbox()

    refused = await sandbox.refused(method, path, headers=TYPO, json=body)

    assert refused == (404, "User account not found")
    assert await sandbox.get("/v1/images", headers=TYPO) == []


async def test_an_unknown_account_is_not_permitted_to_other_users() -> None:
    sandbox = Sandbox({"accounts": [{"name": "a", "users": [{"username": "ctl", "password": "secret"}]}]})

    status, message = await sandbox.refused("GET", "/v2/images", headers=TYPO, user=("ctl", "secret"))

    assert (status, message[:15]) == (403, "Not authorized.")


ONLY_V1 = [
    f"/images/by_id/{'0' * 64}",
    f"/images/by_id/{'0' * 64}/check?tag=a",
    "/system/error_codes",
    "/accounts/admin/state",
    "/swagger.json",
]


@pytest.mark.parametrize("path", ONLY_V1)
async def test_v2_has_no_paths_of_v1_alone(path: str) -> None:
    sandbox = Sandbox()

    answer = await sandbox.call("GET", f"/v2{path}")

    assert answer.status_code in (404, 405)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await sandbox.call("GET", f"/v1{path}")).headers["content-type"] == "application/json"


async def test_v1_has_no_paths_of_v2_alone() -> None:
    sandbox = Sandbox()

    assert (await sandbox.refused("GET", "/v1/system/error-codes"))[0] == 404
    assert len(await sandbox.get("/v2/system/error-codes")) == len(await sandbox.get("/v1/system/error_codes")) > 0


async def test_services_have_the_names_of_each_api() -> None:
    sandbox = Sandbox()

    for version, names in (("v1", {"servicename", "hostid"}), ("v2", {"service_name", "host_id"})):
        states = (await sandbox.get(f"/{version}/system"))["service_states"]
        assert len(states) == 5
        common = {"base_url", "status", "status_message", "version", "service_detail"}
        assert all(set(state) == common | names for state in states)


async def test_deleting_an_image_is_answered_in_v2s_words() -> None:
    sandbox = Sandbox({"images": [{"tag": "r.io/a:1"}, {"tag": "r.io/a:2"}]})
    one, two = (image["image_digest"] for image in (await sandbox.get("/v2/images"))["items"])
    detail = "Image is marked for deletion"

    single = await sandbox.call("DELETE", f"/v2/images/{one}")
    several = await sandbox.call("DELETE", "/v2/images", params={"image_digests": f"{two},{UNKNOWN}"})

    assert single.json() == {"image_digest": one, "status": "deleting", "detail": detail}
    assert several.json() == [
        {"image_digest": two, "status": "deleting", "detail": detail},
        {"image_digest": UNKNOWN, "status": "not_found", "detail": "Image not found"},
    ]
    assert await sandbox.refused("DELETE", f"/v2/images/{UNKNOWN}") == (404, "image not found in DB")
    assert (await sandbox.refused("DELETE", "/v2/images/latest"))[0] == 400
    for version, name in (("v1", "imageDigests"), ("v2", "image_digests")):
        refused = await sandbox.refused("DELETE", f"/{version}/images")
        assert refused == (400, f"Missing query parameter '{name}'")


async def test_a_digest_in_capitals_is_taken_and_not_found() -> None:
    """The description's pattern takes it; an Engine looks it up as it is written (recording 477)."""
    sandbox = Sandbox({"images": [{"tag": "r.io/a:1", "digest": f"sha256:{'a' * 64}"}]})
    path = f"/v2/images/sha256:{'A' * 64}"

    assert (await sandbox.get(path.lower()))["image_digest"] == f"sha256:{'a' * 64}"
    for refused in (
        await sandbox.refused("GET", path),
        await sandbox.refused("GET", f"{path}/check", params={"tag": "r.io/a:1"}),
        await sandbox.refused("DELETE", path),
    ):
        assert refused == (404, "image not found in DB")


async def test_images_are_filtered_by_id_and_by_the_time_of_their_analysis() -> None:
    sandbox = Sandbox({"analysisTime": 10, "images": [{"tag": "r.io/a:1"}, {"tag": "r.io/a:2", "state": "analyzing"}]})
    sandbox.clock.now += 60
    await sandbox.add("r.io/b:1")
    sandbox.clock.now += 10

    async def tags(**params: str) -> list[str]:
        found = (await sandbox.get("/v2/images", params=params))["items"]
        return [detail["full_tag"] for image in found for detail in image["image_detail"]]

    (one,) = (await sandbox.get("/v2/images", params={"full_tag": "r.io/a:1"}))["items"]
    image_id = one["image_detail"][0]["image_id"]
    assert await tags(image_id=image_id) == await tags(image_id=image_id, full_tag="r.io/a:1") == ["r.io/a:1"]
    assert await tags(analyzed_since="2026-11-23T11:50:46Z") == ["r.io/b:1"]
    assert await tags(analyzed_since="2026-11-23T11:50:47Z") == []
    assert await tags(analyzed_since="2026-11-23T11:49:36") == ["r.io/b:1", "r.io/a:1"]
    for params in ({"image_id": "0" * 64}, {"image_id": image_id, "full_tag": "r.io/b:1"}):
        assert (await sandbox.refused("GET", "/v2/images", params=params))[0] == 404
    assert (await sandbox.refused("GET", "/v2/images", params={"analyzed_since": "yesterday"}))[0] == 400
    for ignored in ({"image_id": image_id}, {"analyzed_since": "yesterday"}):
        assert len(await sandbox.get("/v1/images", params=ignored)) == 3


async def test_a_password_change_is_answered_with_the_credential() -> None:
    """Engine 1.1.0, controllers/accounts.py, create_user_credential: not with the user."""
    sandbox = Sandbox()
    path, body = "accounts/admin/users/admin/credentials", {"type": "password", "value": "changed"}
    sandbox.clock.now += 60

    answer = await sandbox.call("POST", f"/v1/{path}", json=body)

    credential = {"type": "password", "value": "*******", "created_at": "2026-11-23T11:50:36Z"}
    assert answer.json() == credential
    assert await sandbox.get(f"/v2/{path}", user=("admin", "changed")) == [credential]


async def test_users_and_accounts_have_the_fields_of_v2() -> None:
    sandbox = Sandbox()

    user, account = await sandbox.get("/v2/user"), await sandbox.get("/v2/account")

    assert (user["account_name"], user["idp_name"]) == ("admin", None)
    assert user["password_last_updated"] == user["created_at"]
    assert "email" not in account
    assert (await sandbox.get("/v1/account"))["email"] is None


async def test_an_account_that_exists_is_a_conflict_for_v2() -> None:
    """Recording 031 for v1."""
    sandbox = Sandbox()

    for version, status in (("v1", 400), ("v2", 409)):
        refused = await sandbox.refused("POST", f"/{version}/accounts", json={"name": "admin"})
        assert refused == (status, "Account already exists")


async def test_a_seed_may_change_the_words_of_v2s_404s() -> None:
    messages = {"imageNotFound": "Image not found", "notAnalyzed": "no analysis"}
    sandbox = Sandbox({"messages": messages, "images": [{"tag": IMAGE, "state": "analyzing"}]})
    (image,) = (await sandbox.get("/v2/images"))["items"]

    for path in ("/v2/images?full_tag=r.io/a:1", f"/v2/images/{UNKNOWN}", f"/v2/images/{UNKNOWN}/check?tag=a"):
        assert await sandbox.refused("GET", path) == (404, "Image not found")
    path = f"images/{image['image_digest']}/check?tag=a"
    assert await sandbox.refused("GET", f"/v2/{path}") == (404, "no analysis")
    assert await sandbox.refused("GET", f"/v1/{path}") == (404, "image is not analyzed - analysis_status: analyzing")
    assert await sandbox.refused("GET", f"/v1/images/{UNKNOWN}") == (404, "image not found in DB")
