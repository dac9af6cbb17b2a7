"""The audit annotations about the images of a review: the trail that stays in the API server's audit log."""

from collections.abc import Sequence

from anchore_admission.core.exemption_messages import grounds
from anchore_admission.core.hook import HookVerdict
from anchore_admission.core.messages import fitting
from anchore_admission.core.rules.exemptions import Use, UseKind
from anchore_admission.core.verdict import ImageVerdict
from anchore_admission.text import shown

# The API server accepts any length, but can be told to truncate audit events as a whole.
AUDIT_LIMIT = 2048
"""Bytes of one annotation."""
_ID_LIMIT = 100


def image_annotations(images: Sequence[ImageVerdict]) -> dict[str, str]:
    """Return the annotations about images; those that would be empty are left out."""
    if not images:
        return {}
    # The keys must be qualified names without a slash: the API server drops others, with only a line in its own log.
    annotations = {
        "rules": joined(list(dict.fromkeys([image.judged.rule.name for image in images]))),
        "images": joined([_image(image) for image in images]),
    }
    errors = [f"{shown(image.judged.text)}: {image.verdict.error}" for image in images if image.verdict.error]
    uses = [use for image in images for use in image.exemptions]
    if uses:
        annotations["exemptions"] = _uses(list(dict.fromkeys(uses)))
    if errors:
        annotations["errors"] = joined(errors)
    stale = [f"{shown(image.judged.text)} {round(image.facts.age)} s" for image in images if image.facts.is_stale]
    if stale:
        annotations["stale"] = joined(stale)
    return annotations


def hook_annotation(hook: HookVerdict) -> str:
    """Describe the decision of a hook: the policy, the outcome, the ID of the decision, and what it objects to."""
    decision_id = f", decision {shown(hook.decision_id, _ID_LIMIT)}" if hook.decision_id else ""
    return joined([f"{hook.policy} {hook.outcome}{decision_id}", *hook.lines])


def hook_unasked_annotation(uses: Sequence[Use]) -> str:
    """Describe why a hook was not asked: it might have objected, and a lifted objection leaves a trace."""
    return f"not asked; {_uses(uses)}"


def _image(image: ImageVerdict) -> str:
    record = image.facts.record
    digest, architecture = image.digest, record.architecture if record else None
    known = f"{f' {digest}' if digest else ''}{f' {architecture}' if architecture else ''}"
    text = f"{shown(image.judged.text)}{known} {image.verdict.decision}: {image.verdict.reason}"
    return f"{text}, admitted by {' and '.join(use.name for use in image.exemptions)}" if image.exemptions else text


def _uses(uses: Sequence[Use]) -> str:
    """Describe every exemption and break-glass in use; only their names if that is too long, because none may lack."""
    described = "; ".join(_use(use) for use in uses)
    return described if len(described.encode()) <= AUDIT_LIMIT else joined([f"{use.kind} {use.name}" for use in uses])


def _use(use: Use) -> str:
    end = f" ({grounds(use)})" if use.kind is UseKind.EXEMPTION else ""
    return f"{use.kind} {use.name}: {use.reason}{end}"


def joined(entries: Sequence[str]) -> str:
    """Join as many whole entries as fit, and count the others."""
    text = "; ".join(entries)
    if len(text.encode()) <= AUDIT_LIMIT:
        return text
    kept = fitting([len(entry.encode()) + 2 for entry in entries], AUDIT_LIMIT - len(f"and {len(entries)} more"))
    return f"{'; '.join(entries[:kept])}; and {len(entries) - kept} more"
