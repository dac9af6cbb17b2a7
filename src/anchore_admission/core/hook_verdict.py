"""Combine the decision of a hook with the rules: whom it concerns, and the effect of its objections."""

from collections.abc import Iterable, Sequence

from anchore_admission.core import hook_messages
from anchore_admission.core.decision import Decision, Effect
from anchore_admission.core.hook import HookDecision, HookVerdict
from anchore_admission.core.rules.book import Rule
from anchore_admission.core.rules.exemptions import Use
from anchore_admission.core.verdict import ImageVerdict, worst_effect
from anchore_admission.core.waivers import Waivers
from anchore_admission.errors import EvaluationError, HookFailed, HookInvalid, HookNotAsked
from anchore_admission.models.configuration import Enforcement, ModeName, OnError, WorkloadHandling

_ON_ERROR = {OnError.DENY: Effect.DENY, OnError.WARN: Effect.WARN, OnError.ALLOW: Effect.ALLOW}


def concerned(images: Iterable[ImageVerdict], waivers: Waivers) -> list[ImageVerdict]:
    """Return the images about which the hook has a say.

    It has none where a rule says so or skips the image, and where an exemption or break-glass would lift any denial.
    """
    return [
        image for image in images if may_concern(image.judged.rule) and not waivers.unlimited(image.judged, image.facts)
    ]


def lifted_by(images: Iterable[ImageVerdict], waivers: Waivers) -> tuple[Use, ...]:
    """Return the exemptions and the break-glass because of which the hook has no say about images."""
    concerning = (image for image in images if may_concern(image.judged.rule))
    return tuple(dict.fromkeys(use for image in concerning for use in waivers.unlimited(image.judged, image.facts)))


def may_concern(rule: Rule) -> bool:
    """Return whether the hook has a say about images of a rule."""
    return rule.uses_hook and rule.mode is not ModeName.SKIP


def decided(
    policy: str,
    decision: HookDecision,
    images: Sequence[ImageVerdict],
    rules: Sequence[Rule],
    handling: WorkloadHandling,
) -> HookVerdict:
    """Return the effect of a decision: on an image by its own rule, on the object by the strictest of the rules.

    ``images`` are those that are concerned, ``rules`` theirs.
    """
    by_effect: dict[Effect, list[str]] = {effect: [] for effect in Effect}
    denied, warned = _effect(Effect.DENY, rules, handling), _effect(Effect.WARN, rules, handling)
    by_effect[denied] += [hook_messages.objection(policy, text) for text in decision.deny]
    by_effect[warned] += [hook_messages.objection(policy, text) for text in decision.warn]
    objects = bool(decision.deny)
    by_text = {image.judged.text: image.judged.rule for image in images}
    for opinion in decision.images:
        if rule := by_text.get(opinion.reference):
            denied, warned = _effect(Effect.DENY, [rule], handling), _effect(Effect.WARN, [rule], handling)
            by_effect[denied] += [hook_messages.objection(policy, text, opinion.reference) for text in opinion.deny]
            by_effect[warned] += [hook_messages.objection(policy, text, opinion.reference) for text in opinion.warn]
            objects = objects or bool(opinion.deny)
    return _verdict(policy, Decision.DENY if objects else Decision.ADMIT, by_effect, decision_id=decision.decision_id)


def undecided(
    policy: str, error: EvaluationError, on_error: OnError, rules: Sequence[Rule], handling: WorkloadHandling
) -> HookVerdict:
    """Return the effect of a missing decision: ``on_error``, as far as the rules deny at all.

    It is a denial, whatever ``on_error`` says, where the author of the object may be the cause.
    """
    is_by_author = isinstance(error, HookFailed | HookNotAsked)
    effect = _effect(Effect.DENY if is_by_author else _ON_ERROR[on_error], rules, handling)
    decision = Decision.DENY if is_by_author else Decision.NO_VERDICT
    return _verdict(policy, decision, {effect: [hook_messages.no_decision(policy, error)]}, error=error.code)


def expect_known(decision: HookDecision, texts: Iterable[str]) -> None:
    """Require that the decision names images of the object only: an objection to another one would have no effect.

    Raises:
        HookInvalid: it names another one.
    """
    known = set(texts)
    for opinion in decision.images:
        if opinion.reference not in known:
            raise HookInvalid(hook_messages.unknown_reference(opinion.reference))


def _verdict(
    policy: str, decision: Decision, by_effect: dict[Effect, list[str]], *, decision_id: str = "", error: str = ""
) -> HookVerdict:
    lines = {effect: tuple(dict.fromkeys(by_effect.get(effect, ()))) for effect in Effect}
    found = [effect for effect in (Effect.DENY, Effect.WARN) if lines[effect]]
    return HookVerdict(
        policy,
        decision,
        found[0] if found else Effect.ALLOW,
        denials=lines[Effect.DENY],
        warnings=lines[Effect.WARN],
        recorded=lines[Effect.ALLOW],
        decision_id=decision_id,
        error=error,
    )


def _effect(effect: Effect, rules: Sequence[Rule], handling: WorkloadHandling) -> Effect:
    return worst_effect(_by_rule(effect, rule, handling) for rule in rules)


def _by_rule(effect: Effect, rule: Rule, handling: WorkloadHandling) -> Effect:
    if rule.enforcement is Enforcement.AUDIT:
        return Effect.ALLOW
    if effect is not Effect.DENY:
        return effect
    # An objection to a template is not final: the policy may judge its Pods otherwise, for example by their namespace.
    denies = rule.can_deny and handling is WorkloadHandling.DENY and rule.enforcement is Enforcement.DENY
    return Effect.DENY if denies else Effect.WARN
