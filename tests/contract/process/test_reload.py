"""The controller as ``serve`` runs it, while its configuration changes."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.builders import pod, review
from support.serving import Serving, serving
from support.webhook import JSON

ANCHORE = {"endpoint": "http://127.0.0.1:1"}

pytestmark = pytest.mark.process


class Mount:
    """A mounted ConfigMap: the kubelet writes each version to a folder of its own and swaps a symbolic link."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._versions = 0
        self.file = folder / "configuration.yaml"
        self.file.symlink_to("..data/configuration.yaml")

    def swap(self, text: str) -> None:
        self._versions += 1
        version = self._folder / f"..{self._versions}"
        version.mkdir()
        (version / "configuration.yaml").write_text(text)
        link = self._folder / "..data_tmp"
        link.symlink_to(version.name)
        link.replace(self._folder / "..data")


def configuration(mode: str, **more: Any) -> str:
    """A configuration that denies everything (an Anchore that never responds), or skips it."""
    return json.dumps({"anchore": ANCHORE, "defaults": {"mode": mode}, **more})


@dataclass
class Running(Serving):
    """A controller that follows its configuration."""

    def wait_for(self, text: str) -> str:
        """Return the first line of the log from now on that holds the text."""
        assert self.process.stdout
        while text not in (line := self.process.stdout.readline()):
            assert line, "the process ended"
        return line

    def hang_up(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def allowed(self) -> bool:
        answer = httpx.post(f"{self.address}/validate", json=review(pod("nginx")), headers={"content-type": JSON})
        return bool(answer.json()["response"]["allowed"])

    def version(self) -> dict[str, Any]:
        about: dict[str, Any] = httpx.get(f"{self.operations}/version").json()["configuration"]
        return about

    def metric(self, name: str) -> list[str]:
        lines = httpx.get(f"{self.operations}/metrics").text.splitlines()
        return [line for line in lines if line.startswith(f"anchore_admission_{name}")]

    def is_ready(self) -> bool:
        return httpx.get(f"{self.operations}/readyz").status_code == 200


@contextmanager
def running_with(file: Path) -> Iterator[Running]:
    with serving(file) as started:
        yield Running(started.process, started.lines, started.address, started.operations)


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    mount = Mount(tmp_path)
    mount.swap(configuration("skip"))
    return mount


def test_a_swapped_configmap_takes_effect_without_a_signal(mount: Mount) -> None:
    with running_with(mount.file) as running:
        assert running.allowed()
        before = running.version()
        mount.swap(configuration("strict"))
        running.wait_for("configuration changed: defaults.mode: skip -> strict")
        assert not running.allowed()
        after = running.version()
        assert (before["state"], after["state"]) == ("current", "current")
        assert before["hash"] != after["hash"]
        assert running.metric("configuration_info") == [
            f'anchore_admission_configuration_info{{hash="{after["hash"]}"}} 1.0'
        ]


def test_the_last_valid_configuration_stays_in_use(mount: Mount) -> None:
    with running_with(mount.file) as running:
        before = running.version()["hash"]
        mount.swap(configuration("strikt"))
        running.hang_up()
        line = running.wait_for("invalid configuration")
        assert "defaults.mode: expected one of" in line
        assert "the last valid version stays in use" in line
        assert (running.allowed(), running.is_ready()) == (True, True)
        assert (running.version()["hash"], running.version()["state"]) == (before, "invalid")
        assert 'anchore_admission_unusable{what="configuration"} 1.0' in running.metric("unusable")
        mount.swap(configuration("strict", timeouts={"read": "3s"}))
        running.hang_up()
        assert "timeouts.read" in running.wait_for("changed keys need a restart")
        assert not running.allowed()
        assert running.version()["restartNeeded"] == ["timeouts.read"]
        assert running.metric("configuration_restart_needed") == ["anchore_admission_configuration_restart_needed 1.0"]
        assert 'anchore_admission_unusable{what="configuration"} 0.0' in running.metric("unusable")
        running.process.terminate()
        running.wait_for("stopped")


@asynccontextmanager
async def _hurrying(running: Running, answers: list[bool], connections: int = 8) -> AsyncIterator[None]:
    """Send reviews without a pause beside the block."""
    ended = asyncio.Event()

    async def send(client: httpx.AsyncClient) -> None:
        while not ended.is_set():
            answer = await client.post(f"{running.address}/validate", json=review(pod("nginx", "redis")))
            response = answer.json()["response"]
            answers.append(response["allowed"])
            # Both images fall under the same book.
            rules = response["auditAnnotations"]["rules"]
            assert rules == ("skip" if response["allowed"] else "strict")

    async with httpx.AsyncClient(headers={"content-type": JSON}, timeout=30) as client:
        tasks = [asyncio.create_task(send(client)) for _ in range(connections)]
        yield
        ended.set()
        await asyncio.gather(*tasks)


async def test_no_review_fails_or_sees_half_of_a_change_under_load(mount: Mount) -> None:
    def rules(mode: str) -> str:
        return configuration(mode, rules=[{"name": mode, "match": {"images": ["nginx", "redis"]}}])

    mount.swap(rules("skip"))
    answers: list[bool] = []
    with running_with(mount.file) as running:
        async with _hurrying(running, answers):
            for before, after in [("skip", "strict"), ("strict", "skip")] * 10:
                mount.swap(rules(after))
                running.hang_up()
                await asyncio.to_thread(running.wait_for, f"rule {before} removed")
                # From the log line on, no review follows the old rules.
                assert await asyncio.to_thread(running.allowed) is (after == "skip")
    assert answers


def test_a_hangup_does_not_stop_a_process_that_cannot_read_its_file(mount: Mount) -> None:
    with running_with(mount.file) as running:
        os.unlink(mount.file)  # noqa: PTH108 - the link, not what it points to
        running.hang_up()
        assert "No such file" in running.wait_for("invalid configuration")
        running.hang_up()
        running.hang_up()
        assert running.allowed()
