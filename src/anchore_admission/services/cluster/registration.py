"""Keeps the webhook registered as it should be: asked before it is registered, restored, never created anew."""

import logging
import time
from collections.abc import Callable

from anchore_admission.core.webhook.drift import (
    Registration,
    completed,
    differences,
    left_in_place,
    publishes,
    question_url,
)
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
"""How long API servers are given to notice that the registration has changed; they watch it, so it takes moments."""
_KIND = "ValidatingWebhookConfiguration"
_LIVE, _ANSWER = "live", "answer"


def parse_registration(text: str, source: str) -> Registration:
    """Raises ConfigurationError with every problem."""
    try:
        documents = load_documents(text, source=source, aliases=False)
    except DocumentError as error:
        raise ConfigurationError(source, error.problems) from error
    if len(documents) != 1 or not isinstance(documents[0], dict) or documents[0].get("kind") != _KIND:
        raise ConfigurationError(source, [Problem("", f"expected one {_KIND}")])
    metadata, webhooks = documents[0].get("metadata"), documents[0].get("webhooks")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    problems = [*_name_problems(name), *_webhook_problems(webhooks)]
    if problems:
        raise ConfigurationError(source, problems)
    return Registration(str(name), webhooks or [])


class KnownAuthorities:
    """Which authorities API servers know, and since when; where nothing is registered, nobody has to know them."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._carried: bytes | None = None
        self._since = clock()

    def carry(self, authorities: bytes | None) -> None:
        if authorities != self._carried:
            self._carried, self._since = authorities, self._clock()

    def trusted(self, authorities: bytes) -> bool:
        """Whether every API server has surely noticed these authorities."""
        return authorities == self._carried and self._clock() - self._since >= SETTLE_SECONDS


class Registrar:
    """One look at the registration per ``step``; only the leader takes steps, and ``leads`` tells whether it still is.

    ``wanted`` is what this replica began with. Whoever leads during an update that never ends must not register
    the next release's terms for replicas that judge by the old ones.
    """

    def __init__(
        self,
        cluster: Cluster,
        question: Probe,
        wanted: Registration,
        recorder: ClusterRecorder,
        known: KnownAuthorities,
        *,
        leads: Callable[[], bool] = lambda: True,
        clock: Clock = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._leads = leads
        self._applied = False
        self._left: list[str] = []
        self._question = question
        self._wanted = wanted
        self._recorder = recorder
        self._warnings = Throttled(logger, clock)
        self._known = known

    async def step(self, authorities: bytes | None) -> bool:
        """Restore what is missing or changed. False while the registration is not what it should be.

        An object that does not exist counts as wanted so: deleting it is how people switch the webhook off.
        """
        wanted = self._wanted
        try:
            return await self._look(wanted, authorities)
        except ClusterNotFound:
            self.rest()  # an object that is made anew is registered, not repaired
            self._known.carry(authorities)
            self._warnings.warn(
                _LIVE,
                f"{_KIND} {wanted.name} does not exist: the webhook is switched off; helm upgrade switches it on again",
            )
            return True
        except ClusterConflict:
            return False  # changed in this moment; the next step looks again
        except ClusterError as error:
            self._recorder.registration_current(False)
            self._warnings.warn(_LIVE, f"the registration cannot be looked after: {error}")
            return False

    def rest(self) -> None:
        """Somebody else leads, or there is nothing yet that could be registered."""
        self._applied = False
        self._left = []
        self._recorder.registration_current(False)
        self._recorder.registration_left_in_place(0)

    async def _look(self, wanted: Registration, authorities: bytes | None) -> bool:
        entries = completed(wanted.webhooks, authorities)
        live = await self._cluster.read_webhooks(wanted.name)
        changes = differences(entries, live.webhooks)
        if changes:
            self._recorder.registration_current(False)
            if not await self._answers(wanted, authorities):
                return False
        if changes or not self._applied:
            if not self._leads():  # any more: the question may have taken long
                return False
            live = await self._apply(wanted.name, live, entries, changes)
            changes = differences(entries, live.webhooks)
        if publishes(entries, live.webhooks):
            self._known.carry(authorities)
        if changes:
            self._warnings.warn(_LIVE, f"{_KIND} {wanted.name} was changed at once by somebody: {'; '.join(changes)}")
            return False
        self._warnings.clear(_LIVE, lambda: logger.info("%s %s is as it should be", _KIND, wanted.name))
        self._recorder.registration_current(True)
        self._tell_left(wanted.name, left_in_place(entries, live.webhooks))
        return True

    def _tell_left(self, name: str, left: list[str]) -> None:
        """Log and count what others have added and what stays, once per change."""
        self._recorder.registration_left_in_place(len(left))
        if left != self._left:
            self._left = left
            what = "; ".join(left) or "nothing any more"
            logger.warning("%s %s: left in place what others have added: %s", _KIND, name, what)

    async def _apply(
        self, name: str, live: WebhookConfiguration, entries: list[dict[str, object]], changes: list[str]
    ) -> WebhookConfiguration:
        """Also once when a leader begins: what an earlier release has set and this one does not want goes only so."""
        applied = await self._cluster.apply_webhooks(name, live.uid, entries)
        if changes:
            self._recorder.registration_repaired(Repair.WHILE_LEADING if self._applied else Repair.ON_TAKING_OVER)
        self._applied = True
        if changes or applied.webhooks != live.webhooks:
            why = "; ".join(changes) or "what an earlier release had set is taken away"
            logger.info("registered the webhook in %s %s: %s", _KIND, name, why)
        return applied

    async def _answers(self, wanted: Registration, authorities: bytes | None) -> bool:
        """A webhook that fails closed must not be registered before somebody answers."""
        url = question_url(wanted.webhooks[0])
        try:
            await self._question.ask(url, authorities)
        except ClusterError as error:
            # In the first seconds this is normal; the remedy is for what lasts.
            remedy = "if it lasts, look for a NetworkPolicy or firewall between the Pods and their Service"
            self._warnings.warn(_ANSWER, f"not registered before the webhook answers: {error}; {remedy}")
            return False
        self._warnings.clear(_ANSWER)
        return True


def _name_problems(name: object) -> list[Problem]:
    return [] if isinstance(name, str) and name else [Problem("metadata.name", "expected a name")]


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
