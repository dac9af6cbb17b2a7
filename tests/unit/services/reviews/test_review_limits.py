"""Objects with more images than a review judges."""

from typing import Any

import pytest

from anchore_admission.core.decision import Decision, Reason
from support.builders import containers, pod, template
from support.fakes import settled
from support.review_setup import ReviewSetup, defaults

_MANY = [f"r.example.com/app:{number}" for number in range(201)]
_TEXT = "the object names 201 different images, more than the 200 that limits.images allows"
_SKIPPED = {"name": "trusted", "match": {"images": ["r.example.com/*"]}, "mode": "skip"}
_ELSEWHERE = {"name": "elsewhere", "match": {"namespaces": ["other"]}, "mode": "strict"}


@pytest.mark.parametrize("on_error", ["deny", "warn", "allow"])
@pytest.mark.parametrize("mode", ["analysis", "strict"])
async def test_too_many_images_are_denied_without_a_look(mode: str, on_error: str) -> None:
    setup = ReviewSetup(settings=defaults(mode, onError=on_error))
    verdict = await setup.review(pod(*_MANY))
    await settled()

    assert (verdict.allowed, verdict.decision, verdict.reason) == (False, Decision.DENY, Reason.TOO_MANY_IMAGES)
    assert (verdict.message, setup.operations) == (_TEXT, [])
    assert dict(verdict.audit_annotations) == {"verdict": "deny", "errors": _TEXT}


@pytest.mark.parametrize("mode", ["passive", "skip"])
async def test_modes_that_deny_nothing_warn_of_too_many_images(mode: str) -> None:
    setup = ReviewSetup(settings=defaults(mode))
    verdict = await setup.review(pod(*_MANY))
    await settled()

    assert (verdict.allowed, verdict.warnings, setup.operations) == (True, (_TEXT,), [])


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        ({"rules": [_SKIPPED], **defaults("strict")}, False),
        ({"rules": [{**_SKIPPED, "match": {}}], **defaults("strict")}, True),
        ({"rules": [{**_SKIPPED, "match": {"namespaces": ["shop"]}}], **defaults("strict")}, True),
        ({"rules": [{**_SKIPPED, "match": {"namespaces": ["other"]}}], **defaults("strict")}, False),
        ({"rules": [_ELSEWHERE], **defaults("passive")}, True),
        ({"rules": [{**_ELSEWHERE, "match": {"images": ["nowhere/*"]}}], **defaults("passive")}, False),
        (defaults("strict", enforcement="warn"), True),
        (defaults("strict", enforcement="audit"), True),
    ],
    ids=["a skip rule for some", "all skipped", "here", "elsewhere", "strict elsewhere", "strict", "warn", "audit"],
)
async def test_the_strictest_rule_that_an_image_may_fall_under_decides(
    settings: dict[str, Any], *, allowed: bool
) -> None:
    verdict = await ReviewSetup(settings=settings).review(pod(*_MANY))
    assert verdict.allowed is allowed


@pytest.mark.parametrize("handling", ["final", "deny"])
async def test_templates_with_too_many_images_are_denied(handling: str) -> None:
    setup = ReviewSetup(settings={**defaults("strict"), "workloads": handling})
    assert not (await setup.review(template("Deployment", *_MANY))).allowed


async def test_different_images_count_and_of_an_update_the_new_ones() -> None:
    setup = ReviewSetup(settings={**defaults("analysis"), "limits": {"images": 2}})
    setup.anchore.store("r.example.com/a:1")
    setup.anchore.store("r.example.com/b:1")
    few = ["r.example.com/a:1", "r.example.com/b:1"]

    assert (await setup.review(pod(*few * 300))).allowed
    assert (await setup.review(pod(*few, "c:1", "d:1"), old=pod("c:1", "d:1"))).allowed
    verdict = await setup.review(pod(*few, initContainers=containers("c:1")))
    assert (verdict.allowed, verdict.reason) == (False, Reason.TOO_MANY_IMAGES)


@pytest.mark.parametrize("on_error", ["allow", "warn"])
async def test_an_image_behind_slow_ones_is_denied_whatever_on_error_says(on_error: str) -> None:
    setup = ReviewSetup(settings=defaults("analysis", onError=on_error))
    setup.anchore.hang("by_tag")
    verdict = await setup.late_review(pod(*_MANY[:100]))

    assert [image.verdict.reason for image in verdict.images] == [Reason.ERROR] * 16 + [Reason.NOT_REACHED] * 84
    assert not verdict.allowed
    few = await setup.late_review(pod(*_MANY[:16]))
    assert few.allowed
