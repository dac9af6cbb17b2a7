"""The chart's alerts as files for promtool, with series for which they should fire or not."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from support.charts import ANCHORE, NAMESPACE, RELEASE, Object, Values, merged, render, run
from support.paths import ROOT

PREFIX: Final = "AnchoreAdmission"
WATCHED: Final = merged(ANCHORE, {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}})
_DATA: Final = yaml.safe_load((ROOT / "tests" / "data" / "alerts.yaml").read_text())
_SERIES_LABEL = re.compile(r"\$(\w+)")
_NO_NUMBERS = re.compile(r"NaNx(\d+)")
_TEMPLATE = re.compile(r"{{ \$labels\.(\w+) }}")


def target(pod: str) -> dict[str, str]:
    """Return the labels that the Prometheus operator gives to the targets of a ServiceMonitor."""
    service = f"{RELEASE}-metrics"
    where = {"namespace": NAMESPACE, "service": service, "job": service, "endpoint": "operations"}
    return {**where, "container": RELEASE, "pod": pod, "instance": f"{pod}:8080"}


@dataclass(frozen=True, slots=True)
class Scenario:
    """Measured series, and the alerts that fire at each moment with their labels."""

    name: str
    series: Mapping[str, str]
    at: Mapping[str, Mapping[str, Sequence[Mapping[str, str] | str]]]


SCENARIOS: Final = [
    Scenario(it["name"], {**_DATA["healthy"], **it.get("series", {})}, it["at"]) for it in _DATA["scenarios"]
]


@cache
def _groups(values: str) -> Sequence[Object]:
    (found,) = (it for it in render(json.loads(values)).objects if it["kind"] == "PrometheusRule")
    return tuple(found["spec"]["groups"])


def groups(values: Values = WATCHED) -> Sequence[Object]:
    """Return the groups of rules that the chart renders."""
    return _groups(json.dumps(values, sort_keys=True))


def rules(values: Values = WATCHED) -> dict[str, Object]:
    """Return the rules by the names of their alerts."""
    return {rule["alert"]: rule for group in groups(values) for rule in group["rules"]}


def promtool(folder: Path, *commands: str, values: Values = WATCHED, test: Object | None = None) -> str:
    """Return promtool's output for the chart's rules. Raises HelmError if it finds problems."""
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": list(groups(values))}))
    if test:
        (folder / "test.yaml").write_text(yaml.safe_dump(test))
    return run("promtool", *commands, str(folder / ("test.yaml" if test else "rules.yaml")))


def as_test(scenario: Scenario) -> Object:
    """Return promtool's tests of a scenario: every alert is checked at every moment."""
    series = [{"series": _expanded(name), "values": _spelled(values)} for name, values in scenario.series.items()]
    expected = [
        {"eval_time": moment, "alertname": name, "exp_alerts": list(_alerts(rule, firing.get(name, ())))}
        for moment, expected in scenario.at.items()
        for firing in [{PREFIX + name: labels for name, labels in expected.items()}]
        for name, rule in rules().items()
    ]
    test = {"interval": "1m", "input_series": series, "alert_rule_test": expected}
    return {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}


def _expanded(series: str) -> str:
    def labels(found: re.Match[str]) -> str:
        name = found[1]
        webhook = {"name": f"{RELEASE}.admission.anchore.io", "job": "apiserver"}
        return ",".join(f'{key}="{value}"' for key, value in (webhook if name == "ours" else target(name)).items())

    return _SERIES_LABEL.sub(labels, series)


def _spelled(values: str) -> str:
    """promtool repeats numbers only."""
    return _NO_NUMBERS.sub(lambda found: " ".join(["NaN"] * (int(found[1]) + 1)), values)


def _alerts(rule: Object, firing: Sequence[Mapping[str, str] | str]) -> Iterator[Object]:
    for own in firing:
        labels = target(own.removeprefix("$")) if isinstance(own, str) else own
        yield {
            "exp_labels": {**labels, **rule["labels"]},
            "exp_annotations": _rendered_annotations(rule["annotations"], labels),
        }


def _rendered_annotations(annotations: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, str]:
    """Render annotations as Prometheus does for templates that name labels only."""
    return {key: _TEMPLATE.sub(lambda found: labels[found[1]], text) for key, text in annotations.items()}
