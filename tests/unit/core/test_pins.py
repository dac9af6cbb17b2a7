"""Pins: which tags are pinned, to which digest, and why the others are not."""

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from anchore_admission.core import judgement, pins
from anchore_admission.core.decision import Decision, Effect, Reason
from anchore_admission.core.facts import (
    AnalysisState,
    ImageFacts,
    ImageRecord,
    PolicyEvaluation,
    ResolvedTag,
    Submission,
    SubmissionState,
)
from anchore_admission.core.images import distinct_images, judged_images
from anchore_admission.core.pins import NEVER_PULLED, Pinner, PinResult, Unpinned
from anchore_admission.core.reference import parse
from anchore_admission.core.rules.book import compile_rules
from anchore_admission.core.rules.exemptions import compile_exemptions
from anchore_admission.core.rules.match import Circumstances
from anchore_admission.core.verdict import ImageVerdict
from anchore_admission.core.waivers import Waivers
from anchore_admission.core.workload import images, pod_view
from anchore_admission.errors import AnchoreUnavailable, DeadlineExceeded, ImageNotReached
from anchore_admission.models.configuration import Configuration, WorkloadHandling
from anchore_admission.models.review import AdmissionRequest
from anchore_admission.models.workload import Workload
from support.builders import DIGEST, OTHER_DIGEST, failed, pod, request, vulnerability

NOW = 10_000.0
FRESH = 600.0
LIST = "sha256:" + "c" * 64
PASSED = PolicyEvaluation(True, "p")
BY = ("docker.io/team/app:1",)
RECORD = ImageRecord(DIGEST, AnalysisState.ANALYZED, parent_digest=LIST, list_digest=LIST, listed_by=BY)
RESOLVED = ResolvedTag(DIGEST, NOW - 10, list_digest=LIST, listed_by=BY)
KNOWN = ImageFacts(RECORD, (PASSED,), resolved=RESOLVED)
KEY = "example.com/reason"
OPENSSL = vulnerability("CVE-2021-3711", "openssl")


def _judged(
    facts: ImageFacts = KNOWN,
    *rules: dict[str, Any],
    text: str = "team/app:1",
    body: Any = None,
    exemptions: tuple[dict[str, Any], ...] = (),
    now: float = NOW,
    fresh: float | None = FRESH,
    **defaults: Any,
) -> tuple[Pinner, ImageVerdict]:
    """The verdict on the first image of a Pod under these rules, and what decides on its pin."""
    given = {"reason": "r", "owner": "o", "expires": "2026-12-31", "match": {"images": ["*"]}}
    written = [{**given, "name": f"e{number}", **each} for number, each in enumerate(exemptions)]
    document = {"rules": list(rules), "defaults": {"mode": "strict", "pin": "bestEffort", **defaults}}
    configuration = Configuration.model_validate(document | {"exemptions": written})
    book = compile_rules(configuration.rules, configuration.defaults).narrowed(Circumstances())
    expiring = compile_exemptions(configuration.exemptions, 90).narrowed(Circumstances(), 1_796_000_000.0)
    decoded = request(body or pod(text))
    assert isinstance(decoded.object, Workload)
    view = pod_view(decoded.kind, decoded.object)
    assert view
    [image, *_] = judged_images(book, distinct_images(decoded, view))
    waivers = Waivers(expiring, (view.metadata.annotations if view.metadata else None) or {})
    return Pinner(book, waivers, now, fresh), judgement.judge(image, facts, WorkloadHandling.DENY, waivers)


def _result(*args: Any, **given: Any) -> PinResult | str:
    pinner, image = _judged(*args, **given)
    digest = pinner.digest(image)
    return digest.result if isinstance(digest, Unpinned) else digest


UNANALYZED = replace(RECORD, state=AnalysisState.ANALYZING)
SINGLE = ImageRecord(DIGEST, AnalysisState.ANALYZED, parent_digest=None, list_digest=DIGEST, listed_by=BY)
CHILD = ImageRecord(DIGEST, AnalysisState.ANALYZED, parent_digest=None, list_digest=None)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (KNOWN, LIST),
        (ImageFacts(SINGLE, (PASSED,), resolved=ResolvedTag(DIGEST, NOW, list_digest=DIGEST)), DIGEST),
        (replace(KNOWN, is_stale=True), LIST),
        # Anchore got the image from a repository that may have it in another list.
        (replace(KNOWN, record=replace(RECORD, listed_by=("evil.io/team/app:1",))), PinResult.NO_PARENT),
        (ImageFacts(CHILD, (PASSED,), resolved=ResolvedTag(DIGEST, NOW)), PinResult.NO_PARENT),
        (replace(KNOWN, resolved=None), PinResult.STALE),
        (replace(KNOWN, resolved=replace(RESOLVED, at=NOW - FRESH - 1)), PinResult.STALE),
        (replace(KNOWN, resolved=replace(RESOLVED, at=NOW - FRESH)), LIST),
        (replace(KNOWN, resolved=replace(RESOLVED, digest=OTHER_DIGEST)), PinResult.STALE),
        # The list has got another platform, and Anchore's record is still about the one before.
        (replace(KNOWN, resolved=replace(RESOLVED, list_digest=OTHER_DIGEST)), PinResult.STALE),
        (replace(KNOWN, resolved=replace(RESOLVED, list_digest=None)), PinResult.STALE),
        (replace(KNOWN, evaluations=(failed(),)), PinResult.DENIED),
        (ImageFacts(UNANALYZED, resolved=RESOLVED), PinResult.DENIED),
        (ImageFacts(), PinResult.DENIED),
        (ImageFacts(error=DeadlineExceeded("late")), PinResult.NO_TIME),
        (ImageFacts(error=ImageNotReached("late")), PinResult.NO_TIME),
    ],
)
def test_facts_decide_on_the_digest(facts: ImageFacts, expected: PinResult | str) -> None:
    assert _result(facts) == expected


@pytest.mark.parametrize(
    ("facts", "defaults", "expected"),
    [
        (ImageFacts(RECORD, resolved=RESOLVED), {"mode": "analysis"}, LIST),
        (ImageFacts(UNANALYZED, resolved=RESOLVED), {"mode": "analysis"}, PinResult.DENIED),
        # Passive mode looks nothing up: the response to the submission is all there is.
        (ImageFacts(resolved=RESOLVED), {"mode": "passive"}, LIST),
        (ImageFacts(resolved=replace(RESOLVED, listed_by=("evil.io/a:1",))), {"mode": "passive"}, PinResult.NO_PARENT),
        (ImageFacts(), {"mode": "passive"}, PinResult.STALE),
        (ImageFacts(resolved=replace(RESOLVED, list_digest=None)), {"mode": "passive"}, PinResult.NO_PARENT),
        # A failed policy that does not deny was judged all the same.
        (replace(KNOWN, evaluations=(failed(),)), {"enforcement": "warn"}, LIST),
        (ImageFacts(UNANALYZED, resolved=RESOLVED), {"enforcement": "audit"}, PinResult.NOT_ANALYZED),
        (ImageFacts(error=AnchoreUnavailable("down")), {"onError": "allow"}, PinResult.NO_VERDICT),
        (ImageFacts(error=AnchoreUnavailable("down")), {"onError": "deny"}, PinResult.DENIED),
        (replace(KNOWN, resolved=None), {"requestAnalysis": False, "pin": "required"}, PinResult.STALE),
    ],
)
def test_modes_and_effects_decide_too(facts: ImageFacts, defaults: dict[str, Any], expected: PinResult | str) -> None:
    assert _result(facts, **defaults) == expected


@pytest.mark.parametrize(
    ("facts", "mode", "expected"),
    [
        (replace(KNOWN, resolved=None), "strict", LIST),
        (ImageFacts(), "passive", PinResult.NOT_ANALYZED),
        (ImageFacts(), "skip", PinResult.NOT_ANALYZED),
    ],
)
def test_a_manifest_needs_no_fresh_submission(facts: ImageFacts, mode: str, expected: PinResult | str) -> None:
    assert _result(facts, fresh=None, mode=mode, pin="off") == expected


BY_TAG = {"name": "by-tag", "match": {"images": ["docker.io/team/app:1*"]}}
BY_REPOSITORY = {"name": "by-repository", "match": {"images": ["docker.io/team/app"]}}
OTHER = {"name": "other", "match": {"images": ["docker.io/team/*"]}}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([BY_TAG], PinResult.RULE_DIFFERS),
        ([BY_TAG, BY_REPOSITORY], PinResult.RULE_DIFFERS),
        ([BY_REPOSITORY, BY_TAG], LIST),
        ([{"name": "both", "match": {"images": ["docker.io/team/app:1", "docker.io/team/app@*"]}}, OTHER], LIST),
        # A laxer rule takes the digest: judged again, the image would be skipped.
        ([{"name": "x", "mode": "skip", "pin": "off", "match": {"images": ["*@sha256:*"]}}], PinResult.RULE_DIFFERS),
        ([{"name": "x", "match": {"images": ["*"], "except": {"images": ["*:1"]}}}], PinResult.RULE_DIFFERS),
    ],
)
def test_the_pinned_image_falls_under_the_same_rule(rules: list[dict[str, Any]], expected: PinResult | str) -> None:
    assert _result(KNOWN, *rules) == expected


@pytest.mark.parametrize(
    ("exemption", "facts", "expected"),
    [
        ({"match": {"images": ["docker.io/team/app"]}}, replace(KNOWN, evaluations=(failed(),)), LIST),
        ({"match": {"images": [f"docker.io/team/app@{LIST}"]}}, replace(KNOWN, evaluations=(failed(),)), LIST),
        (
            {"match": {"images": ["docker.io/team/app:1"]}},
            replace(KNOWN, evaluations=(failed(),)),
            PinResult.EXEMPTION_DIFFERS,
        ),
        ({"match": {"images": ["docker.io/team/app:1"]}}, KNOWN, PinResult.EXEMPTION_DIFFERS),
        ({"match": {"images": ["docker.io/team/app"]}}, ImageFacts(), PinResult.NOT_ANALYZED),
    ],
)
def test_the_pinned_image_has_the_same_exemptions(
    exemption: dict[str, Any], facts: ImageFacts, expected: PinResult | str
) -> None:
    assert _result(facts, exemptions=(exemption,)) == expected


def test_a_digest_that_anchore_made_up_pins_nothing() -> None:
    odd = "sha512:" + "a" * 128
    facts = ImageFacts(replace(RECORD, list_digest=odd), (PASSED,), resolved=replace(RESOLVED, list_digest=odd))
    assert _result(facts) is PinResult.NO_PARENT


@pytest.mark.parametrize(
    ("text", "pinned"),
    [
        ("nginx", "nginx:latest"),
        ("nginx:latest", "nginx:latest"),
        ("nginx:1.25", "nginx:1.25"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("Registry.Example.com:443/a/b:V1", "Registry.Example.com:443/a/b:V1"),
        ("docker.io/library/nginx", "docker.io/library/nginx:latest"),
        ("latest", "latest:latest"),
        ("x.io/latest:1", "x.io/latest:1"),
    ],
)
def test_the_text_stays_as_written(text: str, pinned: str) -> None:
    assert pins.pinned_text(text, parse(text), LIST) == f"{pinned}@{LIST}"


def _places(body: Any, facts: ImageFacts = KNOWN) -> list[tuple[str, PinResult, str]]:
    pinner, image = _judged(facts, body=body)
    return [(pin.place.pointer, pin.result, pin.value or pin.reason) for pin in pinner.places(image)]


def test_every_place_has_its_own_pull_policy() -> None:
    app = {"name": "a", "image": "team/app:1"}
    never = {**app, "name": "b", "imagePullPolicy": "Never"}
    volumes = [
        {"name": "v", "emptyDir": {}},
        {"name": "w", "image": {"reference": "team/app:1", "pullPolicy": "Never"}},
    ]
    body = pod("x", initContainers=[app], containers=[never, app], volumes=volumes)
    value = f"team/app:1@{LIST}"

    assert _places(body) == [
        ("/spec/initContainers/0/image", PinResult.PINNED, value),
        ("/spec/containers/0/image", PinResult.NEVER, NEVER_PULLED),
        ("/spec/containers/1/image", PinResult.PINNED, value),
        ("/spec/volumes/1/image/reference", PinResult.NEVER, NEVER_PULLED),
    ]


def test_annotations_name_every_place_with_its_outcome() -> None:
    body = pod(
        "x",
        containers=[
            {"name": "a", "image": "team/app:1"},
            {"name": "b\nc", "image": "team/app:1", "imagePullPolicy": "Never"},
        ],
    )
    pinner, image = _judged(body=body)

    assert pins.annotations(pinner.places(image)) == {
        "pinned": f"containers/a={LIST}",
        "not-pinned": f"containers/b?c: {NEVER_PULLED}",
    }
    assert pins.annotations([]) == {}


# An update keeps the digest


def _update(new: str, old: str, *, names: tuple[str, str] = ("c1", "c1")) -> AdmissionRequest:
    def body(name: str, image: str) -> Any:
        return pod("x", containers=[{"name": name, "image": image}])

    return request(body(names[0], new), oldObject=body(names[1], old), operation="UPDATE")


def _kept(decoded: AdmissionRequest) -> list[str]:
    assert isinstance(decoded.object, Workload)
    view = pod_view(decoded.kind, decoded.object)
    assert view
    return [pin.value for pin in pins.kept(decoded, images(view.spec))]


@pytest.mark.parametrize(
    ("new", "old", "is_kept"),
    [
        ("app:1", f"app:1@{DIGEST}", True),
        ("app", f"app:latest@{DIGEST}", True),
        ("app:latest", f"app:latest@{DIGEST}", True),
        ("sha256:" + "a" * 60, f"sha256:{'a' * 60}@{DIGEST}", False),  # an ID of a local image, or nothing
        ("app", f"app@{DIGEST}", False),  # never our doing, and another image than the tag's
        ("app:2", f"app:1@{DIGEST}", False),
        ("docker.io/app:1", f"app:1@{DIGEST}", False),
        ("app:1", "app:1", False),
        ("app:1", "app:1@sha256:abc", False),
        ("app:1", f"app:1@{DIGEST}@{DIGEST}", False),
        ("app:1", "app:1@", False),
        (f"app:1@{OTHER_DIGEST}", f"app:1@{DIGEST}", False),
        ("", f"app:1@{DIGEST}", False),
        ("UPPER", f"UPPER:latest@{DIGEST}", False),
    ],
)
def test_an_update_keeps_the_digest_of_the_same_tag(new: str, old: str, *, is_kept: bool) -> None:
    assert _kept(_update(new, old)) == ([old] if is_kept else [])


def test_only_the_container_of_the_same_name_counts() -> None:
    assert _kept(_update("app:1", f"app:1@{DIGEST}", names=("a", "b"))) == []


def test_a_new_object_keeps_nothing() -> None:
    assert _kept(request(pod("app:1"), oldObject=pod(f"app:1@{DIGEST}"), operation="CREATE")) == []


# What a rule requires


def _enforced(*args: Any, **given: Any) -> ImageVerdict:
    pinner, image = _judged(*args, **{"pin": "required", **given})
    return pinner.enforced(image)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (KNOWN, "the mutating webhook has not pinned it; try again, or write its digest"),
        (replace(KNOWN, resolved=None), "its tag has not been resolved yet; try again in a moment"),
        (
            replace(KNOWN, resolved=replace(RESOLVED, at=NOW - 1200)),
            "its tag was last resolved 20 minutes ago; try again in a moment",
        ),
        (
            replace(KNOWN, resolved=replace(RESOLVED, at=NOW - 601)),
            "its tag was last resolved 10 minutes ago; try again in a moment",
        ),
        (
            replace(KNOWN, resolved=None, submission=Submission(SubmissionState.DRY_RUN)),
            "its tag is not resolved now, because a dry run submits nothing; repeat this without a dry run",
        ),
        (
            replace(KNOWN, resolved=None, submission=Submission(SubmissionState.REFUSED, reason="no\npull")),
            "its tag could not be resolved: no?pull; try again in a moment",
        ),
        (
            ImageFacts(CHILD, (PASSED,), resolved=ResolvedTag(DIGEST, NOW)),
            "Anchore does not tell the digest that all of its platforms share; write its digest",
        ),
    ],
)
def test_a_pod_without_a_digest_is_denied_with_the_reason(facts: ImageFacts, why: str) -> None:
    denied = _enforced(facts)

    assert (denied.effect, denied.verdict.decision, denied.verdict.reason) == (
        Effect.DENY,
        Decision.DENY,
        Reason.NOT_PINNED,
    )
    assert denied.verdict.message == (
        f"Image team/app:1 is not pinned to a digest, which rule defaults requires: {why}"
    )


def test_without_requests_for_analysis_only_a_digest_helps() -> None:
    denied = _enforced(replace(KNOWN, resolved=None), requestAnalysis=False)

    assert denied.verdict.message.endswith("because requestAnalysis is false; write its digest")


def test_never_is_the_first_reason() -> None:
    body = pod("x", containers=[{"name": "a", "image": "team/app:1", "imagePullPolicy": "Never"}])

    message = _enforced(body=body).verdict.message

    assert message.endswith(f"{NEVER_PULLED}; write its digest, or exclude the image by a rule with pin: off")


@pytest.mark.parametrize(
    "given",
    [
        {"text": f"team/app:1@{LIST}"},
        {"text": f"team/app@{LIST}"},
        {"pin": "bestEffort"},
        {"pin": "off"},
        {"mode": "passive", "pin": "bestEffort"},
    ],
)
def test_what_has_a_digest_or_needs_none_is_admitted(given: dict[str, Any]) -> None:
    pinner, image = _judged(**{"pin": "required", **given})

    assert pinner.enforced(image) == image
    assert image.effect is Effect.ALLOW


def test_passive_mode_admits_whatever_the_defaults_require() -> None:
    assert _enforced(KNOWN, {"name": "a", "mode": "passive"}).effect is Effect.ALLOW


def test_a_denial_stays_what_it_was() -> None:
    assert _enforced(replace(KNOWN, evaluations=(failed(),))).verdict.reason is Reason.POLICY_FAILED


@pytest.mark.parametrize(("enforcement", "effect"), [("warn", Effect.WARN), ("audit", Effect.ALLOW)])
def test_a_rehearsal_shows_why_the_image_will_be_denied(enforcement: str, effect: Effect) -> None:
    found = _enforced(replace(KNOWN, evaluations=(failed(),)), enforcement=enforcement)

    assert (found.verdict.reason, found.effect) == (Reason.POLICY_FAILED, effect)


@pytest.mark.parametrize(
    ("given", "effect"),
    [
        ({"onError": "allow"}, Effect.DENY),
        ({"onError": "warn"}, Effect.DENY),
        ({"onError": "allow", "enforcement": "warn"}, Effect.WARN),
        ({"onError": "allow", "enforcement": "audit"}, Effect.ALLOW),
    ],
)
def test_no_verdict_does_not_stand_in_for_a_digest(given: dict[str, Any], effect: Effect) -> None:
    found = _enforced(ImageFacts(error=AnchoreUnavailable("down")), **given)

    assert (found.verdict.reason, found.effect) == (Reason.NOT_PINNED, effect)


@pytest.mark.parametrize(
    ("exemption", "effect"),
    [
        ({}, Effect.WARN),
        ({"excuses": {"cves": ["CVE-2021-3711"]}}, Effect.DENY),
    ],
)
@pytest.mark.parametrize("facts", [KNOWN, replace(KNOWN, evaluations=(failed(OPENSSL),))])
def test_only_an_exemption_from_everything_lifts_it(
    facts: ImageFacts, exemption: dict[str, Any], effect: Effect
) -> None:
    found = _enforced(facts, exemptions=(exemption,))

    assert (found.verdict.reason, found.effect) == (Reason.NOT_PINNED, effect)
    assert [use.name for use in found.exemptions] == (["e0"] if effect is Effect.WARN else [])


def test_break_glass_lifts_it() -> None:
    pinner, image = _judged(KNOWN, body=pod("team/app:1", metadata={"annotations": {KEY: "night"}}), pin="required")
    judged = structs.replace(image.judged, rule=structs.replace(image.judged.rule, break_glass=KEY))

    assert [use.reason for use in pinner.enforced(structs.replace(image, judged=judged)).exemptions] == ["night"]
