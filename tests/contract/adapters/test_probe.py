"""The probe of the controller's own webhook, over real TLS connections."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from anchore_admission.adapters.probe import HttpProbe, probe_pinning, probe_pod
from anchore_admission.errors import ProbeFailed
from anchore_admission.models.review import decode
from anchore_admission.ports.cluster import PinningResponse, ProbeResponse
from anchore_admission.web.body import send_json
from anchore_admission.web.server import Listener
from anchore_admission.web.tls import ServingCertificate
from support.certificates import pair, written
from support.fakes import FakeRecorder
from support.listening import HOST, quick, running

SERVER, OTHER = pair(), pair()
Answer = Callable[[dict[str, Any]], object]


def answering(answer: Answer, status: int = 200) -> ASGIApp:
    """An application whose response is made from the review's ``request``."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        request = json.loads((await receive())["body"])["request"]
        await send_json(send, status, json.dumps(answer(request)).encode())

    return app


def admit(request: dict[str, Any]) -> object:
    return {"response": {"uid": request["uid"], "allowed": True}}


@pytest.fixture
def certificate(tmp_path: Path) -> ServingCertificate:
    return ServingCertificate(written(tmp_path, SERVER.certificate, SERVER.key))


async def test_an_answer_with_the_same_uid_is_the_expected_one(certificate: ServingCertificate) -> None:
    recorder = FakeRecorder()
    async with running(Listener(answering(admit), HOST, 0, certificate)) as server:
        await HttpProbe(recorder).check(server.url(scheme="https"), OTHER.ca_bundle + SERVER.ca_bundle)
    assert recorder.cluster_errors == []


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        (answering(lambda _: {"response": {"uid": "other", "allowed": True}}), "HTTP 200, but not a response"),
        (answering(lambda r: {"response": {"uid": r["uid"], "allowed": False}}), "denied the deletion of a Pod"),
        (answering(lambda r: {"response": {"uid": r["uid"], "allowed": "yes"}}), "HTTP 200, but not a response"),
        (answering(lambda _: []), "HTTP 200, but not a response"),
        (answering(lambda _: {"response": None}), "HTTP 200, but not a response"),
        (answering(admit, 503), "HTTP 503, but not a response"),
        (quick, "HTTP 200, but not a response"),
    ],
)
async def test_another_answer_is_no_answer(app: ASGIApp, reason: str, certificate: ServingCertificate) -> None:
    recorder = FakeRecorder()
    async with running(Listener(app, HOST, 0, certificate)) as server:
        with pytest.raises(ProbeFailed, match=reason):
            await HttpProbe(recorder).check(server.url(scheme="https") + "secret", SERVER.ca_bundle)
    assert recorder.cluster_errors == [("probe", "probe_failed")]


async def test_a_denial_by_opa_is_an_answer_of_a_replica(certificate: ServingCertificate) -> None:
    recorder = FakeRecorder()
    denial = {"allowed": False, "auditAnnotations": {"verdict": "no_verdict", "hook": "anchore/admission"}}
    app = answering(lambda request: {"response": {"uid": request["uid"], **denial}})
    async with running(Listener(app, HOST, 0, certificate)) as server:
        await HttpProbe(recorder).check(server.url(scheme="https"), SERVER.ca_bundle)
    assert recorder.cluster_errors == []


@pytest.mark.parametrize("ca_bundle", [OTHER.ca_bundle, None, b"garbage"])
async def test_a_certificate_that_api_servers_would_not_trust_fails_the_probe(
    ca_bundle: bytes | None, certificate: ServingCertificate
) -> None:
    async with running(Listener(answering(admit), HOST, 0, certificate)) as server:
        with pytest.raises(ProbeFailed):
            await HttpProbe(FakeRecorder()).check(server.url(scheme="https"), ca_bundle)


@pytest.mark.parametrize("url", ["https://127.0.0.1:1/validate/secret", "https://no-such-host.invalid/secret"])
async def test_an_unreachable_address_is_reported_without_the_path(url: str) -> None:
    with pytest.raises(ProbeFailed) as caught:
        await HttpProbe(FakeRecorder()).check(url, SERVER.ca_bundle)
    assert str(caught.value).startswith(url.partition("/validate")[0].partition("/secret")[0])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("checked", [True, False])
async def test_a_replica_that_lets_in_api_servers_only_has_answered_by_asking_for_their_certificate(
    checked: bool, tmp_path: Path
) -> None:
    clients = tmp_path / "clients.crt"
    clients.write_bytes(OTHER.ca_bundle)
    certificate = ServingCertificate(written(tmp_path, SERVER.certificate, SERVER.key), clients)
    question = HttpProbe(FakeRecorder(), clients_are_checked=checked)
    async with running(Listener(answering(admit), HOST, 0, certificate)) as server:
        if checked:
            await question.check(server.url(scheme="https"), SERVER.ca_bundle)
            with pytest.raises(ProbeFailed):
                await question.check(server.url(scheme="https"), OTHER.ca_bundle)
        else:
            with pytest.raises(ProbeFailed):
                await question.check(server.url(scheme="https"), SERVER.ca_bundle)


async def test_the_question_is_a_review_that_judges_nothing(certificate: ServingCertificate) -> None:
    asked: list[dict[str, Any]] = []

    def keep(request: dict[str, Any]) -> object:
        asked.append(request)
        return admit(request)

    async with running(Listener(answering(keep), HOST, 0, certificate)) as server:
        await HttpProbe(FakeRecorder()).check(server.url(scheme="https"), SERVER.ca_bundle)
    envelope = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked[0]}
    review = decode(json.dumps(envelope).encode())
    assert (review.request.operation, review.request.dryRun) == ("DELETE", True)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            {
                "allowed": False,
                "status": {"status": "Failure", "code": 403, "message": "Image busybox fails"},
                "auditAnnotations": {"verdict": "deny"},
            },
            ProbeResponse(allowed=False, verdict="deny", message="Image busybox fails"),
        ),
        (
            {"allowed": True, "warnings": ["one", "two"], "auditAnnotations": {"verdict": "admit"}},
            ProbeResponse(allowed=True, verdict="admit", message="one; two"),
        ),
        ({"allowed": True}, ProbeResponse(allowed=True, verdict=None, message="")),
    ],
)
async def test_the_probe_reviews_a_pod_as_a_dry_run(
    answer: dict[str, Any], expected: ProbeResponse, certificate: ServingCertificate
) -> None:
    asked: list[dict[str, Any]] = []

    def keep(request: dict[str, Any]) -> object:
        asked.append(request)
        return {"response": {"uid": request["uid"], **answer}}

    async with running(Listener(answering(keep), HOST, 0, certificate)) as server:
        assert await probe_pod(server.url(scheme="https"), SERVER.ca_bundle, "busybox", "shop") == expected
    envelope = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked[0]}
    request = decode(json.dumps(envelope).encode()).request
    assert (request.operation, request.dryRun) == ("CREATE", True)
    assert (request.namespace, asked[0]["object"]["metadata"]["namespace"]) == ("shop", "shop")
    assert asked[0]["object"]["spec"]["containers"] == [{"name": "main", "image": "busybox"}]


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, PinningResponse("", "")),
        (
            {"auditAnnotations": {"pinned": "containers/main=sha256:1", "not-pinned": "a: b"}},
            PinningResponse("containers/main=sha256:1", "a: b"),
        ),
    ],
)
async def test_the_mutating_webhook_reviews_the_same_pod_for_as_long_as_an_api_server_waits(
    annotations: dict[str, Any], expected: PinningResponse, certificate: ServingCertificate
) -> None:
    asked: list[tuple[bytes, dict[str, Any]]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = json.loads((await receive())["body"])["request"]
        asked.append((scope["query_string"], request))
        answer = {"uid": request["uid"], "allowed": True, **annotations}
        await send_json(send, 200, json.dumps({"response": answer}).encode())

    async with running(Listener(app, HOST, 0, certificate)) as server:
        assert await probe_pinning(server.url(scheme="https"), SERVER.ca_bundle, "busybox", "shop") == expected
    ((query, request),) = asked
    assert (query, request["operation"], request["dryRun"]) == (b"timeout=3s", "CREATE", True)
    assert request["namespace"] == request["object"]["metadata"]["namespace"] == "shop"
    assert request["object"]["spec"]["containers"] == [{"name": "main", "image": "busybox"}]
