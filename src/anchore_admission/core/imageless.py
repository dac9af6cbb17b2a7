"""Kubernetes' own kinds that hold no image, by API group. A kind that is neither here nor a workload is unknown.

Source: the types that k8s.io/api 0.36 registers, k8s.io/kube-aggregator and k8s.io/apiextensions-apiserver, and those
that earlier releases served.
"""

from anchore_admission.core import workload
from anchore_admission.models.review import GroupVersionKind

_NAMES = {
    "": (
        "Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume "
        "PersistentVolumeClaim ResourceQuota Secret Service ServiceAccount"
    ),
    "admissionregistration.k8s.io": (
        "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration "
        "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration"
    ),
    "apiextensions.k8s.io": "CustomResourceDefinition",
    "apiregistration.k8s.io": "APIService",
    "apps": "ControllerRevision Scale",
    "authentication.k8s.io": "SelfSubjectReview TokenRequest TokenReview",
    "authorization.k8s.io": (
        "LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview"
    ),
    "autoscaling": "HorizontalPodAutoscaler Scale",
    "batch": "",
    "certificates.k8s.io": "CertificateSigningRequest ClusterTrustBundle PodCertificateRequest",
    "coordination.k8s.io": "Lease LeaseCandidate",
    "discovery.k8s.io": "EndpointSlice",
    "events.k8s.io": "Event",
    "extensions": "Ingress NetworkPolicy PodSecurityPolicy Scale",
    "flowcontrol.apiserver.k8s.io": "FlowSchema PriorityLevelConfiguration",
    "internal.apiserver.k8s.io": "StorageVersion",
    "meta.k8s.io": "",
    "networking.k8s.io": "IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR",
    "node.k8s.io": "RuntimeClass",
    "policy": "Eviction PodDisruptionBudget PodSecurityPolicy",
    "rbac.authorization.k8s.io": "ClusterRole ClusterRoleBinding Role RoleBinding",
    "resource.k8s.io": (
        "DeviceClass DeviceTaintRule PodSchedulingContext ResourceClaim ResourceClaimParameters ResourceClaimTemplate "
        "ResourceClass ResourceClassParameters ResourceSlice"
    ),
    "scheduling.k8s.io": "PodGroup PriorityClass Workload",
    "storage.k8s.io": "CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass",
    "storagemigration.k8s.io": "StorageVersionMigration",
}
IMAGELESS = {group: frozenset(names.split()) for group, names in _NAMES.items()}


def is_imageless(kind: GroupVersionKind) -> bool:
    """Return True for a kind of Kubernetes that holds no image."""
    return kind.kind in IMAGELESS.get(kind.group, frozenset())


def is_custom(kind: GroupVersionKind) -> bool:
    """Return True for a group that custom resources may have: it holds a dot and is none of Kubernetes' own."""
    return "." in kind.group and "/" not in kind.group and kind.group not in IMAGELESS


def meant(kind: GroupVersionKind) -> str:
    """Name the kind of Kubernetes that was probably meant, such as ``apps/v1 Deployment``; empty if there is none."""
    known = [*workload.KINDS, *((group, name) for group, names in IMAGELESS.items() for name in names)]
    same = [(group, name) for group, name in known if name.lower() == kind.kind.lower()]
    same.sort(key=lambda pair: (pair[0] != kind.group, pair[0] == "extensions"))
    if not same or is_custom(kind):
        return ""
    group, name = same[0]
    return f"{group}/v1 {name}" if group else f"v1 {name}"
