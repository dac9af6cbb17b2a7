"""The quick start shows real output: helm renders its values, and the configured controller responds."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import httpx
import pytest
import yaml

from anchore_admission.background import supervised
from anchore_admission.models.configuration import Configuration
from anchore_admission.models.examples import example_review
from anchore_admission.wiring.controller import build
from support.charts import RELEASE, render
from support.command_line import CREDENTIALS
from support.paths import ROOT
from support.sandbox_server import sandbox_served
from support.webhook import app_over, caller

PAGE = (ROOT / "docs" / "quick-start.md").read_text()
_SHOWN = re.compile(r"^\$ kubectl create --namespace trial -f (\S+)\n((?:[^$`].*\n)+)", re.MULTILINE)
WEBHOOK = f"{RELEASE}.admission.anchore.io"


@pytest.fixture
def sandbox() -> Iterator[str]:
    with sandbox_served() as url:
        yield url


@pytest.fixture
async def webhook(sandbox: str) -> AsyncIterator[httpx.AsyncClient]:
    values = yaml.safe_load((ROOT / "examples" / "helm" / "trial.yaml").read_text())
    settings = yaml.safe_load(render(values).configuration())
    settings["anchore"]["endpoint"] = sandbox
    del settings["accounts"]  # files in the Pod; here, the environment has the same credentials
    controller = build(Configuration.model_validate(settings), environ=CREDENTIALS)
    async with aclosing(controller), supervised("analysis requests", controller.submissions.run):
        yield caller(app_over(controller))


def of_kubectl(file: str, shown: Any, response: dict[str, Any]) -> str:
    """Return the text that kubectl prints for a response, with … for digests."""
    lines = [f"Warning: {warning}" for warning in response.get("warnings", [])]
    if response["allowed"]:
        lines.append(f"{shown['kind'].lower()}/{shown['metadata']['name']} created")
    else:
        message = f'admission webhook "{WEBHOOK}" denied the request: {response["status"]["message"]}'
        lines.append(f'Error from server (Forbidden): error when creating "{file}": {message}')
    return re.sub(r"sha256:[0-9a-f]{64}", "sha256:…", "\n".join(lines) + "\n")


def test_the_page_shows_every_manifest() -> None:
    files = {file for file, _ in _SHOWN.findall(PAGE)}
    assert files == {path.relative_to(ROOT).as_posix() for path in (ROOT / "examples" / "manifests").glob("*.yaml")}


@pytest.mark.parametrize(
    ("file", "expected"),
    [*dict(reversed(_SHOWN.findall(PAGE))).items()],
    ids=lambda value: value.rpartition("/")[2] if value.endswith(".yaml") else "",
)
async def test_the_first_answer_about_a_manifest_is_as_shown(
    file: str, expected: str, webhook: httpx.AsyncClient
) -> None:
    manifest = yaml.safe_load((ROOT / file).read_text())
    manifest["metadata"]["namespace"] = "trial"

    group, _, version = manifest["apiVersion"].rpartition("/")
    kind = {"group": group, "version": version, "kind": manifest["kind"]}

    answer = await webhook.post("/validate?timeout=30s", json=example_review(manifest, kind=kind))

    assert of_kubectl(file, manifest, answer.json()["response"]) == expected
