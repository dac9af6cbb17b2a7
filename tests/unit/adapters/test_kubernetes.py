"""Errors between the controller and the API server, translated into ours."""

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import httpx2
import pytest

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
from anchore_admission.redaction import remember
from anchore_admission.web.server import Listener
from anchore_admission.web.tls import ServingCertificate
from support.certificates import plain_pair, written
from support.cluster_stages import NAME, RecordedApiStage
from support.fakes import FakeRecorder
from support.kubernetes_api import failure
from support.listening import HOST, quick, running

SECRET = f"Secret contract/{NAME}"


@pytest.fixture
def stage() -> RecordedApiStage:
    return RecordedApiStage()


@pytest.mark.parametrize(
    ("broken", "expected", "text"),
    [
        (failure(400), ClusterRefused, f"{SECRET}: 400: as arranged"),
        (failure(403), ClusterForbidden, f"{SECRET}: 403: as arranged"),
        (failure(404), ClusterNotFound, f"{SECRET}: 404: as arranged"),
        (failure(409), ClusterConflict, f"{SECRET}: 409: as arranged"),
        (failure(422), ClusterRefused, f"{SECRET}: 422: as arranged"),
        (failure(500), ClusterUnavailable, f"{SECRET}: 500: as arranged"),
        (httpx2.Response(502, text="<html>bad gateway</html>"), ClusterUnavailable, SECRET),
        (httpx2.Response(503), ClusterUnavailable, SECRET),
        (httpx2.Response(200, text="not json"), ClusterUnavailable, SECRET),
        (httpx2.Response(200, json={"data": {"a": 1}, "metadata": 2}), ClusterUnavailable, SECRET),
        (httpx2.ConnectError("refused"), ClusterUnavailable, f"{SECRET}: refused"),
        (httpx2.ReadTimeout(""), ClusterUnavailable, f"{SECRET}: ReadTimeout"),
    ],
)
async def test_every_failure_is_raised_and_counted(
    broken: httpx2.Response | Exception, expected: type[ClusterError], text: str, stage: RecordedApiStage
) -> None:
    stage.api.broken = broken
    with pytest.raises(ClusterError) as caught:
        await stage.cluster.read_secret()
    assert type(caught.value) is expected
    assert str(caught.value).startswith(text)
    assert stage.recorder.cluster_errors == [("read_secret", expected.code)]


async def test_a_secret_in_a_long_rejection_is_not_cut_in_two(stage: RecordedApiStage) -> None:
    """A URL with the secret path stands where the message is cut."""
    secret = "not-to-be-seen-0123456789"
    remember("a test", [secret])
    stage.api.broken = httpx2.Response(
        422, json={"kind": "Status", "status": "Failure", "code": 422, "message": "x" * 490 + secret + "y" * 2000}
    )
    with pytest.raises(ClusterError) as caught:
        await stage.cluster.read_secret()
    assert "not-to" not in str(caught.value)


@pytest.mark.parametrize(
    ("broken", "remedy"),
    [
        (failure(401), "needs get and patch of this object: rbac.create"),
        (failure(403), "needs get and patch of this object: rbac.create"),
        (failure(404), "; helm upgrade (or kubectl apply --kustomize) creates it again"),
        (httpx2.ConnectError("refused"), "look for a NetworkPolicy or firewall between this Pod and the API server"),
        (httpx2.ReadTimeout(""), "look for a NetworkPolicy or firewall between this Pod and the API server"),
    ],
)
async def test_an_error_that_an_operator_must_fix_names_the_remedy(
    broken: httpx2.Response | Exception, remedy: str, stage: RecordedApiStage
) -> None:
    stage.api.broken = broken
    for call in (stage.cluster.read_secret, stage.cluster.read_lease):
        with pytest.raises(ClusterError) as caught:
            await call()
        assert remedy in str(caught.value)


async def test_an_api_server_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = RecordedApiStage(seconds=0)

    async def never(_: httpx2.Request) -> httpx2.Response:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(type(stage.api), "__call__", lambda _self, request: never(request))
    with pytest.raises(ClusterUnavailable, match="no response from the API server within 0 s"):
        await stage.cluster.read_secret()


async def test_invalid_base64_is_an_empty_value(stage: RecordedApiStage) -> None:
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


async def test_only_the_named_objects_are_requested(stage: RecordedApiStage) -> None:
    await stage.put_secret({})
    await stage.put_lease()
    await stage.cluster.read_secret()
    await stage.cluster.read_lease()
    assert [request.url.path for request in stage.api.requests] == list(stage.api.objects)


def test_without_a_cluster_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="no access to a Kubernetes API"):
        connect(ObjectNames("a", "b", "c"), FakeRecorder())


def test_a_kubeconfig_without_a_user_is_rejected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _kubeconfig(tmp_path, monkeypatch, {"server": "https://localhost:1"}, users=[])
    with pytest.raises(ConfigurationError, match="names no user"):
        connect(ObjectNames("a", "b", "c"), FakeRecorder())


async def test_a_ca_without_identifiers_is_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Certificates of older EKS and k3s, with the strict checks of Python 3.13; the response is "ok"."""
    created = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda *given, **named: _strict(created(*given, **named)))
    pair = plain_pair("localhost")
    (tmp_path / "ca.crt").write_bytes(pair.ca_bundle)
    certificate = ServingCertificate(written(tmp_path, pair.certificate, pair.key))
    async with running(Listener(quick, HOST, 0, certificate)) as server:
        at = {"server": f"https://localhost:{server.ports[0]}", "certificate-authority": "ca.crt"}
        _kubeconfig(tmp_path, monkeypatch, at, users=[{"name": "me", "user": {"token": "t"}}])
        cluster = connect(ObjectNames("a", "b", "c"), FakeRecorder())
        with pytest.raises(ClusterUnavailable, match="JSON is malformed"):  # a parsed body proves a trusted connection
            await cluster.read_secret()
        await cluster.aclose()


def _strict(context: ssl.SSLContext) -> ssl.SSLContext:
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def _kubeconfig(
    folder: Path, monkeypatch: pytest.MonkeyPatch, cluster: dict[str, str], users: list[dict[str, Any]]
) -> None:
    context = {"cluster": "it", **({"user": "me"} if users else {})}
    file = folder / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(file))
    file.write_text(
        json.dumps(
            {
                "clusters": [{"name": "it", "cluster": cluster}],
                "users": users,
                "contexts": [{"name": "it", "context": context}],
                "current-context": "it",
            }
        )
    )


async def test_conditions_that_have_moved_meanwhile_are_not_removed_by_their_place(stage: RecordedApiStage) -> None:
    """Writes of another client between the two patches are reconciled in the next step."""
    entry = {"name": "gate.admission.anchore.io", "matchConditions": [{"name": "off", "expression": "false"}]}
    await stage.put_webhooks([entry])
    live = await stage.cluster.read_webhooks(NAME)
    (path,) = stage.api.objects

    def written_meanwhile() -> None:
        stage.api.put(path, webhooks=[])

    stage.api.after_apply = written_meanwhile
    with pytest.raises(ClusterConflict):
        await stage.cluster.apply_webhooks(NAME, live.uid, [{"name": entry["name"]}])
    assert stage.api.objects[path]["webhooks"] == []
