"""Moments as they are written in the configuration."""

from datetime import UTC, datetime
from typing import Any

import pytest

from anchore_admission.models.moments import parse_end, written_time


@pytest.mark.parametrize(
    ("written", "end"),
    [
        ("2026-12-31", datetime(2027, 1, 1, tzinfo=UTC)),
        ("2028-02-28", datetime(2028, 2, 29, tzinfo=UTC)),
        ("2028-02-29", datetime(2028, 3, 1, tzinfo=UTC)),
        ("2026-12-31T18:00:00Z", datetime(2026, 12, 31, 18, tzinfo=UTC)),
        ("2026-12-31t18:00:00z", datetime(2026, 12, 31, 18, tzinfo=UTC)),
        ("2026-12-31T18:00:00.5Z", datetime(2026, 12, 31, 18, 0, 0, 500_000, tzinfo=UTC)),
        ("2027-01-01T00:30:00+02:00", datetime(2026, 12, 31, 22, 30, tzinfo=UTC)),
        ("2026-12-31T18:00:00-11:30", datetime(2027, 1, 1, 5, 30, tzinfo=UTC)),
    ],
)
def test_a_date_lasts_to_its_end_in_utc_and_a_time_to_its_moment(written: str, end: datetime) -> None:
    assert parse_end(written) == end.timestamp()


@pytest.mark.parametrize(
    "written",
    [
        "2027-02-29",
        "2026-13-01",
        "2026-00-10",
        "2026-1-1",
        "20261231",
        "2026-W53-4",
        "2026-12-31T18:00:00",
        "2026-12-31T18:00Z",
        "2026-12-31 18:00:00Z",
        "2026-12-31T24:00:00Z",
        "2026-12-31T23:59:60Z",
        "2026-12-31T18:00:00+99:00",
        "2026-12-31\n",
        "٢٠٢٦-12-31",
        "9999-12-31",
        "9999-12-31T23:00:00-12:00",
        "0001-01-01T00:00:00+12:00",
        "tomorrow",
        "",
        20261231,
        None,
        True,
        datetime(2026, 12, 31, tzinfo=UTC),
    ],
)
def test_another_end_is_rejected(written: Any) -> None:
    with pytest.raises(ValueError, match="expected a date such as 2026-12-31"):
        parse_end(written)


def test_a_time_is_written_in_utc_to_the_second() -> None:
    assert written_time(parse_end("2026-12-31T18:00:00.9+02:00")) == "2026-12-31T16:00:00Z"
