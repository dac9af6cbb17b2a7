"""One release with its sandbox for many tests: a namespace for each rule, and what people can look at."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Final

import httpx

from e2e import calls
from e2e.cluster.api import Answer, Api
from e2e.cluster.places import AUDIT_LOG
from e2e.cluster.waiting import until
from e2e.release import WEBHOOK, Release
from e2e.things import FAILING, Json

BREAK_GLASS: Final = "example.com/break-glass-reason"
LABEL: Final = "e2e.anchore.io/judged"
CONFIGURATION: Final[Json] = {
    "defaults": {"mode": "strict"},
    "rules": [
        {"name": "passive", "match": {"namespaces": ["passive"]}, "mode": "passive"},
        {"name": "analysis", "match": {"namespaces": ["analysis"]}, "mode": "analysis"},
        {"name": "warned", "match": {"namespaces": ["warned"]}, "enforcement": "warn"},
        {"name": "skipped", "match": {"namespaces": ["skipped"]}, "mode": "skip"},
        {"name": "hub", "match": {"namespaces": ["hub"]}, "policy": "no-nginx"},
        {"name": "tolerant", "match": {"namespaces": ["tolerant"]}, "onError": "allow"},
        {"name": "cluster", "match": {"namespaces": ["registries"], "images": ["registry.k8s.io/*"]}, "mode": "skip"},
        {"name": "own", "match": {"namespaces": ["registries"], "images": ["*.corp.example/*"]}, "mode": "skip"},
        {"name": "public", "match": {"namespaces": ["registries"], "images": ["docker.io/*", "evil.example/*"]}},
        {"name": "others", "match": {"namespaces": ["registries"]}, "mode": "skip"},
        {
            "name": "on-call",
            "match": {"namespaces": ["waived"], "groups": ["on-call"]},
            "breakGlass": {"annotation": BREAK_GLASS},
        },
    ],
    "exemptions": [
        {
            "name": "roll-back",
            "match": {"namespaces": ["waived"], "names": ["exempt*"], "images": [FAILING]},
            "reason": "until the new version works",
            "owner": "team-e2e",
            "ticket": "E2E-1",
            "expires": (datetime.now(UTC) + timedelta(days=30)).date().isoformat(),
            "excuses": {"findings": ["vulnerabilities:package"]},
        },
    ],
    "passive": {"wait": "5s"},
}
VALUES: Final[Json] = {
    "sandbox": {"enabled": True},
    "config": CONFIGURATION,
    "webhook": {"namespaceSelector": {"matchLabels": {LABEL: "yes"}}},
}
"""Namespaces without the label are others', should the cluster have them."""
NOTICE: Final = "This verdict comes from the embedded sandbox, not from Anchore."
NAMESPACES: Final = ("strict", "passive", "analysis", "warned", "skipped")


@dataclass(frozen=True, slots=True)
class Stage:
    release: Release
    sandbox: httpx.Client
    """Anchore's API, and the sandbox's own controls."""
    webhook: str = WEBHOOK
    failures: Mapping[str, float] = field(default_factory=dict)
    """The calls that the API server had seen fail before: it counts as long as it lives."""

    @property
    def api(self) -> Api:
        return self.release.api

    def create(self, namespace: str, made: Json, *, dry_run: bool = False) -> Answer:
        """Create an object; return the response without the sandbox's notice, which all responses about images have."""
        answer = self.api.create(namespace, made, dry_run=dry_run)
        return replace(answer, warnings=tuple(text for text in answer.warnings if text != NOTICE))

    def denial(self, answer: Answer) -> str:
        """Return the message of the webhook, without the API server's prefix."""
        assert answer.code == 403, (answer.code, answer.body)
        _, found, said = answer.message.partition(f'admission webhook "{self.webhook}" denied the request: ')
        assert found, answer.message
        return said

    def images(self) -> list[Json]:
        """Everything that Anchore knows."""
        return list(self.sandbox.get("/v1/images").raise_for_status().json())

    def known(self, tag: str) -> list[Json]:
        """Return Anchore's record of a tag."""
        answer = self.sandbox.get("/v1/images", params={"fulltag": tag})
        return [] if answer.status_code == 404 else list(answer.raise_for_status().json())

    def digest(self, image: str) -> str:
        """Anchore's, of an official image that it knows."""
        return str(self.known(f"docker.io/library/{image}")[0]["imageDigest"])

    def counted(self, metric: str, **labels: str) -> float:
        """Return the sum of a metric over all replicas."""
        samples = chain.from_iterable(self.release.metrics(metric))
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def missed(self) -> dict[str, float]:
        """The calls that the API server has seen fail since the release was installed."""
        return calls.more(self.failures, calls.failed(self.api, self.webhook))

    def annotations(self, namespace: str, name: str, verb: str) -> Json:
        """Return the webhook's audit annotations of the last such request, without their prefix."""
        entry = until(lambda: entries(namespace, name, verb), f"the audit log has {verb} {namespace}/{name}")[-1]
        prefix = f"{self.webhook}/"
        found: Json = entry.get("annotations", {})
        return {key.removeprefix(prefix): text for key, text in found.items() if key.startswith(prefix)}


@contextmanager
def forwarded(release: Release) -> Iterator[httpx.Client]:
    """The sandbox, reached as people reach it: an API server's proxy would take the credentials for its own."""
    service = f"service/{release.name}-sandbox"
    with release.kubectl.start("kubectl", "port-forward", "--namespace", release.name, service, ":8228") as forward:
        try:
            assert forward.stdout
            address = forward.stdout.readline().split()[2]
            with httpx.Client(base_url=f"http://{address}", auth=("admin", "foobar"), trust_env=False) as client:
                yield client
        finally:
            forward.terminate()


def entries(namespace: str, name: str, verb: str) -> list[Json]:
    """Return the audit log's entries about an object."""
    found = map(json.loads, AUDIT_LOG.read_text().splitlines())
    return [
        entry
        for entry in found
        if entry["verb"] == verb
        and entry.get("objectRef", {}).get("namespace") == namespace
        and entry["objectRef"].get("name") == name
    ]
