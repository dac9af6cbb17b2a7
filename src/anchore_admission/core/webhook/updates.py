"""The match conditions that keep updates from the webhook, for policies that judge every update."""

from collections.abc import Sequence
from dataclasses import replace

from anchore_admission.core.webhook.drift import Entry, Registration
from anchore_admission.core.webhook.entry import IMAGES_CHANGE, WebhookKind

_COMPARES = "oldObject"
"""The variable of CEL that a condition needs to tell what an update changes."""


def sending_every_update(registration: Registration) -> Registration:
    """Leave out our own condition, which keeps updates that change no image from the validating webhook.

    The mutating webhook keeps it: an update that changes no image has nothing to pin.
    """
    if registration.kind is WebhookKind.MUTATING:
        return registration
    return replace(registration, webhooks=[_without(entry, IMAGES_CHANGE) for entry in registration.webhooks])


def withholding(webhooks: Sequence[Entry]) -> list[str]:
    """Return the names of the match conditions that decide by what an update changes."""
    conditions = (condition for entry in webhooks for condition in entry.get("matchConditions") or ())
    return [str(it.get("name")) for it in conditions if _COMPARES in str(it.get("expression"))]


def _without(entry: Entry, name: str) -> Entry:
    conditions = entry.get("matchConditions")
    if not conditions:
        return entry
    return {**entry, "matchConditions": [it for it in conditions if it.get("name") != name]}
