"""The original command line client, as it was published, works against the sandbox."""

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from anchore_admission.sandbox import Seed, create_sandbox
from support.fakes import ManualClock
from support.paths import ROOT
from support.sandbox_calls import ADMIN, START

LOCK = ROOT / "tests" / "support" / "anchorecli-requirements.txt"
NGINX, ALPINE = "docker.io/library/nginx:1.25", "docker.io/library/alpine:3.20"
SEED: dict[str, Any] = {
    "apiVersions": ["v1"],
    "analysisTime": 10,
    "images": [
        {
            "tag": NGINX,
            "findings": [{"id": "CVE-2021-3711", "severity": "critical", "package": "openssl", "fix": "1.1.1l-r0"}],
        },
        {"tag": ALPINE},
    ],
}
# the policy that the original controller's documentation gives
BUNDLE = json.loads("""
{"id":"admissionpolicy","version":"1_0","name":"AdmissionControllerDefaultPolicy","comments":"",
"policies":[{"id":"Default","version":"1_0","name":"Default","comments":"Default policy for doing cve checks",
"rules":[{"id":"cverule1","gate":"vulnerabilities","trigger":"package","params":[{"name":"package_type","value":"all"},
{"name":"severity","value":"low"},{"name":"severity_comparison","value":">="}],"action":"STOP"}]}],"whitelists":[],
"mappings":[{"name":"Default","registry":"*","repository":"*","image":{"type":"tag","value":"*"},
"policy_ids":["Default"],"whitelist_ids":[]}],"whitelisted_images":[],"blacklisted_images":[]}
""")
INSTALL = ("install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "-r")
BOB = ("bob", "password")
pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]


@pytest.fixture(scope="session")
def anchore_cli() -> Path:
    """The client in a virtual environment of its own, made once and kept: its pins fit nothing else."""
    home = Path(os.environ.get("ANCHORE_CLI_VENV") or ROOT / ".venv-anchorecli")
    stamp, lock = home / "installed", hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == lock):
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)  # noqa: S603 - our own interpreter
        (home / ".gitignore").write_text("*\n")
        done = _run([str(home / "bin" / "pip"), *INSTALL, str(LOCK)], timeout=280)
        assert "DO NOT MATCH THE HASHES" not in done.stderr, done.stderr
        if done.returncode:
            pytest.skip(f"SKIPPED: anchore-cli could not be installed: {done.stderr.strip()[-300:]}")
        stamp.write_text(lock)
    return home / "bin" / "anchore-cli"


def _run(
    command: list[str], *, timeout: float, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - programs of this file's own virtual environment
        command, check=False, capture_output=True, text=True, timeout=timeout, env=environment
    )


@dataclass
class Client:
    """Runs the client against a sandbox that really listens."""

    program: Path
    url: str
    home: Path
    clock: ManualClock

    def run(self, *arguments: str, user: tuple[str, str] = ADMIN, code: int = 0) -> str:
        credentials = {"ANCHORE_CLI_USER": user[0], "ANCHORE_CLI_PASS": user[1], "ANCHORE_CLI_URL": self.url}
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "NO_PROXY": "127.0.0.1", **credentials}
        done = _run([str(self.program), *arguments], timeout=60, environment=environment)
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture(params=["/v1", ""], ids=["with-v1", "without-v1"])
def client(anchore_cli: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Client]:
    clock = ManualClock(START)
    app = create_sandbox(Seed.model_validate(SEED), clock=clock)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", log_config=None))
        # the socket listens already, so a call that comes early waits for the server instead of failing
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield Client(anchore_cli, f"http://127.0.0.1:{listener.getsockname()[1]}{request.param}", tmp_path, clock)
        server.should_exit = True
        thread.join()


def field(output: str, name: str) -> str:
    found = re.search(rf"^{re.escape(name)}: (.*)$", output, re.MULTILINE)
    assert found, output
    return found[1].strip()


def test_system(client: Client) -> None:
    status = client.run("system", "status")
    waited = client.run("system", "wait", "--timeout", "30", "--interval", "0.1")

    assert status.count(": up\n") == 5
    assert "anchore-admission-sandbox" in status
    assert field(status, "Engine Code Version") == "1.1.0"
    assert "Feed sync: Success." in waited


def test_accounts_are_worlds_of_their_own(client: Client) -> None:
    account = client.run("account", "add", "team-a", "--email", "team-a@example.com")
    user = client.run("account", "user", "add", "--account", "team-a", *BOB)

    assert (field(account, "Name"), field(account, "State")) == ("team-a", "enabled")
    assert field(user, "Name") == "bob"
    assert "team-a@example.com" in client.run("account", "list")
    assert field(client.run("account", "whoami", user=BOB), "AccountName") == "team-a"
    assert NGINX in client.run("image", "list")
    assert NGINX not in client.run("image", "list", user=BOB)
    assert NGINX not in client.run("--as-account", "team-a", "image", "list")
    assert "Unauthorized" in client.run("image", "list", user=("bob", "wrong-password"), code=2)


def test_an_image_is_added_and_walks_to_analyzed(client: Client) -> None:
    added = client.run("image", "add", "docker.io/library/redis:7")
    assert field(added, "Analysis Status") == "not_analyzed"
    digest = field(added, "Image Digest")

    client.clock.now += 5
    assert field(client.run("image", "get", "docker.io/library/redis:7"), "Analysis Status") == "analyzing"
    refused = client.run("evaluate", "check", "docker.io/library/redis:7", code=1)
    assert "image is not analyzed - analysis_status: analyzing" in refused
    client.clock.now += 5
    assert field(client.run("image", "wait", "docker.io/library/redis:7"), "Analysis Status") == "analyzed"

    listed = client.run("image", "list", "--full")
    assert re.search(rf"redis:7\s+{digest}\s+analyzed", listed)
    assert field(client.run("image", "get", digest), "Full Tag") == "docker.io/library/redis:7"
    assert "image data not found in DB" in client.run("image", "get", "docker.io/library/redis:8", code=1)


def test_the_original_policy_decides_once_it_is_active(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps(BUNDLE))
    default = client.run("evaluate", "check", ALPINE, "--detail")
    assert field(default, "Policy ID") == "2c53a13c-1765-11e8-82ef-23527761d060"

    assert field(client.run("policy", "add", str(path)), "Policy ID") == "admissionpolicy"
    assert "Success: admissionpolicy activated" in client.run("policy", "activate", "admissionpolicy")
    assert re.search(r"^admissionpolicy\s+True\b", client.run("policy", "list"), re.MULTILINE)
    assert json.loads(client.run("policy", "get", "admissionpolicy", "--detail")) == BUNDLE

    passed = client.run("evaluate", "check", ALPINE, "--detail")
    failed = client.run("evaluate", "check", NGINX, "--detail", code=1)

    assert (field(passed, "Status"), field(passed, "Final Action")) == ("pass", "go")
    assert (field(failed, "Status"), field(failed, "Final Action")) == ("fail", "stop")
    assert field(failed, "Policy ID") == "admissionpolicy"
    assert (
        "CRITICAL Vulnerability found in os package type (os) - openssl (fixed in: 1.1.1l-r0)(CVE-2021-3711" in failed
    )


def test_an_unknown_gate_is_rejected(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps(BUNDLE).replace('"vulnerabilities"', '"no-such-gate"'))

    assert "Bundle failed validation" in client.run("policy", "add", str(path), code=1)
