"""The Helm chart, rendered by the real helm; and Kubernetes' own schemas for what comes out."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import yaml

from support import programs
from support.paths import ROOT

CHART = ROOT / "deploy" / "helm" / "anchore-admission"
SCHEMAS = ROOT / "tests" / "data" / "kubernetes-schemas"
ENDPOINT = {"anchore": {"endpoint": "http://anchore:8228"}}
ANCHORE = {"anchore": {**ENDPOINT["anchore"], "credentialsSecret": "credentials"}}
"""The minimal values of an installation."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""Those of libyaml, where PyYAML was built with it: nine times as fast."""
RELEASE, NAMESPACE = "anchore-admission", "security"
Values = Mapping[str, Any]
Object = dict[str, Any]


class HelmError(Exception):
    """An error of a program, with its output."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The objects of a release."""

    objects: Sequence[Object]

    def get(self, kind: str, name: str = RELEASE) -> Object:
        """The one object of that kind and name."""
        found = [it for it in self.objects if it["kind"] == kind and it["metadata"]["name"] == name]
        assert len(found) == 1, f"{kind} {name}: {sorted(self.names())}"
        return found[0]

    def names(self) -> set[tuple[str, str]]:
        return {(it["kind"], it["metadata"]["name"]) for it in self.objects}

    def pod(self, name: str = RELEASE) -> Object:
        """The Pod spec of a Deployment."""
        spec: Object = self.get("Deployment", name)["spec"]["template"]["spec"]
        return spec

    def container(self) -> Object:
        container: Object = self.pod()["containers"][0]
        return container

    def configuration(self) -> str:
        text: str = self.get("ConfigMap")["data"]["configuration.yaml"]
        return text

    def webhook(self) -> Object:
        """The one entry of the validating webhook, wherever it stands."""
        live = self.get("ValidatingWebhookConfiguration")
        if "webhooks" not in live:
            *_, live = yaml.safe_load_all(self.get("ConfigMap")["data"]["registration.yaml"])
        (entry,) = live["webhooks"]
        found: Object = entry
        return found


def program(name: str) -> str:
    """Return the path of a program: among those of the cluster tests, or on PATH.

    Skips the test where it is not, or fails it where CHARTS=required.
    """
    found = programs.find(name)
    if not found:
        why = f"SKIPPED: {name} is not here; `make programs` builds it"
        (pytest.fail if os.environ.get("CHARTS") == "required" else pytest.skip)(why)
    return found


def run(name: str, *arguments: str, given: str = "", **environment: str) -> str:
    """A program's output. Raises HelmError with what it said when it fails."""
    done = subprocess.run(  # noqa: S603 - helm, kubectl, kubeconform, promtool
        [program(name), *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )
    if done.returncode:
        raise HelmError(done.stdout + done.stderr)
    return done.stdout


def render(values: Values, *options: str, release: str = RELEASE, namespace: str = NAMESPACE) -> Rendered:
    """The chart with these values. Raises HelmError."""
    text = render_text(values, *options, release=release, namespace=namespace)
    return rendered(text)


def rendered(text: str) -> Rendered:
    """Return the objects in what helm or kustomize printed."""
    return Rendered([document for document in yaml.load_all(text, _LOADER) if document])


def render_text(values: Values, *options: str, release: str = RELEASE, namespace: str = NAMESPACE) -> str:
    arguments = ("template", release, str(CHART), "--namespace", namespace, "--values", "-", *options)
    return _rendered(arguments, yaml.dump(dict(values), Dumper=_DUMPER))


@cache
def _rendered(arguments: tuple[str, ...], values: str) -> str:
    """Run helm once for the same values: many tests look at different objects of the same release."""
    return run("helm", *arguments, given=values)


def notes(values: Values, release: str = RELEASE, namespace: str = NAMESPACE) -> str:
    """Return the notes that helm prints after an installation."""
    arguments = ("install", release, str(CHART), "--namespace", namespace, "--values", "-", "--dry-run=client")
    return run("helm", *arguments, given=yaml.safe_dump(dict(values))).partition("\nNOTES:\n")[2]


def refusal(values: Values, **where: str) -> str:
    with pytest.raises(HelmError) as caught:
        render(values, **where)
    return str(caught.value)


def merged(*layers: Values) -> dict[str, Any]:
    """Values over values, as Helm merges them."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = result.get(key)
            result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return result


def references(value: Any) -> Iterator[Any]:
    """Every mapping within a value."""
    if isinstance(value, Mapping):
        yield value
        for below in value.values():
            yield from references(below)
    elif isinstance(value, list):
        for below in value:
            yield from references(below)


EVERYTHING: dict[str, Values] = {
    "least": ANCHORE,
    "least right": merged(
        ANCHORE,
        {"webhook": {"registration": "chart", "admitOtherReleases": False}},
        {"certificates": {"mode": "certManager"}},
    ),
    "credentials": {"anchore": {"endpoint": "https://anchore", "username": "u", "password": "p"}},
    "pinning": merged(ANCHORE, {"pinning": {"enabled": True}}),
    "pinning, chart": merged(
        ANCHORE,
        {"pinning": {"enabled": True}, "webhook": {"registration": "chart"}},
        {"certificates": {"mode": "certManager"}},
    ),
    "sandbox": {"sandbox": {"enabled": True, "seed": {"images": [{"tag": "docker.io/library/alpine:3.20"}]}}},
    "cert-manager": merged(ANCHORE, {"certificates": {"mode": "certManager"}}),
    "cert-manager, chart": merged(
        ANCHORE,
        {"webhook": {"registration": "chart"}},
        {
            "certificates": {
                "mode": "certManager",
                "certManager": {"issuerRef": {"name": "ca", "kind": "ClusterIssuer"}},
            }
        },
    ),
    "existing Secret": merged(ANCHORE, {"certificates": {"mode": "existingSecret", "existingSecret": "mine"}}),
    "existing Secret, chart": merged(
        ANCHORE,
        {"webhook": {"registration": "chart"}},
        {"certificates": {"mode": "existingSecret", "existingSecret": "m", "caBundle": "-----BEGIN CERTIFICATE-----"}},
    ),
    "guarded": merged(
        ANCHORE,
        {
            "webhook": {
                "secretPath": {"existingSecret": "path"},
                "clientCertificates": {"caConfigMap": "clients", "names": ["kube-apiserver", "other"]},
            }
        },
    ),
    "shared store": merged(
        ANCHORE,
        {
            "sharedStore": {
                "url": "rediss://valkey.cache.svc:6379",
                "seal": {"existingSecret": "seal"},
                "credentials": {"existingSecret": "store"},
                "caConfigMap": "ca",
            }
        },
    ),
    "shared store behind Sentinels": merged(
        ANCHORE,
        {
            "sharedStore": {
                "url": "rediss://sentinel-0.cache.svc:26379",
                "topology": "sentinel",
                "sentinelService": "gate",
                "moreServers": ["sentinel-1.cache.svc:26379"],
                "clusterName": "prod-eu/gate",
                "seal": {"existingSecret": "seal"},
                "credentials": {
                    "existingSecret": "store",
                    "usernameKey": "",
                    "passwordKey": "redis-password",
                    "sentinelPasswordKey": "sentinel-password",
                },
                "caSecret": "ca",
                "timeout": "20ms",
            }
        },
    ),
    "notified": merged(
        ANCHORE,
        {"notifications": {"existingSecret": "from-anchore", "key": "token"}},
        {
            "networkPolicy": {
                "enabled": True,
                "notificationsFrom": [{"podSelector": {"matchLabels": {"app": "anchore"}}}],
            }
        },
    ),
    "OPA": merged(
        ANCHORE,
        {
            "opa": {
                "url": "https://opa.opa.svc:8181",
                "path": "kubernetes/admission",
                "timeout": "500ms",
                "onError": "warn",
                "caConfigMap": "ca",
                "token": {"existingSecret": "opa", "key": "bearer"},
                "clientCertificate": {"existingSecret": "client"},
            }
        },
    ),
    "OPA beside it": merged(
        ANCHORE,
        {
            "opa": {
                "sidecar": {
                    "enabled": True,
                    "policies": {"admission.rego": 'package anchore.admission\n\ndeny contains "no" if false\n'},
                    "policyConfigMaps": ["team.policies", "platform"],
                    "config": {"decision_logs": {"console": True}},
                    "extraArgs": ["--log-format=text"],
                    "extraEnv": [{"name": "A", "value": "b"}],
                    "extraVolumeMounts": [{"name": "v", "mountPath": "/v"}],
                }
            },
            "extraVolumes": [{"name": "v", "configMap": {"name": "c"}}],
        },
    ),
    "facts": merged(
        ANCHORE,
        {
            "facts": {
                "enabled": True,
                "token": {"existingSecret": "tokens", "key": "facts"},
                "clientCertificates": {"existingSecret": "gatekeeper", "names": ["gatekeeper"]},
                "tokenReview": {
                    "audience": "kyverno-svc.kyverno.io",
                    "users": ["system:serviceaccount:kyverno:kyverno-admission-controller"],
                },
            },
            "webhook": {"registration": "chart"},
            "certificates": {"mode": "certManager"},
            "networkPolicy": {"enabled": True, "factsFrom": [{"podSelector": {"matchLabels": {"app": "gatekeeper"}}}]},
        },
    ),
    "client CA in a Secret": merged(
        ANCHORE, {"webhook": {"clientCertificates": {"existingSecret": "clients", "names": ["kube-apiserver"]}}}
    ),
    "watched": merged(
        ANCHORE,
        {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
        {"prometheusRule": {"enabled": True}},
        {"networkPolicy": {"enabled": True, "egress": {"enabled": True, "rules": [{"ports": [{"port": 8228}]}]}}},
    ),
    "extras": merged(
        ANCHORE,
        {
            "hostNetwork": True,
            "dnsPolicy": "None",
            "dnsConfig": {"nameservers": ["10.96.0.10"], "options": [{"name": "ndots", "value": "2"}]},
            "priorityClassName": "system-cluster-critical",
            "proxy": {"http": "http://proxy:3128", "https": "http://proxy:3128", "exceptions": ["10.0.0.8", ".corp"]},
            "imagePullSecrets": [{"name": "registry"}],
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "commonLabels": {"team": "security"},
            "commonAnnotations": {"team": "security"},
            "podLabels": {"pod": "yes"},
            "podAnnotations": {"pod": "yes"},
            "extraArgs": ["--host=::"],
            "extraEnv": [{"name": "A", "value": "b"}],
            "extraEnvFrom": [{"secretRef": {"name": "s"}}],
            "extraVolumes": [{"name": "v", "configMap": {"name": "c"}}],
            "extraVolumeMounts": [{"name": "v", "mountPath": "/v"}],
            "service": {"annotations": {"a": "b"}, "type": "NodePort"},
            "image": {"registry": "registry.example.com"},
            "deploymentAnnotations": {"a": "b"},
            "runtimeClassName": "gvisor",
            "revisionHistoryLimit": 2,
            "serviceAccount": {"labels": {"a": "b"}, "annotations": {"a": "b"}, "automount": True},
            "podDisruptionBudget": {"minAvailable": "50%"},
            "autoscaling": {"enabled": True, "targetMemoryUtilizationPercentage": 90, "behavior": {"scaleDown": {}}},
            "livenessProbe": {"initialDelaySeconds": 5, "periodSeconds": 10},
        },
    ),
}
"""Installations that together use all that the chart offers."""
