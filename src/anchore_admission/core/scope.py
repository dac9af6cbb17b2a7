"""The scope of the controller: the requests that are judged, and those that are admitted without a verdict."""

from enum import StrEnum

from anchore_admission.core import workload
from anchore_admission.models.configuration import WorkloadHandling
from anchore_admission.models.review import AdmissionRequest
from anchore_admission.models.workload import Metadata, Unreadable, Workload

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
_UNJUDGED_OPERATIONS = frozenset({"DELETE", "CONNECT"})
# kubectl debug adds containers through `pods/ephemeralcontainers`; its object is the whole Pod (since 1.22).
_JUDGED_SUBRESOURCES = frozenset({"", "ephemeralcontainers"})


class OutOfScope(StrEnum):
    """A reason to admit without a verdict; the audit annotation ``scope`` and the log line carry its value."""

    OPERATION = "operation"  # DELETE and CONNECT start no container
    SUBRESOURCE = "subresource"  # scale, status, binding, … carry no image
    BEING_DELETED = "being_deleted"  # finalizers must be removable; an image that changes is judged
    MIRROR_POD = "mirror_pod"  # the kubelet already runs it
    OWNED = "owned"  # its Pods are judged
    WORKLOADS_OFF = "workloads_off"  # only Pods are judged


def out_of_scope(request: AdmissionRequest, handling: WorkloadHandling) -> OutOfScope | None:
    """Return the first reason that holds, or None if the images have to be judged."""
    if request.operation in _UNJUDGED_OPERATIONS:
        return OutOfScope.OPERATION
    if (request.subResource or "") not in _JUDGED_SUBRESOURCES:
        return OutOfScope.SUBRESOURCE
    metadata = request.object.metadata if request.object else None
    # Only on UPDATE: in a new object, the timestamp is whatever its author writes.
    if metadata and metadata.deletionTimestamp and request.operation == "UPDATE" and not _changes_images(request):
        return OutOfScope.BEING_DELETED
    if workload.is_pod(request.kind):
        return OutOfScope.MIRROR_POD if _is_mirror(request) else None
    if not workload.is_known(request.kind):
        return None
    # Safe even if the owner is forged: the Pods of the ReplicaSet are judged, whatever their owner.
    if request.kind.kind == "ReplicaSet" and metadata and _is_controlled(metadata):
        return OutOfScope.OWNED
    return OutOfScope.WORKLOADS_OFF if handling is WorkloadHandling.OFF else None


def template_handling(request: AdmissionRequest, handling: WorkloadHandling) -> WorkloadHandling:
    """Return how a denial acts on an object. A Pod is authoritative.

    A CronJob's Job is denied at once. Otherwise its Pods would be denied, the Job would wait for them, the CronJob
    would create further Jobs, and all of them would run together once the image is admitted. Anyone can write such an
    owner, which only makes a Job's handling stricter.
    """
    if workload.is_pod(request.kind):
        return WorkloadHandling.DENY
    metadata = request.object.metadata if request.object else None
    is_job = (request.kind.group, request.kind.kind) == ("batch", "Job")
    return WorkloadHandling.DENY if is_job and metadata and _is_made_by_cron_job(metadata) else handling


def _changes_images(request: AdmissionRequest) -> bool:
    """Return whether an image is new, or may be: an object that is too large to be read could hide one."""
    if not request.object or not workload.is_known(request.kind):
        return False
    if isinstance(request.object, Unreadable):
        return True
    return workload.changes_images(request.kind, request.object, request.oldObject)


def _is_mirror(request: AdmissionRequest) -> bool:
    """Return whether annotation, group and user name agree: any user can set the annotation, so it is no proof.

    Source: plugin NodeRestriction of the API server, which lets a node create mirror Pods of its own only.
    """
    pod, user = request.object, request.userInfo
    if not (isinstance(pod, Workload) and pod.metadata and pod.spec and pod.spec.nodeName and user):
        return False
    return (
        MIRROR_ANNOTATION in (pod.metadata.annotations or {})
        and "system:nodes" in (user.groups or ())
        and user.username == f"system:node:{pod.spec.nodeName}"
    )


def _is_controlled(metadata: Metadata) -> bool:
    return any(owner.controller for owner in metadata.ownerReferences or ())


def _is_made_by_cron_job(metadata: Metadata) -> bool:
    return any(
        owner.controller and owner.kind == "CronJob" and (owner.apiVersion or "").startswith("batch/")
        for owner in metadata.ownerReferences or ()
    )
