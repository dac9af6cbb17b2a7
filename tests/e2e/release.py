"""The chart, installed by helm with the image that the nodes were given, next to the sandbox."""

import base64
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from cryptography.x509 import Certificate, load_pem_x509_certificate

from anchore_admission.adapters.trust import trusting
from anchore_admission.models.examples import example_review
from e2e.cluster.api import Answer, Api, Sample
from e2e.cluster.cluster import Cluster
from e2e.cluster.images import repackage
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.things import FAILING, Json, thing
from support.paths import ROOT

CHART: Final = ROOT / "deploy/helm/anchore-admission"
NAME: Final = "anchore-admission"
WEBHOOK: Final = f"{NAME}.admission.anchore.io"
_CACHES = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
ARCHIVE: Final = _CACHES / "anchore-admission/image/anchore-admission.tar"
"""The archive that ``tools/image/build`` writes."""
BUILT: Final = "localhost/anchore-admission:ci"
REGISTRATIONS: Final = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


@dataclass(frozen=True, slots=True)
class Release:
    """A release in a namespace of its own name. Names other than the default's need a ``fullnameOverride``."""

    kubectl: Kubectl
    api: Api
    image: str
    name: str = NAME

    def install(self, values: Mapping[str, Any], *arguments: str) -> str:
        """Install or upgrade, and wait. Raises RuntimeError when helm does."""
        repository, _, tag = self.image.rpartition(":")
        image = {"image": {"repository": repository, "tag": tag}, **values}
        file = self.kubectl.home / "values.json"
        file.write_text(json.dumps(image))
        options = ("--install", "--namespace", self.name, "--create-namespace", "--wait", "--timeout", "180s")
        return self.kubectl.helm("upgrade", self.name, str(CHART), *options, "--values", str(file), *arguments)

    def uninstall(self) -> None:
        self.kubectl.helm("uninstall", self.name, "--namespace", self.name, "--wait", "--ignore-not-found")

    def registration(self) -> Json:
        """Return the registered webhook. Raises LookupError while there is none."""
        webhook: Json = self.api.get(f"{REGISTRATIONS}/{self.name}")["webhooks"][0]
        return webhook

    def await_judging(self, namespace: str, image: str = FAILING) -> Answer:
        """Wait until API servers call the webhook and Anchore is reached; return the first denial with a verdict."""

        def denied() -> Answer | None:
            answer = self.create(namespace, thing("Pod", image), dry_run=True)
            return answer if answer.code == 403 and "could not be checked" not in answer.message else None

        answer = until(denied, f"{image} is refused in {namespace}")
        assert answer
        return answer

    def create(self, namespace: str, made: Json, *, dry_run: bool = False) -> Answer:
        return self.api.create(namespace, made, dry_run=dry_run)

    def asked(self, replica: Json, namespace: str, image: str, path: str = "/validate") -> Json:
        """Return one replica's response to a review of a Pod; an API server keeps its connection to another one."""
        return self.reviewed(replica, namespace, thing("Pod", image), path)

    def reviewed(self, replica: Json, namespace: str, pod: Json, path: str = "/validate") -> Json:
        """Return one replica's response to a review of this Pod, whether or not the replica is ready."""
        trust = trusting(cadata=base64.b64decode(self.registration()["clientConfig"]["caBundle"]).decode())
        pod = {**pod, "metadata": {**pod["metadata"], "namespace": namespace}}
        url = f"https://{replica['status']['podIP']}:8443{path}?timeout=10s"
        service = {"sni_hostname": f"{self.name}.{self.name}.svc"}
        with httpx.Client(verify=trust, timeout=20, trust_env=False) as client:
            answer = client.post(url, json=example_review(pod), extensions=service).raise_for_status()
        response: Json = answer.json()["response"]
        return response

    def pods(self, component: str = "webhook") -> list[Json]:
        """Return the Pods of a component that are not being deleted."""
        labels = f"labelSelector=app.kubernetes.io/component={component}"
        found: list[Json] = self.api.get(f"/api/v1/namespaces/{self.name}/pods?{labels}")["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ready(self, count: int = 2) -> bool:
        """Return whether exactly this many replicas are left, all ready."""
        return [is_ready(pod) for pod in self.pods()] == [True] * count

    def restarts(self) -> dict[str, int]:
        """Return the number of restarts of each replica."""
        found = {pod["metadata"]["uid"]: pod["status"].get("containerStatuses", ()) for pod in self.pods()}
        return {uid: sum(container["restartCount"] for container in containers) for uid, containers in found.items()}

    def processes(self, cluster: Cluster) -> list[int]:
        """Return the process of each replica in our own cluster."""
        tasks = {container: process for node in cluster.nodes for container, process in node.tasks().items()}
        containers = [pod["status"]["containerStatuses"][0]["containerID"] for pod in self.pods()]
        return [tasks[container.removeprefix("containerd://")] for container in containers]

    def presented(self) -> set[Certificate]:
        """Return the certificates that the replicas present; one if all present the same."""
        addresses = [(pod["status"]["podIP"], 8443) for pod in self.pods()]
        return {load_pem_x509_certificate(ssl.get_server_certificate(it, timeout=5).encode()) for it in addresses}

    def nudge(self) -> bool:
        """A kubelet looks at a Pod's mounts every minute or so, and at once when the Pod changes; only to save time."""
        for pod in self.pods():
            name, version = pod["metadata"]["name"], pod["metadata"]["resourceVersion"]
            self.kubectl("annotate", "-n", self.name, "pod", name, "--overwrite", f"e2e/nudged={version}")
        return True

    def metrics(self, metric: str) -> list[list[Sample]]:
        """Return the samples of a metric from each replica."""
        return [self.metrics_of(pod, metric) for pod in self.pods()]

    def metrics_of(self, replica: Json, metric: str) -> list[Sample]:
        path = f"/api/v1/namespaces/{self.name}/pods/{replica['metadata']['name']}:8080/proxy/metrics"
        return self.api.metrics(metric, path=path)

    def anchore(self, path: str) -> Any:
        """Return the sandbox's response to a replica; it accepts only requests from its namespace."""
        code = (
            "import base64, sys, urllib.request as r\n"
            f"q = r.Request('http://{self.name}-sandbox:8228{path}')\n"
            "q.add_header('Authorization', 'Basic ' + base64.b64encode(b'admin:foobar').decode())\n"
            "sys.stdout.write(r.urlopen(q, timeout=10).read().decode())"
        )
        return json.loads(self.kubectl("exec", "-n", self.name, f"deployment/{self.name}", "--", "python", "-c", code))

    def labelled(self, folder: Path, label: str) -> Path:
        """The image as another version: the same files, another digest, another tag."""
        archive = folder / f"{label}.tar"
        repackage(ARCHIVE, archive, f"{self.image.rpartition(':')[0]}:{label}", label)
        return archive


def is_ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(found["type"] == "Ready" and found["status"] == "True" for found in conditions)


@contextmanager
def installed(release: Release, values: Mapping[str, Any]) -> Iterator[Release]:
    """Installed, judging when it refuses anything at all, and gone afterwards."""
    namespace = f"/api/v1/namespaces/{release.name}"
    try:
        release.install(values)
        until(release.registration, "the controller has registered itself")
        yield release
    finally:
        release.uninstall()
        release.api.call("DELETE", namespace)
        until(lambda: release.api.call("GET", namespace).code == 404, f"namespace {release.name} is gone")


def whole(release: Release, kubectl: Kubectl) -> tuple[str, set[str]]:
    """Return the release's revisions and the UIDs of its replicas."""
    history = kubectl.helm("history", NAME, "--namespace", NAME, "--output", "json")
    return history, {pod["metadata"]["uid"] for pod in release.pods()}
