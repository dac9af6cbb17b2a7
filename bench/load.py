"""A small keep-alive HTTP client that costs little itself, and the Pods it sends."""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

from anchore_admission.models.examples import example_review


@dataclass(frozen=True)
class Load:
    """The times of a run; ``responses`` are the bodies of the first responses, one per connection."""

    seconds: float
    latencies: list[float]
    responses: list[bytes]


def request(port: int, path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json, */*\r\nUser-Agent: kube-apiserver-admission\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def drive(port: int, requests: list[bytes], *, connections: int) -> Load:
    """Send all requests over a few connections, one after another on each."""
    latencies: list[float] = []
    responses: list[bytes] = []
    began = time.perf_counter()
    shares = [requests[i::connections] for i in range(connections)]
    await asyncio.gather(*(_connection(port, share, latencies, responses) for share in shares))
    return Load(time.perf_counter() - began, latencies, responses)


async def _connection(port: int, requests: list[bytes], latencies: list[float], responses: list[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number, wire in enumerate(requests):
        began = time.perf_counter()
        writer.write(wire)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        latencies.append(time.perf_counter() - began)
        assert head.startswith(b"HTTP/1.1 200"), head
        if number == 0:
            responses.append(body)
    writer.close()
    await writer.wait_closed()


def pod_review(images: list[str], *, size: int = 0) -> bytes:
    """An AdmissionReview of a Pod as an API server sends it, padded to about ``size`` bytes with what Pods carry."""
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
    review = example_review(pod, userInfo=user)
    missing = size - len(json.dumps(review))
    if missing > 0:
        pod["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "x" * missing}
    return json.dumps(review).encode()
