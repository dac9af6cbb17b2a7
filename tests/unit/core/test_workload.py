"""The images that a workload pulls, for every kind, complete or not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchore_admission.core import workload
from anchore_admission.core.workload import KINDS, ContainerImage
from anchore_admission.errors import MalformedReview
from anchore_admission.models.review import AdmissionReview, GroupVersionKind, decode, read_workload
from anchore_admission.models.workload import Unreadable
from support import builders

_ALL = {
    "volumes": [
        {"name": "data", "image": {"reference": "v/data:1", "pullPolicy": "Always"}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "rbd", "rbd": {"image": "not-a-container-image"}},
    ],
    "ephemeralContainers": [{"name": "debug", "image": "e/debug:1", "targetContainerName": "c1"}],
    "containers": [{"name": "c1", "image": "c/one:1"}, {"name": "c2", "image": "c/two:1"}],
    "initContainers": [
        {"name": "setup", "image": "i/setup:1"},
        {"name": "proxy", "image": "i/proxy:1", "restartPolicy": "Always"},
    ],
}
_IN_ORDER = ["i/setup:1", "i/proxy:1", "c/one:1", "c/two:1", "e/debug:1", "v/data:1"]


def _images(group: str, kind: str, body: Any) -> list[ContainerImage]:
    view = workload.pod_view(GroupVersionKind(group=group, version="v1", kind=kind), read_workload(body))
    return list(workload.images(view.spec)) if view else []


@pytest.mark.parametrize(
    ("group", "kind"),
    [pair for pair in KINDS if pair != ("", "EphemeralContainers")],
    ids=lambda part: part or "core",
)
def test_every_kind_in_the_order_of_every_message(group: str, kind: str) -> None:
    body = builders.workload(kind, _ALL)
    assert [image.image for image in _images(group, kind, body)] == _IN_ORDER


def test_ephemeral_containers_of_kubernetes_before_1_22() -> None:
    body = {"kind": "EphemeralContainers", "apiVersion": "v1", "ephemeralContainers": _ALL["ephemeralContainers"]}
    assert _images("", "EphemeralContainers", body) == [ContainerImage("ephemeralContainers", "debug", "e/debug:1")]


@pytest.mark.parametrize(("group", "kind"), list(KINDS), ids=lambda part: part or "core")
def test_the_path_of_an_image_leads_to_its_text(group: str, kind: str) -> None:
    body = {**builders.workload(kind, _ALL), **(_ALL if kind == "EphemeralContainers" else {})}
    found = []
    for image in _images(group, kind, body):
        value: Any = body
        for key in workload.image_path(GroupVersionKind(group=group, version="v1", kind=kind), image):
            value = value[key]
        found.append((value, image.image))
    assert len(found) == (1 if kind == "EphemeralContainers" else len(_IN_ORDER))
    assert [value for value, _ in found] == [image for _, image in found]


def test_places_are_named() -> None:
    places = [image.place for image in _images("", "Pod", builders.workload("Pod", _ALL))]
    assert places == [
        'initContainers "setup"',
        'initContainers "proxy"',
        'containers "c1"',
        'containers "c2"',
        'ephemeralContainers "debug"',
        'volumes "data"',
    ]


@pytest.mark.parametrize(
    ("spec", "images"),
    [
        ({}, []),
        ({"containers": None, "initContainers": None, "ephemeralContainers": None, "volumes": None}, []),
        ({"containers": []}, []),
        ({"containers": [{}]}, [("containers", "", "")]),
        ({"containers": [{"name": None, "image": None}]}, [("containers", "", "")]),
        ({"containers": [{"name": "a", "image": ""}]}, [("containers", "a", "")]),
        ({"containers": [{"name": "a", "image": " x "}]}, [("containers", "a", " x ")]),
        ({"volumes": [{"name": "v", "image": None}]}, []),
        ({"volumes": [{"name": "v", "image": {}}]}, [("volumes", "v", "")]),
        ({"volumes": [{"name": "v", "image": {"reference": None}}]}, [("volumes", "v", "")]),
        ({"containers": [{"image": "x"}, {"image": "x"}]}, [("containers", "", "x"), ("containers", "", "x")]),
    ],
)
def test_lists_and_fields_that_are_missing_or_null(spec: dict[str, Any], images: list[tuple[str, str, str]]) -> None:
    found = _images("", "Pod", {"spec": spec})
    assert [(image.field, image.name, image.image) for image in found] == images


@pytest.mark.parametrize(
    ("group", "kind", "body"),
    [
        ("", "Pod", {}),
        ("", "Pod", {"spec": None}),
        ("", "PodTemplate", {"template": None}),
        ("", "PodTemplate", {"template": {}}),
        ("", "ReplicationController", {"spec": {"replicas": 1}}),
        ("apps", "Deployment", {"spec": {"template": None}}),
        ("apps", "Deployment", {"spec": {"template": {"spec": None}}}),
        ("apps", "Deployment", {"spec": {"containers": [{"image": "not-read-here"}]}}),
        ("batch", "CronJob", {"spec": {"jobTemplate": None}}),
        ("batch", "CronJob", {"spec": {"jobTemplate": {"spec": {"template": None}}}}),
        ("batch", "CronJob", {"spec": {"template": {"spec": {"containers": [{"image": "not-read-here"}]}}}}),
        ("", "EphemeralContainers", {"ephemeralContainers": None}),
    ],
)
def test_a_workload_without_a_pod_spec_has_no_images(group: str, kind: str, body: Any) -> None:
    assert _images(group, kind, body) == []


def test_no_object_has_no_pod_spec() -> None:
    assert workload.pod_view(GroupVersionKind(version="v1", kind="Pod"), None) is None


def test_a_thousand_containers() -> None:
    images = [f"team/app-{number}:1" for number in range(1000)]
    found = _images("", "Pod", builders.workload("Pod", builders.pod_spec(*images)))
    assert [image.image for image in found] == images


@pytest.mark.parametrize(
    ("group", "kind", "known", "pod"),
    [
        ("", "Pod", True, True),
        ("", "EphemeralContainers", True, True),
        ("apps", "Deployment", True, False),
        ("extensions", "DaemonSet", True, False),
        ("batch", "CronJob", True, False),
        ("", "Deployment", False, False),
        ("apps", "Pod", False, False),
        ("argoproj.io", "Rollout", False, False),
        ("batch", "cronjob", False, False),
        ("", "", False, False),
    ],
)
def test_kinds_are_recognised_by_group_and_name(group: str, kind: str, known: bool, pod: bool) -> None:
    gvk = GroupVersionKind(group=group, version="v9", kind=kind)
    assert workload.is_known(gvk) is known
    assert workload.is_pod(gvk) is pod


def test_metadata_is_that_of_the_pods() -> None:
    body = builders.workload("Deployment", {}, metadata={"labels": {"a": "own"}}, pod_metadata={"labels": {"a": "pod"}})
    view = workload.pod_view(GroupVersionKind(group="apps", version="v1", kind="Deployment"), read_workload(body))
    assert view
    assert view.metadata
    assert view.metadata.labels == {"a": "pod"}


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ({"containers": [{"image": "a"}]}, ["a"], []),
        ({"containers": [{"image": "a"}]}, ["a", "b"], ["b"]),
        ({"initContainers": [{"image": "a"}]}, ["a"], []),
        ({"volumes": [{"image": {"reference": "a"}}]}, ["a"], []),
        ({"containers": [{"image": "docker.io/library/a"}]}, ["a"], ["a"]),
        ({"containers": [{"image": "a:latest"}]}, ["a"], ["a"]),
        ({}, ["a"], ["a"]),
        (None, ["a", "a"], ["a", "a"]),
    ],
)
def test_images_absent_from_the_old_spec_have_changed(
    old: dict[str, Any] | None, new: list[str], changed: list[str]
) -> None:
    fresh = [ContainerImage("containers", "", image) for image in new]
    old_view = workload.pod_view(GroupVersionKind(kind="Pod"), read_workload({"spec": old}))
    found = workload.changed(fresh, old_view.spec if old_view else None)
    assert [image.image for image in found] == changed


_KEYS = st.sampled_from(
    [
        "apiVersion",
        "kind",
        "metadata",
        "spec",
        "template",
        "jobTemplate",
        "containers",
        "initContainers",
        "ephemeralContainers",
        "volumes",
        "image",
        "reference",
        "name",
        "labels",
        "annotations",
        "ownerReferences",
        "request",
        "object",
        "oldObject",
        "uid",
        "operation",
        "userInfo",
        "groups",
        "x",
    ]
)
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=25,
)


@given(_ANYTHING)
def test_any_json_is_a_review_or_malformed(value: Any) -> None:
    with pytest.raises(MalformedReview):
        decode(json.dumps(value).encode())


@given(_ANYTHING, _ANYTHING, st.sampled_from(sorted(KINDS)))
def test_any_object_is_readable_or_said_not_to_be(body: Any, old: Any, pair: tuple[str, str]) -> None:
    group, kind = pair
    changes = {"oldObject": old, "kind": {"group": group, "version": "v1", "kind": kind}, "operation": "UPDATE"}
    review = decode(json.dumps(builders.review(body, **changes)).encode())
    assert isinstance(review, AdmissionReview)
    read = review.request.object
    assert (read is None) == (body is None)
    if isinstance(read, Unreadable):
        assert read.reason
    else:
        view = workload.pod_view(review.request.kind, read)
        assert all(isinstance(image.image, str) for image in workload.images(view.spec)) if view else True
