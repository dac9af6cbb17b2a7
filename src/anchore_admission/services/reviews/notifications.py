"""Turn Anchore's notifications into hints, once each, for the accounts that they are about."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from anchore_admission.core.hints import Event, hint_of
from anchore_admission.models.notification import Notification
from anchore_admission.ports.telemetry import HintSource, NotificationOutcome, Recorder
from anchore_admission.services.reviews.hints import Hints

_REMEMBERED: Final = 1000
"""The most notifications that are recognized when they are delivered again; Anchore tries for half a minute."""
_LONGEST_ID: Final = 200


class Notifications:
    """The notifications for accounts, which are given by name with the account in Anchore.

    The name in Anchore is None if an account is that of its own user: Anchore then names it, but the configuration does
    not, so that every notification may be about it.
    """

    def __init__(self, accounts: Mapping[str, str | None], hints: Hints, recorder: Recorder) -> None:
        self._accounts = accounts
        self._hints = hints
        self._recorder = recorder
        self._known: OrderedDict[str, None] = OrderedDict()

    def take(self, notification: Notification) -> NotificationOutcome:
        """Keep the hint that a notification gives, if any. Never waits."""
        hint = hint_of(
            Event(notification.id, notification.kind, notification.resource_type, notification.resource),
        )
        named = notification.account
        accounts = [name for name, known in self._accounts.items() if not named or known in {None, named}]
        if hint is None or not accounts:
            return NotificationOutcome.IGNORED
        if self._is_repeated(notification.id[:_LONGEST_ID]):
            return NotificationOutcome.REPEATED
        for account in accounts:
            self._recorder.hint(HintSource.NOTIFICATIONS)
            self._hints.take(account, hint)
        return NotificationOutcome.HINT

    def _is_repeated(self, identity: str) -> bool:
        if not identity:
            return False
        if identity in self._known:
            return True
        self._known[identity] = None
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return False
