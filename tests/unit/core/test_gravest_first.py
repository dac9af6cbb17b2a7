"""Denied and undecided images come first in every list that may be cut."""

import json

import pytest

from anchore_admission.adapters.logs import JsonFormatter
from anchore_admission.adapters.review_log import ReviewOutcome, log_review, outcome_of
from anchore_admission.core.decision import Decision, Effect, Reason
from anchore_admission.core.judgement import reduce
from anchore_admission.core.verdict import ImageVerdict, Verdict, gravest_first
from anchore_admission.models.configuration import ModeName
from anchore_admission.ports.telemetry import Origin, ReviewRecord
from support.builders import image_verdict, pod_spec, request, rule, vulnerability, workload

_REQUEST = request(workload("Pod", pod_spec("nginx")))


def _image(name: str, decision: Decision, effect: Effect, *, warning: str = "") -> ImageVerdict:
    error = "unavailable" if decision is Decision.NO_VERDICT else ""
    verdict = Verdict(decision, Reason.ERROR, f"about {name}", warning=warning, error=error)
    return image_verdict(verdict, image=name, effect=effect)


_GOOD = [_image(f"registry.example.com/good:{number}", Decision.ADMIT, Effect.ALLOW) for number in range(100)]
_WARNED = _image("warned", Decision.ADMIT, Effect.WARN, warning="w")
_UNDECIDED = _image("undecided", Decision.NO_VERDICT, Effect.ALLOW)
_RECORDED = _image("recorded", Decision.DENY, Effect.ALLOW)
_DENIED = _image("denied", Decision.DENY, Effect.DENY)


def test_the_order_of_gravity_keeps_that_of_equals() -> None:
    images = [*_GOOD, _WARNED, _UNDECIDED, _RECORDED, _DENIED]
    assert gravest_first(images) == [_DENIED, _RECORDED, _UNDECIDED, _WARNED, *_GOOD]
    assert gravest_first([]) == []


@pytest.mark.parametrize("image", [_WARNED, _UNDECIDED, _RECORDED, _DENIED], ids=lambda image: image.judged.text)
def test_the_audit_annotations_and_the_log_line_name_it_first(
    image: ImageVerdict, caplog: pytest.LogCaptureFixture
) -> None:
    verdict = reduce([*_GOOD, image], _REQUEST, 5)
    assert verdict.audit_annotations["images"].startswith(f"{image.judged.text} ")
    assert [found.judged.text for found in verdict.images][-1] == image.judged.text, "the order of the object stays"

    caplog.set_level("INFO")
    log_review(_record(verdict), outcome_of(verdict))
    line = json.loads(JsonFormatter().format(caplog.records[-1]))
    assert line["images"][0]["image"] == image.judged.text
    assert (len(line["images"]), line["imagesOmitted"]) == (50, 51)


def test_the_log_line_names_the_worst_findings(caplog: pytest.LogCaptureFixture) -> None:
    found = [vulnerability(f"CVE-{number}", severity="LOW") for number in range(7)]
    failed = Verdict(Decision.DENY, Reason.POLICY_FAILED, "m", findings=(*found, vulnerability()))
    caplog.set_level("INFO")
    log_review(_record(reduce([image_verdict(failed)], _REQUEST, 5)), ReviewOutcome.DENIED)
    [image] = json.loads(JsonFormatter().format(caplog.records[-1]))["images"]
    assert image["findings"][0] == "HIGH CVE-2021-3711 in openssl, fixed in 1.1.1k-r0"
    assert (len(image["findings"]), image["findingsOmitted"]) == (5, 3)


def test_an_ordinary_passive_admission_is_allowed() -> None:
    verdict = Verdict(Decision.ADMIT, Reason.REQUESTED, "Image analysis for image nginx is being requested")
    image = image_verdict(verdict, by=rule(mode=ModeName.PASSIVE), effect=Effect.ALLOW)
    answer = reduce([image], _REQUEST, 5)
    assert (len(answer.warnings), outcome_of(answer)) == (1, ReviewOutcome.ALLOWED)


def test_a_passive_submission_that_failed_is_warned_of_first() -> None:
    failed = Verdict(Decision.NO_VERDICT, Reason.ERROR, "failed to be requested", error="refused")
    news = Verdict(Decision.ADMIT, Reason.REQUESTED, "requested")
    passive = rule(mode=ModeName.PASSIVE)
    images = [image_verdict(news, by=passive, effect=Effect.ALLOW, image=f"a:{number}") for number in range(20)]
    answer = reduce([*images, image_verdict(failed, by=passive, effect=Effect.WARN)], _REQUEST, 5)
    assert answer.warnings[0] == "failed to be requested"
    assert answer.message.startswith("failed to be requested")
    assert outcome_of(answer) is ReviewOutcome.WARNED


def _record(verdict: object) -> ReviewRecord:
    return ReviewRecord(
        origin=Origin.ADMISSION,
        uid="u-1",
        operation="CREATE",
        kind="Pod",
        namespace="shop",
        name="demo",
        user="alice",
        dry_run=False,
        verdict=verdict,  # type: ignore[arg-type]
        seconds=0.1,
    )
