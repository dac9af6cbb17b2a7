"""Durations and sizes as users write them."""

import math

import pytest

from anchore_admission.models.quantities import parse_duration, parse_size, written_duration


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("500ms", 0.5),
        ("8s", 8.0),
        ("10m", 600.0),
        ("1h", 3600.0),
        ("1m30s", 90.0),
        ("1h30m", 5400.0),
        ("1.5s", 1.5),
        ("0s", 0.0),
        (0, 0.0),
        (8, 8.0),
        (0.25, 0.25),
    ],
)
def test_duration(written: object, seconds: float) -> None:
    assert parse_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "s",
        "8",
        "8 s",
        "8S",
        "-1s",
        "+1s",
        "1d",
        "s8",
        "1..5s",
        ".5s",
        "8s\n",
        "٨s",
        "1e3s",
        True,
        None,
        [],
        math.nan,
        math.inf,
        "9" * 5000 + "s",
    ],
    ids=lambda value: repr(value)[:12],
)
def test_no_duration(written: object) -> None:
    with pytest.raises(ValueError, match=r"^expected a duration such as 500ms, 8s or 10m$"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("written", "count"),
    [("1024", 1024), ("1024B", 1024), ("512KiB", 512 * 1024), ("8MiB", 8 * 1024 * 1024), (2048, 2048), ("0", 0)],
)
def test_size(written: object, count: int) -> None:
    assert parse_size(written) == count


@pytest.mark.parametrize(
    "written",
    ["", "8MB", "8 MiB", "8mib", "1.5MiB", "-1", "MiB", "8MiB\n", "٨", 1.5, True, None, "9" * 5000],
    ids=lambda value: repr(value)[:12],
)
def test_no_size(written: object) -> None:
    with pytest.raises(ValueError, match=r"^expected a size such as 512KiB or 8MiB$"):
        parse_size(written)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0s"), (0.5, "0.5s"), (8.0, "8s"), (90.0, "90s"), (600.0, "10m"), (7_776_000.0, "2160h")],
)
def test_a_duration_is_written_as_it_is_read(seconds: float, text: str) -> None:
    assert written_duration(seconds) == text
    assert parse_duration(text) == seconds
