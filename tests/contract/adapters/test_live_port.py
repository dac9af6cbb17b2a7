"""The real client's lists over an API in memory: pages, expired tokens, missing rights, too much of everything."""

from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import httpx2
import pytest

from anchore_admission.adapters.live import PAGE, LightkubeLive, connect_live
from anchore_admission.errors import (
    ClusterForbidden,
    ClusterNotFound,
    ClusterRefused,
    ClusterUnavailable,
    ConfigurationError,
)
from anchore_admission.models.review import GroupVersionKind
from anchore_admission.models.workload import Unreadable
from anchore_admission.ports.live import LiveKind
from support.builders import pod
from support.kubernetes_api import failure
from support.live_api import LiveApi, kubeconfig

PODS = LiveKind(GroupVersionKind("", "v1", "Pod"), "pods")
DEPLOYMENTS = LiveKind(GroupVersionKind("apps", "v1", "Deployment"), "deployments")
MANY = 2 * PAGE + 1
Answer = Callable[[httpx2.Request], Coroutine[None, None, httpx2.Response]]


async def at_once(_seconds: float) -> None:
    """Do not pause."""


def named(number: int, namespace: str = "shop") -> str:
    return f"{namespace}/pod-{number:04}"


@pytest.fixture
def api() -> LiveApi:
    api = LiveApi()
    api.add(*(pod("alpine:3.20", metadata={"name": f"pod-{n:04}", "namespace": "shop"}) for n in range(MANY)))
    return api


@pytest.fixture
async def live(api: LiveApi) -> AsyncIterator[LightkubeLive]:
    live = LightkubeLive(client(api))
    yield live
    await live.aclose()


def client(answer: Answer) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url="http://kubernetes", transport=httpx2.MockTransport(answer))


async def names(live: LightkubeLive, namespace: str | None = None) -> list[str]:
    found = []
    async for page in live.pages(PODS, namespace):
        for each in page:
            assert each.metadata
            found.append(f"{each.metadata.namespace}/{each.metadata.name}")
    return found


async def test_a_list_is_read_in_pages(api: LiveApi, live: LightkubeLive) -> None:
    assert await names(live) == [named(number) for number in range(MANY)]
    assert [dict(request.url.params) for request in api.requests] == [
        {"limit": "500"},
        {"limit": "500", "continue": "500"},
        {"limit": "500", "continue": "1000"},
    ]


async def test_a_list_of_one_namespace_asks_for_no_other(api: LiveApi, live: LightkubeLive) -> None:
    api.add(pod("alpine:3.20", metadata={"name": "other", "namespace": "pay"}))

    assert await names(live, "pay") == ["pay/other"]
    assert [request.url.path for request in api.requests] == ["/api/v1/namespaces/pay/pods"]


@pytest.mark.parametrize("offers", [True, False], ids=["another token", "none"])
async def test_an_expired_token_loses_and_repeats_nothing(api: LiveApi, live: LightkubeLive, offers: bool) -> None:
    api.expire, api.offers = frozenset({2, 5}), offers

    assert await names(live) == [named(number) for number in range(MANY)]


async def test_tokens_that_always_expire_end_the_list(api: LiveApi, live: LightkubeLive) -> None:
    api.expire = frozenset(range(2, 100))

    with pytest.raises(ClusterRefused, match="pods: 410: the token is too old"):
        await names(live)
    assert len(api.requests) == 5


async def test_a_list_that_does_not_end_is_given_up() -> None:
    requests = []

    async def again(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json={"metadata": {"continue": "again"}, "items": []})

    with pytest.raises(ClusterRefused, match="pods: the list does not end"):
        await names(LightkubeLive(client(again)))
    assert len(requests) == 2


async def test_a_page_that_is_too_large_is_asked_for_in_parts(api: LiveApi) -> None:
    live = LightkubeLive(client(api), page_bytes=40_000)

    assert await names(live) == [named(number) for number in range(MANY)]
    assert {int(request.url.params["limit"]) for request in api.requests} == {500, 250}


async def test_an_object_larger_than_any_page_ends_the_list(api: LiveApi) -> None:
    with pytest.raises(ClusterRefused, match="pods: one object is larger than"):
        await names(LightkubeLive(client(api), page_bytes=100))


async def test_an_unreadable_object_does_not_hide_the_others(api: LiveApi, live: LightkubeLive) -> None:
    api.objects["Pod"] = [{"metadata": {"name": "a"}, "spec": {"containers": "x"}}, *api.objects["Pod"][:1]]

    (found,) = [page async for page in live.pages(PODS, None)]

    assert isinstance(found[0], Unreadable)
    assert not isinstance(found[1], Unreadable)


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (failure(401), ClusterForbidden, "deployments.apps: 401: as arranged"),
        (failure(403), ClusterForbidden, "deployments.apps: 403: as arranged"),
        (failure(404), ClusterNotFound, "deployments.apps: 404: as arranged"),
        (failure(500), ClusterUnavailable, "deployments.apps: 500: as arranged"),
        (httpx2.Response(502, text="<html>"), ClusterUnavailable, "deployments.apps: 502: no reason given"),
        (httpx2.Response(200, text="<html>"), ClusterUnavailable, "deployments.apps: the API server's list cannot be"),
        (httpx2.Response(200, json={}), ClusterUnavailable, "deployments.apps: the API server's list cannot be read"),
        (httpx2.Response(200, json={"items": 3}), ClusterUnavailable, "deployments.apps: the API server's list cannot"),
        (httpx2.ConnectError("no route"), ClusterUnavailable, "deployments.apps: no route"),
        (httpx2.ReadTimeout(""), ClusterUnavailable, "deployments.apps: ReadTimeout"),
    ],
)
async def test_failures_name_the_kind(answer: httpx2.Response | Exception, error: type[Exception], text: str) -> None:
    async def answered(_request: httpx2.Request) -> httpx2.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(error, match=text):
        [page async for page in LightkubeLive(client(answered), sleep=at_once).pages(DEPLOYMENTS, None)]


async def test_an_api_server_that_is_busy_is_asked_again(api: LiveApi) -> None:
    busy: list[httpx2.Response | Exception] = [failure(500), httpx2.ReadTimeout("")]
    pauses: list[float] = []

    async def answered(request: httpx2.Request) -> httpx2.Response:
        if api.requests and busy:
            broken = busy.pop()
            if isinstance(broken, Exception):
                raise broken
            return broken
        return await api(request)

    async def paused(seconds: float) -> None:
        pauses.append(seconds)

    assert await names(LightkubeLive(client(answered), sleep=paused)) == [named(number) for number in range(MANY)]
    assert pauses == [1.0, 4.0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "does not exist"),
        ("{}", "the kubeconfig has no context here"),
        (kubeconfig("http://127.0.0.1", contexts=["other"]), "the kubeconfig has no context here"),
    ],
)
def test_without_access_to_a_cluster_nothing_is_listed(
    text: str | None, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(file))

    with pytest.raises(ConfigurationError, match=problem):
        connect_live("here")
