from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from anchore_admission.background import supervised
from anchore_admission.cli.demo_data import POLICY, SEED, configuration
from anchore_admission.models.configuration import Configuration
from anchore_admission.models.examples import example_pod, example_review
from anchore_admission.wiring.controller import build
from support.command_line import CREDENTIALS
from support.sandbox_server import sandbox_served
from support.webhook import app_over, caller

Json = dict[str, Any]
LOW = {"id": "CVE-2016-2781", "severity": "low", "package": "coreutils", "version": "8.32-4", "fix": None}
ADMIN = ("admin", "foobar")
TAG = "docker.io/ubuntu:latest"


@pytest.fixture
def sandbox() -> Iterator[str]:
    """An Anchore with the policy of the original walk-through; it analyzes at once and finds a low severity."""
    registry = [{"tag": TAG, "findings": [LOW]}]
    with sandbox_served({**SEED, "analysisTime": 0, "images": [], "registry": registry}) as url:
        yield url


@pytest.fixture(params=["v1", "v2", "auto"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def webhook(sandbox: str, version: str) -> AsyncIterator[httpx.AsyncClient]:
    settings = configuration(sandbox)
    settings["anchore"]["apiVersion"] = version
    settings["passive"] = {"wait": 60}
    controller = build(Configuration.model_validate(settings), environ=CREDENTIALS)
    async with aclosing(controller), supervised("analysis requests", controller.submissions.run):
        yield caller(app_over(controller))


async def judged(webhook: httpx.AsyncClient, namespace: str) -> Json:
    answer = await webhook.post(
        "/validate?timeout=30s", json=example_review(example_pod("ubuntu", namespace=namespace))
    )
    assert answer.status_code == 200
    response: Json = answer.json()["response"]
    return response


async def held(sandbox: str, path: str) -> Any:
    async with httpx.AsyncClient(base_url=sandbox, auth=ADMIN) as anchore:
        answer = await anchore.get(path)
    assert answer.status_code == 200
    return answer.json()


async def test_passive_admits_and_submits_then_strict_denies_the_findings(
    sandbox: str, webhook: httpx.AsyncClient
) -> None:
    assert await held(sandbox, "/v1/images") == []

    passive = await judged(webhook, "passive")
    (image,) = await held(sandbox, "/v1/images")
    digest = image["imageDigest"]
    message = f"Image analysis for image ubuntu requested and found mapped to digest {digest}"
    assert passive["allowed"] is True
    assert passive["status"] == {"status": "Success", "code": 200, "message": message}
    assert passive["warnings"] == [message]
    assert [detail["fulltag"] for detail in image["image_detail"]] == [TAG]
    assert image["annotations"] == {"requestor": "anchore-admission-controller"}
    (same,) = (await held(sandbox, "/v2/images"))["items"]
    assert same["annotations"] == {"requestor": "anchore-admission-controller"}

    strict = await judged(webhook, "strict")
    assert strict["allowed"] is False
    assert strict["status"]["code"] == 403
    assert strict["status"]["message"].splitlines() == [
        f"Image ubuntu with digest {digest} failed policy checks for policy bundle {POLICY}",
        "  LOW CVE-2016-2781 in coreutils, no fix yet",
    ]


async def test_strict_submits_unknown_images(webhook: httpx.AsyncClient) -> None:
    refused = await judged(webhook, "strict")
    assert refused["allowed"] is False
    assert refused["status"]["message"] == (
        "Image ubuntu is not analyzed. Cannot evaluate policy. Analysis was requested: try again in a few minutes"
    )


async def test_a_manual_review_leaves_no_trace_in_anchore(sandbox: str, webhook: httpx.AsyncClient) -> None:
    for namespace in ("passive", "strict", "analysis"):
        answer = await webhook.post(f"/review?namespace={namespace}", json=["ubuntu"])
        assert answer.status_code == 200
        assert answer.json()["allowed"] is (namespace == "passive")
    assert await held(sandbox, "/v1/images") == []
