import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from anchore_admission import __version__
from anchore_admission.adapters.logs import JsonFormatter
from anchore_admission.adapters.review_log import AGAIN_SECONDS, IMAGES_PER_LINE, MalformedLog
from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.core.decision import Decision, Effect, Reason
from anchore_admission.core.facts import AnalysisState, ImageFacts, ImageRecord
from anchore_admission.core.images import JudgedImage, Uncheckable
from anchore_admission.core.rules.book import Rule
from anchore_admission.core.scope import OutOfScope
from anchore_admission.core.verdict import ImageVerdict, ReviewVerdict, Verdict
from anchore_admission.models.configuration import Enforcement, ModeName, OnError
from anchore_admission.ports.telemetry import (
    BreakerState,
    HintSource,
    NotificationOutcome,
    Origin,
    ReviewRecord,
    WatchedSource,
)
from support.fakes import ManualClock

DIGEST = "sha256:" + "a" * 64
ODD = 'line\nnext\r\x00\x1b[31m\u2028\U0001f433\ud800"\\'


def rule(mode: ModeName) -> Rule:
    return Rule("production", mode, "default", None, Enforcement.DENY, OnError.DENY, True, False)


def image(
    text: str = "ubuntu:latest",
    *,
    mode: ModeName = ModeName.STRICT,
    decision: Decision = Decision.ADMIT,
    reason: Reason = Reason.POLICY_PASSED,
    effect: Effect = Effect.ALLOW,
    error: str = "",
) -> ImageVerdict:
    facts = ImageFacts(record=ImageRecord(DIGEST, AnalysisState.ANALYZED))
    judged = JudgedImage(text, (), Uncheckable(Reason.MALFORMED_REFERENCE), rule(mode))
    return ImageVerdict(judged, facts, Verdict(decision, reason, "why", error=error), effect)


def review(verdict: ReviewVerdict, **changes: Any) -> ReviewRecord:
    fields: dict[str, Any] = {
        "origin": Origin.ADMISSION,
        "uid": "uid-1",
        "operation": "CREATE",
        "kind": "Pod",
        "namespace": "shop",
        "name": "web-*",
        "user": "alice",
        "dry_run": False,
        "seconds": 0.012,
    }
    return ReviewRecord(verdict=verdict, **{**fields, **changes})


def admitted(*images: ImageVerdict, warnings: Sequence[str] = ()) -> ReviewVerdict:
    return ReviewVerdict(True, Decision.ADMIT, images, warnings=tuple(warnings))


DENIED = ReviewVerdict(
    False,
    Decision.DENY,
    (image(), image("evil", decision=Decision.DENY, reason=Reason.POLICY_FAILED, effect=Effect.DENY)),
)
UNTOLD = ReviewVerdict(
    False,
    Decision.NO_VERDICT,
    (image(decision=Decision.NO_VERDICT, reason=Reason.ERROR, effect=Effect.DENY, error="unavailable"),),
)
OUT_OF_SCOPE = ReviewVerdict(True, Decision.ADMIT, out_of_scope=OutOfScope.OWNED)
UNREADABLE = ReviewVerdict(False, Decision.DENY, reason=Reason.UNREADABLE_OBJECT, message="no object: " + ODD)


class Lines(logging.Handler):
    """Every record of ours as the line it becomes."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.written: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(self.format(record))

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.written]


@pytest.fixture
def lines() -> Iterator[Lines]:
    logger = logging.getLogger("anchore_admission.review")
    handler, level, propagate = Lines(), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)
    logger.propagate = propagate


def samples(telemetry: Telemetry, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    text = telemetry.exposition(None)[0].decode()
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in read_text(text)
        for sample in family.samples
        if sample.name == f"anchore_admission_{name}"
    }


def only_labels(telemetry: Telemetry, name: str) -> dict[str, str]:
    (labels,) = samples(telemetry, name)
    return dict(labels)


@pytest.mark.parametrize(
    ("verdict", "outcome", "mode"),
    [
        (admitted(image()), "allowed", "strict"),
        (admitted(image(mode=ModeName.PASSIVE), image(mode=ModeName.PASSIVE)), "allowed", "passive"),
        (admitted(image(), image(mode=ModeName.SKIP)), "allowed", "mixed"),
        (admitted(image(effect=Effect.WARN)), "warned", "strict"),
        (admitted(warnings=["unknown kind"]), "warned", "none"),
        (admitted(), "allowed", "none"),
        (DENIED, "denied", "strict"),
        (UNTOLD, "denied", "strict"),
        (OUT_OF_SCOPE, "out_of_scope", "none"),
        (UNREADABLE, "denied", "none"),
    ],
)
def test_a_review_is_counted_by_outcome_and_mode(verdict: ReviewVerdict, outcome: str, mode: str) -> None:
    telemetry = Telemetry()
    telemetry.review(review(verdict))
    expected = {"outcome": outcome, "mode": mode, "origin": "admission"}
    assert only_labels(telemetry, "reviews_total") == {**expected, "operation": "CREATE"}
    assert only_labels(telemetry, "review_duration_seconds_count") == expected


def test_an_operation_that_users_made_up_is_no_label_of_its_own() -> None:
    telemetry = Telemetry()
    telemetry.review(review(OUT_OF_SCOPE, operation="EVIL-1"))
    telemetry.review(review(OUT_OF_SCOPE, operation=""))
    assert only_labels(telemetry, "reviews_total")["operation"] == "other"
    assert list(samples(telemetry, "reviews_total").values()) == [2.0]


def test_unusable_files_are_exposed_from_the_start() -> None:
    telemetry = Telemetry()
    assert unusable(telemetry) == {
        "ca_bundle": 0,
        "certificate": 0,
        "credentials": 0,
        "anchore_ca": 0,
        "shared_store": 0,
        "opa": 0,
        "facts_token": 0,
        "facts_client_ca": 0,
        "secret_path": 0,
        "notifications_secret": 0,
        "namespace_labels": 0,
        "configuration": 0,
    }
    first, second = [False], [True]
    telemetry.watch_unusable(WatchedSource.CREDENTIALS, lambda: first[0])
    telemetry.watch_unusable(WatchedSource.CREDENTIALS, lambda: second[0])
    assert unusable(telemetry) == {
        "ca_bundle": 0,
        "certificate": 0,
        "credentials": 1,
        "anchore_ca": 0,
        "shared_store": 0,
        "opa": 0,
        "facts_token": 0,
        "facts_client_ca": 0,
        "secret_path": 0,
        "notifications_secret": 0,
        "namespace_labels": 0,
        "configuration": 0,
    }
    second[0] = False
    assert unusable(telemetry) == {
        "ca_bundle": 0,
        "certificate": 0,
        "credentials": 0,
        "anchore_ca": 0,
        "shared_store": 0,
        "opa": 0,
        "facts_token": 0,
        "facts_client_ca": 0,
        "secret_path": 0,
        "notifications_secret": 0,
        "namespace_labels": 0,
        "configuration": 0,
    }


def unusable(telemetry: Telemetry) -> dict[str, float]:
    return {dict(labels)["what"]: value for labels, value in samples(telemetry, "unusable").items()}


def test_a_manual_review_is_distinguished() -> None:
    telemetry = Telemetry()
    telemetry.review(review(admitted(image()), origin=Origin.MANUAL))
    assert only_labels(telemetry, "reviews_total")["origin"] == "manual"


def test_images_are_counted_by_decision_reason_and_mode() -> None:
    telemetry = Telemetry()
    telemetry.review(review(DENIED))
    telemetry.review(review(DENIED))
    assert samples(telemetry, "image_verdicts_total") == {
        (("decision", "admit"), ("mode", "strict"), ("reason", "policy_passed")): 2.0,
        (("decision", "deny"), ("mode", "strict"), ("reason", "policy_failed")): 2.0,
    }


def test_the_duration_falls_into_its_bucket() -> None:
    telemetry = Telemetry()
    telemetry.review(review(OUT_OF_SCOPE, seconds=0.007))
    buckets = {
        dict(labels)["le"]: value for labels, value in samples(telemetry, "review_duration_seconds_bucket").items()
    }
    assert (buckets["0.005"], buckets["0.01"], buckets["30.0"]) == (0.0, 1.0, 1.0)


def test_calls_to_anchore_and_the_queue_are_counted() -> None:
    telemetry = Telemetry()
    telemetry.anchore_in_flight(1)
    telemetry.anchore_in_flight(1)
    telemetry.anchore_in_flight(-1)
    telemetry.anchore_call(account="default", operation="check", outcome="ok", seconds=0.13)
    telemetry.submission(account="default", outcome="answered")
    telemetry.queue_depth(7)
    telemetry.breaker(account="default", state=BreakerState.OPEN)
    telemetry.breaker(account="default", state=BreakerState.HALF_OPEN)
    telemetry.shed(account="default")
    telemetry.hint(HintSource.EVENTS)
    telemetry.event_log_failed("default")
    telemetry.notification(NotificationOutcome.TOO_MANY)
    assert only_labels(telemetry, "notifications_total") == {"outcome": "too_many"}
    assert only_labels(telemetry, "hints_total") == {"source": "events"}
    assert only_labels(telemetry, "event_log_errors_total") == {"account": "default"}
    assert samples(telemetry, "anchore_breaker_state") == {(("account", "default"),): 1.0}
    assert samples(telemetry, "shed_lookups_total") == {(("account", "default"),): 1.0}
    assert samples(telemetry, "anchore_calls_in_flight") == {(): 1.0}
    assert samples(telemetry, "analysis_queue_depth") == {(): 7.0}
    assert only_labels(telemetry, "anchore_calls_total") == {
        "account": "default",
        "operation": "check",
        "outcome": "ok",
    }
    assert only_labels(telemetry, "anchore_call_duration_seconds_sum") == {"account": "default", "operation": "check"}
    assert only_labels(telemetry, "analysis_requests_total") == {"account": "default", "outcome": "answered"}


def test_unreadable_calls_are_logged_once_for_each_text(lines: Lines) -> None:
    clock = ManualClock()
    log = MalformedLog(clock)
    for _ in range(200):
        log.write("malformed_review", "the same")
    for number in range(200):
        log.write("review_too_large", f"text {number}")
    texts = [line["message"] for line in lines.read()]
    assert texts == ["unreadable review: the same", *(f"unreadable review: text {number}" for number in range(9))]
    clock.now += AGAIN_SECONDS
    log.write("malformed_review", "the same")
    assert (lines.read()[-1]["message"], lines.read()[-1]["omitted"]) == ("unreadable review: the same", 191)


def test_unreadable_calls_are_counted_all(lines: Lines) -> None:
    telemetry = Telemetry()
    for _ in range(200):
        telemetry.malformed_review("malformed_review", "the same")
    assert samples(telemetry, "malformed_reviews_total") == {(("code", "malformed_review"),): 200.0}
    assert len(lines.read()) == 1


def test_closed_connections_are_counted_by_reason() -> None:
    telemetry = Telemetry()
    for reason in ("body", "body", "handshake"):
        telemetry.connection_closed(reason)
    assert samples(telemetry, "connections_closed_total") == {
        (("reason", "body"),): 2.0,
        (("reason", "handshake"),): 1.0,
    }


def test_a_malformed_review_is_counted_and_logged(lines: Lines) -> None:
    telemetry = Telemetry()
    telemetry.malformed_review("malformed_review", f"no JSON: {ODD}{'x' * 9999}")
    assert only_labels(telemetry, "reviews_total")["outcome"] == "malformed"
    assert samples(telemetry, "malformed_reviews_total") == {(("code", "malformed_review"),): 1.0}
    (line,) = lines.read()
    assert (line["level"], line["code"], line["outcome"]) == ("WARNING", "malformed_review", "malformed")
    assert line["message"].startswith("unreadable review: no JSON")
    assert len(line["message"]) < 300


def test_two_applications_in_one_process_do_not_count_for_each_other() -> None:
    first, second = Telemetry(), Telemetry()
    first.queue_depth(3)
    assert samples(second, "analysis_queue_depth") == {(): 0.0}


def test_the_exposition_names_the_build_and_the_process() -> None:
    telemetry = Telemetry()
    body, media_type = telemetry.exposition(None)
    assert media_type.startswith("text/plain; version=0.0.4")
    families = {family.name for family in read_text(body.decode())}
    assert {"process_resident_memory_bytes", "python_info", "python_gc_collections"} <= families
    assert only_labels(telemetry, "build_info") == {"version": __version__}


def test_the_exposition_names_the_running_configuration_and_where_anchore_is_judged() -> None:
    telemetry = Telemetry()
    telemetry.configuration.describe("0123456789ab", ["default"])
    assert only_labels(telemetry, "configuration_info") == {"hash": "0123456789ab"}
    assert only_labels(telemetry, "anchore_judged") == {"namespace": "default"}


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2",
        "application/openmetrics-text;version=nonsense",
    ],
)
def test_openmetrics_is_served_to_clients_that_accept_it(accept: str) -> None:
    telemetry = Telemetry()
    telemetry.review(review(DENIED))
    body, media_type = telemetry.exposition(accept)
    assert media_type.startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name for family in read_openmetrics(body.decode())}  # type: ignore[no-untyped-call]
    assert "anchore_admission_reviews" in families
    assert body.endswith(b"# EOF\n")


def test_readiness_and_certificate_are_evaluated_when_the_metrics_are_read() -> None:
    telemetry, ready = Telemetry(), [False]
    telemetry.watch_readiness(lambda: ready[0])
    telemetry.watch_certificate(lambda: 1234.5)
    assert samples(telemetry, "ready") == {(): 0.0}
    ready[0] = True
    assert samples(telemetry, "ready") == {(): 1.0}
    assert samples(telemetry, "certificate_expiry_timestamp_seconds") == {(): 1234.5}


def test_a_review_is_one_line_that_says_everything(lines: Lines) -> None:
    Telemetry().review(review(DENIED, dry_run=True))
    (line,) = lines.read()
    del line["time"]
    first, second = line.pop("images")
    assert line == {
        "level": "INFO",
        "logger": "anchore_admission.review",
        "message": "denied Pod shop/web-*",
        "uid": "uid-1",
        "namespace": "shop",
        "name": "web-*",
        "kind": "Pod",
        "operation": "CREATE",
        "user": "alice",
        "dryRun": True,
        "origin": "admission",
        "outcome": "denied",
        "verdict": "deny",
        "milliseconds": 12.0,
    }
    assert first["effect"] == "allow"
    assert second == {
        "image": "evil",
        "digest": DIGEST,
        "rule": "production",
        "mode": "strict",
        "decision": "deny",
        "reason": "policy_failed",
        "effect": "deny",
    }


@pytest.mark.parametrize(
    ("verdict", "level"),
    [
        (admitted(image()), "INFO"),
        (admitted(image(effect=Effect.WARN)), "INFO"),
        (DENIED, "INFO"),
        (UNREADABLE, "INFO"),
        (UNTOLD, "WARNING"),
        (OUT_OF_SCOPE, "DEBUG"),
        (admitted(), "DEBUG"),
        (admitted(warnings=["unknown kind"]), "INFO"),
    ],
)
def test_the_level_follows_the_need_of_operators_to_act(verdict: ReviewVerdict, level: str, lines: Lines) -> None:
    Telemetry().review(review(verdict))
    assert [line["level"] for line in lines.read()] == [level]


def test_a_level_that_is_off_writes_nothing(lines: Lines) -> None:
    logging.getLogger("anchore_admission.review").setLevel(logging.ERROR)
    telemetry = Telemetry()
    telemetry.review(review(UNTOLD))
    telemetry.malformed_review("malformed_review", "x")
    assert lines.written == []


def test_special_conditions_of_a_review_are_in_its_line(lines: Lines) -> None:
    telemetry = Telemetry()
    for verdict in (OUT_OF_SCOPE, UNREADABLE, UNTOLD):
        telemetry.review(review(verdict))
    out, unreadable, untold = lines.read()
    assert out["scope"] == "owned"
    assert (unreadable["reason"], unreadable["detail"]) == ("unreadable_object", "no object: " + ODD)
    assert untold["images"][0]["error"] == "unavailable"


def test_the_number_of_images_in_a_line_is_bounded(lines: Lines) -> None:
    Telemetry().review(review(admitted(*(image(str(number)) for number in range(IMAGES_PER_LINE + 3)))))
    (line,) = lines.read()
    assert len(line["images"]) == IMAGES_PER_LINE
    assert line["imagesOmitted"] == 3


@pytest.mark.parametrize("text", [ODD, ODD * 5000])
def test_texts_of_users_neither_break_nor_flood_the_line(text: str, lines: Lines) -> None:
    verdict = ReviewVerdict(
        False,
        Decision.NO_VERDICT,
        (image(text, decision=Decision.NO_VERDICT, reason=Reason.ERROR, error=text),),
        reason=Reason.ERROR,
        message=text,
    )
    fields = dict.fromkeys(("uid", "operation", "kind", "namespace", "name", "user"), text)
    Telemetry().review(review(verdict, **fields))
    (written,) = lines.written
    assert len(written.splitlines()) == 1
    assert len(written) < 32_000
    assert json.loads(written)["user"].startswith(ODD)
