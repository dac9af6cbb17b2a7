"""Create a client for one account of one Anchore."""

import os
import ssl
from collections.abc import Callable

import httpx

from anchore_admission.adapters.anchore.credentials import CredentialSource
from anchore_admission.adapters.anchore.detection import DetectingAnchore
from anchore_admission.adapters.anchore.endpoint import AnchoreEndpoint, Bounds, account_header, root_of, trust
from anchore_admission.adapters.anchore.http import AnchoreHttp
from anchore_admission.adapters.proxies import proxy_for
from anchore_admission.adapters.transport import PooledTransport
from anchore_admission.ports.telemetry import Recorder


def connect(
    endpoint: AnchoreEndpoint,
    credentials: CredentialSource | None,
    *,
    name: str,
    recorder: Recorder,
    bounds: Bounds,
    anchore_account: str | None = None,
    keeps_warnings: bool = False,
    transport: httpx.AsyncBaseTransport | None = None,
    trusted: Callable[[], ssl.SSLContext] | None = None,
) -> DetectingAnchore:
    """Build a client; it sends nothing before its first call. ``name`` is the account's name in logs and metrics.

    ``anchore_account`` moves every call into another Anchore account's scope. ``keeps_warnings`` keeps the findings
    that only warn, for other policy engines. ``trusted`` returns the TLS context of a CA file that may change.
    Raises ConfigurationError.
    """
    root = root_of(endpoint)
    http = AnchoreHttp(
        _client(endpoint, root.url, transport, trusted),
        root=root.url,
        name=name,
        headers=account_header(anchore_account),
        credentials=credentials,
        bounds=bounds,
        recorder=recorder,
        kept="warnings" if keeps_warnings else "",
    )
    return DetectingAnchore(http, root, endpoint.api_version, keeps_warnings=keeps_warnings)


def _client(
    endpoint: AnchoreEndpoint,
    url: str,
    transport: httpx.AsyncBaseTransport | None,
    trusted: Callable[[], ssl.SSLContext] | None,
) -> httpx.AsyncClient:
    if transport is None:
        if trusted is None:
            context = trust(endpoint)
            trusted = lambda: context  # noqa: E731 - the simplest source of a context that never changes
        transport = PooledTransport(trusted, proxy_for(url, os.environ))
    return httpx.AsyncClient(transport=transport, trust_env=False)
