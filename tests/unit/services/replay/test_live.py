"""Live objects as requests: their order, their creators, and the workloads they belong to."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from anchore_admission.core.scope import OutOfScope, out_of_scope
from anchore_admission.errors import ClusterError, ClusterForbidden, ClusterUnavailable
from anchore_admission.models.configuration import WorkloadHandling
from anchore_admission.models.review import UserInfo, read_workload
from anchore_admission.models.workload import Unreadable, Workload
from anchore_admission.ports.live import LiveKind
from anchore_admission.services.replay.entries import Entry, Recorded, Unread
from anchore_admission.services.replay.live import live_entries
from anchore_admission.services.replay.owners import Owners
from support.builders import Json, pod, request, template

ALICE = UserInfo("alice", ["dev"])
MIRROR = {"kubernetes.io/config.mirror": "x"}


def owned(kind: str, by: str, version: str = "apps/v1", **more: Any) -> Json:
    owner = {"apiVersion": version, "kind": kind, "name": by, "controller": True}
    return {"namespace": "shop", "ownerReferences": [owner], **more}


class Live:
    """Lists in memory, a page for each object; a kind may fail."""

    def __init__(self, *objects: Json, failing: Mapping[str, ClusterError] | None = None) -> None:
        self._objects = [(found["kind"], read_workload(found)) for found in objects]
        self._failing = failing or {}

    async def pages(self, listed: LiveKind, namespace: str | None) -> AsyncIterator[Sequence[Workload | Unreadable]]:
        if error := self._failing.get(str(listed)):
            raise error
        for kind, found in self._objects:
            metadata = found.metadata
            if kind == listed.kind.kind and namespace in {None, metadata.namespace if metadata else None}:
                yield [found]

    async def aclose(self) -> None:
        pass


async def entries(live: Live) -> list[Entry]:
    return [entry async for batch in live_entries(live, None, ALICE) for entry in batch]


async def only(found: Json) -> Recorded:
    (entry,) = await entries(Live(found))
    assert isinstance(entry, Recorded)
    return entry


async def test_owners_are_listed_before_what_they_own() -> None:
    live = Live(
        template("Deployment", "a", metadata={"namespace": "shop"}),
        pod("a", metadata=owned("ReplicaSet", "web-5d4")),
        template("ReplicaSet", "a", metadata=owned("Deployment", "web", name="web-5d4")),
        template("Job", "a", metadata=owned("CronJob", "nightly", "batch/v1", name="nightly-29")),
        pod("a", metadata=owned("Job", "nightly-29", "batch/v1")),
    )
    owners = Owners()

    names = [owners.of(entry.request) for entry in await entries(live) if isinstance(entry, Recorded)]

    assert names == [
        ("Deployment", "web"),
        ("CronJob", "nightly"),
        ("Deployment", "web"),
        ("CronJob", "nightly"),
        ("Deployment", "demo"),
    ]


@pytest.mark.parametrize(
    ("metadata", "user"),
    [
        ({}, "alice"),
        (owned("ReplicaSet", "web"), "system:serviceaccount:kube-system:replicaset-controller"),
        (owned("Job", "web", "batch/v1"), "system:serviceaccount:kube-system:job-controller"),
        (owned("DaemonSet", "web"), "system:serviceaccount:kube-system:daemon-set-controller"),
        (owned("ReplicaSet", "web", "example.com/v1"), "alice"),
        (owned("Workflow", "web", "argoproj.io/v1alpha1"), "alice"),
        (owned("Node", "node-1", "v1"), "alice"),
        (owned("Node", "node-2", "v1", annotations=MIRROR), "alice"),
        (owned("Node", "node-1", "v1", annotations=MIRROR), "system:node:node-1"),
    ],
)
async def test_the_creator_is_the_controller_that_owns_it(metadata: Json, user: str) -> None:
    created = (await only(pod("a", metadata=metadata, nodeName="node-1"))).request.userInfo

    assert created
    assert created.username == user


async def test_a_static_pod_is_out_of_scope_as_in_the_cluster() -> None:
    mirror = await only(pod("a", metadata=owned("Node", "node-1", "v1", annotations=MIRROR), nodeName="node-1"))

    assert out_of_scope(mirror.request, WorkloadHandling.FINAL) is OutOfScope.MIRROR_POD


async def test_a_pod_that_is_being_deleted_is_judged_like_the_one_that_replaces_it() -> None:
    ending = await only(pod("a", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}))

    assert out_of_scope(ending.request, WorkloadHandling.FINAL) is None


async def test_an_api_server_that_does_not_respond_ends_the_list() -> None:
    live = Live(pod("a"), failing={"jobs.batch": ClusterUnavailable("jobs.batch: no route")})

    assert await entries(live) == [Unread("cluster", "jobs.batch: no route; nothing else was listed")]


async def test_one_namespace_alone_is_listed() -> None:
    live = Live(pod("a", metadata={"namespace": "shop"}), pod("a", metadata={"namespace": "pay"}))

    (batch,) = [batch async for batch in live_entries(live, "pay", ALICE)]

    assert [entry.request.namespace for entry in batch if isinstance(entry, Recorded)] == ["pay"]


async def test_a_kind_that_cannot_be_listed_does_not_hide_the_others() -> None:
    live = Live(pod("a"), failing={"jobs.batch": ClusterForbidden("jobs.batch: 403: no")})

    unread, found = await entries(live)

    assert unread == Unread("cluster", "jobs.batch: 403: no")
    assert isinstance(found, Recorded)


def test_the_owners_that_are_known_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anchore_admission.services.replay.owners._MOST", 0)
    owners = Owners()
    replica_set = template("ReplicaSet", "a", metadata=owned("Deployment", "web", name="web-5d4"))

    assert owners.of(_request(replica_set)) == ("Deployment", "web")
    assert owners.of(_request(pod("a", metadata=owned("ReplicaSet", "web-5d4")))) == ("ReplicaSet", "web-5d4")


@pytest.mark.parametrize(
    ("metadata", "name"),
    [({"name": "web"}, "web"), ({"name": None, "generateName": "web-"}, "web-*"), ({"name": None}, "")],
)
def test_an_object_without_an_owner_has_its_own_name(metadata: Json, name: str) -> None:
    assert Owners().of(_request(pod("a", metadata=metadata), name=None)) == ("Pod", name)


def _request(body: Json, **changes: Any) -> Any:
    return request(body, **{"name": body["metadata"].get("name"), **changes})
