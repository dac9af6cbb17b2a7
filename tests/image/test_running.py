"""The running image: read-only, without privileges, called over verified TLS, stopped by SIGTERM."""

import json
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import pytest

from anchore_admission.cli.main import COMMANDS
from image.conftest import Report
from image.containers import Container, running
from support.builders import pod_spec, review, workload
from support.certificates import pair, trusting, written
from support.ports import free_port

ACCOUNT = "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_"
SANDBOX_USER = {f"{ACCOUNT}USERNAME": "admin", f"{ACCOUNT}PASSWORD": "foobar"}


def get(url: str, trust: ssl.SSLContext | None = None, body: bytes | None = None) -> Any:
    request = urllib.request.Request(url, data=body, headers={"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=10, context=trust) as answer:  # noqa: S310 - loopback
        return answer.read().decode(errors="replace")


def answers(url: str, trust: ssl.SSLContext | None = None) -> bool:
    try:
        get(url, trust)
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Controller:
    container: Container
    webhook: str
    operations: str
    trust: ssl.SSLContext

    def asked(self, image: str) -> dict[str, Any]:
        """Review a Pod with this image and return the response."""
        body = json.dumps(review(workload("Pod", pod_spec(image)))).encode()
        response: dict[str, Any] = json.loads(get(f"{self.webhook}/validate?timeout=10s", self.trust, body))["response"]
        return response

    def status(self) -> dict[str, str]:
        """Return the kernel's status of the process."""
        text = self.container.python("print(json.dumps(pathlib.Path('/proc/1/status').read_text()))")
        return dict(line.split(":\t") for line in text.splitlines())


@pytest.fixture(scope="module")
def anchore() -> Iterator[str]:
    port = free_port()
    with running("sandbox", "--port", port) as sandbox:
        sandbox.wait(lambda: answers(f"http://127.0.0.1:{port}/health"))
        yield f"http://127.0.0.1:{port}"
        assert sandbox.stop() == 0, sandbox.logs()


@pytest.fixture(scope="module")
def controller(anchore: str, tmp_path_factory: pytest.TempPathFactory, report_number: Report) -> Iterator[Controller]:
    certificates, folder = pair(), tmp_path_factory.mktemp("controller")
    tls, settings = folder / "tls", folder / "etc"
    for made in (folder, tls, settings):
        made.mkdir(exist_ok=True)
        made.chmod(0o755)
    written(tls, certificates.certificate, certificates.key).key.chmod(0o644)
    configuration = {"anchore": {"endpoint": anchore}, "defaults": {"mode": "strict"}}
    (settings / "configuration.yaml").write_text(json.dumps(configuration))
    port, operations = free_port(), free_port()
    environment = {
        "ANCHORE_ADMISSION_CONFIG": "/etc/anchore-admission/configuration.yaml",
        "ANCHORE_ADMISSION_TLS_CERT_FILE": "/run/tls/tls.crt",
        "ANCHORE_ADMISSION_TLS_KEY_FILE": "/run/tls/tls.key",
        "ANCHORE_ADMISSION_PORT": str(port),
        "ANCHORE_ADMISSION_OPERATIONS_PORT": str(operations),
        **SANDBOX_USER,
    }
    mounts = {tls: "/run/tls", settings: "/etc/anchore-admission"}
    begin = time.monotonic()
    with running(mounts=mounts, environment=environment) as container:
        controller = Controller(
            container, f"https://localhost:{port}", f"http://127.0.0.1:{operations}", trusting(certificates)
        )
        container.wait(lambda: answers(f"{controller.operations}/readyz"))
        report_number("from podman run to ready", f"{time.monotonic() - begin:.2f} s")
        yield controller


def test_a_review_is_answered_over_verified_tls(controller: Controller) -> None:
    assert controller.asked("alpine:3.20")["allowed"] is True
    denied = controller.asked("nginx:1.25")
    assert denied["allowed"] is False
    assert denied["status"]["code"] == 403
    assert "CVE-2021-3711" in denied["status"]["message"]


def test_the_client_trusts_no_other_ca(controller: Controller) -> None:
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        get(f"{controller.webhook}/docs", trusting(pair()))


def test_health_metrics_and_documentation_are_served(controller: Controller) -> None:
    assert get(f"{controller.operations}/livez") == "ok"
    assert "anchore_admission_build_info{" in get(f"{controller.operations}/metrics")
    page = get(f"{controller.webhook}/docs", controller.trust)
    assert "swagger-ui" in page
    assets = re.findall(r"""(?:src|href)=["']([^"'#]+\.(?:js|css|png))["']""", page)
    assert len(assets) >= 2
    for asset in assets:
        assert get(urljoin(f"{controller.webhook}/docs", asset), controller.trust)


def test_the_health_command_calls_the_controller_beside_it(controller: Controller) -> None:
    healthy = controller.container.exec("anchore-admission", "health")
    assert healthy.returncode == 0, healthy.stderr
    assert json.loads(healthy.stdout)["ready"] is True
    other = controller.container.exec("anchore-admission", "health", "--operations-port", "1")
    assert other.returncode == 1


def test_it_runs_without_rights(controller: Controller) -> None:
    status = controller.status()
    assert set(status["Uid"].split()) == {"65532"}
    assert set(status["Gid"].split()) == {"65532"}
    assert status["Groups"].split() in ([], ["65532"])
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_only_tmp_can_be_written(controller: Controller) -> None:
    code = """
def writable():
    for folder, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if folder != "/" or name not in ("proc", "sys", "dev")]
        yield from (folder for _ in "x" if os.access(folder, os.W_OK))
        yield from (os.path.join(folder, file) for file in files if os.access(os.path.join(folder, file), os.W_OK))
print(json.dumps(sorted(writable())))
"""
    assert controller.container.python(code) == ["/tmp"]  # noqa: S108 - the path is the expectation


def test_every_module_can_be_imported_and_every_command_starts(controller: Controller) -> None:
    code = """
import pkgutil, importlib, anchore_admission
names = [module.name for module in pkgutil.walk_packages(anchore_admission.__path__, "anchore_admission.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""
    assert controller.container.python(code) > 50
    for command in COMMANDS:
        done = controller.container.exec("anchore-admission", command, "--help")
        assert done.returncode == 0, done.stderr


def test_every_library_can_be_loaded(controller: Controller) -> None:
    code = """
import ctypes, sys, sysconfig
folders = {pathlib.Path(sys.prefix), pathlib.Path(sysconfig.get_path("stdlib"))}
print(len([ctypes.CDLL(str(file)) for folder in folders for file in folder.rglob("*.so")]))
"""
    assert controller.container.python(code) > 20


def test_memory_is_small(controller: Controller, report_number: Report) -> None:
    for _ in range(200):
        controller.asked("alpine:3.20")
    peak = int(controller.status()["VmHWM"].split()[0]) // 1024
    report_number("peak memory after 200 reviews", f"{peak} MiB")
    assert peak < 128


def test_a_stop_is_clean(controller: Controller) -> None:
    """The last test that uses the controller."""
    begin = time.monotonic()
    assert controller.container.stop() == 0, controller.container.logs()
    assert time.monotonic() - begin < 8
    lines = [json.loads(line) for line in controller.container.logs().splitlines()]
    assert lines[-1]["message"] == "stopped"
    assert not [line for line in lines if line["level"] != "INFO"]


def test_the_demo_shows_itself_to_the_outside_and_ends_when_it_is_stopped() -> None:
    port = free_port()
    with running("demo", "--port", port) as demo:
        demo.wait(lambda: "Press Ctrl-C" in demo.logs() or not demo.inspect()["State"]["Running"])
        assert "failed policy checks for policy bundle admissionpolicy" in demo.logs()
        unverified = ssl._create_unverified_context()  # noqa: S323 - a throw-away certificate, of 127.0.0.1 only
        assert "swagger-ui" in get(f"https://127.0.0.2:{port}/docs", unverified)
        assert demo.stop() == 0, demo.logs()
