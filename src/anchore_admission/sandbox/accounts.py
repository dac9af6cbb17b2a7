"""Accounts and users, authentication and authorization."""

import base64
import binascii
import hmac
from dataclasses import dataclass, field
from typing import Any

from anchore_admission.sandbox.responses import AnchoreError, UnauthorizedError
from anchore_admission.sandbox.seed import SeedAccount
from anchore_admission.sandbox.times import rfc3339

MAX_ACCOUNTS = 1_000
MAX_USERS = 1_000
API_KEY_USER = "_api_key"
ADMIN_ACCOUNT = "admin"
STATES = ("enabled", "disabled", "deleting")


@dataclass(slots=True)
class User:
    account: str
    username: str
    password: str
    created_at: float
    api_keys: tuple[str, ...] = ()
    updated_at: float = 0

    @property
    def password_changed_at(self) -> float:
        return self.updated_at or self.created_at

    def shown(self) -> dict[str, Any]:
        times = {"created_at": rfc3339(self.created_at), "last_updated": rfc3339(self.password_changed_at)}
        return {"username": self.username, "type": "native", "source": None, **times}

    def credential(self) -> dict[str, Any]:
        """Return the password's record, with as many stars as the password has characters, as Anchore does."""
        created_at = rfc3339(self.password_changed_at)
        return {"type": "password", "value": "*" * len(self.password), "created_at": created_at}


@dataclass(slots=True)
class Account:
    name: str
    created_at: float
    email: str | None = None
    state: str = "enabled"
    users: dict[str, User] = field(default_factory=dict)

    @property
    def is_admin(self) -> bool:
        return self.name == ADMIN_ACCOUNT

    def user(self, username: str) -> User:
        if username not in self.users:
            raise AnchoreError(404, "User not found")
        return self.users[username]

    def shown(self) -> dict[str, Any]:
        time = rfc3339(self.created_at)
        kind = "admin" if self.is_admin else "user"
        names = {"name": self.name, "type": kind, "email": self.email, "state": self.state}
        return {**names, "created_at": time, "last_updated": time}


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated user and the account it belongs to."""

    account: Account
    user: User


@dataclass(slots=True)
class Directory:
    """Every account, found by name or by credentials."""

    accounts: dict[str, Account] = field(default_factory=dict)

    def add(self, name: str, now: float, email: str | None = None) -> Account:
        if name in self.accounts:
            raise AnchoreError(400, "Account already exists")
        if len(self.accounts) >= MAX_ACCOUNTS:
            raise AnchoreError(400, f"the sandbox holds at most {MAX_ACCOUNTS} accounts")
        self.accounts[name] = Account(name, now, email)
        return self.accounts[name]

    def seed(self, account: SeedAccount, now: float) -> None:
        added = self.add(account.name, now, account.email)
        added.state = account.state
        for user in account.users:
            self.add_user(added, user.username, user.password, now).api_keys = user.api_keys

    def add_user(self, account: Account, username: str, password: str, now: float) -> User:
        if any(username in other.users for other in self.accounts.values()) or username == API_KEY_USER:
            raise AnchoreError(400, "User already exists")
        if len(account.users) >= MAX_USERS:
            raise AnchoreError(400, f"the sandbox holds at most {MAX_USERS} users per account")
        account.users[username] = User(account.name, username, password, now)
        return account.users[username]

    def get(self, name: str) -> Account:
        if name not in self.accounts:
            raise AnchoreError(404, "Account not found")
        return self.accounts[name]

    def authenticate(self, authorization: str | None) -> Caller:
        """Authenticate Basic credentials, or an API key as the password of ``_api_key``; all else is a plain 401."""
        username, password = _basic(authorization)
        for account in self.accounts.values():
            for user in account.users.values():
                if username == API_KEY_USER and any(_same(password, key) for key in user.api_keys):
                    return Caller(account, user)
                if username == user.username and _same(password, user.password):
                    return Caller(account, user)
        raise UnauthorizedError


def authorize(caller: Caller, account: str | None, action: str) -> str:
    """Return the account that a call is for: the caller's own, or any other for an admin, even a missing one."""
    if caller.account.state != "enabled":
        raise AnchoreError(403, f"Not authorized. Account {caller.account.name} not enabled.")
    target = account or caller.account.name
    if target != caller.account.name and not caller.account.is_admin:
        raise AnchoreError(403, f"Not authorized. Requires permissions: domain={target} action={action} target=*")
    return target


def authorize_system(caller: Caller, action: str) -> None:
    """Require the admin account, which manages the others."""
    authorize(caller, None, action)
    if not caller.account.is_admin:
        raise AnchoreError(403, f"Not authorized. Requires permissions: domain=system action={action} target=*")


def _basic(authorization: str | None) -> tuple[str, str]:
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        raise UnauthorizedError
    try:
        username, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise UnauthorizedError from error
    if not colon:
        raise UnauthorizedError
    return username, password


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
