"""Assemble the facts about an image from Anchore's answers, and find the questions whose answers are missing."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from msgspec import Struct, structs

from anchore_admission.core.answers import ByDigest, ByTag, Check, Query
from anchore_admission.core.facts import AnalysisState, ImageRecord, PolicyEvaluation, ResolvedTag
from anchore_admission.core.freshness import Answer
from anchore_admission.core.names import check_tags, distinguishes, lookup_tags, newest
from anchore_admission.core.question import Question
from anchore_admission.core.reference import ImageReference
from anchore_admission.errors import EvaluationError, ImageNotReached

Known = Callable[[Query], Answer | EvaluationError | None]
"""The outcome of a question: its answer, the reason why there is none, or None if it has not been asked."""
Resolved = Callable[[Sequence[str]], ResolvedTag | None]
"""The digest that Anchore resolved a tag to, under any of its names, when it was submitted last."""


class Assembled(Struct, frozen=True):
    """The facts so far, and the questions to ask before they are whole; none if they are.

    ``by_tag`` is the record that Anchore holds by the image's tag. ``used`` are the answers that the facts rest on;
    ``looked_up_at`` is the age of those about the record, as monotonic seconds.
    """

    record: ImageRecord | None = None
    evaluations: tuple[PolicyEvaluation, ...] = ()
    error: EvaluationError | None = None
    missing: tuple[Query, ...] = ()
    by_tag: ImageRecord | None = None
    used: tuple[Answer, ...] = ()
    looked_up_at: float = float("-inf")
    resolved: ResolvedTag | None = None
    """Where the tag pointed to when it was submitted last."""

    @property
    def state(self) -> AnalysisState:
        return self.record.state if self.record else AnalysisState.UNKNOWN


class _Outcomes(Struct, frozen=True):
    """The outcomes of questions that are asked at once."""

    answers: tuple[Answer, ...]
    missing: tuple[Query, ...]
    error: EvaluationError | None

    @property
    def is_whole(self) -> bool:
        return self.error is None and not self.missing


def assemble(question: Question, known: Known, resolved: Resolved) -> Assembled:
    """Assemble the facts that a question needs. A failed check keeps the record.

    The digest that a submission resolved the tag to counts before a look-up that is older.
    """
    reference = question.reference
    looked_up = _outcomes(look_ups(reference), known)
    if not looked_up.is_whole:
        return Assembled(error=looked_up.error, missing=looked_up.missing)
    used = looked_up.answers
    looked_up_at = min([answer.at for answer in used])
    records = [answer.value for answer in used if isinstance(answer.value, ImageRecord)]
    record = newest(records, reference) if len(records) > 1 else records[0] if records else None
    by_tag = latest = None
    if reference.digest is None:
        by_tag = record
        latest = resolved(lookup_tags(reference))
        if latest and latest.overrides(by_tag):
            # If this look-up fails, the outdated record must not be judged in its place.
            moved = _outcomes((ByDigest(latest.digest),), known)
            if not moved.is_whole:
                return Assembled(None, (), moved.error, moved.missing, by_tag, used, looked_up_at)
            used += moved.answers
            record = next((answer.value for answer in moved.answers if isinstance(answer.value, ImageRecord)), None)
    if not question.needs.evaluation or record is None or record.state is not AnalysisState.ANALYZED:
        return Assembled(record, by_tag=by_tag, used=used, looked_up_at=looked_up_at, resolved=latest)
    evaluated = _evaluated(question, record, known, by_tag, used, looked_up_at)
    return structs.replace(evaluated, resolved=latest) if latest else evaluated


def look_ups(reference: ImageReference) -> Sequence[Query]:
    """Return the questions that find an image's record: by its digest, or by each of its tag's names."""
    if reference.digest:
        return (ByDigest(reference.digest),)
    return [ByTag(name) for name in lookup_tags(reference)]


def _evaluated(  # noqa: PLR0917 - the facts so far
    question: Question,
    record: ImageRecord,
    known: Known,
    by_tag: ImageRecord | None,
    used: tuple[Answer, ...],
    looked_up_at: float,
) -> Assembled:
    """Add the evaluations of the policy under every name that it may judge differently.

    To Anchore, the two names of Docker Hub's official images and the spellings of a registry are different images.
    Which of them Anchore holds may depend on our own submissions, and which of them a workload uses is its author's
    choice; the verdict must depend on neither. Most responses show the policy's mappings: if those treat all names
    alike, one call is enough.
    """
    evaluations: tuple[PolicyEvaluation, ...] = ()
    tags = check_tags(record, question.reference)
    for full_tag in tags:
        checked = _outcomes((Check(record.digest, full_tag, question.policy),), known)
        if not checked.is_whole:
            return Assembled(record, (), checked.error, checked.missing, by_tag, used, looked_up_at)
        used += checked.answers
        value = checked.answers[0].value
        if isinstance(value, PolicyEvaluation):
            evaluations += (value,)
            # The patterns matter only where there is another name.
            if len(tags) > 1 and value.selectors is not None and not distinguishes(value.selectors, tags):
                break
        elif value is AnalysisState.UNKNOWN and evaluations:
            continue  # this Anchore accepts only names that it has seen on the image, and judges it by no other
        elif isinstance(value, AnalysisState):
            state = None if value is AnalysisState.UNKNOWN else replace(record, state=value)
            return Assembled(state, by_tag=by_tag, used=used, looked_up_at=looked_up_at)
        else:
            raise TypeError("a check was answered with an image record")
    return Assembled(record, evaluations, by_tag=by_tag, used=used, looked_up_at=looked_up_at)


def _outcomes(queries: Sequence[Query], known: Known) -> _Outcomes:
    """Collect the outcomes. One failure is enough: the record that it hides may be the newest."""
    answers: tuple[Answer, ...] = ()
    missing: tuple[Query, ...] = ()
    error: EvaluationError | None = None
    for query in queries:
        outcome = known(query)
        if outcome is None:
            missing += (query,)
        elif isinstance(outcome, Answer):
            answers += (outcome,)
        # Not reached is the gravest verdict, and only right if nothing else went wrong.
        elif error is None or isinstance(error, ImageNotReached):
            error = outcome
    return _Outcomes(answers, missing if error is None else (), error)
