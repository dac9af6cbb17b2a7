"""The metrics of a running controller: well named, and complete for the alerts and the documentation."""

import asyncio
import base64
import datetime as dt
import json
import re
import signal
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from anchore_admission.core.decision import Decision, Reason
from anchore_admission.core.facts import SubmissionState
from anchore_admission.core.freshness import Freshness
from anchore_admission.core.pins import PinResult
from anchore_admission.errors import EvaluationError, HookError
from anchore_admission.models.configuration import ModeName
from anchore_admission.ports.namespaces import LiveRead
from anchore_admission.ports.telemetry import FactsOutcome, Origin, StoreOutcome
from anchore_admission.process import prepared, run
from support import charts
from support.alerts import rules, target
from support.managed import SECRET, cluster, settings
from support.paths import DOCS
from support.ports import free_port
from support.sandbox_server import sandbox_served
from support.webhook import POD_CREATE

DOCUMENTATION: Final = (DOCS / "operating.md").read_text()
OTHERS: Final = {
    "up": set[str](),  # Prometheus itself
    # kube-apiserver 1.36, k8s.io/apiserver/pkg/admission/metrics/metrics.go
    "apiserver_admission_webhook_rejection_count": {"name", "type", "operation", "error_type", "rejection_code"},
    "apiserver_admission_webhook_fail_open_count": {"name", "type"},
}
VALUES: Final = {
    "outcome": {
        *("ok", "not_found", *SubmissionState, *StoreOutcome, *FactsOutcome, *LiveRead),
        *(kind.code for kind in (*EvaluationError.__subclasses__(), *HookError.__subclasses__())),
    },
    "decision": set(Decision),
    "mode": {*ModeName, "mixed", "none"},
    "origin": set(Origin),
    "reason": set(Reason),
    "result": set(PinResult),
    "use": {*Freshness, "asked"},
    "error_type": {"calling_webhook_error", "apiserver_internal_error", "no_error"},
}
"""The values of labels whose values are a closed set."""
CONFIGURATION: Final = {
    "defaults": {"mode": "strict"},
    "rules": [
        {"name": "watched", "match": {"images": ["*/watched/*"]}, "mode": "passive"},
        {"name": "labeled", "match": {"images": ["*/labeled/*"], "namespaceSelector": {"matchLabels": {"a": "b"}}}},
    ],
    "exemptions": [
        {
            "name": "risk",
            "match": {"images": ["*/exempt/*"]},
            "reason": "accepted",
            "owner": "security",
            "expires": (dt.datetime.now(dt.UTC) + dt.timedelta(days=3)).date().isoformat(),
        }
    ],
    "submissions": {"queueSize": 1, "concurrency": 1},
}
"""Configuration that judges some of several images, exempts one, submits some and drops the last."""


async def _exposition(folder: Path, patch: pytest.MonkeyPatch, anchore: str) -> str:
    """Return the metrics of a controller with a wrong password and a store that is down after two calls.

    One of them is unreadable.
    """
    port, operations_port = free_port(), free_port()
    patch.setenv("ANCHORE_ADMISSION_ACCOUNT_DEFAULT_USERNAME", "admin")
    patch.setenv("ANCHORE_ADMISSION_ACCOUNT_DEFAULT_PASSWORD", "wrong")
    async with cluster(folder, patch) as api:
        (folder / "token").write_text("a-token-of-policy-engines")
        facts = {"facts_port": free_port(), "facts_token_file": folder / "token"}
        wanted = settings(folder, port, operations_port).model_copy(update=facts)
        (folder / "current").write_text("a seal key of at least 32 random bytes")
        shared = {"url": "redis://127.0.0.1:1", "clusterName": "test", "keyDirectory": str(folder)}
        document = {"anchore": {"endpoint": anchore}, "sharedStore": shared, **CONFIGURATION}
        (folder / "configuration.json").write_text(json.dumps(document))
        process = asyncio.create_task(run(prepared(wanted)))
        await asyncio.wait([process, asyncio.create_task(api.applied.wait())], return_when="FIRST_COMPLETED")
        bundle = base64.b64decode(api.objects[SECRET]["data"]["ca.crt"]).decode()
        async with httpx.AsyncClient(verify=ssl.create_default_context(cadata=bundle)) as client:
            for body in (_review(), b"{}"):
                url, headers = f"https://localhost:{port}/validate", {"content-type": "application/json"}
                await client.post(url, content=body, headers=headers)
            text = (await client.get(f"http://127.0.0.1:{operations_port}/metrics")).text
        signal.raise_signal(signal.SIGTERM)
        await process
    return text


def _review() -> bytes:
    review = json.loads(POD_CREATE)
    names = ("judged", "exempt/it", *(f"watched/{number}" for number in range(4)))
    containers = [{"name": name.replace("/", "-"), "image": f"registry.example/{name}:1"} for name in names]
    review["request"]["object"]["spec"]["containers"] = containers
    return json.dumps(review).encode()


@pytest.fixture
async def exposition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    with sandbox_served() as anchore:
        yield await _exposition(tmp_path, monkeypatch, anchore)


def _families(text: str) -> dict[str, Metric]:
    """Return the controller's own metrics by the names of their series; a counter's ends in _total."""
    families = text_string_to_metric_families(text)
    ours = [family for family in families if family.name.startswith("anchore_admission_")]
    return {family.name + ("_total" if family.type == "counter" else ""): family for family in ours}


def _labels(text: str) -> dict[str, set[str]]:
    """Return the labels of every exposed series by its name."""
    samples = (sample for family in _families(text).values() for sample in family.samples)
    return {sample.name: set(sample.labels) for sample in samples}


async def test_names_and_help_are_as_prometheus_wants_them(exposition: str) -> None:
    charts.run("promtool", "check", "metrics", given=exposition)


async def test_alerts_name_nothing_that_is_not_there(exposition: str) -> None:
    exposed = {**_labels(exposition), **OTHERS}
    assert rules()
    for name, rule in rules().items():
        expression = rule["expr"]
        named = re.findall(r"(\w+)\{([^}]*)\}", expression)
        assert len(named) == len(re.findall(r"\b(?:up|(?:anchore_admission|apiserver)_\w+)\b", expression)), name
        for metric, matchers in named:
            grouped = re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expression)))
            matched = re.findall(r'(\w+)(?:=~|!=|!~|=)"([^"]*)"', matchers)
            own = exposed[metric] | (set() if metric.startswith("apiserver") else target("a").keys())
            assert {*grouped, *(label for label, _ in matched)} <= own, name
            for label, values in matched:
                assert set(values.split("|")) <= VALUES.get(label, {values}), name


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("anchore_calls_total", {"account": "default", "operation": "by_tag", "outcome": "refused"}),
        ("anchore_calls_total", {"account": "default", "operation": "submit", "outcome": "refused"}),
        ("image_verdicts_total", {"decision": "no_verdict", "mode": "strict", "reason": "error"}),
        ("analysis_requests_total", {"account": "default", "outcome": "dropped"}),
        ("review_duration_seconds_bucket", {"le": "5.0", "mode": "mixed", "outcome": "denied", "origin": "admission"}),
    ],
)
async def test_the_events_that_alerts_wait_for_are_counted_as_they_expect(
    name: str, labels: dict[str, str], exposition: str
) -> None:
    samples = [sample for family in _families(exposition).values() for sample in family.samples]
    (found,) = (it for it in samples if it.name == f"anchore_admission_{name}" and it.labels == labels)
    assert found.value > 0


async def test_the_documentation_names_every_metric_with_its_labels(exposition: str) -> None:
    rows = re.findall(r"^\| `(anchore_admission_\w+)`[^|]*\|(.*)\|$", DOCUMENTATION, re.MULTILINE)
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    families = _families(exposition)
    assert set(documented) == set(families)
    for name, family in families.items():
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == documented[name], name


def test_the_documentation_names_every_alert() -> None:
    assert re.findall(r"^\| `(AnchoreAdmission\w+)` \|", DOCUMENTATION, re.MULTILINE) == list(rules())
