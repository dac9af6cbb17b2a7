"""The contract of the port ``TokenReviewer``: the real client over an API in memory and a real one.

The real API server is the one that CONTRACT_KUBECONFIG leads to; tests/e2e/test_cluster_contract.py sets it. It issues
tokens of a ServiceAccount that this test makes and removes.
"""

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import httpx2
import pytest
from lightkube.models.authentication_v1 import TokenRequestSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ServiceAccount, ServiceAccountToken

from anchore_admission.adapters.kubernetes import ObjectNames, connect
from anchore_admission.adapters.kubernetes_tokens import connect_tokens
from anchore_admission.errors import ClusterError, ClusterForbidden, ClusterResponseInvalid, ClusterUnavailable
from anchore_admission.ports.tokens import TokenOwner, TokenReviewer
from support.cluster_stages import KUBECONFIG_VARIABLE
from support.fakes import FakeRecorder
from support.kubernetes_api import failure
from support.token_api import AUDIENCE, TokenApi

ACCOUNT = f"contract-{uuid.uuid4().hex[:8]}"
USER = f"system:serviceaccount:default:{ACCOUNT}"


class Stage(Protocol):
    """A cluster that issues tokens of one ServiceAccount."""

    @property
    def source(self) -> TokenReviewer: ...

    async def issue(self, *audiences: str) -> str: ...


class ScriptedStage:
    def __init__(self) -> None:
        self.api = TokenApi()
        self.source = self.api.source()

    async def issue(self, *audiences: str) -> str:
        return self.api.put(f"token-for-{'-'.join(audiences)}", USER, audiences).decode()


@asynccontextmanager
async def real_stage() -> AsyncIterator[Stage]:
    cluster, source = connect(ObjectNames("", "", ""), FakeRecorder()), connect_tokens()
    client = cluster._client

    class _RealStage:
        def __init__(self) -> None:
            self.source = source

        async def issue(self, *audiences: str) -> str:
            wanted = ServiceAccountToken(
                metadata=ObjectMeta(name=ACCOUNT, namespace="default"),
                spec=TokenRequestSpec(audiences=list(audiences), expirationSeconds=600),
            )
            issued = await client.create(wanted, ACCOUNT, namespace="default")
            assert issued.status
            return str(issued.status.token)

    await client.create(ServiceAccount(metadata=ObjectMeta(name=ACCOUNT, namespace="default")))
    try:
        yield _RealStage()
    finally:
        await client.delete(ServiceAccount, ACCOUNT, namespace="default")
        await source.aclose()
        await cluster.aclose()


def contradiction(error: object) -> httpx2.Response:
    """Return a TokenReview that is authenticated although it has an error."""
    status = {"authenticated": True, "user": {"username": USER}, "audiences": [AUDIENCE], "error": error}
    return httpx2.Response(201, json={"status": status})


@pytest.fixture(params=["client", "real"])
async def stage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    if request.param == "client":
        yield ScriptedStage()
    elif KUBECONFIG_VARIABLE not in os.environ:
        pytest.skip(f"{KUBECONFIG_VARIABLE} names no cluster to hold the real client to")
    else:
        monkeypatch.setenv("KUBECONFIG", os.environ[KUBECONFIG_VARIABLE])
        async with real_stage() as real:
            yield real


@pytest.mark.parametrize("audiences", [(AUDIENCE,), ("another", AUDIENCE)])
async def test_a_token_for_the_audience_has_its_user(stage: Stage, audiences: tuple[str, ...]) -> None:
    owner = await stage.source.review(await stage.issue(*audiences), AUDIENCE)
    assert owner == TokenOwner(USER, (AUDIENCE,))


async def test_a_token_for_another_audience_has_none(stage: Stage) -> None:
    owner = await stage.source.review(await stage.issue("another"), AUDIENCE)
    assert (owner.user, AUDIENCE in owner.audiences) == ("", False)


@pytest.mark.parametrize("token", ["made-up", "a.b.c", "x" * 16_384, '"}\n\x00'])
async def test_a_made_up_token_has_none(stage: Stage, token: str) -> None:
    owner = await stage.source.review(token, AUDIENCE)
    assert owner.user == ""


@pytest.mark.parametrize("error", [None, ""])
async def test_an_empty_error_is_none(error: str | None) -> None:
    owner = await TokenApi(broken=contradiction(error)).source().review("token", AUDIENCE)
    assert owner == TokenOwner(USER, (AUDIENCE,))


@pytest.mark.parametrize(
    ("broken", "error", "text"),
    [
        (failure(401), ClusterForbidden, "tokenreviews"),
        (failure(403), ClusterForbidden, "tokenreviews.authentication.k8s.io, as system:auth-delegator has"),
        (failure(500), ClusterUnavailable, "500"),
        (httpx2.ConnectError("refused"), ClusterUnavailable, "refused; if it lasts, look for a NetworkPolicy"),
        (httpx2.Response(201, content=b"x" * 300_000), ClusterResponseInvalid, "more than 262144 bytes"),
        (httpx2.Response(201, content=b"<html>"), ClusterResponseInvalid, "no TokenReview"),
        (httpx2.Response(201, content=b'{"status": {"user": null}}'), ClusterResponseInvalid, "no TokenReview"),
        (contradiction("webhook failed"), ClusterResponseInvalid, "authenticated and failed at once: webhook failed"),
        (contradiction("is token-0123456789"), ClusterResponseInvalid, "at once: is [redacted]"),
        (contradiction(1), ClusterResponseInvalid, "no TokenReview"),
    ],
)
async def test_a_failure_is_an_error(broken: httpx2.Response | Exception, error: type[ClusterError], text: str) -> None:
    api = TokenApi(broken=broken)
    with pytest.raises(error) as caught:
        await api.source().review("token-0123456789", AUDIENCE)
    assert text in str(caught.value)
    assert "token-0123456789" not in str(caught.value)
