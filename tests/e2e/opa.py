"""Open Policy Agent beside the controller: its image, its policies, and what happens to its processes."""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from e2e.cluster import images
from e2e.cluster.cluster import Cluster
from e2e.cluster.programs import program
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.release import CHART, NAME, Release, installed
from e2e.things import FAILING, PASSING, Json, thing
from support.paths import ROOT

GUARDED: Final = "guarded"
RISKY: Final = "redis:7"
"""Passes Anchore's policy with a warning about a finding of severity high."""
FINDING: Final = "CVE-2026-0001"
POLICIES: Final = "admission-policies"
PATH: Final = "policy anchore/admission"
OBJECTION: Final = f"{PATH}: image {RISKY}: not allowed in a Pod that is in the host's network: {FINDING}"
EXAMPLES: Final = {name: (ROOT / "docs/examples/opa" / name).read_text() for name in ("common.rego", "exposed.rego")}
BROKEN: Final = {**EXAMPLES, "exposed.rego": "package anchore.admission\n\ndeny contains x if y\n"}
FROZEN: Final = {
    "frozen.rego": "package anchore.admission\n\n"
    'deny contains "labels are frozen" if input.request.object.metadata.labels.frozen\n'
}
"""Denies a label, which changes no image."""
_SIDECAR: Final = yaml.safe_load((CHART / "values.yaml").read_text())["opa"]["sidecar"]["image"]
IMAGE: Final = f"{_SIDECAR['repository']}:{_SIDECAR['tag']}"


def _rule(severity: str, action: str) -> Json:
    params = {"package_type": "all", "severity": severity, "severity_comparison": "="}
    named = [{"name": name, "value": value} for name, value in params.items()]
    return {"id": severity, "gate": "vulnerabilities", "trigger": "package", "action": action, "params": named}


def _finding(severity: str) -> Json:
    return {"id": FINDING, "severity": severity, "package": "libexample", "version": "1.0"}


_EVERYTHING: Final = {
    "name": "Default",
    "registry": "*",
    "repository": "*",
    "image": {"type": "tag", "value": "*"},
    "policy_ids": ["Default"],
    "whitelist_ids": [],
}
_POLICY: Final = {
    "id": "tolerant",
    "version": "1_0",
    "name": "Tolerant",
    "policies": [
        {"id": "Default", "version": "1_0", "name": "D", "rules": [_rule("critical", "STOP"), _rule("high", "WARN")]}
    ],
    "whitelists": [],
    "whitelisted_images": [],
    "blacklisted_images": [],
    "mappings": [_EVERYTHING],
}
SEED: Final = {
    "images": [
        {"tag": f"docker.io/library/{PASSING}"},
        {"tag": f"docker.io/library/{RISKY}", "findings": [_finding("high")]},
        {"tag": f"docker.io/library/{FAILING}", "findings": [_finding("critical")]},
    ],
    "policies": [{"account": "admin", "active": True, "policy": _POLICY}],
}


def values(*, replicas: int = 2, sidecar: Mapping[str, object] | None = None, **opa: object) -> Json:
    beside = {"enabled": True, "policyConfigMaps": [POLICIES], **(sidecar or {})}
    return {
        "sandbox": {"enabled": True, "seed": SEED},
        "enableStrictGating": True,
        "replicaCount": replicas,
        "opa": {"sidecar": beside, **opa},
    }


def exposed(image: str = RISKY, name: str = "exposed") -> Json:
    return thing("Pod", image, name=name, hostNetwork=True)


@dataclass(frozen=True, slots=True)
class Beside:
    """A release with OPA in its Pods."""

    release: Release
    cluster: Cluster

    def write(self, policies: Mapping[str, str]) -> None:
        """Replace the ConfigMap with the policies."""
        metadata = {"name": POLICIES, "namespace": NAME}
        self.release.kubectl.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": policies})

    def said(self, pod: Json | None = None) -> list[str]:
        """Return the denial of each replica, empty where it admits the Pod."""
        return [self.said_by(replica, pod) for replica in self.release.pods()]

    def said_by(self, replica: Json, pod: Json | None = None) -> str:
        response = self.release.reviewed(replica, GUARDED, pod or exposed())
        return "" if response["allowed"] else str(response["status"]["message"])

    def follow(self, expected: str, pod: Json | None = None) -> None:
        """Wait until every replica denies the Pod with this text, or admits it if the text is empty."""

        def all_follow() -> bool:
            self.release.nudge()
            return all(expected in said and bool(said) == bool(expected) for said in self.said(pod))

        until(all_follow, f"every replica says {expected!r}", 240, every=1)

    def statuses(self) -> list[Json]:
        """Return the status of OPA's container in each replica."""
        return [status_of(pod) for pod in self.release.pods()]

    def restarts(self) -> list[int]:
        return [status["restartCount"] for status in self.statuses()]

    def processes(self) -> list[int]:
        tasks = {container: process for node in self.cluster.nodes for container, process in node.tasks().items()}
        return [tasks[status["containerID"].removeprefix("containerd://")] for status in self.statuses()]

    def signal(self, number: signal.Signals) -> None:
        for process in self.processes():
            os.kill(process, number)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """OPA hangs in every replica, until the end or until the kubelet replaces it."""
        processes = self.processes()
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            _continue(processes)

    def log(self, replica: Json) -> str:
        return self.release.kubectl("logs", "-n", NAME, replica["metadata"]["name"], "-c", "opa")


def _continue(processes: Sequence[int]) -> None:
    for process in processes:
        try:
            os.kill(process, signal.SIGCONT)
        except ProcessLookupError:
            continue


def status_of(pod: Json, container: str = "opa") -> Json:
    statuses = [*pod["status"].get("initContainerStatuses", ()), *pod["status"].get("containerStatuses", ())]
    (status,) = (each for each in statuses if each["name"] == container)
    found: Json = status
    return found


def load(cluster: Cluster, folder: Path) -> None:
    """Give the nodes the image of OPA that the chart and kustomize name."""
    archive = folder / "opa.tar"
    images.write(archive, [IMAGE], ["/bin/opa"], {"bin/opa": Path(program("opa"))})
    cluster.load(archive)


@contextmanager
def beside(release: Release, cluster: Cluster, namespaces: Namespaces, folder: Path) -> Iterator[Beside]:
    """A release whose OPA has the policies of the documentation."""
    load(cluster, folder)
    namespaces(GUARDED)
    found = Beside(release, cluster)
    release.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}})
    found.write(EXAMPLES)
    with installed(release, values()):
        until(release.ready, "every replica is ready", 180)
        release.await_judging(GUARDED)
        yield found
