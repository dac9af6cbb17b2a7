"""The cluster through lightkube; imported only if a cluster is used, since it takes time and memory to load."""

import asyncio
import base64
import binascii
import datetime as dt
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from lightkube import ApiError, AsyncClient
from lightkube.core.exceptions import ConfigError
from lightkube.generic_resource import create_global_resource
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import Secret
from lightkube.types import PatchType

from anchore_admission.adapters.exec_credentials import AuthTransport, ExecAuth
from anchore_admission.adapters.kubeconfig import access
from anchore_admission.core.webhook.drift import foreign_conditions
from anchore_admission.core.webhook.entry import WebhookKind
from anchore_admission.errors import (
    ClusterConflict,
    ClusterError,
    ClusterExpired,
    ClusterForbidden,
    ClusterNotFound,
    ClusterRefused,
    ClusterUnavailable,
)
from anchore_admission.ports.cluster import LeaseState, SecretContent, WebhookConfiguration
from anchore_admission.ports.telemetry import ClusterRecorder
from anchore_admission.redaction import cut

FIELD_MANAGER: Final = "anchore-admission"
CALL_SECONDS: Final = 5.0
"""Limit of a call: half the time that the holder of a Lease may take to renew it."""
_GROUP, _VERSION = "admissionregistration.k8s.io", "v1"
# Untyped: a typed model would drop newer fields, and an applied configuration would always look changed.
WEBHOOK_CONFIGURATIONS: Final = {
    kind: create_global_resource(_GROUP, _VERSION, kind.value, f"{kind.value.lower()}s") for kind in WebhookKind
}
ERRORS: Final[Mapping[int, type[ClusterError]]] = {
    400: ClusterRefused,
    # lightkube has already read a service account's token again before it reports this.
    401: ClusterForbidden,
    403: ClusterForbidden,
    404: ClusterNotFound,
    409: ClusterConflict,
    410: ClusterExpired,
    413: ClusterRefused,
    422: ClusterRefused,
}
_MISSING_RIGHT = "; its ServiceAccount needs get and patch of this object: rbac.create, or a Role of your own"
_REMEDIES: Final[Mapping[int, str]] = {
    401: _MISSING_RIGHT,
    403: _MISSING_RIGHT,
    404: "; helm upgrade (or kubectl apply --kustomize) creates it again; the controller creates no objects",
}
"""Remedies for operators, logged with the error."""
# lightkube builds on httpx2, whose exceptions are not those of httpx.
_UNREACHED = (TimeoutError, httpx2.TransportError)
REACH: Final = "; if it lasts, look for a NetworkPolicy or firewall between this Pod and the API server"
_UNPROCESSABLE = 422
_REASON_LIMIT = 500


@dataclass(frozen=True, slots=True)
class ObjectNames:
    """The objects of this release in its own namespace; an object with an empty name is never read."""

    namespace: str
    secret: str
    lease: str


class LightkubeCluster:
    """The ``Cluster`` of an API server. Each call takes at most ``seconds``."""

    def __init__(
        self, client: AsyncClient, names: ObjectNames, recorder: ClusterRecorder, *, seconds: float = CALL_SECONDS
    ) -> None:
        self._client = client
        self._names = names
        self._recorder = recorder
        self._seconds = seconds

    async def read_secret(self) -> SecretContent:
        names = self._names
        async with self._call("read_secret", f"Secret {names.namespace}/{names.secret}"):
            return _content(await self._client.get(Secret, names.secret, namespace=names.namespace))

    async def write_secret(self, data: Mapping[str, bytes], version: str) -> SecretContent:
        names = self._names
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        # With the version that was read, an update in between is a conflict (409) and is not overwritten.
        body = {"metadata": {"resourceVersion": version}, "data": encoded}
        async with self._call("write_secret", f"Secret {names.namespace}/{names.secret}"):
            return _content(
                await self._client.patch(
                    Secret, names.secret, body, namespace=names.namespace, patch_type=PatchType.MERGE
                )
            )

    async def read_lease(self) -> LeaseState:
        names = self._names
        async with self._call("read_lease", f"Lease {names.namespace}/{names.lease}"):
            return _state(await self._client.get(Lease, names.lease, namespace=names.namespace))

    async def write_lease(self, lease: LeaseState, *, taken: bool) -> LeaseState:
        names, now = self._names, _micro_time(time.time())
        spec: dict[str, Any] = {
            "holderIdentity": lease.holder,
            "leaseDurationSeconds": lease.seconds,
            "leaseTransitions": lease.transitions,
            "renewTime": now,
        }
        if taken:
            spec["acquireTime"] = now
        # If two replicas take the Lease at the same time, the version lets only one of them win.
        body = {"metadata": {"resourceVersion": lease.version}, "spec": spec}
        async with self._call("write_lease", f"Lease {names.namespace}/{names.lease}"):
            return _state(
                await self._client.patch(
                    Lease, names.lease, body, namespace=names.namespace, patch_type=PatchType.MERGE
                )
            )

    async def read_webhooks(self, name: str, kind: WebhookKind = WebhookKind.VALIDATING) -> WebhookConfiguration:
        async with self._call("read_webhooks", f"{kind} {name}"):
            return _webhooks(await self._client.get(WEBHOOK_CONFIGURATIONS[kind], name))

    async def apply_webhooks(
        self,
        name: str,
        uid: str,
        webhooks: Sequence[Mapping[str, Any]],
        kind: WebhookKind = WebhookKind.VALIDATING,
    ) -> WebhookConfiguration:
        resource = WEBHOOK_CONFIGURATIONS[kind]
        body = {
            "apiVersion": f"{_GROUP}/{_VERSION}",
            "kind": kind.value,
            "metadata": {
                "name": name,
                "uid": uid,
            },  # with a uid, a deleted object is a conflict, not created again
            "webhooks": list(webhooks),
        }
        async with self._call("apply_webhooks", f"{kind} {name}"):
            applied = await self._client.patch(
                resource,
                name,
                body,
                patch_type=PatchType.APPLY,
                field_manager=FIELD_MANAGER,
                # Take over fields that another manager owns; without force, each would be a conflict.
                force=True,
            )
            foreign = foreign_conditions(webhooks, applied.get("webhooks") or ())
            if foreign:
                # A JSON patch owns no fields. With the version in it, an index that has moved since is a conflict.
                live = str(applied["metadata"]["resourceVersion"])
                version = {"op": "replace", "path": "/metadata/resourceVersion", "value": live}
                removals = [{"op": "remove", "path": f"/webhooks/{i}/matchConditions/{j}"} for i, j in foreign]
                applied = await self._client.patch(resource, name, [version, *removals], patch_type=PatchType.JSON)
            return _webhooks(applied)

    async def aclose(self) -> None:
        await self._client.close()

    @asynccontextmanager
    async def _call(self, operation: str, what: str) -> AsyncIterator[None]:
        """Translate every error into a ClusterError, and count it."""
        try:
            async with asyncio.timeout(self._seconds):
                yield
        except (ApiError, httpx2.HTTPError, ConfigError, TimeoutError, LookupError, ValueError) as error:
            translated = self._translated(what, error)
            self._recorder.cluster_error(operation=operation, code=translated.code)
            raise translated from error

    def _translated(self, what: str, error: Exception) -> ClusterError:
        if isinstance(error, httpx2.HTTPStatusError):
            status = error.response.status_code
            why = cut(str(error), _REASON_LIMIT)
            if status == _UNPROCESSABLE and "metadata.uid" in why:
                return ClusterConflict(f"{what} was deleted and created again")
            return ERRORS.get(status, ClusterUnavailable)(f"{what}: {status}: {why}{_REMEDIES.get(status, '')}")
        if isinstance(error, TimeoutError):
            why = f"no response from the API server within {self._seconds:g} s"
        else:
            why = cut(str(error) or type(error).__name__, _REASON_LIMIT)
        return ClusterUnavailable(f"{what}: {why}{REACH if isinstance(error, _UNREACHED) else ''}")


def connect(names: ObjectNames, recorder: ClusterRecorder) -> LightkubeCluster:
    """Connect by the Pod's service account, else by KUBECONFIG. Raises ConfigurationError without either."""
    with access() as found:
        transport: httpx2.AsyncBaseTransport = httpx2.AsyncHTTPTransport(verify=found.verify)
        if isinstance(found.auth, ExecAuth):
            transport = AuthTransport(transport, found.auth)
        client = AsyncClient(found.config, timeout=httpx2.Timeout(CALL_SECONDS), transport=transport)
    return LightkubeCluster(client, names, recorder)


def _content(secret: Secret) -> SecretContent:
    return SecretContent({key: _decoded(value) for key, value in (secret.data or {}).items()}, _version(secret))


def _state(lease: Lease) -> LeaseState:
    spec = lease.spec
    if spec is None:
        return LeaseState("", 0, 0, _version(lease))
    return LeaseState(
        spec.holderIdentity or "", spec.leaseDurationSeconds or 0, spec.leaseTransitions or 0, _version(lease)
    )


def _webhooks(configuration: Mapping[str, Any]) -> WebhookConfiguration:
    return WebhookConfiguration(configuration["metadata"]["uid"], configuration.get("webhooks") or ())


def _version(thing: Secret | Lease) -> str:
    return (thing.metadata.resourceVersion if thing.metadata else None) or ""


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return b""


def _micro_time(at: float) -> str:
    """Format a time as a Lease requires: six decimals and a Z."""
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
