"""Notifications become hints for the accounts that they are about, once each."""

import pytest

from anchore_admission.core.hints import EVERYTHING, Hint
from anchore_admission.models.notification import Notification
from anchore_admission.ports.telemetry import HintSource, NotificationOutcome
from anchore_admission.services.reviews.hints import Hints
from anchore_admission.services.reviews.notifications import Notifications
from support.fakes import FakeRecorder

TAG = "docker.io/library/nginx:1.25"


class Taken(Hints):
    """Hints that are only noted."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, Hint]] = []

    def take(self, account: str, hint: Hint) -> None:
        self.noted.append((account, hint))


ACCOUNTS = {"own": None, "team": "team-in-anchore", "other": "other-in-anchore"}


def taking(**accounts: str | None) -> tuple[Notifications, Taken, FakeRecorder]:
    taken, recorder = Taken(), FakeRecorder()
    return Notifications(accounts or ACCOUNTS, taken, recorder), taken, recorder


def notification(
    identity: str = "n1", account: str = "", kind: str = "tag_update", resource: str = TAG
) -> Notification:
    return Notification(identity, account, kind, "image_tag" if resource else "", resource)


@pytest.mark.parametrize("kind", ["policy_eval", "tag_update", "vuln_update", "analysis_update"])
def test_a_typed_notification_is_a_hint_about_its_tag(kind: str) -> None:
    notifications, taken, recorder = taking(default=None)
    assert notifications.take(notification(kind=kind)) is NotificationOutcome.HINT
    assert taken.noted == [("default", Hint(full_tag=TAG))]
    assert recorder.hints == [HintSource.NOTIFICATIONS]


def test_without_a_tag_everything_is_meant() -> None:
    notifications, taken, _ = taking(default=None)
    assert notifications.take(notification(resource="")) is NotificationOutcome.HINT
    assert taken.noted == [("default", EVERYTHING)]


@pytest.mark.parametrize(
    ("account", "meant"),
    [
        ("", ["own", "team", "other"]),
        ("team-in-anchore", ["own", "team"]),
        ("unknown", ["own"]),
    ],
)
def test_the_accounts_that_it_may_be_about(account: str, meant: list[str]) -> None:
    notifications, taken, _ = taking()
    notifications.take(notification(account=account))
    assert [name for name, _ in taken.noted] == meant


@pytest.mark.parametrize(
    "unwanted",
    [
        notification(kind="repo_update"),
        notification(kind=""),
        notification(kind="system.feeds.sync.completed"),
        notification(account="someone-elses"),
    ],
)
def test_other_notifications_are_ignored(unwanted: Notification) -> None:
    notifications, taken, recorder = taking(team="team-in-anchore")
    assert notifications.take(unwanted) is NotificationOutcome.IGNORED
    assert (taken.noted, recorder.hints) == ([], [])


def test_a_notification_that_is_delivered_again_gives_no_second_hint() -> None:
    notifications, taken, _ = taking(default=None)
    outcomes = [notifications.take(notification("n1")), notifications.take(notification("n1"))]
    assert outcomes == [NotificationOutcome.HINT, NotificationOutcome.REPEATED]
    assert len(taken.noted) == 1
    assert notifications.take(notification("n2")) is NotificationOutcome.HINT


def test_without_an_id_each_counts() -> None:
    notifications, taken, _ = taking(default=None)
    assert [notifications.take(notification("")) for _ in range(2)] == [NotificationOutcome.HINT] * 2
    assert len(taken.noted) == 2


def test_the_ids_are_bounded_in_number_and_length() -> None:
    notifications, _, _ = taking(default=None)
    for number in range(5000):
        notifications.take(notification(f"{number:05}" + "x" * 10_000))
    assert sum(map(len, notifications._known)) <= 1000 * 200
    assert notifications.take(notification("00000" + "x" * 10_000)) is NotificationOutcome.HINT
