"""Many Pods created at once, by a client whose connections stand already."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import httpx

from anchore_admission.adapters.trust import trusting
from e2e.cluster.places import API_SERVER, KUBECONFIG
from e2e.things import Json

_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Crowd:
    seconds: float
    refused: Sequence[str]
    """What was said about the Pods that were not created."""


def create(namespace: str, pods: Sequence[Json], *, dry_run: bool = False) -> Crowd:
    """Create all of them in our own cluster at the same time, and wait for the last response."""
    return asyncio.run(_create(f"/api/v1/namespaces/{namespace}/pods{'?dryRun=All' if dry_run else ''}", pods))


async def _create(path: str, pods: Sequence[Json]) -> Crowd:
    folder = KUBECONFIG.parent
    trust = trusting(cafile=str(folder / "ca.crt"))
    trust.load_cert_chain(folder / "admin.crt", folder / "admin.key")
    limits = httpx.Limits(max_connections=len(pods), max_keepalive_connections=len(pods))
    bodies = [json.dumps(pod).encode() for pod in pods]
    async with httpx.AsyncClient(
        base_url=API_SERVER, verify=trust, timeout=_SECONDS, trust_env=False, limits=limits
    ) as client:
        await asyncio.gather(*(client.get("/readyz") for _ in pods))
        began = time.perf_counter()
        answers = await asyncio.gather(
            *(client.post(path, content=body, headers={"content-type": "application/json"}) for body in bodies)
        )
        seconds = time.perf_counter() - began
    return Crowd(seconds, [answer.text for answer in answers if answer.status_code != HTTPStatus.CREATED])
