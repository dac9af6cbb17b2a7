import json
from contextlib import aclosing
from pathlib import Path

import httpx2
import pytest
from lightkube.config.models import User

from anchore_admission.adapters.kubernetes_namespaces import connect_namespaces
from anchore_admission.errors import (
    ClusterError,
    ClusterForbidden,
    ClusterResponseInvalid,
    ClusterUnavailable,
    ConfigurationError,
)
from support.fakes import FakeRecorder
from support.kubernetes_api import failure
from support.namespace_api import NamespaceApi


@pytest.fixture
def api() -> NamespaceApi:
    return NamespaceApi()


@pytest.fixture
def recorder() -> FakeRecorder:
    return FakeRecorder()


async def test_a_rotated_token_is_read_again(api: NamespaceApi, recorder: FakeRecorder, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    api.token = "first"
    source = api.source(recorder, User(token_file=str(token)))
    page = await source.list_page("")
    token.write_text("second\n")
    api.token = "second"
    api.put("shop")
    async with aclosing(source.watch(page.version, 300)) as changes:
        change = await anext(changes)
    assert change.namespace
    assert change.namespace.name == "shop"
    assert api.credentials == ["Bearer first", "Bearer first", "Bearer second"]
    assert recorder.namespace_errors == []


async def test_a_token_that_is_still_the_old_one_is_forbidden(
    api: NamespaceApi, recorder: FakeRecorder, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("old")
    api.token = "new"
    source = api.source(recorder, User(token_file=str(tmp_path / "token")))
    with pytest.raises(ClusterForbidden, match="401: as arranged; its ServiceAccount needs get, list and watch"):
        await source.list_page("")
    (tmp_path / "token").unlink()
    with pytest.raises(ClusterForbidden, match="not found"):
        await source.list_page("")
    assert recorder.namespace_errors == [("list_namespaces", "forbidden")] * 2


async def test_a_page_that_is_too_large_is_asked_for_in_parts(api: NamespaceApi, recorder: FakeRecorder) -> None:
    """A tenant who may annotate namespaces must not be able to make the list fail."""
    api.padding = 1000
    for number in range(20):
        api.put(f"n{number:02}")
    source = api.source(recorder, max_page=10_000)
    names, after = [], ""
    while True:
        page = await source.list_page(after)
        names += [namespace.name for namespace in page.namespaces]
        after = page.next
        if not after:
            break
    assert names == sorted(api.namespaces)
    assert [it.url.params["limit"] for it in api.requests] == ["500", "250", "125", "62", "31", "15", "7", "7", "7"]


async def test_a_namespace_that_is_too_large_alone_is_an_error(api: NamespaceApi, recorder: FakeRecorder) -> None:
    api.padding = 20_000
    api.put("shop")
    with pytest.raises(ClusterResponseInvalid, match="more than 10000 bytes"):
        await api.source(recorder, max_page=10_000).list_page("")


async def test_a_large_response_about_one_namespace_is_not_read(api: NamespaceApi, recorder: FakeRecorder) -> None:
    api.padding = 5 * 2**20
    api.put("shop")
    with pytest.raises(ClusterResponseInvalid, match="bytes of metadata"):
        await api.source(recorder).read("shop")


async def test_equal_texts_are_kept_once(api: NamespaceApi, recorder: FakeRecorder) -> None:
    api.put("shop", team="a-team-of-two")
    api.put("bank", team="a-team-of-two")
    one, other = (await api.source(recorder).list_page("")).namespaces
    assert one.labels["team"] is other.labels["team"]


@pytest.mark.parametrize(
    ("response", "kind", "says"),
    [
        (failure(403), ClusterForbidden, "403: as arranged; its ServiceAccount needs"),
        (failure(503), ClusterUnavailable, "503: as arranged"),
        (httpx2.Response(502, text="<html>"), ClusterUnavailable, "502: "),
        (httpx2.Response(500, content=b"x" * 100_000), ClusterUnavailable, "500: "),
        (httpx2.Response(200, text="<html>"), ClusterResponseInvalid, "no Kubernetes object"),
        (httpx2.Response(200, json={"items": []}), ClusterResponseInvalid, "no Kubernetes object"),
        (httpx2.Response(200, json={"metadata": {}, "items": []}), ClusterResponseInvalid, "no resourceVersion"),
        (
            httpx2.Response(200, json={"metadata": {"resourceVersion": "1"}, "items": [{}]}),
            ClusterResponseInvalid,
            "without a name",
        ),
        (httpx2.ConnectError("refused"), ClusterUnavailable, "refused; if it lasts, look for a NetworkPolicy"),
        (httpx2.ReadTimeout(""), ClusterUnavailable, "ReadTimeout; if it lasts"),
    ],
)
async def test_errors_are_told_apart(
    api: NamespaceApi,
    recorder: FakeRecorder,
    response: httpx2.Response | Exception,
    kind: type[ClusterError],
    says: str,
) -> None:
    api.faults.append(response)
    with pytest.raises(kind, match=says):
        await api.source(recorder).list_page("")
    assert recorder.namespace_errors == [("list_namespaces", kind.code)]


async def test_a_kubeconfig_leads_to_a_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = {
        "clusters": [{"name": "it", "cluster": {"server": "https://localhost:1/k8s/clusters/c-1"}}],
        "users": [{"name": "me", "user": {"token": "t"}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me"}}],
        "current-context": "it",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    source = connect_namespaces(FakeRecorder())
    with pytest.raises(ClusterUnavailable, match="if it lasts"):
        await source.read("shop")
    await source.aclose()


def test_without_a_cluster_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="no access to a Kubernetes API"):
        connect_namespaces(FakeRecorder())
