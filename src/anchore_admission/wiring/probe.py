"""Wire the command ``probe``: the address and CA bundle that API servers know, and the probe itself."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anchore_admission.adapters.cluster_metrics import ClusterMetrics
from anchore_admission.adapters.probe import probe_deletion, probe_pinning, probe_pod
from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.certificates import read_ca_bundle
from anchore_admission.core.webhook.drift import service_url
from anchore_admission.core.webhook.entry import WebhookKind
from anchore_admission.core.webhook.updates import withholding
from anchore_admission.errors import ProbeFailed
from anchore_admission.ports.cluster import PinningResponse, ProbeResponse, WebhookConfiguration


@dataclass(frozen=True, slots=True)
class Target:
    """The address to probe, and the CA bundle to trust; None means the system's CAs."""

    url: str
    ca_bundle: bytes | None

    async def probe(self) -> None:
        """Send a review of a Pod's deletion, which needs no verdict from Anchore. Raises ProbeFailed."""
        await probe_deletion(self.url, self.ca_bundle)

    async def probe_pod(self, image: str, namespace: str) -> ProbeResponse:
        """Send a review of a new Pod with this image, as a dry run. Raises ProbeFailed."""
        return await probe_pod(self.url, self.ca_bundle, image, namespace)

    async def probe_pinning(self, image: str, namespace: str) -> PinningResponse:
        """Send a review of a new Pod with this image to the mutating webhook, as a dry run. Raises ProbeFailed."""
        return await probe_pinning(self.url, self.ca_bundle, image, namespace)


def target_at(url: str, ca_file: Path | None) -> Target:
    """Return the target at an address. Raises ConfigurationError if the CA file is not valid."""
    return Target(url, "".join(read_ca_bundle(ca_file)).encode() if ca_file else None)


async def registered_target(name: str, kind: WebhookKind = WebhookKind.VALIDATING) -> Target:
    """Return the address and CA bundle that a webhook configuration gives to API servers.

    Raises ClusterError, also while the webhook is not registered, and ConfigurationError without access to a cluster.
    """
    live = await _live(name, kind)
    for entry in live.webhooks:
        if entry.get("name") == f"{name}.{kind.suffix}" and (target := _target(entry)):
            return target
    raise ProbeFailed(f"the webhook is not registered yet in {kind} {name}")


async def registered_withholding(name: str) -> list[str]:
    """Return the match conditions by which API servers keep updates from the validating webhook.

    Raises ClusterError, and ConfigurationError without access to a cluster.
    """
    live = await _live(name, WebhookKind.VALIDATING)
    suffix = f"{name}.{WebhookKind.VALIDATING.suffix}"
    return withholding([entry for entry in live.webhooks if entry.get("name") == suffix])


async def _live(name: str, kind: WebhookKind) -> WebhookConfiguration:
    from anchore_admission.adapters.kubernetes import ObjectNames, connect  # noqa: PLC0415 - costs time and memory

    cluster = connect(ObjectNames("", "", ""), ClusterMetrics(Telemetry().registry))
    try:
        return await cluster.read_webhooks(name, kind)
    finally:
        await cluster.aclose()


def _target(entry: Mapping[str, Any]) -> Target | None:
    """Return the target of an entry, or None while it has no CA bundle for its Service."""
    client = entry["clientConfig"]
    bundle = client.get("caBundle")
    if client.get("service") and not bundle:
        return None
    return Target(service_url(entry), base64.b64decode(bundle) if bundle else None)
