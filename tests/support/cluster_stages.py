"""The same scene for every ``Cluster``: a Secret, a Lease, a configuration, and another client that writes them."""

import base64
import os
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import httpx2
import pytest
from lightkube import ApiError, AsyncClient, KubeConfig
from lightkube.config.models import Cluster as ClusterAddress
from lightkube.config.models import User
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import Namespace, Secret
from lightkube.types import PatchType

from anchore_admission.adapters.kubernetes import (
    CALL_SECONDS,
    WEBHOOK_CONFIGURATIONS,
    LightkubeCluster,
    ObjectNames,
    connect,
)
from anchore_admission.core.webhook.entry import WebhookKind
from anchore_admission.ports.cluster import Cluster, WebhookConfiguration
from support.cluster import InMemoryCluster
from support.fakes import FakeRecorder
from support.kubernetes_api import KubernetesApi, secret

NAME = "anchore-admission-contract"
KUBECONFIG_VARIABLE = "CONTRACT_KUBECONFIG"
_NAMESPACE = "contract"
_SECRET = f"/api/v1/namespaces/{_NAMESPACE}/secrets/{NAME}"
_LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{_NAMESPACE}/leases/{NAME}"
_WEBHOOKS = {kind: f"/apis/admissionregistration.k8s.io/v1/{kind.lower()}s/{NAME}" for kind in WebhookKind}
VALIDATING = WebhookKind.VALIDATING
Entries = Sequence[Mapping[str, Any]]


class Stage(Protocol):
    """A cluster, and another client that writes to it."""

    @property
    def cluster(self) -> Cluster: ...

    async def put_secret(self, data: Mapping[str, bytes]) -> None: ...

    async def put_lease(self) -> None: ...

    async def put_webhooks(self, entries: Entries, kind: WebhookKind = VALIDATING) -> None: ...

    async def change_webhooks(self, entries: Entries, kind: WebhookKind = VALIDATING) -> None: ...

    async def delete_everything(self) -> None: ...


class InMemoryStage:
    def __init__(self) -> None:
        self.cluster = self.memory = InMemoryCluster()
        self.memory.registered.clear()

    async def put_secret(self, data: Mapping[str, bytes]) -> None:
        self.memory.fill(data)

    async def put_lease(self) -> None:
        self.memory.renew("", 0, 0)

    async def put_webhooks(self, entries: Entries, kind: WebhookKind = VALIDATING) -> None:
        self._registered(kind)[NAME] = WebhookConfiguration(str(uuid.uuid4()), entries)

    async def change_webhooks(self, entries: Entries, kind: WebhookKind = VALIDATING) -> None:
        registered = self._registered(kind)
        registered[NAME] = WebhookConfiguration(registered[NAME].uid, entries)

    def _registered(self, kind: WebhookKind) -> dict[str, WebhookConfiguration]:
        return self.memory.registered if kind is VALIDATING else self.memory.mutating

    async def delete_everything(self) -> None:
        self.memory.secret = self.memory.lease = None
        self.memory.registered.clear()


class RecordedApiStage:
    """The real client over an API in memory."""

    def __init__(self, seconds: float = CALL_SECONDS) -> None:
        self.api = KubernetesApi()
        self.recorder = FakeRecorder()
        address = KubeConfig.from_one(cluster=ClusterAddress(server="http://kubernetes"), user=User(token="t"))
        client = AsyncClient(address.get(), transport=httpx2.MockTransport(self.api))
        self.cluster = LightkubeCluster(client, ObjectNames(_NAMESPACE, NAME, NAME), self.recorder, seconds=seconds)

    async def put_secret(self, data: Mapping[str, bytes]) -> None:
        self.api.put(_SECRET, **secret(data))

    async def put_lease(self) -> None:
        self.api.put(_LEASE)

    async def put_webhooks(self, entries: Entries, kind: WebhookKind = VALIDATING) -> None:
        self.api.put(_WEBHOOKS[kind], webhooks=list(entries))

    async def change_webhooks(self, entries: Entries, kind: WebhookKind = VALIDATING) -> None:
        self.api.objects[_WEBHOOKS[kind]]["webhooks"] = list(entries)

    async def delete_everything(self) -> None:
        self.api.objects.clear()


class RealStage:
    """The real client over a real API server, in a namespace of its own."""

    def __init__(self, cluster: LightkubeCluster, namespace: str) -> None:
        self.cluster = cluster
        self.client = cluster._client  # trusts what the cluster itself trusts
        self.namespace = namespace

    async def put_secret(self, data: Mapping[str, bytes]) -> None:
        with suppress(ApiError):
            await self.client.delete(Secret, NAME, namespace=self.namespace)
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        await self.client.create(Secret(metadata=self._metadata(), data=encoded))

    async def put_lease(self) -> None:
        await self.client.create(Lease(metadata=self._metadata()))

    async def put_webhooks(self, entries: Entries, kind: WebhookKind = VALIDATING) -> None:
        resource = WEBHOOK_CONFIGURATIONS[kind]
        with suppress(ApiError):
            await self.client.delete(resource, NAME)
        await self.client.create(resource(metadata=ObjectMeta(name=NAME), webhooks=list(entries)))

    async def change_webhooks(self, entries: Entries, kind: WebhookKind = VALIDATING) -> None:
        change = {"webhooks": list(entries)}
        resource = WEBHOOK_CONFIGURATIONS[kind]
        await self.client.patch(resource, NAME, change, patch_type=PatchType.MERGE, field_manager="other")

    async def delete_everything(self) -> None:
        for resource in WEBHOOK_CONFIGURATIONS.values():
            with suppress(ApiError):
                await self.client.delete(resource, NAME)
        for kind in (Secret, Lease):
            with suppress(ApiError):
                await self.client.delete(kind, NAME, namespace=self.namespace)

    def _metadata(self) -> ObjectMeta:
        return ObjectMeta(name=NAME, namespace=self.namespace)


@asynccontextmanager
async def real_stage() -> AsyncIterator[RealStage]:
    namespace = f"contract-{uuid.uuid4().hex[:8]}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", os.environ[KUBECONFIG_VARIABLE])
        stage = RealStage(connect(ObjectNames(namespace, NAME, NAME), FakeRecorder()), namespace)
    await stage.client.create(Namespace(metadata=ObjectMeta(name=namespace)))
    try:
        yield stage
    finally:
        await stage.delete_everything()
        await stage.client.delete(Namespace, namespace)
        await stage.cluster.aclose()
