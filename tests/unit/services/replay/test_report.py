"""The sum of a replay: which changes there are, what they are counted under, and its bounds."""

from typing import Any

import pytest
from msgspec import structs

from anchore_admission.core import judgement
from anchore_admission.core.decision import Decision, Effect, Reason
from anchore_admission.core.facts import Finding
from anchore_admission.core.rules.book import Rule
from anchore_admission.core.rules.exemptions import Use, UseKind
from anchore_admission.core.scope import OutOfScope
from anchore_admission.core.verdict import ImageVerdict, ReviewVerdict, Verdict
from anchore_admission.models.configuration import ModeName, UnknownKinds, WorkloadHandling
from anchore_admission.models.workload import Unreadable
from anchore_admission.services.replay import report as module
from anchore_admission.services.replay.blockers import Blocked, Blocker
from anchore_admission.services.replay.entries import LeftOut, Recorded, Unread
from anchore_admission.services.replay.outcomes import Change
from anchore_admission.services.replay.report import Report
from support.builders import image_verdict, pod, request, rule, template, vulnerability

IMAGE = "nginx:1.25"
ADMIT, DENY, NO_VERDICT = Decision.ADMIT, Decision.DENY, Decision.NO_VERDICT


def recorded(name: str = "web", namespace: str = "shop", **metadata: Any) -> Recorded:
    body = pod(IMAGE, metadata={"name": name, "namespace": namespace, **metadata})
    return Recorded(request(body, name=name, namespace=namespace), f"line {name}")


def judged(
    decision: Decision, effect: Effect, *findings: Finding, image: str = IMAGE, by: Rule | None = None
) -> ImageVerdict:
    reason = {ADMIT: Reason.POLICY_PASSED, DENY: Reason.POLICY_FAILED, NO_VERDICT: Reason.ERROR}[decision]
    return image_verdict(Verdict(decision, reason, "why", findings), image=image, by=by, effect=effect)


def verdict(*images: ImageVerdict) -> ReviewVerdict:
    return judgement.reduce(images, request(pod(IMAGE)), 5)


ADMITTED = judged(ADMIT, Effect.ALLOW)
WARNED = judged(DENY, Effect.WARN)
RECORDED = judged(DENY, Effect.ALLOW)
DENIED = judged(DENY, Effect.DENY)
EXEMPT = structs.replace(WARNED, exemptions=(Use(UseKind.EXEMPTION, "log4j", "the fix is on its way", owner="shop"),))
UNDECIDED = judged(NO_VERDICT, Effect.DENY)
KIND_ALLOWED, KIND_WARNED, KIND_DENIED = (
    judgement.unknown_kind(request({"apiVersion": "a.b/v1", "kind": "Run"}), choice)
    for choice in (UnknownKinds.ALLOW, UnknownKinds.WARN, UnknownKinds.DENY)
)


@pytest.mark.parametrize(
    ("before", "after", "change", "words"),
    [
        (ADMITTED, ADMITTED, None, ()),
        (DENIED, DENIED, None, ()),
        (RECORDED, RECORDED, None, ()),
        (RECORDED, ADMITTED, None, ()),
        (UNDECIDED, DENIED, None, ()),
        (ADMITTED, DENIED, Change.DENIED, ("admitted", "denied")),
        (WARNED, DENIED, Change.DENIED, ("warned", "denied")),
        (RECORDED, DENIED, Change.DENIED, ("recorded", "denied")),
        (ADMITTED, UNDECIDED, Change.UNDECIDED, ("admitted", "undecided (denied)")),
        (ADMITTED, WARNED, Change.WARNED, ("admitted", "warned")),
        (ADMITTED, RECORDED, Change.RECORDED, ("admitted", "recorded")),
        (DENIED, WARNED, Change.NO_LONGER_DENIED, ("denied", "warned")),
        (UNDECIDED, ADMITTED, Change.NO_LONGER_DENIED, ("undecided (denied)", "admitted")),
        (WARNED, ADMITTED, Change.NO_LONGER_WARNED, ("warned", "admitted")),
        (DENIED, EXEMPT, Change.NO_LONGER_DENIED, ("denied", "exempt")),
        (EXEMPT, DENIED, Change.DENIED, ("exempt", "denied")),
        (ADMITTED, EXEMPT, Change.WARNED, ("admitted", "exempt")),
    ],
)
def test_a_change_is_one_of_the_effect(
    before: ImageVerdict, after: ImageVerdict, change: Change | None, words: tuple[str, ...]
) -> None:
    report = Report()

    report.add(recorded(), verdict(before), verdict(after))

    found = [(c.change, c.before.word if c.before else "", c.after.word) for c in report.changes()]
    assert found == ([(change, *words)] if change else [])


def test_an_exemption_is_named_with_its_grounds() -> None:
    report = Report()

    report.add(recorded(), verdict(DENIED), verdict(EXEMPT))

    assert report.changes()[0].after.message.startswith(
        f"Exemption log4j admits image {IMAGE}: the fix is on its way (owner shop"
    )


def test_one_configuration_shows_what_it_does_not_plainly_admit() -> None:
    report = Report()

    for number, image in enumerate([ADMITTED, DENIED, WARNED, RECORDED, UNDECIDED]):
        report.add(recorded(f"web-{number}"), None, verdict(image))

    assert [(c.owner[1], c.change, c.before) for c in report.changes()] == [
        ("web-1", Change.DENIED, None),
        ("web-4", Change.UNDECIDED, None),
        ("web-2", Change.WARNED, None),
        ("web-3", Change.RECORDED, None),
    ]
    assert report.undecided == 1


TOO_MANY = judgement.too_many_images(300, 200, [rule()], WorkloadHandling.DENY)
OUT = judgement.not_in_scope(OutOfScope.WORKLOADS_OFF)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (verdict(ADMITTED), TOO_MANY, [(IMAGE, Change.DENIED)]),
        (TOO_MANY, verdict(ADMITTED), [(IMAGE, Change.NO_LONGER_DENIED)]),
        (TOO_MANY, verdict(DENIED), []),
        (verdict(DENIED), OUT, [(IMAGE, Change.NO_LONGER_DENIED)]),
        (OUT, verdict(DENIED), [(IMAGE, Change.DENIED)]),
        (OUT, TOO_MANY, [("", Change.DENIED)]),
        (KIND_ALLOWED, KIND_DENIED, [("", Change.DENIED)]),
        (KIND_ALLOWED, KIND_WARNED, [("", Change.WARNED)]),
        (KIND_DENIED, KIND_WARNED, [("", Change.NO_LONGER_DENIED)]),
    ],
)
def test_decisions_about_whole_objects_are_compared_with_those_about_images(
    before: ReviewVerdict, after: ReviewVerdict, found: list[tuple[str, Change]]
) -> None:
    report = Report()

    report.add(recorded(), before, after)

    assert [(changed.image, changed.change) for changed in report.changes()] == found


def test_pods_are_counted_by_their_workload() -> None:
    report = Report()
    owner = [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "controller": True}]

    for number in range(3):
        report.add(recorded(f"db-{number}", ownerReferences=owner), verdict(ADMITTED), verdict(DENIED))
    report.add(recorded("db-0", "pay"), verdict(ADMITTED), verdict(DENIED))

    assert [(c.namespace, c.owner, c.requests, c.source) for c in report.changes()] == [
        ("shop", ("StatefulSet", "db"), 3, "line db-0"),
        ("pay", ("Pod", "db-0"), 1, "line db-0"),
    ]
    total = report.totals()[Change.DENIED]
    assert (total.requests, len(total.objects), len(total.images)) == (4, 2, 1)
    assert [(name, tallies[Change.DENIED].requests) for name, tallies in report.by_namespace()] == [
        ("pay", 1),
        ("shop", 3),
    ]
    assert report.judged_in == {"shop": 3, "pay": 1}


@pytest.mark.parametrize("pods_first", [True, False])
def test_a_template_and_its_pods_count_once_under_the_gravest_change(pods_first: bool) -> None:
    owner = [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "controller": True}]
    web = recorded("web-1", ownerReferences=owner)
    of_template = Recorded(request(template("Deployment", IMAGE, metadata={"name": "web"}), name="web"))
    of_both = [(web, DENIED), (web, DENIED), (of_template, WARNED)]
    report = Report()

    for entry, after in of_both if pods_first else reversed(of_both):
        report.add(entry, verdict(ADMITTED), verdict(after))

    (changed,) = report.changes()
    assert (changed.change, changed.owner, changed.requests) == (Change.DENIED, ("Deployment", "web"), 3)
    assert (report.totals()[Change.WARNED].requests, report.totals()[Change.DENIED].requests) == (0, 3)


def test_findings_are_counted_by_images_and_objects() -> None:
    openssl, zlib = vulnerability("CVE-1", "openssl"), vulnerability("CVE-2", "zlib")
    also_openssl, dockerfile = vulnerability("CVE-1", "libssl"), Finding("dockerfile", "instruction", "x", "no USER")
    report = Report()

    for name, image, findings in [
        ("a", "one:1", (openssl, also_openssl)),
        ("b", "one:1", (openssl, also_openssl)),
        ("b", "two:1", (openssl, zlib)),
        ("c", "three:1", (dockerfile,)),
        ("d", "four:1", ()),
    ]:
        denied = verdict(judged(DENY, Effect.DENY, *findings, image=image))
        report.add(recorded(name), verdict(judged(ADMIT, Effect.ALLOW, image=image)), denied)

    vulnerable = "vulnerabilities:package"
    assert report.blockers.most() == [
        Blocked(Blocker("CVE-1", vulnerable), objects=2, images=2, alone=1),
        Blocked(Blocker("dockerfile:instruction"), objects=1, images=1, alone=1),
        Blocked(Blocker("policy_failed"), objects=1, images=1, alone=1),
        Blocked(Blocker("CVE-2", vulnerable), objects=1, images=1, alone=0),
    ]


def test_what_is_denied_today_blocks_nothing_new() -> None:
    report = Report()

    report.add(recorded(), verdict(DENIED), verdict(DENIED))

    assert report.blockers.most() == []


def test_the_listed_findings_are_the_worst() -> None:
    findings = [vulnerability(f"CVE-{n}", severity="LOW") for n in range(20)] + [vulnerability(severity="CRITICAL")]
    report = Report()

    report.add(recorded(), verdict(ADMITTED), verdict(judged(DENY, Effect.DENY, *findings)))

    (changed,) = report.changes()
    assert changed.findings[0] == findings[-1]
    assert (len(changed.findings), changed.more_findings) == (10, 11)


def test_what_is_not_judged_is_counted() -> None:
    report = Report()
    nothing = judgement.nothing_to_judge()

    report.leave_out(LeftOut.NO_OBJECT)
    for number in range(30):
        report.leave_out(Unread(f"line {number}", "broken"))
    report.add(recorded(), OUT, OUT)
    report.add(recorded(), nothing, nothing)
    report.add(recorded(), KIND_WARNED, KIND_WARNED)
    report.add(recorded(), verdict(ADMITTED), verdict(judged(ADMIT, Effect.ALLOW, by=rule(mode=ModeName.PASSIVE))))

    assert report.left_out[LeftOut.NO_OBJECT] == 1
    assert (report.unread_count, len(report.unread)) == (30, 20)
    assert report.out_of_scope["workloads_off"] == 1
    assert (report.without_images, report.unknown_kinds, report.undecided, report.passive) == (1, 1, 0, 1)
    assert (report.requests, report.judged["Pod"]) == (4, 2)


def test_made_up_kinds_and_names_stay_short_and_few() -> None:
    report = Report()

    for number in range(3):
        body = {"apiVersion": "a.b/v1", "kind": f"Run{number}" + "x" * 1000, "metadata": {"name": "y" * 1000}}
        made_up = request(body, name=None, namespace="z" * 1000)
        report.add(Recorded(made_up), KIND_ALLOWED, KIND_DENIED)

    assert report.judged == {"other": 3}
    assert {(len(c.namespace), len(c.owner[0]), len(c.owner[1])) for c in report.changes()} == {(63, 253, 253)}


def test_an_unreadable_object_is_denied_under_both() -> None:
    report = Report()
    unreadable = judgement.unreadable(Unreadable("expected an object").reason)

    report.add(recorded(), unreadable, unreadable)

    assert (report.changes(), report.judged["Pod"]) == ([], 1)


def test_the_listed_changes_are_bounded_by_sort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LISTED", 2)
    report = Report()

    for number in range(5):
        report.add(recorded(f"a-{number}"), verdict(ADMITTED), verdict(WARNED))
    for number in range(5):
        report.add(recorded(f"b-{number}"), verdict(ADMITTED), verdict(DENIED))

    assert [changed.owner[1] for changed in report.changes()] == ["b-0", "b-1", "a-0", "a-1"]
    assert len(report.totals()[Change.DENIED].objects) == 5


def test_the_objects_told_apart_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_TOLD_APART", 3)
    report = Report()

    for number in range(5):
        report.add(recorded(f"a-{number}"), verdict(ADMITTED), verdict(DENIED))

    assert report.is_truncated
    assert len(report.totals()[Change.DENIED].objects) == 2
    assert report.judged["Pod"] == 5


def test_the_images_of_objects_told_apart_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_TOLD_APART", 5)
    report = Report()

    for name in ("a", "b", "c"):
        images = [judged(DENY, Effect.DENY, image=image) for image in ("one:1", "two:1")]
        report.add(recorded(name), verdict(), verdict(*images))

    assert report.is_truncated
    assert report.totals()[Change.DENIED].requests == 5
