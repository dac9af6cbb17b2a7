"""Reviews past 64 KiB, which are read another way, and the first part of those that are not read to their end."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from anchore_admission.errors import MalformedReview
from anchore_admission.models import large_review
from anchore_admission.models.examples import UID
from anchore_admission.models.review import LARGE, decode, decode_start
from anchore_admission.models.workload import MAX_ENTRIES, MAX_KEYS, Unreadable, Workload
from support.builders import pod_spec, reason_of, review, workload
from support.webhook import REVIEWS

POD = workload("Pod", pod_spec("nginx"))
FILLING = b" " * LARGE
WHY = "it is too large"


def sent(value: Any) -> bytes:
    """A review as API servers write it: '<' takes six bytes."""
    return json.dumps(value).replace("<", "\\u003c").encode()


def object_of(**more: Any) -> dict[str, Any]:
    return review({**POD, **more})


READABLE = [
    *REVIEWS.values(),
    *(
        sent(review(workload(kind, pod_spec("a", "b", None))))
        for kind in ("Pod", "Deployment", "CronJob", "PodTemplate")
    ),
    sent(review(POD, oldObject=POD, operation="UPDATE", userInfo=None, name=None, namespace=None)),
    sent(review(POD, unreadable="forged", object=None, somethingNew=[{"a": [1.5, None, True]}])),
    sent(
        object_of(
            metadata={"labels": {"a": "é😀", "b": None}, "ownerReferences": [{"kind": "Job", "controller": True}]}
        )
    ),
    (
        b'{"object": 7, "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request":'
        b' {"uid": "u", "kind": {"kind": "a"}, "kind": {"kind": "Pod"}, "operation": "CREATE",'
        b' "object": {"kind": "x", "kind": "Pod"}}}'
    ),
]


@pytest.mark.parametrize("body", READABLE)
def test_a_large_review_is_read_as_a_small_one_would_be(body: bytes) -> None:
    assert decode(body + FILLING) == decode(body)
    assert decode(bytearray(body + FILLING)) == decode(body)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("Pod", "expected an object"),
        ([], "expected an object"),
        (7, "expected an object"),
        ({"spec": []}, "spec: expected an object"),
        ({"spec": {"containers": {}}}, "spec.containers: expected a list"),
        ({"spec": {"containers": [{"image": 7}]}}, "spec.containers[0].image: expected text"),
        ({"metadata": {"labels": {"a": 1}}}, "metadata.labels.a: expected text"),
        ({"metadata": {"ownerReferences": [{"controller": "true"}]}}, "controller: expected true or false"),
        ({"spec": pod_spec(*["a"] * (MAX_ENTRIES + 1))}, f"spec.containers: expected at most {MAX_ENTRIES} entries"),
        ({"metadata": {"labels": {f"{n}": "" for n in range(MAX_KEYS + 1)}}}, f"expected at most {MAX_KEYS} entries"),
        ({"metadata": {"annotations": {f"{n:x}": "" for n in range(400_000)}}}, f"expected at most {MAX_KEYS} entries"),
        (
            workload("CronJob", pod_spec("a"), pod_metadata={"labels": {f"{n:x}": "" for n in range(400_000)}}),
            f"expected at most {MAX_KEYS} entries",
        ),
        ({"metadata": {"labels": 7}}, "metadata.labels: expected an object"),
        ({"spec": pod_spec("r.io" + "/a" * 1_000_000)}, "images, labels and annotations are longer than 1048576 bytes"),
        ({"x": [[]] * large_review.MAX_BRACKETS}, "holds more than 400000 objects and lists"),
        ({"x": [{}] * large_review.MAX_BRACKETS}, "holds more than 400000 objects and lists"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_large_review_of_an_unreadable_object_is_kept_as_such(value: Any, why: str) -> None:
    request = decode(sent(review(value)) + FILLING).request
    assert request.uid == UID
    assert isinstance(request.object, Unreadable)
    assert why in request.object.reason
    assert len(request.object.reason) < 200


def test_an_unreadable_old_object_of_a_large_review_counts_as_absent() -> None:
    request = decode(sent(review(POD, oldObject={"spec": 7})) + FILLING).request
    assert request.oldObject is None
    assert isinstance(request.object, Workload)


def nested(levels: int) -> bytes:
    return b'{"x":' + b"[" * levels + b"]" * levels + b"}"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "is not valid JSON"),
        (b"{", "is not valid JSON"),
        (sent(review(POD))[:-20], "is not valid JSON"),
        (b"\xff", "is not valid JSON"),
        (b"[]", "expected an object"),
        (b"{}", "request: is required"),
        (sent({**review(POD), "apiVersion": "v1"}), "apiVersion: expected admission.k8s.io/v1 or"),
        (sent({**review(POD), "kind": 7}), "kind: expected AdmissionReview"),
        (sent({**review(POD), "request": []}), "request: expected an object"),
        (sent(review(POD, uid="")), "request.uid: must not be empty"),
        (sent(review(POD, userInfo={"groups": "admins"})), "request.userInfo.groups: expected a list"),
        (sent(review(POD, userInfo={"groups": ["a" * 2**20]})), "more than 1048576 bytes beside its objects"),
        (nested(100_000), "is nested too deeply"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_large_call_that_cannot_be_read(body: bytes, why: str) -> None:
    with pytest.raises(MalformedReview, match=r"^not a readable AdmissionReview: ") as caught:
        decode(body + FILLING)
    assert why in str(caught.value)
    assert "Input" not in str(caught.value)


def test_the_values_of_a_large_call_are_not_repeated() -> None:
    for body in (
        object_of(spec={"containers": "hunter2"}),
        {**review(POD), "kind": "hunter2"},
        review(POD, uid=["hunter2"]),
    ):
        try:
            text = reason_of(decode(sent(body) + FILLING))
        except MalformedReview as error:
            text = str(error)
        assert text
        assert "hunter2" not in text


@pytest.mark.parametrize("name", sorted(REVIEWS))
def test_the_first_part_names_the_user_and_the_object(name: str) -> None:
    body = REVIEWS[name]
    whole = decode(body)
    cut = body.index(b'"object"') + 20
    read = decode_start(body[:cut], WHY)
    assert read
    assert (read.apiVersion, reason_of(read)) == (whole.apiVersion, WHY)
    for field in ("uid", "kind", "operation", "name", "namespace", "userInfo", "subResource"):
        assert getattr(read.request, field) == getattr(whole.request, field)
    assert read.request.oldObject is None


def test_it_may_end_anywhere() -> None:
    value = object_of(
        metadata={"generateName": "é-", "deletionTimestamp": "2026-01-01T00:00:00Z", "labels": {"a": "😀"}}
    )
    body = json.dumps(value, ensure_ascii=False).encode()
    begin = body.index(b'"object": {') + len(b'"object": {')
    assert begin < len(body)
    for end in range(begin, len(body)):
        read = decode_start(body[:end], WHY)
        assert read, body[:end]
        assert (read.request.uid, reason_of(read)) == (UID, WHY)


def test_it_holds_the_metadata() -> None:
    value = object_of(metadata={"generateName": "web-", "deletionTimestamp": "2026-01-01T00:00:00Z"})
    read = decode_start(sent(value).partition(b'"spec"')[0], WHY)
    assert read
    assert isinstance(read.request.object, Unreadable)
    assert read.request.object.metadata
    assert read.request.object.metadata.deletionTimestamp == "2026-01-01T00:00:00Z"


def reordered(document: dict[str, Any]) -> bytes:
    request = dict(document["request"])
    return sent({**document, "request": {"object": request.pop("object"), **request}})


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda _: b"",
        lambda _: b"[1, 2",
        lambda document: b"\xff" + sent(document),
        lambda document: sent(document)[:60],
        lambda document: sent({**document, "apiVersion": "v1"}),
        lambda document: sent({**document, "request": {**document["request"], "uid": 7}}),
        lambda document: sent({**document, "request": {"uid": UID}}),
        lambda document: reordered(document)[:100],
    ],
)
def test_a_first_part_without_the_needed_fields_is_no_review(spoilt: Callable[[dict[str, Any]], bytes]) -> None:
    assert decode_start(spoilt(review(POD)), WHY) is None
