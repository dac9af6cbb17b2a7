"""Metrics and log lines about calls of the mutating webhook."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from anchore_admission.adapters.logs import JsonFormatter, TextFormatter
from anchore_admission.adapters.pinning_log import PinningLog
from anchore_admission.adapters.review_log import IMAGES_PER_LINE
from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.core.pins import PinnedPlace, PinResult
from anchore_admission.core.workload import ContainerImage
from anchore_admission.ports.telemetry import PinningRecord
from anchore_admission.throttled import REPEAT_SECONDS
from support.builders import DIGEST
from support.fakes import ManualClock

APP = "registry.example.com/app:1"
DIFFERS = "with its digest, rule default applies to it instead of rule by-tag, whose patterns name the tag"
ODD = "line\nnext\r\x00\x1b[31m\u2028"


def place(name: str = "app", image: str = APP) -> ContainerImage:
    return ContainerImage("containers", name, image)


def pinned(name: str = "app", result: PinResult = PinResult.PINNED) -> PinnedPlace:
    return PinnedPlace(place(name), result, f"{APP}@{DIGEST}")


def left(result: PinResult = PinResult.STALE, reason: str = "it is old", *, image: str = APP) -> PinnedPlace:
    return PinnedPlace(place("left", image), result, reason=reason)


def record(*pins: PinnedPlace, **changes: Any) -> PinningRecord:
    fields: dict[str, Any] = {"uid": "uid-1", "operation": "CREATE", "namespace": "shop", "name": "web-*"}
    fields |= {"user": "alice", "dry_run": False, "seconds": 0.0123456}
    return PinningRecord(pins=pins, **{**fields, **changes})


class Kept(logging.Handler):
    """A handler that keeps all records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def lines() -> Iterator[list[logging.LogRecord]]:
    """The records of the log, at every level."""
    logger, handler = logging.getLogger("anchore_admission.pinning"), Kept()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield handler.records
    logger.removeHandler(handler)
    logger.setLevel(level)
    logger.propagate = propagate


def read(line: logging.LogRecord) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(JsonFormatter().format(line))
    return document


@pytest.mark.parametrize(
    ("pins", "outcome", "level"),
    [
        ((pinned(),), "pinned", "INFO"),
        ((pinned(result=PinResult.KEPT),), "pinned", "INFO"),
        ((pinned(), left()), "partly_pinned", "INFO"),
        ((left(),), "not_pinned", "INFO"),
        ((), "nothing_to_pin", "DEBUG"),
    ],
)
def test_the_level_and_the_outcome_follow_from_the_images(
    pins: tuple[PinnedPlace, ...], outcome: str, level: str, lines: list[logging.LogRecord]
) -> None:
    PinningLog().write(record(*pins))
    (line,) = map(read, lines)
    assert (line["message"], line["outcome"], line["level"]) == (f"{outcome} Pod shop/web-*", outcome, level)


def test_the_line_says_what_became_of_each_image(lines: list[logging.LogRecord]) -> None:
    PinningLog().write(record(pinned(), left(), dry_run=True))
    (line,) = map(read, lines)
    assert {key: value for key, value in line.items() if key not in {"time", "message", "level", "logger"}} == {
        "uid": "uid-1",
        "namespace": "shop",
        "name": "web-*",
        "kind": "Pod",
        "operation": "CREATE",
        "user": "alice",
        "outcome": "partly_pinned",
        "dryRun": True,
        "milliseconds": 12.346,
        "images": [
            {"place": "containers/app", "image": APP, "result": "pinned", "pinnedDigest": DIGEST},
            {"place": "containers/left", "image": APP, "result": "stale", "reason": "it is old"},
        ],
    }
    assert f"images=[containers/app {APP} pinned {DIGEST};" in TextFormatter(color=False).format(lines[0])


def test_the_images_that_stay_are_named_first_if_not_all_fit(lines: list[logging.LogRecord]) -> None:
    PinningLog().write(record(*(pinned(f"c{n}") for n in range(IMAGES_PER_LINE)), left(), left()))
    (line,) = map(read, lines)
    assert line["imagesOmitted"] == 2
    places = [image["place"] for image in line["images"]]
    assert len(places) == IMAGES_PER_LINE
    assert places[:4] == ["containers/left", "containers/left", "containers/c0", "containers/c1"]


def test_texts_of_users_neither_forge_lines_nor_fill_them(lines: list[logging.LogRecord]) -> None:
    text = ODD + "x" * 9999
    odd = PinnedPlace(place(text, text), PinResult.RULE_DIFFERS, reason=DIFFERS)
    PinningLog().write(record(odd, uid=text, namespace=text, name=text, user=text, operation=text))
    assert len(lines) == 2
    for line in lines:
        for written in (JsonFormatter().format(line), TextFormatter(color=False).format(line)):
            assert written.isprintable()
            assert len(written) < 5000


@pytest.mark.parametrize(
    ("result", "reason", "remedy"),
    [
        (PinResult.RULE_DIFFERS, DIFFERS, "name the repository without a tag in the rules, or write its digest"),
        (
            PinResult.EXEMPTION_DIFFERS,
            "with its digest, exemption old does not apply to it as before",
            "name the repository without a tag in the exemption, or write its digest",
        ),
    ],
)
def test_a_rule_or_exemption_that_prevents_pins_is_reported_now_and_then(
    result: PinResult, reason: str, remedy: str, lines: list[logging.LogRecord]
) -> None:
    clock = ManualClock()
    log = PinningLog(clock)

    def warnings() -> list[str]:
        return [line.getMessage() for line in lines if line.levelno == logging.WARNING]

    for number in range(100):
        log.write(record(left(result, reason, image=f"{APP}.{number}")))
    assert warnings() == [f"image {APP}.0 is not pinned: {reason}; {remedy}"]
    log.write(record(left(result, f"another {reason}")))
    assert len(warnings()) == 2
    clock.now += REPEAT_SECONDS
    log.write(record(left(result, reason)))
    assert len(warnings()) == 3


@pytest.mark.parametrize("result", sorted(set(PinResult) - {PinResult.RULE_DIFFERS, PinResult.EXEMPTION_DIFFERS}))
def test_what_passes_by_itself_is_no_warning(result: PinResult, lines: list[logging.LogRecord]) -> None:
    PinningLog().write(record(left(result)))
    assert [line.levelno for line in lines] == [logging.INFO]


def samples(telemetry: Telemetry, name: str) -> dict[str, float]:
    """The values of a metric by its only label."""
    families = text_string_to_metric_families(telemetry.exposition(None)[0].decode())
    found = [sample for family in families for sample in family.samples]
    return {"".join(it.labels.values()): it.value for it in found if it.name == f"anchore_admission_{name}"}


def test_every_result_is_exported_from_the_start_and_counted_by_image() -> None:
    telemetry = Telemetry()
    assert samples(telemetry, "images_pinned_total") == dict.fromkeys(PinResult, 0.0)
    telemetry.pinning(record(pinned(), pinned(), left()))
    assert samples(telemetry, "images_pinned_total") == dict.fromkeys(PinResult, 0.0) | {"pinned": 2.0, "stale": 1.0}


def test_the_duration_of_every_call_is_counted() -> None:
    telemetry = Telemetry()
    for seconds in (0.0007, 0.3, 1.01):
        telemetry.pinning(record(seconds=seconds))
    buckets = samples(telemetry, "pinning_duration_seconds_bucket")
    assert (buckets["0.001"], buckets["0.5"], buckets["1.0"], buckets["1.5"]) == (1.0, 2.0, 2.0, 3.0)
