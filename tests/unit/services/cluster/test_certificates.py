import errno
import logging
from dataclasses import dataclass, field

import pytest

from anchore_admission.certificates import SelfSigned
from anchore_admission.core.webhook.pair import CertificateDetails, CertificatePair
from anchore_admission.errors import ClusterForbidden, ClusterNotFound, ClusterUnavailable, ConfigurationError, Problem
from anchore_admission.services.cluster.certificates import CertificatePlan, ManagedCertificates
from support.cluster import InMemoryCluster

NAMES = ("gate", "gate.security", "gate.security.svc", "gate.security.svc.cluster.local")
DAY = 86400.0
PLAN = CertificatePlan(NAMES, 90 * DAY)
START = 1_800_000_000.0
UNREADY = "not ready until there is a certificate"
INVALID = "invalid certificate in the Secret: "


@dataclass
class Replica:
    """One replica's certificates; API servers trust the CA bundles in ``trusted``."""

    cluster: InMemoryCluster
    name: str
    served: list[CertificatePair] = field(default_factory=list)
    trusted: set[bytes] = field(default_factory=set)
    now: float = START
    unusable: bool = False
    no_room: bool = False

    def __post_init__(self) -> None:
        self.certificates = ManagedCertificates(
            self.cluster,
            SelfSigned(),
            PLAN,
            present=self._present,
            is_trusted=self.trusted.__contains__,
            now=lambda: self.now,
            clock=lambda: self.now,
        )

    async def lead(self) -> None:
        await self.certificates.step(leads=True, leader=self.name)

    async def follow(self, leader: str = "first") -> None:
        await self.certificates.step(leads=False, leader=leader)

    def trust(self) -> None:
        assert self.certificates.ca_bundle
        self.trusted.add(self.certificates.ca_bundle)

    def _present(self, pair: CertificatePair) -> None:
        if self.unusable:
            raise ConfigurationError("settings", [Problem("", "no")])
        if self.no_room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.served.append(pair)


@pytest.fixture
def cluster() -> InMemoryCluster:
    return InMemoryCluster()


@pytest.fixture
def first(cluster: InMemoryCluster) -> Replica:
    return Replica(cluster, "first")


@pytest.fixture
def second(cluster: InMemoryCluster) -> Replica:
    return Replica(cluster, "second")


def shared(cluster: InMemoryCluster) -> CertificatePair:
    assert cluster.secret
    return CertificatePair.from_secret(cluster.secret.data)


def leaf_of(pair: CertificatePair) -> CertificateDetails:
    return SelfSigned().read(pair)


def cas(pair: CertificatePair) -> int:
    return pair.ca_bundle.count(b"BEGIN CERTIFICATE")


async def test_the_leader_fills_the_secret_and_every_replica_serves_its_pair(
    first: Replica, second: Replica, cluster: InMemoryCluster
) -> None:
    await second.follow()
    assert second.served == []
    await first.lead()
    await second.follow()
    pair = shared(cluster)
    assert first.served == second.served == [pair]
    assert leaf_of(pair).names == set(NAMES)
    assert leaf_of(pair).not_after == START + 90 * DAY
    assert first.certificates.ca_bundle == second.certificates.ca_bundle == pair.ca_bundle
    assert cluster.secret is not None
    assert cluster.secret.data.keys() == {"ca.crt", "tls.crt", "tls.key"}
    assert cluster.secret.data["tls.key"].count(b"PRIVATE KEY") == 2  # one key, begin and end: not the CA's
    assert b"PRIVATE KEY" not in pair.ca_bundle + pair.certificate


async def test_followers_write_nothing(second: Replica, cluster: InMemoryCluster) -> None:
    await second.follow()
    assert cluster.operations == ["read_secret"]


async def test_a_valid_certificate_is_left_alone(first: Replica, cluster: InMemoryCluster) -> None:
    await first.lead()
    cluster.operations.clear()
    for day in range(60):
        first.now = START + day * DAY
        await first.lead()
    assert set(cluster.operations) == {"read_secret"}
    assert len(first.served) == 1


async def test_a_renewal_publishes_the_new_ca_before_the_certificate_changes(
    first: Replica, second: Replica, cluster: InMemoryCluster
) -> None:
    await first.lead()
    await second.follow()
    old = shared(cluster)
    first.now = second.now = START + 60 * DAY

    await first.lead()
    published = shared(cluster)
    assert (published.certificate, published.key) == (old.certificate, old.key)
    assert cas(published) == 2
    assert published.ca_bundle.endswith(leaf_of(old).ca)

    for _ in range(5):
        await first.lead()  # no API server trusts it yet
        assert shared(cluster) == published

    first.trust()
    await first.lead()
    renewed = shared(cluster)
    assert renewed.certificate != old.certificate
    assert renewed.ca_bundle == published.ca_bundle  # replicas that still serve the old one stay trusted
    assert leaf_of(renewed).ca == published.ca_bundle.removesuffix(leaf_of(old).ca)
    assert first.served[-1] == renewed

    await second.follow()
    assert second.served[-1] == renewed
    await first.lead()
    assert shared(cluster) == renewed


async def test_the_next_renewal_drops_the_ca_before_the_last(first: Replica, cluster: InMemoryCluster) -> None:
    await first.lead()
    oldest = shared(cluster).ca_bundle
    for renewal in (1, 2):
        first.now = START + renewal * 60 * DAY
        await first.lead()
        first.trust()
        await first.lead()
    assert cas(shared(cluster)) == 2
    assert oldest not in shared(cluster).ca_bundle


async def test_a_leader_lost_between_the_steps_leaves_nothing_that_blocks_the_next(
    first: Replica, second: Replica, cluster: InMemoryCluster
) -> None:
    await first.lead()
    old = shared(cluster)
    first.now = second.now = START + 60 * DAY
    await first.lead()
    abandoned = shared(cluster).ca_bundle
    await second.lead()
    second.trust()
    first.trusted.add(second.certificates.ca_bundle or b"")
    await first.lead()  # still considers itself the leader, but its CA is no longer published
    assert shared(cluster).ca_bundle not in {abandoned, second.certificates.ca_bundle}
    assert leaf_of(shared(cluster)).ca == leaf_of(old).ca
    await second.lead()
    second.trust()
    await second.lead()
    assert cas(shared(cluster)) == 2
    assert leaf_of(shared(cluster)).not_after == START + 150 * DAY


async def test_two_leaders_at_once_end_with_one_pair(first: Replica, second: Replica, cluster: InMemoryCluster) -> None:
    winner: list[CertificatePair] = []

    def faster() -> None:
        pair = SelfSigned().issue(NAMES, begin=START, seconds=90 * DAY)
        winner.append(pair)
        cluster.fill(pair.secret_data())

    cluster.before["write_secret"] = faster
    await first.lead()
    assert first.served == []
    await first.lead()
    await second.lead()
    assert first.served == second.served == winner


async def test_an_expired_certificate_is_replaced_at_once(first: Replica, cluster: InMemoryCluster) -> None:
    await first.lead()
    first.now = START + 90 * DAY
    await first.lead()
    assert leaf_of(shared(cluster)).not_after == START + 180 * DAY
    assert len(first.served) == 2


async def test_an_emptied_secret_renews_while_the_certificate_in_use_stays(
    first: Replica, second: Replica, cluster: InMemoryCluster
) -> None:
    await first.lead()
    await second.follow()
    old = shared(cluster)
    cluster.fill({})
    await second.follow()
    await first.lead()
    assert (shared(cluster).certificate, cas(shared(cluster))) == (old.certificate, 2)
    first.trust()
    await first.lead()
    await second.follow()
    assert shared(cluster).certificate != old.certificate
    assert [pair.certificate for pair in second.served] == [old.certificate, shared(cluster).certificate]


@pytest.mark.parametrize("key", ["ca.crt", "tls.crt", "tls.key"])
@pytest.mark.parametrize("value", [b"", b"garbage", b"other"])
async def test_an_invalid_secret_is_not_served_and_fixed_by_the_leader(
    key: str, value: bytes, first: Replica, second: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = first.cluster
    await first.lead()
    await second.follow()
    other = SelfSigned().issue(NAMES, begin=START, seconds=DAY)
    others = other.secret_data()
    assert cluster.secret
    cluster.fill({**cluster.secret.data, key: others[key] if value == b"other" else value})
    await second.follow()
    assert len(second.served) == 1
    assert second.certificates.is_unusable()
    assert caplog.messages[0].startswith(INVALID)
    assert caplog.messages[0].endswith("the last valid certificate stays in use")
    await first.lead()
    await second.follow()
    assert leaf_of(shared(cluster)).names == set(NAMES)
    assert not any(replica.certificates.is_unusable() for replica in (first, second))


async def test_a_secret_that_breaks_again_is_logged_again(second: Replica, caplog: pytest.LogCaptureFixture) -> None:
    pair = SelfSigned().issue(NAMES, begin=START, seconds=90 * DAY)
    good = pair.secret_data()
    for content in (good, {**good, "tls.key": b"garbage"}, good, {**good, "tls.key": b"garbage"}):
        second.cluster.fill(content)
        await second.follow()
    assert [message.startswith(INVALID) for message in caplog.messages] == [True] * 2


async def test_other_names_renew(first: Replica, cluster: InMemoryCluster) -> None:
    pair = SelfSigned().issue(["elsewhere.svc"], begin=START, seconds=90 * DAY)
    cluster.fill(pair.secret_data())
    await first.lead()
    first.trust()
    await first.lead()
    assert leaf_of(shared(cluster)).names == set(NAMES)


@pytest.mark.parametrize("error", [ClusterUnavailable("down"), ClusterForbidden("no permission")])
async def test_without_the_cluster_it_waits_and_logs_once(
    error: ClusterUnavailable | ClusterForbidden,
    first: Replica,
    cluster: InMemoryCluster,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster.failing["read_secret"] = error
    for _ in range(10):
        await first.lead()
    assert not first.served
    assert caplog.messages == [f"cannot share the certificate: {error}; not ready until there is a certificate"]
    cluster.failing.clear()
    await first.lead()
    assert first.served


async def test_a_write_that_fails_is_tried_again(first: Replica, cluster: InMemoryCluster) -> None:
    await first.lead()
    first.now = START + 60 * DAY
    await first.lead()
    first.trust()
    published = shared(cluster)
    cluster.failing["write_secret"] = ClusterUnavailable("down")
    await first.lead()
    assert shared(cluster) == published
    cluster.failing.clear()
    await first.lead()
    assert leaf_of(shared(cluster)).ca != leaf_of(published).ca
    assert shared(cluster).ca_bundle == published.ca_bundle


async def test_a_follower_logs_which_leader_it_waits_for(
    second: Replica, cluster: InMemoryCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anchore_admission.certificates")
    await second.follow("")
    for _ in range(3):
        await second.follow("first")
    assert caplog.messages == [
        f"waiting for a leader (no replica holds the Lease yet) to fill the Secret; {UNREADY}",
        f"waiting for the leader, first, to fill the Secret; {UNREADY}",
    ]


async def test_a_pair_that_cannot_be_served_is_replaced(
    first: Replica, cluster: InMemoryCluster, caplog: pytest.LogCaptureFixture
) -> None:
    first.unusable = True
    await first.lead()
    assert not first.served
    assert first.certificates.ca_bundle is None
    assert first.certificates.is_unusable()
    assert caplog.messages[0].startswith(INVALID)
    first.unusable = False
    await first.lead()
    assert first.served
    assert not first.certificates.is_unusable()


async def test_a_pair_for_which_there_is_no_room_for_now_is_served_later(
    first: Replica, second: Replica, cluster: InMemoryCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """It is valid, so the leader does not make another."""
    first.no_room = second.no_room = True
    for _ in range(3):
        await first.lead()
        await second.follow()
    assert first.served == second.served == []
    assert first.certificates.is_unusable()
    assert second.certificates.is_unusable()
    assert [message.partition(" (")[0] for message in caplog.messages] == [
        f"cannot serve the Secret's certificate: [Errno 28] No space left on device; {UNREADY}"
    ] * 2
    first.no_room = second.no_room = False
    await first.lead()
    await second.follow()
    assert first.served == second.served == [shared(cluster)]
    assert not first.certificates.is_unusable()
    assert cluster.operations.count("write_secret") == 1


async def test_the_ca_bundle_in_use_stays_registered_while_the_secret_is_invalid(
    first: Replica, cluster: InMemoryCluster
) -> None:
    await first.lead()
    good = shared(cluster)
    cluster.fill({"tls.crt": b"nonsense"})
    cluster.failing["write_secret"] = ClusterForbidden("no")
    await first.lead()
    assert first.certificates.ca_bundle == good.ca_bundle


@pytest.mark.parametrize("error", [ClusterNotFound("Secret a/b: 404: gone"), ClusterForbidden("Secret a/b: 403: no")])
async def test_a_secret_that_is_gone_is_unusable_until_it_is_back(
    error: ClusterNotFound | ClusterForbidden,
    first: Replica,
    cluster: InMemoryCluster,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "anchore_admission.certificates")
    await first.lead()
    cluster.failing["read_secret"] = error
    await first.lead()
    assert first.certificates.is_unusable()
    stays = "the last valid certificate stays in use, but a replica that restarts is not ready"
    assert caplog.messages == [f"cannot share the certificate: {error}; {stays}"]
    cluster.failing["read_secret"] = ClusterUnavailable("restarting")
    await first.lead()
    assert not first.certificates.is_unusable()
    cluster.failing.clear()
    cluster.fill({})  # helm upgrade
    await first.lead()
    assert not first.certificates.is_unusable()


async def test_a_replica_that_starts_without_the_secret_is_unusable(second: Replica, cluster: InMemoryCluster) -> None:
    cluster.secret = None
    await second.follow()
    assert second.certificates.is_unusable()
    cluster.fill({})
    await second.follow()
    assert not second.certificates.is_unusable()
