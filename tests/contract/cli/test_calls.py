"""One run of ``review`` or ``check`` asks Anchore each distinct question once, however many objects share an image."""

import json
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from support.builders import pod
from support.command_line import CommandLine, Ended
from support.sandbox_server import sandbox_served

APP, FAILING, PENDING, UNKNOWN = (
    f"registry.example.com/team/{name}:1" for name in ("app", "failing", "pending", "new")
)
OFFICIAL: Final = "nginx:1.25"
"""An official image of Docker Hub, which Anchore may hold under either of two names."""
SEED: Final = {
    "images": [
        {"tag": APP},
        {"tag": FAILING, "findings": [{"id": "CVE-2021-3711", "severity": "critical", "package": "openssl"}]},
        {"tag": PENDING, "state": "analyzing"},
        {"tag": "docker.io/library/nginx:1.25"},
    ]
}
PODS: Final = 300
SHORT_LIVED: Final = {"pass": "0s", "fail": "0s", "pending": "0s", "unknown": "0s", "tag": "0s", "outage": "0s"}


@dataclass
class Run:
    """A run against a sandbox that counts the questions about images."""

    program: CommandLine
    folder: Path

    def __call__(self, *arguments: object, settings: Mapping[str, Any] | None = None) -> tuple[Ended, Counter[str]]:
        calls: Counter[str] = Counter()
        with sandbox_served(SEED, calls=calls) as url:
            config = self.folder / "configuration.json"
            document = {"anchore": {"endpoint": url}, "defaults": {"mode": "strict"}, **(settings or {})}
            config.write_text(json.dumps(document))
            ended = self.program(*arguments, "--config", config, "-o", "json")
        return ended, Counter({call: count for call, count in calls.items() if "/images" in call})

    def review(self, *pods: Sequence[str], **options: Any) -> tuple[Ended, Counter[str]]:
        manifests = self.folder / "pods.json"
        items = [pod(*images, metadata={"name": f"p{number}"}) for number, images in enumerate(pods)]
        manifests.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        return self("review", "-f", manifests, **options)


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    return Run(CommandLine(capsys, monkeypatch), tmp_path)


def test_review_of_many_pods_asks_each_question_once(run: Run) -> None:
    ended, calls = run.review(*[[APP, FAILING]] * PODS)

    assert Counter(image["verdict"] for image in ended.document["images"]) == {"admit": PODS, "deny": PODS}
    # The record of each tag, and its policy check.
    assert (len(calls), set(calls.values())) == (4, {1})


def test_check_of_many_images_asks_each_question_once(run: Run) -> None:
    ended, calls = run("check", *[APP, FAILING] * PODS)

    assert Counter(image["verdict"] for image in ended.document["images"]) == {"admit": PODS, "deny": PODS}
    assert (len(calls), set(calls.values())) == (4, {1})


def test_official_image_takes_three_calls(run: Run) -> None:
    ended, calls = run.review(*[[OFFICIAL]] * PODS)
    _, checked = run("check", *[OFFICIAL] * PODS)

    assert Counter(image["verdict"] for image in ended.document["images"]) == {"admit": PODS}
    # The records under both names, and one policy check.
    assert (len(calls), set(calls.values())) == (3, {1})
    assert checked == calls


def test_images_that_are_not_analyzed_are_looked_up_once(run: Run) -> None:
    ended, calls = run.review(*[[PENDING, UNKNOWN]] * PODS)

    assert Counter(image["reason"] for image in ended.document["images"]) == {"pending": PODS, "unknown": PODS}
    assert (len(calls), set(calls.values())) == (2, {1})


def test_each_image_is_asked_about(run: Run) -> None:
    images = [f"registry.example.com/team/app-{number}:1" for number in range(40)]
    ended, calls = run.review(*([image] for image in images))

    assert [image["image"] for image in ended.document["images"]] == images
    assert (len(calls), set(calls.values())) == (40, {1})


def test_answers_count_for_the_whole_run_whatever_the_configuration_says(run: Run) -> None:
    """A run may take longer than the controller remembers an answer."""
    pods = [[APP, FAILING, PENDING, UNKNOWN, OFFICIAL]] * PODS
    ended, calls = run.review(*pods, settings={"memory": SHORT_LIVED})

    assert len(ended.document["images"]) == 5 * PODS
    assert (len(calls), set(calls.values())) == (9, {1})


def test_run_leaves_the_shared_store_alone(run: Run, tmp_path: Path) -> None:
    """It must not change what replicas judge by, and a pipeline has neither the store's address nor its keys."""
    with socket.create_server(("127.0.0.1", 0)) as store:
        url = f"redis://127.0.0.1:{store.getsockname()[1]}"
        shared = {"url": url, "clusterName": "test", "keyDirectory": str(tmp_path / "missing")}
        ended, _ = run.review([APP], settings={"sharedStore": shared})
        store.setblocking(False)
        with pytest.raises(BlockingIOError):
            store.accept()

    assert ended.code == 0
