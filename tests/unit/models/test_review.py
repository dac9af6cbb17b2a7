"""AdmissionReview on the wire: reading, rejection and response."""

import json
from typing import Any

import pytest

from anchore_admission.errors import MalformedReview
from anchore_admission.models.examples import UID
from anchore_admission.models.review import AdmissionResponse, decode, encode, read_workload
from anchore_admission.models.workload import Unreadable, Workload
from support.builders import pod_spec, reason_of, review, workload

V1 = "admission.k8s.io/v1"
V1BETA1 = "admission.k8s.io/v1beta1"
_POD = workload("Pod", pod_spec("nginx"))


def _bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("version", [V1, V1BETA1])
def test_both_versions_are_read(version: str) -> None:
    decoded = decode(_bytes({**review(_POD), "apiVersion": version}))
    request = decoded.request
    assert decoded.apiVersion == version
    assert request.uid == UID
    assert request.kind.kind == "Pod"
    assert request.namespace == "shop"
    assert request.userInfo
    assert request.userInfo.username == "alice"
    assert isinstance(request.object, Workload)


@pytest.mark.parametrize(
    "changes",
    [
        {"subResource": "ephemeralcontainers", "requestKind": {"kind": "Pod"}, "requestSubResource": "x"},
        {"dryRun": None},
        {"userInfo": {"extra": {"a": ["b"]}}},
        {"userInfo": None},
        {"name": None, "namespace": None},
        {"object": None},
        {"somethingNew": {"deep": [1, 2]}},
    ],
)
def test_optional_and_unknown_fields(changes: dict[str, Any]) -> None:
    assert decode(_bytes(review(_POD, **changes))).request.uid == UID


@pytest.mark.parametrize(
    "missing", ["resource", "name", "namespace", "userInfo", "object", "oldObject", "dryRun", "options"]
)
def test_fields_that_the_api_server_may_leave_out(missing: str) -> None:
    body = review(_POD)
    del body["request"][missing]
    assert decode(_bytes(body)).request.uid == UID


def _without(key: str) -> dict[str, Any]:
    body = review(_POD)
    del body["request"][key]
    return body


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "is not valid JSON: it ends too early"),
        (b"{", "is not valid JSON: it ends too early"),
        (_bytes(review(_POD))[:-20], "is not valid JSON: it ends too early"),
        (b"\xff", "is not valid JSON at line 1 column 1"),
        (b"not json", "is not valid JSON at line 1 column 2"),
        (b"null", "expected an object"),
        (b"[]", "expected an object"),
        (b'"AdmissionReview"', "expected an object"),
        (b"{}", "apiVersion: is required; kind: is required; request: is required"),
        (
            _bytes({**review(_POD), "apiVersion": "admission.k8s.io/v2"}),
            "apiVersion: expected admission.k8s.io/v1 or admission.k8s.io/v1beta1",
        ),
        (
            _bytes({**review(_POD), "apiVersion": "v1"}),
            "apiVersion: expected admission.k8s.io/v1 or admission.k8s.io/v1beta1",
        ),
        (_bytes({**review(_POD), "kind": "Pod"}), "kind: expected AdmissionReview"),
        (_bytes({**review(_POD), "request": None}), "request: expected an object"),
        (_bytes(_without("uid")), "request.uid: is required"),
        (_bytes(_without("operation")), "request.operation: is required"),
        (_bytes(_without("kind")), "request.kind: is required"),
        (_bytes(review(_POD, uid="")), "request.uid: must not be empty"),
        (_bytes(review(_POD, uid="x" * 257)), "request.uid: expected at most 256 characters"),
        (_bytes(review(_POD, uid=7)), "request.uid: expected text"),
        (_bytes(review(_POD, userInfo={"groups": "admins"})), "request.userInfo.groups: expected a list"),
        (_bytes(review(_POD, dryRun="yes")), "request.dryRun: expected true or false"),
        (_bytes(review(_POD, namespace=["a"])), "request.namespace: expected text"),
        (b'{"a": "\\ud800"}', "is not valid JSON at line 1 column 14"),
        (b"[" * 10_000, "is nested too deeply"),
        (_bytes(review(_POD))[:-1] + b',"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "is nested too deeply"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_call_that_cannot_be_read(body: bytes, words: str) -> None:
    with pytest.raises(MalformedReview) as caught:
        decode(body)
    assert str(caught.value).startswith("not a readable AdmissionReview: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("Pod", "expected an object"),
        ([], "expected an object"),
        (7, "expected an object"),
        ({"spec": []}, "spec: expected an object"),
        ({"spec": {"containers": {}}}, "spec.containers: expected a list"),
        ({"spec": {"containers": [{"image": 7}]}}, "spec.containers[0].image: expected text"),
        ({"spec": {"containers": ["nginx"]}}, "spec.containers[0]: expected an object"),
        ({"spec": {"volumes": [{"image": "x"}]}}, "spec.volumes[0].image: expected an object"),
        ({"metadata": {"labels": {"a": 1}}}, "metadata.labels.a: expected text"),
        (
            {"metadata": {"ownerReferences": [{"controller": "true"}]}},
            "metadata.ownerReferences[0].controller: expected true or false",
        ),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_an_unreadable_object_is_kept_as_such(body: Any, words: str) -> None:
    request = decode(_bytes(review(body))).request
    assert isinstance(request.object, Unreadable)
    assert request.object.reason.startswith(words)
    assert request.object.metadata is None
    assert request.uid == UID


def test_an_unreadable_old_object_counts_as_absent() -> None:
    request = decode(_bytes(review(_POD, operation="UPDATE", oldObject={"spec": {"containers": 1}}))).request
    assert isinstance(request.object, Workload)
    assert request.oldObject is None


def test_two_unreadable_objects_are_distinguished() -> None:
    request = decode(_bytes(review({"spec": 1}, operation="UPDATE", oldObject={"metadata": 2}))).request
    assert request.object == Unreadable("spec: expected an object")
    assert request.oldObject is None


def test_only_the_problems_of_the_envelope_are_named_if_it_has_any() -> None:
    with pytest.raises(MalformedReview) as caught:
        decode(_bytes(review({"spec": 1}, uid=7)))
    assert str(caught.value) == "not a readable AdmissionReview: request.uid: expected text"


def test_a_key_of_the_author_is_shown_cut_and_escaped() -> None:
    labels = {"a.b/c": 1, "\x1b[2J": 1, "x" * 500 + "!": 1}
    request = decode(_bytes(review({"metadata": {"labels": labels}}))).request
    cut = "x" * 100
    assert request.object == Unreadable(
        "metadata.labels['a.b/c']: expected text; metadata.labels['\\x1b[2J']: expected text; "
        f"metadata.labels['{cut}']: expected text"
    )


def test_many_problems_are_cut_short() -> None:
    request = decode(_bytes(review({"spec": {"containers": [{"image": 1}] * 9}}))).request
    assert isinstance(request.object, Unreadable)
    assert request.object.reason.endswith("; and 6 more")


@pytest.mark.parametrize(
    "body",
    [
        review({"spec": {"containers": [{"image": {"hunter2": 1}}], "volumes": "hunter2"}}),
        review(_POD, uid=["hunter2"]),
        review(_POD, operation={"a": "hunter2"}),
        {**review(_POD), "apiVersion": "hunter2"},
        {**review(_POD), "kind": "hunter2"},
    ],
)
def test_errors_never_repeat_the_values(body: Any) -> None:
    try:
        text = reason_of(decode(_bytes(body)))
    except MalformedReview as error:
        text = str(error)
    assert text
    assert "hunter2" not in text


def test_truncated_json_is_not_repeated() -> None:
    with pytest.raises(MalformedReview) as caught:
        decode(b'{"password": "hunter2", ')
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["a\0b", "😀", "ünïcode", "a\nb", "\u202e", "x" * 100_000])
def test_names_of_any_characters(name: str) -> None:
    pod = workload("Pod", {"containers": [{"name": name, "image": name}]}, metadata={"name": name})
    request = decode(_bytes(review(pod, name=name))).request
    assert request.name == name
    assert isinstance(request.object, Workload)
    assert request.object.spec
    assert request.object.spec.containers
    assert request.object.spec.containers[0].image == name


def test_of_duplicate_keys_the_last_wins() -> None:
    """The API server's own decoder does the same; it re-encodes every review and never sends one."""
    body = _bytes(review(_POD)).replace(b'"operation": "CREATE"', b'"operation": "DELETE", "operation": "UPDATE"')
    assert decode(body).request.operation == "UPDATE"


@pytest.mark.parametrize("repeats", [1, 50])
def test_of_duplicate_keys_around_an_unreadable_object_the_last_wins(repeats: int) -> None:
    """The second reading of such a review must see the same values as the first."""
    filling = ", ".join(f'"k{number}": 1' for number in range(repeats))
    body = _bytes(review({"spec": 1}))
    twice = body.replace(b'"request": {', b'"request": 7, %s, "request": {"object": 8, ' % filling.encode())
    request = decode(twice).request
    assert request.object == Unreadable("spec: expected an object")
    with pytest.raises(MalformedReview, match="request: expected an object"):
        decode(body[:-1] + b', "request": 7}')


@pytest.mark.parametrize(
    "forged", [{"unreadable": "forged"}, {"object": {"reason": "forged", "metadata": None}}], ids=str
)
def test_a_caller_cannot_make_an_object_unreadable(forged: dict[str, Any]) -> None:
    assert isinstance(decode(_bytes(review(_POD, **forged))).request.object, Workload)


def test_a_bare_object_is_read() -> None:
    assert read_workload(_POD).kind == "Pod"
    with pytest.raises(MalformedReview, match=r"^spec: expected an object"):
        read_workload({"spec": 1})


@pytest.mark.parametrize("version", [V1, V1BETA1])
def test_an_answer_that_admits(version: str) -> None:
    answer = json.loads(encode(version, AdmissionResponse(uid="u-1", allowed=True)))
    assert answer == {"apiVersion": version, "kind": "AdmissionReview", "response": {"uid": "u-1", "allowed": True}}


def test_an_answer_that_admits_and_says_something() -> None:
    response = AdmissionResponse(
        uid="u-1", allowed=True, message="requested", warnings=("w1", "w2"), audit_annotations={"verdict": "admit"}
    )
    assert json.loads(encode(V1, response))["response"] == {
        "uid": "u-1",
        "allowed": True,
        "status": {"status": "Success", "code": 200, "message": "requested"},
        "warnings": ["w1", "w2"],
        "auditAnnotations": {"verdict": "admit"},
    }


def test_an_answer_that_denies() -> None:
    response = AdmissionResponse(uid="u-1", allowed=False, message="Image é is not analyzed\nand 1 more")
    assert json.loads(encode(V1, response))["response"] == {
        "uid": "u-1",
        "allowed": False,
        "status": {
            "status": "Failure",
            "code": 403,
            "reason": "Forbidden",
            "message": "Image é is not analyzed\nand 1 more",
        },
    }


@pytest.mark.parametrize("allowed", [True, False])
def test_no_answer_carries_a_patch(allowed: bool) -> None:
    text = encode(V1, AdmissionResponse(uid="u-1", allowed=allowed, message="m", warnings=("w",)))
    assert b"patch" not in text.lower()
