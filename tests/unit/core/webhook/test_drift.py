import base64
from typing import Any

import pytest

from anchore_admission.core.webhook.drift import (
    Registration,
    at_secret_path,
    completed,
    differences,
    foreign_conditions,
    left_in_place,
    publishes,
    service_url,
)
from anchore_admission.core.webhook.entry import WebhookKind

SERVICE = {"name": "gate", "namespace": "security", "path": "/validate"}
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
ENTRY: dict[str, Any] = {
    "name": "gate.admission.anchore.io",
    "clientConfig": {"service": SERVICE},
    "rules": [RULE],
    "namespaceSelector": {
        "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["own", "mine"]}]
    },
    "matchConditions": [{"name": "changed", "expression": "true"}],
    "admissionReviewVersions": ["v1"],
    "sideEffects": "NoneOnDryRun",
}
WANTED = completed([ENTRY], b"PEM")
OURS = ENTRY["namespaceSelector"]["matchExpressions"]
AKS = {"key": "control-plane", "operator": "NotIn", "values": ["true"]}
AKS_OLDER = {"key": "control-plane", "operator": "DoesNotExist"}
AKS_MANAGED = {"key": "kubernetes.azure.com/managedby", "operator": "NotIn", "values": ["aks"]}
GKE = {**OURS[0], "values": ["kube-system", "gke-gmp-system", "gke-managed-cim"]}
MERGED = {**OURS[0], "values": ["gke-managed-cim", "mine", "own"]}
CONDITION = {"name": "mine", "expression": "false"}
CLIENT: dict[str, Any] = WANTED[0]["clientConfig"]
LEFT: list[dict[str, Any]] = [
    {"matchExpressions": [*OURS, AKS]},
    {"matchExpressions": [*OURS, AKS_OLDER]},
    {"matchExpressions": [AKS, AKS_MANAGED, *OURS]},
    {"matchExpressions": [*OURS, GKE]},
    {"matchExpressions": [GKE, *OURS, AKS]},
    {"matchExpressions": [MERGED]},
    {"matchExpressions": [{**OURS[0], "values": ["own"]}, {**OURS[0], "values": ["mine"]}]},
    {"matchExpressions": [*OURS, {**GKE, "values": ["kube-system", "own"]}]},
]
"""Selectors that clouds make of ours, and others that mean the same."""
SWITCHED_OFF: list[dict[str, Any]] = [
    {"matchExpressions": [*OURS, expression]}
    for expression in (
        {"key": "team", "operator": "DoesNotExist"},
        {"key": "kubernetes.io/metadata.name", "operator": "DoesNotExist"},
        {"key": "team", "operator": "NotIn", "values": ["a", "b"]},
        {**AKS, "values": ["true", "false"]},
        {**AKS, "values": ["other"]},
        {**AKS_MANAGED, "values": ["me"]},
        {**AKS_MANAGED, "operator": "DoesNotExist"},
        {**AKS_MANAGED, "operator": "Exists", "values": None},
        {**AKS_MANAGED, "key": "kubernetes.azure.com/managedBy"},
        {**GKE, "values": ["production"]},
        {**GKE, "values": ["kube-system", "production"]},
        {**GKE, "values": ["default"]},
        {**GKE, "values": ["gke-mine"]},
        {**GKE, "operator": "In"},
        {"key": "addonmanager.kubernetes.io/mode", "operator": "DoesNotExist"},
        {"key": "name", "operator": "NotIn", "values": ["kube-system"]},
    )
]


def test_the_defaults_of_the_api_are_written_out() -> None:
    client = {"url": None, "service": {**SERVICE, "port": 443}, "caBundle": base64.b64encode(b"PEM").decode()}
    expected = {
        **ENTRY,
        "clientConfig": client,
        "rules": [{**RULE, "scope": "*"}],
        "matchPolicy": "Equivalent",
        "failurePolicy": "Fail",
        "timeoutSeconds": 10,
        "objectSelector": {},
    }
    assert completed([ENTRY], b"PEM") == [expected]


def test_explicit_values_override_the_defaults() -> None:
    (entry,) = completed([{**ENTRY, "failurePolicy": "Ignore", "rules": [{**RULE, "scope": "Namespaced"}]}], None)
    assert (entry["failurePolicy"], entry["rules"][0]["scope"]) == ("Ignore", "Namespaced")
    assert "caBundle" not in entry["clientConfig"]


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({}, []),
        ({"namespaceSelector": {**ENTRY["namespaceSelector"], "matchLabels": {}}}, []),
        ({"objectSelector": None}, []),
        ({"objectSelector": {"matchLabels": {}, "matchExpressions": []}}, []),
        *(({"namespaceSelector": selector}, []) for selector in LEFT),
        *(({"namespaceSelector": selector}, ["namespaceSelector"]) for selector in SWITCHED_OFF),
        ({"namespaceSelector": {"matchExpressions": [AKS]}}, ["namespaceSelector"]),
        ({"namespaceSelector": {"matchExpressions": [*OURS, {**AKS, "operator": "In"}]}}, ["namespaceSelector"]),
        ({"namespaceSelector": {"matchExpressions": None}}, ["namespaceSelector"]),
        ({"objectSelector": {"matchExpressions": [GKE]}}, ["objectSelector"]),
        ({"matchConditions": [*ENTRY["matchConditions"], CONDITION]}, ["matchConditions"]),
        ({"matchConditions": [{"name": "changed", "expression": "false"}]}, ["matchConditions"]),
        ({"matchConditions": None}, ["matchConditions"]),
        ({"matchPolicy": "Exact"}, ["matchPolicy"]),
        ({"admissionReviewVersions": ["v1beta1"]}, ["admissionReviewVersions"]),
        ({"rules": [{**RULE, "operations": ["UPDATE"]}]}, ["rules"]),
        ({"rules": [{**RULE, "resources": ["pods/status"]}]}, ["rules"]),
        ({"somethingNew": "of a later Kubernetes"}, []),
        ({"clientConfig": {**CLIENT, "caBundle": "b3RoZXI="}}, ["clientConfig"]),
        ({"clientConfig": {"service": CLIENT["service"]}}, ["clientConfig"]),
        ({"clientConfig": None}, ["clientConfig"]),
        ({"failurePolicy": "Ignore"}, ["failurePolicy"]),
        ({"rules": []}, ["rules"]),
        ({"rules": [{**RULE, "scope": "Cluster"}]}, ["rules"]),
        ({"objectSelector": {"matchLabels": {"let": "me-in"}}}, ["objectSelector"]),
        ({"namespaceSelector": {**ENTRY["namespaceSelector"], "matchLabels": {"a": "b"}}}, ["namespaceSelector"]),
        ({"namespaceSelector": {}}, ["namespaceSelector"]),
        ({"matchConditions": []}, ["matchConditions"]),
        ({"timeoutSeconds": 30, "sideEffects": "None"}, ["timeoutSeconds, sideEffects"]),
    ],
)
def test_differences_are_named(change: dict[str, Any], difference: list[str]) -> None:
    expected = [f"{ENTRY['name']}: {fields} changed" for fields in difference]
    assert differences(WANTED, [{"name": "others"}, {**WANTED[0], **change}]) == expected


@pytest.mark.parametrize("wanted", ["IfNeeded", "Never", None])
@pytest.mark.parametrize("live", ["IfNeeded", "Never"])
def test_of_a_mutating_webhook_the_reinvocation_is_compared_too(wanted: str | None, live: str) -> None:
    """The API's default is ``Never``; a validating webhook does not have the field."""
    entry = ENTRY if wanted is None else {**ENTRY, "reinvocationPolicy": wanted}
    (completed_entry,) = completed([entry], b"PEM", WebhookKind.MUTATING)
    expected = [] if (wanted or "Never") == live else [f"{ENTRY['name']}: reinvocationPolicy changed"]
    assert differences([completed_entry], [{**completed_entry, "reinvocationPolicy": live}]) == expected
    assert "reinvocationPolicy" not in WANTED[0]


@pytest.mark.parametrize(
    ("kind", "path", "expected"),
    [
        (WebhookKind.VALIDATING, "/validate", "/validate/secret"),
        (WebhookKind.MUTATING, "/mutate", "/mutate/secret"),
        (WebhookKind.MUTATING, "/validate", "/validate"),  # not the path of its kind: left as it is written
        (WebhookKind.VALIDATING, "/mutate", "/mutate"),
        (WebhookKind.MUTATING, "/mutate/spelled-out", "/mutate/spelled-out"),
    ],
)
def test_the_secret_is_appended_to_the_path_of_the_kind(kind: WebhookKind, path: str, expected: str) -> None:
    registration = Registration("gate", [{**ENTRY, "clientConfig": {"service": {**SERVICE, "path": path}}}], kind)
    (entry,) = at_secret_path(registration, "secret").webhooks
    assert entry["clientConfig"]["service"] == {**SERVICE, "path": expected}
    assert at_secret_path(registration, None) == registration


def test_where_no_match_conditions_are_wanted_an_added_one_is_a_change() -> None:
    wanted = completed([{key: value for key, value in ENTRY.items() if key != "matchConditions"}], b"PEM")
    assert differences(wanted, [{**wanted[0], "matchConditions": [CONDITION]}]) == [
        f"{ENTRY['name']}: matchConditions changed"
    ]
    assert differences(wanted, [{**wanted[0], "matchConditions": []}]) == []


def test_match_conditions_of_others_are_found_from_the_last_to_the_first() -> None:
    other = {"name": "others", "matchConditions": [CONDITION]}
    ours = {**WANTED[0], "matchConditions": [CONDITION, *ENTRY["matchConditions"], {**CONDITION, "name": "more"}]}
    assert foreign_conditions(WANTED, [other, ours]) == [(1, 2), (1, 0)]
    assert foreign_conditions(WANTED, [other, *WANTED]) == []


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({}, []),
        (
            {"namespaceSelector": {"matchExpressions": [*OURS, AKS_MANAGED, AKS]}},
            [
                "namespaceSelector: control-plane NotIn true",
                "namespaceSelector: kubernetes.azure.com/managedby NotIn aks",
            ],
        ),
        (
            {"namespaceSelector": {"matchExpressions": [*OURS, {**GKE, "values": ["mine", "kube-system"]}]}},
            ["namespaceSelector: kubernetes.io/metadata.name NotIn kube-system"],
        ),
        ({"somethingNew": "of a later Kubernetes"}, ["somethingNew"]),
    ],
)
def test_remaining_differences_are_named(change: dict[str, Any], left: list[str]) -> None:
    live = [{"name": "others", "somethingNew": 1}, {**WANTED[0], **change}]
    assert left_in_place(WANTED, live) == [f"{ENTRY['name']}: {text}" for text in left]
    assert left_in_place(WANTED, []) == []


@pytest.mark.parametrize(
    ("live", "published"),
    [
        (WANTED, True),
        ([{**WANTED[0], "namespaceSelector": {"matchLabels": {"a": "b"}}}], True),
        ([{"name": "others"}, *WANTED], True),
        ([{**WANTED[0], "clientConfig": {**CLIENT, "caBundle": "b3RoZXI="}}], False),
        ([{**WANTED[0], "clientConfig": None}], False),
        ([{"name": "others"}], False),
        ([], False),
    ],
)
def test_address_and_ca_bundle_are_compared_whatever_else_differs(live: list[dict[str, Any]], published: bool) -> None:
    assert publishes(WANTED, live) is published


def test_of_service_and_url_the_unwanted_one_is_taken_away() -> None:
    (entry,) = completed([{"name": "x", "clientConfig": {"url": "https://example.com/"}}], None)
    assert entry["clientConfig"] == {"url": "https://example.com/", "service": None}
    assert differences([entry], [{**entry, "clientConfig": {"url": "https://example.com/", "service": SERVICE}}])
    assert differences([entry], [{**entry, "clientConfig": {"url": "https://example.com/"}}]) == []


def test_an_entry_that_is_missing_is_named() -> None:
    assert differences(WANTED, [{**WANTED[0], "name": "others"}]) == ["gate.admission.anchore.io is missing"]


@pytest.mark.parametrize(
    ("client", "url"),
    [
        ({"service": SERVICE}, "https://gate.security.svc:443/validate"),
        ({"service": {"name": "a", "namespace": "b", "port": 8443}}, "https://a.b.svc:8443/"),
        ({"url": "https://example.com/validate/x"}, "https://example.com/validate/x"),
    ],
)
def test_the_probe_uses_the_address_of_reviews(client: dict[str, Any], url: str) -> None:
    assert service_url({"name": "x", "clientConfig": client}) == url
