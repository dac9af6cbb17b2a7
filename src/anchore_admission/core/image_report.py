"""Reports about images for other policy engines: facts and verdict as one flat value, bounded in size."""

from collections.abc import Sequence

from anchore_admission.core import workload
from anchore_admission.core.facts import AnalysisState, Finding, ImageFacts, PolicyEvaluation, PolicyReason
from anchore_admission.core.findings import severity, vulnerability_of, worst_first
from anchore_admission.core.images import JudgedImage, distinct_images
from anchore_admission.core.modes import MODES, by_policy
from anchore_admission.core.reference import ImageReference, is_image_id, parse
from anchore_admission.core.rules.exemptions import UseKind
from anchore_admission.core.verdict import ImageVerdict
from anchore_admission.core.waivers import Waivers
from anchore_admission.core.workload import ContainerImage, PodView
from anchore_admission.errors import InvalidImageReference
from anchore_admission.models.image_report import (
    FindingAction,
    ImageReport,
    PolicyAction,
    ReportedEvaluation,
    ReportedExemption,
    ReportedFinding,
    ReportedPlace,
    ReportedVerdict,
)
from anchore_admission.models.review import AdmissionRequest, GroupVersionKind
from anchore_admission.text import shown

MOST_FINDINGS = 100
"""Findings of one image in a report. No more of those that warn are kept, so that the worst of a longer list could be
missing."""
MOST_EXEMPTIONS = 20
"""Exemptions of one image in a report: those that are applied first, then in the order of the configuration."""
_MESSAGE_LIMIT = 300
_TEXT_LIMIT = 200
_POD = GroupVersionKind(kind="Pod")


def report_of(
    verdict: ImageVerdict, most: int = MOST_FINDINGS, kind: GroupVersionKind = _POD, waivers: Waivers | None = None
) -> ImageReport:
    """Report on a judged image with its ``most`` worst findings.

    ``kind`` is that of the object that names the image, and ``waivers`` are the object's; None without an object.
    """
    judged, facts = verdict.judged, verdict.facts
    reference, record = _reference(judged.text), facts.record
    evaluation = _decisive(judged, facts)
    rows = (*evaluation.findings, *evaluation.warnings) if evaluation else ()
    state = _state(judged, facts)
    return ImageReport(
        reference=judged.text,
        repository=reference.repositories[0] if reference else None,
        tag=reference.tag if reference else None,
        digest=verdict.digest or (reference.digest if reference else None),
        parent_digest=record.parent_digest if record else None,
        places=_places(judged.places, kind),
        rule=judged.rule.name,
        mode=judged.rule.mode,
        state=state,
        architecture=record.architecture if record else None,
        analyzed_at=(record.analyzed_at or None) if record else None,
        evaluation=_evaluation(evaluation) if evaluation else None,
        findings=tuple(_finding(finding) for finding in worst_first(rows, min(most, MOST_FINDINGS))),
        findings_total=_total(evaluation) if evaluation else None,
        verdict=ReportedVerdict(verdict.verdict.decision, verdict.verdict.reason),
        error=verdict.verdict.error or (facts.error.code if facts.error else None),
        answer_age=round(facts.age) if state else None,
        stale=facts.is_stale if state else None,
        exemptions=_exemptions(verdict, waivers) if waivers else None,
    )


def unchanged_reports(request: AdmissionRequest, view: PodView) -> list[ImageReport]:
    """Report on the images that an update leaves as they are, without facts: nothing is asked about them."""
    judged = distinct_images(request, view)
    places: dict[str, list[ContainerImage]] = {}
    for place in workload.images(view.spec):
        if place.image and place.image not in judged:
            places.setdefault(place.image, []).append(place)
    return [_unchanged(text, found, request.kind) for text, found in places.items()]


def _unchanged(text: str, places: Sequence[ContainerImage], kind: GroupVersionKind) -> ImageReport:
    reference = _reference(text)
    return ImageReport(
        reference=text,
        repository=reference.repositories[0] if reference else None,
        tag=reference.tag if reference else None,
        digest=reference.digest if reference else None,
        places=_places(places, kind),
        unchanged=True,
    )


def _reference(text: str) -> ImageReference | None:
    """Parse the text; also one that Anchore cannot check, because policies may restrict its registry."""
    if is_image_id(text):
        return None
    try:
        return parse(text)
    except InvalidImageReference:
        return None


def _places(places: Sequence[ContainerImage], kind: GroupVersionKind) -> tuple[ReportedPlace, ...]:
    return tuple(ReportedPlace(_path(place, kind), place.name, place.field, place.index) for place in places)


def _path(place: ContainerImage, kind: GroupVersionKind) -> str:
    parts = workload.image_path(kind, place)
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")


def _state(judged: JudgedImage, facts: ImageFacts) -> AnalysisState | None:
    """Return the state; ``unknown`` only if Anchore said so, since without an answer the image may have any."""
    is_known = facts.record or (judged.reference and MODES[judged.rule.mode].needs.record and not facts.error)
    return facts.state if is_known else None


def _exemptions(verdict: ImageVerdict, waivers: Waivers) -> tuple[ReportedExemption, ...]:
    applied = {use.name for use in verdict.exemptions if use.kind is UseKind.EXEMPTION}
    holding = waivers.holding(verdict.judged, verdict.facts)
    reported = [ReportedExemption(each.name, each.is_limited, each.name in applied) for each in holding]
    return tuple(sorted(reported, key=lambda each: not each.applied)[:MOST_EXEMPTIONS])


def _decisive(judged: JudgedImage, facts: ImageFacts) -> PolicyEvaluation | None:
    if judged.reference is None or not facts.evaluations:
        return None
    return by_policy(judged.text, judged.reference, facts, judged.rule)[1]


def _evaluation(evaluation: PolicyEvaluation) -> ReportedEvaluation:
    return ReportedEvaluation(
        policy=shown(evaluation.policy, _TEXT_LIMIT),
        action=_action(evaluation),
        reason=evaluation.reason,
        mapped=evaluation.mapped,
        problems=tuple(shown(problem, _MESSAGE_LIMIT) for problem in evaluation.problems),
    )


def _total(evaluation: PolicyEvaluation) -> int | None:
    """Return the number of findings; None if a rule was not evaluated, since 0 would mean that nothing was found."""
    return None if evaluation.problems or not evaluation.mapped else evaluation.total


def _action(evaluation: PolicyEvaluation) -> PolicyAction:
    if not evaluation.passed or evaluation.reason is PolicyReason.DENYLISTED:
        return "stop"
    return "warn" if evaluation.warns else "go"


def _finding(finding: Finding) -> ReportedFinding:
    found = vulnerability_of(finding)
    action: FindingAction = finding.action
    return ReportedFinding(
        gate=shown(finding.gate, _TEXT_LIMIT),
        trigger=shown(finding.trigger, _TEXT_LIMIT),
        id=shown(found.identifier if found else finding.trigger_id, _TEXT_LIMIT),
        severity=severity(finding),
        package=shown(found.package, _TEXT_LIMIT) if found else "",
        fix=shown(found.fix, _TEXT_LIMIT) if found else "",
        action=action,
        message=shown(finding.message, _MESSAGE_LIMIT),
    )
