"""Notifications of all releases, and bodies that are none."""

import json
from typing import Any

import pytest

from anchore_admission.models.notification import Notification, read_notification

TAG = "docker.io/library/nginx:1.25"
DIGEST = "sha256:" + "aa" * 32


def v1(kind: str, **payload: Any) -> dict[str, Any]:
    """The envelope of Anchore Engine."""
    shown = {"userId": "team", "notificationId": "n1", "subscription_type": kind, "subscription_key": TAG, **payload}
    return {
        "queueId": kind,
        "userId": "team",
        "dataId": "d1",
        "created_at": 1,
        "last_updated": 1,
        "record_state_key": "active",
        "record_state_val": None,
        "tries": 0,
        "max_tries": 1,
        "data": {
            "notification_user": "team",
            "notification_user_email": "team@example.com",
            "notification_type": kind,
            "notification_payload": shown,
        },
    }


def v2(kind: str, **payload: Any) -> dict[str, Any]:
    """The envelope that the specification of API v2 describes."""
    names = {"account_name": "team", "notification_id": "n1"}
    shown = {**names, "subscription_type": kind, "subscription_key": TAG, **payload}
    return {
        "queue_id": kind,
        "account_name": "team",
        "data_id": "d1",
        "data": {"notification_user": "team", "notification_type": kind, "notification_payload": shown},
    }


def flat(kind: str, resource_type: str, resource: str | None) -> dict[str, Any]:
    """The event that Enterprise's notification service posts."""
    return {
        "id": "f1",
        "type": kind,
        "level": "info",
        "message": "Policy evaluation updated",
        "details": {},
        "timestamp": "2026-11-23T10:00:00",
        "resource": {"account_name": "team", "type": resource_type, "id": resource},
        "source": {"request_id": None, "service_name": "catalog", "host_id": "h", "base_url": "http://c:8228"},
    }


EVALUATIONS = {"curr_eval": {"image_digest": DIGEST, "status": "fail"}, "last_eval": {}, "annotations": {}}
DIGESTS = {"curr_eval": [DIGEST], "last_eval": []}
STATES = {"curr_eval": {"imageDigest": DIGEST, "analysis_status": "analyzed"}, "last_eval": {"type": "x"}}
DIFFERENCE = {"diff_vulnerability_result": {"added": [], "updated": [], "removed": []}, "imageDigest": DIGEST}
TYPED = [
    ("policy_eval", EVALUATIONS),
    ("tag_update", DIGESTS),
    ("analysis_update", STATES),
    ("vuln_update", DIFFERENCE),
]


@pytest.mark.parametrize("envelope", [v1, v2])
@pytest.mark.parametrize(("kind", "payload"), TYPED)
def test_typed_notifications_are_about_a_tag(envelope: Any, kind: str, payload: dict[str, Any]) -> None:
    body = json.dumps(envelope(kind, **payload)).encode()
    assert read_notification(body) == Notification("n1", "team", kind, "image_tag", TAG)


@pytest.mark.parametrize(
    ("kind", "resource_type", "resource"),
    [
        ("user.checks.tag.policy_evaluation.update", "image_tag", TAG),
        ("user.image.analysis.completed", "image_digest", DIGEST),
        ("user.policy.active.updated", "policy_bundle", None),
        ("policy_eval", "image_tag", TAG),
    ],
)
def test_a_flat_event(kind: str, resource_type: str, resource: str | None) -> None:
    body = json.dumps(flat(kind, resource_type, resource)).encode()
    assert read_notification(body) == Notification("f1", "team", kind, resource_type, resource or "")


EVENT = {"type": "user.policy.active.updated", "resource": {"user_id": "other", "type": "policy_bundle", "id": None}}


@pytest.mark.parametrize("payload", [EVENT, {"event": EVENT}])
def test_a_notification_about_the_event_log(payload: dict[str, Any]) -> None:
    body = json.dumps(v1("event_log", **payload)).encode()
    expected = Notification("n1", "other", "user.policy.active.updated", "policy_bundle", "")
    assert read_notification(body) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, Notification("", "", "", "", "")),
        ({"id": 7, "type": [], "resource": "x", "data": [1]}, Notification("", "", "", "", "")),
        ({"data": {"notification_type": "tag_update"}}, Notification("", "", "tag_update", "", "")),
        (v1("tag_update", subscription_key=None), Notification("n1", "team", "tag_update", "", "")),
        (v1("tag_update", userId=None, notificationId=7), Notification("d1", "team", "tag_update", "image_tag", TAG)),
        ({"account_name": "a", "data_id": "d"}, Notification("d", "a", "", "", "")),
    ],
)
def test_missing_and_strange_parts_are_empty(body: Any, expected: Notification) -> None:
    assert read_notification(json.dumps(body).encode()) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"{",
        b'{"id": "\xff"}',
        b"<html></html>",
        b'{"a":' * 30_000,
        b"[" * 60_000,
        b'{"id": ' + b"9" * 60_000,
    ],
)
def test_a_body_that_is_no_object(body: bytes) -> None:
    assert read_notification(body) is None
