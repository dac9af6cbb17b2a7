"""The objects of a live cluster as requests that would create them."""

from collections.abc import AsyncIterator, Sequence

from anchore_admission.core import workload
from anchore_admission.core.scope import MIRROR_ANNOTATION
from anchore_admission.errors import ClusterError, ClusterUnavailable
from anchore_admission.models.review import AdmissionRequest, GroupVersionKind, UserInfo
from anchore_admission.models.workload import OwnerReference, Unreadable, Workload
from anchore_admission.ports.live import LiveKind, LiveObjects
from anchore_admission.services.replay.entries import Entry, Recorded, Unread
from anchore_admission.services.replay.owners import controller_of

# ReplicaSets and Jobs come first: they name the Deployments and CronJobs that the Pods belong to.
KINDS = tuple(
    LiveKind(GroupVersionKind(group, "v1", kind), plural)
    for group, kind, plural in (
        ("apps", "ReplicaSet", "replicasets"),
        ("batch", "Job", "jobs"),
        ("", "Pod", "pods"),
        ("apps", "Deployment", "deployments"),
        ("apps", "StatefulSet", "statefulsets"),
        ("apps", "DaemonSet", "daemonsets"),
        ("batch", "CronJob", "cronjobs"),
        ("", "ReplicationController", "replicationcontrollers"),
        ("", "PodTemplate", "podtemplates"),
    )
)
_CONTROLLERS = {
    "ReplicaSet": "replicaset-controller",
    "ReplicationController": "replication-controller",
    "Deployment": "deployment-controller",
    "StatefulSet": "statefulset-controller",
    "DaemonSet": "daemon-set-controller",
    "Job": "job-controller",
    "CronJob": "cronjob-controller",
}
"""The service accounts by which kube-controller-manager creates what these kinds own."""
_ACCOUNTS = "system:serviceaccounts"


async def live_entries(live: LiveObjects, namespace: str | None, user: UserInfo) -> AsyncIterator[Sequence[Entry]]:
    """Yield the Pods and workloads of a cluster, page by page; ``user`` created what no known controller did.

    A kind that may not be listed does not stop the others. An API server that does not respond does.
    """
    for listed in KINDS:
        try:
            async for page in live.pages(listed, namespace):
                yield [_entry(listed.kind, found, user) for found in page]
        except ClusterUnavailable as error:
            yield [Unread("cluster", f"{error}; nothing else was listed")]
            return
        except ClusterError as error:
            yield [Unread("cluster", str(error))]


def _entry(kind: GroupVersionKind, found: Workload | Unreadable, user: UserInfo) -> Recorded:
    metadata = found.metadata
    return Recorded(
        AdmissionRequest(
            uid="live",
            kind=kind,
            name=metadata.name if metadata else None,
            namespace=metadata.namespace if metadata else None,
            operation="CREATE",
            userInfo=_creator(found, user),
            object=found,
        )
    )


def _creator(found: Workload | Unreadable, user: UserInfo) -> UserInfo:
    """Return the user who created an object: the controller that owns it, or the kubelet that runs a static Pod."""
    metadata = found.metadata
    owner = controller_of(metadata)
    if owner is None:
        return user
    node = found.spec.nodeName if isinstance(found, Workload) and found.spec else None
    if owner.kind == "Node" and node == owner.name and metadata and MIRROR_ANNOTATION in (metadata.annotations or {}):
        return UserInfo(f"system:node:{node}", ["system:nodes", "system:authenticated"])
    name = _CONTROLLERS.get(owner.kind or "") if _is_built_in(owner) else None
    if name is None:
        return user
    return UserInfo(
        f"system:serviceaccount:kube-system:{name}", [_ACCOUNTS, f"{_ACCOUNTS}:kube-system", "system:authenticated"]
    )


def _is_built_in(owner: OwnerReference) -> bool:
    group, _, _ = (owner.apiVersion or "").rpartition("/")
    return (group, owner.kind or "") in workload.KINDS
