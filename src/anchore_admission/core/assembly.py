"""Assemble the facts about an image from Anchore's answers, and find the questions whose answers are missing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from anchore_admission.core.answers import ByDigest, ByTag, Check, Query, Value
from anchore_admission.core.facts import AnalysisState, ImageFacts, ImageRecord, PolicyEvaluation
from anchore_admission.core.freshness import Answer
from anchore_admission.core.names import check_tags, distinguishes, lookup_tags, newest
from anchore_admission.core.question import Question
from anchore_admission.core.reference import ImageReference
from anchore_admission.core.tags import ResolvedTag
from anchore_admission.errors import EvaluationError, ImageNotReached

Known = Callable[[Query], Answer | EvaluationError | None]
"""The outcome of a question: its answer, the reason why there is none, or None if it has not been asked."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """The facts so far, and the questions to ask before they are whole; none if they are.

    ``by_tag`` is the record that Anchore holds by the image's tag. ``used`` are the answers that the facts rest on;
    ``looked_up_at`` is the age of those about the record, as monotonic seconds.
    """

    facts: ImageFacts
    by_tag: ImageRecord | None = None
    missing: tuple[Query, ...] = ()
    used: tuple[Answer, ...] = ()
    looked_up_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class _Outcomes:
    """The outcomes of questions that are asked at once."""

    answers: tuple[Answer, ...] = ()
    missing: tuple[Query, ...] = ()
    error: EvaluationError | None = None

    @property
    def is_whole(self) -> bool:
        return self.error is None and not self.missing

    @property
    def values(self) -> list[Value]:
        return [answer.value for answer in self.answers]


def assemble(question: Question, resolved: ResolvedTag | None, known: Known) -> Assembled:
    """Assemble the facts that a question needs. A failed check keeps the record.

    ``resolved`` is the digest that Anchore resolved the image's tag to when it was submitted. It counts before a
    look-up that is older.
    """
    reference = question.reference
    looked_up = _outcomes(look_ups(reference), known)
    if not looked_up.is_whole:
        return Assembled(ImageFacts(error=looked_up.error), missing=looked_up.missing)
    used, looked_up_at = looked_up.answers, min(answer.at for answer in looked_up.answers)
    records = [value for value in looked_up.values if isinstance(value, ImageRecord)]
    record = newest(records, reference) if len(records) > 1 else next(iter(records), None)
    by_tag = record if reference.digest is None else None
    if reference.digest is None and resolved and resolved.overrides(by_tag):
        # If this look-up fails, the outdated record must not be judged in its place.
        moved = _outcomes((ByDigest(resolved.digest),), known)
        if not moved.is_whole:
            return Assembled(ImageFacts(error=moved.error), by_tag, moved.missing, used, looked_up_at)
        used += moved.answers
        record = next((value for value in moved.values if isinstance(value, ImageRecord)), None)
    so_far = Assembled(ImageFacts(record), by_tag, used=used, looked_up_at=looked_up_at)
    if not question.needs.evaluation or record is None or record.state is not AnalysisState.ANALYZED:
        return so_far
    return _evaluated(question, record, known, so_far)


def look_ups(reference: ImageReference) -> Sequence[Query]:
    """Return the questions that find an image's record: by its digest, or by each of its tag's names."""
    if reference.digest:
        return (ByDigest(reference.digest),)
    return [ByTag(name) for name in lookup_tags(reference)]


def _evaluated(question: Question, record: ImageRecord, known: Known, so_far: Assembled) -> Assembled:
    """Add the evaluations of the policy under every name that it may judge differently.

    To Anchore, the two names of Docker Hub's official images and the spellings of a registry are different images.
    Which of them Anchore holds may depend on our own submissions, and which of them a workload uses is its author's
    choice; the verdict must depend on neither. Most responses show the policy's mappings: if those treat all names
    alike, one call is enough.
    """
    evaluations: list[PolicyEvaluation] = []
    used = so_far.used
    tags = check_tags(record, question.reference)
    for full_tag in tags:
        checked = _outcomes((Check(record.digest, full_tag, question.policy),), known)
        if not checked.is_whole:
            facts = ImageFacts(record, error=checked.error)
            return replace(so_far, facts=facts, missing=checked.missing, used=used)
        used += checked.answers
        match checked.values[0]:
            case PolicyEvaluation() as evaluation:
                evaluations.append(evaluation)
                if evaluation.selectors is not None and not distinguishes(evaluation.selectors, tags):
                    break
            case AnalysisState.UNKNOWN if evaluations:
                continue  # this Anchore accepts only names that it has seen on the image, and judges it by no other
            case AnalysisState.UNKNOWN:
                return replace(so_far, facts=ImageFacts(), used=used)
            case AnalysisState() as state:
                return replace(so_far, facts=ImageFacts(replace(record, state=state)), used=used)
            case _:
                raise TypeError("a check was answered with an image record")
    return replace(so_far, facts=ImageFacts(record, tuple(evaluations)), used=used)


def _outcomes(queries: Sequence[Query], known: Known) -> _Outcomes:
    """Collect the outcomes. One failure is enough: the record that it hides may be the newest."""
    outcomes = [(query, known(query)) for query in queries]
    errors = [outcome for _, outcome in outcomes if isinstance(outcome, EvaluationError)]
    if errors:
        # Not reached is the gravest verdict, and only right if nothing else went wrong.
        return _Outcomes(error=next((error for error in errors if not isinstance(error, ImageNotReached)), errors[0]))
    return _Outcomes(
        answers=tuple(outcome for _, outcome in outcomes if isinstance(outcome, Answer)),
        missing=tuple(query for query, outcome in outcomes if outcome is None),
    )
