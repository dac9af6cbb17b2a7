import asyncio
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import pytest

from anchore_admission.certificates import SelfSigned
from anchore_admission.core.webhook.drift import Registration
from anchore_admission.core.webhook.entry import WebhookKind
from anchore_admission.core.webhook.pair import CertificatePair
from anchore_admission.errors import (
    ClusterForbidden,
    ClusterUnavailable,
    ConfigurationError,
    Problem,
)
from anchore_admission.ports.cluster import WebhookConfiguration
from anchore_admission.services.cluster.certificates import CertificatePlan, ManagedCertificates
from anchore_admission.services.cluster.leadership import Leadership
from anchore_admission.services.cluster.reconciler import RECONCILE_SECONDS, RETRY_SECONDS, Reconciler
from anchore_admission.services.cluster.registration import (
    SETTLE_SECONDS,
    PublishedCaBundle,
    Registrar,
    trusted_everywhere,
)
from support.cluster import NAME, InMemoryCluster, Webhook
from support.fakes import FakeRecorder, ManualClock, settled

DAY = 86400.0
WANTED = Registration(NAME, [{"name": "a.b.c", "clientConfig": {"service": {"name": "gate", "namespace": "ns"}}}])
PINNING_CLIENT = {"service": {"name": "gate", "namespace": "ns", "path": "/mutate"}}
PINNING = Registration(NAME, [{"name": "a.b.c", "clientConfig": PINNING_CLIENT}], WebhookKind.MUTATING)
PLAN = CertificatePlan(["gate.ns.svc"], 90 * DAY)


class Replica:
    """Everything that one replica does with its cluster; certificates live by the same clock as the Lease."""

    def __init__(
        self,
        name: str,
        cluster: InMemoryCluster,
        clock: ManualClock,
        *registrations: Registration,
        registers: bool = True,
    ) -> None:
        self.served: list[CertificatePair] = []
        self.recorder, self.webhook = FakeRecorder(), Webhook()
        wanted: Sequence[Registration] = (registrations or (WANTED,)) if registers else ()
        published = [PublishedCaBundle(clock) for _ in wanted or (None,)]
        self.leadership = Leadership(cluster, name, clock=clock)
        certificates = ManagedCertificates(
            cluster,
            SelfSigned(),
            PLAN,
            present=self.served.append,
            is_trusted=partial(trusted_everywhere, published),
            now=clock,
            clock=clock,
        )
        registrars = [
            Registrar(cluster, self.webhook, each, self.recorder, bundle, clock=clock)
            for each, bundle in zip(wanted, published, strict=False)
        ]
        self.reconciler = Reconciler(
            self.leadership,
            certificates=certificates,
            registrars=registrars,
            published=published[0],
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


class TwoWebhooks:
    """A leader that registers both webhooks, which are there but for what a test deletes."""

    def __init__(self, cluster: InMemoryCluster, clock: ManualClock) -> None:
        cluster.mutating[NAME] = WebhookConfiguration("uid-2", ())
        self.cluster, self.clock = cluster, clock
        self.replica = Replica("first", cluster, clock, PINNING, WANTED)

    async def after(self, seconds: float) -> int:
        """Let time pass and reconcile once; return how many certificates were presented so far."""
        self.clock.now += seconds
        await self.replica.round()
        return len(self.replica.served)

    async def renewing(self) -> None:
        """Begin a renewal: the Secret holds the new CA, and neither configuration publishes it."""
        await self.after(0)
        for operation in ("read_webhooks", "apply_webhooks"):
            self.cluster.failing[operation] = ClusterUnavailable("down")
        await self.after(60 * DAY)
        self.cluster.failing.clear()

    def keep_out(self, kind: WebhookKind) -> None:
        """Let every write of this configuration fail, and those of the other succeed."""
        self.cluster.failing_kinds[kind] = ClusterForbidden("no permission")


@pytest.fixture
def both(cluster: InMemoryCluster, clock: ManualClock) -> TwoWebhooks:
    return TwoWebhooks(cluster, clock)


async def test_the_mutating_webhook_is_registered_first(both: TwoWebhooks) -> None:
    await both.after(0)
    assert both.cluster.applied == [WebhookKind.MUTATING, WebhookKind.VALIDATING]
    assert [url for url, _ in both.replica.webhook.asked] == [
        f"https://gate.ns.svc:443/{path}" for path in ("mutate", "")
    ]


async def test_neither_webhook_is_registered_before_its_probe_succeeds(both: TwoWebhooks) -> None:
    both.replica.webhook.answers = False
    await both.after(0)
    assert len(both.replica.webhook.asked) == len(WebhookKind)
    assert both.cluster.applied == []


@pytest.mark.parametrize("kind", WebhookKind)
async def test_a_webhook_that_cannot_be_registered_keeps_no_other_from_it(kind: WebhookKind, both: TwoWebhooks) -> None:
    (other,) = set(WebhookKind) - {kind}
    both.keep_out(kind)
    await both.after(0)
    assert both.cluster.applied == [other]


@pytest.mark.parametrize("late", WebhookKind)
async def test_a_certificate_waits_until_both_webhooks_trust_its_ca(late: WebhookKind, both: TwoWebhooks) -> None:
    await both.renewing()
    both.keep_out(late)
    for _ in range(5):
        assert await both.after(SETTLE_SECONDS) == 1
    both.cluster.failing_kinds.clear()
    assert await both.after(0) == 1
    assert await both.after(SETTLE_SECONDS - 1) == 1
    assert await both.after(1) == 2


@pytest.mark.parametrize("deleted", WebhookKind)
async def test_a_webhook_that_is_switched_off_holds_up_no_renewal(deleted: WebhookKind, both: TwoWebhooks) -> None:
    await both.renewing()
    (both.cluster.mutating if deleted is WebhookKind.MUTATING else both.cluster.registered).clear()
    assert await both.after(0) == 1
    assert await both.after(SETTLE_SECONDS) == 2


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
