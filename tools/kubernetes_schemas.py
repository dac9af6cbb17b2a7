#!/usr/bin/env python3
"""Make tests/data/kubernetes-schemas from Kubernetes' swagger.json and from files of CustomResourceDefinitions.

    python tools/kubernetes_schemas.py kubernetes/api/openapi-spec/swagger.json cert-manager/deploy/crds/*.yaml

The schemas of the kinds that the chart renders, strict (no unknown fields) and named the way kubeconform expects. Those
of the Prometheus operator, servicemonitor-monitoring-v1.json and prometheusrule-monitoring-v1.json, are written by hand
with the fields that the chart uses; this program leaves them alone.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

TARGET = Path(__file__).parents[1] / "tests" / "data" / "kubernetes-schemas"
KINDS = {
    ("", "v1"): "ConfigMap Namespace Pod Secret Service ServiceAccount",
    ("admissionregistration.k8s.io", "v1"): "MutatingWebhookConfiguration ValidatingWebhookConfiguration",
    ("apps", "v1"): "Deployment",
    ("autoscaling", "v2"): "HorizontalPodAutoscaler",
    ("batch", "v1"): "Job",
    ("coordination.k8s.io", "v1"): "Lease",
    ("networking.k8s.io", "v1"): "NetworkPolicy",
    ("policy", "v1"): "PodDisruptionBudget",
    ("rbac.authorization.k8s.io", "v1"): "ClusterRole ClusterRoleBinding Role RoleBinding",
}
CUSTOM = {"Certificate", "Issuer"}
_PREFIX = "#/definitions/"
_KEPT = {"type", "required", "enum", "$ref", "pattern", "minimum", "maximum"}
_INT_OR_STRING = {"anyOf": [{"type": "integer"}, {"type": "string"}]}


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema without descriptions and extensions, rejecting unknown fields."""
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return _INT_OR_STRING
    kept: dict[str, Any] = {key: value for key, value in schema.items() if key in _KEPT}
    if "items" in schema:
        kept["items"] = strict(schema["items"])
    if properties := schema.get("properties"):
        kept["properties"] = {name: strict(value) for name, value in properties.items()}
        kept["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        kept["additionalProperties"] = strict(schema["additionalProperties"])
    return kept


def references(schema: Any) -> set[str]:
    """Return the names of the definitions that a schema refers to."""
    if isinstance(schema, dict):
        own = {schema["$ref"].removeprefix(_PREFIX)} if isinstance(schema.get("$ref"), str) else set()
        return own.union(*map(references, schema.values()))
    return set().union(*map(references, schema)) if isinstance(schema, list) else set()


def main(swagger: str, *custom: str) -> None:
    """Write one file per kind, and one with the definitions they share."""
    every: dict[str, Any] = json.loads(Path(swagger).read_text())["definitions"]
    roots = {}
    for name, definition in every.items():
        for kind in definition.get("x-kubernetes-group-version-kind", ()):
            key = (kind["group"], kind["version"])
            if kind["kind"] in KINDS.get(key, "").split():
                roots[_file(kind["kind"], *key)] = name
    definitions: dict[str, Any] = {}
    wanted = set(roots.values())
    while wanted:
        name = wanted.pop()
        definitions[name] = strict(every[name])
        wanted |= references(definitions[name]) - definitions.keys()
    _write("_definitions.json", {"definitions": dict(sorted(definitions.items()))})
    for file, name in roots.items():
        _write(file, {"$ref": f"_definitions.json{_PREFIX}{name}"})
    for path in custom:
        _write_custom(yaml.safe_load(Path(path).read_text()))


def _write_custom(crd: dict[str, Any]) -> None:
    spec = crd["spec"]
    kind = spec["names"]["kind"]
    if kind not in CUSTOM:
        return
    for version in spec["versions"]:
        schema = strict(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        _write(_file(kind, spec["group"], version["name"]), schema)


def _file(kind: str, group: str, version: str) -> str:
    return "-".join(part for part in (kind.lower(), group.split(".", maxsplit=1)[0], version) if part) + ".json"


def _write(file: str, schema: dict[str, Any]) -> None:
    (TARGET / file).write_text(json.dumps(schema, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
