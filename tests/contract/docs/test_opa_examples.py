"""The policies in docs/examples/opa, run by the real OPA: their own tests, and reviews over the sandbox."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anchore_admission.models.image_report import ImageReport
from anchore_admission.sandbox.default_policy import DEFAULT_POLICY
from support.charts import run
from support.command_line import CommandLine
from support.hooks import OpaServer, started
from support.paths import DOCS
from support.sandbox_server import sandbox_served

FOLDER = DOCS / "examples" / "opa"
COMMON = FOLDER / "common.rego"
POLICIES = sorted(path for path in FOLDER.glob("*.rego") if not path.stem.endswith("_test") and path != COMMON)

policies = pytest.mark.parametrize("policy", POLICIES, ids=lambda path: path.stem)


def test_the_policies_compile_and_are_formatted() -> None:
    assert run("opa", "check", "--strict", str(FOLDER)) == ""
    assert run("opa", "fmt", "--list", str(FOLDER)) == ""


def test_the_tests_of_the_policies_pass_and_reach_every_line() -> None:
    rows = json.loads(run("opa", "test", str(FOLDER), "--format", "json"))
    tested = {Path(row["location"]["file"]).name for row in rows}
    report = json.loads(run("opa", "test", str(FOLDER), "--coverage", "--format", "json"))

    assert tested == {f"{path.stem}_test.rego" for path in [COMMON, *POLICIES]}
    assert [row["name"] for row in rows if row.get("fail") or row.get("skip")] == []
    assert {Path(name).name for name, file in report["files"].items() if file.get("not_covered")} == set()


def test_the_page_describes_every_policy() -> None:
    """Each has a row of the table and a section."""
    page = (DOCS / "opa-policies.md").read_text()
    missing = [path.name for path in POLICIES if page.count(f"({'/'.join(path.parts[-3:])})") != 1]
    assert missing == []
    assert [path.name for path in POLICIES if f"| [{path.name}](#" not in page] == []


@policies
def test_a_policy_decides_with_the_common_file_alone(policy: Path) -> None:
    """The common file has the rule ``deny`` that every answer needs."""
    query = ("opa", "eval", "--strict-builtin-errors", "--format", "raw", "--stdin-input", "data.anchore.admission")
    document = json.dumps({"anchoreAdmission": {"input": 1}, "images": [], "request": {"object": {}}})

    decision = json.loads(run(*query, "--data", str(COMMON), "--data", str(policy), given=document))

    assert decision["deny"] == []
    assert decision["images"] == {}


@pytest.fixture(scope="module", name="schema")
def _schema(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with the JSON schema of the input, as far as the reports about images go."""
    (images,), definitions = msgspec.json.schema_components([ImageReport], ref_template="#/definitions/{name}")
    ours = {"type": "object", "properties": {"input": {"type": "integer"}}}
    members = {"request": {}, "images": {"type": "array", "items": images}, "anchoreAdmission": ours}
    file = tmp_path_factory.mktemp("schema") / "input.json"
    file.write_text(json.dumps({"type": "object", "properties": members, "definitions": definitions}))
    return str(file)


@policies
def test_a_policy_reads_only_members_that_a_report_has(policy: Path, schema: str) -> None:
    assert run("opa", "check", "--strict", "--schema", schema, str(COMMON), str(policy)) == ""


def _policy(name: str, action: str, severity: str) -> dict[str, Any]:
    """The sandbox's policy with one rule: an action for the severity and those above it."""
    (own,) = DEFAULT_POLICY["policies"]
    rule = own["rules"][0] | {"action": action}
    params = [{**each, "value": severity} if each["name"] == "severity" else each for each in rule["params"]]
    params = [{**each, "value": ">="} if each["name"] == "severity_comparison" else each for each in params]
    return {**DEFAULT_POLICY, "id": name, "name": name, "policies": [{**own, "rules": [{**rule, "params": params}]}]}


def _days_ago(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _image(name: str, *findings: dict[str, Any], days: int = 1) -> dict[str, Any]:
    return {"tag": f"registry.example.com/{name}:1", "findings": findings, "analyzedAt": _days_ago(days)}


HIGH = {"id": "CVE-2026-1", "severity": "high", "package": "openssl", "fix": "3.0.1"}
UNFIXED = {"id": "CVE-2026-2", "severity": "critical", "package": "zlib"}
SEED = {
    "images": [
        _image("clean"),
        _image("high", HIGH),
        _image("unfixed", UNFIXED),
        _image("unfixed-for-weeks", UNFIXED, days=20),
        _image("month", days=40),
        _image("old", days=100),
        {"tag": "docker.io/library/nginx:1.25", "analyzedAt": _days_ago(1)},
    ],
    "policies": [{"policy": _policy("warns", "WARN", "high"), "active": True}],
}
NOT_ROOT = {"securityContext": {"runAsNonRoot": True}}


@pytest.fixture(scope="module", name="servers")
def _servers() -> Iterator[tuple[str, str]]:
    """The addresses of a sandbox with these images, and of an OPA with all policies."""
    with sandbox_served(SEED) as anchore, started(OpaServer([COMMON, *POLICIES])) as opa:
        yield anchore, opa.url


@pytest.fixture(name="program")
def _program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


def _pod(image: str, *, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """A Pod whose containers do not run as root, if the spec does not say otherwise."""
    reference = image if "/" in image or ":" in image else f"registry.example.com/{image}:1"
    spec = {**NOT_ROOT, "containers": [{"name": "app", "image": reference}], **spec}
    metadata = {"name": "app", "namespace": "shop", "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


REVIEWS = [
    (_pod("clean"), 0, ""),
    (_pod("high"), 0, ""),
    (_pod("high", hostNetwork=True), 1, "not allowed in a Pod that is in the host's network: CVE-2026-1"),
    (_pod("high", labels={"example.com/exposure": "internet"}), 1, "a Pod that is exposed to the internet: CVE-2026-1"),
    (_pod("high", securityContext={}), 1, "not allowed in a container that may run as root: CVE-2026-1"),
    (_pod("unfixed"), 0, "critical and without a fix, denied 14 days after the analysis: CVE-2026-2"),
    (_pod("unfixed-for-weeks"), 1, "and the analysis is not of the last 14 days: CVE-2026-2"),
    (_pod("month"), 0, "it will be denied 90 days after that"),
    (_pod("old"), 1, "analyzed too long ago"),
    (_pod("nginx:1.25"), 1, 'not from a registry that is allowed in the namespace "shop"'),
]


@pytest.mark.parametrize(("pod", "code", "message"), REVIEWS)
def test_a_review_is_decided_with_them(
    pod: dict[str, Any], code: int, message: str, servers: tuple[str, str], program: CommandLine
) -> None:
    anchore, opa = servers
    ended = program("review", "-f", "-", "--anchore", anchore, "--opa", opa, "-o", "json", stdin=json.dumps(pod))

    assert (ended.code, message in str(ended.out and ended.document)) == (code, True), (ended.out, ended.err)
