"""Replicas that share a store: wired as ``serve`` does, over a sandbox and a real server."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from anchore_admission.background import supervised
from anchore_admission.models.configuration import Configuration
from anchore_admission.models.examples import example_review
from anchore_admission.wiring.controller import Controller, build
from support.builders import pod
from support.command_line import CREDENTIALS
from support.listening import HOST
from support.sandbox_server import sandbox_served
from support.stores import StoreServer, started
from support.webhook import Json, app_over, caller

IMAGES = [f"registry.example.com/team/app-{number}:1" for number in range(3)]
FAILING, UNKNOWN = "registry.example.com/team/fails:1", "registry.example.com/team/unknown:1"
CALLS = re.compile(r'^anchore_admission_anchore_calls_total\{.*operation="(by_tag|check)".*\} ([0-9.]+)$', re.MULTILINE)
LOOKUPS = r'^anchore_admission_store_lookups_total\{{outcome="{}"\}} ([0-9.]+)$'


@dataclass
class Replica:
    controller: Controller

    async def judged(self, *images: str, dry_run: bool = False) -> Json:
        review = example_review(pod(*images, metadata={"name": "web", "namespace": "shop"}), dryRun=dry_run)
        async with caller(app_over(self.controller)) as webhook:
            answer = await webhook.post("/validate?timeout=30s", json=review)
        response: Json = answer.json()["response"]
        return response

    @property
    def calls(self) -> int:
        """The questions to Anchore about images."""
        return sum(int(float(count)) for _, count in CALLS.findall(self.metrics))

    def lookups(self, outcome: str) -> int:
        return sum(int(float(count)) for count in re.findall(LOOKUPS.format(outcome), self.metrics, re.MULTILINE))

    @property
    def metrics(self) -> str:
        return self.controller.telemetry.exposition(None)[0].decode()

    async def stored(self, count: int) -> None:
        """Wait until this replica has stored so many answers."""
        while f'store_puts_total{{outcome="stored"}} {count}.0' not in self.metrics:  # noqa: ASYNC110 - a metric has no event
            await asyncio.sleep(0)


@pytest.fixture
def anchore() -> Iterator[str]:
    failing = {"tag": FAILING, "findings": [{"id": "CVE-2026-0001", "severity": "High", "package": "openssl"}]}
    with sandbox_served({"images": [*({"tag": image} for image in IMAGES), failing]}) as url:
        yield url


@pytest.fixture
def server() -> Iterator[StoreServer]:
    with started(StoreServer()) as running:
        yield running


@contextlib.asynccontextmanager
async def replicas(anchore: str, server: StoreServer, keys: Sequence[Path]) -> AsyncIterator[list[Replica]]:
    """One replica for each directory with a seal key."""
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for directory in keys:
            store = {"url": f"redis://{HOST}:{server.port}", "clusterName": "a/b", "keyDirectory": str(directory)}
            # A machine that is busy with other tests may be slow to respond.
            store["timeout"] = "1s"
            settings = {"anchore": {"endpoint": anchore}, "defaults": {"mode": "strict", "requestAnalysis": False}}
            configuration = Configuration.model_validate({**settings, "sharedStore": store})
            controller = build(configuration, environ=CREDENTIALS, serves=True)
            stack.push_async_callback(controller.aclose)
            assert controller.shared
            await stack.enter_async_context(supervised("the shared store", controller.shared.store.run))
            found.append(Replica(controller))
        yield found


def key(folder: Path, name: str = "key") -> Path:
    directory = folder / name
    directory.mkdir()
    (directory / "current").write_text(name * 20)
    return directory


async def test_what_one_replica_has_asked_the_others_need_not(
    anchore: str, server: StoreServer, tmp_path: Path
) -> None:
    async with replicas(anchore, server, [key(tmp_path)] * 3) as (first, second, third):
        assert (await first.judged(*IMAGES))["allowed"]
        assert first.calls == 2 * len(IMAGES)
        await first.stored(2 * len(IMAGES))
        for other in (second, third):
            assert (await other.judged(*IMAGES))["allowed"]
            assert other.calls == 0
            assert other.lookups("hit") == 2 * len(IMAGES)


async def test_a_failed_policy_is_shared_and_an_unknown_image_is_not(
    anchore: str, server: StoreServer, tmp_path: Path
) -> None:
    async with replicas(anchore, server, [key(tmp_path)] * 2) as (first, second):
        message = (await first.judged(FAILING))["status"]["message"]
        assert "CVE-2026-0001" in message
        await first.stored(2)
        assert (await second.judged(FAILING))["status"]["message"] == message
        assert second.calls == 0
        assert not (await first.judged(UNKNOWN))["allowed"]
        assert not (await second.judged(UNKNOWN))["allowed"]
        assert second.calls == 1


async def test_a_dry_run_stores_nothing(anchore: str, server: StoreServer, tmp_path: Path) -> None:
    async with replicas(anchore, server, [key(tmp_path)] * 2) as (first, second):
        assert (await first.judged(*IMAGES, dry_run=True))["allowed"]
        assert (await second.judged(*IMAGES))["allowed"]
        assert second.calls == 2 * len(IMAGES)
        await second.stored(2 * len(IMAGES))
        keys = server.command("KEYS", "*")
        assert len([key for key in keys if b":claim:" not in key]) == 2 * len(IMAGES)


async def test_entries_of_another_seal_key_are_not_used(anchore: str, server: StoreServer, tmp_path: Path) -> None:
    async with replicas(anchore, server, [key(tmp_path, "one"), key(tmp_path, "two")]) as (first, second):
        assert (await first.judged(*IMAGES))["allowed"]
        await first.stored(2 * len(IMAGES))
        assert (await second.judged(*IMAGES))["allowed"]
        assert second.calls == 2 * len(IMAGES)
        assert second.lookups("invalid") == 2 * len(IMAGES)


async def test_a_store_that_is_gone_changes_no_verdict(anchore: str, server: StoreServer, tmp_path: Path) -> None:
    async with replicas(anchore, server, [key(tmp_path)] * 2) as (first, second):
        assert (await first.judged(*IMAGES))["allowed"]
        server.stop()
        assert (await second.judged(*IMAGES))["allowed"]
        assert second.calls == 2 * len(IMAGES)


def test_a_command_does_not_use_the_store(anchore: str, tmp_path: Path) -> None:
    store = {"url": f"redis://{HOST}", "clusterName": "a/b", "keyDirectory": str(tmp_path / "absent")}
    settings = {"anchore": {"endpoint": anchore}, "sharedStore": store}
    assert build(Configuration.model_validate(settings), environ=CREDENTIALS).shared is None
