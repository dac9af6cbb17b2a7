"""The exemptions of an image in its report for other policy engines."""

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import structs

from anchore_admission.core.facts import ImageFacts, PolicyEvaluation
from anchore_admission.core.image_report import MOST_EXEMPTIONS, report_of
from anchore_admission.core.images import JudgedImage
from anchore_admission.core.judgement import judge
from anchore_admission.core.reference import parse
from anchore_admission.core.rules.book import Rule
from anchore_admission.core.rules.exemptions import UseKind, compile_exemptions
from anchore_admission.core.rules.match import Circumstances
from anchore_admission.core.verdict import ImageVerdict
from anchore_admission.core.waivers import NO_WAIVERS, Waivers
from anchore_admission.models.configuration import Configuration, WorkloadHandling
from support.builders import failed, record, rule, vulnerability

NOW = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
FAILED = failed(vulnerability("CVE-2026-1001"))
PASSED = PolicyEvaluation(passed=True, policy="p", warnings_total=0)
FITTING: dict[str, Any] = {"excuses": {"cves": ["CVE-2026-1001"]}}
OTHER: dict[str, Any] = {"excuses": {"cves": ["CVE-2026-1002"]}}


def exempting(*exemptions: tuple[str, dict[str, Any]]) -> Waivers:
    given = {"match": {"images": ["*"]}, "reason": "r", "owner": "o", "expires": "2026-12-31"}
    sections = [{**given, "name": name, **more} for name, more in exemptions]
    book = compile_exemptions(Configuration.model_validate({"exemptions": sections}).exemptions, 90)
    return Waivers(book.narrowed(Circumstances(), NOW))


def judged(evaluation: PolicyEvaluation, waivers: Waivers, by: Rule | None = None) -> ImageVerdict:
    image = JudgedImage("ubuntu", (), parse("ubuntu"), by or rule())
    return judge(image, ImageFacts(record(), (evaluation,)), WorkloadHandling.DENY, waivers)


@pytest.mark.parametrize(
    ("evaluation", "exemptions", "expected"),
    [
        (FAILED, [("all", {})], [("all", False, True)]),
        (FAILED, [("one", FITTING)], [("one", True, True)]),
        (FAILED, [("other", OTHER)], [("other", True, False)]),
        (FAILED, [("other", OTHER), ("all", {})], [("all", False, True), ("other", True, False)]),
        (FAILED, [("elsewhere", {"match": {"images": ["*/other"]}})], []),
        (FAILED, [("ended", {"expires": "2026-11-30"})], []),
        (FAILED, [], []),
        (PASSED, [("all", {})], [("all", False, False)]),
    ],
)
def test_those_that_hold_are_reported_and_the_applied_ones_first(
    evaluation: PolicyEvaluation, exemptions: list[tuple[str, dict[str, Any]]], expected: list[tuple[str, bool, bool]]
) -> None:
    waivers = exempting(*exemptions)
    found = report_of(judged(evaluation, waivers), waivers=waivers).exemptions
    assert found is not None
    assert [(each.name, each.limited, each.applied) for each in found] == expected


def test_without_exemptions_there_are_none_and_without_an_object_they_are_not_known() -> None:
    verdict = judged(FAILED, NO_WAIVERS)
    assert report_of(verdict, waivers=NO_WAIVERS).exemptions == ()
    assert report_of(verdict).exemptions is None


def test_break_glass_is_no_exemption_even_by_the_name_of_one() -> None:
    waivers = structs.replace(exempting(("same", OTHER)), annotations={"e.org/why": "the shop is down"})
    verdict = judged(FAILED, waivers, rule("same", break_glass="e.org/why"))
    assert [(use.kind, use.name) for use in verdict.exemptions] == [(UseKind.BREAK_GLASS, "same")]
    assert [each.applied for each in report_of(verdict, waivers=waivers).exemptions or ()] == [False]


def test_of_many_the_applied_one_is_among_the_reported() -> None:
    waivers = exempting(*((f"e{number}", OTHER) for number in range(2 * MOST_EXEMPTIONS)), ("last", FITTING))
    found = report_of(judged(FAILED, waivers), waivers=waivers).exemptions or ()
    assert [each.name for each in found] == ["last", *(f"e{number}" for number in range(MOST_EXEMPTIONS - 1))]
