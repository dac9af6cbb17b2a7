"""Reports about images for other policy engines."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from anchore_admission.core.decision import Reason
from anchore_admission.core.facts import (
    AnalysisState,
    Finding,
    ImageFacts,
    ImageRecord,
    PolicyEvaluation,
    PolicyReason,
    Submission,
    SubmissionState,
)
from anchore_admission.core.image_report import report_of, unchanged_reports
from anchore_admission.core.images import JudgedImage, Uncheckable
from anchore_admission.core.judgement import judge
from anchore_admission.core.reference import parse
from anchore_admission.core.verdict import ImageVerdict
from anchore_admission.core.workload import ContainerImage, pod_view
from anchore_admission.errors import AnchoreUnavailable, EvaluationError, ImageNotReached
from anchore_admission.models.configuration import ModeName, WorkloadHandling
from anchore_admission.models.image_report import ImageReport, ReportedVerdict
from anchore_admission.models.review import AdmissionRequest, GroupVersionKind
from anchore_admission.models.workload import Workload
from support.builders import (
    DIGEST,
    OTHER_DIGEST,
    failed,
    image_verdict,
    pod,
    record,
    request,
    rule,
    template,
    vulnerability,
)

PASSED = PolicyEvaluation(passed=True, policy="p", warnings_total=0)
WARNING = replace(vulnerability("CVE-2", severity="MEDIUM", fix="None"), action="warn")
DEPLOYMENT = GroupVersionKind(group="apps", kind="Deployment")


def judged(facts: ImageFacts, *, image: str = "ubuntu", mode: ModeName = ModeName.STRICT) -> ImageVerdict:
    """An image of one container, judged by its facts."""
    place = ContainerImage("containers", "c1", image)
    return judge(JudgedImage(image, (place,), parse(image), rule(mode=mode)), facts, WorkloadHandling.DENY)


def analyzed(*evaluations: PolicyEvaluation) -> ImageFacts:
    return ImageFacts(record(), evaluations)


def uncheckable(text: str, reason: Reason, *, by_author: bool = True) -> ImageVerdict:
    place = ContainerImage("containers", "c1", text)
    image = JudgedImage(text, (place,), Uncheckable(reason, "why", by_author), rule())
    return judge(image, ImageFacts(), WorkloadHandling.DENY)


def test_the_report_on_a_denied_image_in_json() -> None:
    evaluation = replace(failed(vulnerability(), policy="p"), warnings=(WARNING,), warnings_total=1)
    found = ImageRecord(
        DIGEST,
        AnalysisState.ANALYZED,
        parent_digest=OTHER_DIGEST,
        architecture="arm64",
        analyzed_at="2026-01-01T00:00:00Z",
    )
    report = report_of(judged(ImageFacts(found, (evaluation,)), image="nginx:1.27"))
    gate = {"gate": "vulnerabilities", "trigger": "package", "package": "openssl"}
    assert msgspec.json.decode(msgspec.json.encode(report)) == {
        "reference": "nginx:1.27",
        "repository": "docker.io/library/nginx",
        "tag": "1.27",
        "digest": DIGEST,
        "parentDigest": OTHER_DIGEST,
        "places": [{"field": "spec.containers[0].image", "name": "c1", "listName": "containers", "index": 0}],
        "unchanged": False,
        "rule": "production",
        "mode": "strict",
        "state": "analyzed",
        "architecture": "arm64",
        "analyzedAt": "2026-01-01T00:00:00Z",
        "evaluation": {
            "policy": "p",
            "action": "stop",
            "reason": "policy_evaluation",
            "mapped": True,
            "problems": [],
        },
        "findings": [
            {
                **gate,
                "id": "CVE-2021-3711",
                "severity": "HIGH",
                "fix": "1.1.1k-r0",
                "action": "stop",
                "message": vulnerability().message,
            },
            {**gate, "id": "CVE-2", "severity": "MEDIUM", "fix": "", "action": "warn", "message": WARNING.message},
        ],
        "findingsTotal": 2,
        "verdict": {"decision": "deny", "reason": "policy_failed"},
        "error": None,
        "answerAge": 0,
        "stale": False,
        "exemptions": None,
    }


@pytest.mark.parametrize(
    ("facts", "age", "stale"),
    [
        (ImageFacts(record(), (PASSED,), age=12.4), 12, False),
        (ImageFacts(record(), (PASSED,), age=599.7, is_stale=True), 600, True),
        (ImageFacts(record(), age=31, is_stale=True, error=AnchoreUnavailable("down")), 31, True),
        (ImageFacts(age=2.0), 2, False),
        (ImageFacts(age=2.0, error=AnchoreUnavailable("down")), None, None),
    ],
)
def test_the_age_is_that_of_the_oldest_answer_and_null_without_one(
    facts: ImageFacts, age: int | None, stale: bool | None
) -> None:
    report = report_of(judged(facts))
    assert (report.answer_age, report.stale) == (age, stale)


@pytest.mark.parametrize(
    ("facts", "mode", "state"),
    [
        (ImageFacts(), ModeName.STRICT, "unknown"),
        (ImageFacts(), ModeName.ANALYSIS, "unknown"),
        (ImageFacts(error=AnchoreUnavailable("down")), ModeName.STRICT, None),
        (ImageFacts(error=ImageNotReached()), ModeName.STRICT, None),
        (ImageFacts(), ModeName.SKIP, None),
        (ImageFacts(submission=Submission(SubmissionState.ANSWERED, DIGEST)), ModeName.PASSIVE, None),
        (ImageFacts(record(AnalysisState.ANALYZING)), ModeName.ANALYSIS, "analyzing"),
        (ImageFacts(record(), error=AnchoreUnavailable("down")), ModeName.STRICT, "analyzed"),
    ],
)
def test_the_state_is_null_unless_anchore_told_it(facts: ImageFacts, mode: ModeName, state: str | None) -> None:
    report = report_of(judged(facts, mode=mode))
    assert report.state == state
    assert report.digest == facts.digest
    assert report.evaluation is None
    assert report.findings_total is None


@pytest.mark.parametrize(
    ("error", "code"), [(None, None), (AnchoreUnavailable("down"), "unavailable"), (ImageNotReached(), "not_reached")]
)
def test_the_error_has_the_code_that_logs_and_metrics_have(error: EvaluationError | None, code: str | None) -> None:
    assert report_of(judged(ImageFacts(error=error))).error == code


@pytest.mark.parametrize(
    ("evaluation", "action", "total"),
    [
        (PASSED, "go", 0),
        (replace(PASSED, warns=True, warnings=(WARNING,), warnings_total=3), "warn", 3),
        (replace(PASSED, warnings_total=None), "go", None),
        (failed(vulnerability()), "stop", None),
        (replace(failed(vulnerability()), warnings_total=2), "stop", 3),
        (replace(failed(vulnerability()), truncated=True, findings_total=600, warnings_total=2), "stop", 602),
        (replace(failed(), truncated=True, warnings_total=2), "stop", None),
        (replace(PASSED, reason=PolicyReason.DENYLISTED), "stop", 0),
        (replace(PASSED, mapped=False), "go", None),
        (replace(PASSED, problems=("GateNotFoundError",)), "go", None),
    ],
)
def test_the_action_and_the_number_of_findings(evaluation: PolicyEvaluation, action: str, total: int | None) -> None:
    report = report_of(judged(analyzed(evaluation)))
    assert report.evaluation
    assert (report.evaluation.action, report.findings_total) == (action, total)


@pytest.mark.parametrize("failed_first", [True, False])
def test_of_two_names_the_evaluation_that_decides_is_reported(*, failed_first: bool) -> None:
    pair = (failed(vulnerability(), policy="strict"), PASSED)
    report = report_of(judged(analyzed(*(pair if failed_first else reversed(pair)))))
    assert report.verdict == ReportedVerdict("deny", "policy_failed")
    assert report.evaluation
    assert report.evaluation.policy == "strict"
    assert [finding.id for finding in report.findings] == ["CVE-2021-3711"]


def test_an_unmapped_result_is_not_reported_where_another_name_is_mapped() -> None:
    unmapped = replace(PASSED, policy="unmapped", mapped=False, repository="docker.io/ubuntu")
    mapped = replace(PASSED, repository="docker.io/library/ubuntu")
    report = report_of(judged(analyzed(unmapped, mapped)))
    assert report.evaluation
    assert (report.evaluation.policy, report.evaluation.mapped) == ("p", True)


def test_findings_stand_worst_first_whatever_their_action_and_are_cut_in_number_and_length() -> None:
    worst = replace(vulnerability("CVE-9" * 100, "p" * 300, severity="CRITICAL"), action="warn")
    lesser = [vulnerability(f"CVE-{number}", severity="LOW") for number in range(20)]
    evaluation = replace(failed(*lesser), warnings=(worst,), warnings_total=1)
    report = report_of(judged(analyzed(evaluation)), most=2)
    assert [(finding.severity, finding.action) for finding in report.findings] == [
        ("CRITICAL", "warn"),
        ("LOW", "stop"),
    ]
    assert report.findings_total == 21
    first = report.findings[0]
    assert [len(text) for text in (first.id, first.package, first.message)] == [200, 200, 300]


def test_no_caller_gets_more_findings_than_are_surely_the_worst() -> None:
    evaluation = failed(*(vulnerability(f"CVE-{number}") for number in range(150)))
    assert len(report_of(judged(analyzed(evaluation)), most=1000).findings) == 100


def test_a_finding_of_another_gate_keeps_its_trigger() -> None:
    row = Finding("dockerfile", "instruction", "41cb+x", "no\nHEALTHCHECK")
    found = report_of(judged(analyzed(failed(row)))).findings[0]
    assert (found.gate, found.trigger, found.id) == ("dockerfile", "instruction", "41cb+x")
    assert (found.severity, found.package, found.fix, found.message) == ("", "", "", "no?HEALTHCHECK")


@pytest.mark.parametrize(
    ("verdict", "repository", "reason", "error"),
    [
        (uncheckable("sha256:abc", Reason.IMAGE_ID), None, "image_id", None),
        (uncheckable("UPPER", Reason.MALFORMED_REFERENCE), None, "malformed_reference", None),
        (uncheckable("", Reason.NO_IMAGE), None, "no_image", None),
        (uncheckable("host/x:1", Reason.UNSUPPORTED_REFERENCE), "docker.io/host/x", "unsupported_reference", None),
        (
            uncheckable("Quay.io:443/x", Reason.NAMESPACE_UNKNOWN, by_author=False),
            "quay.io/x",
            "namespace_unknown",
            "namespace_unknown",
        ),
    ],
)
def test_an_image_that_cannot_be_checked(
    verdict: ImageVerdict, repository: str | None, reason: str, error: str | None
) -> None:
    report = report_of(verdict)
    assert (report.repository, report.state, report.evaluation, report.error) == (repository, None, None, error)
    assert report.verdict
    assert report.verdict.reason == reason


def test_a_digest_that_anchore_does_not_know_is_that_of_the_reference() -> None:
    report = report_of(judged(ImageFacts(), image=f"ubuntu@{DIGEST}"))
    assert (report.digest, report.tag) == (DIGEST, None)


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (GroupVersionKind(kind="Pod"), "spec.volumes[2].image.reference"),
        (DEPLOYMENT, "spec.template.spec.volumes[2].image.reference"),
        (
            GroupVersionKind(group="batch", kind="CronJob"),
            "spec.jobTemplate.spec.template.spec.volumes[2].image.reference",
        ),
    ],
)
def test_a_place_is_the_path_in_the_object(kind: GroupVersionKind, field: str) -> None:
    verdict = image_verdict()
    place = ContainerImage("volumes", "data", "ubuntu", 2)
    verdict = msgspec.structs.replace(verdict, judged=msgspec.structs.replace(verdict.judged, places=(place,)))
    [found] = report_of(verdict, kind=kind).places
    assert (found.field, found.list_name, found.index, found.name) == (field, "volumes", 2, "data")


def _unchanged(asked: AdmissionRequest) -> list[ImageReport]:
    assert isinstance(asked.object, Workload)
    view = pod_view(asked.kind, asked.object)
    assert view
    return unchanged_reports(asked, view)


def _update(old: Any, new: Any) -> AdmissionRequest:
    return request(new, operation="UPDATE", oldObject=old)


def test_images_that_an_update_leaves_are_reported_without_facts() -> None:
    old = template("Deployment", "nginx:1", f"quay.io/x@{DIGEST}")
    new = template("Deployment", "redis", "nginx:1", f"quay.io/x@{DIGEST}", "nginx:1", "sha256:abc")
    first, second = _unchanged(_update(old, new))
    assert (first.reference, first.repository, first.tag) == ("nginx:1", "docker.io/library/nginx", "1")
    assert [place.field for place in first.places] == [
        "spec.template.spec.containers[1].image",
        "spec.template.spec.containers[3].image",
    ]
    assert first.unchanged
    assert (first.rule, first.mode, first.state, first.verdict) == (None, None, None, None)
    assert (second.repository, second.digest) == ("quay.io/x", DIGEST)


def test_every_image_of_a_new_object_is_judged() -> None:
    assert _unchanged(request(pod("nginx", "redis"))) == []
