"""A small keep-alive HTTP client that costs little itself, and the Pods it sends."""

import asyncio
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anchore_admission.models.examples import example_review

TIMEOUT = 10
"""Seconds that the API server grants the webhook."""
CONNECTION = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Load:
    """The times of a run in seconds, and the bodies of all responses, in the order in which they arrived."""

    seconds: float
    latencies: list[float]
    responses: list[bytes]

    def admitted(self) -> int:
        """Return how many of the reviews were admitted."""
        return sum(json.loads(body)["response"]["allowed"] for body in self.responses)


def request(body: bytes, path: str = f"/validate?timeout={TIMEOUT}s") -> bytes:
    """Return a review as an API server sends it."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Accept: application/json, */*\r\nUser-Agent: kube-apiserver-admission\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def drive(ports: Sequence[int], requests: Sequence[bytes], *, connections: int, rate: float = math.inf) -> Load:
    """Send all requests over a few connections, one after another on each; the ports take turns.

    At most ``rate`` requests are sent in a second.
    """
    latencies: list[float] = []
    responses: list[bytes] = []

    async def send(first: int) -> None:
        connection = await asyncio.open_connection("127.0.0.1", ports[first % len(ports)])
        for number in range(first, len(requests), connections):
            await asyncio.sleep(began + number / rate - time.perf_counter())
            sent = time.perf_counter()
            status, body = await exchange(connection, requests[number])
            latencies.append(time.perf_counter() - sent)
            responses.append(body)
            assert status == 200, body
        connection[1].close()
        await connection[1].wait_closed()

    began = time.perf_counter()
    await asyncio.gather(*map(send, range(connections)))
    return Load(time.perf_counter() - began, latencies, responses)


async def exchange(connection: CONNECTION, wire: bytes) -> tuple[int, bytes]:
    """Send one request and return the status and the body of the response."""
    reader, writer = connection
    writer.write(wire)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)


async def fetch(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Call a path without a body, over a connection of its own."""
    connection = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await exchange(
            connection, f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n".encode()
        )
    finally:
        connection[1].close()


def pod_review(images: Sequence[str], *, size: int = 0, **changes: Any) -> bytes:
    """Return an AdmissionReview of a Pod as an API server sends it, padded to ``size`` bytes with what Pods carry."""
    containers = [
        {
            "name": f"c{number}",
            "image": image,
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "volumeMounts": [
                {"name": "token", "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
            ],
            "terminationMessagePath": "/dev/termination-log",
            "imagePullPolicy": "IfNotPresent",
            "env": [{"name": f"SETTING_{i}", "value": f"value-{i}"} for i in range(8)],
        }
        for number, image in enumerate(images)
    ]
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "app-5d4f", "namespace": "shop", "labels": {"app": "shop"}, "annotations": {}},
        "spec": {
            "containers": containers,
            "serviceAccountName": "shop",
            "nodeName": "",
            "volumes": [{"name": "token"}],
        },
    }
    user = {"username": "system:serviceaccount:kube-system:replicaset-controller", "groups": ["a", "b"]}
    review = example_review(pod, userInfo=user, **changes)
    missing = size - len(json.dumps(review))
    if missing > 0:
        pod["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "x" * missing}
    return json.dumps(review).encode()
