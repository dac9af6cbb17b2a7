"""Reviews that a real OPA decides with an example policy: wired as ``serve`` does, over a sandbox."""

import contextlib
import copy
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from anchore_admission.models.configuration import Configuration
from anchore_admission.models.examples import example_review
from anchore_admission.sandbox.default_policy import DEFAULT_POLICY
from anchore_admission.services.reviews import hooking
from anchore_admission.wiring.controller import Controller, build
from support.builders import pod
from support.command_line import CREDENTIALS
from support.hooks import OpaServer, started
from support.paths import DOCS
from support.sandbox_server import sandbox_served
from support.webhook import Json, app_over, caller

IMAGE = "registry.example.com/team/app:1"
EXAMPLES = DOCS / "examples" / "opa"
POLICIES = [EXAMPLES / "common.rego", EXAMPLES / "exposed.rego"]
EXPOSED = f"policy anchore/admission: image {IMAGE}: not allowed in a Pod that is in the host's network: CVE-2026-0001"
SLOW = """package anchore.admission

deny contains "slow" if {
	input.request.object.metadata.labels.slow
	some i in numbers.range(1, 100000)
	some j in numbers.range(1, 100000)
	i * j < 0
}
"""


@pytest.fixture
def anchore() -> Iterator[str]:
    """An Anchore whose policy warns of the image's one finding, and passes the image."""
    policy = copy.deepcopy(DEFAULT_POLICY)
    for rule in policy["policies"][0]["rules"]:
        rule["action"] = "WARN"
    finding = {"id": "CVE-2026-0001", "severity": "high", "package": "openssl"}
    images = [{"tag": IMAGE, "findings": [finding]}]
    policies = [{"account": "admin", "active": True, "policy": {**policy, "id": "warns"}}]
    with sandbox_served({"images": images, "policies": policies}) as url:
        yield url


@pytest.fixture
def opa(tmp_path: Path) -> Iterator[OpaServer]:
    with started(OpaServer(POLICIES, tmp_path / "opa.sock")) as server:
        yield server


@contextlib.asynccontextmanager
async def controller(anchore: str, opa: OpaServer, **more: Any) -> AsyncIterator[Controller]:
    # A machine that is busy with other tests may be slow to respond.
    section = {"url": opa.url, "timeout": "5s", **more}
    settings = {"anchore": {"endpoint": anchore}, "defaults": {"mode": "strict"}, "opa": section}
    built = build(Configuration.model_validate(settings), environ=CREDENTIALS, serves=True)
    try:
        yield built
    finally:
        await built.aclose()


async def response(built: Controller, labels: Json | None = None, **spec: Any) -> Json:
    metadata = {"name": "web", "namespace": "shop", "labels": labels or {}}
    review = example_review(pod(IMAGE, metadata=metadata, **spec))
    async with caller(app_over(built)) as webhook:
        answer = await webhook.post("/validate?timeout=20s", json=review)
    found: Json = answer.json()["response"]
    return found


def counted(built: Controller, outcome: str) -> bool:
    """Return whether exactly one decision with this outcome was counted."""
    line = f'anchore_admission_hook_decisions_total{{outcome="{outcome}"}} 1.0\n'
    return line in built.telemetry.exposition(None)[0].decode()


async def test_an_image_that_anchore_passes_is_denied_where_it_is_exposed(anchore: str, opa: OpaServer) -> None:
    async with controller(anchore, opa) as built:
        assert (await response(built))["allowed"]
        denied = await response(built, hostNetwork=True)
        assert (denied["allowed"], denied["status"]["message"]) == (False, EXPOSED)
        assert counted(built, "allowed")
        assert counted(built, "denied")


@pytest.mark.parametrize(
    ("on_error", "allowed", "warned"), [("deny", False, False), ("warn", True, True), ("allow", True, False)]
)
async def test_on_error_decides_while_opa_is_away(
    anchore: str, opa: OpaServer, on_error: str, allowed: bool, warned: bool
) -> None:
    async with controller(anchore, opa, onError=on_error) as built:
        opa.stop()
        found = await response(built, hostNetwork=True)
        assert (found["allowed"], bool(found.get("warnings"))) == (allowed, warned)
        assert counted(built, "hook_unavailable")
        opa.start()
        assert (await response(built, hostNetwork=True))["status"]["message"] == EXPOSED


async def test_an_opa_that_hangs_costs_its_timeout(anchore: str, opa: OpaServer) -> None:
    async with controller(anchore, opa, timeout="100ms") as built:
        opa.freeze()
        found = await response(built)
        assert not found["allowed"]
        assert found["status"]["message"].startswith("policy anchore/admission gave no decision: no response ")


async def test_an_object_that_takes_opa_too_long_is_denied_while_another_is_decided(
    anchore: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooking, "TRIAL_SECONDS", 10)  # for a machine that is busy with other tests
    policy = tmp_path / "slow.rego"
    policy.write_text(SLOW)
    with started(OpaServer([policy], tmp_path / "opa.sock")) as server:
        async with controller(anchore, server, timeout="1s", onError="allow") as built:
            found = await response(built, {"slow": "yes"})
            assert not found["allowed"]
            assert found["status"]["message"] == (
                "policy anchore/admission gave no decision: no response within 1 s about this object, but about others"
            )
            assert counted(built, "hook_failed")


async def test_an_opa_without_the_policy_admits_nothing(anchore: str, tmp_path: Path) -> None:
    with started(OpaServer([], tmp_path / "empty.sock")) as empty:
        async with controller(anchore, empty) as built:
            found = await response(built)
            assert not found["allowed"]
            assert "OPA has no policy anchore/admission: it is not loaded" in found["status"]["message"]
            assert counted(built, "hook_undefined")
