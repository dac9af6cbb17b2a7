"""A verdict that rests on an older answer, because Anchore cannot be asked, says so wherever it is shown."""

import json

import pytest

from anchore_admission.adapters.logs import JsonFormatter
from anchore_admission.adapters.review_log import log_review, outcome_of
from anchore_admission.core.decision import Decision, Reason
from anchore_admission.core.facts import ImageFacts
from anchore_admission.core.judgement import reduce
from anchore_admission.core.verdict import Verdict
from anchore_admission.ports.telemetry import Origin, ReviewRecord
from support.builders import image_verdict, pod_spec, request, workload

REQUEST = request(workload("Pod", pod_spec("nginx")))
PASSED = Verdict(Decision.ADMIT, Reason.POLICY_PASSED, "passed")


def test_a_stale_answer_is_marked(caplog: pytest.LogCaptureFixture) -> None:
    fresh = image_verdict(PASSED, image="fresh", facts=ImageFacts(age=20.0))
    stale = image_verdict(PASSED, image="old", facts=ImageFacts(age=312.4, is_stale=True))
    verdict = reduce([fresh, stale], REQUEST, 5)

    assert verdict.warnings == ("Image old is judged by Anchore's answer of 312 s ago: Anchore cannot be asked now",)
    assert verdict.audit_annotations["stale"] == "old 312 s"
    caplog.set_level("INFO")
    record = ReviewRecord(Origin.ADMISSION, "u", "CREATE", "Pod", "shop", "web", "jane", False, verdict, 0.1)
    log_review(record, outcome_of(verdict))
    line = json.loads(JsonFormatter().format(caplog.records[-1]))
    assert [image.get("stale") for image in line["images"]] == [None, "312 s"]
