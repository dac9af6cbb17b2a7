"""A Kubernetes API in memory, for the real client: three kinds, preconditions, merge patches, server-side apply.

What it answers was compared with kube-apiserver 1.36 by the suite that runs on both.
"""

import asyncio
import base64
import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    500: "InternalError",
    503: "ServiceUnavailable",
}
Json = dict[str, Any]


@dataclass
class KubernetesApi:
    """Objects by their path; ``broken`` answers every request in place of the API."""

    objects: dict[str, Json] = field(default_factory=dict)
    requests: list[httpx2.Request] = field(default_factory=list)
    broken: httpx2.Response | Exception | None = None
    applied: asyncio.Event = field(default_factory=asyncio.Event)
    after_apply: Callable[[], None] = lambda: None
    _version: int = 0

    def put(self, path: str, **fields: Any) -> None:
        """Create or replace an object."""
        self._version += 1
        metadata = {
            "name": path.rpartition("/")[2],
            "uid": f"uid-{self._version}",
            "resourceVersion": str(self._version),
        }
        self.objects[path] = {"metadata": metadata, **fields}

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        if isinstance(self.broken, Exception):
            raise self.broken
        if self.broken:
            return self.broken
        live = self.objects.get(request.url.path)
        if request.method == "GET":
            return _answer(live)
        return self._patched(request, live, json.loads(request.content))

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same as an ASGI application, for a client that connects."""
        asked = Request(scope, receive)
        answer = await self(
            httpx2.Request(asked.method, str(asked.url), headers=asked.headers.raw, content=await asked.body())
        )
        await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.headers.raw})
        await send({"type": "http.response.body", "body": answer.content})

    def _patched(self, request: httpx2.Request, live: Json | None, body: Any) -> httpx2.Response:
        removals = body[1:] if isinstance(body, list) else []
        wanted = {"resourceVersion": body[0]["value"]} if removals else body.get("metadata", {})
        if live is None:
            return failure(409 if "uid" in wanted else 404)
        if wanted.get("resourceVersion", live["metadata"]["resourceVersion"]) != live["metadata"]["resourceVersion"]:
            return failure(409)
        if wanted.get("uid", live["metadata"]["uid"]) != live["metadata"]["uid"]:
            return failure(422, "metadata.uid: Invalid value: field is immutable")
        if request.headers["content-type"] == "application/apply-patch+yaml":
            assert request.url.params["fieldManager"] == "anchore-admission"
            assert request.url.params["force"] == "true"
            changed = live | {"webhooks": _applied(live.get("webhooks", []), body["webhooks"])}
            self.applied.set()
        elif removals:
            assert request.headers["content-type"] == "application/json-patch+json"
            changed = copy.deepcopy(live)
            for removal in removals:
                _remove(changed, removal)
        else:
            assert request.headers["content-type"] == "application/merge-patch+json"
            changed = _merged(live, body)
        self._version += 1
        changed["metadata"] = live["metadata"] | {"resourceVersion": str(self._version)}
        self.objects[request.url.path] = changed
        if request.headers["content-type"] == "application/apply-patch+yaml":
            self.after_apply()
        return _answer(changed)


def secret(data: Mapping[str, bytes] | None) -> Json:
    return {"data": {key: base64.b64encode(value).decode() for key, value in data.items()}} if data else {}


def _applied(live: list[Json], wanted: list[Json]) -> list[Json]:
    """Merge entries by name, and within an entry the match conditions, as lists of type map are."""
    names = {entry["name"] for entry in wanted}
    before = {entry["name"]: entry for entry in live}
    merged = [_with_conditions_of(before.get(entry["name"], {}), entry) for entry in wanted]
    return [entry for entry in live if entry["name"] not in names] + merged


def _with_conditions_of(live: Json, wanted: Json) -> Json:
    ours = list(wanted.get("matchConditions", ()))
    names = {condition["name"] for condition in ours}
    others = [condition for condition in live.get("matchConditions") or () if condition["name"] not in names]
    return {**wanted, "matchConditions": [*ours, *others]} if others else wanted


def _remove(thing: Any, removal: Json) -> None:
    assert removal["op"] == "remove"
    *path, last = [int(key) if key.isdecimal() else key for key in removal["path"].split("/")[1:]]
    for key in path:
        thing = thing[key]
    del thing[last]


def _merged(live: Any, patch: Any) -> Any:
    if not isinstance(patch, dict) or not isinstance(live, dict):
        return patch
    return live | {key: _merged(live.get(key), value) for key, value in patch.items()}


def _answer(thing: Json | None) -> httpx2.Response:
    return httpx2.Response(200, json=thing) if thing else failure(404)


def failure(status: int, message: str = "as arranged") -> httpx2.Response:
    """Return an error in the format of the Kubernetes API."""
    body = {"kind": "Status", "status": "Failure", "message": message, "reason": _REASONS[status], "code": status}
    return httpx2.Response(status, json=body)
