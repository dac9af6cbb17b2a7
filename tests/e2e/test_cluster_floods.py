"""Hostile authors, clients and Anchore servers, at the chart's own memory limit."""

import contextlib
import json
import resource
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from e2e.cluster.api import Answer, Api
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.release import NAME, Release, installed
from e2e.things import FAILING, PASSING, Json, thing

pytestmark = pytest.mark.cluster

HERE: Final = "flooded"
AT_ONCE: Final = 30
PORT: Final = 8443
HOSTILE: Final = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = {"service": {"version": "1.1.0"}, "api": {}}
ROW = {"imageDigest": "sha256:" + "a" * 64, "analysis_status": "analyzed", "image_status": "active", "image_detail": []}

class Hostile(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.endswith("/version"):
            return self.answer(404 if "v2" in self.path else 200, VERSION)
        if "slow404" in self.path:
            return self.answer(404, {"message": "account " * 20000})
        if "large" in self.path:
            return self.answer(200, [ROW] * 100000)
        if "endless" in self.path:
            with __import__("contextlib").suppress(OSError):
                while True:
                    self.wfile.write(b"HTTP/1.1 100 Continue\\r\\n\\r\\n" * 1000)
        self.answer(404, {"message": "image data not found in DB"})

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.answer(400, {"message": "no"})

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

ThreadingHTTPServer(("", 8228), Hostile).serve_forever()
"""
"""An Anchore of API v1 whose responses depend on the name of the image."""


@pytest.fixture(scope="module")
def flooded(release: Release, namespaces: Namespaces) -> Iterator[Release]:
    """The chart's own resources: nothing here raises them."""
    namespaces(HERE)
    with installed(release, {"sandbox": {"enabled": True}, "enableStrictGating": True}) as running:
        running.await_judging(HERE)
        yield running


@pytest.fixture
def unharmed(flooded: Release) -> Iterator[Release]:
    """No replica may be restarted by what a test does, and both must answer afterwards."""
    before = flooded.restarts()
    yield flooded
    until(flooded.ready, "both replicas are ready")
    assert flooded.restarts() == before
    flooded.await_judging(HERE)


def asked(*pods: Json) -> list[Answer]:
    """Dry runs, all at once."""

    def ask(pod: Json) -> Answer:
        with Api() as api:
            return api.create(HERE, pod, dry_run=True)

    with ThreadPoolExecutor(len(pods)) as pool:
        return list(pool.map(ask, pods))


def assert_denied(answers: Sequence[Answer]) -> None:
    """Nothing is admitted; on a small machine some calls run out of the API server's time, which ``Fail`` denies."""
    said = [(answer.code, answer.message[:300]) for answer in answers]
    assert all(code in {403, 500, 504} for code, _ in said), said
    assert any("denied the request" in message for _, message in said), said


@contextlib.contextmanager
def others_answered() -> Iterator[None]:
    """Judge another tenant's Pods meanwhile: some are answered, and none wrongly."""
    stop, codes = threading.Event(), []

    def ask() -> None:
        with Api() as api:
            while not stop.is_set():
                codes.append(api.create(HERE, thing("Pod", PASSING), dry_run=True).code)

    requester = threading.Thread(target=ask)
    requester.start()
    try:
        yield
    finally:
        stop.set()
        requester.join()
    assert 201 in codes
    assert set(codes) <= {201, 500, 504}, codes


def test_image_names_of_a_million_characters(unharmed: Release) -> None:
    long = "r.io" + "/a" * 600_000
    with others_answered():
        assert_denied(asked(*(thing("Pod", long, name=f"long-{number}") for number in range(AT_ONCE))))


def test_twenty_thousand_images_in_a_pod(unharmed: Release) -> None:
    """Send fewer at once: the API server itself takes seconds for each."""
    images = [f"r{number}" for number in range(20_000)]
    with others_answered():
        assert_denied(asked(*(thing("Pod", *images, name=f"many-{number}") for number in range(6))))


def test_large_objects(unharmed: Release) -> None:
    def large(name: str) -> Json:
        pod = thing("Pod", FAILING, name=name)
        pod["spec"]["containers"][0]["args"] = ["<" * 120_000] * 11
        return pod

    with others_answered():
        assert_denied(asked(*(large(f"large-{number}") for number in range(AT_ONCE))))


@contextlib.contextmanager
def connected(release: Release, count: int, *, tls: bool, sent: bytes = b"") -> Iterator[None]:
    """Hold so many connections to one replica open; those that it closes are not opened again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * count + 1000)), hard))
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    with contextlib.ExitStack() as stack:
        address = release.pods()[0]["status"]["podIP"]
        for _ in range(count):
            with contextlib.suppress(OSError):
                plain = socket.create_connection((address, PORT), timeout=20)
                connection = trust.wrap_socket(plain) if tls else plain
                stack.callback(connection.close)
                connection.sendall(sent)
        yield


def _unfinished(length: int, sent: int) -> bytes:
    header = (
        f"POST /validate?timeout=10s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}"
    )
    return f"{header}\r\n\r\n".encode() + b" " * sent


@pytest.mark.parametrize(
    ("count", "tls", "sent"),
    [
        (1_060, True, _unfinished(10, 0)),
        (24, True, _unfinished(8 * 2**20, 8 * 2**20 - 1)),
        (5_300, False, b""),
    ],
    ids=["no body", "unfinished bodies", "no TLS"],
)
def test_stalled_connections_do_not_keep_others_out(unharmed: Release, *, count: int, tls: bool, sent: bytes) -> None:
    with connected(unharmed, count, tls=tls, sent=sent):
        until(
            lambda: all(unharmed.create(HERE, thing("Pod", PASSING), dry_run=True).code == 201 for _ in range(20)),
            "reviews are answered by both replicas while the connections stand",
            60,
        )


@pytest.fixture
def hostile(flooded: Release, kubectl: Kubectl) -> Iterator[Release]:
    """A release that uses a hostile Anchore."""
    labels = {"app": "hostile"}
    container = {"name": "anchore", "image": flooded.image, "command": ["python", "-c", HOSTILE]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "hostile", "labels": labels},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "hostile"},
        "spec": {"selector": labels, "ports": [{"port": 8228}]},
    }
    file = kubectl.home / "hostile.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [pod, service]}))
    kubectl("apply", "-n", NAME, "-f", str(file))
    endpoint = f"http://hostile.{NAME}.svc:8228"
    flooded.install(
        {"anchore": {"endpoint": endpoint, "username": "admin", "password": "x"}, "enableStrictGating": True}
    )
    until(
        lambda: "is not analyzed" in flooded.create(HERE, thing("Pod", "r.io/fine:1"), dry_run=True).message,
        "it is asked",
    )
    yield flooded
    kubectl("delete", "-n", NAME, "-f", str(file))


@pytest.mark.parametrize("kind", ["slow404", "large", "endless"])
def test_a_hostile_anchore_stops_nothing(hostile: Release, kind: str) -> None:
    before = hostile.restarts()
    assert_denied(asked(*(thing("Pod", f"r.io/{kind}:{number}") for number in range(AT_ONCE))))
    until(hostile.ready, "both replicas are ready")
    assert hostile.restarts() == before
