import base64
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from anchore_admission.core.webhook.drift import Registration, completed
from anchore_admission.core.webhook.entry import WebhookKind
from anchore_admission.errors import ClusterConflict, ClusterForbidden, ClusterUnavailable, ConfigurationError
from anchore_admission.ports.cluster import WebhookConfiguration
from anchore_admission.ports.telemetry import Repair
from anchore_admission.services.cluster.registration import (
    SETTLE_SECONDS,
    PublishedCaBundle,
    Registrar,
    parse_registrations,
)
from support.cluster import NAME, InMemoryCluster, Webhook
from support.fakes import FakeRecorder, ManualClock

ENTRY: dict[str, Any] = {
    "name": "gate.admission.anchore.io",
    "clientConfig": {"service": {"name": "gate", "namespace": "security", "path": "/validate"}},
    "rules": [],
}
OFF = {"key": "team", "operator": "DoesNotExist"}
AKS = {"key": "control-plane", "operator": "NotIn", "values": ["true"]}
TEXT = """
kind: ValidatingWebhookConfiguration
metadata: {name: gate}
webhooks: [{name: a.b.c, clientConfig: {url: "https://example.com/"}}]
"""


class Stage:
    """A registrar with everything around it."""

    def __init__(self) -> None:
        self.cluster, self.webhook, self.recorder, self.clock = (
            InMemoryCluster(),
            Webhook(),
            FakeRecorder(),
            ManualClock(),
        )
        self.published = PublishedCaBundle(self.clock)
        self.registrar = self.wanting(ENTRY)

    def wanting(self, *entries: dict[str, Any]) -> Registrar:
        wanted = Registration(NAME, entries)
        return Registrar(self.cluster, self.webhook, wanted, self.recorder, self.published, clock=self.clock)

    async def step(self, ca_bundle: bytes | None = b"CA") -> bool:
        return await self.registrar.step(ca_bundle)

    def entry(self) -> Mapping[str, Any]:
        (entry,) = self.cluster.entries()
        return entry


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_the_webhook_is_probed_first_and_then_registered(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anchore_admission.registration")
    assert await stage.step()
    assert stage.webhook.asked == [("https://gate.security.svc:443/validate", b"CA")]
    assert stage.entry()["clientConfig"]["caBundle"] == base64.b64encode(b"CA").decode()
    assert stage.entry()["failurePolicy"] == "Fail"
    assert stage.recorder.current == [False, True]
    assert caplog.messages == [
        f"registered the webhook in ValidatingWebhookConfiguration {NAME}: gate.admission.anchore.io is missing"
    ]


async def test_the_path_with_the_secret_is_probed_and_registered_and_follows_it() -> None:
    stage, secrets = Stage(), ["first-secret-path"]
    wanted = Registration(NAME, [ENTRY])
    registrar = Registrar(
        stage.cluster, stage.webhook, wanted, stage.recorder, stage.published, secret_path=lambda: secrets[0]
    )
    for secret in ("first-secret-path", "second-secret-path"):
        secrets[0] = secret
        assert await registrar.step(b"CA")
        assert stage.webhook.asked[-1] == (f"https://gate.security.svc:443/validate/{secret}", b"CA")
        assert stage.entry()["clientConfig"]["service"]["path"] == f"/validate/{secret}"


@pytest.mark.parametrize(
    "client",
    [
        {"url": "https://gate.example.com/validate"},
        {"service": {"name": "gate", "namespace": "security", "path": "/validate/spelled-out-secret"}},
    ],
)
async def test_a_path_that_is_spelled_out_stays(client: dict[str, Any]) -> None:
    stage = Stage()
    wanted = Registration(NAME, [{**ENTRY, "clientConfig": client}])
    registrar = Registrar(
        stage.cluster, stage.webhook, wanted, stage.recorder, stage.published, secret_path=lambda: "another-secret"
    )
    assert await registrar.step(b"CA")
    assert "another-secret" not in stage.webhook.asked[-1][0]


async def test_nothing_is_registered_before_a_replica_answers(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anchore_admission.registration")
    stage.webhook.answers = False
    for _ in range(3):
        assert not await stage.step()
    assert "apply_webhooks" not in stage.cluster.operations
    remedy = "if it lasts, look for a NetworkPolicy or firewall between the Pods and their Service"
    why = f"the probe of its Service failed: no response; {remedy}"
    assert caplog.messages == [f"ValidatingWebhookConfiguration {NAME} is not registered yet: {why}"]
    stage.webhook.answers = True
    assert await stage.step()


async def test_a_wanted_configuration_is_left_alone_and_not_probed(stage: Stage) -> None:
    await stage.step()
    for _ in range(3):
        assert await stage.step()
    assert stage.cluster.operations.count("apply_webhooks") == 1
    assert len(stage.webhook.asked) == 1


@pytest.mark.parametrize(
    "wiped",
    [
        [],
        [{**completed([ENTRY], b"CA")[0], "failurePolicy": "Ignore"}],
        [{**completed([ENTRY], b"CA")[0], "objectSelector": {"matchLabels": {"a": "b"}}}],
        completed([ENTRY], None),
        [{**completed([ENTRY], b"CA")[0], "matchConditions": [{"name": "off", "expression": "false"}]}],
        [{**completed([ENTRY], b"CA")[0], "namespaceSelector": {"matchExpressions": [OFF]}}],
    ],
)
async def test_removed_and_changed_fields_are_restored(wiped: list[dict[str, Any]], stage: Stage) -> None:
    await stage.step()
    good = stage.entry()
    stage.cluster.registered[NAME] = WebhookConfiguration("uid-1", wiped)
    assert await stage.step()
    assert stage.entry() == good
    assert stage.recorder.repaired == [Repair.ON_TAKING_OVER, Repair.WHILE_LEADING]


async def test_selectors_added_by_a_cloud_stay_and_are_logged_and_counted_once(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anchore_admission.registration")
    await stage.step()
    assert stage.recorder.left_in_place == 0
    added = {**stage.entry(), "namespaceSelector": {"matchExpressions": [AKS]}}
    stage.cluster.registered[NAME] = WebhookConfiguration("uid-1", [added])
    for _ in range(3):
        assert await stage.step()
    assert stage.entry() == added
    assert stage.recorder.left_in_place == 1
    term = "gate.admission.anchore.io: namespaceSelector: control-plane NotIn true"
    assert caplog.messages[1:] == [
        f"ValidatingWebhookConfiguration {NAME}: keeping fields that other clients added: {term}"
    ]
    stage.registrar.rest()
    assert stage.recorder.left_in_place == 0
    assert stage.recorder.repaired == [Repair.ON_TAKING_OVER]


async def test_a_deleted_configuration_is_not_created_again(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    await stage.step()
    del stage.cluster.registered[NAME]
    for _ in range(3):
        assert await stage.step()
    assert stage.cluster.registered == {}
    assert stage.cluster.operations.count("apply_webhooks") == 1
    assert stage.recorder.current[-3:] == [False] * 3
    off = "does not exist: the webhook is switched off; helm upgrade switches it on again"
    assert caplog.messages == [f"ValidatingWebhookConfiguration {NAME} {off}"]
    stage.cluster.registered[NAME] = WebhookConfiguration("uid-2", ())  # helm upgrade
    assert await stage.step()
    assert stage.entry()["name"] == ENTRY["name"]
    assert stage.recorder.repaired == [Repair.ON_TAKING_OVER] * 2


async def test_a_configuration_deleted_between_reading_and_writing_stays_deleted(stage: Stage) -> None:
    stage.cluster.before["apply_webhooks"] = stage.cluster.registered.clear
    assert not await stage.step()
    assert stage.cluster.registered == {}


async def test_a_configuration_recreated_meanwhile_is_read_first(stage: Stage) -> None:
    def replaced() -> None:
        stage.cluster.registered[NAME] = WebhookConfiguration("uid-2", ())

    stage.cluster.before["apply_webhooks"] = replaced
    assert not await stage.step()
    assert await stage.step()
    assert stage.cluster.registered[NAME].uid == "uid-2"


@pytest.mark.parametrize("error", [ClusterUnavailable("down"), ClusterForbidden("no permission")])
@pytest.mark.parametrize("operation", ["read_webhooks", "apply_webhooks"])
async def test_an_error_of_the_cluster_is_logged_once_and_tried_again(
    operation: str,
    error: ClusterUnavailable | ClusterForbidden,
    stage: Stage,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "anchore_admission.registration")
    stage.cluster.failing[operation] = error
    for _ in range(3):
        assert not await stage.step()
    assert caplog.messages == [f"cannot reconcile the webhook configuration: {error}; trying again"]
    caplog.clear()
    stage.cluster.failing.clear()
    assert await stage.step()
    assert caplog.messages[-1] == f"ValidatingWebhookConfiguration {NAME} is up to date again"


async def test_a_conflict_is_tried_again(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.cluster.failing["apply_webhooks"] = ClusterConflict("changed")
    assert not await stage.step()
    stage.cluster.failing.clear()
    assert await stage.step()
    assert caplog.records == []


async def test_a_change_right_after_ours_is_logged(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.registrar = stage.wanting(ENTRY, ENTRY | {"failurePolicy": "Ignore"})  # can never hold both
    assert not await stage.step()
    assert "was changed again at once: gate.admission.anchore.io: failurePolicy changed" in caplog.text


async def test_a_change_of_other_fields_does_not_keep_the_ca_bundle_from_being_trusted(
    stage: Stage,
) -> None:
    stage.registrar = stage.wanting(ENTRY, ENTRY | {"failurePolicy": "Ignore"})
    assert not await stage.step(b"CA")
    stage.clock.now += SETTLE_SECONDS
    assert not await stage.step(b"CA")
    assert stage.published.is_trusted(b"CA")


async def test_fields_of_an_earlier_release_are_removed_by_a_new_leader(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anchore_admission.registration")
    gone = ENTRY | {"ofBefore": "set"}
    assert await stage.wanting(gone).step(b"CA")
    stage.webhook.answers = False  # no probe: nothing differs
    assert await stage.step()
    assert "ofBefore" not in stage.entry()
    assert caplog.messages[-1].endswith(": removed fields of an earlier release")
    assert await stage.step()
    assert stage.cluster.operations.count("apply_webhooks") == 2
    stage.registrar.rest()
    assert await stage.step()
    assert stage.cluster.operations.count("apply_webhooks") == 3
    assert len(caplog.messages) == 2


async def test_a_former_leader_applies_nothing(stage: Stage) -> None:
    """The probe may take longer than the Lease lasts."""
    leads = iter([False, True])
    wanted = Registration(NAME, [ENTRY])
    registrar = Registrar(
        stage.cluster,
        stage.webhook,
        wanted,
        stage.recorder,
        stage.published,
        leads=lambda: next(leads),
        clock=stage.clock,
    )
    assert not await registrar.step(b"CA")
    assert stage.cluster.entries() == ()
    assert await registrar.step(b"CA")


async def test_a_ca_bundle_is_trusted_some_time_after_it_was_registered(stage: Stage) -> None:
    assert not stage.published.is_trusted(b"CA")
    await stage.step(b"CA")
    stage.clock.now += SETTLE_SECONDS - 0.1
    await stage.step(b"CA")
    assert not stage.published.is_trusted(b"CA")
    stage.clock.now += 0.1
    assert stage.published.is_trusted(b"CA")
    assert not stage.published.is_trusted(b"other")
    await stage.step(b"other")
    assert not stage.published.is_trusted(b"other")


async def test_a_ca_bundle_that_could_not_be_registered_is_never_trusted(stage: Stage) -> None:
    stage.cluster.failing["apply_webhooks"] = ClusterForbidden("no")
    for _ in range(5):
        await stage.step(b"CA")
        stage.clock.now += SETTLE_SECONDS
    assert not stage.published.is_trusted(b"CA")


async def test_without_a_configuration_the_ca_bundle_counts_as_trusted(stage: Stage) -> None:
    stage.cluster.registered.clear()
    await stage.step(b"CA")
    stage.clock.now += SETTLE_SECONDS
    assert stage.published.is_trusted(b"CA")


def test_a_registration_is_read() -> None:
    entries = [{"name": "a.b.c", "clientConfig": {"url": "https://example.com/"}}]
    mutating = TEXT.replace("Validating", "Mutating")

    assert parse_registrations(TEXT, "file") == [Registration("gate", entries)]
    assert parse_registrations(f"{TEXT}---\n{mutating}", "file") == [
        Registration("gate", entries, WebhookKind.MUTATING),
        Registration("gate", entries),
    ]


_KINDS = "expected one ValidatingWebhookConfiguration, and at most one MutatingWebhookConfiguration"
HEAD = "kind: ValidatingWebhookConfiguration\n"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", [_KINDS]),
        ("kind: ConfigMap", [_KINDS]),
        ("- a", [_KINDS]),
        (f"{TEXT}---\n{TEXT}", [_KINDS]),
        (TEXT.replace("Validating", "Mutating"), [_KINDS]),
        (HEAD, ["metadata.name: expected a name", "webhooks: expected at least one entry"]),
        (
            f"{HEAD}metadata: x\nwebhooks: []",
            ["metadata.name: expected a name", "webhooks: expected at least one entry"],
        ),
        (
            HEAD + "metadata: {name: x}\nwebhooks: [x, {name: a}, {name: b, clientConfig: {service: {name: c}}}]",
            [
                "webhooks[0].name: expected a name",
                "webhooks[1].clientConfig: expected a service with name and namespace, or a url",
                "webhooks[2].clientConfig: expected a service with name and namespace, or a url",
            ],
        ),
    ],
)
def test_every_problem_of_a_registration_is_listed(text: str, problems: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_registrations(text, "file")
    assert [str(problem) for problem in caught.value.problems] == problems


def test_invalid_yaml_is_reported_with_its_line() -> None:
    with pytest.raises(ConfigurationError, match="line 2"):
        parse_registrations("a: 1\n\tb", "file")


async def test_two_configurations_are_reconciled_independently(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    client = {"service": {"name": "gate", "namespace": "security", "path": "/mutate"}}
    wanted = Registration(NAME, [{**ENTRY, "clientConfig": client}], WebhookKind.MUTATING)
    published = PublishedCaBundle(stage.clock)
    registrar = Registrar(stage.cluster, stage.webhook, wanted, stage.recorder, published, clock=stage.clock)

    assert await registrar.step(b"CA")
    assert f"MutatingWebhookConfiguration {NAME} does not exist: the webhook is switched off" in caplog.text
    stage.cluster.mutating[NAME] = WebhookConfiguration("uid-9", ())
    assert await registrar.step(b"CA")
    assert await stage.step()
    assert stage.cluster.applied == [WebhookKind.MUTATING, WebhookKind.VALIDATING]
    assert stage.webhook.asked == [(f"https://gate.security.svc:443/{path}", b"CA") for path in ("mutate", "validate")]
    (entry,) = stage.cluster.mutating[NAME].webhooks
    assert entry["reinvocationPolicy"] == "Never"
