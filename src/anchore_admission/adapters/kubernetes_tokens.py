"""Tokens that the API server verifies (TokenReview); imported only if callers may send such tokens."""

import asyncio
from typing import Final

import httpx2
import msgspec
from lightkube.core.exceptions import ConfigError

from anchore_admission.adapters.kubeconfig import access
from anchore_admission.adapters.kubernetes import ERRORS, REACH
from anchore_admission.errors import ClusterError, ClusterForbidden, ClusterResponseInvalid, ClusterUnavailable
from anchore_admission.ports.tokens import TokenOwner
from anchore_admission.redaction import REDACTED, cut

CALL_SECONDS: Final = 1.7
"""Limit of a call: a policy engine waits for the answer about 2 seconds, and the API server waits for the engine."""
_PATH: Final = "apis/authentication.k8s.io/v1/tokenreviews"
_MOST: Final = 256 * 1024
"""Bytes of a response, which repeats the token and may name many groups."""
_MAX_REASON: Final = 500
_RIGHTS: Final = "; its ServiceAccount needs create of tokenreviews.authentication.k8s.io, as system:auth-delegator has"
_CREATED: Final = frozenset({httpx2.codes.OK, httpx2.codes.CREATED})


class _User(msgspec.Struct):
    username: str = ""


class _Status(msgspec.Struct):
    authenticated: bool = False
    user: _User = msgspec.field(default_factory=_User)
    audiences: list[str] | None = None
    error: str | None = None


class _Review(msgspec.Struct):
    status: _Status


class _Failure(msgspec.Struct):
    message: str = ""


_read_review = msgspec.json.Decoder(_Review).decode
_read_failure = msgspec.json.Decoder(_Failure).decode


class ApiTokens:
    """The ``TokenReviewer`` of an API server."""

    def __init__(self, client: httpx2.AsyncClient, *, seconds: float = CALL_SECONDS) -> None:
        self._client = client
        self._seconds = seconds

    async def review(self, token: str, audience: str) -> TokenOwner:
        question = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience]},
        }
        try:
            async with asyncio.timeout(self._seconds):
                status, body = await self._sent(msgspec.json.encode(question))
            if status not in _CREATED:
                raise _failure(status, body, token)
            found = _read_review(body).status
        except msgspec.MsgspecError as error:
            raise ClusterResponseInvalid("a response that is no TokenReview") from error
        except ConfigError as error:
            raise ClusterForbidden(cut(str(error), _MAX_REASON)) from error
        except TimeoutError as error:
            raise ClusterUnavailable(f"no response from the API server within {self._seconds:g} s{REACH}") from error
        except (httpx2.HTTPError, OSError) as error:
            raise ClusterUnavailable(f"{cut(str(error) or type(error).__name__, _MAX_REASON)}{REACH}") from error
        if not found.authenticated:
            return TokenOwner("")
        if found.error:
            # Contradicts itself: Kubernetes defines the error as "the token couldn't be checked".
            raise ClusterResponseInvalid(
                f"a TokenReview that is authenticated and failed at once: {_reason(found.error, token)}"
            )
        return TokenOwner(found.user.username, tuple(found.audiences or ()))

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _sent(self, content: bytes) -> tuple[int, bytes]:
        request = self._client.build_request(
            "POST",
            _PATH,
            content=content,
            headers={"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"},
        )
        response = await self._client.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _MOST:
                    raise ClusterResponseInvalid(f"a response of more than {_MOST} bytes")
            return response.status_code, bytes(body)
        finally:
            await response.aclose()


def connect_tokens(context: str | None = None) -> ApiTokens:
    """Connect by the Pod's service account, else by KUBECONFIG. Raises ConfigurationError without either."""
    with access(context) as found:
        transport = httpx2.AsyncHTTPTransport(verify=found.verify)
        return ApiTokens(httpx2.AsyncClient(base_url=found.address, auth=found.auth, transport=transport))


def _failure(status: int, body: bytes, token: str) -> ClusterError:
    try:
        why = _reason(_read_failure(body).message, token)
    except msgspec.MsgspecError:
        why = ""
    kind = ERRORS.get(status, ClusterUnavailable)
    return kind(f"{status}: {why}{_RIGHTS if kind is ClusterForbidden else ''}")


def _reason(text: str, token: str) -> str:
    """Return a text of the API server without the token: policies of the cluster may repeat what they judge."""
    return cut(text.replace(token, REDACTED), _MAX_REASON)
