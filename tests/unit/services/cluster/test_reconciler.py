import asyncio
from base64 import b64encode
from contextlib import suppress

import pytest

from anchore_admission.certificates import SelfSigned
from anchore_admission.core.webhook.drift import Registration
from anchore_admission.core.webhook.pair import CertificatePair
from anchore_admission.errors import ClusterForbidden, ClusterUnavailable, ConfigurationError, Problem
from anchore_admission.ports.cluster import WebhookConfiguration
from anchore_admission.services.cluster.certificates import CertificatePlan, ManagedCertificates
from anchore_admission.services.cluster.leadership import Leadership
from anchore_admission.services.cluster.reconciler import RECONCILE_SECONDS, RETRY_SECONDS, Reconciler
from anchore_admission.services.cluster.registration import SETTLE_SECONDS, PublishedCaBundle, Registrar
from support.cluster import NAME, InMemoryCluster, Webhook
from support.fakes import FakeRecorder, ManualClock, settled

DAY = 86400.0
WANTED = Registration(NAME, [{"name": "a.b.c", "clientConfig": {"service": {"name": "gate", "namespace": "ns"}}}])
PLAN = CertificatePlan(["gate.ns.svc"], 90 * DAY)


class Replica:
    """Everything that one replica does with its cluster; certificates live by the same clock as the Lease."""

    def __init__(self, name: str, cluster: InMemoryCluster, clock: ManualClock, *, registers: bool = True) -> None:
        self.served: list[CertificatePair] = []
        self.recorder, self.webhook = FakeRecorder(), Webhook()
        published = PublishedCaBundle(clock)
        self.leadership = Leadership(cluster, name, clock=clock)
        certificates = ManagedCertificates(
            cluster,
            SelfSigned(),
            PLAN,
            present=self.served.append,
            is_trusted=published.is_trusted,
            now=clock,
            clock=clock,
        )
        registrar = Registrar(cluster, self.webhook, WANTED, self.recorder, published, clock=clock)
        self.reconciler = Reconciler(
            self.leadership,
            certificates=certificates,
            registrars=[registrar] if registers else [],
            published=published,
            ca_bundle=lambda: certificates.ca_bundle,
        )

    async def round(self) -> bool:
        await self.leadership.step()
        return await self.reconciler.reconcile()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cluster() -> InMemoryCluster:
    return InMemoryCluster()


def bundle(cluster: InMemoryCluster) -> str:
    (entry,) = cluster.entries()
    return str(entry["clientConfig"]["caBundle"])


async def test_two_replicas_come_up_and_one_registers(cluster: InMemoryCluster, clock: ManualClock) -> None:
    first, second = (Replica(name, cluster, clock) for name in ("first", "second"))
    assert await first.round()
    assert await second.round()
    assert first.served == second.served
    assert (first.recorder.current[-1], second.recorder.current[-1]) == (True, False)
    assert second.webhook.asked == []


async def test_a_renewal_through_all_steps_with_a_registration(cluster: InMemoryCluster, clock: ManualClock) -> None:
    replica = Replica("first", cluster, clock)
    await replica.round()
    only_old = bundle(cluster)
    clock.now += 60 * DAY
    await replica.round()
    both = bundle(cluster)
    assert both != only_old
    clock.now += SETTLE_SECONDS - 1
    await replica.round()
    assert len(replica.served) == 1
    clock.now += 1
    await replica.round()
    assert replica.served[1].certificate != replica.served[0].certificate
    await replica.round()
    assert bundle(cluster) == both


async def test_without_a_registration_others_get_the_same_time(cluster: InMemoryCluster, clock: ManualClock) -> None:
    replica = Replica("first", cluster, clock, registers=False)
    await replica.round()
    clock.now += 60 * DAY
    await replica.round()
    clock.now += SETTLE_SECONDS
    await replica.round()
    assert len({pair.certificate for pair in replica.served}) == 2
    assert cluster.entries() == ()


async def test_a_successor_takes_over_when_the_leader_is_lost(cluster: InMemoryCluster, clock: ManualClock) -> None:
    first, second = (Replica(name, cluster, clock) for name in ("first", "second"))
    await first.round()
    await second.round()
    clock.now += 15
    assert await second.round()
    assert second.recorder.current[-1] is True
    await first.round()
    assert first.recorder.current[-1] is False


async def test_an_api_server_that_is_down_at_the_start_is_waited_for(
    cluster: InMemoryCluster, clock: ManualClock
) -> None:
    cluster.failing = dict.fromkeys(
        ["read_lease", "read_secret", "read_webhooks", "write_lease", "write_secret"], ClusterUnavailable("down")
    )
    replica = Replica("first", cluster, clock)
    for _ in range(3):
        assert not await replica.round()
    cluster.failing.clear()
    assert await replica.round()
    assert len(replica.served) == 1


async def test_an_invalid_secret_does_not_keep_the_leader_from_reconciling_the_registration(
    cluster: InMemoryCluster, clock: ManualClock
) -> None:
    replica = Replica("first", cluster, clock)
    await replica.round()
    good = cluster.entries()
    cluster.fill({"tls.crt": b"nonsense"})
    cluster.failing["write_secret"] = ClusterForbidden("no")
    cluster.registered[NAME] = WebhookConfiguration("uid-1", ())
    assert await replica.round()
    assert cluster.entries() == good


class Mounted:
    """A replica whose CA bundle comes from a file that the test fills."""

    def __init__(self, cluster: InMemoryCluster, clock: ManualClock) -> None:
        self.ca_bundle: bytes | None = None
        self.looked = 0
        self.recorder = FakeRecorder()
        published = PublishedCaBundle(clock)
        self.leadership = Leadership(cluster, "first", clock=clock)
        self.reconciler = Reconciler(
            self.leadership,
            certificates=None,
            registrars=[Registrar(cluster, Webhook(), WANTED, self.recorder, published, clock=clock)],
            published=published,
            ca_bundle=self._read,
        )

    def _read(self) -> bytes:
        self.looked += 1
        if self.ca_bundle is None:
            raise ConfigurationError("ca.crt", [Problem("", "no")])
        return self.ca_bundle


async def test_nothing_is_registered_without_a_valid_ca_bundle(cluster: InMemoryCluster, clock: ManualClock) -> None:
    replica = Mounted(cluster, clock)
    await replica.leadership.step()
    assert not await replica.reconciler.reconcile()
    assert cluster.entries() == ()
    assert replica.recorder.current == [False]
    replica.ca_bundle = b"CA"
    assert await replica.reconciler.reconcile()
    assert bundle(cluster) == b64encode(b"CA").decode()


async def test_followers_read_the_ca_bundle_too(cluster: InMemoryCluster, clock: ManualClock) -> None:
    replica = Mounted(cluster, clock)
    replica.ca_bundle = b"CA"
    for _ in range(2):
        assert await replica.reconciler.reconcile()
    assert replica.looked == len(replica.recorder.current)
    assert cluster.entries() == ()


async def test_rounds_hurry_until_everything_is_as_it_should_be(cluster: InMemoryCluster, clock: ManualClock) -> None:
    replica = Replica("first", cluster, clock)
    replica.webhook.answers = False
    rounds = asyncio.create_task(replica.reconciler.run(clock.sleep))
    await settled()
    assert cluster.operations == []
    lease = asyncio.create_task(replica.reconciler.hold_lease(clock.sleep))
    await clock.advance(3 * RETRY_SECONDS)
    assert len(replica.webhook.asked) == 4
    replica.webhook.answers = True
    await clock.advance(RETRY_SECONDS)
    cluster.operations.clear()
    await clock.advance(10 * RECONCILE_SECONDS)
    assert cluster.operations.count("read_webhooks") == 10
    assert cluster.operations.count("write_lease") == 50
    for task in (lease, rounds):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
