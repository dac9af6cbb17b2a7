"""Asks the webhook a question the way an API server does: over TLS, through its Service, trusting what is published."""

import asyncio
import json
import ssl
import uuid
from typing import Any, Final

import httpx

from anchore_admission.adapters.redaction import cut
from anchore_admission.adapters.trust import trusting
from anchore_admission.errors import ProbeFailed
from anchore_admission.ports.telemetry import ClusterRecorder

ANSWER_SECONDS: Final = 5.0
_REASON_LIMIT = 300
_HUNG_UP = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
"""What a replica does, after it has shown its own certificate, to a client without the one that API servers have."""


class HttpProbe:
    """Asks about the deletion of a Pod: a question that judges no image and that every replica answers by admitting."""

    def __init__(self, recorder: ClusterRecorder, *, clients_are_checked: bool = False) -> None:
        self._recorder = recorder
        self._clients_are_checked = clients_are_checked

    async def check(self, url: str, ca_bundle: bytes | None) -> None:
        try:
            await self._ask(url, ca_bundle)
        except ProbeFailed as error:
            self._recorder.cluster_error(operation="self_question", code=error.code)
            raise

    async def _ask(self, url: str, ca_bundle: bytes | None) -> None:
        uid = str(uuid.uuid4())
        try:
            trust = trusting(cadata=ca_bundle.decode() if ca_bundle else None)
            async with (
                asyncio.timeout(ANSWER_SECONDS),  # in all: httpx bounds each step of a call
                httpx.AsyncClient(verify=trust, timeout=None, trust_env=False) as client,  # noqa: S113 - as above
            ):
                answer = await client.post(url, params={"timeout": f"{ANSWER_SECONDS:.0f}s"}, json=_review(uid))
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, TimeoutError, ValueError) as error:
            if self._clients_are_checked and isinstance(error, _HUNG_UP):
                return
            raise ProbeFailed(f"{_place(url)}: {cut(_reason(error), _REASON_LIMIT)}") from error
        if not _is_expected(answer, uid):
            raise ProbeFailed(f"{_place(url)}: HTTP {answer.status_code} is not the answer of this controller")


def _reason(error: Exception) -> str:
    """The first text among the error and what led to it; its kind if all are without words."""
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_SECONDS:g} seconds"
    cause: BaseException | None = error
    while cause:
        if str(cause):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def _place(url: str) -> str:
    """Without the path, which may be a secret."""
    parsed = httpx.URL(url)
    return f"{parsed.scheme}://{parsed.netloc.decode()}"


def _is_expected(answer: httpx.Response, uid: str) -> bool:
    try:
        response = answer.json()["response"]
        return answer.status_code == httpx.codes.OK and response["uid"] == uid and response["allowed"] is True
    except (json.JSONDecodeError, LookupError, TypeError, UnicodeDecodeError):
        return False


def _review(uid: str) -> dict[str, Any]:
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "DELETE",
            "name": "self-question",
            "namespace": "default",
            "userInfo": {"username": "anchore-admission"},
            "object": None,
            "oldObject": None,
            "dryRun": True,
        },
    }
