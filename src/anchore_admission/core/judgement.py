"""From facts to the answer: judge every image, then add the verdicts up."""

from collections.abc import Iterable, Sequence

from anchore_admission.core import messages
from anchore_admission.core.facts import NOTHING_KNOWN, ImageFacts
from anchore_admission.core.images import JudgedImage, Refusal, is_asked_by_controller
from anchore_admission.core.modes import MODES
from anchore_admission.core.reference import ImageReference
from anchore_admission.core.rules.book import Rule
from anchore_admission.core.scope import OutOfScope
from anchore_admission.core.verdict import (
    Decision,
    Effect,
    ImageVerdict,
    Reason,
    ReviewVerdict,
    Verdict,
    effect_of,
    gravest_first,
    worst,
)
from anchore_admission.models.configuration import ModeName, UnknownKinds, WorkloadHandling
from anchore_admission.models.review import AdmissionRequest
from anchore_admission.text import shown


def settled(subject: JudgedImage, handling: WorkloadHandling) -> ImageVerdict:
    """The verdict on a subject that nothing is asked about (``skip``, no reference), which never changes."""
    verdict = subject.verdicts.get(handling)
    if verdict is None:
        verdict = subject.verdicts[handling] = judge(subject, NOTHING_KNOWN, handling)
    return verdict


def judge(subject: JudgedImage, facts: ImageFacts, handling: WorkloadHandling) -> ImageVerdict:
    """The verdict of the rule's mode, and what it does; ``handling`` is DENY for a Pod, which is authoritative."""
    mode = MODES[subject.rule.mode]
    meaning = subject.meaning
    if isinstance(meaning, Refusal):
        verdict = mode.refuse(meaning.reason, meaning.message)
    else:
        verdict = mode.judge(subject.image, facts, subject.rule)
    reference = meaning if isinstance(meaning, ImageReference) else None
    effect = effect_of(verdict, subject.rule, handling)
    return ImageVerdict(subject.image, subject.places, reference, subject.rule, facts, verdict, effect)


def reduce(images: Sequence[ImageVerdict], request: AdmissionRequest, max_findings: int) -> ReviewVerdict:
    """A denial names every image that is refused; what is admitted with a warning is told beside it.

    Passive mode's message stands in ``status.message``, and is a warning where a person reads it.
    """
    listed = gravest_first(images)
    effects = [image.effect for image in images]
    refused = [image for image in images if image.effect is Effect.DENY] if Effect.DENY in effects else []
    decision = worst([image.verdict.decision for image in images])
    passive = ModeName.PASSIVE
    news = [image.verdict.message for image in listed if image.rule.mode is passive]
    warnings = messages.warnings(listed) if Effect.WARN in effects else []
    if news and not is_asked_by_controller(request):
        warnings += news
    return ReviewVerdict(
        allowed=not refused,
        decision=decision,
        images=tuple(images),
        message=messages.denial(refused, max_findings) if refused else messages.joined(news) if news else "",
        warnings=tuple(messages.limit_warnings(warnings)) if warnings else (),
        audit_annotations=(("verdict", str(decision)), *messages.audit(listed).items()),
    )


def exempt(reason: OutOfScope) -> ReviewVerdict:
    """Admitted without a look at any image."""
    annotations = (("verdict", "exempt"), ("exemptions", reason.value))
    return ReviewVerdict(allowed=True, decision=Decision.ADMIT, out_of_scope=reason, audit_annotations=annotations)


def nothing_to_judge() -> ReviewVerdict:
    """Admitted because no image is new."""
    return ReviewVerdict(allowed=True, decision=Decision.ADMIT)


def too_many_images(count: int, limit: int, rules: Iterable[Rule], handling: WorkloadHandling) -> ReviewVerdict:
    """Judge an object as a whole by the strictest rule that an image of it may fall under, without a look at any."""
    message = f"the object names {count} different images, more than the {limit} that limits.images allows"
    judged = [(MODES[rule.mode].refuse(Reason.TOO_MANY_IMAGES, message), rule) for rule in rules]
    effects = {effect_of(verdict, rule, handling) for verdict, rule in judged}
    effect = next((e for e in (Effect.DENY, Effect.WARN) if e in effects), Effect.ALLOW)
    decision = worst([verdict.decision for verdict, _ in judged])
    return ReviewVerdict(
        allowed=effect is not Effect.DENY,
        decision=decision,
        reason=Reason.TOO_MANY_IMAGES,
        message=message if effect is Effect.DENY else "",
        warnings=(message,) if effect is Effect.WARN else (),
        audit_annotations=(("verdict", str(decision)), ("errors", message)),
    )


def unreadable(text: str) -> ReviewVerdict:
    """Refused because nobody can tell which images the object holds."""
    message = f"the object cannot be read: {shown(text)}"
    return ReviewVerdict(
        allowed=False,
        decision=Decision.DENY,
        reason=Reason.UNREADABLE_OBJECT,
        message=message,
        audit_annotations=(("verdict", Decision.DENY.value), ("errors", message)),
    )


def failed(rules: Iterable[Rule]) -> ReviewVerdict:
    """The review itself broke: no verdict, whatever rule it was for, so the strictest ``onError`` speaks."""
    message = "the review failed unexpectedly, see the controller's log"
    verdict = Verdict(Decision.NO_VERDICT, Reason.ERROR, message, error="internal")
    effects = {effect_of(verdict, rule, WorkloadHandling.DENY) for rule in rules}
    effect = next((e for e in (Effect.DENY, Effect.WARN) if e in effects), Effect.ALLOW)
    return ReviewVerdict(
        allowed=effect is not Effect.DENY,
        decision=Decision.NO_VERDICT,
        reason=Reason.ERROR,
        message=message if effect is Effect.DENY else "",
        warnings=(message,) if effect is Effect.WARN else (),
        audit_annotations=(("verdict", Decision.NO_VERDICT.value), ("errors", message)),
    )


def unknown_kind(request: AdmissionRequest, choice: UnknownKinds) -> ReviewVerdict:
    """An object whose images cannot be found: what the configuration says, never a silent pass by accident."""
    kind = f"{request.kind.group}/{request.kind.kind}" if request.kind.group else request.kind.kind
    message = f"images in objects of kind {shown(kind)} cannot be checked: the kind is not known"
    return ReviewVerdict(
        allowed=choice is not UnknownKinds.DENY,
        decision=Decision.NO_VERDICT,
        reason=Reason.UNKNOWN_KIND,
        message=message if choice is UnknownKinds.DENY else "",
        warnings=(shown(message, messages.WARNING_LIMIT),) if choice is UnknownKinds.WARN else (),
        audit_annotations=(("verdict", Decision.NO_VERDICT.value), ("errors", message)),
    )
