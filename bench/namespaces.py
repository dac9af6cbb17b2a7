"""Namespaces: the memory that the labels of 5,000 take, read from a stand-in API server in pages and kept."""

import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.figures import Figure
from bench.load import fetch
from bench.processes import controller, resident_mb, strict
from bench.standin import Call, Steady, of, send, serving

_RULES = [{"name": "prod", "match": {"namespaceSelector": {"matchLabels": {"env": "prod"}}}}]
_WATCH = b"HTTP/1.1 200 -\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
_SETTLE_SECONDS = 1.0


async def measure(*, quick: bool) -> list[Figure]:
    count = 500 if quick else 5000
    one, many = await _resident(1), await _resident(count)
    about = f"the labels of {count:,} namespaces, in addition"
    return [Figure("memory.namespaces", about, many - one, "MB", goal=10)]


async def _resident(count: int) -> float:
    """Return the resident memory of a controller that has listed this many namespaces."""
    namespaces = list(_namespaces(count))

    async def respond(call: Call, writer: asyncio.StreamWriter) -> None:
        if "watch" in call.query:
            send(writer, _WATCH)
            return
        begin, limit = int(call.query.get("continue", 0)), int(call.query["limit"])
        more = str(begin + limit) if begin + limit < count else ""
        metadata = {"resourceVersion": "1", "continue": more}
        send(writer, of({"metadata": metadata, "items": namespaces[begin : begin + limit]}).wire())

    async with serving(Steady().respond) as anchore, serving(respond) as api:
        with tempfile.TemporaryDirectory() as folder:
            environment = {"KUBECONFIG": _kubeconfig(Path(folder), api)}
            async with controller(strict(anchore, rules=_RULES), environment=environment) as server:
                await _until_synced(server.operations)
                await asyncio.sleep(_SETTLE_SECONDS)
                return resident_mb(server.pid)


async def _until_synced(operations: int) -> None:
    async with asyncio.timeout(20):
        while True:
            _, metrics = await fetch(operations, "/metrics")
            if b"anchore_admission_namespaces_synced 1.0" in metrics:
                return
            await asyncio.sleep(0.05)


def _namespaces(count: int) -> Iterator[dict[str, Any]]:
    """Yield namespaces with the labels, annotations and managed fields of a platform with many teams."""
    for n in range(count):
        name = f"team-{n // 4:04}-{('dev', 'test', 'stage', 'prod')[n % 4]}"
        labels = {
            "kubernetes.io/metadata.name": name,
            "app.kubernetes.io/managed-by": "platform",
            "env": ("dev", "test", "stage", "prod")[n % 4],
            "team": f"team-{n // 4:04}",
            "cost-center": f"cc-{n % 97:04}",
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/enforce-version": "latest",
            "istio-injection": "enabled",
        }
        fields: dict[str, Any] = {f"f:{key}": {} for key in labels}
        managed = [{"manager": "platform", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": fields}}}]
        metadata = {"name": name, "uid": f"0b9c8a4e-{n:012}", "resourceVersion": str(n), "labels": labels}
        yield {
            "metadata": {**metadata, "annotations": {"owner": f"team-{n // 4}@example.com"}, "managedFields": managed}
        }


def _kubeconfig(folder: Path, port: int) -> str:
    config = {
        "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "me", "user": {"token": "t"}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me"}}],
        "current-context": "it",
    }
    file = folder / "kubeconfig"
    file.write_text(json.dumps(config))
    return str(file)
