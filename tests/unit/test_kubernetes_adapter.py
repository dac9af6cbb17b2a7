"""What goes wrong between us and the API server, told in our own words."""

import asyncio
from pathlib import Path

import httpx2
import pytest

from anchore_admission.adapters import kubernetes
from anchore_admission.adapters.kubernetes import ObjectNames, connect
from anchore_admission.errors import (
    ClusterConflict,
    ClusterError,
    ClusterForbidden,
    ClusterNotFound,
    ClusterRefused,
    ClusterUnavailable,
    ConfigurationError,
)
from support.cluster import Recorded
from support.cluster_stages import NAME, RecordedApiStage
from support.kubernetes_api import failure

SECRET = f"Secret contract/{NAME}"


@pytest.fixture
def stage() -> RecordedApiStage:
    return RecordedApiStage()


@pytest.mark.parametrize(
    ("broken", "expected", "text"),
    [
        (failure(400), ClusterRefused, f"{SECRET}: 400: as told"),
        (failure(403), ClusterForbidden, f"{SECRET}: 403: as told"),
        (failure(404), ClusterNotFound, f"{SECRET}: 404: as told"),
        (failure(409), ClusterConflict, f"{SECRET}: 409: as told"),
        (failure(422), ClusterRefused, f"{SECRET}: 422: as told"),
        (failure(500), ClusterUnavailable, f"{SECRET}: 500: as told"),
        (httpx2.Response(502, text="<html>bad gateway</html>"), ClusterUnavailable, SECRET),
        (httpx2.Response(503), ClusterUnavailable, SECRET),
        (httpx2.Response(200, text="not json"), ClusterUnavailable, SECRET),
        (httpx2.Response(200, json={"data": {"a": 1}, "metadata": 2}), ClusterUnavailable, SECRET),
        (httpx2.ConnectError("refused"), ClusterUnavailable, f"{SECRET}: refused"),
        (httpx2.ReadTimeout(""), ClusterUnavailable, f"{SECRET}: ReadTimeout"),
    ],
)
async def test_every_failure_is_told_and_counted(
    broken: httpx2.Response | Exception, expected: type[ClusterError], text: str, stage: RecordedApiStage
) -> None:
    stage.api.broken = broken
    with pytest.raises(ClusterError) as caught:
        await stage.cluster.read_secret()
    assert type(caught.value) is expected
    assert str(caught.value).startswith(text)
    assert stage.recorded.errors == [("read_secret", expected.code)]


async def test_an_api_server_that_never_answers_is_not_waited_for(
    stage: RecordedApiStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: httpx2.Request) -> httpx2.Response:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(kubernetes, "CALL_SECONDS", 0)
    monkeypatch.setattr(type(stage.api), "__call__", lambda _self, request: never(request))
    with pytest.raises(ClusterUnavailable, match="no answer from the API server within 0 s"):
        await stage.cluster.read_secret()


async def test_what_is_no_base64_is_an_empty_value(stage: RecordedApiStage) -> None:
    await stage.put_secret({"a": b"1"})
    (content,) = stage.api.objects.values()
    content["data"]["a"] = "?"
    assert (await stage.cluster.read_secret()).data == {"a": b""}


async def test_a_lease_is_written_with_times_that_an_api_server_takes(stage: RecordedApiStage) -> None:
    await stage.put_lease()
    taken = await stage.cluster.write_lease(await stage.cluster.read_lease(), taken=True)
    (lease,) = stage.api.objects.values()
    acquired = lease["spec"]["acquireTime"]
    assert len(acquired) == len("2026-11-23T10:00:00.000000Z")
    assert lease["spec"]["renewTime"] == acquired
    await stage.cluster.write_lease(taken, taken=False)
    (lease,) = stage.api.objects.values()
    assert lease["spec"]["acquireTime"] == acquired


async def test_only_the_named_objects_are_asked_for(stage: RecordedApiStage) -> None:
    await stage.put_secret({})
    await stage.put_lease()
    await stage.cluster.read_secret()
    await stage.cluster.read_lease()
    assert [request.url.path for request in stage.api.requests] == list(stage.api.objects)


def test_without_a_cluster_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="no access to a Kubernetes API"):
        connect(ObjectNames("a", "b", "c"), Recorded())
