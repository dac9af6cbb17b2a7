"""One controller for every test that needs no chart: a namespace for each rule."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from e2e.cluster.api import Answer, Api
from e2e.cluster.places import AUDIT_LOG
from e2e.cluster.waiting import until
from e2e.processes import LABEL, controller, registered, sandbox

Json = dict[str, Any]

CONFIGURATION: Final[Json] = {
    "defaults": {"mode": "strict"},
    "rules": [
        {"name": "passive", "match": {"namespaces": ["passive"]}, "mode": "passive"},
        {"name": "analysis", "match": {"namespaces": ["analysis"]}, "mode": "analysis"},
        {"name": "warned", "match": {"namespaces": ["warned"]}, "enforcement": "warn"},
        {"name": "skipped", "match": {"namespaces": ["skipped"]}, "mode": "skip"},
    ],
    "passive": {"wait": "5s"},
}
NAMESPACES: Final = ("strict", "passive", "analysis", "warned", "skipped")
NAME: Final = "e2e"


@dataclass(frozen=True, slots=True)
class Stage:
    api: Api
    sandbox: httpx.Client
    webhook: str
    authority: str
    """That the API server has to trust, in base64."""

    def create(self, namespace: str, made: Json, *, dry_run: bool = False) -> Answer:
        return self.api.create(namespace, made, dry_run=dry_run)

    def denial(self, answer: Answer) -> str:
        """What the webhook said, after the API server's own words."""
        assert answer.code == 403, (answer.code, answer.body)
        _, found, said = answer.message.partition(f'admission webhook "{self.webhook}" denied the request: ')
        assert found, answer.message
        return said

    def annotations(self, namespace: str, name: str, verb: str) -> Json:
        """What the webhook wrote into the audit log about the last such request, without its name."""
        entry = until(lambda: _entries(namespace, name, verb), f"the audit log tells of {verb} {namespace}/{name}")[-1]
        prefix = f"{self.webhook}/"
        found: Json = entry.get("annotations", {})
        return {key.removeprefix(prefix): text for key, text in found.items() if key.startswith(prefix)}


def stage(api: Api, folder: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        for name in NAMESPACES:
            api.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": {LABEL: NAME}}})
            stack.callback(api.call, "DELETE", f"/api/v1/namespaces/{name}")
        for name in NAMESPACES:
            account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
            until(lambda account=account: api.get(account), account)  # type: ignore[misc]  # mypy knows no default here
        anchore = stack.enter_context(sandbox())
        authority = stack.enter_context(controller(folder, CONFIGURATION))
        webhook = stack.enter_context(registered(api, NAME, authority, probe="strict"))
        yield Stage(api, anchore, webhook, authority)


def _entries(namespace: str, name: str, verb: str) -> list[Json]:
    found = map(json.loads, AUDIT_LOG.read_text().splitlines())
    return [
        entry
        for entry in found
        if entry["verb"] == verb
        and entry.get("objectRef", {}).get("namespace") == namespace
        and entry["objectRef"].get("name") == name
    ]
