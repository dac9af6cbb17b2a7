"""The cluster tests run by ``make e2e``: with a cluster of their own, or with the one that E2E_KUBECONFIG names."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster import cert_manager as real_cert_manager
from e2e.cluster.api import Api
from e2e.cluster.cluster import Cluster, running
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.places import API_SERVER, KUBECONFIG, LOGS
from e2e.cluster.registry import Registry, serving
from e2e.cluster.waiting import until
from e2e.release import ARCHIVE, BUILT, NAME, Release

_EXTERNAL = os.environ.get("E2E_KUBECONFIG", "")
_FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def _wanted() -> None:
    if os.environ.get("E2E", "off") == "off":
        pytest.skip("`make e2e` brings up a cluster and runs this")


@pytest.fixture(scope="session")
def cluster(_wanted: None) -> Iterator[Cluster]:
    """Our own, with its nodes and its audit log at hand."""
    if _EXTERNAL:
        pytest.skip("E2E_KUBECONFIG names a cluster whose machines are not ours")
    with running() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def registry(cluster: Cluster) -> Iterator[Registry]:
    with serving() as registry:
        yield registry


@pytest.fixture(scope="session")
def kubectl(_wanted: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    if not _EXTERNAL:
        request.getfixturevalue("cluster")
    return Kubectl(Path(_EXTERNAL or KUBECONFIG).absolute(), tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def api(kubectl: Kubectl) -> Iterator[Api]:
    with contextlib.ExitStack() as stack:
        address = API_SERVER
        if _EXTERNAL:
            proxy = stack.enter_context(kubectl.start("kubectl", "proxy", "--port=0"))
            stack.callback(proxy.terminate)
            address = f"http://{proxy.stdout.readline().split()[-1]}" if proxy.stdout else ""
        yield stack.enter_context(Api(address))


class Namespaces:
    """Makes namespaces that go with the module that wanted them."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._made: list[str] = []

    def __call__(self, name: str, **labels: str) -> str:
        """Ready for Pods."""
        until(lambda: self._create(name, labels), f"{name} is made")
        self._made.append(name)
        until(lambda: self._api.get(f"/api/v1/namespaces/{name}/serviceaccounts/default"), f"{name} has an account")
        return name

    def _create(self, name: str, labels: dict[str, str]) -> bool:
        """Create a namespace; wait while another of that name is being deleted."""
        answer = self._api.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        assert answer.allowed, answer.message
        return True

    def remove(self) -> None:
        for name in self._made:
            self._api.call("DELETE", f"/api/v1/namespaces/{name}")
        if NAME in self._made:  # where helm installs for the next module, without waiting for a deletion
            until(lambda: self._api.call("GET", f"/api/v1/namespaces/{NAME}").code == 404, f"{NAME} has gone")


@pytest.fixture(scope="module")
def namespaces(api: Api) -> Iterator[Namespaces]:
    namespaces = Namespaces(api)
    yield namespaces
    namespaces.remove()


@pytest.fixture(scope="session")
def release(kubectl: Kubectl, api: Api, request: pytest.FixtureRequest) -> Release:
    """A release that is not installed yet. E2E_IMAGE names an image that the cluster of E2E_KUBECONFIG can pull."""
    if not _EXTERNAL:
        if not ARCHIVE.exists():
            (pytest.fail if os.environ["E2E"] == "required" else pytest.skip)("there is no image: `make image`")
        request.getfixturevalue("cluster").load(ARCHIVE)
    return Release(kubectl, api, os.environ.get("E2E_IMAGE") or BUILT)


@pytest.fixture(scope="session")
def cert_manager(_wanted: None, request: pytest.FixtureRequest) -> None:
    """A real one, in our own cluster."""
    if os.environ.get("E2E_CERT_MANAGER", "off") == "off":
        pytest.skip("`make e2e-cert-manager` builds a cert-manager and runs this")
    cluster: Cluster = request.getfixturevalue("cluster")
    for archive in real_cert_manager.archives():
        cluster.load(archive)
    real_cert_manager.install(request.getfixturevalue("kubectl"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Keep what the cluster knows while it still stands."""
    report = yield
    if report.failed and "kubectl" in getattr(item, "fixturenames", ()):  # type: ignore[attr-defined]  # pluggy's result
        item.config.stash[_FAILED] = True
        with contextlib.suppress(Exception):
            _keep(item.funcargs["kubectl"], item.name)  # type: ignore[attr-defined]  # of functions
    return report


def _keep(kubectl: Kubectl, name: str) -> None:
    folder = LOGS / "failures" / "".join(c if c.isalnum() else "-" for c in name)[:80]
    folder.mkdir(parents=True, exist_ok=True)
    for file, command in (
        ("pods.txt", "get pods -A -o wide"),
        ("events.txt", "get events -A --sort-by=.lastTimestamp"),
        ("describe.txt", "describe pods -n anchore-admission"),
        ("logs.txt", "logs -n anchore-admission --prefix --tail=-1 -l app.kubernetes.io/part-of=anchore-admission"),
        ("webhooks.yaml", "get validatingwebhookconfigurations,mutatingwebhookconfigurations -o yaml"),
    ):
        done = kubectl.run("kubectl", *command.split())
        (folder / file).write_text(done.stdout + done.stderr)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash.get(_FAILED, False):
        terminalreporter.write_line(f"what the cluster knew is kept in {LOGS}")
