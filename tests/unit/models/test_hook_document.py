"""The document for a decision hook: what it keeps, what it leaves out, and whose members count."""

import json
from typing import Any

import pytest

from anchore_admission.errors import HookNotAsked
from anchore_admission.models.configuration.opa import Omitted
from anchore_admission.models.hook_document import LARGEST, LAST_APPLIED, hook_document
from anchore_admission.models.image_report import ImageReport
from support.builders import Json, pod, pod_spec, review, workload

ALL = tuple(Omitted)
REPORT = ImageReport("nginx:1", "docker.io/library/nginx", "1")
SECRET = {"name": "PASSWORD", "value": "hunter2"}
FROM = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "t"}}}


def document(body: Any, *, omitted: tuple[Omitted, ...] = (), labels: dict[str, str] | None = None) -> Json:
    written = body if isinstance(body, bytes) else json.dumps(body).encode()
    found: Json = json.loads(hook_document(written, [REPORT], labels, omitted))
    return found


def with_env(kind: str) -> Json:
    container = {"name": "c", "image": "nginx", "env": [SECRET, FROM], "resources": {"limits": {"cpu": "1"}}}
    spec = pod_spec(initContainers=[container], ephemeralContainers=[container], hostNetwork=True)
    return workload(kind, {**spec, "containers": [container]})


def test_the_review_is_kept_with_our_members() -> None:
    body = review(pod("nginx:1", hostNetwork=True))
    found = document(body)
    images, ours = found.pop("images"), found.pop("anchoreAdmission")
    assert found == body
    assert [image["reference"] for image in images] == ["nginx:1"]
    assert ours == {"input": 1}
    assert document(body, labels={"env": "prod"})["anchoreAdmission"] == {
        "input": 1,
        "namespaceLabels": {"env": "prod"},
    }


@pytest.mark.parametrize("omitted", [(), ALL])
def test_our_members_replace_those_of_the_caller(omitted: tuple[Omitted, ...]) -> None:
    forged = {"images": [], "anchoreAdmission": {"input": 9, "namespaceLabels": {"env": "dev"}}}
    body = json.dumps({**forged, **review(pod("nginx:1")), "images ": 1})[:-1].encode()
    body += b', "images": [], "im\\u0061ges": {"no": 1}}'
    text = hook_document(body, [REPORT], None, omitted)
    assert text.count(b'"images":') == 1
    found = json.loads(text)
    assert len(found["images"]) == 1
    assert found["anchoreAdmission"] == {"input": 1}


@pytest.mark.parametrize("kind", ["Pod", "Deployment", "CronJob", "Job", "PodTemplate", "ReplicationController"])
@pytest.mark.parametrize("member", ["object", "oldObject"])
def test_values_of_environment_variables_are_left_out(kind: str, member: str) -> None:
    whole = {**with_env(kind), "metadata": {"name": "x", "annotations": {LAST_APPLIED: "hunter2", "team": "a"}}}
    body = review(pod("nginx"), **{member: whole})
    assert "hunter2" in json.dumps(document(body))
    found = document(body, omitted=(Omitted.ENV,))
    assert "hunter2" not in json.dumps(found)
    # Everything else is still there.
    expected = json.loads(json.dumps(body).replace(', "value": "hunter2"', ""))
    del expected["request"][member]["metadata"]["annotations"][LAST_APPLIED]
    assert found["request"] == expected["request"]


def test_ephemeral_containers_of_old_clusters_have_variables_too() -> None:
    body = review({"kind": "EphemeralContainers", "ephemeralContainers": [{"name": "d", "env": [SECRET]}]})
    assert "hunter2" not in json.dumps(document(body, omitted=(Omitted.ENV,)))


@pytest.mark.parametrize(
    "env", ["hunter2", {"PASSWORD": "hunter2"}, [["hunter2"]], ["hunter2"], [{"name": 1, "value": "hunter2"}]]
)
def test_variables_of_another_shape_are_left_out(env: object) -> None:
    body = review(pod("nginx", containers=[{"name": "c", "image": "nginx", "env": env}]))
    found = document(body, omitted=(Omitted.ENV,))
    assert "hunter2" not in json.dumps(found)
    assert found["request"]["object"]["spec"]["containers"][0]["image"] == "nginx"


@pytest.mark.parametrize(
    "templated",
    [
        lambda metadata: {"template": {"metadata": metadata}},
        lambda metadata: {"spec": {"template": {"metadata": metadata}}},
        lambda metadata: {
            "spec": {"jobTemplate": {"metadata": metadata, "spec": {"template": {"metadata": metadata}}}}
        },
    ],
    ids=["PodTemplate", "Deployment", "CronJob"],
)
def test_a_template_may_have_a_copy_of_the_object_too(templated: Any) -> None:
    body = review(templated({"annotations": {LAST_APPLIED: "hunter2", "team": "a"}}))
    found = document(body, omitted=(Omitted.ENV,))
    assert found["request"]["object"] == templated({"annotations": {"team": "a"}})


def test_a_name_in_escapes_hides_no_variables() -> None:
    body = json.dumps(review(pod("nginx", containers=[{"name": "c", "image": "nginx", "env": [SECRET, FROM]}])))
    found = document(body.replace('"env"', '"\\u0065nv"').encode(), omitted=(Omitted.ENV,))
    assert found["request"]["object"]["spec"]["containers"][0]["env"] == [{"name": "PASSWORD"}, FROM]


@pytest.mark.parametrize(
    "changed",
    [
        {"containers": [{"name": "c", "securityContext": {"privileged": True}, "env": [SECRET]}, "odd"]},
        {"containers": {"privileged": True, "env": 1}},
        {"template": "privileged", "env": 1},
        {"template": ["privileged"], "jobTemplate": 1, "env": 1},
    ],
)
def test_a_policy_sees_what_has_another_shape(changed: Json) -> None:
    body = review({"kind": "Other", "apiVersion": "example.com/v1", "spec": changed})
    assert document(body, omitted=ALL)["request"]["object"]["spec"] == changed


def test_annotations_of_another_shape_are_left_out() -> None:
    found = document(review(pod("nginx", metadata={"annotations": ["hunter2"]})), omitted=(Omitted.ENV,))
    assert found["request"]["object"]["metadata"] == {"name": "demo"}


def test_other_parts_are_left_out() -> None:
    body = review(
        pod("nginx", metadata={"managedFields": [{"manager": "kubectl"}], "labels": {"a": "b"}}), oldObject=pod("nginx")
    )
    found = document(body, omitted=(Omitted.MANAGED_FIELDS, Omitted.OLD_OBJECT))
    assert "oldObject" not in found["request"]
    assert found["request"]["object"]["metadata"] == {"name": "demo", "labels": {"a": "b"}}
    assert "managedFields" in document(body)["request"]["object"]["metadata"]


@pytest.mark.parametrize("omitted", [(), ALL])
@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"request": {}} {}', b'"text"', b"\xff\xfe"])
def test_what_is_no_single_object_is_never_sent(body: bytes, omitted: tuple[Omitted, ...]) -> None:
    with pytest.raises(HookNotAsked):
        hook_document(body, [], None, omitted)


@pytest.mark.parametrize("omitted", [(), ALL])
@pytest.mark.parametrize("depth", [1000, 100_000])
def test_deep_nesting_is_sent_or_rejected(depth: int, omitted: tuple[Omitted, ...]) -> None:
    nested = "[" * depth + "]" * depth
    body = json.dumps(review(pod("nginx"))).replace('"hostname"', "").encode()
    body = body[:-1] + b', "deep": ' + nested.encode() + b"}"
    try:
        found = hook_document(body, [REPORT], None, omitted)
    except HookNotAsked:
        return
    assert nested.encode() in found


def test_a_document_is_bounded() -> None:
    body = json.dumps(review(pod("nginx", metadata={"annotations": {"a": "x" * LARGEST}}))).encode()
    with pytest.raises(HookNotAsked, match="larger than"):
        hook_document(body, [REPORT])
