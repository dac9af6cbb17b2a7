"""A release that pins tags, an Anchore and a registry that know the same images, and what runs in the end."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from e2e import calls
from e2e.cluster.api import Api
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.registry import ARCHITECTURES, VERSION, Pushed, Registry
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.processes import ANCHORE, sandbox
from e2e.release import NAME, WEBHOOK, Release, installed
from e2e.things import FAILING, Json, images_of, thing

MUTATE_PATH: Final = "/mutate"
PINNING: Final = f"{NAME}.pinning.anchore.io"
REGISTRATIONS: Final = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
REGISTRATION: Final = f"{REGISTRATIONS}/{NAME}"
PIN: Final = "e2e.anchore.io/pin"
REQUIRED, BEST_EFFORT, OFF = "pin-required", "pin-best-effort", "pin-off"
NAMESPACES: Final = {REQUIRED: "required", BEST_EFFORT: "bestEffort", OFF: "off"}
"""A rule for each, found by the namespace's label."""
SEED: Final = {
    "analysisTime": 0.1,
    "images": [
        {"tag": f"docker.io/library/{FAILING}", "findings": [{"id": "CVE-1", "severity": "critical", "package": "a"}]}
    ],
}
MERGE: Final = "application/merge-patch+json"
_OF_THE_SERVER: Final = ("resourceVersion", "uid", "creationTimestamp", "generation", "managedFields")


def values(refresh_interval: str) -> Json:
    """Return the values of the release. Where a tag points is known again after the interval."""
    rules = [
        {"name": pin, "match": {"namespaceSelector": {"matchLabels": {PIN: pin}}}, "mode": "strict", "pin": pin}
        for pin in NAMESPACES.values()
    ]
    return {
        "anchore": {"endpoint": ANCHORE, "username": "admin", "password": "foobar"},
        "pinning": {"enabled": True},
        "config": {
            "defaults": {"mode": "skip"},
            "rules": rules,
            "tags": {"refreshInterval": refresh_interval},
        },
    }


@dataclass(frozen=True, slots=True)
class Pinning:
    release: Release
    kubectl: Kubectl
    registry: Registry
    anchore: httpx.Client

    @property
    def api(self) -> Api:
        return self.release.api

    def publish(self, name: str, version: str = "A", *, platforms: int = len(ARCHITECTURES)) -> Pushed:
        """Push an image that passes, and wait until Anchore has analyzed it. A tag that exists moves everywhere."""
        pushed = self.registry.push(name, version, architectures=ARCHITECTURES[:platforms])
        self.anchore.put("/sandbox/registry", json=pushed.known_to_anchore).raise_for_status()
        self.anchore.post("/v1/images", json={"tag": pushed.tag}).raise_for_status()

        def is_analyzed() -> bool:
            record = self.anchore.get(f"/v1/images/{pushed.platform_digest}").raise_for_status().json()[0]
            return bool(record["analysis_status"] == "analyzed")

        until(is_analyzed, f"{name} is analyzed")
        return pushed

    def get(self, namespace: str, name: str) -> Json:
        return self.api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")

    def create(self, namespace: str, pod: Json) -> Json:
        """Create a Pod, and return it. Raises AssertionError if it was denied: perhaps its tag is resolved only now."""
        answer = self.api.create(namespace, pod)
        assert answer.allowed, answer.message
        return answer.body

    def create_pinned(self, namespace: str, pod: Json, *images: str) -> Json:
        """Return the Pod once it is created with these images; a busy machine may need another attempt."""

        def created() -> Json | None:
            made = self.create(namespace, pod)
            if images_of(made) == [*images]:
                return made
            self.remove(namespace, pod["metadata"]["name"])
            return None

        return _some(until(created, f"{pod['metadata']['name']} is created with {', '.join(images)}"))

    def apply(self, namespace: str, manifest: Json, *options: str) -> str:
        return self.kubectl("apply", "-n", namespace, *options, "-f", "-", stdin=json.dumps(manifest))

    def apply_pinned(self, namespace: str, manifest: Json, image: str, *options: str) -> Json:
        """Apply a Pod's manifest, and return the Pod once it is pinned, as above."""
        name = manifest["metadata"]["name"]

        def applied() -> Json | None:
            self.apply(namespace, manifest, *options)
            pod = self.get(namespace, name)
            if images_of(pod) == [image]:
                return pod
            self.remove(namespace, name)
            return None

        return _some(until(applied, f"{name} is pinned"))

    def probe(self, namespace: str, image: str) -> str:
        """Create a Pod and delete it; return its image. Raises AssertionError if it was denied."""
        made = self.create(namespace, waiting(image, "probe"))
        self.remove(namespace, "probe")
        return images_of(made)[0]

    def await_image(self, namespace: str, image: str, expected: str) -> None:
        """Wait until new Pods get this image from every replica: the API server's connections lead to one of them."""
        until(lambda: {self._given(each, namespace, image) for each in self.release.pods()} == {expected}, expected)

    def _given(self, replica: Json, namespace: str, image: str) -> str:
        """Return the image that a replica lets a new Pod have."""
        response = self.release.asked(replica, namespace, image, MUTATE_PATH)
        patch = json.loads(base64.b64decode(response.get("patch", "W10=")))
        return str(patch[0]["value"]) if patch else image

    def remove(self, namespace: str, name: str) -> None:
        path = f"/api/v1/namespaces/{namespace}/pods/{name}?gracePeriodSeconds=0"
        assert self.api.call("DELETE", path).allowed

    def denied(self, namespace: str, pod: Json) -> str:
        """Return the message of the denial."""
        answer = self.api.create(namespace, pod)
        assert (answer.code, f'"{WEBHOOK}" denied the request' in answer.message) == (403, True), answer.body
        return answer.message

    def version(self, namespace: str, name: str, file: str = f"/{VERSION}") -> str:
        """Return the version that runs."""
        self.kubectl("wait", "-n", namespace, "--for=condition=Ready", f"pod/{name}", "--timeout=240s")
        return self.kubectl("exec", "-n", namespace, name, "--", "cat", file)

    def called(self) -> bool:
        """Create a Pod as a dry run, and return whether the API server has called the mutating webhook."""
        before = calls.answered(self.api, PINNING, "200")
        self.api.create(OFF, thing("Pod", FAILING), dry_run=True)
        return calls.answered(self.api, PINNING, "200") > before

    @contextmanager
    def unregistered(self) -> Iterator[Json]:
        """Without the mutating webhook: it is deleted, which the controller respects, and created again."""
        found = self.api.get(REGISTRATION)
        metadata = {key: value for key, value in found["metadata"].items() if key not in _OF_THE_SERVER}
        assert self.api.call("DELETE", REGISTRATION).allowed
        try:
            until(lambda: not self.called(), "the mutating webhook is not called")
            yield found["webhooks"][0]
        finally:
            self.api.call("POST", REGISTRATIONS, {**found, "metadata": metadata})
            until(self.called, "the mutating webhook is called")

    @contextmanager
    def other(self, name: str, webhook: Json) -> Iterator[None]:
        """Another mutating webhook."""
        made = self.api.call("POST", REGISTRATIONS, {"metadata": {"name": name}, "webhooks": [webhook]})
        assert made.allowed, made.message
        try:
            yield
        finally:
            self.api.call("DELETE", f"{REGISTRATIONS}/{name}")


@contextmanager
def pinning(
    release: Release, registry: Registry, namespaces: Namespaces, folder: Path, refresh_interval: str
) -> Iterator[Pinning]:
    for name, pin in NAMESPACES.items():
        namespaces(name, **{PIN: pin})
    seed = folder / "seed.json"
    seed.write_text(json.dumps(SEED))
    with sandbox(seed) as anchore, installed(release, values(refresh_interval)) as running:
        until(running.ready, "every replica is ready", 180)
        running.await_judging(REQUIRED)
        found = Pinning(running, running.kubectl, registry, anchore)
        until(found.called, "the mutating webhook is called")
        yield found


def waiting(image: str, name: str) -> Json:
    """Return a Pod that nothing changes but its author."""
    return thing("Pod", image, name=name, schedulerName="nobody")


def with_volume(pod: Json, reference: str) -> Json:
    """Give a Pod a volume that is an image."""
    pod["spec"]["volumes"] = [{"name": "files", "image": {"reference": reference}}]
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "files", "mountPath": "/files"}]
    return pod


def identity(pod: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what an apply that changes nothing leaves as it is."""
    metadata = pod["metadata"]
    return metadata["uid"], metadata.get("generation"), metadata["resourceVersion"], images_of(dict(pod))


def _some(pod: Json | None) -> Json:
    assert pod
    return pod
