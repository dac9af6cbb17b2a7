"""The document about a review by hand, for machines: ``POST /review`` returns it, the command line prints it."""

from typing import Any

from anchore_admission.core import messages
from anchore_admission.core.explain import Explanation
from anchore_admission.core.findings import worst_first
from anchore_admission.core.hook import HookVerdict
from anchore_admission.core.rules.exemptions import Use, use_of
from anchore_admission.core.verdict import ImageVerdict
from anchore_admission.services.reviews.summary import ManualReview, Summary


def as_document(summary: Summary) -> dict[str, Any]:
    """Return the document, with one entry per image of every object."""
    passes = summary.ignores_unchecked or not summary.unchecked
    decisions = [_decision(r, hook) for r in summary.reviews if r.verdict and (hook := r.verdict.hook)]
    return {
        "allowed": all(r.verdict is None or r.verdict.allowed for r in summary.reviews)
        and not summary.unread
        and not summary.unreviewed
        and passes,
        "images": [
            _image(review, image) for review in summary.reviews if review.verdict for image in review.verdict.images
        ],
        "warnings": [w for review in summary.reviews if review.verdict for w in review.verdict.warnings],
        "errors": [{**_object(review), "message": text} for review in summary.reviews if (text := review.problem)],
        "notChecked": [{**_object(r), "message": r.unchecked} for r in summary.reviews if r.unchecked],
        "objects": _objects(summary),
        **({"decisions": decisions} if decisions else {}),
    }


def as_explanations(summary: Summary) -> dict[str, Any]:
    """Return the document about the selections alone, with one entry per image of every object."""
    return {
        "images": [
            {
                "image": image.judged.text,
                "object": _object(review),
                "places": [place.place for place in image.judged.places],
                **_explanation(image.explanation),
            }
            for review in summary.reviews
            if review.verdict
            for image in review.verdict.images
            if image.explanation
        ],
        "errors": [{**_object(review), "message": text} for review in summary.reviews if (text := review.problem)],
        "notChecked": [{**_object(r), "message": r.unchecked} for r in summary.reviews if r.unchecked],
        "outOfScope": [
            {**_object(review), "message": messages.out_of_scope(review.verdict.out_of_scope)}
            for review in summary.reviews
            if review.verdict and review.verdict.out_of_scope
        ],
    }


def _objects(summary: Summary) -> dict[str, int]:
    others = summary.others + summary.unread + summary.unchecked + summary.unreviewed
    return {
        "reviewed": len(summary.reviews) - others,
        "withoutImages": summary.others,
        "notChecked": summary.unchecked,
        "unread": summary.unread,
        "notReviewed": summary.unreviewed,
    }


def _image(review: ManualReview, image: ImageVerdict) -> dict[str, Any]:
    return {
        "image": image.judged.text,
        "digest": image.digest,
        "object": _object(review),
        "places": [place.place for place in image.judged.places],
        "rule": image.judged.rule.name,
        "mode": image.judged.rule.mode.value,
        "verdict": image.verdict.decision.value,
        "reason": image.verdict.reason.value,
        "effect": image.effect.value,
        "message": image.verdict.message,
        "findings": [messages.finding_line(finding) for finding in worst_first(image.verdict.findings)],
        "exemptions": [_use(use) for use in image.exemptions],
        **({"explanation": _explanation(image.explanation)} if image.explanation else {}),
    }


def _explanation(explanation: Explanation) -> dict[str, Any]:
    rule = explanation.rule
    return {
        "rule": rule.name,
        "mode": rule.mode.value,
        "account": rule.account,
        "policy": rule.policy,
        "enforcement": rule.enforcement.value,
        "onError": rule.on_error.value,
        "breakGlass": rule.break_glass,
        "pin": rule.pin.value,
        "pinConflict": explanation.pin_conflict,
        "opa": explanation.hook or None,
        "problem": explanation.problem,
        "exemptions": [
            {**_use(use_of(exemption)), "excuses": sorted(exemption.cves | exemption.findings) or "everything"}
            for exemption in explanation.exemptions
        ],
        "passedOver": [{"rule": passed.rule, "keys": list(passed.keys)} for passed in explanation.passed_over],
        "passedOverMore": explanation.more,
    }


def _decision(review: ManualReview, hook: HookVerdict) -> dict[str, Any]:
    return {
        "object": _object(review),
        "policy": hook.policy,
        "outcome": hook.outcome,
        "verdict": hook.decision.value,
        "effect": hook.effect.value,
        "objections": list(hook.lines),
        **({"decisionId": hook.decision_id} if hook.decision_id else {}),
    }


def _use(use: Use) -> dict[str, str]:
    described = {"owner": use.owner, "ticket": use.ticket, "expires": use.expires}
    return {"kind": use.kind.value, "name": use.name, "reason": use.reason, **{k: v for k, v in described.items() if v}}


def _object(review: ManualReview) -> dict[str, str]:
    named = {"kind": review.kind, "namespace": review.namespace, "name": review.name}
    optional = {"source": review.source, "image": review.image}
    return {**named, **{key: value for key, value in optional.items() if value}}
