"""Read the values of the Go controller's chart, 0.2 to 0.8, and turn those about the deployment into ours."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from anchore_admission.text import shown

_DEFAULT_SELECTORS = (
    {
        "Selector": {"ResourceType": "image", "SelectorKeyRegex": ".*", "SelectorValueRegex": ".*"},
        "PolicyReference": {"Username": "admin", "PolicyBundleId": "2c53a13c-1765-11e8-82ef-23527761d060"},
        "Mode": "breakglass",
    },
)
_DEFAULT_NAMESPACES = ({"key": "exclude.admission.anchore.io", "operator": "NotIn", "values": ["true"]},)
_DEBUG_FROM = 4
"""The verbosity of klog from which it prints what we call debug."""
_SAME = ("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName")
_LEFT_OUT = {
    "image": "is left out: set image.repository and image.tag to an image of this controller",
    "imagePullSecrets": "is left out: set imagePullSecrets for the registry of this controller's image",
    "fullnameOverride": "is left out: while both controllers run, their objects need different names",
    "nameOverride": "is left out: while both controllers run, their objects need different names",
    "resources": "is left out: the requests and limits were those of another program",
    "securityContext": "is left out: this chart's own defaults satisfy the restricted profile",
    "containerSecurityContext": "is left out: this chart's own defaults satisfy the restricted profile",
    "initCa": "is left out: no hook makes certificates here",
    "credentialsSecret": "names a Secret with credentials.json: convert again, with that file as --credentials",
}
_LEFT_OUT["existingCredentialsSecret"] = _LEFT_OUT["credentialsSecret"]
_READ = {
    *("anchoreEndpoint", "policySelectors", "requestAnalysis", "credentials", "apiService", "service", "replicaCount"),
    *("logVerbosity", "imagePullPolicy", "annotations", "labels", "extraLabels", *_SAME),
}
_WEBHOOK_LEFT_OUT = {
    "rules": "is left out: the kinds are fixed, and updates are judged as well",
    "caBundle": "is left out: certificates.mode provides the CA bundle",
}

Note = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ConvertedValues:
    """Our values for the deployment; ``notes`` tell by their path what is left out and what needs a look."""

    values: Mapping[str, Any]
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class ChartValues:
    """The chart's output from its values: the two files, and our values for the deployment."""

    configuration: Mapping[str, Any]
    credentials: Mapping[str, Any] | None
    deployment: ConvertedValues


def read_values(document: Mapping[str, Any]) -> ChartValues:
    """Read the values that a person gave; the chart's defaults complete them, as Helm does."""
    notes: list[Note] = [(shown(key), text) for key, text in _LEFT_OUT.items() if document.get(key)]
    notes += [
        (shown(str(key)), "is not a value of the Go controller's chart, and has no effect")
        for key in document
        if key not in _READ and key not in _LEFT_OUT
    ]
    if "policySelectors" not in document:
        notes.append(("policySelectors", "is not given: the chart's default is used, which admits every image"))
    configuration = {
        "validator": {"requestanalysis": document.get("requestAnalysis", True)},
        "AnchoreEndpoint": document.get("anchoreEndpoint"),
        "PolicySelectors": document.get("policySelectors", list(_DEFAULT_SELECTORS)),
    }
    values = _deployment(document)
    notes += _webhook(document, values)
    # An existing Secret takes precedence: the chart then does not mount the one that it makes.
    existing = document.get("existingCredentialsSecret") or document.get("credentialsSecret")
    credentials = None if existing else document.get("credentials") or None
    return ChartValues(configuration, credentials, ConvertedValues(values, tuple(notes)))


def _deployment(document: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {key: document[key] for key in _SAME if document.get(key)}
    replicas = document.get("replicaCount")
    if isinstance(replicas, int) and replicas > 1:
        values["replicaCount"] = replicas
    if policy := document.get("imagePullPolicy"):
        values["image"] = {"pullPolicy": policy}
    verbosity = document.get("logVerbosity")
    if isinstance(verbosity, int) and verbosity >= _DEBUG_FROM:
        values["logging"] = {"level": "debug"}
    if annotations := document.get("annotations"):
        values |= {"deploymentAnnotations": annotations, "podAnnotations": annotations}
    labels = {**_mapping(document.get("labels")), **_mapping(document.get("extraLabels"))}
    if labels:
        values["commonLabels"] = labels
    kind = _mapping(document.get("service")).get("type")
    if kind and kind != "ClusterIP":
        values["service"] = {"type": kind}
    return values


def _webhook(document: Mapping[str, Any], values: dict[str, Any]) -> Iterator[Note]:
    """Add the values of the webhook, and yield what is left out."""
    service = _mapping(document.get("apiService"))
    webhook = _mapping(service.get("webhook"))
    selector = {"matchExpressions": list(_DEFAULT_NAMESPACES), **_mapping(service.get("namespaceSelector"))}
    values["webhook"] = {"namespaceSelector": {key: value for key, value in selector.items() if value}}
    if webhook.get("failurePolicy") == "Fail":
        values["webhook"]["failurePolicy"] = "Fail"
    for key, text in _WEBHOOK_LEFT_OUT.items():
        if webhook.get(key):
            yield f"apiService.webhook.{key}", text
    if webhook.get("enabled") is False:
        yield (
            "apiService.webhook.enabled",
            "is false: the Go controller was not called at all; this chart always registers its webhook",
        )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
