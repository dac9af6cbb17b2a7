"""From facts to the response: judge every image, then reduce the verdicts to one."""

from collections.abc import Iterable, Sequence

from msgspec import structs

from anchore_admission.core import hook_messages, messages
from anchore_admission.core.audit import hook_annotation, hook_unasked_annotation, image_annotations
from anchore_admission.core.decision import Decision, Effect, Reason
from anchore_admission.core.facts import ImageFacts
from anchore_admission.core.hook import HookVerdict
from anchore_admission.core.images import JudgedImage, Uncheckable
from anchore_admission.core.messages import MESSAGE_LIMIT
from anchore_admission.core.modes import MODES
from anchore_admission.core.requester import is_controller
from anchore_admission.core.rules.book import Rule
from anchore_admission.core.rules.exemptions import Use
from anchore_admission.core.scope import OutOfScope
from anchore_admission.core.verdict import (
    ImageVerdict,
    ReviewVerdict,
    Verdict,
    effect_of,
    full_effect,
    gravest_first,
    worst_decision,
    worst_effect,
)
from anchore_admission.core.waivers import NO_WAIVERS, Waivers
from anchore_admission.models.configuration import Enforcement, ModeName, UnknownKinds, WorkloadHandling
from anchore_admission.models.review import AdmissionRequest


def judge(
    image: JudgedImage, facts: ImageFacts, handling: WorkloadHandling, waivers: Waivers = NO_WAIVERS
) -> ImageVerdict:
    """Judge an image by its rule's mode, then let ``waivers`` lift a denial; the verdict itself never changes.

    ``handling`` is DENY for a Pod, whose verdict is authoritative.
    """
    rule, meaning = image.rule, image.meaning
    mode = MODES[rule.mode]
    if isinstance(meaning, Uncheckable) and not meaning.by_author:
        message = messages.no_verdict(image.text, meaning.problem)
        verdict = Verdict(Decision.NO_VERDICT, meaning.reason, message, error=meaning.reason)
    elif isinstance(meaning, Uncheckable):
        verdict = mode.uncheckable(meaning.reason, messages.uncheckable(image, meaning.reason, meaning.problem))
    else:
        verdict = mode.judge(image.text, meaning, facts, rule)
    if verdict.decision is not Decision.ADMIT and full_effect(verdict, rule) is Effect.DENY:
        return _lifted(image, facts, verdict, handling, waivers)
    return ImageVerdict(image, facts, verdict, effect_of(verdict, rule, handling))


def _lifted(
    image: JudgedImage, facts: ImageFacts, verdict: Verdict, handling: WorkloadHandling, waivers: Waivers
) -> ImageVerdict:
    """Lift a denial if there are grounds for it, before the handling of templates and ``enforcement``."""
    rule = image.rule
    if uses := waivers.uses(image, facts):
        effect = Effect.ALLOW if rule.enforcement is Enforcement.AUDIT else Effect.WARN
        return ImageVerdict(image, facts, verdict, effect, uses)
    effect = effect_of(verdict, rule, handling)
    if effect is Effect.DENY and (advice := waivers.advice(image, facts)):
        verdict = structs.replace(verdict, message=f"{verdict.message}. {advice}")
    return ImageVerdict(image, facts, verdict, effect)


def reduce(
    images: Sequence[ImageVerdict],
    request: AdmissionRequest,
    max_findings: int,
    notice: str = "",
    hook: HookVerdict | None = None,
) -> ReviewVerdict:
    """Reduce the verdicts on images to one: any denied image denies the object, and the message names all of them.

    The decision of a ``hook`` only tightens it. Passive mode's messages go into ``status.message``, and also into the
    warnings if the requester is a person. ``notice`` is a warning that every response about images carries.
    """
    effects = {image.effect for image in images}
    decision = worst_decision({image.verdict.decision for image in images})
    is_plain = decision is Decision.ADMIT and effects == {Effect.ALLOW}
    listed = images if is_plain else gravest_first(images)
    # All of them, so that fixing one image does not uncover the next denial.
    denied = [image for image in images if image.effect is Effect.DENY] if Effect.DENY in effects else []
    passive = [image.verdict.message for image in listed if image.judged.rule.mode is ModeName.PASSIVE]
    warnings = messages.warnings(listed) + ([] if is_controller(request) else passive)
    room = MESSAGE_LIMIT - (hook_messages.SHARE if hook and hook.denials else 0)
    verdict = ReviewVerdict(
        allowed=not denied,
        decision=decision,
        images=tuple(images),
        message=messages.denial(denied, max_findings, room) if denied else messages.joined(passive),
        audit_annotations={"verdict": decision.value, **image_annotations(listed)},
    )
    return _warning(tightened(verdict, hook) if hook else verdict, warnings, notice if images else "")


def tightened(verdict: ReviewVerdict, hook: HookVerdict) -> ReviewVerdict:
    """Add the decision of a hook, which may deny what is admitted, and never admits what is denied."""
    decision = worst_decision([verdict.decision, hook.decision])
    message = verdict.message
    if hook.effect is Effect.DENY:
        objections = hook_messages.denial(hook.denials, alone=verdict.allowed)
        message = objections if verdict.allowed else f"{message}\n{objections}"
    tighter = structs.replace(
        verdict,
        allowed=verdict.allowed and hook.effect is not Effect.DENY,
        decision=decision,
        reason=verdict.reason if decision is verdict.decision else Reason.HOOK,
        message=message,
        audit_annotations={**verdict.audit_annotations, "verdict": decision.value, "hook": hook_annotation(hook)},
        hook=hook,
    )
    return _warning(tighter, verdict.warnings)


def unasked(verdict: ReviewVerdict, uses: Sequence[Use]) -> ReviewVerdict:
    """Record the exemptions and the break-glass because of which a hook was not asked, if there are any."""
    if not uses:
        return verdict
    annotations = {**verdict.audit_annotations, "hook": hook_unasked_annotation(uses)}
    return structs.replace(verdict, audit_annotations=annotations)


def _warning(verdict: ReviewVerdict, warnings: Sequence[str], notice: str = "") -> ReviewVerdict:
    """Add the warnings; those of a hook first, because of many, the last ones are cut off."""
    first = verdict.hook.warnings if verdict.hook else ()
    return structs.replace(verdict, warnings=messages.capped([*first, *warnings], notice))


def not_in_scope(reason: OutOfScope) -> ReviewVerdict:
    """Admit an object that is not judged."""
    annotations = {"verdict": "out-of-scope", "scope": reason.value}
    return ReviewVerdict(allowed=True, decision=Decision.ADMIT, out_of_scope=reason, audit_annotations=annotations)


def nothing_to_judge() -> ReviewVerdict:
    """Admit an object that names no new image."""
    return ReviewVerdict(allowed=True, decision=Decision.ADMIT)


def too_many_images(count: int, limit: int, rules: Iterable[Rule], handling: WorkloadHandling) -> ReviewVerdict:
    """Judge an object by the strictest rule that an image of it may fall under, without judging any image."""
    message = messages.too_many_images(count, limit)
    verdicts = [(MODES[rule.mode].uncheckable(Reason.TOO_MANY_IMAGES, message), rule) for rule in rules]
    effect = worst_effect(effect_of(verdict, rule, handling) for verdict, rule in verdicts)
    decision = worst_decision(verdict.decision for verdict, _ in verdicts)
    return _on_object(decision, Reason.TOO_MANY_IMAGES, message, effect)


def unreadable(problem: str) -> ReviewVerdict:
    """Deny an object that cannot be read: it may hold images."""
    # No rule softens this denial: an author could make an object unreadable on purpose.
    message = messages.unreadable_object(problem)
    return _on_object(Decision.DENY, Reason.UNREADABLE_OBJECT, message, Effect.DENY)


def failed(rules: Iterable[Rule]) -> ReviewVerdict:
    """Return no verdict after an unexpected error. The rule is not known, so the strictest ``onError`` applies."""
    verdict = Verdict(Decision.NO_VERDICT, Reason.ERROR, messages.REVIEW_FAILED, error="internal")
    effect = worst_effect(effect_of(verdict, rule, WorkloadHandling.DENY) for rule in rules)
    return _on_object(verdict.decision, verdict.reason, verdict.message, effect)


_UNKNOWN_KINDS = {
    UnknownKinds.ALLOW: Effect.ALLOW,
    UnknownKinds.WARN: Effect.WARN,
    UnknownKinds.DENY: Effect.DENY,
}


def unknown_kind(request: AdmissionRequest, choice: UnknownKinds) -> ReviewVerdict:
    """Apply the configuration's ``unknownKinds`` to an object whose images cannot be found."""
    message = messages.unknown_kind(request.kind.group, request.kind.kind)
    return _on_object(Decision.NO_VERDICT, Reason.UNKNOWN_KIND, message, _UNKNOWN_KINDS[choice])


def _on_object(decision: Decision, reason: Reason, message: str, effect: Effect) -> ReviewVerdict:
    """Return a verdict on an object as a whole."""
    return ReviewVerdict(
        allowed=effect is not Effect.DENY,
        decision=decision,
        reason=reason,
        message=message if effect is Effect.DENY else "",
        warnings=messages.capped([message]) if effect is Effect.WARN else (),
        audit_annotations={"verdict": decision.value, "errors": message},
    )
