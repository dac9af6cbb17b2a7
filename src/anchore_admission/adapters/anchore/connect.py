"""Make a client for one account of one Anchore."""

import httpx
from httpx_aiohttp import HttpxAiohttpClient

from anchore_admission.adapters.anchore.credentials import CredentialSource
from anchore_admission.adapters.anchore.detection import DetectingAnchore
from anchore_admission.adapters.anchore.endpoint import AnchoreEndpoint, Bounds, account_header, root_of, trust
from anchore_admission.adapters.anchore.http import AnchoreHttp
from anchore_admission.ports import Recorder

# More connections than look-ups at once; kept for less time than common load balancers keep theirs (60 s).
_POOL = httpx.Limits(max_connections=128, keepalive_expiry=30.0)


def connect(
    endpoint: AnchoreEndpoint,
    credentials: CredentialSource | None,
    *,
    name: str,
    recorder: Recorder,
    bounds: Bounds,
    anchore_account: str | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> DetectingAnchore:
    """Nothing is sent before the first call. ``name`` is the account's in logs and metrics.

    ``anchore_account`` moves every call into another Anchore account's scope. Raises ConfigurationError.
    """
    root = root_of(endpoint)
    http = AnchoreHttp(
        _client(endpoint, transport),
        root=root.url,
        name=name,
        headers=account_header(anchore_account),
        credentials=credentials,
        bounds=bounds,
        recorder=recorder,
    )
    return DetectingAnchore(http, root, endpoint.api_version)


def _client(endpoint: AnchoreEndpoint, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
    """The client, not a bare transport: only a client without a transport of its own heeds HTTPS_PROXY and NO_PROXY."""
    if transport is not None:
        return httpx.AsyncClient(transport=transport, trust_env=False)
    return HttpxAiohttpClient(verify=trust(endpoint), limits=_POOL)
