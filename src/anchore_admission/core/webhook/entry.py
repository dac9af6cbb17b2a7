"""The webhook configurations by which API servers send the controller what names images.

The validating webhook judges every object, the mutating one pins the tags of Pods. This module alone decides their
entries; the Helm chart (files/webhook.yaml, files/mutatingwebhook.yaml) and the kustomize overlays derive from it.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

VALIDATE_PATH = "/validate"
MUTATE_PATH = "/mutate"


class WebhookKind(StrEnum):
    """The kind of a webhook configuration."""

    VALIDATING = "ValidatingWebhookConfiguration"
    MUTATING = "MutatingWebhookConfiguration"

    @property
    def path(self) -> str:
        """The path of the controller that serves the webhook."""
        return MUTATE_PATH if self is WebhookKind.MUTATING else VALIDATE_PATH

    @property
    def suffix(self) -> str:
        """The end of the entry's name, after that of the configuration: audit annotations begin with both."""
        return "pinning.anchore.io" if self is WebhookKind.MUTATING else "admission.anchore.io"

    @property
    def timeout_seconds(self) -> int:
        """The default timeout. The creation of a Pod waits for both webhooks, one after the other."""
        return 3 if self is WebhookKind.MUTATING else 10


# The cluster usually needs Pods of this namespace (network, DNS) before any replica of ours can run.
NEVER_JUDGED = "kube-system"
# DELETE and CONNECT start no container; while the webhook is down, objects can still be deleted.
_OPERATIONS = ["CREATE", "UPDATE"]
_RESOURCES: Mapping[str, list[str]] = {
    # ``pods`` does not match the subresource by which kubectl debug adds containers.
    "": ["pods", "pods/ephemeralcontainers", "podtemplates", "replicationcontrollers"],
    "apps": ["deployments", "replicasets", "statefulsets", "daemonsets"],
    "batch": ["jobs", "cronjobs"],
}
_PODS: Mapping[str, list[str]] = {"": ["pods", "pods/ephemeralcontainers"]}
"""The resources whose tags are pinned: templates keep theirs, so that nothing drifts and no roll-out starts."""
IMAGES_CHANGE = "spec-changes"
"""The name of the match condition that keeps updates from the webhook that change no image."""
_IMAGES_CHANGE = (
    "request.operation != 'UPDATE'"
    " || (has(request.subResource) && request.subResource == 'ephemeralcontainers')"
    " || (has(object.template) ? !has(oldObject.template) || object.template != oldObject.template"
    " : has(oldObject.template))"
    " || (has(object.spec) ? !has(oldObject.spec)"
    " || ['template', 'jobTemplate', 'containers', 'initContainers', 'ephemeralContainers', 'volumes']"
    ".exists(key, (key in object.spec) != (key in oldObject.spec)"
    " || (key in object.spec && object.spec[key] != oldObject.spec[key]))"
    " || (!['template', 'jobTemplate', 'containers'].exists(key, key in object.spec)"
    " && object.spec != oldObject.spec)"
    " : has(oldObject.spec))"
)
"""Skip updates that change no field with images: while the webhook is down, workloads can be scaled, paused and
suspended, and finalizers removed. The other fields of a Pod's containers and volumes are immutable, so these are
compared as a whole. A PodTemplate has a template instead of a spec; of a kind with neither, the whole spec counts."""
_NOT_ANOTHER_RELEASE = (
    "!(has(object.spec)"
    " && !(has(request.subResource) && request.subResource == 'ephemeralcontainers')"
    " && [has(object.spec.template) ? object.spec.template : object].exists(pod,"
    " has(pod.metadata) && has(pod.metadata.labels)"
    " && 'app.kubernetes.io/part-of' in pod.metadata.labels"
    " && pod.metadata.labels['app.kubernetes.io/part-of'] == 'anchore-admission'"
    " && has(pod.spec) && has(pod.spec.serviceAccountName)"
    " && authorizer.serviceAccount(request.namespace, pod.spec.serviceAccountName)"
    " .group('admission.anchore.io').resource('controllers').check('start').allowed()))"
)
"""Admit the Pods of other releases: two releases that judge each other's Pods could never start again with both down.
The permission of the Pod's service account decides, which only the chart grants. Any user can set the label: it only
spares all other Pods the check of that permission."""


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """The parts of the entry that an installation decides.

    ``client`` is a service (name, namespace, path, port) or a url; ``excluded`` are namespaces besides kube-system.
    Kubernetes before 1.30 does not support ``match_conditions``. With ``every_update``, the validating webhook is sent
    updates that change no image, too. A mutating webhook always has the failure policy
    Ignore: what it must not leave out, ``pin: required`` lets the validating one deny.
    """

    name: str
    client: Mapping[str, Any]
    ca_bundle: bytes | None = None
    failure_policy: str = "Fail"
    timeout_seconds: int | None = None
    excluded: Sequence[str] = field(default_factory=tuple)
    match_conditions: bool = True
    every_update: bool = False
    kind: WebhookKind = WebhookKind.VALIDATING


def service_client(name: str, namespace: str, port: int, path: str) -> dict[str, Any]:
    return {"service": {"namespace": namespace, "name": name, "path": path, "port": port}}


def webhook_configuration(options: WebhookOptions) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": options.kind.value,
        "metadata": {"name": options.name},
        "webhooks": [_entry(options)],
    }


def _entry(options: WebhookOptions) -> dict[str, Any]:
    client = dict(options.client)
    if options.ca_bundle:
        client["caBundle"] = base64.b64encode(options.ca_bundle).decode()
    is_mutating = options.kind is WebhookKind.MUTATING
    entry = {
        # The API server requires a domain of at least three labels.
        "name": f"{options.name}.{options.kind.suffix}",
        # The API server takes the first version that it knows.
        "admissionReviewVersions": ["v1", "v1beta1"],
        "clientConfig": client,
        "failurePolicy": "Ignore" if is_mutating else options.failure_policy,
        # With `Exact`, objects sent in another version of the API would bypass the webhook.
        "matchPolicy": "Equivalent",
        # Both submit images for analysis, but not on a dry run. The API accepts only this value and `None`.
        "sideEffects": "NoneOnDryRun",
        "timeoutSeconds": options.timeout_seconds or options.kind.timeout_seconds,
        "rules": [_rule(group, resources) for group, resources in (_PODS if is_mutating else _RESOURCES).items()],
        "namespaceSelector": {"matchExpressions": [_other_namespaces(options)]},
        "objectSelector": {},  # users choose the labels of their objects, so selecting by them would let users opt out
    }
    if is_mutating:
        # A webhook that is called later may add a sidecar, whose tag is then pinned too.
        entry["reinvocationPolicy"] = "IfNeeded"
    conditions = {IMAGES_CHANGE: _IMAGES_CHANGE, "not-another-release": _NOT_ANOTHER_RELEASE}
    if options.every_update and not is_mutating:
        del conditions[IMAGES_CHANGE]
    if options.match_conditions:
        entry["matchConditions"] = [{"name": name, "expression": text} for name, text in conditions.items()]
    return entry


def _rule(group: str, resources: Sequence[str]) -> dict[str, Any]:
    return {
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "resources": list(resources),
        "operations": list(_OPERATIONS),
        "scope": "Namespaced",
    }


def _other_namespaces(options: WebhookOptions) -> dict[str, Any]:
    """Exclude namespaces by name, which the API server sets itself. Our own Pods must start while no replica runs."""
    own = options.client.get("service", {}).get("namespace")
    names = dict.fromkeys([*([own] if own else []), NEVER_JUDGED, *options.excluded])
    return {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": list(names)}
