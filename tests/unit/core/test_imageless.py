"""Kinds that hold no image, kinds that are not known, and signs of images in objects of any kind."""

from typing import Any

import pytest

from anchore_admission.core import workload
from anchore_admission.core.imageless import IMAGELESS, is_custom, is_imageless, meant
from anchore_admission.documents.objects import opened, shows_images
from anchore_admission.models.review import GroupVersionKind


def _kind(group: str, kind: str) -> GroupVersionKind:
    return GroupVersionKind(group=group, version="v1", kind=kind)


@pytest.mark.parametrize(
    ("group", "kind", "imageless", "custom"),
    [
        ("", "Service", True, False),
        ("", "service", False, False),
        ("", "Pod", False, False),
        ("apps", "Service", False, False),
        ("serving.knative.dev", "Service", False, True),
        ("rbac.authorization.k8s.io", "Role", True, False),
        ("rbac.authorization.k8s.io", "Roles", False, False),
        ("apiextensions.k8s.io", "CustomResourceDefinition", True, False),
        ("meta.k8s.io", "Table", False, False),
        ("example", "Certificate", False, False),
        ("a/b.c", "Service", False, False),
    ],
)
def test_kinds(group: str, kind: str, imageless: bool, custom: bool) -> None:
    assert (is_imageless(_kind(group, kind)), is_custom(_kind(group, kind))) == (imageless, custom)


def test_no_kind_is_both() -> None:
    assert IMAGELESS
    assert not [key for key in workload.KINDS if is_imageless(_kind(*key))]
    assert {group for group, _ in workload.KINDS} <= set(IMAGELESS)


@pytest.mark.parametrize(
    ("group", "kind", "name"),
    [
        ("", "Ingress", "networking.k8s.io/v1 Ingress"),
        ("apps", "cronjob", "batch/v1 CronJob"),
        ("serving.knative.dev", "Service", ""),
        ("", "Rollout", ""),
    ],
)
def test_the_intended_name_is_suggested(group: str, kind: str, name: str) -> None:
    assert meant(_kind(group, kind)) == name


@pytest.mark.parametrize(
    ("value", "shows"),
    [
        ({"spec": {"image": "x"}}, True),
        ({"spec": {"image": {"repository": "x"}}}, True),
        ({"spec": {"steps": [{"name": "a", "baseImage": "x"}]}}, True),
        ({"spec": {"templates": [{"container": {"command": ["x"]}}]}}, True),
        ({"spec": {"imagePullSecrets": [{"name": "x"}]}}, True),
        ({"spec": {"values": "web:\n  image: x\n"}}, True),
        ({"spec": {"json": '{"image" : "x"}'}}, True),
        ({"spec": {"template": {"metadata": {"labels": {"image": "x"}}}}}, True),
        ({"spec": {"image": ""}}, False),
        ({"spec": {"expr": 'container_memory{image!=""}'}}, False),
        ({"metadata": {"annotations": {"image": "x"}}, "spec": {"dnsNames": ["image.example.com"]}}, False),
        ({"spec": {"a": [[{}, None, 1, True]]}}, False),
        ({}, False),
        (None, False),
    ],
)
def test_signs_of_images(value: Any, shows: bool) -> None:
    assert shows_images(value) is shows


_POD = {"metadata": {"name": "a"}}


@pytest.mark.parametrize(
    ("document", "objects"),
    [
        ({"apiVersion": "v1", "kind": "PodList", "items": [_POD]}, [{**_POD, "apiVersion": "v1", "kind": "Pod"}]),
        ({"apiVersion": "v1", "kind": "PodList", "items": [{"kind": "Job"}]}, [{"kind": "Job"}]),
        ({"apiVersion": "v1", "kind": "List", "items": [_POD, 7]}, [_POD, 7]),
        (
            {"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "PodList", "items": [_POD]}]},
            [{**_POD, "apiVersion": "v1", "kind": "Pod"}],
        ),
        ({"kind": "PodList", "items": None}, []),
        ({"kind": "Pod", "items": None}, [{"kind": "Pod", "items": None}]),
        ({"kind": "AllowList", "spec": 1}, [{"kind": "AllowList", "spec": 1}]),
        ([1], [[1]]),
    ],
)
def test_lists_are_opened_as_by_kubectl(document: Any, objects: list[Any]) -> None:
    assert list(opened(document)) == objects
