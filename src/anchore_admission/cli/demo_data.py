"""The content of the demonstration: the sandbox's seed, the controller's configuration, the Pods to create."""

from dataclasses import dataclass
from typing import Any

ANALYSIS_SECONDS = 2
POLICY = "admissionpolicy"

_BUNDLE = {
    "id": POLICY,
    "version": "1_0",
    "name": "AdmissionControllerDefaultPolicy",
    "comments": "",
    "policies": [
        {
            "id": "Default",
            "version": "1_0",
            "name": "Default",
            "comments": "Default policy for doing cve checks",
            "rules": [
                {
                    "id": "cverule1",
                    "gate": "vulnerabilities",
                    "trigger": "package",
                    "params": [
                        {"name": "package_type", "value": "all"},
                        {"name": "severity", "value": "low"},
                        {"name": "severity_comparison", "value": ">="},
                    ],
                    "action": "STOP",
                }
            ],
        }
    ],
    "whitelists": [],
    "mappings": [
        {
            "name": "Default",
            "registry": "*",
            "repository": "*",
            "image": {"type": "tag", "value": "*"},
            "policy_ids": ["Default"],
            "whitelist_ids": [],
        }
    ],
    "whitelisted_images": [],
    "blacklisted_images": [],
}
_FINDINGS = [
    {"id": "CVE-2021-3711", "severity": "high", "package": "openssl", "version": "1.1.1j-r0", "fix": "1.1.1k-r0"},
    {"id": "CVE-2016-2781", "severity": "low", "package": "coreutils", "version": "8.32-4", "fix": None},
]
SEED: dict[str, Any] = {
    "analysisTime": ANALYSIS_SECONDS,
    "policies": [{"policy": _BUNDLE}],
    "images": [{"tag": "docker.io/nginx:1.27", "state": "analyzed"}],
    "registry": [
        {"tag": "docker.io/nginx:1.27"},
        {"tag": "docker.io/ubuntu:latest", "findings": _FINDINGS},
        {"tag": "registry.example.com/private/app:1.0", "error": "REGISTRY_PERMISSION_DENIED"},
    ],
}


def configuration(anchore: str) -> dict[str, Any]:
    """Return a configuration with one namespace per mode."""
    return {
        "anchore": {"endpoint": anchore},
        "defaults": {"mode": "passive"},
        "rules": [
            {"name": "strict", "match": {"namespaces": ["strict"]}, "mode": "strict", "policy": POLICY},
            {"name": "analysis", "match": {"namespaces": ["analysis"]}, "mode": "analysis"},
        ],
    }


@dataclass(frozen=True, slots=True)
class Scene:
    """A Pod that a user creates; ``init_image`` gives it an init container."""

    namespace: str
    image: str
    why: str
    init_image: str = ""

    @property
    def pod(self) -> dict[str, Any]:
        spec: dict[str, Any] = {"containers": [{"name": "app", "image": self.image}]}
        if self.init_image:
            spec["initContainers"] = [{"name": "setup", "image": self.init_image}]
        metadata = {"name": "demo", "namespace": self.namespace}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


FIRST = (
    Scene("passive", "ubuntu", "passive mode admits everything and requests an analysis"),
    Scene("strict", "ubuntu", "strict mode denies it until it is analyzed"),
    Scene("analysis", "quay.io/team/new:1.0", "analysis mode denies it until it is analyzed"),
    Scene("strict", "nginx:1.27", "analyzed, and passes the policy"),
    Scene("strict", "registry.example.com/private/app:1.0", "not analyzed yet either"),
    Scene("strict", "sha256:0123abcd", "an image ID: Anchore cannot check it"),
)
LATER = (
    Scene("analysis", "quay.io/team/new:1.0", "analyzed by now"),
    Scene("strict", "ubuntu", "analyzed by now, but fails the policy"),
    Scene("strict", "nginx:1.27", "init containers are checked too", init_image="ubuntu"),
    Scene("strict", "registry.example.com/private/app:1.0", "Anchore has no access to the registry"),
)
