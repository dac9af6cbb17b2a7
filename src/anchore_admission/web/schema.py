"""The OpenAPI documentation of the routes that work on raw bytes, with examples to try."""

from typing import Any

from anchore_admission.models.review import GroupVersionKind
from anchore_admission.services.reviews.manual import DEFAULT_NAMESPACE
from anchore_admission.web.examples import DIGEST, SUBJECTS, SUMMARY

_VERSIONS = ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"]
_STRING = {"type": "string"}
_STRINGS = {"type": "array", "items": _STRING}
_OBJECT = {"type": ["object", "null"]}


def _properties(*names: str) -> dict[str, Any]:
    return {"type": "object", "properties": dict.fromkeys(names, _STRING)}


_KIND = _properties("group", "version", "kind")
_RESOURCE = _properties("group", "version", "resource")
_USER = {
    "type": "object",
    "properties": {
        "username": _STRING,
        "uid": _STRING,
        "groups": _STRINGS,
        "extra": {"type": "object", "additionalProperties": _STRINGS},
    },
}
_REQUEST = {
    "type": "object",
    "required": ["uid", "kind", "operation"],
    "properties": {
        "uid": {**_STRING, "description": "new for each call, echoed in the answer"},
        "kind": _KIND,
        "resource": _RESOURCE,
        "subResource": _STRING,
        "requestKind": _KIND,
        "requestResource": _RESOURCE,
        "requestSubResource": _STRING,
        "name": _STRING,
        "namespace": _STRING,
        "operation": {"enum": ["CREATE", "UPDATE", "DELETE", "CONNECT"]},
        "userInfo": _USER,
        "object": {**_OBJECT, "description": "the Pod, or any other workload"},
        "oldObject": {**_OBJECT, "description": "on UPDATE: images that stand here are not judged again"},
        "options": _OBJECT,
        "dryRun": {"type": "boolean", "description": "when true, Anchore is asked for no analysis"},
    },
}
_STATUS = {
    "type": "object",
    "properties": {"status": _STRING, "code": {"type": "integer"}, "reason": _STRING, "message": _STRING},
}
_RESPONSE = {
    "type": "object",
    "required": ["uid", "allowed"],
    "properties": {
        "uid": _STRING,
        "allowed": {"type": "boolean"},
        "status": {**_STATUS, "description": "code 403 and the reasons on a denial"},
        "warnings": {**_STRINGS, "description": "shown by kubectl, allowed or not"},
        "auditAnnotations": {"type": "object", "additionalProperties": _STRING},
    },
}


def _envelope(half: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["apiVersion", "kind", half],
        "properties": {"apiVersion": {"enum": _VERSIONS}, "kind": {"const": "AdmissionReview"}, half: schema},
    }


def pod_review(namespace: str, image: str, *, name: str = "example", version: str = _VERSIONS[0]) -> dict[str, Any]:
    """What an API server sends when a person creates a Pod of one container."""
    kind = GroupVersionKind(version="v1", kind="Pod").model_dump()
    resource = {"group": "", "version": "v1", "resource": "pods"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [{"name": name, "image": image}]},
    }
    return {
        "apiVersion": version,
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            "name": name,
            "namespace": namespace,
            "operation": "CREATE",
            "userInfo": {"username": "jane", "groups": ["system:authenticated"]},
            "object": pod,
            "oldObject": None,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
            "dryRun": False,
        },
    }


def _answer(message: str, *, allowed: bool) -> dict[str, Any]:
    status = (
        {"status": "Success", "code": 200} if allowed else {"status": "Failure", "code": 403, "reason": "Forbidden"}
    )
    response = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "allowed": allowed,
        "status": {**status, "message": message},
    }
    return {"apiVersion": _VERSIONS[0], "kind": "AdmissionReview", "response": response}


_ANSWERS = {
    "passive": _answer(f"Image analysis for image ubuntu requested and found mapped to digest {DIGEST}", allowed=True),
    "analysis": _answer(
        "Image ubuntu is not analyzed. Analysis was requested: try again in a few minutes", allowed=False
    ),
    "strict": _answer(
        f"Image ubuntu with digest {DIGEST} failed policy checks for policy bundle admissionpolicy\n"
        "  HIGH CVE-2021-3711 in openssl, fixed in 1.1.1k-r0",
        allowed=False,
    ),
}
_MODES = {
    "passive": ("Passive: ask Anchore to analyse, always admit", pod_review("passive", "ubuntu")),
    "analysis": ("Analysis: admit what Anchore has analysed", pod_review("analysis", "ubuntu")),
    "strict": ("Strict: admit what passes the policy", pod_review("strict", "ubuntu")),
}


def _content(schema: dict[str, Any], examples: dict[str, Any], *media_types: str) -> dict[str, Any]:
    return {media_type: {"schema": schema, "examples": examples} for media_type in media_types}


def _failures(reason: str) -> dict[str, Any]:
    """What a call that cannot be read is answered with; ``reason`` is an example of one."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason}
    example = {**status, "reason": "BadRequest", "code": 400}
    content = {"application/json": {"schema": _STATUS, "example": example}}
    return {
        "400": {"description": "The body cannot be read", "content": content},
        "413": {"description": "The body is too large; answered like 400"},
        "415": {"description": "The content type does not fit; answered like 400"},
    }


def _query(name: str, description: str, default: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": {**_STRING, "default": default}}


VALIDATE: dict[str, Any] = {
    "parameters": [_query("timeout", "how long the caller waits, as a Go duration", "10s")],
    "requestBody": {
        "required": True,
        "content": _content(
            _envelope("request", _REQUEST),
            {name: {"summary": summary, "value": value} for name, (summary, value) in _MODES.items()},
            "application/json",
        ),
    },
    "responses": {
        "200": {
            "description": "The verdict, in the version received; a denial is a 200 too",
            "content": _content(
                _envelope("response", _RESPONSE),
                {name: {"summary": f"{name} mode", "value": value} for name, value in _ANSWERS.items()},
                "application/json",
            ),
        },
        **_failures("not a readable AdmissionReview: request.uid: is required"),
    },
}

_SUMMARY_SCHEMA = {
    "type": "object",
    "properties": {
        "allowed": {"type": "boolean", "description": "true if all of it was read and checked, and would be admitted"},
        "images": {"type": "array", "items": {"type": "object"}, "description": "one verdict per image and object"},
        "warnings": _STRINGS,
        "errors": {"type": "array", "items": {"type": "object"}, "description": "what could not be read or judged"},
        "notChecked": {
            "type": "array",
            "items": {"type": "object"},
            "description": "objects whose images could not be found, because their kind is not known",
        },
        "objects": {
            "type": "object",
            "description": "how many were reviewed, hold no images, were not checked, could not be read",
        },
    },
}
_BY_HAND = {"description": "a Kubernetes object, several of them, or a list of images"}

REVIEW: dict[str, Any] = {
    "parameters": [
        _query("namespace", "of objects that name none", DEFAULT_NAMESPACE),
        _query("user", "who creates the objects, for rules that match users", ""),
    ],
    "requestBody": {
        "required": True,
        "content": {
            **_content(
                {**_BY_HAND, "type": "string"},
                {name: {"summary": summary, "value": text} for name, (summary, _, text) in SUBJECTS.items()},
                "application/yaml",
            ),
            **_content(
                {**_BY_HAND, "oneOf": [{"type": "object"}, _STRINGS]},
                {name: {"summary": summary, "value": value} for name, (summary, value, _) in SUBJECTS.items()},
                "application/json",
            ),
        },
    },
    "responses": {
        "200": {
            "description": "One verdict per image with its reasons",
            "content": {"application/json": {"schema": _SUMMARY_SCHEMA, "example": SUMMARY}},
        },
        **_failures("body: 1 problem(s)\n  line 3, column 1: is not valid YAML: could not find expected ':'"),
    },
}
