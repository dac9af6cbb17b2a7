"""The announcements of the ends of exemptions."""

import logging

import pytest

from anchore_admission.core.rules.exemptions import Exemption
from anchore_admission.models.moments import written_time
from anchore_admission.services.reviews.expiry_notices import ExpiryNotices

DAY = 86400.0
END = 1_800_000_000.0
AT = written_time(END)
SOON = (
    f"exemption it ends at {AT} (owner team, ticket T-1): its images are denied from then on; fix them, or prolong it"
)
ENDED = (
    f"exemption it ended at {AT} (owner team, ticket T-1): it does nothing any more; remove it from the configuration"
)


def _exemption(name: str = "it", expires: float = END, ticket: str = "T-1") -> Exemption:
    return Exemption(name, "r", "team", ticket, expires)


@pytest.mark.parametrize(
    ("moments", "logged"),
    [
        ([END - 8 * DAY], []),
        ([END - 7 * DAY - 0.1], []),
        ([END - 7 * DAY], [SOON]),
        ([END - 0.1], [SOON]),
        ([END], [ENDED]),
        ([END + 900 * DAY], [ENDED]),
        ([END - 7 * DAY, END - 6 * DAY, END - 1, END, END + 1], [SOON, ENDED]),
    ],
)
def test_an_end_is_announced_once_a_week_before_and_once_after_it(
    moments: list[float], logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    now = moments[0]
    notices = ExpiryNotices(lambda: [_exemption()], lambda: now)
    for moment in moments:
        now = moment
        notices.check()

    assert caplog.messages == logged
    assert {record.levelno for record in caplog.records} <= {logging.WARNING}


def test_what_a_reload_brings_or_prolongs_is_announced_anew(caplog: pytest.LogCaptureFixture) -> None:
    now = END
    found = [_exemption()]
    notices = ExpiryNotices(lambda: found, lambda: now)
    notices.check()
    found = [_exemption(expires=END + 30 * DAY), _exemption("other", END, "")]
    notices.check()
    now = END + 25 * DAY
    notices.check()
    found = []
    notices.check()
    found = [_exemption(expires=END + 30 * DAY)]
    notices.check()

    prolonged = SOON.replace(AT, written_time(END + 30 * DAY))
    without_ticket = ENDED.replace("exemption it", "exemption other").replace(", ticket T-1", "")
    assert caplog.messages == [ENDED, without_ticket, prolonged, prolonged]
