"""The wanted webhook configuration, and how a live one differs from it.

Every default of the API is spelled out: server-side apply leaves fields alone that we do not set, and an
``objectSelector`` that another field manager adds could exempt every object.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from anchore_admission.core.webhook.entry import WebhookKind

Entry = Mapping[str, Any]
_DEFAULTS: dict[str, Any] = {
    "matchPolicy": "Equivalent",
    "failurePolicy": "Fail",
    "timeoutSeconds": 10,
    "namespaceSelector": {},
    "objectSelector": {},
}
"""The API server's defaults, for a registration that leaves fields out; those of our own entry are in entry.py."""
_OF_MUTATING: Final = {"reinvocationPolicy": "Never"}
"""The defaults that only a mutating webhook has."""
_NAME = "kubernetes.io/metadata.name"
"""The label with a namespace's name; only the API server sets it."""
_Term = tuple[str, str, frozenset[str]]
_AKS_TERMS: Final[frozenset[_Term]] = frozenset(
    {
        ("control-plane", "DoesNotExist", frozenset()),
        ("control-plane", "NotIn", frozenset({"true"})),
        ("kubernetes.azure.com/managedby", "NotIn", frozenset({"aks"})),
    }
)
"""The terms that the admissions enforcer of AKS adds to every webhook. Source: Azure/AKS issues 1771 and 4002."""
_GKE_NAMESPACES: Final = frozenset(
    {
        "gke-connect",
        "gke-gmp-system",
        "gke-managed-checkpointing",
        "gke-managed-cim",
        "gke-managed-filestorecsi",
        "gke-managed-lustrecsi",
        "gke-managed-metrics-server",
        "gke-managed-parallelstorecsi",
        "gke-managed-system",
        "gke-managed-volumepopulator",
        "gke-system",
        "gmp-public",
        "gmp-system",
        "kube-node-lease",
        "kube-system",
    }
)
"""The namespaces of GKE itself, which Autopilot leaves out of every webhook: by exact name, since a prefix would cover
namespaces that users can create. Source: Dynatrace/dynatrace-operator issue 2194, open-telemetry OBI's defaults."""


@dataclass(frozen=True, slots=True)
class Registration:
    """The wanted entries of the webhook configuration of this kind and name, without ``caBundle``."""

    name: str
    webhooks: Sequence[Entry]
    kind: WebhookKind = WebhookKind.VALIDATING

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def at_secret_path(registration: Registration, secret: str | None) -> Registration:
    """Append the secret to the path of Services that have the default path; any other path stays as it is."""
    if secret is None:
        return registration
    path = registration.kind.path
    return replace(registration, webhooks=[_at_secret_path(entry, path, secret) for entry in registration.webhooks])


def completed(
    webhooks: Sequence[Entry], ca_bundle: bytes | None, kind: WebhookKind = WebhookKind.VALIDATING
) -> list[dict[str, Any]]:
    """Return the entries as they are applied. Source of the defaults: k8s.io/api, admissionregistration/v1."""
    defaults = _DEFAULTS | (_OF_MUTATING if kind is WebhookKind.MUTATING else {})
    return [defaults | _completed(entry, ca_bundle) for entry in webhooks]


def differences(wanted: Sequence[Entry], live: Sequence[Entry]) -> list[str]:
    """Describe the wanted entries that are missing and their changed fields. Entries of other webhooks are ignored."""
    found = {entry.get("name"): entry for entry in live}
    return [difference for entry in wanted for difference in _differences(entry, found.get(entry["name"]))]


def left_in_place(wanted: Sequence[Entry], live: Sequence[Entry]) -> list[str]:
    """Describe the additions of other clients to the wanted entries that are left in place.

    These are terms that clouds add to the namespace selector, and fields of later Kubernetes versions.
    """
    found = {entry.get("name"): entry for entry in live}
    return [text for entry in wanted for text in _left_in_place(entry, found.get(entry["name"], entry))]


def foreign_conditions(wanted: Sequence[Entry], live: Sequence[Entry]) -> list[tuple[int, int]]:
    """Return the places (webhook, match condition) of match conditions that other clients have added, the last first.

    They have to be removed one by one: the API server merges match conditions by name, so server-side apply leaves
    them alone.
    """
    names = {entry["name"]: _condition_names(entry) for entry in wanted}
    places = [
        (number, position)
        for number, entry in enumerate(live)
        if entry.get("name") in names
        for position, condition in enumerate(entry.get("matchConditions") or ())
        if condition.get("name") not in names[entry["name"]]
    ]
    # Removing the last first leaves the places of the others as they are.
    return places[::-1]


def publishes(wanted: Sequence[Entry], live: Sequence[Entry]) -> bool:
    """Return whether the live entries hold our address and CA bundle, even if other fields differ."""
    found = {entry.get("name"): entry for entry in live}
    return all(
        _holds("clientConfig", entry["clientConfig"], found.get(entry["name"], {}).get("clientConfig"))
        for entry in wanted
    )


def judges_namespace(webhook: Entry, namespace: str) -> bool:
    """Return whether objects in a namespace may reach the webhook, as far as the namespace's name tells."""
    selector = webhook.get("namespaceSelector") or {}
    if (selector.get("matchLabels") or {}).get(_NAME, namespace) != namespace:
        return False
    return all(
        (namespace in (it.get("values") or ())) == (it.get("operator") == "In")
        for it in selector.get("matchExpressions") or ()
        if it.get("key") == _NAME and it.get("operator") in {"In", "NotIn"}
    )


def service_url(webhook: Entry) -> str:
    """Return the URL to which API servers send this entry's reviews."""
    client = webhook["clientConfig"]
    service = client.get("service")
    if not service:
        return str(client["url"])
    return f"https://{service['name']}.{service['namespace']}.svc:{service.get('port', 443)}{service.get('path', '/')}"


def _at_secret_path(entry: Entry, path: str, secret: str) -> Entry:
    client = entry["clientConfig"]
    service = client.get("service")
    if not service or service.get("path") != path:
        return entry
    return {**entry, "clientConfig": {**client, "service": {**service, "path": f"{path}/{secret}"}}}


def _completed(entry: Entry, ca_bundle: bytes | None) -> dict[str, Any]:
    """Set the other of ``service`` and ``url`` to null explicitly.

    The API server rejects both together, and another field manager may have set it.
    """
    client = {"url": None, **entry["clientConfig"]}
    client["service"] = {"port": 443, **client["service"]} if "service" in client else None
    if ca_bundle:
        client["caBundle"] = base64.b64encode(ca_bundle).decode()
    rules = [{"scope": "*", **rule} for rule in entry.get("rules", ())]
    return {**entry, "clientConfig": client, "rules": rules}


def _differences(wanted: Entry, live: Entry | None) -> Iterator[str]:
    if live is None:
        yield f"{wanted['name']} is missing"
        return
    keys = dict.fromkeys([*wanted, "matchConditions"])  # even if none are wanted: an added one can exempt every object
    changed = [key for key in keys if not _holds(key, wanted.get(key), live.get(key))]
    if changed:
        yield f"{wanted['name']}: {', '.join(changed)} changed"


def _holds(key: str, wanted: Any, live: Any) -> bool:
    """Return whether applying the wanted value would leave the live one as it is."""
    if key == "clientConfig":
        # Without a CA bundle of ours, that of another client (the injector of cert-manager) stays in place.
        return isinstance(live, Mapping) and all(live.get(name) == value for name, value in wanted.items())
    if key == "matchConditions":
        return _by_name(wanted) == _by_name(live)
    if key == "namespaceSelector":
        return _selects(wanted, live or {})
    if key == "objectSelector":
        return _without_empty(wanted) == _without_empty(live or {})
    return bool(wanted == live)


def _selects(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    """Return whether a live namespace selector is the wanted one, apart from what clouds add.

    AKS and GKE add selectors for their own namespaces to every webhook and restore them if removed, so they are no
    drift. Any other addition would be a way to switch the webhook off unnoticed.
    """
    (our_names, ours), (their_names, theirs) = _terms(wanted), _terms(live)
    return (
        (wanted.get("matchLabels") or {}) == (live.get("matchLabels") or {})
        and our_names <= their_names <= our_names | _GKE_NAMESPACES
        and ours <= theirs <= ours | _AKS_TERMS
    )


def _left_in_place(wanted: Entry, live: Entry) -> Iterator[str]:
    (our_names, ours), (their_names, theirs) = (
        _terms(entry.get("namespaceSelector") or {}) for entry in (wanted, live)
    )
    for key, operator, values in sorted(theirs - ours, key=str):
        yield f"{wanted['name']}: namespaceSelector: {' '.join([key, operator, *sorted(values)])}"
    for name in sorted(their_names - our_names):
        yield f"{wanted['name']}: namespaceSelector: {_NAME} NotIn {name}"
    # Match conditions of other clients do not stay: `foreign_conditions` finds them, and they are removed.
    for key in sorted(live.keys() - wanted.keys() - {"matchConditions"}):
        yield f"{wanted['name']}: {key}"


def _terms(selector: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[_Term]]:
    """Return the namespaces that a selector leaves out by name, and its other expressions.

    All must hold, so several expressions about names mean the same as one with all the names.
    """
    expressions = [
        (str(it.get("key")), str(it.get("operator")), frozenset(map(str, it.get("values") or ())))
        for it in selector.get("matchExpressions") or ()
    ]
    names = [values for key, operator, values in expressions if (key, operator) == (_NAME, "NotIn")]
    others = frozenset(term for term in expressions if term[:2] != (_NAME, "NotIn"))
    return frozenset[str]().union(*names), others


def _condition_names(entry: Entry) -> set[Any]:
    return {condition.get("name") for condition in entry.get("matchConditions") or ()}


def _by_name(conditions: Any) -> dict[Any, Any]:
    return {condition.get("name"): condition for condition in conditions or ()}


def _without_empty(selector: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in selector.items() if value}
