"""Find deadlocks: namespaces in which Anchore's own Pods need a verdict from Anchore before they can start."""

from collections.abc import Iterator, Sequence

from anchore_admission.core.rules.book import Rule, compile_rules
from anchore_admission.core.rules.match import Circumstances
from anchore_admission.core.webhook.drift import Entry, judges_namespace
from anchore_admission.models.configuration import Configuration, Enforcement, Match, OnError

_SERVICE = "svc"


def deadlocked_namespaces(configuration: Configuration, webhooks: Sequence[Entry]) -> list[str]:
    """Return the namespaces of Anchore whose Pods could not start again once Anchore is down.

    In such a namespace, the webhook judges Pods and the rules deny images without a verdict from Anchore. A rule that
    names the namespace and does not need Anchore (``skip``, ``passive``) shows that the operator has taken care of
    Anchore's own images.
    """
    return [
        namespace
        for namespace in dict.fromkeys(_namespaces(configuration))
        if any(judges_namespace(webhook, namespace) for webhook in webhooks)
        and _needs_anchore(configuration, namespace)
    ]


def _namespaces(configuration: Configuration) -> Iterator[str]:
    """Yield the namespaces of endpoints that use a Service's full name; ``anchore.tools`` may be an internet host."""
    endpoints = [configuration.anchore.endpoint, *(account.endpoint for account in configuration.accounts)]
    for endpoint in endpoints:
        labels = (endpoint.host or "").lower().split(".") if endpoint else []
        if _SERVICE in labels[2:]:
            yield labels[labels.index(_SERVICE, 2) - 1]


def _needs_anchore(configuration: Configuration, namespace: str) -> bool:
    sections = [
        section.model_copy(update={"match": Match(namespaces=section.match.namespaces)})
        for section in configuration.rules
    ]
    book = compile_rules(sections, configuration.defaults)
    there = book.index.narrowed(Circumstances(namespace=namespace)).possible
    for position, (section, rule) in enumerate(zip(configuration.rules, book.rules, strict=True)):
        if not there >> position & 1:
            continue
        if _denies_without_verdict(rule):
            return True
        if section.match.namespaces or section.match == Match():
            return False
    return _denies_without_verdict(book.defaults)


def _denies_without_verdict(rule: Rule) -> bool:
    return rule.can_deny and rule.enforcement is Enforcement.DENY and rule.on_error is OnError.DENY
