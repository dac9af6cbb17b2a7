"""Wire the review services to Anchore, telemetry and files: a configuration becomes a controller."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anchore_admission.adapters.anchore import AnchoreEndpoint, Bounds, CredentialSource, DetectingAnchore, connect
from anchore_admission.adapters.anchore.credentials import FileCredentials
from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.adapters.trust import WatchedTrust
from anchore_admission.core.freshness import Lifetimes
from anchore_admission.core.rules.book import RuleBook
from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.models.configuration import AccountSection, Configuration
from anchore_admission.ports.anchore import Anchore
from anchore_admission.ports.deadline import Clock
from anchore_admission.ports.hook import DecisionHook
from anchore_admission.ports.namespaces import NamespaceLabels
from anchore_admission.ports.store import FactStore
from anchore_admission.ports.telemetry import Recorder, WatchedSource
from anchore_admission.services.config.load import IMPLICIT_ACCOUNT, environment_name
from anchore_admission.services.reviews.event_log import EventLogs
from anchore_admission.services.reviews.expiry_notices import ExpiryNotices
from anchore_admission.services.reviews.facts import FactGathering
from anchore_admission.services.reviews.gate import Gate
from anchore_admission.services.reviews.hints import Hints
from anchore_admission.services.reviews.hooking import Hooking
from anchore_admission.services.reviews.judging import Judging
from anchore_admission.services.reviews.manual import ManualReviews
from anchore_admission.services.reviews.memory import Account, Memory
from anchore_admission.services.reviews.notifications import Notifications
from anchore_admission.services.reviews.pinning import Pinning
from anchore_admission.services.reviews.policy_versions import PolicyVersions
from anchore_admission.services.reviews.remembered import Remembered
from anchore_admission.services.reviews.review import Reviews
from anchore_admission.services.reviews.rules import CurrentRules, Rules
from anchore_admission.services.reviews.shared_answers import SharedAnswers
from anchore_admission.services.reviews.submissions import Schedule, Submissions
from anchore_admission.settings import PREFIX
from anchore_admission.watched import Watched
from anchore_admission.wiring.credentials import credential_sources
from anchore_admission.wiring.hook import WiredHook, decision_hook
from anchore_admission.wiring.namespaces import NO_NAMESPACES, NamespaceOptions, WiredNamespaces
from anchore_admission.wiring.store import WiredStore, fact_store


@dataclass(frozen=True, slots=True)
class Controller:
    """The parts of a running controller. Nothing is sent to Anchore before the first review."""

    configuration: Configuration
    rules: CurrentRules
    telemetry: Telemetry
    accounts: Mapping[str, DetectingAnchore]
    memory: Memory
    hints: Hints
    event_logs: EventLogs | None
    notifications: Notifications
    submissions: Submissions
    gathering: FactGathering
    reviews: Reviews
    pinning: Pinning
    manual: ManualReviews
    watched: Sequence[Watched[Any]]
    """Files of credentials and CAs."""
    expiry_notices: ExpiryNotices
    namespaces: WiredNamespaces
    shared: WiredStore | None = None
    hook: WiredHook | None = None

    def has_credentials(self) -> bool:
        """Return whether there are credentials for every account."""
        return all(source.is_ready() for source in self.watched)

    def prepare(self, rules: Rules) -> None:
        """Prepare for rules that are to take effect, from any thread.

        Raises:
            ConfigurationError: they use an account that is not connected, or need labels of namespaces in vain.
        """
        used = {rule.account for rule in rules.book.using_anchore}
        if problems := [_not_connected(account) for account in sorted(used - self.accounts.keys())]:
            raise ConfigurationError("configuration", problems)
        self.namespaces.require(rules)

    def forget(self) -> int:
        """Forget everything that Anchore answered, and return the number of answers that were remembered."""
        self.submissions.forget()
        return self.memory.forget()

    async def aclose(self) -> None:
        """Close the connections to Anchore, to the shared store and to the cluster."""
        # A stack closes each of them even if closing another one fails.
        async with AsyncExitStack() as stack:
            for anchore in self.accounts.values():
                stack.push_async_callback(anchore.aclose)
            if self.hook:
                stack.push_async_callback(self.hook.hook.aclose)
            if self.shared:
                stack.push_async_callback(self.shared.store.aclose)
            stack.push_async_callback(self.memory.aclose)
            stack.push_async_callback(self.namespaces.aclose)


@dataclass(frozen=True, slots=True)
class ReviewServices:
    """The services behind reviews, over any Anchore and recorder."""

    memory: Memory
    gathering: FactGathering
    submissions: Submissions
    reviews: Reviews
    pinning: Pinning
    manual: ManualReviews


def review_services(
    configuration: Configuration,
    rules: CurrentRules,
    accounts: Mapping[str, Anchore],
    recorder: Recorder,
    *,
    store: FactStore | None = None,
    namespaces: NamespaceLabels | None = None,
    hook: DecisionHook | None = None,
    clock: Clock = time.monotonic,
) -> ReviewServices:
    """Wire the services of reviews to the ports given; tests give fakes."""
    queue = configuration.submissions
    schedule = Schedule(queue.concurrency, queue.queue_size, configuration.tags.refresh_interval)
    submissions = Submissions(accounts, recorder, schedule, clock=clock)
    memory = _memory(configuration, accounts, recorder, store, clock)
    gathering = FactGathering(
        memory,
        submissions,
        recorder,
        concurrency=configuration.lookups.concurrency,
        passive_wait=configuration.passive.wait,
    )
    judging = Judging(gathering, namespaces)
    hooking = Hooking(hook, configuration.opa) if hook and configuration.opa else None
    reviews = Reviews(rules, judging, recorder, hooking=hooking)
    pinning = Pinning(rules, judging, gathering, recorder)
    return ReviewServices(memory, gathering, submissions, reviews, pinning, ManualReviews(reviews))


def _memory(
    configuration: Configuration,
    accounts: Mapping[str, Anchore],
    recorder: Recorder,
    store: FactStore | None,
    clock: Clock,
) -> Memory:
    section = configuration.memory
    lifetimes = Lifetimes(section.passed, section.fail, section.pending, section.unknown, section.tag, section.outage)
    known: dict[str, Account] = {}
    for name, anchore in accounts.items():
        gate = Gate(name, configuration.lookups.concurrency, recorder, clock)
        policies = PolicyVersions(name, anchore, section.policy_interval, clock=clock, report_outage=gate.confirm)
        known[name] = Account(anchore, gate, policies)
    remembered = Remembered(section.entries, section.size)
    shared = SharedAnswers(store, lifetimes, recorder, clock=clock)
    return Memory(known, remembered, lifetimes, recorder, shared=shared, clock=clock)


def build(
    configuration: Configuration,
    *,
    environ: Mapping[str, str] = os.environ,
    wait_until_valid: bool = False,
    serves: bool = False,
    tells_facts: bool = False,
    namespaces: NamespaceOptions = NO_NAMESPACES,
) -> Controller:
    """Build the controller; ``wait_until_valid`` accepts credential files that are not valid yet.

    Only a replica (``serves``) shares what it learns through the configured store, and connects accounts that no rule
    uses yet: a reload may begin to use them. ``tells_facts`` keeps the findings that only warn for other policy
    engines; a configured OPA does so as well.

    Raises:
        ConfigurationError: with every account that cannot be used, or if labels of namespaces are needed and unknown.
    """
    telemetry = Telemetry()
    rules = CurrentRules(Rules.of(configuration))
    used = _used_accounts(configuration, rules.current.book)
    sources = _sources(used, environ, wait_until_valid=wait_until_valid)
    if serves:
        for section, source in _spare_accounts(configuration, list(used), environ):
            used.append(section)
            sources[section.name] = source
    accounts, watched = _connections(configuration, used, sources, telemetry, tells_facts=tells_facts)
    shared = fact_store(configuration, telemetry) if serves else None
    hook = decision_hook(configuration, telemetry, environ, wait_until_valid=wait_until_valid)
    labels = WiredNamespaces(namespaces, telemetry, rules)
    labels.require(rules.current)
    store, asked = shared.store if shared else None, hook.hook if hook else None
    services = review_services(configuration, rules, accounts, telemetry, store=store, namespaces=labels, hook=asked)
    hints = Hints(services.memory, clock=time.monotonic)
    telemetry.watch_exemptions(rules.exemptions)
    return Controller(
        configuration,
        rules,
        telemetry,
        accounts,
        memory=services.memory,
        hints=hints,
        event_logs=_event_logs(configuration, accounts, hints, telemetry),
        notifications=Notifications({section.name: section.anchore_account for section in used}, hints, telemetry),
        submissions=services.submissions,
        gathering=services.gathering,
        reviews=services.reviews,
        pinning=services.pinning,
        manual=services.manual,
        watched=watched,
        expiry_notices=ExpiryNotices(rules.exemptions, time.time),
        namespaces=labels,
        shared=shared,
        hook=hook,
    )


def _connections(
    configuration: Configuration,
    used: Sequence[AccountSection],
    sources: Mapping[str, CredentialSource],
    telemetry: Telemetry,
    *,
    tells_facts: bool,
) -> tuple[dict[str, DetectingAnchore], list[Watched[Any]]]:
    """Connect the accounts; also return their files of credentials and CAs, to be read again."""
    trust = _trust(configuration, used, telemetry)
    accounts = {
        section.name: _connected(
            configuration,
            section,
            sources[section.name],
            telemetry,
            trust.get(_ca_file(configuration, section)),
            keeps_warnings=tells_facts or configuration.opa is not None,
        )
        for section in used
    }
    watched = [*_watched_credentials(sources.values(), telemetry), *(followed.watched for followed in trust.values())]
    return accounts, watched


def _event_logs(
    configuration: Configuration, accounts: Mapping[str, Anchore], hints: Hints, recorder: Recorder
) -> EventLogs | None:
    interval = configuration.hints.events
    return EventLogs(accounts, hints, recorder, interval, clock=time.monotonic) if interval else None


def _used_accounts(configuration: Configuration, book: RuleBook) -> list[AccountSection]:
    """Return only the accounts that some rule uses; ``default`` need not be written down."""
    used = {rule.account for rule in book.using_anchore}
    sections = {section.name: section for section in configuration.accounts}
    return [sections.get(name) or AccountSection(name=name) for name in sorted(used)]


def _sources(
    used: Sequence[AccountSection], environ: Mapping[str, str], *, wait_until_valid: bool
) -> dict[str, CredentialSource]:
    sources = credential_sources(used, environ, wait_until_valid=wait_until_valid)
    problems = [_without_credentials(section) for section in used if section.name not in sources]
    if problems:
        raise ConfigurationError("credentials", problems)
    return sources


def _spare_accounts(
    configuration: Configuration, used: Sequence[AccountSection], environ: Mapping[str, str]
) -> Iterator[tuple[AccountSection, CredentialSource]]:
    """Yield the accounts that no rule uses and that have valid credentials now, with these."""
    sections = {IMPLICIT_ACCOUNT: AccountSection(name=IMPLICIT_ACCOUNT)}
    sections |= {section.name: section for section in configuration.accounts}
    for section in sections.values():
        if section not in used and (section.endpoint or configuration.anchore.endpoint):
            with suppress(ConfigurationError):
                for source in credential_sources([section], environ).values():
                    yield section, source


def _watched_credentials(sources: Iterable[CredentialSource], telemetry: Telemetry) -> list[Watched[Any]]:
    watched: list[Watched[Any]] = [source.watched for source in sources if isinstance(source, FileCredentials)]
    for source in watched:
        telemetry.watch_unusable(WatchedSource.CREDENTIALS, source.is_unusable)
    return watched


def _connected(
    configuration: Configuration,
    account: AccountSection,
    source: CredentialSource,
    telemetry: Telemetry,
    trust: WatchedTrust | None,
    *,
    keeps_warnings: bool,
) -> DetectingAnchore:
    shared, timeouts = configuration.anchore, configuration.timeouts
    endpoint = AnchoreEndpoint(
        url=str(account.endpoint or shared.endpoint or ""),
        api_version=account.api_version or shared.api_version,
        ca_file=_ca_file(configuration, account) or None,
        verify_tls=shared.verify_tls,
    )
    return connect(
        endpoint,
        source,
        name=account.name,
        recorder=telemetry,
        bounds=Bounds(connect=timeouts.connect, read=timeouts.read, response=configuration.limits.anchore_response),
        anchore_account=account.anchore_account,
        keeps_warnings=keeps_warnings,
        trusted=trust.current if trust else None,
    )


def _ca_file(configuration: Configuration, account: AccountSection) -> str:
    return account.ca_file or configuration.anchore.ca_file or ""


def _trust(
    configuration: Configuration, used: Sequence[AccountSection], telemetry: Telemetry
) -> dict[str, WatchedTrust]:
    """Follow the CA file of each account; accounts that share one follow it once."""
    if not configuration.anchore.verify_tls:
        return {}
    paths = {_ca_file(configuration, account) for account in used} - {""}
    trust = {path: WatchedTrust(Path(path)) for path in sorted(paths)}
    for followed in trust.values():
        telemetry.watch_unusable(WatchedSource.ANCHORE_CA, followed.watched.is_unusable)
    return trust


def _without_credentials(account: AccountSection) -> Problem:
    prefix = f"{PREFIX}ACCOUNT_{environment_name(account.name)}"
    return Problem(
        f"account {account.name}",
        f"has no credentials: give usernameFile and passwordFile (or apiKeyFile), or {prefix}_USERNAME and "
        f"{prefix}_PASSWORD in the environment",
    )


def _not_connected(account: str) -> Problem:
    return Problem(
        f"account {account}",
        "is not connected: it was not in the configuration, or had no valid credentials, when the controller started; "
        "restart the controller",
    )
