"""A controller with a managed certificate, and the API server in memory that it works with."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from anchore_admission.settings import Settings
from anchore_admission.web.server import Listener
from support.kubernetes_api import KubernetesApi
from support.listening import HOST, running

SECRET = "/api/v1/namespaces/security/secrets/gate-tls"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/security/leases/gate"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/gate"


def settings(folder: Path, port: int, operations_port: int) -> Settings:
    """Return the settings of a replica of these objects, with their files in the folder."""
    configuration, registration = folder / "configuration.json", folder / "registration.json"
    configuration.write_text(json.dumps({"anchore": {"endpoint": "http://127.0.0.1:1"}, "defaults": {"mode": "skip"}}))
    entry = {"name": "gate.admission.anchore.io", "clientConfig": {"url": f"https://localhost:{port}/validate"}}
    kind = "ValidatingWebhookConfiguration"
    registration.write_text(json.dumps({"kind": kind, "metadata": {"name": "gate"}, "webhooks": [entry]}))
    return Settings.load(
        config=configuration,
        host=HOST,
        port=port,
        operations_port=operations_port,
        docs=False,
        certificates="managed",
        tls_secret="gate-tls",
        lease="gate",
        namespace="security",
        pod_name="gate-0",
        service="localhost",
        registration=registration,
    )


@asynccontextmanager
async def cluster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubernetesApi]:
    """Serve an API with the three objects of a controller, and let ``KUBECONFIG`` name it."""
    api = KubernetesApi()
    for path in (SECRET, LEASE, WEBHOOKS):
        api.put(path)
    async with running(Listener(api.serve, HOST, 0)) as server:
        address = {"name": "c", "cluster": {"server": server.url()}}
        user = {"name": "u", "user": {"token": "t"}}
        context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
        kubeconfig = {"clusters": [address], "users": [user], "contexts": [context], "current-context": "x"}
        (folder / "kubeconfig").write_text(json.dumps(kubeconfig))
        monkeypatch.setenv("KUBECONFIG", str(folder / "kubeconfig"))
        yield api
