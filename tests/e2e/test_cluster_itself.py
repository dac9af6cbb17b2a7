"""The test cluster is a real one: nodes run Pods, Services respond, names resolve, the audit log is written."""

import json

import pytest

from e2e.cluster.api import Api
from e2e.cluster.cluster import Cluster
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.places import AUDIT_LOG
from e2e.cluster.registry import VERSION, Registry
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.things import thing

pytestmark = pytest.mark.cluster


def test_pods_run_on_both_nodes_and_find_services_by_name(
    cluster: Cluster, kubectl: Kubectl, api: Api, namespaces: Namespaces
) -> None:
    name = namespaces("itself")
    assert len(cluster.nodes) > 1
    for node in cluster.nodes:
        container = {"name": "main", "image": "docker.io/library/alpine:3.20"}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": node.name},
            "spec": {"nodeName": node.name, "terminationGracePeriodSeconds": 0, "containers": [container]},
        }
        assert api.create(name, pod).allowed
    for node in cluster.nodes:
        kubectl("wait", "-n", name, "--for=condition=Ready", f"pod/{node.name}", "--timeout=120s")
        found = kubectl("exec", "-n", name, node.name, "--", "nslookup", "kubernetes.default.svc.cluster.local")
        assert "10.96.0.1" in found


def test_nodes_pull_images_by_tag_and_by_digest(
    cluster: Cluster, registry: Registry, kubectl: Kubectl, api: Api, namespaces: Namespaces
) -> None:
    name = namespaces("pulled")
    first = registry.push("team/moving:1", "first")
    second = registry.push("team/moving:1", "second")
    single = registry.push("team/single:1", "single", architectures=["amd64"])
    expected = {"by-tag": (first.tag, "second"), "by-digest": (first.pinned, "first"), "single": (single.tag, "single")}
    volume = {"name": "files", "image": {"reference": first.pinned}}
    mount = {"name": "files", "mountPath": "/files"}

    for pod, (image, _) in expected.items():
        made = thing("Pod", image, name=pod, runs=True, volumes=[volume])
        made["spec"]["containers"][0]["volumeMounts"] = [mount]
        assert api.create(name, made).allowed

    assert second.digest != first.digest
    for pod, (_, version) in expected.items():
        kubectl("wait", "-n", name, "--for=condition=Ready", f"pod/{pod}", "--timeout=120s")
        assert kubectl("exec", "-n", name, pod, "--", "cat", f"/{VERSION}", f"/files/{VERSION}") == f"{version}first"


def test_the_audit_log_records_who_did_what(cluster: Cluster, api: Api, namespaces: Namespaces) -> None:
    name = namespaces("audited")
    entries = until(
        lambda: [e for e in map(json.loads, AUDIT_LOG.read_text().splitlines()) if _is_about(e, name)], name
    )
    assert entries[0]["user"]["username"] == "admin"
    assert entries[0]["verb"] == "create"


def _is_about(entry: dict[str, dict[str, str]], name: str) -> bool:
    return entry.get("objectRef", {}).get("name") == name
