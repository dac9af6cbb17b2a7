"""How the webhook should be registered, and what differs from that; every default of the API is written out.

A field that is left out stays with whoever set it: an ``objectSelector`` that somebody adds could let everything past.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Entry = Mapping[str, Any]
_DEFAULTS: dict[str, Any] = {
    "matchPolicy": "Equivalent",
    "failurePolicy": "Fail",
    "timeoutSeconds": 10,
    "namespaceSelector": {},
    "objectSelector": {},
}
_EXCLUDES = {"NotIn", "DoesNotExist"}


@dataclass(frozen=True, slots=True)
class Registration:
    """The wanted entries of the ValidatingWebhookConfiguration of this name, without ``caBundle``."""

    name: str
    webhooks: Sequence[Entry]


def completed(webhooks: Sequence[Entry], authorities: bytes | None) -> list[dict[str, Any]]:
    """The entries as they are applied. Source of the defaults: k8s.io/api, admissionregistration/v1."""
    return [_completed(entry, authorities) for entry in webhooks]


def differences(wanted: Sequence[Entry], live: Sequence[Entry]) -> list[str]:
    """What of the wanted entries is missing or changed, in words; other people's entries are not looked at."""
    found = {entry.get("name"): entry for entry in live}
    return [difference for entry in wanted for difference in _differences(entry, found.get(entry["name"]))]


def publishes(wanted: Sequence[Entry], live: Sequence[Entry]) -> bool:
    """Whether API servers are told to call us and whom to trust, whatever else of the entries differs."""
    found = {entry.get("name"): entry for entry in live}
    return all(
        _holds("clientConfig", entry["clientConfig"], found.get(entry["name"], {}).get("clientConfig"))
        for entry in wanted
    )


def question_url(webhook: Entry) -> str:
    """Where API servers send this entry's reviews."""
    client = webhook["clientConfig"]
    service = client.get("service")
    if not service:
        return str(client["url"])
    return f"https://{service['name']}.{service['namespace']}.svc:{service.get('port', 443)}{service.get('path', '/')}"


def _completed(entry: Entry, authorities: bytes | None) -> dict[str, Any]:
    """The unwanted one of service and url is null: beside one that somebody else has set, ours would be refused."""
    client = {"url": None, **entry["clientConfig"]}
    client["service"] = {"port": 443, **client["service"]} if "service" in client else None
    if authorities:
        client["caBundle"] = base64.b64encode(authorities).decode()
    rules = [{"scope": "*", **rule} for rule in entry.get("rules", ())]
    return {**_DEFAULTS, **entry, "clientConfig": client, "rules": rules}


def _differences(wanted: Entry, live: Entry | None) -> Iterator[str]:
    if live is None:
        yield f"{wanted['name']} is missing"
        return
    changed = [key for key, value in wanted.items() if not _holds(key, value, live.get(key))]
    if changed:
        yield f"{wanted['name']}: {', '.join(changed)} changed"


def _holds(key: str, wanted: Any, live: Any) -> bool:
    """Whether the live value is what applying the wanted one leads to."""
    if key == "clientConfig":
        return isinstance(live, Mapping) and all(live.get(name) == value for name, value in wanted.items())
    if key == "matchConditions":  # others may add their own
        return all(condition in (live or ()) for condition in wanted)
    if key == "namespaceSelector":
        return _selects(wanted, live or {})
    if key == "objectSelector":
        return _without_empty(wanted) == _without_empty(live or {})
    return bool(wanted == live)


def _selects(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    """Clouds keep every webhook from namespaces of their own, and put that back whoever takes it away.

    Source: Azure/AKS issue 1771 (admissions enforcer); GKE Autopilot does the same.
    """
    ours, theirs = (selector.get("matchExpressions") or () for selector in (wanted, live))
    others = [expression for expression in theirs if expression not in ours]
    return (
        (wanted.get("matchLabels") or {}) == (live.get("matchLabels") or {})
        and all(expression in theirs for expression in ours)
        and all(expression.get("operator") in _EXCLUDES for expression in others)
    )


def _without_empty(selector: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in selector.items() if value}
