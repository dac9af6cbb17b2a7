"""``review --cluster`` and ``--replay`` on a real cluster: real lists and pages, real rights, a real audit log."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from e2e.cluster.api import Api
from e2e.cluster.cluster import Cluster
from e2e.cluster.control_plane import REPLAYED
from e2e.cluster.daemon import Daemon
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.places import AUDIT_LOG
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.things import FAILING, PASSING, PENDING, thing
from support.paths import ROOT

pytestmark = pytest.mark.cluster

MANY: Final = 510
"""More than a page."""
UNREAD: Final = 2
"""The exit code if something could not be listed, and nothing is denied."""
READER: Final = "anchore-admission-replay"
_PORT: Final = 8239
_SANDBOX: Final = f"http://127.0.0.1:{_PORT}"
_CREDENTIALS: Final = {
    "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_USERNAME": "admin",
    "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_PASSWORD": "foobar",
}
_PROGRAM: Final = (sys.executable, "-m", "anchore_admission")


@dataclass(frozen=True, slots=True)
class Program:
    kubectl: Kubectl
    configuration: Path

    def review(self, *options: str, kubeconfig: str = "") -> tuple[int, dict[str, Any]]:
        """Compare the passive configuration with strict mode; return the exit code and the document."""
        return self.compare(*options, "--mode", "strict", kubeconfig=kubeconfig)

    def compare(self, *options: str, kubeconfig: str = "") -> tuple[int, dict[str, Any]]:
        """Compare the passive configuration with what the options name."""
        given = {**_CREDENTIALS, **({"KUBECONFIG": kubeconfig} if kubeconfig else {})}
        variables = [f"{name}={value}" for name, value in given.items()]
        arguments = ["review", *options, "--config", str(self.configuration), "-o", "json"]
        done = self.kubectl.run("env", *variables, *_PROGRAM, *arguments)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


def changes(document: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    return {
        (change["change"], f"{change['object']['kind']}/{change['object']['name']}", change["image"])
        for change in document["changes"]
        if change["object"]["namespace"] == REPLAYED
    }


@pytest.fixture(scope="module")
def filled(api: Api, kubectl: Kubectl, namespaces: Namespaces) -> str:
    """A namespace with workloads, and a Deployment that gets a failing image only by an update."""
    namespaces(REPLAYED, env="replayed")
    things = [
        thing("Deployment", FAILING, name="web", replicas=2),
        thing("Deployment", PASSING, name="updated"),
        thing("StatefulSet", PASSING, name="fine"),
        thing("CronJob", PENDING, name="nightly"),
        thing("Pod", FAILING, name="lonely"),
        *(thing("PodTemplate", PASSING, name=f"many-{number:03}") for number in range(MANY)),
    ]
    for body in things:
        assert api.create(REPLAYED, body).allowed
    until(lambda: len(api.get(f"/api/v1/namespaces/{REPLAYED}/pods")["items"]) == 5, "the controllers made their Pods")
    kubectl("annotate", "-n", REPLAYED, "deployment/web", "note=unchanged-images")
    kubectl("set", "image", "-n", REPLAYED, "deployment/updated", f"c1={FAILING}")
    return REPLAYED


@pytest.fixture(scope="module")
def program(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The program, with a sandbox of its own."""
    file = tmp_path_factory.mktemp("replay") / "configuration.yaml"
    file.write_text(json.dumps({"anchore": {"endpoint": _SANDBOX}, "defaults": {"mode": "passive"}}))
    environment = {"PATH": os.environ["PATH"]}
    daemon = Daemon("replay-sandbox", [*_PROGRAM, "sandbox", f"--port={_PORT}", "--log-level=warning"], environment)
    daemon.start()
    try:
        until(lambda: daemon.require() and httpx.get(f"{_SANDBOX}/health", trust_env=False).is_success, "it answers")
        yield Program(kubectl, file)
    finally:
        daemon.stop()


def test_the_live_cluster_is_compared(program: Program, filled: str) -> None:
    code, document = program.review("--cluster", "--namespace", filled)

    assert code == 1
    assert changes(document) == {
        ("newlyDenied", "Deployment/web", FAILING),
        ("newlyDenied", "Deployment/updated", FAILING),
        ("newlyDenied", "Pod/lonely", FAILING),
        ("newlyWarned", "CronJob/nightly", PENDING),
    }
    assert document["judged"]["PodTemplate"] == MANY
    assert document["unread"]["count"] == 0


def test_the_labels_of_namespaces_are_those_of_the_cluster(program: Program, filled: str, tmp_path: Path) -> None:
    new = json.loads(program.configuration.read_text())
    selector = {"matchLabels": {"env": filled}}
    new["rules"] = [{"name": "by-label", "match": {"namespaceSelector": selector}, "mode": "strict"}]
    file = tmp_path / "new.yaml"
    file.write_text(json.dumps(new))

    code, document = program.compare("--cluster", "--against", str(file))

    assert code == 1
    assert ("newlyDenied", "Deployment/web", FAILING) in changes(document)
    assert [row["namespace"] for row in document["namespaces"]] == [filled]


def test_all_namespaces_are_compared(program: Program, filled: str) -> None:
    code, document = program.review("--cluster")

    assert code == 1
    assert ("newlyDenied", "Deployment/web", FAILING) in changes(document)
    assert document["unread"]["count"] == 0


def test_the_documented_rights_are_enough(program: Program, filled: str, kubectl: Kubectl, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "replay.md").read_text()
    role = next(block for block in page.split("```yaml\n")[1:] if "kind: ClusterRole" in block).partition("```")[0]
    assert yaml.safe_load(role)["metadata"]["name"] == READER
    kubectl("create", "serviceaccount", "-n", filled, READER)
    kubeconfig = as_service_account(kubectl, filled, tmp_path)

    refused, nothing = program.review("--cluster", kubeconfig=kubeconfig)
    kubectl("apply", "-f", "-", stdin=role)
    kubectl("create", "clusterrolebinding", READER, f"--clusterrole={READER}", f"--serviceaccount={filled}:{READER}")
    try:
        until(lambda: program.review("--cluster", kubeconfig=kubeconfig)[0] != UNREAD, "the rights are there")
        code, document = program.review("--cluster", kubeconfig=kubeconfig)
    finally:
        kubectl("delete", "clusterrolebinding,clusterrole", READER)

    assert (refused, nothing["unread"]["count"]) == (UNREAD, 9)
    assert "pods: 403:" in nothing["unread"]["first"][2]["message"]
    assert (code, document["unread"]["count"]) == (1, 0)


def as_service_account(kubectl: Kubectl, namespace: str, folder: Path) -> str:
    """Write a kubeconfig for the reader and return its path."""
    shown = kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json")
    config = json.loads(shown)
    config["users"][0]["user"] = {"token": kubectl("create", "token", "-n", namespace, READER).strip()}
    file = folder / "kubeconfig"
    file.write_text(json.dumps(config))
    return str(file)


def test_the_audit_log_is_compared(
    cluster: Cluster, api: Api, namespaces: Namespaces, program: Program, filled: str
) -> None:
    """Outside the namespace, the log holds metadata only."""
    assert api.create(namespaces("replayed-not"), thing("Pod", FAILING)).allowed

    code, document = program.review("--replay", str(AUDIT_LOG))

    assert code == 1
    assert changes(document) == {
        ("newlyDenied", "Deployment/web", FAILING),
        ("newlyDenied", "Deployment/updated", FAILING),
        ("newlyDenied", "Pod/lonely", FAILING),
        ("newlyWarned", "CronJob/nightly", PENDING),
    }
    assert document["notJudged"]["withoutObject"] > 0
    assert document["unread"]["count"] == 0
