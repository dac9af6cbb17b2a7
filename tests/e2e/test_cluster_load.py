"""Disturbances under steady load: no review fails and none is wrong."""

import base64
import datetime as dt
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.x509 import Certificate, load_pem_x509_certificate

from e2e import calls
from e2e.cluster.cluster import Cluster
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.places import LOGS
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.load import Load, steady
from e2e.pins import PINNING, REGISTRATION
from e2e.processes import ANCHORE, sandbox
from e2e.release import BUILT, NAME, Release, installed

pytestmark = pytest.mark.cluster

STRICT = {
    "anchore": {"endpoint": ANCHORE, "username": "admin", "password": "foobar"},
    "enableStrictGating": True,
}
"""The sandbox stands outside, so that an upgrade does not touch it."""
SECRET = f"/api/v1/namespaces/{NAME}/secrets/{NAME}-tls"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAME}/leases/{NAME}"
API_SERVER_LOG = LOGS / "kube-apiserver.log"
SECONDS_OF_OUTAGE = 10


@pytest.fixture(scope="module")
def serving(cluster: Cluster, release: Release, namespaces: Namespaces) -> Iterator[Release]:
    namespaces("loaded")
    with sandbox(), installed(release, STRICT) as running:
        running.await_judging("loaded")
        yield running


@pytest.fixture
def load(serving: Release) -> Iterator[Load]:
    """Begins with a whole release, and must end without a complaint."""
    serving.install(STRICT)
    until(serving.ready, "every replica is ready")
    with steady("loaded") as load:
        yield load


def unharmed(load: Load) -> bool:
    load.more()
    assert (load.failed, load.wrong, load.missed()) == ([], [], {})
    return True


def test_a_rolling_restart_is_not_noticed(serving: Release, load: Load, kubectl: Kubectl) -> None:
    before = {pod["metadata"]["uid"] for pod in serving.pods()}

    kubectl("rollout", "restart", "-n", NAME, f"deployment/{NAME}")
    kubectl("rollout", "status", "-n", NAME, f"deployment/{NAME}", "--timeout=240s")
    until(lambda: serving.ready() and gone(serving, before), "the old replicas have gone", 180)

    assert unharmed(load)


def test_a_new_configuration_is_not_noticed(serving: Release, load: Load) -> None:
    before = {pod["metadata"]["uid"] for pod in serving.pods()}

    serving.install({**STRICT, "config": {"memory": {"pass": "50s"}}})  # which needs a restart
    until(lambda: serving.ready() and gone(serving, before), "the old replicas have gone", 180)

    assert unharmed(load)


def test_a_new_version_is_not_noticed(serving: Release, load: Load, cluster: Cluster, tmp_path: Path) -> None:
    cluster.load(serving.labelled(tmp_path, "next"))
    next_one = Release(serving.kubectl, serving.api, f"{BUILT.rpartition(':')[0]}:next")
    before = {pod["metadata"]["uid"] for pod in serving.pods()}

    next_one.install(STRICT)
    until(lambda: serving.ready() and gone(serving, before), "the old replicas have gone", 180)

    images = {container["image"] for pod in serving.pods() for container in pod["spec"]["containers"]}
    assert images == {next_one.image}
    assert unharmed(load)


def test_certificates_are_renewed_unnoticed(serving: Release, load: Load) -> None:
    """Renew once after the Secret is emptied, then near the end of a certificate's life, until it has expired.

    Both webhooks are called all the time. The mutating one fails open, so that only the API server tells of a failure.
    """
    before = names(serving)
    serving.install({**STRICT, "pinning": {"enabled": True}, "extraArgs": ["--certificate-lifetime=90s"]})
    until(lambda: leader(serving) in names(serving) - before, "a replica leads that makes short lives", 180)
    until(serving.ready, "every replica is ready", 180)
    starts, seen = serving.restarts(), [certificate(serving)]
    emptied = serving.api.call("PATCH", SECRET, {"data": None}, content_type="application/merge-patch+json")
    assert emptied.allowed, emptied.message

    def renewed() -> bool:
        held = certificate(serving)
        if held not in seen:
            seen.append(held)
        return len(seen) > 2

    until(renewed, "certificates have come and gone", 240, every=1)
    until(lambda: serving.presented() == {certificate(serving)}, "every replica presents the Secret's", every=1)
    until(lambda: dt.datetime.now(dt.UTC) > seen[1].not_valid_after_utc, "the one before has expired", every=1)
    answered = calls.answered(serving.api, PINNING, "200")
    assert unharmed(load)
    assert calls.answered(serving.api, PINNING, "200") > answered
    assert not [line for line in API_SERVER_LOG.read_text().splitlines() if PINNING in line and "tls: " in line]
    assert serving.restarts() == starts
    bundle = serving.registration()["clientConfig"]["caBundle"]
    assert serving.api.get(REGISTRATION)["webhooks"][0]["clientConfig"]["caBundle"] == bundle


def test_a_drain_is_not_noticed(serving: Release, load: Load, kubectl: Kubectl, cluster: Cluster) -> None:
    before = {pod["metadata"]["uid"]: pod["spec"]["nodeName"] for pod in serving.pods()}
    node = next(iter(before.values()))
    (other,) = {place.name for place in cluster.nodes} - {node}

    kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=240s")
    try:
        until(serving.ready, "every replica is ready", 180)
        assert gone(serving, {uid for uid, place in before.items() if place == node})
        assert {pod["spec"]["nodeName"] for pod in serving.pods()} == {other}
        assert unharmed(load)
    finally:
        kubectl("uncordon", node)


def test_a_replica_that_is_killed_is_missed_for_seconds_and_nothing_is_judged_wrongly(
    serving: Release, load: Load, cluster: Cluster
) -> None:
    victim = serving.pods()[0]
    node = next(node for node in cluster.nodes if node.name == victim["spec"]["nodeName"])
    container = victim["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")

    began = time.monotonic()
    os.kill(node.tasks()[container], signal.SIGKILL)
    until(lambda: restarts(serving, victim["metadata"]["uid"]) == 1 and serving.ready(), "the replica is back")
    load.more()

    assert load.wrong == []
    rejected = [count for series, count in load.missed().items() if series.startswith(calls.REJECTIONS)]
    assert sum(rejected) == len(load.failed)
    ends = [moment - began for moment, _ in load.failed]
    assert max(ends, default=0) < SECONDS_OF_OUTAGE, load.failed
    assert all("failed calling webhook" in said for _, said in load.failed)
    print(f"killed replica: {len(load.failed)} failed calls, the last after {max(ends, default=0):.1f} s")  # noqa: T201 - a measure, shown by -s and on failure


def names(serving: Release) -> set[str]:
    return {pod["metadata"]["name"] for pod in serving.pods()}


def leader(serving: Release) -> str:
    """The Pod that holds the Lease."""
    return str(serving.api.get(LEASE)["spec"]["holderIdentity"])


def certificate(serving: Release) -> Certificate:
    """The Secret's. Raises LookupError while it holds none."""
    return load_pem_x509_certificate(base64.b64decode(serving.api.get(SECRET)["data"]["tls.crt"]))


def gone(serving: Release, before: set[str]) -> bool:
    return not before & {pod["metadata"]["uid"] for pod in serving.pods()}


def restarts(serving: Release, uid: str) -> int:
    pod = next(pod for pod in serving.pods() if pod["metadata"]["uid"] == uid)
    count: int = pod["status"]["containerStatuses"][0]["restartCount"]
    return count
