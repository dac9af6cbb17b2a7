"""Requests that are out of scope, and similar ones that are not."""

from typing import Any

import pytest

from anchore_admission.core.scope import OutOfScope, out_of_scope, template_handling
from anchore_admission.models.configuration import WorkloadHandling
from support.builders import pod_spec, request, workload

_MIRROR = {"annotations": {"kubernetes.io/config.mirror": "abc"}}
_NODE = {"username": "system:node:node-1", "groups": ["system:nodes", "system:authenticated"]}
_CONTROLLED = {"ownerReferences": [{"kind": "Deployment", "name": "d", "controller": True}]}


def _of_cron_job(**changes: Any) -> dict[str, Any]:
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": "1", "controller": True}
    return {"ownerReferences": [{**owner, **changes}]}


_DELETED = {"deletionTimestamp": "2026-11-23T10:00:00Z"}


def _pod(metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return workload("Pod", pod_spec("nginx", **spec), metadata=metadata)


def _of(kind: str, metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    return workload(kind, pod_spec("nginx"), metadata=metadata)


def _found(body: Any, handling: WorkloadHandling = WorkloadHandling.FINAL, **changes: Any) -> OutOfScope | None:
    return out_of_scope(request(body, **changes), handling)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("CREATE", None),
        ("UPDATE", None),
        ("DELETE", OutOfScope.OPERATION),
        ("CONNECT", OutOfScope.OPERATION),
        ("create", None),
    ],
)
def test_operations(operation: str, expected: OutOfScope | None) -> None:
    assert _found(_pod(), operation=operation) is expected


@pytest.mark.parametrize(
    ("subresource", "expected"),
    [
        (None, None),
        ("", None),
        ("ephemeralcontainers", None),
        ("scale", OutOfScope.SUBRESOURCE),
        ("status", OutOfScope.SUBRESOURCE),
        ("binding", OutOfScope.SUBRESOURCE),
        ("eviction", OutOfScope.SUBRESOURCE),
        ("resize", OutOfScope.SUBRESOURCE),
    ],
)
def test_subresources(subresource: str | None, expected: OutOfScope | None) -> None:
    assert _found(_pod(), operation="UPDATE", subResource=subresource) is expected


@pytest.mark.parametrize(
    ("metadata", "operation", "expected"),
    [
        (_DELETED, "UPDATE", OutOfScope.BEING_DELETED),
        ({"deletionTimestamp": None}, "UPDATE", None),
        ({"deletionTimestamp": ""}, "UPDATE", None),
        (_DELETED, "CREATE", None),
    ],
)
@pytest.mark.parametrize("kind", ["Pod", "Deployment", "CronJob"])
def test_objects_being_deleted(
    kind: str, metadata: dict[str, Any], operation: str, expected: OutOfScope | None
) -> None:
    assert _found(_of(kind, metadata), operation=operation, oldObject=_of(kind)) is expected


@pytest.mark.parametrize("kind", ["Pod", "Deployment", "CronJob"])
@pytest.mark.parametrize(
    ("old", "expected"),
    [
        (pod_spec("nginx"), OutOfScope.BEING_DELETED),
        (pod_spec("nginx", "redis"), OutOfScope.BEING_DELETED),
        (pod_spec("redis", initContainers=[{"name": "i", "image": "nginx"}]), OutOfScope.BEING_DELETED),
        (pod_spec("redis"), None),
        (pod_spec(), None),
        ({"containers": 1}, None),
    ],
    ids=["same", "fewer", "moved", "changed", "none before", "unreadable before"],
)
def test_an_image_that_changes_while_an_object_is_being_deleted_is_judged(
    kind: str, old: dict[str, Any], expected: OutOfScope | None
) -> None:
    assert _found(_of(kind, _DELETED), operation="UPDATE", oldObject=workload(kind, old)) is expected


def test_a_debug_container_is_judged_while_its_pod_is_being_deleted() -> None:
    new = _pod(_DELETED, ephemeralContainers=[{"name": "d", "image": "debug"}])
    found = _found(new, operation="UPDATE", subResource="ephemeralcontainers", oldObject=_pod(_DELETED))
    assert found is None


def test_a_custom_resource_that_is_being_deleted_is_let_go() -> None:
    rollout = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": _DELETED}
    assert _found(rollout, operation="UPDATE") is OutOfScope.BEING_DELETED


def test_only_the_new_object_can_be_being_deleted() -> None:
    assert _found(_pod(), operation="UPDATE", oldObject=_pod(_DELETED)) is None


@pytest.mark.parametrize(
    ("metadata", "node", "user", "expected"),
    [
        (_MIRROR, "node-1", _NODE, OutOfScope.MIRROR_POD),
        ({"annotations": {"kubernetes.io/config.mirror": ""}}, "node-1", _NODE, OutOfScope.MIRROR_POD),
        ({"annotations": {"kubernetes.io/config.mirror": None}}, "node-1", _NODE, OutOfScope.MIRROR_POD),
        ({}, "node-1", _NODE, None),
        ({"annotations": None}, "node-1", _NODE, None),
        ({"labels": _MIRROR["annotations"]}, "node-1", _NODE, None),
        (_MIRROR, None, _NODE, None),
        (_MIRROR, "", _NODE, None),
        (_MIRROR, "node-2", _NODE, None),
        (_MIRROR, "node-1", {**_NODE, "groups": ["system:authenticated"]}, None),
        (_MIRROR, "node-1", {**_NODE, "groups": None}, None),
        (_MIRROR, "node-1", {**_NODE, "username": "alice"}, None),
        (_MIRROR, "node-1", {**_NODE, "username": "node-1"}, None),
        (_MIRROR, "", {**_NODE, "username": "system:node:"}, None),
        (_MIRROR, "node-1", {}, None),
        (_MIRROR, "node-1", None, None),
    ],
)
def test_mirror_pods_by_annotation_group_and_user(
    metadata: dict[str, Any], node: str | None, user: dict[str, Any] | None, expected: OutOfScope | None
) -> None:
    assert _found(_pod(metadata, nodeName=node), userInfo=user) is expected


def test_only_a_pod_can_be_a_mirror_pod() -> None:
    body = workload("Deployment", pod_spec("nginx", nodeName="node-1"), metadata=_MIRROR, pod_metadata=_MIRROR)
    assert _found(body, userInfo=_NODE) is None


@pytest.mark.parametrize(
    ("kind", "metadata", "expected"),
    [
        ("ReplicaSet", _CONTROLLED, OutOfScope.OWNED),
        ("Job", _CONTROLLED, None),
        ("Job", _of_cron_job(), None),
        ("Pod", _CONTROLLED, None),
        ("Deployment", _CONTROLLED, None),
        ("StatefulSet", _CONTROLLED, None),
        ("CronJob", _CONTROLLED, None),
        ("ReplicaSet", {}, None),
        ("ReplicaSet", {"ownerReferences": None}, None),
        ("ReplicaSet", {"ownerReferences": []}, None),
        ("ReplicaSet", {"ownerReferences": [{"kind": "Deployment"}]}, None),
        ("ReplicaSet", {"ownerReferences": [{"controller": False}]}, None),
        ("ReplicaSet", {"ownerReferences": [{"controller": False}, {"controller": True}]}, OutOfScope.OWNED),
    ],
)
def test_objects_owned_by_a_controller(kind: str, metadata: dict[str, Any], expected: OutOfScope | None) -> None:
    assert _found(_of(kind, metadata)) is expected


@pytest.mark.parametrize("handling", [WorkloadHandling.FINAL, WorkloadHandling.WARN, WorkloadHandling.DENY])
@pytest.mark.parametrize(
    ("kind", "metadata", "denies"),
    [
        ("Job", _of_cron_job(), True),
        ("Job", _of_cron_job(apiVersion="batch/v1beta1"), True),
        ("Job", _of_cron_job(controller=False), False),
        ("Job", _of_cron_job(apiVersion="example.com/v1"), False),
        ("Job", _of_cron_job(apiVersion=None), False),
        ("Job", _of_cron_job(kind="Workflow"), False),
        ("Job", {}, False),
        ("ReplicaSet", _of_cron_job(), False),
        ("Deployment", _of_cron_job(), False),
        ("Pod", {}, True),
        ("Pod", _CONTROLLED, True),
    ],
)
def test_a_job_of_a_cron_job_is_denied_at_once(
    kind: str, metadata: dict[str, Any], handling: WorkloadHandling, *, denies: bool
) -> None:
    expected = WorkloadHandling.DENY if denies else handling
    assert template_handling(request(_of(kind, metadata)), handling) is expected


def test_a_job_of_a_cron_job_is_left_to_its_pods_where_templates_are() -> None:
    assert _found(_of("Job", _of_cron_job()), WorkloadHandling.OFF) is OutOfScope.WORKLOADS_OFF


@pytest.mark.parametrize("handling", WorkloadHandling)
@pytest.mark.parametrize("kind", ["Pod", "Deployment", "PodTemplate"])
def test_templates_may_be_left_to_their_pods(kind: str, handling: WorkloadHandling) -> None:
    off = kind != "Pod" and handling is WorkloadHandling.OFF
    assert _found(_of(kind), handling) is (OutOfScope.WORKLOADS_OFF if off else None)


@pytest.mark.parametrize("handling", WorkloadHandling)
def test_an_unknown_kind_is_never_exempt_as_a_template(handling: WorkloadHandling) -> None:
    body = {**_of("Deployment", _CONTROLLED), "apiVersion": "example.com/v1"}
    assert _found(body, handling) is None


def test_an_unreadable_object_is_not_exempt() -> None:
    assert _found({"metadata": _CONTROLLED, "spec": 1}, kind={"group": "batch", "version": "v1", "kind": "Job"}) is None
