"""An Anchore whose own Pods would need its verdict."""

from typing import Any

import pytest

from anchore_admission.core.dependency import deadlocked_namespaces
from anchore_admission.core.webhook.drift import judges_namespace
from anchore_admission.core.webhook.entry import WebhookOptions, service_client, webhook_configuration
from anchore_admission.models.configuration import Configuration

ANCHORE = {"endpoint": "http://demo-anchore-engine-api.default.svc:8228"}
STRICT = {"mode": "strict"}
OWN = {"name": "own", "match": {"namespaces": ["default"], "images": ["anchore/*"]}, "mode": "skip"}


def webhooks(*excluded: str) -> Any:
    client = service_client("gate", "security", 443, "/validate")
    return webhook_configuration(WebhookOptions("gate", client, excluded=excluded))["webhooks"]


def deadlocked(*excluded: str, **configuration: Any) -> list[str]:
    given = {"anchore": ANCHORE, "defaults": STRICT, **configuration}
    return deadlocked_namespaces(Configuration.model_validate(given), webhooks(*excluded))


@pytest.mark.parametrize(
    ("endpoint", "namespaces"),
    [
        ("http://demo-anchore-engine-api.default.svc:8228", ["default"]),
        ("http://api.default.svc.cluster.local:8228/v2", ["default"]),
        ("http://api-0.api.anchore.svc.cluster.local.", ["anchore"]),
        ("http://API.Anchore.SVC", ["anchore"]),
        ("http://api.security.svc", []),
        ("http://api.kube-system.svc", []),
        ("http://anchore-api:8228", []),
        ("http://api.anchore:8228", []),
        ("https://anchore.svc.example.com", []),
        ("https://anchore.example.com", []),
        ("http://10.0.0.1:8228", []),
        ("http://[fd00::1]:8228", []),
    ],
)
def test_the_endpoint_names_the_namespace(endpoint: str, namespaces: list[str]) -> None:
    assert deadlocked(anchore={"endpoint": endpoint}) == namespaces


def test_every_account_has_an_endpoint_and_each_namespace_is_named_once() -> None:
    accounts = [
        {"name": "a", "endpoint": "http://api.default.svc"},
        {"name": "b", "endpoint": "http://api.other.svc"},
    ]
    assert deadlocked(accounts=accounts) == ["default", "other"]


@pytest.mark.parametrize(
    ("configuration", "warned"),
    [
        ({}, True),
        ({"defaults": {"mode": "analysis"}}, True),
        ({"defaults": {"mode": "passive"}}, False),
        ({"defaults": {"mode": "skip"}}, False),
        ({"defaults": {**STRICT, "onError": "warn"}}, False),
        ({"defaults": {**STRICT, "onError": "allow"}}, False),
        ({"defaults": {**STRICT, "enforcement": "warn"}}, False),
        ({"defaults": {**STRICT, "enforcement": "audit"}}, False),
        ({"rules": [OWN]}, False),
        ({"rules": [{**OWN, "mode": "passive"}]}, False),
        ({"rules": [{**OWN, "match": {"namespaces": ["def*"]}}]}, False),
        ({"rules": [{**OWN, "match": {"namespaces": ["other"]}}]}, True),
        ({"rules": [{**OWN, "match": {"images": ["anchore/*"]}}]}, True),
        ({"rules": [{**OWN, "match": {}}]}, False),
        ({"defaults": {"mode": "passive"}, "rules": [{**OWN, "mode": "strict"}]}, True),
        ({"defaults": {"mode": "passive"}, "rules": [{**OWN, "mode": "strict"}, OWN | {"name": "late"}]}, True),
        ({"rules": [{**OWN, "match": {"namespaces": ["prod-*"]}, "mode": "strict"}, OWN | {"name": "b"}]}, False),
    ],
)
def test_only_where_anchore_is_needed(configuration: dict[str, Any], warned: bool) -> None:
    assert deadlocked(**configuration) == (["default"] if warned else [])


def test_an_excluded_namespace_is_not_judged() -> None:
    assert deadlocked("default") == []
    assert deadlocked("calico-system") == ["default"]
    assert deadlocked_namespaces(Configuration.model_validate({"anchore": ANCHORE, "defaults": STRICT}), []) == []


@pytest.mark.parametrize(
    ("selector", "judged"),
    [
        (None, True),
        ({}, True),
        ({"matchLabels": {"kubernetes.io/metadata.name": "trial"}}, False),
        ({"matchLabels": {"kubernetes.io/metadata.name": "default"}}, True),
        ({"matchLabels": {"team": "a"}}, True),
        ({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["trial"]}]}, False),
        ({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["default"]}]}, True),
        ({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["a"]}]}, True),
        ({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["default"]}]}, True),
    ],
)
def test_a_selector_matches_names_as_kubernetes_does(selector: Any, judged: bool) -> None:
    assert judges_namespace({"name": "a", "namespaceSelector": selector}, "default") is judged
