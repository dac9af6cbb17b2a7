"""Controller and sandbox as processes beside the API server, which calls them by address."""

import base64
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from anchore_admission.adapters.certificates import throw_away_pair
from e2e.cluster.api import Api
from e2e.cluster.daemon import Daemon
from e2e.cluster.places import MAIN
from e2e.cluster.waiting import until
from e2e.things import FAILING, thing

SANDBOX: Final = "http://127.0.0.1:8228"
ANCHORE: Final = f"http://{MAIN}:8228"
OPERATIONS: Final = "http://127.0.0.1:8080"
LABEL: Final = "e2e.anchore.io/judged-by"
_PROGRAM: Final = (sys.executable, "-m", "anchore_admission")
_SECRETS: Final = {
    "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_USERNAME": "admin",
    "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_PASSWORD": "foobar",
}
RULES: Final = [
    {"apiGroups": [group], "apiVersions": ["v1"], "resources": resources, "operations": ["CREATE", "UPDATE"]}
    for group, resources in (
        ("", ["pods", "pods/ephemeralcontainers", "podtemplates", "replicationcontrollers"]),
        ("apps", ["deployments", "replicasets", "statefulsets", "daemonsets"]),
        ("batch", ["jobs", "cronjobs"]),
    )
]


def _environment() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANCHORE_ADMISSION_")}
    return clean | _SECRETS | {"PYTHONWARNINGS": "error"}


@contextlib.contextmanager
def sandbox() -> Iterator[httpx.Client]:
    """Anchore's API and the sandbox's own controls; also for Pods, at ANCHORE."""
    daemon = Daemon("sandbox", [*_PROGRAM, "sandbox", "--host=0.0.0.0", "--log-level=warning"], _environment())
    daemon.start()
    with httpx.Client(base_url=SANDBOX, auth=("admin", "foobar"), trust_env=False) as client:
        try:
            until(lambda: daemon.require() and client.get("/health").is_success, "the sandbox answers")
            yield client
        finally:
            daemon.stop()


@contextlib.contextmanager
def controller(folder: Path, configuration: Mapping[str, Any], port: int = 8443) -> Iterator[str]:
    """The authority to trust."""
    pair = throw_away_pair(["127.0.0.1"])
    folder.mkdir(exist_ok=True)
    certificate, key, file = folder / "tls.crt", folder / "tls.key", folder / "configuration.yaml"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    file.write_text(json.dumps({"anchore": {"endpoint": SANDBOX}, **configuration}))
    files = [f"--config={file}", f"--tls-cert-file={certificate}", f"--tls-key-file={key}"]
    addresses = ["--host=127.0.0.1", f"--port={port}", "--operations-port=8080"]
    daemon = Daemon("controller", [*_PROGRAM, "serve", *files, *addresses], _environment())
    daemon.start()
    try:
        ready = f"{OPERATIONS}/readyz"
        until(lambda: daemon.require() and httpx.get(ready, trust_env=False).is_success, "the controller is ready")
        yield base64.b64encode(pair.authority).decode()
    finally:
        daemon.stop()


@contextlib.contextmanager
def registered(
    api: Api, name: str, authority: str, *, versions: Sequence[str] = ("v1", "v1beta1"), probe: str
) -> Iterator[str]:
    """The webhook's name; it judges namespaces with the label, of which ``probe`` is one where FAILING is refused."""
    webhook = {
        "name": f"{name}.admission.anchore.io",
        "admissionReviewVersions": list(versions),
        "clientConfig": {"url": "https://127.0.0.1:8443/validate", "caBundle": authority},
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "sideEffects": "NoneOnDryRun",
        "timeoutSeconds": 10,
        "rules": RULES,
        "namespaceSelector": {"matchLabels": {LABEL: name}},
    }
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    made = api.call("POST", path, {"metadata": {"name": name}, "webhooks": [webhook]})
    assert made.allowed, made.message
    try:
        until(lambda: api.create(probe, thing("Pod", FAILING), dry_run=True).code == 403, f"{name} is called")
        yield str(webhook["name"])
    finally:
        api.call("DELETE", f"{path}/{name}")
        until(lambda: api.create(probe, thing("Pod", FAILING), dry_run=True).allowed, f"{name} is not called any more")
