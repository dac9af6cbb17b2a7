"""Exemptions in metrics and in the log."""

import logging
from typing import Any

import pytest
from msgspec import structs
from prometheus_client.parser import text_string_to_metric_families

from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.core.decision import Decision, Effect
from anchore_admission.core.rules.exemptions import Exemption, Use, UseKind
from anchore_admission.core.verdict import ReviewVerdict
from anchore_admission.ports.telemetry import Origin, ReviewRecord
from support.builders import image_verdict

HOTFIX = Use(UseKind.EXEMPTION, "hotfix", "not loaded", "team", "SEC-1", "2027-01-01T00:00:00Z")
BREAK_GLASS = Use(UseKind.BREAK_GLASS, "on-call", "the shop is down")
EXEMPT = image_verdict(effect=Effect.WARN, exemptions=(HOTFIX,))
EMERGENCY = image_verdict(effect=Effect.WARN, exemptions=(BREAK_GLASS,), image="redis")
RECORD = ReviewRecord(
    origin=Origin.ADMISSION,
    uid="1",
    operation="CREATE",
    kind="Pod",
    namespace="shop",
    name="web",
    user="jane",
    dry_run=False,
    verdict=ReviewVerdict(True, Decision.DENY, (EXEMPT, EXEMPT, EMERGENCY, image_verdict())),
    seconds=0.1,
)


def _samples(telemetry: Telemetry, name: str) -> dict[tuple[str, ...], float]:
    text = telemetry.exposition(None)[0].decode()
    return {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"anchore_admission_{name}"
    }


def test_every_use_is_counted_by_its_name_and_kind() -> None:
    telemetry = Telemetry()
    telemetry.review(RECORD)
    assert _samples(telemetry, "exemption_uses_total") == {("hotfix", "exemption"): 2, ("on-call", "break_glass"): 1}


@pytest.mark.parametrize("change", [{"origin": Origin.MANUAL}, {"dry_run": True}])
def test_a_review_that_admits_nothing_is_no_use(change: dict[str, Any]) -> None:
    telemetry = Telemetry()
    telemetry.review(structs.replace(RECORD, **change))
    assert _samples(telemetry, "exemption_uses_total") == {}


def test_the_ends_are_read_whenever_the_metrics_are() -> None:
    telemetry = Telemetry()
    found = [Exemption("a", "r", "o", "", 1_800_000_000.0), Exemption("b", "r", "o", "", 5.0)]
    telemetry.watch_exemptions(lambda: found)
    assert _samples(telemetry, "exemption_expiry_timestamp_seconds") == {("a",): 1_800_000_000, ("b",): 5}
    found = found[1:]
    assert _samples(telemetry, "exemption_expiry_timestamp_seconds") == {("b",): 5}


def test_the_line_of_a_review_names_each_use_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "anchore_admission.review"):
        Telemetry().review(RECORD)
    (record,) = caplog.records
    fields = vars(record)["fields"]
    assert fields["exemptions"] == [
        {
            "kind": "exemption",
            "name": "hotfix",
            "reason": "not loaded",
            "owner": "team",
            "ticket": "SEC-1",
            "expires": "2027-01-01T00:00:00Z",
        },
        {"kind": "break_glass", "name": "on-call", "reason": "the shop is down"},
    ]
    assert [image.get("admittedBy") for image in fields["images"]] == [["hotfix"], ["hotfix"], ["on-call"], None]
    assert fields["outcome"] == "warned"
