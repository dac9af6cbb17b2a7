"""The report on an image for other policy engines, with facts that the client reads from a sandbox."""

import httpx
import pytest
from pydantic import SecretStr

from anchore_admission.adapters.anchore import Credentials
from anchore_admission.core.facts import ImageFacts, ImageRecord, PolicyEvaluation
from anchore_admission.core.image_report import report_of
from anchore_admission.core.images import JudgedImage
from anchore_admission.core.judgement import judge
from anchore_admission.core.reference import parse
from anchore_admission.core.workload import ContainerImage
from anchore_admission.models.configuration import ApiVersion, WorkloadHandling
from anchore_admission.models.image_report import ImageReport, ReportedFinding
from anchore_admission.sandbox import Seed, create_sandbox
from support.anchore_calls import client, deadline
from support.builders import rule

APP = "registry.example.com/team/app:1"
SEED = {
    "images": [
        {
            "tag": APP,
            "analyzedAt": "2026-01-31T12:00:00Z",
            "arch": "arm64",
            "findings": [
                {"id": "CVE-2022-0001", "severity": "medium", "package": "libc6", "packageType": "dpkg"},
                {
                    "id": "CVE-2021-3711",
                    "severity": "critical",
                    "package": "django",
                    "version": "4.2",
                    "fix": "4.2.1",
                    "packageType": "python",
                },
                {"id": "CVE-2020-28196", "severity": "low", "package": "krb5", "packageType": "dpkg"},
            ],
        }
    ]
}


async def _report(version: ApiVersion) -> ImageReport:
    transport = httpx.ASGITransport(app=create_sandbox(Seed.model_validate(SEED)))
    admin = Credentials("admin", SecretStr("foobar"))
    anchore = client(transport, version, credentials=admin, keeps_warnings=True)
    try:
        record = await anchore.by_tag(APP, deadline())
        assert isinstance(record, ImageRecord)
        evaluation = await anchore.check(record.digest, APP, None, deadline())
        assert isinstance(evaluation, PolicyEvaluation)
    finally:
        await anchore.aclose()
    image = JudgedImage(APP, (ContainerImage("containers", "c1", APP),), parse(APP), rule())
    return report_of(judge(image, ImageFacts(record, (evaluation,)), WorkloadHandling.DENY))


@pytest.mark.parametrize("version", [ApiVersion.V1, ApiVersion.V2])
async def test_the_report_tells_what_the_policy_found_whatever_its_rules_do_about_it(version: ApiVersion) -> None:
    report = await _report(version)
    assert (report.state, report.architecture, report.analyzed_at) == ("analyzed", "arm64", "2026-01-31T12:00:00Z")
    assert report.evaluation
    assert (report.evaluation.action, report.evaluation.reason, report.evaluation.mapped) == (
        "stop",
        "policy_evaluation",
        True,
    )
    assert [_without_message(finding) for finding in report.findings] == [
        ("CVE-2021-3711", "CRITICAL", "django-4.2", "4.2.1", "stop"),
        ("CVE-2022-0001", "MEDIUM", "libc6", "", "warn"),
    ]
    assert report.findings_total == 2


def _without_message(finding: ReportedFinding) -> tuple[str, ...]:
    return finding.id, finding.severity, finding.package, finding.fix, finding.action
