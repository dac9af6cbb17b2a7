"""The chart's alerts, checked with promtool: they fire when they should, and at no other time."""

import re
from pathlib import Path

import pytest
import yaml

from support.alerts import PREFIX, SCENARIOS, WATCHED, Scenario, as_test, groups, promtool, rules
from support.charts import CHART, NAMESPACE, RELEASE, Values, merged, render, run

CHART_REGISTERS: Values = {"webhook": {"registration": "chart"}, "certificates": {"mode": "certManager"}}
OWN_SECRET: Values = {"certificates": {"mode": "existingSecret", "existingSecret": "mine"}}


@pytest.mark.parametrize("values", [{}, CHART_REGISTERS, OWN_SECRET, {"fullnameOverride": "gate"}])
def test_prometheus_reads_the_rules(values: Values, tmp_path: Path) -> None:
    watched = merged(WATCHED, values)
    said = promtool(tmp_path, "check", "rules", "--lint-fatal", values=watched)
    assert f"SUCCESS: {len(rules(watched))} rules found" in said


def test_prometheus_reads_the_file_as_it_stands() -> None:
    said = run("promtool", "check", "rules", "--lint-fatal", str(CHART / "files" / "alerts.yaml"))
    assert f"SUCCESS: {len(rules())} rules found" in said


def test_no_word_in_capitals_is_left() -> None:
    text = yaml.safe_dump(list(groups()))
    assert re.findall(r"FULLNAME|NAMESPACE|CERTIFICATE_DAYS|TIMEOUT_SECONDS", text) == []


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda it: it.name)
def test_alerts_fire_when_they_should_and_at_no_other_time(scenario: Scenario, tmp_path: Path) -> None:
    promtool(tmp_path, "test", "rules", test=as_test(scenario))


def test_every_alert_fires_in_some_scenario() -> None:
    fired = {PREFIX + name for scenario in SCENARIOS for firing in scenario.at.values() for name in firing}
    assert fired == set(rules())


@pytest.mark.parametrize("name", ["severity", "namespace"])
def test_every_alert_can_be_routed(name: str) -> None:
    assert {rule["labels"][name] for rule in rules().values()} <= {"critical", "warning", NAMESPACE}


def test_every_alert_names_the_problem_and_the_remedy() -> None:
    assert rules()
    for rule in rules().values():
        assert rule["annotations"].keys() == {"summary", "description"}


def test_only_a_release_that_registers_itself_can_fail_to_register() -> None:
    assert set(rules()) - set(rules(merged(WATCHED, CHART_REGISTERS))) == {
        f"{PREFIX}NotRegistered",
        f"{PREFIX}RegistrationChanged",
    }


def test_the_service_monitor_finds_the_service_that_the_alerts_name_and_no_other() -> None:
    rendered = render(WATCHED)
    spec = rendered.get("ServiceMonitor")["spec"]
    wanted = spec["selector"]["matchLabels"].items()
    services = [it for it in rendered.objects if it["kind"] == "Service"]
    (found,) = (it for it in services if wanted <= it["metadata"]["labels"].items())
    assert found["metadata"]["name"] == f"{RELEASE}-metrics"
    assert found["metadata"]["namespace"] == rendered.get("ServiceMonitor")["metadata"]["namespace"] == NAMESPACE
    (endpoint,), (port,) = spec["endpoints"], found["spec"]["ports"]
    assert (endpoint["port"], endpoint["path"]) == (port["name"], "/metrics")
    assert port["targetPort"] in {it["name"] for it in rendered.container()["ports"]}
