"""Convert the Go controller's configuration, credentials and chart values as a whole."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from anchore_admission.core.convert.namespaces import Namespace
from anchore_admission.core.convert.original import Credentials, Original
from anchore_admission.core.convert.selectors import ConvertedSelector, Status, Surroundings, convert_selector
from anchore_admission.core.convert.values import ConvertedValues
from anchore_admission.models.configuration import Enforcement, ModeName
from anchore_admission.text import shown

DEFAULT_ACCOUNT = "default"
RELEASE = "anchore-admission"
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
_MAX_NAME = 40
_MAY_HOLD_SECRETS = re.compile(r"[@?#]")
"""Signs of credentials, a query or a fragment in an address, none of which our configuration accepts."""
_NEVER_REACHED = "is never reached: {path} matches every image"


@dataclass(frozen=True, slots=True)
class Secret:
    """The manifest of one user's Secret; it holds the password."""

    account: str
    manifest: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Secret({self.account!r})"


@dataclass(frozen=True, slots=True)
class Finding:
    """A text of the files without an effect, or one that needs a look; ``path`` is its place."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Conversion:
    """Everything that is written, and the report. ``configuration`` and ``values`` are documents of our own."""

    selectors: tuple[ConvertedSelector, ...]
    accounts: tuple[tuple[str, str], ...]
    """Our name of each account, with the user's."""
    configuration: Mapping[str, Any]
    values: Mapping[str, Any]
    secrets: tuple[Secret, ...]
    findings: tuple[Finding, ...]

    @property
    def is_complete(self) -> bool:
        """False if a person has to decide about a selector."""
        return all(converted.status is not Status.DECIDE for converted in self.selectors)


def convert(
    original: Original,
    credentials: Credentials | None,
    values: ConvertedValues | None,
    enforcement: Enforcement = Enforcement.AUDIT,
    namespaces: tuple[Namespace, ...] | None = None,
) -> Conversion:
    """Convert what is given; ``credentials``, ``values`` and ``namespaces`` are None if they are not."""
    if hides_endpoint := bool(_MAY_HOLD_SECRETS.search(original.endpoint)):
        original = replace(original, endpoint="")
    names = _account_names(original, credentials)
    known = None if credentials is None else frozenset(user.username for user in credentials.users)
    surroundings = Surroundings(original.request_analysis, known, names, DEFAULT_ACCOUNT, namespaces)
    selectors = tuple(_converted(original, surroundings))
    body = {
        "defaults": {
            "mode": str(ModeName.SKIP),
            "enforcement": str(enforcement),
            "requestAnalysis": original.request_analysis,
        },
        "rules": [rule for converted in selectors for rule in converted.rules],
    }
    accounts = tuple((account, user) for user, account in names.items())
    return Conversion(
        selectors=selectors,
        accounts=accounts,
        configuration=_configuration(original, accounts, body),
        values=_values(original, accounts, body, values, enforcement),
        secrets=tuple(
            _secret(names[user.username], user.username, user.password)
            for user in (credentials.users if credentials else ())
            if user.username in names
        ),
        findings=(
            *_findings(original, hides_endpoint=hides_endpoint),
            *_credential_findings(original, credentials),
            *(Finding(*note) for note in (values.notes if values else ())),
        ),
    )


def _converted(original: Original, surroundings: Surroundings) -> Iterable[ConvertedSelector]:
    everything = ""
    for number, selector in enumerate(original.selectors, 1):
        converted = convert_selector(number, selector, surroundings)
        if everything:
            yield ConvertedSelector(selector, Status.UNUSED, (), (_NEVER_REACHED.format(path=everything),))
            continue
        yield converted
        everything = selector.path if converted.matches_everything else ""


def _account_names(original: Original, credentials: Credentials | None) -> Mapping[str, str]:
    """Return our name for the account of each user that a selector names; the first is the default."""
    users = dict.fromkeys(selector.username for selector in original.selectors if selector.username)
    if not users and credentials:
        users = dict.fromkeys(user.username for user in credentials.users[:1])
    names: dict[str, str] = {}
    for user in users:
        base = _NOT_IN_NAMES.sub("-", user.lower()).strip("-")[:_MAX_NAME].strip("-") or "user"
        numbered = (base if number == 1 else f"{base}-{number}" for number in count(1))
        names[user] = next(name for name in numbered if name not in names.values()) if names else DEFAULT_ACCOUNT
    return names


def secret_name(account: str) -> str:
    """Return the name of an account's Secret."""
    return f"{RELEASE}-{account}"


def _secret(account: str, username: str, password: str) -> Secret:
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": secret_name(account)},
        "type": "Opaque",
        "stringData": {"username": username, "password": password},
    }
    return Secret(account, manifest)


def _directory(account: str) -> str:
    return "/credentials" if account == DEFAULT_ACCOUNT else f"/accounts/{account}"


def _account(account: str) -> Mapping[str, str]:
    directory = _directory(account)
    return {"name": account, "usernameFile": f"{directory}/username", "passwordFile": f"{directory}/password"}


def _configuration(
    original: Original, accounts: Sequence[tuple[str, str]], body: Mapping[str, Any]
) -> Mapping[str, Any]:
    head: dict[str, Any] = {"anchore": {"endpoint": original.endpoint}} if original.endpoint else {}
    if accounts:
        head["accounts"] = [_account(account) for account, _ in accounts]
    return {**head, **body}


def _values(
    original: Original,
    accounts: Sequence[tuple[str, str]],
    body: Mapping[str, Any],
    values: ConvertedValues | None,
    enforcement: Enforcement,
) -> Mapping[str, Any]:
    converted = dict(values.values) if values else {}
    converted["anchore"] = {"endpoint": original.endpoint}
    if accounts:
        converted["anchore"]["credentialsSecret"] = secret_name(DEFAULT_ACCOUNT)
    others = [account for account, _ in accounts if account != DEFAULT_ACCOUNT]
    if enforcement is not Enforcement.DENY:
        # While nothing is denied, an outage of this controller must not deny anything either.
        converted["webhook"] = {**converted.get("webhook", {}), "failurePolicy": "Ignore"}
    converted["config"] = {**({"accounts": [_account(account) for account in others]} if others else {}), **body}
    if others:
        converted["extraVolumes"] = [
            {"name": f"account-{account}", "secret": {"secretName": secret_name(account)}} for account in others
        ]
        converted["extraVolumeMounts"] = [
            {"name": f"account-{account}", "mountPath": _directory(account), "readOnly": True} for account in others
        ]
    return converted


def _findings(original: Original, *, hides_endpoint: bool) -> Iterable[Finding]:
    for key in original.unused:
        lower = key.lower()
        if lower == "selectors":
            yield Finding(key, "is ignored, although the Go controller's README shows it; the key is PolicySelectors")
        elif lower.startswith("validator."):
            yield Finding(key, "has no effect: the selectors' Mode decides")
        else:
            yield Finding(key, "is not a key of the Go controller, and has no effect")
    for path, text in original.forced:
        yield Finding(path, f'is not text; the Go controller reads it as "{shown(text, 80)}"')
    if not original.selectors:
        yield Finding("PolicySelectors", "has no entry: the Go controller admits every image, and so do the defaults")
    if hides_endpoint:
        yield Finding(
            "AnchoreEndpoint",
            "is left out, because it may hold a secret: set anchore.endpoint to the address without credentials, query "
            "and fragment",
        )
    elif not original.endpoint:
        yield Finding("AnchoreEndpoint", "is empty; set anchore.endpoint")


def _credential_findings(original: Original, credentials: Credentials | None) -> Iterable[Finding]:
    if credentials is None:
        yield Finding("credentials", "are not given: create the Secrets yourself, or convert again with --credentials")
        return
    for key in credentials.unused:
        yield Finding(key, "is not a key of credentials.json, and has no effect")
    for path in credentials.repeated:
        yield Finding(path, "names a user that stands further up; the first entry counts")
    used = {selector.username for selector in original.selectors}
    for place, user in enumerate(credentials.users):
        if user.username not in used:
            yield Finding(f"users[{place}]", "is a user that no selector names: there is no account for it")
