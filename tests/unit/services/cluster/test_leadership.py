import logging

import pytest

from anchore_admission.errors import ClusterForbidden, ClusterUnavailable
from anchore_admission.services.cluster.leadership import Leadership
from support.cluster import InMemoryCluster
from support.fakes import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cluster() -> InMemoryCluster:
    return InMemoryCluster()


@pytest.fixture
def first(cluster: InMemoryCluster, clock: ManualClock) -> Leadership:
    return Leadership(cluster, "first", clock=clock)


@pytest.fixture
def second(cluster: InMemoryCluster, clock: ManualClock) -> Leadership:
    return Leadership(cluster, "second", clock=clock)


def held(cluster: InMemoryCluster) -> tuple[str, int]:
    assert cluster.lease
    return cluster.lease.holder, cluster.lease.transitions


async def test_no_replica_leads_before_the_lease_was_read(first: Leadership) -> None:
    assert not first.leads()
    assert first.holder == ""


async def test_a_free_lease_is_taken_by_one_and_seen_by_the_other(
    first: Leadership, second: Leadership, cluster: InMemoryCluster
) -> None:
    await first.step()
    await second.step()
    assert (first.leads(), second.leads()) == (True, False)
    assert second.holder == "first"
    assert held(cluster) == ("first", 1)


async def test_the_holder_renews_without_another_transition(
    first: Leadership, clock: ManualClock, cluster: InMemoryCluster
) -> None:
    for _ in range(20):
        await first.step()
        clock.now += 2
    assert first.leads()
    assert held(cluster) == ("first", 1)
    assert cluster.taken == [True] + [False] * 19


@pytest.mark.parametrize(("seconds", "leads"), [(14.9, False), (15.0, True)])
async def test_a_lease_is_abandoned_after_it_has_not_changed_before_our_eyes(
    seconds: float, leads: bool, first: Leadership, second: Leadership, clock: ManualClock
) -> None:
    await first.step()
    clock.now += 1000  # earlier renewals do not count: the clocks of the replicas differ
    await second.step()
    clock.now += seconds
    await second.step()
    assert second.leads() is leads


async def test_a_renewal_restarts_the_wait(second: Leadership, clock: ManualClock, cluster: InMemoryCluster) -> None:
    for _ in range(10):
        cluster.renew("first")
        await second.step()
        clock.now += 14
    assert not second.leads()


async def test_after_a_restart_the_own_lease_is_taken_at_once(cluster: InMemoryCluster, first: Leadership) -> None:
    cluster.renew("first")
    await first.step()
    assert first.leads()
    assert held(cluster) == ("first", 1)


@pytest.mark.parametrize(("seconds", "leads"), [(9.9, True), (10.0, False)])
async def test_a_holder_that_cannot_renew_stops_before_another_may_start(
    seconds: float, leads: bool, first: Leadership, clock: ManualClock, cluster: InMemoryCluster
) -> None:
    await first.step()
    cluster.failing["read_lease"] = ClusterUnavailable("down")
    clock.now += seconds
    await first.step()
    assert first.leads() is leads


async def test_time_spent_in_the_call_counts_against_the_holder(
    first: Leadership, clock: ManualClock, cluster: InMemoryCluster
) -> None:
    def slow() -> None:
        clock.now += 10

    cluster.before["write_lease"] = slow
    await first.step()
    assert not first.leads()


async def test_losing_the_race_is_no_error(
    first: Leadership, cluster: InMemoryCluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.before["write_lease"] = lambda: cluster.renew("second")
    await first.step()
    assert not first.leads()
    assert caplog.records == []


async def test_a_holder_that_was_overruled_stops(
    first: Leadership, cluster: InMemoryCluster, caplog: pytest.LogCaptureFixture
) -> None:
    await first.step()
    cluster.renew("second")
    await first.step()
    assert not first.leads()
    assert caplog.messages == ["this replica is no longer the leader"]


async def test_a_freed_lease_is_taken_at_once(first: Leadership, second: Leadership, cluster: InMemoryCluster) -> None:
    await first.step()
    await second.step()
    await first.release()
    await second.step()
    assert (first.leads(), second.leads()) == (False, True)
    assert held(cluster) == ("second", 2)


async def test_a_follower_does_not_release_the_lease(second: Leadership, cluster: InMemoryCluster) -> None:
    cluster.renew("first")
    await second.step()
    await second.release()
    assert held(cluster)[0] == "first"


async def test_a_failure_to_free_the_lease_does_not_stop_the_end(
    first: Leadership, cluster: InMemoryCluster, caplog: pytest.LogCaptureFixture
) -> None:
    await first.step()
    cluster.failing["write_lease"] = ClusterUnavailable("down")
    await first.release()
    assert caplog.messages == ["cannot free the Lease: down; another replica takes it when it has expired"]


async def test_a_problem_is_logged_at_its_start_every_five_minutes_and_at_its_end(
    first: Leadership, clock: ManualClock, cluster: InMemoryCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anchore_admission.leadership")
    cluster.failing["read_lease"] = ClusterForbidden("Lease ns/x: 403")
    for _ in range(151):
        await first.step()
        clock.now += 2
    assert caplog.messages == ["cannot hold the Lease: Lease ns/x: 403; trying again"] * 2
    caplog.clear()
    cluster.failing.clear()
    await first.step()
    assert caplog.messages == ["the Lease can be read and written again", "this replica is the leader"]


async def test_a_lease_that_does_not_exist_is_waited_for(
    first: Leadership, cluster: InMemoryCluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.lease = None
    await first.step()
    assert not first.leads()
    cluster.renew("")
    await first.step()
    assert first.leads()
    assert caplog.messages == ["cannot hold the Lease: not found; trying again"]
