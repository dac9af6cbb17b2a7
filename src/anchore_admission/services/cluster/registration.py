"""Reconcile the webhook configuration: probe the Service first, repair drift, never create the object."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from anchore_admission.core.webhook.drift import (
    Registration,
    at_secret_path,
    completed,
    differences,
    left_in_place,
    publishes,
    service_url,
)
from anchore_admission.core.webhook.entry import WebhookKind
from anchore_admission.documents.reader import load_documents
from anchore_admission.errors import (
    ClusterConflict,
    ClusterError,
    ClusterNotFound,
    ConfigurationError,
    DocumentError,
    Problem,
)
from anchore_admission.ports.cluster import Cluster, Probe, WebhookConfiguration
from anchore_admission.ports.deadline import Clock
from anchore_admission.ports.telemetry import ClusterRecorder, Repair
from anchore_admission.throttled import Throttled

logger = logging.getLogger("anchore_admission.registration")
SETTLE_SECONDS = 10.0
"""The time API servers may take to notice a changed configuration; they watch it, so it is usually much shorter."""
_EXPECTED_KINDS = ([WebhookKind.VALIDATING], [WebhookKind.MUTATING, WebhookKind.VALIDATING])
_LIVE, _PROBE = "live", "probe"


def parse_registrations(text: str, source: str) -> list[Registration]:
    """Read the wanted webhook configurations: the validating one, and maybe the mutating one.

    Raises ConfigurationError with every problem.
    """
    try:
        documents = load_documents(text, source=source, aliases=False)
    except DocumentError as error:
        raise ConfigurationError(source, error.problems) from error
    kinds = [document.get("kind") for document in documents if isinstance(document, dict)]
    if len(kinds) != len(documents) or sorted(map(str, kinds)) not in _EXPECTED_KINDS:
        expected = f"expected one {WebhookKind.VALIDATING}, and at most one {WebhookKind.MUTATING}"
        raise ConfigurationError(source, [Problem("", expected)])
    problems = [problem for document in documents for problem in _problems(document)]
    if problems:
        raise ConfigurationError(source, problems)
    found = [Registration(it["metadata"]["name"], it["webhooks"], WebhookKind(it["kind"])) for it in documents]
    # The mutating one is registered first: where a rule requires digests, nothing is denied for want of it.
    return sorted(found, key=lambda registration: registration.kind is not WebhookKind.MUTATING)


class PublishedCaBundle:
    """The CA bundle that one webhook configuration publishes, with the time of its publication.

    If the configuration does not exist, no API server has to trust the CA bundle, so it counts as published too.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._ca_bundle: bytes | None = None
        self._since = clock()

    def record(self, ca_bundle: bytes | None) -> None:
        """Remember what is published now."""
        if ca_bundle != self._ca_bundle:
            self._ca_bundle, self._since = ca_bundle, self._clock()

    def is_trusted(self, ca_bundle: bytes) -> bool:
        """Return whether every API server has had time to notice this CA bundle."""
        return ca_bundle == self._ca_bundle and self._clock() - self._since >= SETTLE_SECONDS


def trusted_everywhere(published: Sequence[PublishedCaBundle], ca_bundle: bytes) -> bool:
    """Return whether API servers trust this CA bundle for every webhook.

    They keep one for each configuration: with a certificate that only one of them trusts, the calls of the other fail,
    and those of the mutating webhook fail unnoticed.
    """
    return all(each.is_trusted(ca_bundle) for each in published)


class Registrar:
    """Each ``step`` compares one live configuration with the wanted one and repairs it.

    Only the leader calls it; ``leads()`` is checked again before every write. ``wanted`` is read only at the start:
    while a rolling update is stuck, an old leader must not register the next release's webhook for replicas that still
    run the old release.
    """

    def __init__(
        self,
        cluster: Cluster,
        probe: Probe,
        wanted: Registration,
        recorder: ClusterRecorder,
        published: PublishedCaBundle,
        *,
        leads: Callable[[], bool] = lambda: True,
        secret_path: Callable[[], str | None] = lambda: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._leads = leads
        self._secret_path = secret_path
        self._applied = False
        self._left: list[str] = []
        self._probe = probe
        self._wanted = wanted
        self._recorder = recorder
        self._warnings = Throttled(logger, clock)
        self._published = published

    async def step(self, ca_bundle: bytes | None) -> bool:
        """Reconcile once. Return whether the live configuration is the wanted one.

        A configuration that does not exist counts as wanted: deleting it is how people switch the webhook off.
        """
        wanted = at_secret_path(self._wanted, self._secret_path())
        try:
            return await self._reconcile(wanted, ca_bundle)
        except ClusterNotFound:
            self.rest()  # an object that is created again is registered, not repaired
            self._published.record(ca_bundle)
            self._warnings.warn(
                _LIVE,
                f"{wanted} does not exist: the webhook is switched off; helm upgrade switches it on again",
            )
            return True
        except ClusterConflict:
            return False  # changed at this moment; the next step reads it again
        except ClusterError as error:
            self._recorder.registration_current(self._wanted.kind, False)
            self._warnings.warn(_LIVE, f"cannot reconcile the webhook configuration: {error}; trying again")
            return False

    def rest(self) -> None:
        """Stop reporting: another replica leads, or there is no CA bundle to register yet."""
        self._applied = False
        self._left = []
        self._recorder.registration_current(self._wanted.kind, False)
        self._recorder.registration_left_in_place(self._wanted.kind, 0)

    async def _reconcile(self, wanted: Registration, ca_bundle: bytes | None) -> bool:
        live = await self._cluster.read_webhooks(wanted.name, wanted.kind)
        entries = completed(wanted.webhooks, ca_bundle, wanted.kind)
        changes = differences(entries, live.webhooks)
        if changes:
            self._recorder.registration_current(self._wanted.kind, False)
            if not await self._responds(wanted, ca_bundle):
                return False
        if changes or not self._applied:
            if not self._leads():  # the probe may have taken longer than the Lease lasts
                return False
            live = await self._apply(wanted, live, entries, changes)
            changes = differences(entries, live.webhooks)
        if publishes(entries, live.webhooks):
            self._published.record(ca_bundle)
        if changes:
            what = "; ".join(changes)
            remedy = "find the program that writes it and let it leave the webhooks alone"
            self._warnings.warn(_LIVE, f"{wanted} was changed again at once: {what}; {remedy}")
            return False
        self._warnings.clear(_LIVE, lambda: logger.info("%s is up to date again", wanted))
        self._recorder.registration_current(self._wanted.kind, True)
        self._report_left(left_in_place(entries, live.webhooks))
        return True

    def _report_left(self, left: list[str]) -> None:
        """Count the fields that other clients added and the leader keeps; log them once per change."""
        self._recorder.registration_left_in_place(self._wanted.kind, len(left))
        if left != self._left:
            self._left = left
            what = "; ".join(left) or "none any more"
            logger.warning("%s: keeping fields that other clients added: %s", self._wanted, what)

    async def _apply(
        self, wanted: Registration, live: WebhookConfiguration, entries: list[dict[str, object]], changes: list[str]
    ) -> WebhookConfiguration:
        """Apply the wanted entries.

        Also done once after taking over leadership: server-side apply removes fields that an earlier release owned and
        this one no longer sets.
        """
        applied = await self._cluster.apply_webhooks(wanted.name, live.uid, entries, wanted.kind)
        if changes:
            when = Repair.WHILE_LEADING if self._applied else Repair.ON_TAKING_OVER
            self._recorder.registration_repaired(self._wanted.kind, when)
        self._applied = True
        if changes or applied.webhooks != live.webhooks:
            why = "; ".join(changes) or "removed fields of an earlier release"
            logger.info("registered the webhook in %s: %s", wanted, why)
        return applied

    async def _responds(self, wanted: Registration, ca_bundle: bytes | None) -> bool:
        """Probe the Service: a webhook that fails closed must not be registered before a replica responds."""
        try:
            await self._probe.check(service_url(wanted.webhooks[0]), ca_bundle)
        except ClusterError as error:
            # Normal in the first seconds; the remedy is for a failure that lasts.
            remedy = "if it lasts, look for a NetworkPolicy or firewall between the Pods and their Service"
            self._warnings.warn(
                _PROBE, f"{wanted} is not registered yet: the probe of its Service failed: {error}; {remedy}"
            )
            return False
        self._warnings.clear(_PROBE)
        return True


def _problems(document: dict[str, Any]) -> list[Problem]:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    problems = [] if isinstance(name, str) and name else [Problem("metadata.name", "expected a name")]
    return problems + _webhook_problems(document.get("webhooks"))


def _webhook_problems(webhooks: object) -> list[Problem]:
    if not isinstance(webhooks, list) or not webhooks:
        return [Problem("webhooks", "expected at least one entry")]
    problems = (_entry_problem(f"webhooks[{number}]", entry) for number, entry in enumerate(webhooks))
    return [problem for problem in problems if problem]


def _entry_problem(path: str, entry: object) -> Problem | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return Problem(f"{path}.name", "expected a name")
    client = entry.get("clientConfig")
    service = client.get("service") if isinstance(client, dict) else None
    if isinstance(service, dict) and {"name", "namespace"} <= service.keys():
        return None
    if isinstance(client, dict) and service is None and isinstance(client.get("url"), str):
        return None
    return Problem(f"{path}.clientConfig", "expected a service with name and namespace, or a url")
