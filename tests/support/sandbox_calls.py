"""Calls to an in-process sandbox whose clock stands still until it is moved."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI

from anchore_admission.sandbox import Seed, create_sandbox
from support.fakes import ManualClock

START = 1_795_434_576.0
ADMIN = ("admin", "foobar")


@dataclass
class Sandbox:
    """A sandbox and a client for it; ``waited`` lists what slow calls would have slept."""

    seed: Mapping[str, Any] = field(default_factory=dict)
    clock: ManualClock = field(default_factory=lambda: ManualClock(START))
    waited: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.app: FastAPI = create_sandbox(Seed.model_validate(self.seed), clock=self.clock, sleep=self._sleep)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://sandbox")

    async def _sleep(self, seconds: float) -> None:
        self.waited.append(seconds)

    async def call(
        self, method: str, path: str, *, user: tuple[str, str] | None = ADMIN, **options: Any
    ) -> httpx.Response:
        auth = httpx.BasicAuth(*user) if user else None
        return await self.http.request(method, path, auth=auth, **options)

    async def get(self, path: str, **options: Any) -> Any:
        """The body of an answer that must be a 200."""
        answer = await self.call("GET", path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def add(self, tag: str, *, version: str = "v1", **params: str) -> Any:
        pull = {"v1": "pullstring", "v2": "pull_string"}[version]
        body = {"source": {"tag": {pull: tag}}}
        answer = await self.call("POST", f"/{version}/images", json=body, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()[0] if version == "v1" else answer.json()

    async def refused(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        """Status and message (or the problem's detail) of an answer that must not be a 2xx."""
        answer = await self.call(method, path, **options)
        assert answer.status_code >= 400, answer.text
        body = answer.json()
        return answer.status_code, body["message"] if "message" in body else body["detail"]
