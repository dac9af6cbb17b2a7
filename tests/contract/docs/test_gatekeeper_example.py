"""The template in docs/examples/gatekeeper, run by the real OPA with the answers that Gatekeeper gives to Rego."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from anchore_admission.models.image_report import ReportedVerdict
from support.charts import run
from support.image_reports import APP, INIT, WARNED, pod, report
from support.paths import DOCS

FOLDER = DOCS / "examples" / "gatekeeper"
TEMPLATE = yaml.safe_load((FOLDER / "template.yaml").read_text())
CONSTRAINTS = list(yaml.safe_load_all((FOLDER / "constraint.yaml").read_text()))
PARAMETERS = CONSTRAINTS[0]["spec"]["parameters"]
_BUILTIN = {
    "name": "external_data",
    "decl": {"type": "function", "args": [{"type": "any"}], "result": {"type": "any"}},
}
_ANSWERED = """package answered

external_data(request) := data.answer if {
    request.provider == "anchore-admission"
    count(request.keys) > 0
    sort(request.keys) == data.keys
}
"""
"""Gatekeeper's function: defined for a request with the expected keys only."""


def answer(*reports: Mapping[str, Any], **members: Any) -> dict[str, Any]:
    """Return a provider's answer as Gatekeeper hands it to Rego."""
    pairs = [[each["reference"], each] for each in reports]
    return {"responses": pairs, "errors": [], "status_code": 200, "system_error": ""} | members


@pytest.fixture(name="opa")
def _opa(tmp_path: Path) -> Path:
    """A folder with the template's Rego, and an OPA's capabilities with Gatekeeper's function."""
    (code,) = TEMPLATE["spec"]["targets"][0]["code"]
    (tmp_path / "template.rego").write_text(code["source"]["rego"])
    capabilities = json.loads(run("opa", "capabilities", "--current"))
    capabilities["builtins"].append(_BUILTIN)
    (tmp_path / "capabilities.json").write_text(json.dumps(capabilities))
    return tmp_path


def violations(
    opa: Path, review: Mapping[str, Any], answered: Mapping[str, Any] | None, *, keys: Sequence[str] = (APP,)
) -> list[str]:
    """Return the messages about a review. No answer stands for a call that fails in Gatekeeper."""
    (opa / "answered.rego").write_text(_ANSWERED)
    (opa / "data.json").write_text(json.dumps({"keys": sorted(keys)} | ({"answer": answered} if answered else {})))
    found = json.loads(
        run(
            "opa",
            *("eval", "--format", "raw", "--stdin-input", "--capabilities", str(opa / "capabilities.json")),
            *(word for name in ("template.rego", "answered.rego", "data.json") for word in ("--data", str(opa / name))),
            "data.anchoreimages.violation with external_data as data.answered.external_data",
            given=json.dumps({"review": review, "parameters": PARAMETERS}),
        )
    )
    return sorted(each["msg"] for each in found)


def test_the_rego_compiles_and_is_formatted(opa: Path) -> None:
    rego = str(opa / "template.rego")
    assert run("opa", "check", "--strict", "--capabilities", str(opa / "capabilities.json"), rego) == ""
    assert run("opa", "fmt", "--list", rego) == ""


def test_the_constraints_are_of_the_kind_and_have_its_parameters() -> None:
    crd = TEMPLATE["spec"]["crd"]["spec"]
    kind, known = crd["names"]["kind"], crd["validation"]["openAPIV3Schema"]["properties"]

    assert TEMPLATE["metadata"]["name"] == kind.lower()
    assert {each["kind"] for each in CONSTRAINTS} == {kind}
    assert [set(each["spec"]["parameters"]) for each in CONSTRAINTS] == [set(known)] * 2
    assert [each["spec"]["enforcementAction"] for each in CONSTRAINTS] == ["deny", "warn"]


SILENT = [
    ("the call failed in Gatekeeper", None, "image registry.example.com/app:1: Anchore's facts are missing"),
    ("the key was omitted", answer(), "image registry.example.com/app:1: Anchore's facts are missing"),
    (
        "another key was answered",
        answer(report(INIT)),
        "image registry.example.com/app:1: Anchore's facts are missing",
    ),
    (
        "not analyzed yet",
        answer(system_error="registry.example.com/app:1 is being analyzed"),
        "Anchore's facts are missing: registry.example.com/app:1 is being analyzed",
    ),
    (
        "Gatekeeper reached nobody",
        {"responses": None, "errors": None, "status_code": 500, "system_error": "context deadline exceeded"},
        "Anchore's facts are missing: context deadline exceeded",
    ),
    (
        "an error page",
        answer(report(), status_code=401),
        "Anchore's facts are missing: the provider responded with status 401",
    ),
    (
        "no reference",
        answer(errors=[[APP, "invalid reference format"]]),
        "image registry.example.com/app:1: invalid reference format",
    ),
    (
        "no verdict",
        answer({"reference": APP}),
        "image registry.example.com/app:1 does not pass Anchore's policy: no_verdict",
    ),
    (
        "stopped",
        answer(report(verdict=ReportedVerdict("deny", "policy_failed"))),
        "image registry.example.com/app:1 does not pass Anchore's policy: policy_failed",
    ),
]


@pytest.mark.parametrize(("answered", "message"), [row[1:] for row in SILENT], ids=[row[0] for row in SILENT])
def test_silence_and_failures_deny(opa: Path, answered: Mapping[str, Any] | None, message: str) -> None:
    assert message in violations(opa, {"object": pod(APP)}, answered)


@pytest.mark.parametrize("status", [200, 0], ids=["asked", "from the cache"])
def test_an_image_that_passes_is_admitted(opa: Path, status: int) -> None:
    """Gatekeeper gives no status when its cache answers."""
    assert violations(opa, {"object": pod(APP)}, answer(report(), status_code=status)) == []


PLACES = [
    {"spec": {"template": pod(APP)}},
    {"spec": {"jobTemplate": {"spec": {"template": pod(APP)}}}},
    pod(INIT, initContainers=[{"image": APP}]),
    pod(INIT, ephemeralContainers=[{"image": APP}]),
    pod(INIT, volumes=[{"name": "v", "image": {"reference": APP}}]),
]


@pytest.mark.parametrize("workload", PLACES, ids=["Deployment", "CronJob", "init", "ephemeral", "volume"])
def test_the_images_of_every_place_are_asked_about(opa: Path, workload: Mapping[str, Any]) -> None:
    keys = [APP, INIT] if workload["spec"].get("containers") else [APP]
    denied = report(verdict=ReportedVerdict("deny", "policy_failed"))

    assert violations(opa, {"object": workload}, answer(denied, report(INIT)), keys=keys) == [
        "image registry.example.com/app:1 does not pass Anchore's policy: policy_failed"
    ]


EXPOSED = [
    (pod(APP), 0),
    (pod(APP, hostNetwork=False), 0),
    (pod(APP, hostNetwork=True), 1),
    ({"spec": {"template": pod(APP, hostNetwork=True)}}, 1),
    ({"spec": {"containers": [{"image": APP, "securityContext": {"privileged": True}}]}}, 1),
    (pod(APP, initContainers=[{"image": APP, "securityContext": {"privileged": True}}]), 1),
]


@pytest.mark.parametrize(("workload", "denials"), EXPOSED)
@pytest.mark.parametrize(
    "facts",
    [report(findings=(WARNED,)), report(findings_total=None), report(findings_total=9)],
    ids=["severe", "not known", "cut"],
)
def test_findings_count_where_the_pod_is_exposed(
    opa: Path, workload: Mapping[str, Any], facts: Mapping[str, Any], denials: int
) -> None:
    assert len(violations(opa, {"object": workload}, answer(facts))) == denials


def test_an_update_asks_about_the_images_that_it_adds(opa: Path) -> None:
    """Without any, nothing is asked: the call would fail here."""
    assert violations(opa, {"object": pod(APP), "oldObject": pod(APP)}, None) == []
    assert violations(opa, {"object": pod(APP, INIT), "oldObject": pod(INIT)}, answer(report())) == []
