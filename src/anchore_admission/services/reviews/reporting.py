"""Report on images for other policy engines: what is in memory, or else what Anchore answers; nothing is submitted."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec import structs

from anchore_admission.core import judgement
from anchore_admission.core.decision import Decision, Reason
from anchore_admission.core.facts import NOTHING_KNOWN
from anchore_admission.core.image_report import MOST_FINDINGS, report_of
from anchore_admission.core.images import JudgedImage, meaning_of
from anchore_admission.core.question import question_about
from anchore_admission.core.rules.book import DEFAULTS_NAME, Rule
from anchore_admission.core.verdict import ImageVerdict
from anchore_admission.errors import MalformedReview, NotServed
from anchore_admission.models.configuration import ModeName, WorkloadHandling
from anchore_admission.models.image_report import ImageReport
from anchore_admission.ports.deadline import Deadline
from anchore_admission.services.reviews.fact_source import Facts
from anchore_admission.services.reviews.gate import BY_HAND
from anchore_admission.services.reviews.judging import in_turns
from anchore_admission.services.reviews.rules import CurrentRules
from anchore_admission.text import shown

FINDINGS_IN_ALL: Final = 1000
"""The most findings in the reports of one answer."""
_PASSING: Final = frozenset({Reason.UNKNOWN, Reason.PENDING, Reason.ANALYSIS_FAILED, Reason.NOT_REACHED})
"""Reasons for a denial that may be gone a moment later."""


@dataclass(frozen=True, slots=True)
class Reported:
    """The verdict on one image, from which its report is made.

    ``is_final`` is False if a moment later the answer may be another one without any change of the image or the
    policy; ``problem`` is then the reason, and also the one why there can be no facts.
    """

    verdict: ImageVerdict
    is_final: bool
    problem: str

    def report(self, most: int) -> ImageReport:
        """Report on the image with its ``most`` worst findings."""
        return report_of(self.verdict, most)


@dataclass(frozen=True, slots=True)
class ImageReports:
    """Reports on images. ``accounts`` are those that are connected.

    They share the calls that reviews by hand may make at once, so that engines cannot delay admission. Only one of them
    computes at a time: of several, each would take a turn of the event loop before a review gets its next one.
    """

    rules: CurrentRules
    gathering: Facts
    accounts: Collection[str]
    computing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def rule(self, name: str | None) -> Rule:
        """Return a rule whose account and policy count, as one of mode ``strict``; None: the defaults.

        Raises NotServed if there is none, and MalformedReview if it cannot be used without an object.
        """
        book = self.rules.current.book
        rules = {rule.name: rule for rule in (*book.rules, book.defaults)}
        rule = rules.get(DEFAULTS_NAME if name is None else name)
        if rule is None:
            asked = shown(name, 63) if name else '""'
            raise NotServed(f"no rule is named {asked}; name a rule of the configuration")
        chosen = [choice for choice in rule.choices if choice.field != "mode"]
        if chosen:
            what = " and ".join(choice.field for choice in chosen)
            raise MalformedReview(f"rule {rule.name} chooses its {what} by labels or annotations; name another rule")
        if rule.account not in self.accounts:
            raise MalformedReview(f"account {rule.account} of rule {rule.name} is not connected; name another rule")
        return structs.replace(rule, mode=ModeName.STRICT, request_analysis=False, choices=())

    async def about(self, texts: Sequence[str], rule: Rule, deadline: Deadline) -> dict[str, Reported]:
        """Report on each distinct image text."""
        images = [JudgedImage(text, (), meaning_of(text), rule) for text in dict.fromkeys(texts)]
        questions = [question_about(image) for image in images]
        gathered = await self.gathering.facts(
            [question for question in questions if question], deadline, namespace=BY_HAND, side_effects=False
        )
        facts = iter(gathered)
        async with self.computing:
            reported = await in_turns(
                _reported(judgement.judge(image, next(facts) if question else NOTHING_KNOWN, WorkloadHandling.DENY))
                for image, question in zip(images, questions, strict=True)
            )
        return {each.verdict.judged.text: each for each in reported}

    async def written(self, found: Mapping[str, Reported], most: int) -> dict[str, ImageReport]:
        """Report on the images with the ``most`` worst findings of each."""
        async with self.computing:
            return dict(zip(found, await in_turns(each.report(most) for each in found.values()), strict=True))


def most_findings(images: int) -> int:
    """Return how many findings each of so many reports may hold."""
    return min(MOST_FINDINGS, FINDINGS_IN_ALL // max(1, images))


def _reported(verdict: ImageVerdict) -> Reported:
    found = verdict.verdict
    is_final = found.decision is not Decision.NO_VERDICT and found.reason not in _PASSING
    has_facts = is_final and bool(verdict.facts.evaluations)
    return Reported(verdict, is_final, "" if has_facts else found.message)
