"""Judging facts: from facts to verdicts, and from verdicts to the response."""

import pytest

from anchore_admission.core import judgement, messages
from anchore_admission.core.decision import Decision, Effect, Reason
from anchore_admission.core.facts import ImageFacts, Submission, SubmissionState
from anchore_admission.core.images import JudgedImage, Uncheckable
from anchore_admission.core.reference import parse
from anchore_admission.core.rules.book import Rule
from anchore_admission.core.scope import OutOfScope
from anchore_admission.core.verdict import ImageVerdict, Verdict
from anchore_admission.core.workload import ContainerImage
from anchore_admission.errors import AnchoreUnavailable
from anchore_admission.models.configuration import Enforcement, ModeName, OnError, UnknownKinds, WorkloadHandling
from support.builders import DIGEST, failed, image_verdict, pod_spec, record, request, rule, vulnerability, workload

_REQUEST = request(workload("Pod", pod_spec("ubuntu")))
_CONTROLLER = request(
    workload("Pod", pod_spec("ubuntu")), userInfo={"username": "system:serviceaccount:kube-system:job-controller"}
)
_AUTHORITATIVE = WorkloadHandling.DENY
_UNTOLD = Verdict(Decision.NO_VERDICT, Reason.ERROR, "untold", error="unavailable")


def _image(by: Rule, uncheckable: Uncheckable | None = None, text: str = "ubuntu") -> JudgedImage:
    return JudgedImage(text, (ContainerImage("containers", "c1", text),), uncheckable or parse(text), by)


def test_a_reference_is_judged_by_its_rules_mode() -> None:
    judged = judgement.judge(_image(rule()), ImageFacts(record(), (failed(vulnerability()),)), _AUTHORITATIVE)
    assert judged.verdict.reason is Reason.POLICY_FAILED
    assert judged.effect is Effect.DENY
    assert judged.judged.reference == parse("ubuntu")
    assert judged.digest == DIGEST


@pytest.mark.parametrize(
    ("mode", "effect"),
    [
        (ModeName.STRICT, Effect.DENY),
        (ModeName.ANALYSIS, Effect.DENY),
        (ModeName.PASSIVE, Effect.WARN),
        (ModeName.SKIP, Effect.WARN),
    ],
)
def test_an_image_that_anchore_cannot_check_is_judged_by_its_rules_mode(mode: ModeName, effect: Effect) -> None:
    image = _image(rule(mode=mode), Uncheckable(Reason.IMAGE_ID), "sha256:01")
    judged = judgement.judge(image, ImageFacts(), _AUTHORITATIVE)
    assert (judged.effect, judged.verdict.reason, judged.digest) == (effect, Reason.IMAGE_ID, None)
    assert judged.verdict.message.startswith('containers "c1": image sha256:01 is an image ID')


@pytest.mark.parametrize(
    ("by", "effect"),
    [
        (rule(on_error=OnError.DENY), Effect.DENY),
        (rule(on_error=OnError.WARN), Effect.WARN),
        (rule(on_error=OnError.ALLOW), Effect.ALLOW),
        (rule(enforcement=Enforcement.WARN), Effect.WARN),
        (rule(mode=ModeName.PASSIVE), Effect.WARN),
        (rule(mode=ModeName.SKIP), Effect.WARN),
    ],
)
def test_a_rule_that_is_not_known_is_no_verdict(by: Rule, effect: Effect) -> None:
    unknown = Uncheckable(Reason.NAMESPACE_UNKNOWN, "the labels of namespace shop are not known", by_author=False)
    judged = judgement.judge(_image(by, unknown), ImageFacts(), _AUTHORITATIVE)
    assert (judged.verdict.decision, judged.effect) == (Decision.NO_VERDICT, effect)
    assert judged.verdict.error == "namespace_unknown"
    assert judged.verdict.message == ("Image ubuntu could not be checked: the labels of namespace shop are not known")


def test_a_value_that_an_author_wrote_is_a_denial_whatever_on_error_says() -> None:
    problem = Uncheckable(Reason.VALUE_NOT_ALLOWED, "rule it chooses its policy by label tier, which is missing")
    judged = judgement.judge(_image(rule(on_error=OnError.ALLOW), problem), ImageFacts(), WorkloadHandling.FINAL)
    assert (judged.verdict.decision, judged.effect) == (Decision.DENY, Effect.DENY)
    assert "image ubuntu cannot be checked: rule it chooses" in judged.verdict.message


@pytest.mark.parametrize(
    ("text", "uncheckable", "message"),
    [
        ("", Uncheckable(Reason.NO_IMAGE), "names no image"),
        (
            "sha256:01",
            Uncheckable(Reason.IMAGE_ID),
            "image sha256:01 is an image ID, which Anchore cannot check; name a repository",
        ),
        (
            "a\nb",
            Uncheckable(Reason.MALFORMED_REFERENCE, "is not a valid image reference"),
            "image a?b is not a valid image reference",
        ),
        (
            "[::1]/app",
            Uncheckable(Reason.UNSUPPORTED_REFERENCE, "Anchore does not accept an IPv6 address as a registry"),
            "image [::1]/app cannot be checked: Anchore does not accept an IPv6 address as a registry",
        ),
    ],
)
def test_the_message_about_an_image_that_anchore_cannot_check(
    text: str, uncheckable: Uncheckable, message: str
) -> None:
    judged = judgement.judge(_image(rule(), uncheckable, text), ImageFacts(), _AUTHORITATIVE)
    start = 'containers "c1" ' if text == "" else 'containers "c1": '
    assert judged.verdict.message == f"{start}{message}"


def test_a_denial_names_every_denied_image_and_no_other() -> None:
    images = [
        image_verdict(Verdict(Decision.DENY, Reason.UNKNOWN, "one is unknown"), image="one"),
        image_verdict(Verdict(Decision.ADMIT, Reason.ANALYZED, "two is fine"), image="two", effect=Effect.ALLOW),
        image_verdict(Verdict(Decision.DENY, Reason.UNKNOWN, "three is tolerated"), image="three", effect=Effect.WARN),
        image_verdict(_UNTOLD, image="four"),
    ]
    answer = judgement.reduce(images, _REQUEST, 5)
    assert not answer.allowed
    assert answer.decision is Decision.DENY
    assert answer.message == "one is unknown\nuntold"
    assert answer.warnings == ("three is tolerated",)
    assert answer.audit_annotations["verdict"] == "deny"
    assert answer.audit_annotations["errors"] == "four: unavailable"
    assert answer.images == tuple(images)


@pytest.mark.parametrize(
    ("images", "allowed", "decision"),
    [
        ([], True, Decision.ADMIT),
        ([image_verdict(_UNTOLD, effect=Effect.ALLOW)], True, Decision.NO_VERDICT),
        ([image_verdict(_UNTOLD, effect=Effect.DENY)], False, Decision.NO_VERDICT),
        ([image_verdict(effect=Effect.ALLOW)], True, Decision.DENY),
        ([image_verdict(effect=Effect.WARN)], True, Decision.DENY),
    ],
    ids=["no image", "untold, allowed", "untold, denied", "audited", "warned"],
)
def test_enforcement_never_changes_the_verdict_that_is_recorded(
    images: list[ImageVerdict], allowed: bool, decision: Decision
) -> None:
    answer = judgement.reduce(images, _REQUEST, 5)
    assert (answer.allowed, answer.decision) == (allowed, decision)
    assert answer.audit_annotations["verdict"] == decision.value


_REQUESTED = f"Image analysis for image ubuntu requested and found mapped to digest {DIGEST}"


def _passive() -> ImageVerdict:
    facts = ImageFacts(submission=Submission(SubmissionState.ANSWERED, digest=DIGEST))
    return judgement.judge(_image(rule(mode=ModeName.PASSIVE)), facts, _AUTHORITATIVE)


def test_passive_mode_speaks_where_a_person_reads() -> None:
    answer = judgement.reduce([_passive()], _REQUEST, 5)
    assert (answer.allowed, answer.message, answer.warnings) == (True, _REQUESTED, (_REQUESTED,))


def test_passive_mode_leaves_controllers_alone() -> None:
    answer = judgement.reduce([_passive()], _CONTROLLER, 5)
    assert (answer.allowed, answer.message, answer.warnings) == (True, _REQUESTED, ())


def test_passive_mode_says_nothing_twice() -> None:
    facts = ImageFacts(submission=Submission(SubmissionState.REFUSED, reason="no such registry"))
    refused = judgement.judge(_image(rule(mode=ModeName.PASSIVE)), facts, _AUTHORITATIVE)
    answer = judgement.reduce([refused], _REQUEST, 5)
    assert answer.allowed
    assert answer.warnings == ("Image analysis for image ubuntu failed to be requested: no such registry",)


def test_a_denial_is_not_mixed_with_passive_news() -> None:
    denied = image_verdict(Verdict(Decision.DENY, Reason.UNKNOWN, "one is unknown"))
    answer = judgement.reduce([_passive(), denied], _REQUEST, 5)
    assert answer.message == "one is unknown"
    assert answer.warnings == (_REQUESTED,)


def test_the_notice_stands_last_within_the_cap_and_beside_images_only() -> None:
    warned = [
        image_verdict(Verdict(Decision.ADMIT, Reason.UNMAPPED, "m", warning=f"w{number}"), effect=Effect.WARN)
        for number in range(12)
    ]
    warnings = judgement.reduce(warned, _REQUEST, 5, "ask us").warnings
    assert warnings[-2:] == ("and 4 more warnings", "ask us")
    assert len(warnings) == messages.WARNINGS
    assert judgement.reduce(warned[:9], _REQUEST, 5, "ask us").warnings == (*(f"w{n}" for n in range(9)), "ask us")
    assert judgement.reduce([], _REQUEST, 5, "ask us").warnings == ()


def test_silence_where_all_is_well() -> None:
    answer = judgement.judge(_image(rule(mode=ModeName.ANALYSIS)), ImageFacts(record()), _AUTHORITATIVE)
    assert (judgement.reduce([answer], _REQUEST, 5).message, judgement.reduce([answer], _REQUEST, 5).warnings) == (
        "",
        (),
    )


def test_the_error_of_a_lookup_is_in_the_audit_trail() -> None:
    facts = ImageFacts(error=AnchoreUnavailable("Anchore does not answer"))
    judged = judgement.judge(_image(rule(on_error=OnError.ALLOW)), facts, _AUTHORITATIVE)
    answer = judgement.reduce([judged], _REQUEST, 5)
    assert answer.allowed
    assert answer.audit_annotations == {
        "verdict": "no_verdict",
        "rules": "production",
        "images": "ubuntu no_verdict: error",
        "errors": "ubuntu: unavailable",
    }


@pytest.mark.parametrize("reason", OutOfScope)
def test_an_object_out_of_scope_is_admitted_silently_and_recorded(reason: OutOfScope) -> None:
    answer = judgement.not_in_scope(reason)
    assert (answer.allowed, answer.message, answer.warnings, answer.out_of_scope) == (True, "", (), reason)
    assert answer.audit_annotations == {"verdict": "out-of-scope", "scope": reason.value}


def test_nothing_to_judge_is_admitted() -> None:
    answer = judgement.nothing_to_judge()
    assert (answer.allowed, answer.decision, answer.images, answer.message) == (True, Decision.ADMIT, (), "")


def test_an_unreadable_object_is_denied() -> None:
    answer = judgement.unreadable("spec: expected a list")
    assert not answer.allowed
    assert answer.reason is Reason.UNREADABLE_OBJECT
    assert answer.message == "the object cannot be read: spec: expected a list"


@pytest.mark.parametrize(
    ("choice", "allowed", "denied", "warned"),
    [
        (UnknownKinds.ALLOW, True, False, False),
        (UnknownKinds.WARN, True, False, True),
        (UnknownKinds.DENY, False, True, False),
    ],
)
def test_an_unknown_kind(choice: UnknownKinds, *, allowed: bool, denied: bool, warned: bool) -> None:
    body = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}
    answer = judgement.unknown_kind(request(body), choice)
    message = "images in objects of kind argoproj.io/Rollout cannot be checked: the kind is not known"
    assert answer.allowed is allowed
    assert answer.decision is Decision.NO_VERDICT
    assert answer.message == (message if denied else "")
    assert answer.warnings == ((message,) if warned else ())


@pytest.mark.parametrize(
    ("by", "allowed", "warned"),
    [
        (rule(), False, False),
        (rule(on_error=OnError.WARN), True, True),
        (rule(on_error=OnError.ALLOW), True, True),
        (rule(enforcement=Enforcement.WARN), True, True),
        (rule(enforcement=Enforcement.AUDIT), True, True),
        (rule(mode=ModeName.PASSIVE), True, True),
    ],
    ids=["deny", "onError warn", "onError allow", "enforcement warn", "enforcement audit", "passive"],
)
def test_a_review_that_breaks_is_no_verdict(by: Rule, *, allowed: bool, warned: bool) -> None:
    answer = judgement.failed([rule(mode=ModeName.PASSIVE), by])
    message = "the review failed unexpectedly, see the controller's log"
    assert (answer.allowed, answer.decision) == (allowed, Decision.NO_VERDICT)
    assert answer.message == ("" if allowed else message)
    assert answer.warnings == ((message,) if warned else ())


def test_a_review_that_breaks_under_rules_that_only_record_is_admitted_silently() -> None:
    answer = judgement.failed([rule(on_error=OnError.ALLOW), rule(enforcement=Enforcement.AUDIT)])
    assert (answer.allowed, answer.warnings) == (True, ())
