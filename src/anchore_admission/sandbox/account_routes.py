"""Accounts and their users."""

from typing import Any

from fastapi.responses import Response

from anchore_admission.sandbox.accounts import STATES, Account, authorize
from anchore_admission.sandbox.calls import OWN, Call, Operation, respond
from anchore_admission.sandbox.responses import AnchoreError, ProblemError


async def _strings(call: Call, *required: str) -> dict[str, str]:
    """Read the string values of the body; raise ProblemError if a required one is missing."""
    body: Any = await call.body()
    if not isinstance(body, dict):
        raise ProblemError(400, f"{body!r} is not of type 'object'")
    for key in required:
        if key not in body:
            raise ProblemError(400, f"'{key}' is a required property")
        if not isinstance(body[key], str) or not body[key]:
            raise ProblemError(400, f"{body[key]!r} is not of type 'string' - '{key}'")
    return {key: value for key, value in body.items() if isinstance(value, str)}


def _account(call: Call, action: str) -> Account:
    """Return the account of the path, for its own users and for an admin."""
    name = call.path("name")
    authorize(call.caller, name, action)
    return call.world.directory.get(name)


async def own_account(call: Call) -> Response:
    return respond(call.api.account(call.caller.account))


async def own_user(call: Call) -> Response:
    return respond(call.api.user(call.caller.user))


async def list_accounts(call: Call) -> Response:
    return respond([call.api.account(account) for account in call.world.directory.accounts.values()])


async def post_account(call: Call) -> Response:
    body = await _strings(call, "name")
    if body["name"] in call.world.directory.accounts:
        raise AnchoreError(call.api.account_exists, "Account already exists")
    account = call.world.directory.add(body["name"], call.world.clock(), body.get("email"))
    call.world.give_default_policy(account.name)
    return respond(call.api.account(account))


async def get_account(call: Call) -> Response:
    return respond(call.api.account(_account(call, "getAccount")))


async def delete_account(call: Call) -> Response:
    account = call.world.directory.get(call.path("name"))
    if account.is_admin or account.state != "disabled":
        raise AnchoreError(400, "Invalid account state change requested. An account must be disabled to be deleted")
    del call.world.directory.accounts[account.name]
    call.world.forget(account.name)
    return respond(None, 204)


async def get_state(call: Call) -> Response:
    return respond({"state": call.world.directory.get(call.path("name")).state})


async def put_state(call: Call) -> Response:
    body = await _strings(call, "state")
    account = call.world.directory.get(call.path("name"))
    if body["state"] not in STATES or account.is_admin:
        raise AnchoreError(400, "Invalid account state change requested")
    account.state = body["state"]
    return respond({"state": account.state})


async def list_users(call: Call) -> Response:
    return respond([call.api.user(user) for user in _account(call, "listUsers").users.values()])


async def post_user(call: Call) -> Response:
    account = _account(call, "createUser")
    body = await _strings(call, "username", "password")
    user = call.world.directory.add_user(account, body["username"], body["password"], call.world.clock())
    return respond(call.api.user(user))


async def get_user(call: Call) -> Response:
    return respond(call.api.user(_account(call, "getUser").user(call.path("username"))))


async def delete_user(call: Call) -> Response:
    account = _account(call, "deleteUser")
    del account.users[account.user(call.path("username")).username]
    return respond(None, 204)


async def list_credentials(call: Call) -> Response:
    return respond([_account(call, "getUser").user(call.path("username")).credential()])


async def post_credential(call: Call) -> Response:
    user = _account(call, "updateUser").user(call.path("username"))
    body = await _strings(call, "type", "value")
    if body["type"] != "password":
        raise AnchoreError(400, "Invalid credential type")
    user.password, user.updated_at = body["value"], call.world.clock()
    return respond(user.credential())


_USER = "/accounts/{name}/users/{username}"
OPERATIONS = (
    Operation("GET", "/account", OWN, own_account),
    Operation("GET", "/user", OWN, own_user),
    Operation("GET", "/accounts", "listAccounts", list_accounts, system=True),
    Operation("POST", "/accounts", "createAccount", post_account, system=True),
    Operation("GET", "/accounts/{name}", OWN, get_account),
    Operation("DELETE", "/accounts/{name}", "deleteAccount", delete_account, system=True),
    Operation("GET", "/accounts/{name}/state", "getAccount", get_state, system=True, only="v1"),
    Operation("PUT", "/accounts/{name}/state", "updateAccount", put_state, system=True),
    Operation("GET", "/accounts/{name}/users", OWN, list_users),
    Operation("POST", "/accounts/{name}/users", OWN, post_user),
    Operation("GET", _USER, OWN, get_user),
    Operation("DELETE", _USER, OWN, delete_user),
    Operation("GET", f"{_USER}/credentials", OWN, list_credentials),
    Operation("POST", f"{_USER}/credentials", OWN, post_credential),
)
