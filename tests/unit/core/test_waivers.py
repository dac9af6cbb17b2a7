"""Denials that exemptions and break-glass lift, and those that they leave."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import structs

from anchore_admission.core import judgement
from anchore_admission.core.decision import Decision, Effect, Reason
from anchore_admission.core.facts import (
    AnalysisState,
    ImageFacts,
    PolicyEvaluation,
    PolicyReason,
    Submission,
    SubmissionState,
)
from anchore_admission.core.images import JudgedImage, Uncheckable
from anchore_admission.core.reference import parse
from anchore_admission.core.rules.book import Rule
from anchore_admission.core.rules.exemptions import UseKind, compile_exemptions
from anchore_admission.core.rules.match import Circumstances
from anchore_admission.core.verdict import ImageVerdict
from anchore_admission.core.waivers import NO_WAIVERS, Waivers, waivers_for
from anchore_admission.core.workload import ContainerImage
from anchore_admission.errors import AnchoreResponseTooLarge, AnchoreUnavailable, ImageNotReached
from anchore_admission.models.configuration import Configuration, Enforcement, ModeName, OnError, WorkloadHandling
from support.builders import DIGEST, OTHER_DIGEST, failed, pod, record, request, rule, template, vulnerability

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC).timestamp()
POD = WorkloadHandling.DENY
LOG4J = vulnerability("CVE-2021-44228", "log4j-core")
OTHER = vulnerability("CVE-2021-3711", "openssl")
FAILED = ImageFacts(record(), (failed(LOG4J),))
CVE = {"excuses": {"cves": ["CVE-2021-44228"]}}
KEY = "example.com/reason"
ON_CALL = rule("on-call", break_glass=KEY)


def _waivers(*exemptions: dict[str, Any], annotations: dict[str, str | None] | None = None) -> Waivers:
    given = {"match": {"images": ["*"]}, "reason": "r", "owner": "o", "expires": "2026-12-31"}
    sections = [{**given, "name": f"e{n}", **changes} for n, changes in enumerate(exemptions)]
    book = compile_exemptions(Configuration.model_validate({"exemptions": sections}).exemptions, 90)
    return Waivers(book.narrowed(Circumstances(), NOW), annotations)


def _judged(
    facts: ImageFacts,
    waivers: Waivers,
    *,
    by: Rule | None = None,
    text: str = "team/app:1",
    uncheckable: Uncheckable | None = None,
    handling: WorkloadHandling = POD,
) -> ImageVerdict:
    image = JudgedImage(text, (ContainerImage("containers", "c1", text),), uncheckable or parse(text), by or rule())
    return judgement.judge(image, facts, handling, waivers)


def _used(verdict: ImageVerdict) -> list[str]:
    return [use.name for use in verdict.exemptions]


@pytest.mark.parametrize(
    ("facts", "by", "by_all", "by_cve"),
    [
        (FAILED, rule(), True, True),
        (ImageFacts(record(), (failed(LOG4J, OTHER),)), rule(), True, False),
        (ImageFacts(record(), (failed(),)), rule(), True, False),
        (ImageFacts(record(), (replace(failed(LOG4J), truncated=True),)), rule(), True, False),
        (ImageFacts(record(), (replace(failed(LOG4J), problems=("broken",)),)), rule(), True, False),
        (ImageFacts(record(), (replace(failed(LOG4J), reason=PolicyReason.DENYLISTED),)), rule(), True, False),
        (ImageFacts(record(), (failed(LOG4J), failed(OTHER))), rule(), True, False),
        (ImageFacts(record(), (failed(LOG4J), failed(LOG4J))), rule(), True, True),
        (ImageFacts(record(), (failed(LOG4J), PolicyEvaluation(True, "p", problems=("broken",)))), rule(), True, False),
        (ImageFacts(record(), (failed(LOG4J), PolicyEvaluation(True, "p", mapped=False))), rule(), True, True),
        (
            ImageFacts(
                record(),
                (
                    replace(failed(LOG4J), repository="elsewhere/app"),
                    PolicyEvaluation(True, "p", mapped=False, repository="docker.io/team/app"),
                ),
            ),
            rule(require_mapping=True),
            True,
            False,
        ),
        (ImageFacts(record(), (PolicyEvaluation(True, "p", mapped=False),)), rule(require_mapping=True), True, False),
        (ImageFacts(record(), (failed(LOG4J),), error=AnchoreUnavailable("down")), rule(), True, False),
        (ImageFacts(record(), (failed(LOG4J),), error=AnchoreResponseTooLarge("large")), rule(), True, False),
        (ImageFacts(error=AnchoreUnavailable("down")), rule(), True, False),
        (ImageFacts(error=ImageNotReached("late")), rule(), True, False),
        (ImageFacts(), rule(), True, False),
        (ImageFacts(), rule(mode=ModeName.ANALYSIS), True, False),
        (ImageFacts(record(AnalysisState.ANALYZING), (failed(LOG4J),)), rule(), True, False),
        (ImageFacts(record(AnalysisState.FAILED)), rule(), True, False),
        (ImageFacts(record()), rule(), True, False),
    ],
)
def test_the_denials_that_an_exemption_lifts(facts: ImageFacts, by: Rule, *, by_all: bool, by_cve: bool) -> None:
    before = _judged(facts, NO_WAIVERS, by=by)
    assert before.effect is Effect.DENY
    for exemption, lifts in (({}, by_all), (CVE, by_cve)):
        judged = _judged(facts, _waivers(exemption), by=by)
        told = "" if lifts else ". Exemption e0 does not excuse all of this"
        message = before.verdict.message + told
        assert judged.verdict == structs.replace(before.verdict, message=message), "the recorded verdict never changes"
        assert (judged.effect, _used(judged)) == ((Effect.WARN, ["e0"]) if lifts else (Effect.DENY, []))


@pytest.mark.parametrize(
    ("facts", "by", "effect"),
    [
        (ImageFacts(record(), (PolicyEvaluation(True, "p"),)), rule(), Effect.ALLOW),
        (ImageFacts(record(), (PolicyEvaluation(True, "p", mapped=False),)), rule(), Effect.WARN),
        (ImageFacts(error=AnchoreUnavailable("down")), rule(on_error=OnError.WARN), Effect.WARN),
        (ImageFacts(error=AnchoreUnavailable("down")), rule(on_error=OnError.ALLOW), Effect.ALLOW),
        (ImageFacts(), rule(mode=ModeName.PASSIVE), Effect.ALLOW),
        (ImageFacts(), rule(mode=ModeName.SKIP), Effect.ALLOW),
        (
            ImageFacts(submission=Submission(SubmissionState.DROPPED)),
            rule(mode=ModeName.PASSIVE, on_error=OnError.DENY),
            Effect.WARN,
        ),
    ],
)
def test_an_image_that_is_not_denied_uses_no_exemption(facts: ImageFacts, by: Rule, effect: Effect) -> None:
    judged = _judged(facts, _waivers({}, annotations={KEY: "why"}), by=by)
    assert (judged.effect, judged.exemptions) == (effect, ())


@pytest.mark.parametrize(
    ("enforcement", "handling", "effect"),
    [
        (Enforcement.DENY, WorkloadHandling.DENY, Effect.WARN),
        (Enforcement.DENY, WorkloadHandling.FINAL, Effect.WARN),
        (Enforcement.DENY, WorkloadHandling.WARN, Effect.WARN),
        (Enforcement.WARN, WorkloadHandling.DENY, Effect.WARN),
        (Enforcement.AUDIT, WorkloadHandling.DENY, Effect.ALLOW),
    ],
)
def test_an_exemption_counts_before_enforcement_and_the_handling_of_templates(
    enforcement: Enforcement, handling: WorkloadHandling, effect: Effect
) -> None:
    judged = _judged(FAILED, _waivers({}), by=rule(enforcement=enforcement), handling=handling)
    assert (judged.effect, _used(judged)) == (effect, ["e0"])


@pytest.mark.parametrize(
    ("exemptions", "used"),
    [
        ([CVE, {"excuses": {"cves": ["CVE-2021-3711"]}}], ["e0", "e1"]),
        ([{}, CVE, {"excuses": {"findings": ["vulnerabilities:package"]}}], ["e1", "e2"]),
        ([CVE, {}], ["e1"]),
        ([{}, {}], ["e0"]),
        ([CVE, {**CVE, "expires": "2026-11-01"}], []),
    ],
)
def test_limited_exemptions_add_up_and_come_first(exemptions: list[dict[str, Any]], used: list[str]) -> None:
    judged = _judged(ImageFacts(record(), (failed(LOG4J, OTHER),)), _waivers(*exemptions))
    assert _used(judged) == used


@pytest.mark.parametrize(
    ("text", "images", "lifts"),
    [
        ("team/app:1", "team/app:1", True),
        ("team/app:1", f"team/app@{DIGEST}", True),
        ("team/app:1", f"team/app@{OTHER_DIGEST}", False),
        ("team/other:1", f"team/app@{DIGEST}", False),
        (f"team/app:1@{DIGEST}", f"team/app@{DIGEST}", True),
        # Anyone can write a tag beside a digest.
        (f"team/app:1@{OTHER_DIGEST}", "team/app:1", False),
        ("team/app:1", "docker.io/team/app:*", True),
        ("index.docker.io/team/app:1", "team/app:1", True),
        ("registry.example.com/team/app:1", "team/app:1", False),
        ("team/app:1x", "team/app:1", False),
    ],
)
def test_an_exemption_names_tags_and_the_judged_digest(text: str, images: str, *, lifts: bool) -> None:
    judged = _judged(FAILED, _waivers({"match": {"images": [images]}}), text=text)
    assert bool(judged.exemptions) is lifts


def test_an_exemption_may_name_the_digest_of_the_list_that_holds_the_image() -> None:
    facts = replace(FAILED, record=replace(record(), parent_digest=OTHER_DIGEST))
    assert _used(_judged(facts, _waivers({"match": {"images": [f"team/app@{OTHER_DIGEST}"]}}))) == ["e0"]


def test_an_exemption_may_name_the_digest_that_anchore_reported_of_an_image_it_does_not_hold() -> None:
    facts = ImageFacts(submission=Submission(SubmissionState.ANSWERED, DIGEST))
    assert _used(_judged(facts, _waivers({"match": {"images": [f"team/app@{DIGEST}"]}}))) == ["e0"]


def test_the_judged_digest_counts_for_an_exception_too() -> None:
    match = {"images": ["team/*"], "except": {"images": [f"team/app@{DIGEST}"]}}
    assert _used(_judged(FAILED, _waivers({"match": match}))) == []


@pytest.mark.parametrize(
    ("text", "uncheckable", "lifts"),
    [
        ("sha256:" + "0" * 64, Uncheckable(Reason.IMAGE_ID), False),
        ("A//b", Uncheckable(Reason.MALFORMED_REFERENCE, "is malformed"), False),
        ("", Uncheckable(Reason.NO_IMAGE), False),
        ("[::1]:5000/app", Uncheckable(Reason.UNSUPPORTED_REFERENCE, "IPv6"), True),
        ("app", Uncheckable(Reason.VALUE_NOT_ALLOWED, "missing"), True),
        ("app", Uncheckable(Reason.NAMESPACE_UNKNOWN, "unknown", by_author=False), True),
    ],
)
def test_an_exemption_of_everything_needs_to_know_the_image(
    text: str, uncheckable: Uncheckable, *, lifts: bool
) -> None:
    for exemption, lifted in (({}, lifts), (CVE, False)):
        judged = _judged(ImageFacts(), _waivers(exemption), text=text, uncheckable=uncheckable)
        assert (judged.effect, bool(judged.exemptions)) == ((Effect.WARN, True) if lifted else (Effect.DENY, False))
    # The rule of such an image need not be the one that applies to the user.
    judged = _judged(ImageFacts(), _waivers(annotations={KEY: "why"}), text=text, uncheckable=uncheckable, by=ON_CALL)
    assert (judged.effect, judged.exemptions) == (Effect.DENY, ())
    assert KEY not in judged.verdict.message


@pytest.mark.parametrize(
    ("facts", "decision"),
    [
        (FAILED, Decision.DENY),
        (ImageFacts(), Decision.DENY),
        (ImageFacts(error=AnchoreUnavailable("down")), Decision.NO_VERDICT),
    ],
)
def test_break_glass_admits_a_pod_with_a_reason_and_keeps_the_verdict(facts: ImageFacts, decision: Decision) -> None:
    judged = _judged(facts, Waivers(None, {KEY: " the shop\nis down "}), by=ON_CALL)
    assert (judged.effect, judged.verdict.decision) == (Effect.WARN, decision)
    assert judged.verdict == _judged(facts, NO_WAIVERS, by=ON_CALL).verdict
    use = judged.exemptions[0]
    assert (use.kind, use.name, use.reason) == (UseKind.BREAK_GLASS, "on-call", "the shop is down")


@pytest.mark.parametrize(
    ("by", "annotations", "asks"),
    [
        (ON_CALL, {}, True),
        (ON_CALL, {KEY: None}, True),
        (ON_CALL, {KEY: " \n\u200b"}, True),
        (ON_CALL, {"example.com/other": "why"}, True),
        (ON_CALL, None, False),
        (rule(), {KEY: "why"}, False),
    ],
)
def test_without_a_reason_the_denial_asks_for_one(
    by: Rule, annotations: dict[str, str | None] | None, *, asks: bool
) -> None:
    judged = _judged(FAILED, Waivers(None, annotations), by=by)
    assert (judged.effect, judged.exemptions) == (Effect.DENY, ())
    assert judged.verdict.message.endswith(f"give a reason in the Pod's annotation {KEY}") is asks


@pytest.mark.parametrize(
    ("exemptions", "told"),
    [
        ([CVE], "Exemption e0 does not excuse all of this"),
        ([CVE, CVE, CVE], "Exemption e0 and 2 more do not excuse all of this"),
        ([{"expires": "2026-11-26"}, {"expires": "2026-11-20"}], "Exemption e0 ended at 2026-11-27T00:00:00Z"),
        ([{"expires": "2026-11-26"}, CVE], "Exemption e1 does not excuse all of this"),
        ([{"expires": "2026-11-26", "match": {"images": ["other"]}}], ""),
    ],
)
def test_a_denial_tells_why_an_exemption_does_not_apply(exemptions: list[dict[str, Any]], told: str) -> None:
    facts = ImageFacts(record(), (failed(OTHER),))
    message = _judged(facts, _waivers(*exemptions)).verdict.message
    assert message == _judged(facts, NO_WAIVERS).verdict.message + (f". {told}" if told else "")
    waivers = _waivers(*exemptions, annotations={})
    both = _judged(facts, waivers, by=ON_CALL).verdict.message
    assert both.endswith(f". In an emergency, give a reason in the Pod's annotation {KEY}")
    assert told in both


def test_a_denial_that_is_not_enforced_asks_for_no_reason() -> None:
    judged = _judged(FAILED, Waivers(None, {}), by=rule(break_glass=KEY, enforcement=Enforcement.WARN))
    assert (judged.effect, KEY in judged.verdict.message) == (Effect.WARN, False)


@pytest.mark.parametrize(
    ("user", "named", "lifted"),
    [
        ("jane", (), True),
        ("system:admin", (), True),
        ("", (), True),
        # Anyone who may create service accounts chooses their names.
        ("system:serviceaccount:shop:x-on-call", (), False),
        ("system:serviceaccount:shop:x-on-call", ("*-on-call",), False),
        ("system:serviceaccount:ops:fix", ("system:serviceaccount:ops:fix",), True),
        ("system:serviceaccount:ops:other", ("system:serviceaccount:ops:fix",), False),
        ("system:node:a", ("*",), False),
        ("system:kube-controller-manager", (), False),
    ],
)
def test_a_service_account_has_break_glass_only_by_its_exact_name(
    user: str, named: tuple[str, ...], *, lifted: bool
) -> None:
    asked = request(pod("a", metadata={"annotations": {KEY: "why"}}), userInfo={"username": user})
    by = structs.replace(ON_CALL, break_glass_users=frozenset(named))
    judged = _judged(FAILED, waivers_for(asked, None), by=by)
    assert (judged.effect is Effect.WARN) is lifted
    assert (KEY in judged.verdict.message) is False


def test_an_exemption_goes_before_break_glass() -> None:
    judged = _judged(FAILED, _waivers(CVE, annotations={KEY: "why"}), by=ON_CALL)
    assert [use.kind for use in judged.exemptions] == [UseKind.EXEMPTION]


@pytest.mark.parametrize(
    ("body", "annotations"),
    [
        (pod("a", metadata={"annotations": {KEY: "why"}}), {KEY: "why"}),
        (pod("a"), {}),
        (template("Deployment", "a", metadata={"annotations": {KEY: "why"}}), None),
        (template("Job", "a", metadata={"annotations": {KEY: "why"}}), None),
    ],
)
def test_the_reason_stands_on_the_pod_itself(body: Any, annotations: dict[str, str] | None) -> None:
    assert waivers_for(request(body), None).annotations == annotations
