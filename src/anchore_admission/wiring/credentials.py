"""Credentials of accounts, from the environment or from files."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import SecretStr

from anchore_admission.adapters.anchore.credentials import Credentials, CredentialSource, FileCredentials
from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.models.configuration import AccountSection
from anchore_admission.services.config.load import environment_name
from anchore_admission.settings import ACCOUNT, SECRETS


def account_credentials(account: str, environ: Mapping[str, str]) -> Credentials | None:
    """Read an account's credentials from the environment. Raises ConfigurationError if they are incomplete."""
    prefix = f"{ACCOUNT}{environment_name(account)}_"
    # The values of a Secret often end in a newline, from ``echo`` or an editor.
    username, password, api_key = (environ.get(prefix + name, "").rstrip("\r\n") for name in SECRETS)
    if api_key and (username or password):
        raise _wrong(f"{prefix}API_KEY", f"expected without {prefix}USERNAME and {prefix}PASSWORD")
    if bool(username) != bool(password):
        missing, given = ("PASSWORD", "USERNAME") if username else ("USERNAME", "PASSWORD")
        raise _wrong(f"{prefix}{missing}", f"expected, because {prefix}{given} is set")
    for name, text in zip(SECRETS, (username, password, api_key), strict=True):
        if not _is_utf8(text):
            raise _wrong(f"{prefix}{name}", "expected UTF-8 text")
    if ":" in username:
        raise _wrong(f"{prefix}USERNAME", "expected without a colon, which ends the name in Basic credentials")
    if api_key:
        return Credentials.api_key(SecretStr(api_key))
    return Credentials(username, SecretStr(password)) if username else None


def _is_utf8(text: str) -> bool:
    """Return whether a variable held UTF-8; Python reads other bytes as lone surrogates, which cannot be sent."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def credential_sources(
    accounts: Iterable[AccountSection], environ: Mapping[str, str] = os.environ, *, wait_until_valid: bool = False
) -> dict[str, CredentialSource]:
    """Return the source of each account's credentials, without the accounts that have none.

    ``wait_until_valid`` accepts files that are not valid yet.

    Raises ConfigurationError with the problems of all accounts.
    """
    sources: dict[str, CredentialSource] = {}
    problems: list[Problem] = []
    for account in accounts:
        try:
            source = _credential_source(account, environ, wait_until_valid=wait_until_valid)
        except ConfigurationError as error:
            problems.extend(error.problems)
        else:
            if source:
                sources[account.name] = source
    if problems:
        raise ConfigurationError("credentials", problems)
    return sources


def _credential_source(
    account: AccountSection, environ: Mapping[str, str], *, wait_until_valid: bool
) -> CredentialSource | None:
    fixed = account_credentials(account.name, environ)
    key, username, password = account.api_key_file, account.username_file, account.password_file
    if fixed and (key or username):
        variables = f"{ACCOUNT}{environment_name(account.name)}_*"
        text = (
            f"expected without files in the configuration of account {account.name}; remove the variables or these keys"
        )
        raise _wrong(variables, text)
    if key:
        return FileCredentials.api_key(Path(key), wait_until_valid=wait_until_valid)
    if username and password:
        return FileCredentials.user(Path(username), Path(password), wait_until_valid=wait_until_valid)
    return fixed


def _wrong(path: str, message: str) -> ConfigurationError:
    return ConfigurationError("credentials", [Problem(path, message)])
