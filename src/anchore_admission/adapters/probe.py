"""Probe our own webhook the way an API server calls it: over TLS, trusting the published CA bundle, without a proxy."""

import asyncio
import json
import ssl
import uuid
from collections.abc import Mapping
from typing import Any, Final

import httpx

from anchore_admission.adapters.trust import trusting
from anchore_admission.core.webhook.entry import WebhookKind
from anchore_admission.errors import ClientCertificateWanted, ProbeFailed
from anchore_admission.models.examples import example_review
from anchore_admission.ports.cluster import PinningResponse, ProbeResponse
from anchore_admission.ports.telemetry import ClusterRecorder
from anchore_admission.redaction import cut

DELETION_SECONDS: Final = 5.0
POD_SECONDS: Final = 10.0
"""The chart's default of ``webhook.timeoutSeconds``, since the review may have to wait for Anchore."""
PINNING_SECONDS: Final = float(WebhookKind.MUTATING.timeout_seconds)
_REASON_LIMIT = 300
_HUNG_UP = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
"""The client's errors if a replica requires client certificates: in TLS 1.3, the server rejects a client without one
only after the client has finished its side of the handshake (RFC 8446, section 2)."""
_NAME = "anchore-admission-probe"


class HttpProbe:
    """Probes with the deletion of a Pod: a review without images, which every replica admits."""

    def __init__(self, recorder: ClusterRecorder, *, clients_are_checked: bool = False) -> None:
        self._recorder = recorder
        self._clients_are_checked = clients_are_checked

    async def check(self, url: str, ca_bundle: bytes | None) -> None:
        try:
            await probe_deletion(url, ca_bundle)
        except ClientCertificateWanted as error:
            if not self._clients_are_checked:
                self._fail(error)
        except ProbeFailed as error:
            self._fail(error)

    def _fail(self, error: ProbeFailed) -> None:
        self._recorder.cluster_error(operation="probe", code=error.code)
        raise error


async def probe_deletion(url: str, ca_bundle: bytes | None) -> None:
    """Send a review of a Pod's deletion. Raises ProbeFailed unless the webhook admits it.

    A denial counts if it names OPA, which may be asked about every request: its policy, or its absence, must not keep
    the webhook from being registered.
    """
    answer = await _post(url, ca_bundle, {"operation": "DELETE", "object": None, "oldObject": None}, DELETION_SECONDS)
    if answer["allowed"] is not True and "hook" not in (answer.get("auditAnnotations") or {}):
        raise ProbeFailed(f"{_place(url)}: denied the deletion of a Pod, which every replica admits")


async def probe_pod(url: str, ca_bundle: bytes | None, image: str, namespace: str) -> ProbeResponse:
    """Send a review of a Pod with this image, as a dry run: nothing is submitted to Anchore. Raises ProbeFailed."""
    answer = await _post(url, ca_bundle, _creation(image, namespace), POD_SECONDS)
    message = (answer.get("status") or {}).get("message") or "; ".join(answer.get("warnings") or ())
    verdict = (answer.get("auditAnnotations") or {}).get("verdict")
    return ProbeResponse(allowed=answer["allowed"], verdict=verdict, message=str(message))


async def probe_pinning(url: str, ca_bundle: bytes | None, image: str, namespace: str) -> PinningResponse:
    """Send the mutating webhook a review of a Pod with this image, as a dry run.

    Raises ProbeFailed unless it admits the Pod, as it always does, without a verdict, which only the validating webhook
    has.
    """
    answer = await _post(url, ca_bundle, _creation(image, namespace), PINNING_SECONDS)
    annotations = answer.get("auditAnnotations") or {}
    if "verdict" in annotations:
        raise ProbeFailed(f"{_place(url)}: gives a verdict, so that its path is that of the validating webhook")
    if answer["allowed"] is not True:
        raise ProbeFailed(f"{_place(url)}: denied a Pod, which the mutating webhook never does")
    return PinningResponse(*(str(annotations.get(key, "")) for key in ("pinned", "not-pinned")))


async def _post(url: str, ca_bundle: bytes | None, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Post an AdmissionReview and return the response to it. Raises ProbeFailed for any other response."""
    uid = str(uuid.uuid4())
    try:
        trust = trusting(cadata=ca_bundle.decode() if ca_bundle else None)
        async with (
            asyncio.timeout(seconds),  # in all: httpx bounds each step of a call
            httpx.AsyncClient(verify=trust, timeout=None, trust_env=False) as client,  # noqa: S113 - as above
        ):
            # API servers append their timeout to the address in the same way.
            response = await client.post(url, params={"timeout": f"{seconds:.0f}s"}, json=_review(uid, request))
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, TimeoutError, ValueError) as error:
        kind = ClientCertificateWanted if isinstance(error, _HUNG_UP) else ProbeFailed
        raise kind(f"{_place(url)}: {cut(_reason(error, seconds), _REASON_LIMIT)}") from error
    try:
        answer: dict[str, Any] = response.json()["response"]
        # API servers, too, reject a response whose uid is not that of the request.
        expected = response.status_code == httpx.codes.OK and answer["uid"] == uid
        if expected and isinstance(answer["allowed"], bool):
            return answer
    except (json.JSONDecodeError, LookupError, TypeError, UnicodeDecodeError):
        pass
    raise ProbeFailed(f"{_place(url)}: HTTP {response.status_code}, but not a response of this controller")


def _reason(error: Exception, seconds: float) -> str:
    """Return the first text among the error and its causes, or its type if none has a text."""
    if isinstance(error, TimeoutError):
        return f"no response within {seconds:g} seconds"
    cause: BaseException | None = error
    while cause:
        if str(cause):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def _place(url: str) -> str:
    """Return the address without its path, which may be a secret."""
    parsed = httpx.URL(url)
    return f"{parsed.scheme}://{parsed.netloc.decode()}"


def _review(uid: str, request: Mapping[str, Any]) -> dict[str, Any]:
    user = {"username": "anchore-admission", "groups": ["system:authenticated"]}
    about = {"uid": uid, "name": _NAME, "namespace": _NAME, "userInfo": user, "dryRun": True}
    return example_review(None, **{**about, **request})


def _creation(image: str, namespace: str) -> dict[str, Any]:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": _NAME, "namespace": namespace},
        "spec": {"containers": [{"name": "main", "image": image}]},
    }
    return {"operation": "CREATE", "namespace": namespace, "object": pod}
