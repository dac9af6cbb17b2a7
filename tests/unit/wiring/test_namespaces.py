import asyncio
import json
import math
from contextlib import suppress
from pathlib import Path

import pytest

from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.errors import ConfigurationError
from anchore_admission.models.configuration import Configuration
from anchore_admission.ports.deadline import Deadline
from anchore_admission.services.reviews.rules import CurrentRules, Rules
from anchore_admission.wiring.namespaces import NO_NAMESPACES, NamespaceOptions, WiredNamespaces
from support.fakes import settled
from support.namespace_api import NamespaceApi

SELECTOR = {"matchLabels": {"env": "prod"}}
NEEDS_LABELS = [
    {"match": {"namespaceSelector": SELECTOR}},
    {"match": {"except": {"namespaceSelector": SELECTOR}}},
    {"policyFrom": {"namespaceLabel": "policy", "allowed": {"a": "b"}}},
]
NEEDS_NONE = [{"match": {"namespaces": ["prod-*"]}}, {"policyFrom": {"label": "policy", "allowed": {"a": "b"}}}]
CLUSTER = NamespaceOptions(uses_cluster=True)


def rules(rule: object) -> Rules:
    return Rules.of(Configuration.model_validate({"rules": [{"name": "it", **dict(rule)}]}))  # type: ignore[call-overload]


def wired_with(
    options: NamespaceOptions, telemetry: Telemetry | None = None, current: CurrentRules | None = None
) -> WiredNamespaces:
    return WiredNamespaces(options, telemetry or Telemetry(), current or CurrentRules(rules(NEEDS_NONE[0])))


def _kubeconfig(folder: Path, patch: pytest.MonkeyPatch) -> None:
    config = {
        "clusters": [{"name": "it", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "me", "user": {"token": "t"}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me"}}],
        "current-context": "it",
    }
    (folder / "kubeconfig").write_text(json.dumps(config))
    patch.setenv("KUBECONFIG", str(folder / "kubeconfig"))


def _metrics(telemetry: Telemetry) -> list[str]:
    return [metric.name for metric in telemetry.registry.collect() if "_namespace" in metric.name]


@pytest.mark.parametrize("rule", NEEDS_LABELS)
def test_without_labels_such_rules_are_rejected(rule: object) -> None:
    with pytest.raises(ConfigurationError, match="but not known here: give --namespace-labels FILE"):
        wired_with(NO_NAMESPACES).require(rules(rule))


@pytest.mark.parametrize("rule", NEEDS_LABELS)
def test_without_a_cluster_such_rules_are_rejected(
    rule: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    telemetry = Telemetry()
    wired = wired_with(CLUSTER, telemetry)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"no access to a Kubernetes API: .*; or give --namespace-labels"):
            wired.require(rules(rule))
    _kubeconfig(tmp_path, monkeypatch)
    wired.require(rules(rule))


@pytest.mark.parametrize("rule", NEEDS_NONE)
def test_other_rules_need_neither(rule: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    telemetry = Telemetry()
    for options in (NO_NAMESPACES, CLUSTER):
        wired_with(options, telemetry).require(rules(rule))
    assert _metrics(telemetry) == []


@pytest.mark.parametrize("options", [NamespaceOptions(given={"shop": {"env": "prod"}}), None])
async def test_given_labels_need_no_cluster(
    options: NamespaceOptions | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    file = tmp_path / "labels.yaml"
    file.write_text("shop: {env: prod}")
    wired = wired_with(options or NamespaceOptions(file=file, uses_cluster=True))
    wired.require(rules(NEEDS_LABELS[0]))
    labels = await wired.labels_of("shop", Deadline.after(1), may_ask=True)
    assert labels is not None
    assert labels["env"] == "prod"
    assert await wired.labels_of("bank", Deadline.after(1), may_ask=True) is None


async def test_a_changed_file_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "labels.yaml"
    file.write_text("shop: {env: prod}")
    wired = wired_with(NamespaceOptions(file=file))
    (watched,) = wired.watched
    file.write_text("shop: {env: test}")
    watched.refresh()
    file.write_text("shop: [")
    watched.refresh()
    assert watched.is_unusable()
    labels = await wired.labels_of("shop", Deadline.after(1), may_ask=False)
    assert labels is not None
    assert labels["env"] == "test"


def test_an_invalid_file_is_rejected_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        wired_with(NamespaceOptions(file=tmp_path / "none"))


async def test_the_cluster_is_followed_once_rules_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    api = NamespaceApi()
    api.put("shop", env="prod")
    monkeypatch.setattr("anchore_admission.adapters.kubernetes_namespaces.connect_namespaces", api.source)
    monkeypatch.setattr("anchore_admission.wiring.namespaces._TICK_SECONDS", 0.0)
    telemetry = Telemetry()
    current = CurrentRules(rules(NEEDS_NONE[0]))
    wired = wired_with(CLUSTER, telemetry, current)
    following = asyncio.create_task(wired.run())
    await settled()
    assert await wired.labels_of("shop", Deadline.after(1), may_ask=True) is None
    wired.require(rules(NEEDS_LABELS[0]))
    wired.require(rules(NEEDS_LABELS[1]))
    synced = telemetry.registry.get_sample_value("anchore_admission_namespaces_synced")
    assert math.isnan(synced or 0), "before these rules are in use"
    current.current = rules(NEEDS_LABELS[1])
    assert telemetry.registry.get_sample_value("anchore_admission_namespaces_synced") == 0
    await settled()
    labels = await wired.labels_of("shop", Deadline.after(1), may_ask=False)
    assert labels is not None
    assert labels["env"] == "prod"
    assert telemetry.registry.get_sample_value("anchore_admission_namespaces_synced") == 1
    assert telemetry.registry.get_sample_value("anchore_admission_namespaces") == 1
    assert telemetry.registry.get_sample_value("anchore_admission_namespace_lists_total") == 1
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    await wired.aclose()
