"""Texts of a whole review: the denial, the warnings, the audit annotations."""

import pytest

from anchore_admission.core.decision import Decision
from anchore_admission.core.facts import AnalysisState, Finding
from anchore_admission.ports.telemetry import Origin
from anchore_admission.services.reviews.submissions import Schedule
from support.builders import containers, pod, template
from support.fakes import digest_of, settled
from support.review_setup import APP, BAD, CONTROLLER, NO_PULL, REGISTRY, ReviewSetup, defaults

PASSIVE = f"Image analysis for image {APP}"
MAPPED = f"{PASSIVE} requested and found mapped to digest {digest_of(APP)}"


async def test_passive_mode_reports_the_outcome_of_the_submission() -> None:
    setup = ReviewSetup(settings=defaults("passive"), passive_wait=1)
    answer = setup.anchore.hang("submit")
    async with setup.running():
        verdict = await setup.late_review(pod(APP), 1)
        assert verdict.message == f"{PASSIVE} is being requested: Anchore has not responded yet"
        answer.set()
        assert (await setup.review(pod(APP))).message == MAPPED
        assert (await setup.review(pod(APP))).message == MAPPED

    assert setup.submitted == [APP]


async def test_passive_mode_says_that_the_queue_is_full() -> None:
    setup = ReviewSetup(settings=defaults("passive"), schedule=Schedule(queue_size=1), passive_wait=0)
    await setup.review(pod(BAD))
    verdict = await setup.review(pod(APP))

    text = f"{PASSIVE} not requested: too many images are waiting to be submitted"
    assert (verdict.allowed, verdict.message, verdict.warnings) == (True, text, (text,))


async def test_passive_mode_says_that_its_rule_requests_nothing() -> None:
    setup = ReviewSetup(settings=defaults("passive", requestAnalysis=False))
    verdict = await setup.review(pod(APP))

    assert verdict.message == f"{PASSIVE} not requested: requestAnalysis is false"


@pytest.mark.parametrize(
    ("user", "warned"),
    [
        ("jane", True),
        (CONTROLLER, False),
        ("system:serviceaccount:argocd:argocd", False),
        ("system:node:node-1", False),
        ("system:kube-scheduler", False),
    ],
)
async def test_passive_modes_message_is_a_warning_where_a_person_asks(user: str, *, warned: bool) -> None:
    setup = ReviewSetup(settings=defaults("passive"))
    async with setup.running():
        verdict = await setup.review(pod(APP), user=user)

    assert verdict.message == MAPPED
    assert verdict.warnings == ((MAPPED,) if warned else ())


@pytest.mark.parametrize("mode", ["passive", "analysis", "strict"])
@pytest.mark.parametrize(("dry_run", "origin"), [(True, Origin.ADMISSION), (False, Origin.MANUAL)])
async def test_nothing_is_submitted_on_a_dry_run_and_the_message_says_so(
    mode: str, origin: Origin, *, dry_run: bool
) -> None:
    setup = ReviewSetup(settings=defaults(mode))
    async with setup.queued():
        verdict = await setup.review(pod(APP), dry_run=dry_run, origin=origin)

    assert setup.submitted == []
    assert (
        verdict.message
        == {
            "passive": f"{PASSIVE} not requested: a dry run or a review by hand submits nothing",
            "analysis": f"Image {APP} is not analyzed. "
            "Analysis was not requested: a dry run or a review by hand submits nothing",
            "strict": f"Image {APP} is not analyzed. Cannot evaluate policy. "
            "Analysis was not requested: a dry run or a review by hand submits nothing",
        }[mode]
    )


async def test_denial_shows_why_anchore_rejected_the_image() -> None:
    setup = ReviewSetup(settings=defaults("analysis"))
    setup.anchore.fail("submit", NO_PULL)
    async with setup.running():
        await setup.review(pod(APP))
        await settled()
        verdict = await setup.review(pod(APP))

    assert verdict.message == f"Image {APP} is not analyzed. {NO_PULL}"


async def test_denial_names_every_denied_image_in_the_order_of_the_pod() -> None:
    setup = ReviewSetup(settings=defaults("analysis", requestAnalysis=False))
    setup.anchore.store(APP)
    refused = [f"{REGISTRY}/{name}:1" for name in ("setup", "web", "debug", "data")]
    init, main, debug, data = refused
    volumes = [{"name": "data", "image": {"reference": data}}]
    spec = {"volumes": volumes, "ephemeralContainers": containers(debug), "initContainers": containers(init)}
    verdict = await setup.review(pod(APP, main, **spec))

    step = "is not analyzed. It has to be added to Anchore first"
    assert verdict.message.splitlines() == [f"Image {image} {step}" for image in refused]


async def test_denial_and_warning_stand_beside_each_other() -> None:
    rules = [{"name": "lenient", "match": {"images": ["*/bad:*"]}, "enforcement": "warn"}]
    setup = ReviewSetup(settings={**defaults("analysis", requestAnalysis=False), "rules": rules})
    verdict = await setup.review(pod(BAD, APP))

    assert (verdict.allowed, verdict.decision) == (False, Decision.DENY)
    assert verdict.message == f"Image {APP} is not analyzed. It has to be added to Anchore first"
    assert verdict.warnings == (f"Image {BAD} is not analyzed. It has to be added to Anchore first",)


@pytest.mark.parametrize("mode", ["passive", "analysis"])
@pytest.mark.parametrize(("images", "shown"), [(10, 10), (11, 10), (200, 10)])
async def test_warnings_are_few_and_short(mode: str, images: int, shown: int) -> None:
    setup = ReviewSetup(settings={**defaults(mode, requestAnalysis=False), "workloads": "warn"})
    names = [f"{REGISTRY}/{number}/{'long/' * 40}app" for number in range(images)]
    verdict = await setup.review(template("Deployment", *names))

    assert verdict.allowed
    assert len(verdict.warnings) == shown
    assert all(len(warning) <= 250 for warning in verdict.warnings)
    if images > shown:
        assert verdict.warnings[-1] == f"and {images - shown + 1} more warnings"


@pytest.mark.parametrize("mode", ["passive", "analysis", "skip"])
async def test_text_from_outside_forges_no_line(mode: str) -> None:
    setup = ReviewSetup(settings=defaults(mode))
    verdict = await setup.review(pod("nginx\nImage everything is fine\x1b[2J", None))
    texts = [verdict.message, *verdict.warnings, *dict(verdict.audit_annotations).values()]

    assert not [text for text in texts if any(ord(c) < 32 and c != "\n" for c in text)]
    assert not [line for text in texts for line in text.splitlines() if line.startswith("Image everything")]
    assert all("\n" not in text for text in texts[1:])


async def test_audit_annotations_are_bounded_in_bytes() -> None:
    setup = ReviewSetup(settings=defaults("analysis"))
    setup.anchore.fail("by_tag", ZeroDivisionError())
    images = [f"{REGISTRY}/{name * 50}:{number}" for number in range(100) for name in ("app", "äpp")]
    annotations = dict((await setup.review(pod(*images))).audit_annotations)

    assert {"verdict", "rules", "images", "errors"} <= annotations.keys()
    assert all(len(annotations[key].encode()) <= 2048 for key in annotations)


async def test_audit_annotations_record_the_decision_about_each_image() -> None:
    setup = ReviewSetup(settings=defaults("analysis"))
    setup.anchore.store(APP)
    setup.anchore.fail("by_tag", ZeroDivisionError(), subject=BAD)
    verdict = await setup.review(pod(APP, BAD))

    assert dict(verdict.audit_annotations) == {
        "verdict": "no_verdict",
        "rules": "defaults",
        "images": f"{BAD} no_verdict: error; {APP} {digest_of(APP)} amd64 admit: analyzed",
        "errors": f"{BAD}: evaluation",
    }


async def test_number_of_findings_is_configured() -> None:
    setup = ReviewSetup(settings={**defaults("strict"), "messages": {"maxFindings": 1}})
    setup.anchore.store(APP)
    setup.fail_policy(APP, Finding("dockerfile", "x", "1", "first"), Finding("dockerfile", "x", "2", "second"))
    verdict = await setup.review(pod(APP))

    assert verdict.message.splitlines()[1:] == ["  dockerfile/x: first", "  and 1 more"]


async def test_pending_image_says_when_to_try_again() -> None:
    setup = ReviewSetup(settings=defaults("strict"))
    setup.anchore.store(APP, AnalysisState.ANALYZING)

    assert (await setup.review(pod(APP))).message.endswith("try again in a few minutes")
