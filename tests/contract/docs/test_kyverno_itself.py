"""The policies in docs/examples/kyverno, run by Kyverno's own command line where it is on the path.

`make programs` does not build it, because it is large: `go build ./cmd/cli/kubectl-kyverno` in Kyverno's sources does.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from anchore_admission.models.image_report import ReportedVerdict
from support import programs
from support.image_reports import APP, WARNED, pod, report
from support.paths import DOCS
from support.sandbox_server import served_in_thread

FOLDER = DOCS / "examples" / "kyverno"
URL = "https://anchore-admission.anchore-admission.svc:8445"
TOKEN = "token-of-policy-engines"
EXPOSED = {"hostNetwork": True}
_COUNTS = re.compile(r"pass: (\d+), fail: (\d+), warn: 0, error: (\d+), skip: 0")


class Facts:
    """An endpoint that answers every question about images with the same reports."""

    def __init__(self) -> None:
        self.status = 200
        self.reports: list[dict[str, Any]] = []
        self.asked: list[tuple[Any, str | None]] = []

    async def answer(self, request: Request) -> JSONResponse:
        self.asked.append((await request.json(), request.headers.get("authorization")))
        return JSONResponse({"images": self.reports}, self.status)


@dataclass(frozen=True)
class Kyverno:
    """Kyverno's command line, and a policy in a file."""

    program: str
    file: Path

    def admits(self, created: Mapping[str, Any]) -> bool:
        """Return whether a Pod passes. An error of the policy denies, because the failure policy is ``Fail``."""
        resource = self.file.with_suffix(".json")
        metadata = {"name": "app", "namespace": "shop"}
        resource.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, **created}))
        done = subprocess.run(  # noqa: S603 - the program that was found
            [self.program, "apply", str(self.file), "--resource", str(resource)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "FLAG_HTTP_BLOCKLIST": "metadata.google.internal"},  # by default, also the loopback
        )
        counts = _COUNTS.search(done.stdout)
        assert counts, done.stdout + done.stderr
        passed, failed, errors = map(int, counts.groups())
        assert passed + failed + errors == 1, done.stdout
        return passed == 1


@pytest.fixture(name="facts")
def _facts() -> Facts:
    return Facts()


@pytest.fixture(params=sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem, name="kyverno")
def _kyverno(request: pytest.FixtureRequest, facts: Facts, tmp_path: Path) -> Iterator[Kyverno]:
    """Kyverno with an example that asks these facts, over HTTP and with a token in place of the Secret's."""
    program = programs.find("kyverno")
    if not program:
        pytest.skip("SKIPPED: kyverno is not on the path")
    policy = yaml.safe_load(request.param.read_text())
    for entry in (entry for rule in policy["spec"].get("rules", ()) for entry in rule["context"]):
        entry.get("apiCall", {}).get("service", {}).pop("caBundle", None)
    for variable in policy["spec"].get("variables", ()):
        if variable["name"] == "token":
            variable["expression"] = f"'{TOKEN}'"
    with served_in_thread(Starlette(routes=[Route("/facts", facts.answer, methods=["POST"])])) as address:
        file = tmp_path / request.param.name
        file.write_text(yaml.safe_dump(policy, width=1000).replace(URL, address))
        yield Kyverno(program, file)


CASES: list[tuple[int, list[dict[str, Any]], Mapping[str, Any], bool]] = [
    (200, [report()], {}, True),
    (200, [report(verdict=ReportedVerdict("deny", "policy_failed"))], {}, False),
    (200, [], {}, False),
    (503, [report()], {}, False),
    (200, [report(findings=(WARNED,))], {}, True),
    (200, [report(findings=(WARNED,))], EXPOSED, False),
    (200, [report(findings_total=None)], {}, True),
    (200, [report(findings_total=None)], EXPOSED, False),
    (200, [report(findings_total=9)], EXPOSED, False),
]
"""The facts endpoint's status and reports, the Pod, and whether it is admitted."""


def test_kyverno_decides_with_the_facts(kyverno: Kyverno, facts: Facts) -> None:
    decided = []
    for status, reports, spec, _ in CASES:
        facts.status, facts.reports = status, reports
        decided.append(kyverno.admits(pod(APP, **spec)))

    token = f"Bearer {TOKEN}" if kyverno.file.stem == "validating-policy" else None
    assert decided == [row[-1] for row in CASES]
    assert facts.asked == [({"images": [APP]}, token)] * len(CASES)
