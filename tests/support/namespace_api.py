"""The namespaces of an API server in memory, for the real client: pages, watches with bookmarks, and faults on demand.

What it answers was compared with kube-apiserver 1.36 by the suite that runs on both.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
from lightkube.config.client_adapter import user_auth
from lightkube.config.models import User

from anchore_admission.adapters.kubernetes_namespaces import ApiNamespaces
from anchore_admission.ports.namespaces import NamespaceRecorder
from support.kubernetes_api import Json, failure

_PATH: Final = "/api/v1/namespaces"
_ACCEPT: Final = "application/json;as={};v=v1;g=meta.k8s.io,application/json"


class Watch(httpx2.AsyncByteStream):
    """One open watch."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self.parameters = parameters
        self.is_closed = False
        self._parts: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (part := await self._parts.get()) is not None:
            if isinstance(part, Exception):
                raise part
            yield part

    async def aclose(self) -> None:
        self.is_closed = True

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self._parts.put_nowait(part)

    def end(self) -> None:
        """End as the API server does when the time is up."""
        self._parts.put_nowait(None)

    def reset(self) -> None:
        self._parts.put_nowait(httpx2.ReadError("connection reset by peer"))


@dataclass
class NamespaceApi(httpx2.AsyncBaseTransport):
    """Each fault answers one request. ``oldest`` is the oldest version from which a watch may continue."""

    namespaces: dict[str, Json] = field(default_factory=dict)
    faults: deque[httpx2.Response | Exception] = field(default_factory=deque)
    token: str | None = None
    oldest: int = 0
    version: int = 100
    requests: list[httpx2.Request] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)
    """The Authorization header of each request."""
    watches: list[Watch] = field(default_factory=list)
    padding: int = 0
    """Bytes of metadata that each namespace has besides."""
    held: asyncio.Event | None = None
    """If set, reads of single namespaces wait for it."""
    _history: list[tuple[int, bytes]] = field(default_factory=list)

    def source(self, recorder: NamespaceRecorder, user: User | None = None, **options: Any) -> ApiNamespaces:
        """Return the real client over this API."""
        auth = user_auth(user)
        client = httpx2.AsyncClient(base_url="http://kubernetes/", transport=self, auth=auth)
        return ApiNamespaces(client, recorder, **options)

    def put(self, name: str, **labels: str) -> None:
        """Create or relabel a namespace."""
        kind = "MODIFIED" if name in self.namespaces else "ADDED"
        self.version += 1
        self.namespaces[name] = {
            "name": name,
            "resourceVersion": str(self.version),
            "labels": {"kubernetes.io/metadata.name": name, **labels},
            "annotations": {"padding": "x" * self.padding},
        }
        self._publish(kind, self.namespaces[name])

    def delete(self, name: str) -> None:
        self.version += 1
        self._publish("DELETED", self.namespaces.pop(name) | {"resourceVersion": str(self.version)})

    def bookmark(self) -> None:
        self._publish("BOOKMARK", {"resourceVersion": str(self.version)})

    def compact(self) -> None:
        """Forget the history, as etcd does after five minutes."""
        self._history.clear()
        self.oldest = self.version

    @property
    def lists(self) -> int:
        return sum("limit" in it.url.params and "continue" not in it.url.params for it in self.requests)

    @property
    def reads(self) -> list[str]:
        return [it.url.path.removeprefix(f"{_PATH}/") for it in self.requests if it.url.path != _PATH]

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        self.credentials.append(request.headers.get("authorization", ""))
        if self.token and self.credentials[-1] != f"Bearer {self.token}":
            return failure(401)
        if self.faults:
            fault = self.faults.popleft()
            if isinstance(fault, Exception):
                raise fault
            return fault
        assert request.method == "GET"
        parameters = dict(request.url.params)
        if request.url.path != _PATH:
            return await self._read(request)
        if "watch" in parameters:
            return self._watch(request, parameters)
        assert request.headers["accept"] == _ACCEPT.format("PartialObjectMetadataList")
        return self._list(int(parameters["limit"]), parameters.get("continue", ""))

    async def _read(self, request: httpx2.Request) -> httpx2.Response:
        if self.held:
            await self.held.wait()
        found = self.namespaces.get(request.url.path.removeprefix(f"{_PATH}/"))
        return httpx2.Response(200, json={"metadata": found}) if found else failure(404)

    def _list(self, limit: int, after: str) -> httpx2.Response:
        rest = sorted(name for name in self.namespaces if name > after)
        page = rest[:limit]
        metadata = {"resourceVersion": str(self.version), "continue": page[-1] if len(rest) > limit else ""}
        return httpx2.Response(
            200, json={"metadata": metadata, "items": [{"metadata": self.namespaces[name]} for name in page]}
        )

    def _watch(self, request: httpx2.Request, parameters: Mapping[str, str]) -> httpx2.Response:
        assert request.headers["accept"] == _ACCEPT.format("PartialObjectMetadata")
        assert parameters["allowWatchBookmarks"] == "true"
        since = int(parameters["resourceVersion"])
        watch = Watch(parameters)
        if since < self.oldest:
            watch.send(expired_event())
            watch.end()
        watch.send(*(line for version, line in self._history if version > since))
        self.watches.append(watch)
        return httpx2.Response(200, stream=watch)

    def _publish(self, kind: str, metadata: Json) -> None:
        line = event(kind, metadata)
        if kind != "BOOKMARK":
            self._history.append((self.version, line))
        for watch in self.watches:
            watch.send(line)


def event(kind: str, metadata: Json) -> bytes:
    return json.dumps({"type": kind, "object": {"metadata": metadata}}).encode() + b"\n"


def expired_event() -> bytes:
    status = {"kind": "Status", "metadata": {}, "message": "too old resource version", "reason": "Expired", "code": 410}
    return json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
