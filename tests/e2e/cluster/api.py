"""Direct calls to the API server; responses include warnings."""

import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import httpx

from anchore_admission.adapters.trust import trusting
from e2e.cluster.places import API_SERVER, KUBECONFIG

_WARNING: Final = re.compile(r'299 - "((?:[^"\\]|\\.)*)"')
_NAMED: Final = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    body: dict[str, Any]
    warnings: tuple[str, ...]

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))

    @property
    def allowed(self) -> bool:
        return self.code < 300


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of metrics."""

    name: str
    labels: Mapping[str, str]
    value: float


class Api:
    """A client, by default as administrator of our own cluster; ``address`` is that of a proxy to another one."""

    def __init__(self, address: str = API_SERVER) -> None:
        trust: ssl.SSLContext | bool = True
        if address == API_SERVER:
            folder = KUBECONFIG.parent
            trust = trusting(cafile=str(folder / "ca.crt"))
            trust.load_cert_chain(folder / "admin.crt", folder / "admin.key")
        self._client = httpx.Client(base_url=address, verify=trust, timeout=40, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        dry_run: bool = False,
        content_type: str = "application/json",
    ) -> Answer:
        query = {"dryRun": "All"} if dry_run else None  # an empty one would take the place of the path's own
        content = None if body is None else json.dumps(body)
        answer = self._client.request(
            method, path, params=query, content=content, headers={"content-type": content_type}
        )
        found = answer.json() if answer.headers["content-type"].startswith("application/json") else {}
        warnings = _WARNING.findall(", ".join(answer.headers.get_list("warning")))
        return Answer(answer.status_code, found, tuple(re.sub(r"\\(.)", r"\1", text) for text in warnings))

    def get(self, path: str) -> dict[str, Any]:
        """Get an object. Raises LookupError if it does not exist."""
        answer = self.call("GET", path)
        if not answer.allowed:
            raise LookupError(f"{path}: {answer.message}")
        return answer.body

    def text(self, path: str) -> str:
        return self._client.get(path).raise_for_status().text

    def create(self, namespace: str, thing: Mapping[str, Any], *, dry_run: bool = False) -> Answer:
        return self.call("POST", collection(namespace, thing), thing, dry_run=dry_run)

    def metrics(self, *names: str, path: str = "/metrics") -> list[Sample]:
        """Return the metrics of the API server, or of a Pod through the API server's proxy."""
        found = (_NAMED.match(line) for line in self.text(path).splitlines() if not line.startswith("#"))
        return [
            Sample(match[1], dict(_LABEL.findall(match[2] or "")), float(match[3]))
            for match in found
            if match and match[1] in names
        ]


PLURALS: Final = {
    "Pod": "pods",
    "PodTemplate": "podtemplates",
    "ReplicationController": "replicationcontrollers",
    "Deployment": "deployments",
    "ReplicaSet": "replicasets",
    "StatefulSet": "statefulsets",
    "DaemonSet": "daemonsets",
    "Job": "jobs",
    "CronJob": "cronjobs",
}


def collection(namespace: str, thing: Mapping[str, Any]) -> str:
    version = thing["apiVersion"]
    root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    return f"{root}/namespaces/{namespace}/{PLURALS[thing['kind']]}"
