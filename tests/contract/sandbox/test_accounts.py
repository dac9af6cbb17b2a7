"""Accounts of the sandbox and their access rights."""

import base64

import pytest

from support.sandbox_calls import Sandbox

CTL = ("ctl", "secret-ctl")
SEED = {
    "accounts": [
        {"name": "admin", "users": [{"username": "admin", "password": "foobar", "apiKeys": ["key-1", "key-2"]}]},
        {"name": "team-a", "users": [{"username": "ctl", "password": "secret-ctl", "apiKeys": ["key-3"]}]},
    ],
    "images": [{"tag": "r.io/a:1", "account": "team-a"}, {"tag": "r.io/b:1"}],
}

CREDENTIALS = [
    (("admin", "foobar"), "admin"),
    (CTL, "team-a"),
    (("_api_key", "key-2"), "admin"),
    (("_api_key", "key-3"), "team-a"),
    (("_api_key", "key-4"), None),
    (("_api_key", "foobar"), None),
    (("admin", "key-1"), None),
    (("admin", ""), None),
    (("ctl", "foobar"), None),
    (None, None),
]


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(("user", "account"), CREDENTIALS)
async def test_credentials_name_the_account(user: tuple[str, str] | None, account: str | None, version: str) -> None:
    answer = await Sandbox(SEED).call("GET", f"/{version}/account", user=user)

    if account is None:
        assert (answer.status_code, answer.text) == (401, "Unauthorized")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["www-authenticate"].startswith("basic")
    else:
        assert answer.json()["name"] == account


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !", "Basic /w==", "Bearer x", f"Basic {base64.b64encode(b'admin').decode()}"]
)
async def test_credentials_that_cannot_be_read_are_a_401(header: str) -> None:
    answer = await Sandbox(SEED).call("GET", "/v1/images", user=None, headers={"authorization": header})

    assert answer.status_code == 401


async def test_images_and_policies_belong_to_an_account() -> None:
    sandbox = Sandbox(SEED)

    async def tags(**options: object) -> list[str]:
        return [d["fulltag"] for i in await sandbox.get("/v1/images", **options) for d in i["image_detail"]]

    team_a = {"x-anchore-account": "team-a"}
    assert await tags() == ["r.io/b:1"]
    assert await tags(user=CTL) == await tags(headers=team_a) == ["r.io/a:1"]
    assert await tags(headers={"x-anchore-account": "no-such-account"}) == []
    assert await sandbox.refused("GET", "/v2/policies", user=CTL, headers={"x-anchore-account": "admin"}) == (
        403,
        "Not authorized. Requires permissions: domain=admin action=listPolicies target=*",
    )


async def test_an_admin_may_write_to_an_account_that_does_not_exist_but_has_no_policy_there() -> None:
    sandbox = Sandbox({"analysisTime": 0})
    headers = {"x-anchore-account": "typo"}
    answer = await sandbox.call("POST", "/v1/images", json={"tag": "r.io/a:1"}, headers=headers)
    path = f"/v1/images/{answer.json()[0]['imageDigest']}/check"

    refused = await sandbox.refused("GET", path, params={"tag": "r.io/a:1"}, headers=headers)

    assert refused == (404, "user has no active policy to evaluate: typo")


async def test_accounts_and_users_are_made_and_removed() -> None:
    sandbox = Sandbox()
    made = await sandbox.call("POST", "/v1/accounts", json={"name": "team-b", "email": "b@example.com"})
    user = await sandbox.call("POST", "/v1/accounts/team-b/users", json={"username": "bob", "password": "password"})
    bob = ("bob", "password")

    assert (made.json()["type"], made.json()["email"]) == ("user", "b@example.com")
    assert user.json()["username"] == "bob"
    assert [a["name"] for a in await sandbox.get("/v2/accounts")] == ["admin", "team-b"]
    assert (await sandbox.get("/v1/policies", user=bob))[0]["active"] is True
    assert (await sandbox.get("/v1/accounts/team-b", user=bob))["name"] == "team-b"
    assert (await sandbox.refused("GET", "/v1/accounts/admin", user=bob))[0] == 403
    again = await sandbox.refused("POST", "/v1/accounts/team-b/users", json={"username": "bob", "password": "x"})
    assert again == (400, "User already exists")

    await sandbox.call("POST", "/v1/accounts/team-b/users/bob/credentials", json={"type": "password", "value": "new"})
    assert (await sandbox.call("GET", "/v1/user", user=bob)).status_code == 401
    assert (await sandbox.get("/v1/user", user=("bob", "new")))["username"] == "bob"

    assert (await sandbox.refused("DELETE", "/v1/accounts/team-b"))[0] == 400
    await sandbox.call("PUT", "/v1/accounts/team-b/state", json={"state": "disabled"})
    assert await sandbox.get("/v1/accounts/team-b/state") == {"state": "disabled"}
    refused = await sandbox.refused("GET", "/v1/images", user=("bob", "new"))
    assert refused == (403, "Not authorized. Account team-b not enabled.")
    assert (await sandbox.call("DELETE", "/v1/accounts/team-b")).status_code == 204
    assert (await sandbox.refused("GET", "/v1/accounts/team-b"))[0] == 404


async def test_a_user_is_shown_without_the_password() -> None:
    sandbox = Sandbox(SEED)

    for path in ("/v1/user", "/v1/accounts/team-a/users", "/v1/accounts/team-a/users/ctl"):
        assert "secret-ctl" not in (await sandbox.call("GET", path)).text
    credentials = await sandbox.call("GET", "/v1/accounts/team-a/users/ctl/credentials")
    assert "secret-ctl" not in credentials.text
    assert (await sandbox.call("DELETE", "/v1/accounts/team-a/users/ctl")).status_code == 204
    assert await sandbox.get("/v1/accounts/team-a/users") == []
    assert (await sandbox.refused("GET", "/v1/accounts/team-a/users/ctl"))[0] == 404


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "'name' is a required property"),
        ({"name": 5}, "5 is not of type 'string' - 'name'"),
        ([], "[] is not of type 'object'"),
    ],
)
async def test_an_account_needs_a_name(body: object, detail: str) -> None:
    assert await Sandbox().refused("POST", "/v1/accounts", json=body) == (400, detail)
