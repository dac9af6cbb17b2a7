"""Examples on the documentation page: requests to try, and responses that they may get."""

import json
from textwrap import indent
from typing import Any

from anchore_admission.models.examples import UID, example_pod, example_review
from anchore_admission.models.review import AdmissionResponse, Replacement, encode

Json = dict[str, Any]
DIGEST = "sha256:" + "3" * 64
_WEB = "docker.io/library/nginx:1.25"
_IMAGES = ["ubuntu", _WEB]
_FAILED = f"Image ubuntu with digest {DIGEST} failed policy checks for policy bundle admissionpolicy"
_FINDING = "HIGH CVE-2021-3711 in openssl, fixed in 1.1.1k-r0"
_MODES = {
    "passive": "Passive: request analysis, always admit",
    "analysis": "Analysis: admit what Anchore has analyzed",
    "strict": "Strict: admit what passes the policy",
}


def _response(message: str, *, allowed: bool) -> Json:
    failure = {"status": "Failure", "code": 403, "reason": "Forbidden"}
    status = {"status": "Success", "code": 200} if allowed else failure
    response = {"uid": UID, "allowed": allowed, "status": {**status, "message": message}}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


REVIEWS = {
    mode: {"summary": summary, "value": example_review(example_pod("ubuntu", namespace=mode))}
    for mode, summary in _MODES.items()
}
"""Requests to ``/validate``: a Pod in a namespace that is named after the mode, as in the demo."""
_MESSAGES = {
    "passive": f"Image analysis for image ubuntu requested and found mapped to digest {DIGEST}",
    "analysis": "Image ubuntu is not analyzed. Analysis was requested: try again in a few minutes",
    "strict": f"{_FAILED}\n  {_FINDING}",
}
RESPONSES = {
    mode: {"summary": f"{mode} mode", "value": _response(message, allowed=mode == "passive")}
    for mode, message in _MESSAGES.items()
}


def _mutated(*patch: Replacement, **annotations: str) -> Json:
    response = AdmissionResponse(UID, allowed=True, audit_annotations=annotations, patch=patch)
    document: Json = json.loads(encode("admission.k8s.io/v1", response))
    return document


_NEW_IMAGE = Replacement("/spec/containers/0/image", f"{_WEB}@{DIGEST}")
PINNABLE = {
    "tag": {"summary": "A Pod that names a tag", "value": example_review(example_pod(_WEB, namespace="strict"))},
    "digest": {
        "summary": "A Pod that names a digest",
        "value": example_review(example_pod(f"{_WEB}@{DIGEST}", namespace="strict")),
    },
}
"""Requests to ``/mutate``."""
PINNED = {
    "tag": {"summary": "The tag is pinned", "value": _mutated(_NEW_IMAGE, pinned=f"containers/example={DIGEST}")},
    "digest": {"summary": "There is nothing to pin", "value": _mutated()},
}
"""Responses of ``/mutate``."""

_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "example"},
    "spec": {"containers": [{"name": "example", "image": "ubuntu"}]},
}
_DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "shop", "namespace": "strict"},
    "spec": {"template": {"spec": {"containers": [{"name": "web", "image": _WEB}]}}},
}
_POD_YAML = """apiVersion: v1
kind: Pod
metadata:
  name: example
spec:
  containers:
    - name: example
      image: ubuntu
"""
_DEPLOYMENT_YAML = f"""apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
  namespace: strict
spec:
  template:
    spec:
      containers:
        - name: web
          image: {_WEB}
"""


def _item(text: str) -> str:
    """Indent a YAML document as an element of a list."""
    return f"- {indent(text, '  ').lstrip()}"


_SUBJECTS = {
    "pod": ("A Pod", _POD, _POD_YAML),
    "deployment": ("A Deployment", _DEPLOYMENT, _DEPLOYMENT_YAML),
    "several": (
        "Several objects",
        {"apiVersion": "v1", "kind": "List", "items": [_POD, _DEPLOYMENT]},
        f"apiVersion: v1\nkind: List\nitems:\n{_item(_POD_YAML)}{_item(_DEPLOYMENT_YAML)}",
    ),
    "images": ("A list of images", _IMAGES, "".join(f"- {image}\n" for image in _IMAGES)),
}
SUBJECTS = {
    "application/yaml": {name: {"summary": title, "value": text} for name, (title, _, text) in _SUBJECTS.items()},
    "application/json": {name: {"summary": title, "value": value} for name, (title, value, _) in _SUBJECTS.items()},
}
"""Requests to ``/review`` by media type. The page keeps an example by its name when the media type changes."""
SUMMARY = {
    "allowed": False,
    "images": [
        {
            "image": "ubuntu",
            "digest": DIGEST,
            "object": {"kind": "Pod", "namespace": "strict", "name": "example"},
            "places": ['containers "example"'],
            "rule": "strict",
            "mode": "strict",
            "verdict": "deny",
            "reason": "policy_failed",
            "effect": "deny",
            "message": _FAILED,
            "findings": [_FINDING],
            "exemptions": [],
        }
    ],
    "warnings": [],
    "errors": [],
    "notChecked": [],
    "objects": {"reviewed": 1, "withoutImages": 0, "notChecked": 0, "unread": 0, "notReviewed": 0},
}
"""A response of ``/review``."""
