"""Many Pods created at once, by a client that takes little of the machine itself."""

import http.client
import json
import ssl
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from anchore_admission.adapters.trust import trusting
from e2e.cluster.places import API_SERVER, KUBECONFIG
from e2e.things import Json

_SECONDS: Final = 60
_HEADERS: Final = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Crowd:
    seconds: float
    refused: Sequence[str]
    """What was said about the Pods that were not created."""


def create(namespace: str, pods: Sequence[Json]) -> Crowd:
    """Create all of them in our own cluster at the same time, each over a connection that stands already."""
    folder = KUBECONFIG.parent
    trust = trusting(cafile=str(folder / "ca.crt"))
    trust.load_cert_chain(folder / "admin.crt", folder / "admin.key")
    path = f"/api/v1/namespaces/{namespace}/pods"
    bodies = [json.dumps(pod).encode() for pod in pods]

    def post(connection: http.client.HTTPSConnection, body: bytes) -> tuple[int, str]:
        connection.request("POST", path, body, _HEADERS)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    with ExitStack() as stack, ThreadPoolExecutor(len(pods)) as pool:
        connections = list(pool.map(_connected, [trust] * len(pods)))
        for connection in connections:
            stack.enter_context(closing(connection))
        began = time.perf_counter()
        answers = list(pool.map(post, connections, bodies))
        seconds = time.perf_counter() - began
    return Crowd(seconds, [said for code, said in answers if code != HTTPStatus.CREATED])


def _connected(trust: ssl.SSLContext) -> http.client.HTTPSConnection:
    address = urlsplit(API_SERVER)
    connection = http.client.HTTPSConnection(address.netloc, timeout=_SECONDS, context=trust)
    connection.connect()
    return connection
