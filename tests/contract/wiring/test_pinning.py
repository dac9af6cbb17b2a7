"""Both webhooks of replicas that are wired as ``serve`` does, over a sandbox."""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from anchore_admission.background import supervised
from anchore_admission.core.pins import PinResult
from anchore_admission.models.configuration import Configuration
from anchore_admission.wiring.controller import Controller, build
from support.builders import pod, review
from support.command_line import CREDENTIALS
from support.sandbox_server import sandbox_served
from support.webhook import Json, Webhook, app_over, caller, patched

APP = "registry.example.com/team/app:1"
SINGLE = "registry.example.com/team/single:1"
CHILD, LIST, ONLY = (f"sha256:{letter * 64}" for letter in "abc")
SEED: Json = {
    "images": [{"tag": APP, "digest": CHILD, "parentDigest": LIST}, {"tag": SINGLE, "digest": ONLY}],
    "registry": [{"tag": APP, "digest": CHILD, "parentDigest": LIST}, {"tag": SINGLE, "digest": ONLY}],
}


class Replica(Webhook):
    """A replica as it is served, without a fake in it."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.submissions = controller.submissions
        self.http = caller(app_over(controller))

    def pinned(self, result: PinResult) -> float:
        metrics = self.controller.telemetry.exposition(None)[0].decode()
        return float(metrics.partition(f'images_pinned_total{{result="{result}"}} ')[2].partition("\n")[0])


@pytest.fixture
def calls() -> Counter[str]:
    return Counter()


@pytest.fixture
def anchore(calls: Counter[str]) -> Iterator[str]:
    with sandbox_served(SEED, calls=calls) as url:
        yield url


@contextlib.asynccontextmanager
async def replicas(anchore: str, version: str, count: int = 1) -> AsyncIterator[list[Replica]]:
    settings: dict[str, Any] = {"anchore": {"endpoint": anchore, "apiVersion": version}}
    configuration = Configuration.model_validate({**settings, "defaults": {"mode": "strict", "pin": "required"}})
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            controller = build(configuration, environ=CREDENTIALS, serves=True)
            stack.push_async_callback(controller.aclose)
            await stack.enter_async_context(supervised("analysis requests", controller.submissions.run))
            found.append(Replica(controller))
        yield found


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_tags_become_the_digests_of_their_lists_which_are_judged_without_a_call(
    version: str, anchore: str, calls: Counter[str]
) -> None:
    body = pod(APP, SINGLE)
    async with replicas(anchore, version) as (replica,):
        result = patched(body, await replica.mutated(review(body)))
        asked = calls.total()
        verdict = await replica.judged(review(result))
        assert [container["image"] for container in result["spec"]["containers"]] == [
            f"{APP}@{LIST}",
            f"{SINGLE}@{ONLY}",
        ]
        assert verdict["allowed"] is True
        assert calls.total() == asked
        assert replica.pinned(PinResult.PINNED) == 2


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_another_replica_judges_the_pinned_pod_by_what_anchore_says(version: str, anchore: str) -> None:
    body = pod(APP, SINGLE)
    async with replicas(anchore, version, 2) as (first, second):
        unpinned = await second.judged(review(body))
        result = patched(body, await first.mutated(review(body)))
        assert (await second.judged(review(result)))["allowed"] is True
    assert unpinned["allowed"] is False
    assert "is not pinned to a digest, which rule defaults requires" in unpinned["status"]["message"]


async def test_a_digest_that_anchore_does_not_know_is_denied_by_whichever_replica(anchore: str) -> None:
    forged = pod(f"{APP}@sha256:{'d' * 64}")
    async with replicas(anchore, "v1", 2) as (first, second):
        await first.mutated(review(pod(APP)))
        for replica in (first, second):
            assert (await replica.mutated(review(forged)))["patch"] == []
            assert (await replica.judged(review(forged)))["allowed"] is False


async def test_an_update_keeps_the_digest_in_a_replica_that_knows_nothing(anchore: str, calls: Counter[str]) -> None:
    new, old = pod(APP), pod(f"{APP}@{LIST}")
    async with replicas(anchore, "v1") as (replica,):
        response = await replica.mutated(review(new, oldObject=old, operation="UPDATE"))
        assert patched(new, response) == old
        assert replica.pinned(PinResult.KEPT) == 1
    assert calls.total() == 0
