import base64
from typing import Any

import pytest

from anchore_admission.core.registration import completed, differences, publishes, question_url

SERVICE = {"name": "gate", "namespace": "security", "path": "/validate"}
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
ENTRY: dict[str, Any] = {
    "name": "gate.admission.anchore.io",
    "clientConfig": {"service": SERVICE},
    "rules": [RULE],
    "namespaceSelector": {"matchExpressions": [{"key": "k", "operator": "NotIn", "values": ["kube-system"]}]},
    "matchConditions": [{"name": "changed", "expression": "true"}],
    "admissionReviewVersions": ["v1"],
    "sideEffects": "NoneOnDryRun",
}
WANTED = completed([ENTRY], b"PEM")
OURS = ENTRY["namespaceSelector"]["matchExpressions"]
AKS = {"key": "control-plane", "operator": "NotIn", "values": ["true"]}
GKE = {"key": "addonmanager.kubernetes.io/mode", "operator": "DoesNotExist"}
CLIENT: dict[str, Any] = WANTED[0]["clientConfig"]


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


def test_what_is_written_wins_over_the_defaults() -> None:
    (entry,) = completed([{**ENTRY, "failurePolicy": "Ignore", "rules": [{**RULE, "scope": "Namespaced"}]}], None)
    assert (entry["failurePolicy"], entry["rules"][0]["scope"]) == ("Ignore", "Namespaced")
    assert "caBundle" not in entry["clientConfig"]


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({}, []),
        ({"namespaceSelector": {**ENTRY["namespaceSelector"], "matchLabels": {}}}, []),
        ({"objectSelector": None}, []),
        ({"namespaceSelector": {"matchExpressions": [*OURS, AKS]}}, []),
        ({"namespaceSelector": {"matchExpressions": [AKS, GKE, *OURS]}}, []),
        ({"namespaceSelector": {"matchExpressions": [AKS]}}, ["namespaceSelector"]),
        ({"namespaceSelector": {"matchExpressions": [*OURS, {**AKS, "operator": "In"}]}}, ["namespaceSelector"]),
        ({"namespaceSelector": {"matchExpressions": None}}, ["namespaceSelector"]),
        ({"objectSelector": {"matchExpressions": [GKE]}}, ["objectSelector"]),
        ({"matchConditions": [*ENTRY["matchConditions"], {"name": "mine", "expression": "true"}]}, []),
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
def test_what_differs_is_named(change: dict[str, Any], difference: list[str]) -> None:
    expected = [f"{ENTRY['name']}: {fields} changed" for fields in difference]
    assert differences(WANTED, [{"name": "others"}, {**WANTED[0], **change}]) == expected


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
def test_who_is_asked_and_trusted_may_be_right_whatever_else_is_wrong(
    live: list[dict[str, Any]], published: bool
) -> None:
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
def test_the_question_goes_where_reviews_go(client: dict[str, Any], url: str) -> None:
    assert question_url({"name": "x", "clientConfig": client}) == url
