"""Changes that an upgrade rejects while replicas run, found by helm's `lookup`, and its notes otherwise."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from anchore_admission import __version__
from support.charts import ANCHORE, CHART, NAMESPACE, RELEASE, HelmError, Object, Values, merged, render, run

SELF_MANAGED: Values = {}
CERT_MANAGER: Values = {"certificates": {"mode": "certManager"}}
EXISTING: Values = {"certificates": {"mode": "existingSecret", "existingSecret": "mine"}}
ANOTHER: Values = {"certificates": {"mode": "existingSecret", "existingSecret": "another"}}
BY_CHART: Values = {"webhook": {"registration": "chart"}}
STRICT: Values = {"enableStrictGating": True}
OWN_VOLUME: Values = {"extraVolumes": [{"name": "tls", "secret": {"secretName": "of-anchore"}}]}

RESOURCES = {
    "kind": "APIResourceList",
    "resources": [{"name": "deployments", "kind": "Deployment", "namespaced": True}],
}
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}"
RECORD = {
    "name": RELEASE,
    "namespace": NAMESPACE,
    "version": 1,
    "info": {"status": "deployed"},
    "chart": {"metadata": {"apiVersion": "v2", "name": RELEASE, "version": "0.0.1"}},
}
"""The stored record of the installed release."""

Upgrade = Callable[[Values, Values | None], str]


@contextmanager
def cluster(live: Object | None) -> Iterator[str]:
    """Yield the address of an API server that holds at most one Deployment."""
    things: dict[str, Object] = {
        "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.0"},
        "/api": {"kind": "APIVersions", "versions": []},
        "/apis": {"kind": "APIGroupList", "groups": []},
        "/apis/apps/v1": {**RESOURCES, "groupVersion": "apps/v1"},
        **({DEPLOYMENT: live} if live else {}),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the base class's own name
            found = things.get(self.path.partition("?")[0])
            self.send_response(200 if found else 404)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(found or {"kind": "Status", "reason": "NotFound", "code": 404}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def upgrade(tmp_path: Path) -> Upgrade:
    """Return the output of an upgrade from the running values to others. Raises HelmError."""

    def upgraded(wanted: Values, running: Values | None) -> str:
        return helm_output("upgrade", wanted, running, tmp_path, RECORD)

    return upgraded


def helm_output(command: str, wanted: Values, running: Values | None, folder: Path, *releases: Object) -> str:
    """Run helm with its releases in a file, and return its output; `lookup` sees the running Deployment."""
    file = folder / "releases.yaml"
    file.write_text(yaml.safe_dump(list(releases)))
    memory = {"HELM_DRIVER": "memory", "HELM_MEMORY_DRIVER_DATA": str(file)}
    live = None if running is None else render(merged(ANCHORE, running)).get("Deployment")
    with cluster(live) as address:
        where = ("--namespace", NAMESPACE, "--dry-run=server", "--kube-apiserver", address)
        given = yaml.safe_dump(merged(ANCHORE, wanted))
        return run("helm", command, RELEASE, str(CHART), *where, "--values", "-", given=given, **memory)


@pytest.mark.parametrize(
    ("running", "wanted", "expected"),
    [
        (SELF_MANAGED, CERT_MANAGER, "from selfManaged to certManager"),
        (SELF_MANAGED, EXISTING, "from selfManaged to existingSecret"),
        (SELF_MANAGED, merged(CERT_MANAGER, BY_CHART), "from selfManaged to certManager"),
        (CERT_MANAGER, SELF_MANAGED, "from certManager to selfManaged"),
        (merged(CERT_MANAGER, BY_CHART), SELF_MANAGED, "from certManager to selfManaged"),
        (CERT_MANAGER, EXISTING, "from certManager to existingSecret"),
        (EXISTING, SELF_MANAGED, "from existingSecret to selfManaged"),
        (EXISTING, CERT_MANAGER, "from existingSecret to certManager"),
    ],
)
def test_a_running_release_keeps_its_mode(upgrade: Upgrade, running: Values, wanted: Values, expected: str) -> None:
    with pytest.raises(HelmError) as caught:
        upgrade(merged(wanted, {"ports": {"webhook": 8080}}), running)
    said = str(caught.value)
    assert f"certificates.mode: cannot change {expected} while replicas run" in said
    assert f"kubectl delete validatingwebhookconfiguration {RELEASE}; " in said
    assert f"kubectl delete deployment --namespace {NAMESPACE} {RELEASE} --cascade=foreground; " in said
    assert "ports.webhook and ports.operations: expected different" in said


@pytest.mark.parametrize("pins", [True, False])
def test_where_tags_are_pinned_the_mutating_webhook_is_deleted_too(upgrade: Upgrade, pins: bool) -> None:
    with pytest.raises(HelmError) as caught:
        upgrade(merged(CERT_MANAGER, {"pinning": {"enabled": pins}}), SELF_MANAGED)
    said = str(caught.value)
    assert (f"kubectl delete mutatingwebhookconfiguration {RELEASE}; kubectl delete deployment" in said) is pins
    assert f"kubectl delete validatingwebhookconfiguration {RELEASE}; kubectl delete" in said


@pytest.mark.parametrize(
    ("running", "wanted"),
    [
        (SELF_MANAGED, STRICT),
        (OWN_VOLUME, OWN_VOLUME),
        (CERT_MANAGER, merged(CERT_MANAGER, BY_CHART)),
        (merged(CERT_MANAGER, BY_CHART), CERT_MANAGER),
        (EXISTING, ANOTHER),
        (None, SELF_MANAGED),
        (None, EXISTING),
        (None, CERT_MANAGER),
    ],
)
def test_everything_else_can_change_and_the_mode_too_once_the_deployment_is_deleted(
    upgrade: Upgrade, running: Values | None, wanted: Values
) -> None:
    assert f"{RELEASE} {__version__} is installed" in upgrade(wanted, running)


def test_an_installation_is_not_compared_with_running_replicas(tmp_path: Path) -> None:
    """Helm itself refuses to install over objects of another owner."""
    assert f"{RELEASE} {__version__} is installed" in helm_output("install", EXISTING, SELF_MANAGED, tmp_path)


@pytest.mark.parametrize("running", [CERT_MANAGER, merged(CERT_MANAGER, BY_CHART)])
def test_an_upgrade_warns_of_the_chart_that_registers_at_once(upgrade: Upgrade, running: Values) -> None:
    said = upgrade(merged(CERT_MANAGER, BY_CHART, STRICT), running)
    assert "until the first replica responds" in said
    assert "upgrade with it from webhook.registration=controller" in said
