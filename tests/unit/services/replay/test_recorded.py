"""Recorded lines: AdmissionReviews, audit events, and everything else that a file may hold."""

import json
from typing import Any

import pytest

from anchore_admission.models.workload import Unreadable, Workload
from anchore_admission.services.replay.entries import Entry, LeftOut, Recorded, Unread
from anchore_admission.services.replay.recorded import RecordedRequests
from support.builders import Json, pod, request, review, workload

OLD, NEW = "alpine:3.19", "alpine:3.20"
USER = {"username": "alice", "groups": ["dev"], "uid": "7", "extra": {"token": ["s3cret"]}}


def event(verb: str = "create", *, resource: str = "pods", group: str = "", **changes: Any) -> Json:
    """An audit event as an API server logs it at level RequestResponse."""
    body = changes.pop("body", pod(NEW, metadata={"name": "web", "namespace": "shop"}))
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "RequestResponse",
        "auditID": "a-1",
        "stage": "ResponseComplete",
        "requestURI": f"/api/v1/namespaces/shop/{resource}",
        "verb": verb,
        "user": USER,
        "objectRef": {"resource": resource, "namespace": "shop", "name": "web", "apiGroup": group, "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 201 if verb == "create" else 200},
        "requestObject": body,
        "responseObject": body,
        **changes,
    }


def read(*documents: Any, requests: RecordedRequests | None = None) -> list[Entry]:
    requests = requests or RecordedRequests()
    lines = [text if isinstance(text, bytes) else json.dumps(text).encode() for text in documents]
    return [entry for number, line in enumerate(lines, 1) for entry in requests.read(line, f"line {number}")]


def only(*documents: Any) -> Recorded:
    (entry,) = read(*documents)
    assert isinstance(entry, Recorded)
    return entry


def test_an_admission_review_is_replayed_as_it_is() -> None:
    changes = {"operation": "UPDATE", "oldObject": pod(OLD), "dryRun": True}

    assert only(review(pod(NEW), **changes)).request == request(pod(NEW), **changes)


def test_an_event_becomes_the_request_that_the_webhook_saw() -> None:
    recorded = only(event()).request

    assert (recorded.operation, recorded.namespace, recorded.name, recorded.dryRun) == ("CREATE", "shop", "web", False)
    assert recorded.kind.kind == "Pod"
    assert recorded.userInfo
    assert (recorded.userInfo.username, recorded.userInfo.groups) == ("alice", ["dev"])


@pytest.mark.parametrize(
    ("changes", "operation"),
    [
        ({"verb": "create"}, "CREATE"),
        ({"verb": "update"}, "UPDATE"),
        ({"verb": "patch"}, "UPDATE"),
        ({"verb": "patch", "responseStatus": {"code": 201}}, "CREATE"),
    ],
    ids=["create", "update", "patch", "server-side apply that creates"],
)
def test_the_operation(changes: Json, operation: str) -> None:
    assert only(event(**changes)).request.operation == operation


def test_the_stored_object_counts_before_the_sent_one() -> None:
    recorded = only(event(requestObject=pod(OLD))).request.object

    assert isinstance(recorded, Workload)
    assert recorded.spec
    assert [container.image for container in recorded.spec.containers or ()] == [NEW]


def test_a_denied_request_is_replayed_with_the_object_that_was_sent() -> None:
    status = {"kind": "Status", "apiVersion": "v1", "code": 403}

    recorded = only(event(responseStatus={"code": 403}, responseObject=status)).request

    assert isinstance(recorded.object, Workload)


def test_the_impersonated_user_counts() -> None:
    recorded = only(event(impersonatedUser={"username": "bob", "groups": ["ops"]})).request

    assert recorded.userInfo
    assert recorded.userInfo.username == "bob"


@pytest.mark.parametrize(
    ("address", "is_dry"),
    [
        ("/api/v1/namespaces/shop/pods?dryRun=All", True),
        ("/api/v1/namespaces/shop/pods?fieldManager=kubectl", False),
        ("/api/v1/namespaces/shop/pods?%ff&&=;dryRun", False),
        ("//[::1/api/v1/namespaces/shop/pods?dryRun=All", True),
        ("", False),
    ],
)
def test_a_dry_run_stays_one(address: str, is_dry: bool) -> None:
    assert only(event(requestURI=address)).request.dryRun is is_dry


@pytest.mark.parametrize(
    ("group", "resource", "kind"),
    [
        ("", "pods", "Pod"),
        ("", "podtemplates", "PodTemplate"),
        ("", "replicationcontrollers", "ReplicationController"),
        ("apps", "deployments", "Deployment"),
        ("apps", "replicasets", "ReplicaSet"),
        ("apps", "statefulsets", "StatefulSet"),
        ("apps", "daemonsets", "DaemonSet"),
        ("batch", "jobs", "Job"),
        ("batch", "cronjobs", "CronJob"),
    ],
)
def test_every_resource_that_carries_images_is_judged(group: str, resource: str, kind: str) -> None:
    recorded = only(event(resource=resource, group=group, body=workload(kind, {"containers": []}))).request

    assert (recorded.kind.group, recorded.kind.kind) == (group, kind)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"resource": "secrets"}, LeftOut.OTHER_EVENT),
        ({"resource": "deployments"}, LeftOut.OTHER_EVENT),
        ({"verb": "delete"}, LeftOut.OTHER_EVENT),
        ({"verb": "list"}, LeftOut.OTHER_EVENT),
        ({"stage": "RequestReceived"}, LeftOut.OTHER_EVENT),
        ({"objectRef": {"resource": "pods", "subresource": "status"}}, LeftOut.OTHER_EVENT),
        ({"objectRef": None}, LeftOut.OTHER_EVENT),
        ({"requestObject": None, "responseObject": None}, LeftOut.NO_OBJECT),
        ({"verb": "patch", "responseObject": None}, LeftOut.NO_RESULT),
        ({"verb": "patch", "requestObject": None, "responseObject": None}, LeftOut.NO_OBJECT),
        ({"verb": "patch", "responseStatus": {"code": 403}}, LeftOut.DENIED_PATCH),
        ({"responseStatus": {"code": 409}}, LeftOut.REJECTED),
        ({"responseStatus": {"code": 500}}, LeftOut.REJECTED),
    ],
)
def test_other_events_are_left_out_and_counted(changes: Json, reason: LeftOut) -> None:
    given = event(**changes)
    given = {key: value for key, value in given.items() if value is not None}

    assert read(given) == [reason]


def test_ephemeral_containers_are_judged() -> None:
    reference = {"resource": "pods", "subresource": "ephemeralcontainers", "namespace": "shop", "name": "web"}

    assert only(event("patch", objectRef=reference)).request.subResource == "ephemeralcontainers"


def test_an_update_is_compared_with_the_last_state_in_the_log() -> None:
    first, second, third = read(event(), event("update"), event("update", body=pod(OLD)))

    assert isinstance(first, Recorded)
    assert isinstance(second, Recorded)
    assert isinstance(third, Recorded)
    assert second.request.oldObject is not None
    assert third.request.oldObject is not None
    assert not second.assumes_new
    assert not third.assumes_new


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(None, id="no earlier event"),
        pytest.param(event(responseStatus={"code": 403}), id="one that was denied"),
        pytest.param(event(requestURI="/x?dryRun=All"), id="a dry run"),
        pytest.param(event(resource="replicationcontrollers"), id="another kind"),
        pytest.param(event(body=pod(NEW, "x" * 10_000)), id="one that is too large to be kept"),
    ],
)
def test_an_update_of_an_unknown_state_is_judged_as_a_whole(before: Json | None) -> None:
    update = read(*([before] if before else []), event("update"))[-1]

    assert isinstance(update, Recorded)
    assert update.assumes_new
    assert update.request.oldObject is None


def test_a_byte_order_mark_is_no_part_of_a_line() -> None:
    line = b"\xef\xbb\xbf" + json.dumps(event()).encode()
    assert only(line).request.operation == only(event()).request.operation


def test_an_event_list_holds_several_events() -> None:
    events = {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [event(), event(resource="secrets"), {}]}

    recorded, *others = read(events)

    assert isinstance(recorded, Recorded)
    assert recorded.source == "line 1, event 1"
    assert others == [LeftOut.OTHER_EVENT, LeftOut.OTHER_EVENT]


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 10_000,
        b'{"kind": "Pod", "apiVersion": "v1"}',
        b'{"kind": "Event", "apiVersion": "v1", "message": "s3cret"}',
        b'{"kind": "Event", "apiVersion": "audit.k8s.io/v1", "verb": 7, "requestObject": "s3cret"}',
        b'{"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": {"a": "s3cret"}}',
        json.dumps(review(pod(NEW), uid="")).encode(),
    ],
)
def test_unreadable_lines_are_named_and_not_repeated(line: bytes) -> None:
    (entry,) = read(line)

    assert isinstance(entry, Unread)
    assert entry.source == "line 1"
    assert "s3cret" not in entry.reason


def test_an_unreadable_object_is_kept_to_be_denied() -> None:
    recorded = only(event(body={**pod(NEW), "spec": {"containers": "s3cret"}})).request

    assert isinstance(recorded.object, Unreadable)
    assert "s3cret" not in recorded.object.reason


def test_the_states_kept_for_updates_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anchore_admission.services.replay.recorded._MOST_KNOWN", 1)
    requests = RecordedRequests()
    other = {"resource": "pods", "namespace": "shop", "name": "other"}

    read(event(), event(objectRef=other), requests=requests)
    (update,) = read(event("update"), requests=requests)

    assert isinstance(update, Recorded)
    assert update.assumes_new
