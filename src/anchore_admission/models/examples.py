"""An AdmissionReview as an API server sends it when a person creates a Pod: for documentation, the demo and probes."""

from typing import Any

Json = dict[str, Any]

UID = "705ab4f5-6393-11e8-b7cc-42010a800002"
_KIND = {"group": "", "version": "v1", "kind": "Pod"}
_RESOURCE = {"group": "", "version": "v1", "resource": "pods"}


def example_pod(image: str, *, name: str = "example", namespace: str = "default") -> Json:
    """Return a Pod of one container."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [{"name": name, "image": image}]},
    }


def example_review(pod: Json | None, **changes: Any) -> Json:
    """Return an AdmissionReview about a Pod; ``changes`` replace members of its request."""
    metadata = pod["metadata"] if pod else {}
    request = {
        "uid": UID,
        "kind": _KIND,
        "resource": _RESOURCE,
        "requestKind": _KIND,
        "requestResource": _RESOURCE,
        "name": metadata.get("name"),
        "namespace": metadata.get("namespace"),
        "operation": "CREATE",
        "userInfo": {"username": "jane", "groups": ["system:authenticated"]},
        "object": pod,
        "oldObject": None,
        "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        "dryRun": False,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {**request, **changes}}
