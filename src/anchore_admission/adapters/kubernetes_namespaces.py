"""The namespaces of a cluster: pages of their list, and a watch on changes; imported only if a rule needs them.

lightkube finds the API server and authenticates, but its own watch cannot keep a cache correct: it begins anew after a
410 without telling, never ends by itself, and splits lines at characters that JSON may contain.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2
import msgspec
from lightkube.core.exceptions import ConfigError

from anchore_admission.adapters.kubeconfig import access
from anchore_admission.adapters.kubernetes import CALL_SECONDS, ERRORS, REACH
from anchore_admission.errors import (
    ClusterError,
    ClusterExpired,
    ClusterForbidden,
    ClusterResponseInvalid,
    ClusterUnavailable,
)
from anchore_admission.ports.namespaces import Namespace, NamespaceChange, NamespacePage, NamespaceRecorder
from anchore_admission.redaction import cut

PAGE_SIZE: Final = 500
PAGE_SECONDS: Final = 30.0
"""Limit of a page, and of the time until a watch begins."""
MAX_PAGE: Final = 16 * 2**20
"""The most bytes of a page; a larger one is asked for again with fewer namespaces."""
MAX_OBJECT: Final = 4 * 2**20
"""The most bytes of one event or namespace; etcd's own limit is 1.5 MiB."""
QUIET_SECONDS: Final = 30.0
"""How long a watch may stay silent after it should have ended."""
_MAX_STATUS = 64 * 1024
_MAX_REASON = 500
_PATH = "api/v1/namespaces"
# Only names, labels and versions are needed, but the API server sends all metadata at least.
_TABLE = "application/json;as={};v=v1;g=meta.k8s.io,application/json"
_ONE, _LIST = _TABLE.format("PartialObjectMetadata"), _TABLE.format("PartialObjectMetadataList")
_RIGHTS = "; its ServiceAccount needs get, list and watch of namespaces: rbac.create, or a ClusterRole of your own"
# A peer that disappears without closing the connection is noticed after a minute.
_KEEPALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
if sys.platform == "linux":
    _KEEPALIVE += [
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    ]


class _Metadata(msgspec.Struct):
    name: str = ""
    labels: dict[str, str] | None = None
    version: str = msgspec.field(default="", name="resourceVersion")
    next: str = msgspec.field(default="", name="continue")


class _Object(msgspec.Struct):
    """A namespace; in an event of type ERROR, a Status."""

    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    code: int = 0
    message: str = ""


class _List(msgspec.Struct):
    metadata: _Metadata
    items: list[_Object]


class _Event(msgspec.Struct):
    type: str
    object: _Object


_read_list = msgspec.json.Decoder(_List).decode
_read_object = msgspec.json.Decoder(_Object).decode
_read_event = msgspec.json.Decoder(_Event).decode


class ApiNamespaces:
    """The ``NamespaceSource`` of an API server."""

    def __init__(self, client: httpx2.AsyncClient, recorder: NamespaceRecorder, *, max_page: int = MAX_PAGE) -> None:
        self._client = client
        self._recorder = recorder
        self._max_page = max_page
        self._page_size = PAGE_SIZE

    async def list_page(self, after: str) -> NamespacePage:
        async with self._call("list_namespaces", PAGE_SECONDS):
            while True:
                params = {"limit": self._page_size, **({"continue": after} if after else {})}
                async with self._opened(_PATH, params, _LIST) as response:
                    body = await _body(response, self._max_page)
                if body is not None:
                    listed = _read_list(body)
                    found = [_namespace(item) for item in listed.items]
                    return NamespacePage(found, _version(listed.metadata), listed.metadata.next)
                if self._page_size == 1:
                    raise ClusterResponseInvalid(f"one namespace has more than {self._max_page} bytes of metadata")
                self._page_size //= 2

    async def watch(self, version: str, seconds: int) -> AsyncGenerator[NamespaceChange, None]:
        params = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": seconds,
        }
        async with (
            self._call("watch_namespaces", None),
            self._opened(_PATH, params, _ONE, silence=seconds + QUIET_SECONDS) as response,
        ):
            async for line in _lines(response):
                yield _change(_read_event(line))

    async def read(self, name: str) -> Namespace:
        async with self._call("read_namespace", CALL_SECONDS), self._opened(f"{_PATH}/{name}", {}, _ONE) as response:
            body = await _body(response, MAX_OBJECT)
            if body is None:
                raise ClusterResponseInvalid(f"more than {MAX_OBJECT} bytes of metadata")
            return _namespace(_read_object(body))

    async def aclose(self) -> None:
        await self._client.aclose()

    @asynccontextmanager
    async def _call(self, operation: str, seconds: float | None) -> AsyncIterator[None]:
        """Translate every error into a ClusterError, and count it."""
        try:
            async with asyncio.timeout(seconds):
                yield
        except (ClusterError, httpx2.HTTPError, ConfigError, OSError, msgspec.DecodeError) as error:
            translated = _translated(error, seconds)
            # A resource version that is too old is normal.
            if not isinstance(translated, ClusterExpired):
                self._recorder.namespace_error(operation=operation, code=translated.code)
            raise translated from error

    @asynccontextmanager
    async def _opened(
        self, path: str, params: Mapping[str, Any], accept: str, *, silence: float = PAGE_SECONDS
    ) -> AsyncIterator[httpx2.Response]:
        """Open a response whose parts are at most ``silence`` seconds apart."""
        request = self._client.build_request(
            "GET",
            path,
            params=params,
            # Compression saves little within a cluster, and a small body could unpack to a huge one.
            headers={"Accept": accept, "Accept-Encoding": "identity"},
            timeout=httpx2.Timeout(CALL_SECONDS, read=silence),
        )
        # The client authenticates each request, and after a 401 once more with the token read again.
        async with asyncio.timeout(PAGE_SECONDS):
            response = await self._client.send(request, stream=True)
        try:
            if response.status_code != httpx2.codes.OK:
                raise _failure(response.status_code, await _body(response, _MAX_STATUS))
            yield response
        finally:
            await response.aclose()


def connect_namespaces(recorder: NamespaceRecorder, context: str | None = None) -> ApiNamespaces:
    """Connect by the Pod's service account, else by KUBECONFIG; ``context`` is one of the latter.

    Raises ConfigurationError without either.
    """
    with access(context) as found:
        transport = httpx2.AsyncHTTPTransport(verify=found.verify, socket_options=_KEEPALIVE)
        return ApiNamespaces(httpx2.AsyncClient(base_url=found.address, auth=found.auth, transport=transport), recorder)


async def _body(response: httpx2.Response, limit: int) -> bytes | None:
    """Read a body; return None if it is larger than the limit."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


async def _lines(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Split a stream into lines as they become complete."""
    begun: list[bytes] = []
    size = 0
    async for chunk in response.aiter_bytes():
        first, *others = chunk.split(b"\n")
        begun.append(first)
        size += len(first)
        if size > MAX_OBJECT:
            raise ClusterResponseInvalid(f"an event of more than {MAX_OBJECT} bytes")
        if others:
            for line in (b"".join(begun), *others[:-1]):
                if line.strip():
                    yield line
            begun, size = [others[-1]], len(others[-1])
    if b"".join(begun).strip():
        raise ClusterUnavailable("the watch ended in the middle of an event")


def _change(event: _Event) -> NamespaceChange:
    if event.type == "ERROR":
        kind = ClusterExpired if event.object.code == httpx2.codes.GONE else ClusterResponseInvalid
        raise kind(f"the API server ended the watch: {event.object.code}: {cut(event.object.message, _MAX_REASON)}")
    version = _version(event.object.metadata)
    match event.type:
        case "BOOKMARK":
            return NamespaceChange(version)
        case "ADDED" | "MODIFIED" | "DELETED":
            return NamespaceChange(version, _namespace(event.object), is_deleted=event.type == "DELETED")
        case _:
            raise ClusterResponseInvalid("an event of an unknown type")


def _namespace(found: _Object) -> Namespace:
    if not found.metadata.name:
        raise ClusterResponseInvalid("a namespace without a name")
    # The same few keys and values stand in most namespaces: keep each text once.
    labels = {sys.intern(key): sys.intern(value) for key, value in (found.metadata.labels or {}).items()}
    return Namespace(sys.intern(found.metadata.name), labels)


def _version(metadata: _Metadata) -> str:
    if not metadata.version:
        raise ClusterResponseInvalid("no resourceVersion")
    return metadata.version


def _failure(status: int, body: bytes | None) -> ClusterError:
    try:
        why = _read_object(body or b"").message
    except msgspec.DecodeError:
        why = ""
    kind = ERRORS.get(status, ClusterUnavailable)
    return kind(f"{status}: {cut(why, _MAX_REASON)}{_RIGHTS if kind is ClusterForbidden else ''}")


def _translated(error: Exception, seconds: float | None) -> ClusterError:
    match error:
        case ClusterError():
            return error
        case msgspec.DecodeError():
            return ClusterResponseInvalid("a response that is no Kubernetes object")
        case ConfigError():
            return ClusterForbidden(cut(str(error), _MAX_REASON))
        case TimeoutError():
            return ClusterUnavailable(f"no response from the API server within {seconds or PAGE_SECONDS:g} s{REACH}")
        case _:
            return ClusterUnavailable(f"{cut(str(error) or type(error).__name__, _MAX_REASON)}{REACH}")
