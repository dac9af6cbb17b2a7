"""The live objects of a cluster, read page by page through lightkube's connection; imported only if they are listed.

lightkube's own lists build every member of every object. Here, a page is read into the narrow tree that a verdict
depends on, and no more than one page is in memory.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final

import httpx2
import msgspec
from lightkube.core.exceptions import ConfigError

from anchore_admission.adapters.kubeconfig import access
from anchore_admission.errors import (
    ClusterError,
    ClusterForbidden,
    ClusterNotFound,
    ClusterRefused,
    ClusterUnavailable,
)
from anchore_admission.models.large_review import read_object
from anchore_admission.models.workload import Shape, Unreadable, Workload
from anchore_admission.ports.live import LiveKind
from anchore_admission.redaction import cut

PAGE: Final = 500
"""Objects of a page, as kubectl asks for."""
PAGE_BYTES: Final = 32 * 1024 * 1024
"""A larger page is asked for again with half as many objects."""
CALL_SECONDS: Final = 60.0
_CONNECT_SECONDS = 10.0
_GONE = 410
_RESTARTS = 3
_PAUSES = (1.0, 4.0)
"""Seconds before another attempt."""
_REASON_LIMIT = 500
_ERRORS: Final[Mapping[int, type[ClusterError]]] = {
    401: ClusterForbidden,
    403: ClusterForbidden,
    404: ClusterNotFound,
    410: ClusterRefused,
}


class _ListMetadata(Shape, frozen=True, rename={"follows": "continue"}):
    follows: str | None = None


class _List(Shape, frozen=True):
    items: list[msgspec.Raw] | None
    metadata: _ListMetadata = _ListMetadata()


class _Status(Shape, frozen=True):
    message: str | None = None
    metadata: _ListMetadata = _ListMetadata()


class _Expired(Exception):
    """The list's token has expired; ``follows`` continues the list as it is now, if the API server gave one."""

    def __init__(self, follows: str | None, reason: ClusterError) -> None:
        super().__init__(follows)
        self.follows, self.reason = follows, reason


class _TooLarge(Exception):
    """A page has more than ``PAGE_BYTES``."""


class LightkubeLive:
    """The ``LiveObjects`` of an API server."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        *,
        page_bytes: int = PAGE_BYTES,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._page_bytes = page_bytes
        self._sleep = sleep

    async def pages(self, listed: LiveKind, namespace: str | None) -> AsyncIterator[Sequence[Workload | Unreadable]]:
        """List the objects of a kind page by page.

        A token expires after about five minutes. The API server then offers another one, which continues the list as it
        is now; without an offer, the list begins again, and objects up to the last one read are passed over.
        """
        follows, limit, restarts, last, passed = "", PAGE, 0, "", ""
        while True:
            try:
                page = await self._patiently(listed, namespace, limit, follows)
            except _TooLarge as error:
                if limit == 1:
                    message = f"{listed}: one object is larger than {self._page_bytes // 1024 // 1024} MiB"
                    raise ClusterRefused(message) from error
                limit //= 2
                continue
            except _Expired as expired:
                restarts += 1
                if restarts > _RESTARTS:
                    raise expired.reason from expired
                follows, passed = expired.follows or "", passed if expired.follows else last
                continue
            objects = [read_object(raw) or Unreadable("expected an object") for raw in page.items or ()]
            # The API server sorts by namespace and name.
            yield [found for found in objects if not passed or _place(found) > passed]
            last = _place(objects[-1]) if objects else last
            if not page.metadata.follows:
                return
            if page.metadata.follows == follows:
                raise ClusterRefused(f"{listed}: the list does not end: each page names itself as the next one")
            follows = page.metadata.follows

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _patiently(self, listed: LiveKind, namespace: str | None, limit: int, follows: str) -> _List:
        """Ask for a page again after a pause if the API server is busy or cannot be reached."""
        for pause in _PAUSES:
            try:
                return await self._page(listed, namespace, limit, follows)
            except ClusterUnavailable:
                await self._sleep(pause)
        return await self._page(listed, namespace, limit, follows)

    async def _page(self, listed: LiveKind, namespace: str | None, limit: int, follows: str) -> _List:
        kind = listed.kind
        root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
        path = f"{root}/namespaces/{namespace}/{listed.plural}" if namespace else f"{root}/{listed.plural}"
        query = {"limit": str(limit), **({"continue": follows} if follows else {})}
        try:
            async with self._client.stream("GET", path, params=query) as response:
                body = await self._body(response)
        except ConfigError as error:
            # A credential plugin has failed: another attempt a second later fares no better.
            raise ClusterForbidden(f"{listed}: {cut(str(error), _REASON_LIMIT)}") from error
        except (httpx2.HTTPError, OSError, ValueError, LookupError) as error:
            raise ClusterUnavailable(f"{listed}: {cut(str(error) or type(error).__name__, _REASON_LIMIT)}") from error
        if response.is_success:
            try:
                return msgspec.json.decode(body, type=_List)
            except (ValueError, RecursionError) as error:
                raise ClusterUnavailable(f"{listed}: the API server's list cannot be read") from error
        raise _failure(listed, response.status_code, body)

    async def _body(self, response: httpx2.Response) -> bytes:
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > self._page_bytes:
                raise _TooLarge
        return bytes(body)


def connect_live(context: str | None = None) -> LightkubeLive:
    """Connect by the Pod's service account, else by KUBECONFIG or ~/.kube/config; ``context`` is one of the latter.

    Raises ConfigurationError without access to a Kubernetes API.
    """
    with access(context, source="kubeconfig") as found:
        timeout = httpx2.Timeout(CALL_SECONDS, connect=_CONNECT_SECONDS)
        client = httpx2.AsyncClient(base_url=found.address, verify=found.verify, auth=found.auth, timeout=timeout)
    return LightkubeLive(client)


def _failure(listed: LiveKind, code: int, body: bytes) -> Exception:
    try:
        status = msgspec.json.decode(body, type=_Status)
    except (ValueError, RecursionError):
        status = _Status()
    reason = cut(status.message or "no reason given", _REASON_LIMIT)
    error = _ERRORS.get(code, ClusterUnavailable)(f"{listed}: {code}: {reason}")
    return _Expired(status.metadata.follows, error) if code == _GONE else error


def _place(found: Workload | Unreadable) -> str:
    metadata = found.metadata
    return f"{metadata.namespace or ''}/{metadata.name or ''}" if metadata else ""
