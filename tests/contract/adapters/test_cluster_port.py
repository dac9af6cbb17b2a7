"""The contract of the port ``Cluster``: in memory, and the real client over an API in memory and a real one.

The real API server is the one that CONTRACT_KUBECONFIG leads to; tests/e2e/test_cluster_contract.py sets it. Objects
of this test are made and removed there.
"""

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from anchore_admission.core.webhook.drift import completed, differences
from anchore_admission.core.webhook.entry import WebhookKind, WebhookOptions, service_client, webhook_configuration
from anchore_admission.errors import ClusterConflict, ClusterNotFound
from support.certificates import pair
from support.cluster_stages import (
    KUBECONFIG_VARIABLE,
    NAME,
    InMemoryStage,
    RecordedApiStage,
    Stage,
    real_stage,
)

CLIENT = service_client("gate", "security", 443, "/validate")
ENTRIES = webhook_configuration(WebhookOptions("gate", CLIENT))["webhooks"]
WANTED = completed(ENTRIES, pair().ca_bundle)
MUTATING = WebhookKind.MUTATING
TO_MUTATE = service_client("gate", "security", 443, "/mutate")
PINNING = webhook_configuration(WebhookOptions("gate", TO_MUTATE, kind=MUTATING))
WANTED_PINNING = completed(PINNING["webhooks"], pair().ca_bundle, MUTATING)
OTHERS: dict[str, Any] = {
    "name": "others.example.com",
    "clientConfig": {"url": "https://others.example.com/"},
    "admissionReviewVersions": ["v1"],
    "sideEffects": "None",
}


@pytest.fixture(params=["memory", "client", "real"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    if request.param == "memory":
        yield InMemoryStage()
    elif request.param == "client":
        client = RecordedApiStage()
        yield client
        await client.cluster.aclose()
    elif KUBECONFIG_VARIABLE not in os.environ:
        pytest.skip(f"{KUBECONFIG_VARIABLE} names no cluster to hold the real client to")
    else:
        async with real_stage() as real:
            yield real


async def test_a_secret_is_read_and_its_version_changes_with_every_write(stage: Stage) -> None:
    await stage.put_secret({"a": b"\x00\xff", "b": b"kept"})
    before = await stage.cluster.read_secret()
    assert before.data == {"a": b"\x00\xff", "b": b"kept"}
    written = await stage.cluster.write_secret({"a": b"new", "c": b""}, before.version)
    assert written.data == {"a": b"new", "b": b"kept", "c": b""}
    assert written.version != before.version
    assert await stage.cluster.read_secret() == written


async def test_an_empty_secret_is_filled(stage: Stage) -> None:
    await stage.put_secret({})
    empty = await stage.cluster.read_secret()
    assert empty.data == {}
    assert (await stage.cluster.write_secret({"a": b"1"}, empty.version)).data == {"a": b"1"}


async def test_a_secret_that_another_client_has_written_is_not_overwritten(stage: Stage) -> None:
    await stage.put_secret({})
    empty = await stage.cluster.read_secret()
    await stage.cluster.write_secret({"a": b"theirs"}, empty.version)
    with pytest.raises(ClusterConflict):
        await stage.cluster.write_secret({"a": b"ours"}, empty.version)
    assert (await stage.cluster.read_secret()).data == {"a": b"theirs"}


async def test_a_lease_without_a_holder_is_taken_renewed_and_freed(stage: Stage) -> None:
    await stage.put_lease()
    fresh = await stage.cluster.read_lease()
    assert (fresh.holder, fresh.seconds, fresh.transitions) == ("", 0, 0)
    taken = await stage.cluster.write_lease(replace(fresh, holder="a", seconds=15, transitions=1), taken=True)
    assert (taken.holder, taken.seconds, taken.transitions) == ("a", 15, 1)
    renewed = await stage.cluster.write_lease(taken, taken=False)
    assert renewed.version != taken.version
    assert renewed == await stage.cluster.read_lease()
    freed = await stage.cluster.write_lease(replace(renewed, holder="", seconds=1), taken=False)
    assert (freed.holder, freed.seconds, freed.transitions) == ("", 1, 1)


async def test_of_two_replicas_that_take_a_lease_one_is_late(stage: Stage) -> None:
    await stage.put_lease()
    free = await stage.cluster.read_lease()
    await stage.cluster.write_lease(replace(free, holder="a", seconds=15), taken=True)
    with pytest.raises(ClusterConflict):
        await stage.cluster.write_lease(replace(free, holder="b", seconds=15), taken=True)
    assert (await stage.cluster.read_lease()).holder == "a"


async def test_the_applied_configuration_is_the_wanted_one(stage: Stage) -> None:
    await stage.put_webhooks([])
    empty = await stage.cluster.read_webhooks(NAME)
    assert list(empty.webhooks) == []
    assert differences(WANTED, empty.webhooks) == ["gate.admission.anchore.io is missing"]
    applied = await stage.cluster.apply_webhooks(NAME, empty.uid, WANTED)
    assert differences(WANTED, applied.webhooks) == []
    assert await stage.cluster.read_webhooks(NAME) == applied


@pytest.mark.parametrize(
    "change",
    [
        {"reinvocationPolicy": "Never"},
        {"failurePolicy": "Fail"},
        {"rules": WANTED[0]["rules"]},
        {"objectSelector": {"matchLabels": {"let": "me-in"}}},
        {"matchConditions": [*WANTED[0]["matchConditions"], {"name": "off", "expression": "false"}]},
    ],
)
async def test_the_mutating_webhook_is_a_configuration_of_its_own(change: dict[str, Any], stage: Stage) -> None:
    await stage.put_webhooks([])
    await stage.put_webhooks([], MUTATING)
    uid = (await stage.cluster.read_webhooks(NAME, MUTATING)).uid
    await stage.cluster.apply_webhooks(NAME, uid, WANTED_PINNING, MUTATING)
    await stage.change_webhooks([{**WANTED_PINNING[0], **change}], MUTATING)
    live = await stage.cluster.read_webhooks(NAME, MUTATING)
    assert len(differences(WANTED_PINNING, live.webhooks)) == 1
    applied = await stage.cluster.apply_webhooks(NAME, uid, WANTED_PINNING, MUTATING)
    assert differences(WANTED_PINNING, applied.webhooks) == []
    assert list((await stage.cluster.read_webhooks(NAME)).webhooks) == []


@pytest.mark.parametrize(
    "change",
    [
        {"failurePolicy": "Ignore"},
        {"objectSelector": {"matchLabels": {"let": "me-in"}}},
        {"namespaceSelector": {}},
        {"namespaceSelector": {**WANTED[0]["namespaceSelector"], "matchLabels": {"only": "here"}}},
        {"rules": [WANTED[0]["rules"][0]]},
        {"matchConditions": []},
        {"matchConditions": [*WANTED[0]["matchConditions"], {"name": "off", "expression": "false"}]},
        {"matchConditions": [{"name": f"off-{n}", "expression": "false"} for n in range(3)]},
        {"matchPolicy": "Exact"},
        {"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}},
        {"timeoutSeconds": 1},
        {"clientConfig": CLIENT},
        {"clientConfig": {"url": "https://elsewhere.example.com/"}},
    ],
)
async def test_changes_by_another_client_are_reverted(change: dict[str, Any], stage: Stage) -> None:
    await stage.put_webhooks([])
    uid = (await stage.cluster.read_webhooks(NAME)).uid
    await stage.cluster.apply_webhooks(NAME, uid, WANTED)
    await stage.change_webhooks([{**WANTED[0], **change}])
    live = await stage.cluster.read_webhooks(NAME)
    assert len(differences(WANTED, live.webhooks)) == 1
    assert differences(WANTED, (await stage.cluster.apply_webhooks(NAME, uid, WANTED)).webhooks) == []


async def test_a_configuration_of_another_client_is_taken_over_and_wiped_entries_come_back(stage: Stage) -> None:
    await stage.put_webhooks(ENTRIES)
    uid = (await stage.cluster.read_webhooks(NAME)).uid
    await stage.cluster.apply_webhooks(NAME, uid, WANTED)
    await stage.change_webhooks([])
    assert differences(WANTED, (await stage.cluster.apply_webhooks(NAME, uid, WANTED)).webhooks) == []


async def test_entries_of_others_stay(stage: Stage) -> None:
    others = {**OTHERS, "matchConditions": [{"name": "theirs", "expression": "true"}]}
    await stage.put_webhooks([others, {**ENTRIES[0], "matchConditions": [{"name": "off", "expression": "false"}]}])
    uid = (await stage.cluster.read_webhooks(NAME)).uid
    applied = await stage.cluster.apply_webhooks(NAME, uid, WANTED)
    conditions = {entry["name"]: [it["name"] for it in entry["matchConditions"]] for entry in applied.webhooks}
    wanted = [condition["name"] for condition in WANTED[0]["matchConditions"]]
    assert conditions == {OTHERS["name"]: ["theirs"], "gate.admission.anchore.io": wanted}


async def test_a_configuration_that_was_deleted_is_not_created(stage: Stage) -> None:
    await stage.put_webhooks([])
    uid = (await stage.cluster.read_webhooks(NAME)).uid
    await stage.delete_everything()
    with pytest.raises((ClusterConflict, ClusterNotFound)):
        await stage.cluster.apply_webhooks(NAME, uid, WANTED)
    with pytest.raises(ClusterNotFound):
        await stage.cluster.read_webhooks(NAME)


async def test_a_recreated_configuration_is_another_one(stage: Stage) -> None:
    await stage.put_webhooks([])
    uid = (await stage.cluster.read_webhooks(NAME)).uid
    await stage.put_webhooks([])
    with pytest.raises(ClusterConflict):
        await stage.cluster.apply_webhooks(NAME, uid, WANTED)
    assert list((await stage.cluster.read_webhooks(NAME)).webhooks) == []


async def test_a_missing_object_is_not_found(stage: Stage) -> None:
    await stage.delete_everything()
    for reading in (stage.cluster.read_secret(), stage.cluster.read_lease(), stage.cluster.read_webhooks(NAME)):
        with pytest.raises(ClusterNotFound):
            await reading
