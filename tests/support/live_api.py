"""The lists of a Kubernetes API in memory: pages, tokens that expire, rights that are missing."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx2
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from anchore_admission.services.replay.live import KINDS
from support.kubernetes_api import failure

Json = dict[str, Any]
PATHS = {
    listed.kind.kind: f"/apis/{listed.kind.group}/v1/{listed.plural}"
    if listed.kind.group
    else f"/api/v1/{listed.plural}"
    for listed in KINDS
} | {"Namespace": "/api/v1/namespaces"}


@dataclass
class LiveApi:
    """Objects by kind, in the order of namespace and name. ``expire`` numbers the requests whose token has expired.

    ``offers`` gives another token with such an answer, as API servers do.
    """

    objects: dict[str, list[Json]] = field(default_factory=dict)
    forbidden: frozenset[str] = frozenset()
    expire: frozenset[int] = frozenset()
    offers: bool = True
    requests: list[httpx2.Request] = field(default_factory=list)

    def add(self, *objects: Json) -> None:
        """Put objects into their lists, without kind and version, as API servers send them."""
        for found in objects:
            kept = {key: value for key, value in found.items() if key not in {"kind", "apiVersion"}}
            self.objects.setdefault(found["kind"], []).append(kept)
            self.objects[found["kind"]].sort(key=lambda o: f"{o['metadata'].get('namespace')}/{o['metadata']['name']}")

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        path, query = request.url.path, request.url.params
        namespace = ""
        if "/namespaces/" in path:
            root, _, rest = path.partition("/namespaces/")
            namespace, _, plural = rest.partition("/")
            path = f"{root}/{plural}"
        kind = next(kind for kind, own in PATHS.items() if own == path)
        if kind in self.forbidden:
            return failure(403, f"{kind} is forbidden")
        found = [o for o in self.objects.get(kind, ()) if namespace in {"", o["metadata"].get("namespace")}]
        start = int(query.get("continue", "0"))
        if start and len(self.requests) in self.expire:
            offered = {"continue": str(start)} if self.offers else {}
            status = {"kind": "Status", "metadata": offered, "code": 410, "message": "the token is too old"}
            return httpx2.Response(410, json=status)
        end = start + int(query.get("limit", len(found)))
        metadata = {"resourceVersion": "1", **({"continue": str(end)} if end < len(found) else {})}
        return httpx2.Response(200, json={"kind": f"{kind}List", "metadata": metadata, "items": found[start:end]})

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same as an ASGI application."""
        asked = Request(scope, receive)
        answer = await self(httpx2.Request(asked.method, str(asked.url), headers=asked.headers.raw))
        await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.headers.raw})
        await send({"type": "http.response.body", "body": answer.content})


def kubeconfig(address: str, contexts: Iterable[str] = ("here",)) -> str:
    """Return a kubeconfig whose first context is the current one."""
    names = list(contexts)
    return json.dumps(
        {
            "current-context": names[0],
            "contexts": [{"name": name, "context": {"cluster": "c", "user": "u"}} for name in names],
            "clusters": [{"name": "c", "cluster": {"server": address}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
    )
