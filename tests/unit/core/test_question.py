"""The query to Anchore about an image, or none."""

import pytest

from anchore_admission.core.decision import Reason
from anchore_admission.core.images import JudgedImage, Uncheckable
from anchore_admission.core.question import Question, question_about
from anchore_admission.core.reference import parse
from anchore_admission.core.rules.book import Rule
from anchore_admission.models.configuration import ModeName
from support.builders import rule


def _question(by: Rule, image: str = "nginx") -> Question | None:
    return question_about(JudgedImage(image, (), parse(image), by))


def test_a_mode_that_needs_no_facts_has_no_question() -> None:
    assert _question(rule(mode=ModeName.SKIP)) is None


@pytest.mark.parametrize("mode", ModeName)
def test_an_image_that_anchore_cannot_check_has_no_question(mode: ModeName) -> None:
    image = JudgedImage("sha256:01", (), Uncheckable(Reason.IMAGE_ID), rule(mode=mode))
    assert question_about(image) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (rule(mode=ModeName.ANALYSIS, policy="a"), rule(mode=ModeName.ANALYSIS, policy="b")),
        (rule(mode=ModeName.PASSIVE, policy="a"), rule(mode=ModeName.PASSIVE)),
        (rule(), rule("another", require_mapping=True)),
    ],
    ids=["analysis needs no policy", "passive needs no policy", "only the verdict needs the mapping"],
)
def test_rules_that_need_the_same_facts_share_them(one: Rule, other: Rule) -> None:
    assert _question(one) is not None
    assert _question(one) == _question(other)


@pytest.mark.parametrize(
    "other",
    [rule(policy="b"), rule(account="other"), rule(mode=ModeName.ANALYSIS), rule(request_analysis=False)],
    ids=["policy", "account", "mode", "request_analysis"],
)
def test_rules_that_need_other_facts_do_not_share_them(other: Rule) -> None:
    assert _question(other) != _question(rule())


@pytest.mark.parametrize(
    "image", ["docker.io/nginx", "docker.io/library/nginx", "index.docker.io/library/nginx:latest"]
)
def test_texts_that_mean_the_same_image_share_the_question(image: str) -> None:
    assert _question(rule(), image) == _question(rule(), "nginx")
