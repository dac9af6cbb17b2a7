"""An API server that verifies tokens, for the real client."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from anchore_admission.adapters.kubernetes_tokens import ApiTokens

AUDIENCE = "facts.example.com"
KYVERNO = "system:serviceaccount:kyverno:kyverno-admission-controller"
OTHER = "system:serviceaccount:default:default"
_PATH = "/apis/authentication.k8s.io/v1/tokenreviews"


@dataclass
class TokenApi:
    """Tokens with their users and audiences; ``broken`` answers in place of the API, and ``held`` delays answers."""

    tokens: dict[str, tuple[str, Sequence[str] | None]] = field(default_factory=dict)
    broken: httpx2.Response | Exception | None = None
    held: asyncio.Event | None = None
    asked: list[str] = field(default_factory=list)

    def put(self, token: str, user: str = KYVERNO, audiences: Sequence[str] | None = (AUDIENCE,)) -> bytes:
        self.tokens[token] = (user, audiences)
        return token.encode()

    def source(self, seconds: float = 2.0) -> ApiTokens:
        client = httpx2.AsyncClient(base_url="https://api", transport=httpx2.MockTransport(self._answer))
        return ApiTokens(client, seconds=seconds)

    def answer(self, method: str, path: str, review: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and body of the answer to a request."""
        assert (method, path) == ("POST", _PATH)
        assert (review["apiVersion"], review["kind"]) == ("authentication.k8s.io/v1", "TokenReview")
        token, wanted = review["spec"]["token"], review["spec"]["audiences"]
        self.asked.append(token)
        return 201, {**review, "status": self._status(token, wanted)}

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        status, document = self.answer(request.method, request.url.path, json.loads(request.content))
        if self.held:
            await self.held.wait()
        if isinstance(self.broken, Exception):
            raise self.broken
        return self.broken or httpx2.Response(status, json=document)

    def _status(self, token: str, wanted: list[str]) -> dict[str, Any]:
        """What kube-apiserver answers: a token without one of the wanted audiences is not valid."""
        user, audiences = self.tokens.get(token, ("", ()))
        if not user:
            return {"user": {}, "error": "[invalid bearer token, token lookup failed]"}
        if audiences is None:  # by an authenticator that knows no audiences
            return {"authenticated": True, "user": {"username": user}}
        common = [audience for audience in wanted if audience in audiences]
        if not common:
            return {"user": {}, "error": f"[invalid bearer token, token audiences {audiences!r} is invalid]"}
        return {"authenticated": True, "user": {"username": user, "groups": ["g"]}, "audiences": common}
