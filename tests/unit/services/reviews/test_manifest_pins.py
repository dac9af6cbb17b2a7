"""The digests to append to the images of manifests, and the reasons why some get none."""

from typing import Any

import pytest

from anchore_admission.core.decision import Decision
from anchore_admission.core.explain import Explanation
from anchore_admission.core.facts import ImageFacts
from anchore_admission.core.images import JudgedImage, Uncheckable
from anchore_admission.core.reference import parse
from anchore_admission.core.verdict import ImageVerdict, ReviewVerdict
from anchore_admission.core.workload import ContainerImage
from anchore_admission.errors import InvalidImageReference
from anchore_admission.services.reviews.manifest_pins import ManifestPin, manifest_pins
from anchore_admission.services.reviews.summary import ManualReview
from support import builders

SINCE = "2026-11-20T10:00:00Z"
TAG = "docker.io/nginx:1.25"
IMAGE = ("spec", "containers", 0, "image")


def verdict_on(image: str, *, digest: str = "", reason: str = "", never: bool = False) -> ImageVerdict:
    found = builders.image_verdict(image="app")
    place = ContainerImage("containers", "c1", image, 0, never)
    meaning = found.judged.meaning
    try:
        meaning = parse(image)
    except InvalidImageReference as error:
        meaning = Uncheckable(found.verdict.reason, str(error))
    return ImageVerdict(
        JudgedImage(image, (place,), meaning, found.judged.rule),
        ImageFacts(builders.record(tags={TAG: SINCE, "docker.io/other:1": "2026-11-21T10:00:00Z"})),
        found.verdict,
        found.effect,
        explanation=Explanation(found.judged.rule, pin_digest=digest, not_pinned=reason),
    )


def review_of(*images: ImageVerdict) -> ManualReview:
    return ManualReview("Pod", "shop", "demo", ReviewVerdict(allowed=True, decision=Decision.ADMIT, images=images))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (verdict_on("nginx:1.25", digest=builders.DIGEST), {"addition": f"@{builders.DIGEST}", "detected_at": SINCE}),
        (verdict_on("nginx", digest=builders.DIGEST), {"addition": f":latest@{builders.DIGEST}"}),
        (verdict_on("nginx:1.25", reason="it is denied"), {"reason": "it is denied"}),
        (verdict_on("UPPER", reason="it is denied"), {"reason": "it is denied"}),
        (verdict_on("nginx:1.25", digest=builders.DIGEST, never=True), {"reason": "its pull policy is Never"}),
    ],
)
def test_an_image_gets_its_digest_or_a_reason(image: ImageVerdict, expected: dict[str, str]) -> None:
    text = image.judged.text

    pins = manifest_pins([builders.pod(text)], [review_of(image)])

    assert pins == [ManifestPin((0, *IMAGE), text, **expected)]
    assert pins[0].digest == (builders.DIGEST if pins[0].addition else "")


def test_an_image_with_a_digest_has_nothing_to_pin() -> None:
    image = f"nginx:1.25@{builders.DIGEST}"

    assert manifest_pins([builders.pod(image)], [review_of(verdict_on(image, reason="it names a digest"))]) == []


def test_objects_are_found_in_lists_and_reviews() -> None:
    pod = builders.pod("nginx:1.25")
    documents: list[Any] = [{"kind": "List", "items": [{"kind": "Service"}, pod]}, builders.review(pod)]
    review = review_of(verdict_on("nginx:1.25", digest=builders.DIGEST))

    pins = manifest_pins(documents, [ManualReview("Service", "shop", "web"), review, review])

    assert [pin.path for pin in pins] == [(0, "items", 1, *IMAGE), (1, "request", "object", *IMAGE)]
    assert all(pin.addition for pin in pins)


def test_documents_without_objects_have_one_review_that_says_so() -> None:
    assert manifest_pins([{"kind": "List", "items": []}], [ManualReview("", "shop", "", error="empty")]) == []


def test_a_digest_never_follows_another_image() -> None:
    review = review_of(verdict_on("nginx:1.25", digest=builders.DIGEST))

    (pin,) = manifest_pins([builders.pod("redis:7")], [review])

    assert (pin.addition, pin.reason) == ("", "it cannot be found in the text")


def test_an_image_without_an_explanation_is_not_pinned() -> None:
    image = builders.image_verdict(image="ubuntu")

    (pin,) = manifest_pins([builders.pod("ubuntu")], [review_of(image)])

    assert (pin.addition, pin.reason) == ("", "there is no verdict on it")
