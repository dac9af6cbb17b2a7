"""The contract of the port ``NamespaceSource``: the real client over an API in memory and a real one.

The real API server is the one that CONTRACT_KUBECONFIG leads to; tests/e2e/test_cluster_contract.py sets it. Namespaces
of this test are made and removed there.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Protocol

import pytest
from lightkube import ApiError, AsyncClient
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace
from lightkube.types import PatchType

from anchore_admission.adapters.kubernetes import ObjectNames, connect
from anchore_admission.adapters.kubernetes_namespaces import connect_namespaces
from anchore_admission.errors import ClusterExpired, ClusterNotFound
from anchore_admission.ports.namespaces import NamespaceChange, NamespaceSource
from support.cluster_stages import KUBECONFIG_VARIABLE
from support.fakes import FakeRecorder
from support.namespace_api import NamespaceApi

SECONDS = 60


class Stage(Protocol):
    """A cluster, and another client that writes to it."""

    @property
    def source(self) -> NamespaceSource: ...

    async def create(self, name: str, **labels: str) -> None: ...

    async def relabel(self, name: str, **labels: str) -> None: ...

    async def delete(self, name: str) -> None: ...


class ScriptedStage:
    def __init__(self) -> None:
        self.api = NamespaceApi(oldest=50)
        self.source = self.api.source(FakeRecorder())

    async def create(self, name: str, **labels: str) -> None:
        self.api.put(name, **labels)

    relabel = create

    async def delete(self, name: str) -> None:
        self.api.delete(name)


class RealStage:
    def __init__(self, client: AsyncClient, source: NamespaceSource) -> None:
        self.client, self.source = client, source
        self.created: set[str] = set()

    async def create(self, name: str, **labels: str) -> None:
        await self.client.create(Namespace(metadata=ObjectMeta(name=name, labels=labels)))
        self.created.add(name)

    async def relabel(self, name: str, **labels: str) -> None:
        await self.client.patch(Namespace, name, {"metadata": {"labels": labels}}, patch_type=PatchType.MERGE)

    async def delete(self, name: str) -> None:
        await self.client.delete(Namespace, name)
        self.created.remove(name)


@asynccontextmanager
async def real_stage() -> AsyncIterator[RealStage]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", os.environ[KUBECONFIG_VARIABLE])
        cluster, source = connect(ObjectNames("", "", ""), FakeRecorder()), connect_namespaces(FakeRecorder())
    stage = RealStage(cluster._client, source)
    try:
        yield stage
    finally:
        for name in stage.created:
            with suppress(ApiError):
                await stage.client.delete(Namespace, name)
        await source.aclose()
        await cluster.aclose()


@pytest.fixture(params=["client", "real"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    if request.param == "client":
        scripted = ScriptedStage()
        yield scripted
        await scripted.source.aclose()
    elif KUBECONFIG_VARIABLE not in os.environ:
        pytest.skip(f"{KUBECONFIG_VARIABLE} names no cluster to hold the real client to")
    else:
        async with real_stage() as real:
            yield real


@pytest.fixture
def name() -> str:
    return f"contract-{uuid.uuid4().hex[:8]}"


async def _next(changes: AsyncGenerator[NamespaceChange, None], name: str) -> NamespaceChange:
    """Return the next change of a namespace; others may change theirs meanwhile."""
    async with asyncio.timeout(SECONDS):
        async for change in changes:
            if change.namespace and change.namespace.name == name:
                return change
    raise AssertionError("the watch ended")


async def test_a_namespace_is_listed_with_its_labels(stage: Stage, name: str) -> None:
    await stage.create(name, env="prod")
    page = await stage.source.list_page("")
    found = {namespace.name: namespace.labels for namespace in page.namespaces}
    assert found[name] == {"kubernetes.io/metadata.name": name, "env": "prod"}
    assert page.version
    assert page.next == ""


async def test_a_namespace_is_read_alone(stage: Stage, name: str) -> None:
    await stage.create(name, env="prod")
    read = await stage.source.read(name)
    assert (read.name, read.labels["env"]) == (name, "prod")


async def test_a_missing_namespace_is_not_found(stage: Stage, name: str) -> None:
    with pytest.raises(ClusterNotFound):
        await stage.source.read(name)


async def test_changes_since_a_list_are_watched_in_order(stage: Stage, name: str) -> None:
    page = await stage.source.list_page("")
    await stage.create(name, env="prod")
    async with aclosing(stage.source.watch(page.version, SECONDS)) as changes:
        created = await _next(changes, name)
        assert created.namespace
        assert (created.namespace.labels["env"], created.is_deleted) == ("prod", False)
        await stage.relabel(name, env="test")
        relabeled = await _next(changes, name)
        assert relabeled.namespace
        assert relabeled.namespace.labels["env"] == "test"
        await stage.delete(name)
        while not (change := await _next(changes, name)).is_deleted:
            assert change.version != relabeled.version, "a real namespace is terminated first"


async def test_a_watch_continues_from_the_version_of_a_change(stage: Stage, name: str) -> None:
    page = await stage.source.list_page("")
    await stage.create(name, env="prod")
    async with aclosing(stage.source.watch(page.version, SECONDS)) as changes:
        created = await _next(changes, name)
    await stage.relabel(name, env="test")
    async with aclosing(stage.source.watch(created.version, SECONDS)) as changes:
        relabeled = await _next(changes, name)
    assert relabeled.namespace
    assert relabeled.namespace.labels["env"] == "test"


async def test_a_version_that_is_too_old_has_expired() -> None:
    """A real API server forgets versions when it restarts: see tests/e2e/test_cluster_namespaces.py."""
    source = ScriptedStage().source
    with pytest.raises(ClusterExpired):
        async with aclosing(source.watch("1", SECONDS)) as changes:
            await anext(changes)
    await source.aclose()
