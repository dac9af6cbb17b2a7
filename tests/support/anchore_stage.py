"""One small world that every implementation of the port ``Anchore`` is tested in.

An implementation joins the contract by offering a ``Stage``: the adapters do so over the sandbox, and so does the fake
that the tests of the services rely on.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from anchore_admission.adapters.anchore import Credentials, DetectingAnchore
from anchore_admission.core.facts import AnalysisState, Finding, PolicyEvaluation, PolicyReason
from anchore_admission.errors import (
    AnalysisRefused,
    AnchoreRefused,
    AnchoreResponseInvalid,
    AnchoreUnavailable,
    PolicyNotEvaluated,
)
from anchore_admission.models.configuration import ApiVersion
from anchore_admission.ports.anchore import Anchore
from anchore_admission.sandbox import Seed, create_sandbox
from support.anchore_calls import client, deadline
from support.fakes import OPERATIONS, FakeAnchore, ManualClock, digest_of

REPOSITORY = "registry.example.com/shop"
GOOD, GOOD_TOO, BAD, WARNED, PENDING, FAILED, MULTI, MOVED, NEW, PRIVATE, ABSENT = (
    f"{REPOSITORY}/{image}"
    for image in (
        "good:1",
        "good:stable",
        "bad:1",
        "warned:1",
        "pending:1",
        "failed:1",
        "multi:1",
        "moved:latest",
        "new:1",
        "private:1",
        "absent:1",
    )
)
SHORT = "docker.io/tool:1"


GOOD_DIGEST, BAD_DIGEST, MULTI_DIGEST, LIST_DIGEST, FIRST_DIGEST, SECOND_DIGEST, NEW_DIGEST, NO_DIGEST = (
    digest_of(name) for name in ("good", "bad", "multi", "list", "first", "second", "new", "nothing")
)


class Part(StrEnum):
    """Kinds of failure that a stage can cause."""

    POLICY_ENGINE = "policyEngineDown"
    CATALOG = "catalogDown"
    DATABASE = "databaseDown"
    LOGIN_PROXY = "html"
    EVERYTHING = "fail"
    TIME = "hang"


class Stage(Protocol):
    """An Anchore with ``IMAGES`` and ``POLICIES``, called by an authorized user."""

    @property
    def anchore(self) -> Anchore: ...

    @property
    def stranger(self) -> Anchore:
        """Return the same Anchore with a wrong password."""

    def pass_time(self) -> None:
        """Let the time of an analysis pass."""

    async def break_down(self, part: Part) -> None:
        """Fail every call from now on."""

    async def change_policy(self, name: str, *, active: bool = False) -> None:
        """Change a policy, a second later than everything before; make it the active one if wanted."""


def policy(name: str, action: str = "STOP", **changed: Any) -> dict[str, Any]:
    """A policy that acts on vulnerabilities of severity high and above."""
    params = {"package_type": "all", "severity_comparison": ">=", "severity": "high"}
    rule = {
        "id": "r1",
        "gate": "vulnerabilities",
        "trigger": "package",
        "action": action,
        "params": [{"name": key, "value": value} for key, value in params.items()],
    }
    mapping = {"id": "m1", "name": "all", "registry": "*", "repository": "*", "image": {"type": "tag", "value": "*"}}
    return {
        "id": name,
        "name": name,
        "version": "1_0",
        "policies": [{"id": "p1", "name": "p1", "version": "1_0", "rules": [rule]}],
        "whitelists": [],
        "whitelisted_images": [],
        "blacklisted_images": [],
        "mappings": [mapping | {"policy_ids": ["p1"], "whitelist_ids": []}],
        **changed,
    }


def listed(name: str) -> dict[str, Any]:
    image = {"type": "tag", "value": "1"}
    return {"id": name, "name": name, "registry": "*", "repository": "shop/*", "image": image}


CVE = {"id": "CVE-2026-0001", "severity": "critical", "package": "openssl", "version": "1.0", "fix": "1.1"}
ELSEWHERE = {"id": "m1", "name": "other", "registry": "other.example.com", "repository": "*"}
POLICIES: list[dict[str, Any]] = [
    {"policy": policy("strict"), "active": True},
    {"policy": policy("lenient", "WARN")},
    {"policy": policy("blessing", whitelisted_images=[listed("blessed")])},
    {"policy": policy("banning", blacklisted_images=[listed("banned")])},
    {
        "policy": policy(
            "elsewhere",
            mappings=[ELSEWHERE | {"image": {"type": "tag", "value": "*"}, "policy_ids": ["p1"], "whitelist_ids": []}],
        )
    },
]
IMAGES: list[dict[str, Any]] = [
    {"tag": [GOOD, GOOD_TOO, SHORT], "digest": GOOD_DIGEST},
    {"tag": BAD, "digest": BAD_DIGEST, "findings": [CVE]},
    {"tag": PENDING, "state": "analyzing"},
    {"tag": FAILED, "state": "analysis_failed"},
    {"tag": MULTI, "digest": MULTI_DIGEST, "parentDigest": LIST_DIGEST},
    {"tag": MOVED, "digest": FIRST_DIGEST},
]
REGISTRY: list[dict[str, Any]] = [
    {"tag": MOVED, "digest": SECOND_DIGEST},
    {"tag": NEW, "digest": NEW_DIGEST},
    {"tag": f"{REPOSITORY}/good:2", "digest": SECOND_DIGEST},
    {"tag": PRIVATE, "error": "REGISTRY_PERMISSION_DENIED"},
]


@dataclass
class SandboxStage:
    anchore: DetectingAnchore
    stranger: DetectingAnchore
    app: FastAPI
    clock: ManualClock

    def pass_time(self) -> None:
        self.clock.now += 60

    async def break_down(self, part: Part) -> None:
        async with self._control() as control:
            answer = await control.put("/sandbox/faults", json=[{"mode": part.value}])
            answer.raise_for_status()

    async def change_policy(self, name: str, *, active: bool = False) -> None:
        self.clock.now += 1
        version = await self.anchore.detect(deadline())
        path = f"/{version}/policies/{name}"
        async with self._control() as control:
            shown = (await control.get(path)).json()
            record = shown[0] if isinstance(shown, list) else shown
            document = record["policybundle" if version is ApiVersion.V1 else "policy"]
            document["mappings"][0]["name"] += "-changed"
            answer = await control.put(path, params={"active": str(active).lower()}, json=record)
            answer.raise_for_status()

    def _control(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://sandbox", auth=("admin", "foobar"))


async def _for_ever(_: float) -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def _sandbox(
    version: ApiVersion, spoken: tuple[str, ...], messages: Mapping[str, str] | None = None
) -> AsyncIterator[Stage]:
    world = {"images": IMAGES, "registry": REGISTRY, "policies": POLICIES, "unknownImages": "refuse"}
    seed = Seed.model_validate({"apiVersions": spoken, "messages": messages or {}, **world})
    clock = ManualClock(1_700_000_000.0)
    app = create_sandbox(seed, clock=clock, sleep=_for_ever)

    def as_user(password: str) -> DetectingAnchore:
        user = Credentials("admin", SecretStr(password))
        return client(httpx.ASGITransport(app), version, url="http://sandbox", credentials=user)

    stage = SandboxStage(as_user("foobar"), as_user("wrong"), app, clock)
    try:
        yield stage
    finally:
        await stage.anchore.aclose()
        await stage.stranger.aclose()


@dataclass
class FakeStage:
    """The world of ``IMAGES`` and ``POLICIES`` as tests of the services would set it up."""

    anchore: FakeAnchore
    stranger: FakeAnchore

    def pass_time(self) -> None:
        self.anchore.finish_analysis()

    async def break_down(self, part: Part) -> None:
        match part:
            case Part.TIME:
                for operation in OPERATIONS:
                    self.anchore.hang(operation)
            case Part.POLICY_ENGINE:
                self.anchore.fail("check", PolicyNotEvaluated("the policy engine is down"))
            case Part.CATALOG | Part.EVERYTHING:
                self.anchore.fail_all(AnchoreUnavailable("503"))
            case Part.DATABASE:
                self.anchore.fail_all(AnchoreRefused("500"))
            case Part.LOGIN_PROXY:
                self.anchore.fail_all(AnchoreResponseInvalid("not JSON"))

    async def change_policy(self, name: str, *, active: bool = False) -> None:
        self.anchore.change_policy(name, active=active)


@asynccontextmanager
async def _fake() -> AsyncIterator[Stage]:
    anchore = FakeAnchore(
        active_policy="strict",
        policy_changes=dict.fromkeys(("strict", "lenient", "blessing", "banning", "elsewhere"), 0),
        registry={MOVED: SECOND_DIGEST, NEW: NEW_DIGEST, f"{REPOSITORY}/good:2": SECOND_DIGEST},
    )
    for tag in (GOOD, GOOD_TOO, SHORT):
        anchore.store(tag, digest=GOOD_DIGEST)
    anchore.store(BAD, digest=BAD_DIGEST)
    anchore.store(PENDING, AnalysisState.ANALYZING)
    anchore.store(FAILED, AnalysisState.FAILED)
    anchore.store(MULTI, digest=MULTI_DIGEST, parent_digest=LIST_DIGEST)
    anchore.store(MOVED, digest=FIRST_DIGEST)
    stopped = Finding("vulnerabilities", "package", "CVE-2026-0001+openssl", "CRITICAL Vulnerability found in openssl")
    blessed = PolicyEvaluation(True, "blessing", reason=PolicyReason.ALLOWLISTED, list_rule="blessed")
    banned = PolicyEvaluation(False, "banning", reason=PolicyReason.DENYLISTED, list_rule="banned")
    anchore.evaluate(BAD_DIGEST, PolicyEvaluation(False, "strict", findings=(stopped,)), "strict")
    anchore.evaluate(BAD_DIGEST, blessed, "blessing")
    anchore.evaluate(GOOD_DIGEST, banned, "banning")
    anchore.evaluate(BAD_DIGEST, PolicyEvaluation(True, "elsewhere", mapped=False), "elsewhere")
    outside = "other.example.com/any:1"
    anchore.evaluate(BAD_DIGEST, PolicyEvaluation(False, "elsewhere", findings=(stopped,)), "elsewhere", tag=outside)
    for tag, reason in ((PRIVATE, "registry needs credentials"), (ABSENT, "not found in the registry")):
        anchore.fail("submit", AnalysisRefused(f"Anchore cannot pull it: {reason}"), subject=tag)
    stranger = FakeAnchore()
    stranger.fail_all(AnchoreRefused("Anchore refuses our credentials (401)"))
    yield FakeStage(anchore, stranger)


# API v2 promises no words for a 404, and an adapter that reads the sandbox's own would prove itself
OTHER_WORDS = {"imageNotFound": "No such resource in this account", "notAnalyzed": "Evaluation is not available"}
Opening = Callable[[], AbstractAsyncContextManager[Stage]]
STAGES: dict[str, Opening] = {
    "the fake": _fake,
    "v1 over the sandbox": lambda: _sandbox(ApiVersion.V1, ("v1",)),
    "v2 over the sandbox": lambda: _sandbox(ApiVersion.V2, ("v2",)),
    "v2 in other words": lambda: _sandbox(ApiVersion.V2, ("v2",), OTHER_WORDS),
    "v1 detected": lambda: _sandbox(ApiVersion.AUTO, ("v1",)),
    "v2 detected": lambda: _sandbox(ApiVersion.AUTO, ("v2",)),
    "v2 preferred": lambda: _sandbox(ApiVersion.AUTO, ("v1", "v2")),
}
