"""The sentences of verdicts that people read, and the limits on messages, warnings and findings.

The modes decide; this module writes the text. It keeps the sentences of the original controller where there is one.
"""

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from anchore_admission.core.decision import Effect, Reason
from anchore_admission.core.exemption_messages import exempted
from anchore_admission.core.facts import (
    AnalysisState,
    Finding,
    ImageFacts,
    PolicyEvaluation,
    Submission,
    SubmissionState,
)
from anchore_admission.core.findings import severity, vulnerability_of, worst_first
from anchore_admission.core.images import JudgedImage
from anchore_admission.core.rules.exemptions import Use
from anchore_admission.core.scope import OutOfScope
from anchore_admission.core.verdict import ImageVerdict
from anchore_admission.errors import AnchoreResponseTooLarge, ImageNotReached
from anchore_admission.text import shortened, shown

MESSAGE_LIMIT = 800
"""Characters. Controllers copy a denial into Events, which cut it near 1 kB."""
WARNING_LIMIT = 250
"""Characters. The API server cuts every warning to 256 if all of them together have more than 4096."""
WARNINGS = 10
"""Warnings of one review, including the notice and the line that counts the omitted ones."""
_REST = 100
"""Characters of a denial that are kept free of its first line."""
_FINDING_LIMIT = 160

_RETRY = "try again in a few minutes"
_NO_SIDE_EFFECTS = "a dry run or a review by hand submits nothing"

NOT_EVALUATED = "its policy was not evaluated"
REVIEW_FAILED = "the review failed unexpectedly, see the controller's log"
OUT_OF_TIME = "not reviewed: this call ran out of time; send fewer objects at once"
NOT_AN_OBJECT = "not a Kubernetes object: it has no apiVersion and kind"
EMPTY_LIST = "holds nothing to review: the List is empty"
KUSTOMIZATION = "not checked: kubectl does not create it; review the output of kubectl kustomize"


# Verdicts on an image


def skipped(image: str, rule: str) -> str:
    return f"Image {shown(image)} is not checked: rule {rule} skips it"


def requested(image: str, submission: Submission) -> str:
    """Report the state of the request for analysis, in passive mode."""
    subject = f"Image analysis for image {shown(image)}"
    match submission.state:
        case SubmissionState.ANSWERED:
            return f"{subject} requested and found mapped to digest {submission.digest}"
        case SubmissionState.REFUSED:
            return f"{subject} failed to be requested: {shown(submission.reason)}"
        case SubmissionState.DROPPED:
            return f"{subject} not requested: too many images are waiting to be submitted"
        case SubmissionState.DRY_RUN:
            return f"{subject} not requested: {_NO_SIDE_EFFECTS}"
        case SubmissionState.REQUESTED:
            return f"{subject} is being requested: Anchore has not responded yet"
        case SubmissionState.NONE:
            return f"{subject} not requested: requestAnalysis is false"


def analyzed(image: str, facts: ImageFacts) -> str:
    return f"{_with_digest(image, facts)} is analyzed"


def not_analyzed(image: str, facts: ImageFacts, *, for_policy: bool) -> str:
    """Report the image's analysis state and the next step; ``for_policy`` is True in strict mode."""
    text = f"{_with_digest(image, facts)} is not analyzed"
    match facts.state:
        case AnalysisState.NOT_ANALYZED:
            return f"{text}: its analysis was requested and is queued, try again later"
        case AnalysisState.ANALYZING:
            return f"{text}: its analysis is under way, {_RETRY}"
        case AnalysisState.FAILED:
            return f"{text}: Anchore failed to analyze it. {next_step(facts.submission)}"
        case _:
            policy = ". Cannot evaluate policy" if for_policy else ""
            return f"Image {shown(image)} is not analyzed{policy}. {next_step(facts.submission)}"


def next_step(submission: Submission) -> str:
    """Report the state of the request for analysis, as advice to the author of a denied object."""
    match submission.state:
        case SubmissionState.REFUSED:
            return shown(submission.reason)
        case SubmissionState.REQUESTED | SubmissionState.ANSWERED:
            return f"Analysis was requested: {_RETRY}"
        case SubmissionState.DRY_RUN:
            return f"Analysis was not requested: {_NO_SIDE_EFFECTS}"
        case SubmissionState.DROPPED:
            return f"Too many images are waiting to be submitted: {_RETRY}"
        case SubmissionState.NONE:
            return "It has to be added to Anchore first"


def passed_policy(image: str, facts: ImageFacts, evaluation: PolicyEvaluation) -> str:
    return f"{_with_digest(image, facts)} passed policy checks for policy bundle {shown(evaluation.policy)}"


def failed_policy(image: str, facts: ImageFacts, evaluation: PolicyEvaluation) -> str:
    text = f"{_with_digest(image, facts)} failed policy checks for policy bundle {shown(evaluation.policy)}"
    return text if evaluation.findings else f"{text}; Anchore reports no finding"


def denylisted(image: str, facts: ImageFacts, evaluation: PolicyEvaluation) -> str:
    text = f"{_with_digest(image, facts)} failed policy checks for policy bundle {shown(evaluation.policy)}"
    entry = f' "{shown(evaluation.list_rule)}"' if evaluation.list_rule else ""
    return f"{text}: the policy's deny list entry{entry} names it"


def not_covered(image: str, facts: ImageFacts, evaluation: PolicyEvaluation, others: Sequence[str]) -> str:
    """Deny an image that no mapping covers; ``others`` are tags of its digest in other repositories."""
    policy = shown(evaluation.policy)
    text = f"{_with_digest(image, facts)} is not covered by policy bundle {policy}: none of its mappings matches"
    return text + _copied_from(others)


def not_checked_by_policy(image: str, evaluation: PolicyEvaluation, others: Sequence[str]) -> str:
    """Warn of an image that no mapping covers, as ``not_covered`` does for a denial."""
    policy = shown(evaluation.policy)
    text = f"Image {shown(image)} was not checked by policy bundle {policy}: none of its mappings matches"
    return text + _copied_from(others)


def _copied_from(others: Sequence[str]) -> str:
    if not others:
        return ""
    return f". Anchore also knows this digest as {shown(others[-1])}, but mappings for that name do not apply"


def no_verdict(image: str, problem: str) -> str:
    return f"Image {shown(image)} could not be checked: {shown(problem)}"


def policy_problem(problem: str) -> str:
    return f"the policy has a problem: {problem}"


def not_reached(image: str, error: ImageNotReached) -> str:
    return f"Image {shown(image)} was not reached in time: {error}"


def too_large(image: str, facts: ImageFacts, error: AnchoreResponseTooLarge) -> str:
    return f"{_with_digest(image, facts)} cannot be judged: {error}; limits.anchoreResponse sets the limit"


def uncheckable(image: JudgedImage, reason: Reason, problem: str) -> str:
    """Explain why Anchore cannot check an image, and name the container or volume that uses it, if there is one."""
    place, text = shown(image.places[0].place) if image.places else "", shown(image.text)
    if reason is Reason.NO_IMAGE:
        return f"{place or 'an empty text'} names no image"
    where = f"{place}: " if place else ""
    match reason:
        case Reason.IMAGE_ID:
            return f"{where}image {text} is an image ID, which Anchore cannot check; name a repository"
        case Reason.MALFORMED_REFERENCE:
            return f"{where}image {text} {problem}"
        case _:
            return f"{where}image {text} cannot be checked: {problem}"


def _with_digest(image: str, facts: ImageFacts) -> str:
    digest = facts.digest
    return f"Image {shown(image)} with digest {digest}" if digest else f"Image {shown(image)}"


# Verdicts on an object as a whole


def too_many_images(count: int, limit: int) -> str:
    return f"the object names {count} different images, more than the {limit} that limits.images allows"


def unreadable_object(problem: str) -> str:
    return f"the object cannot be read: {shown(problem)}"


def unknown_kind(group: str, kind: str) -> str:
    name = f"{group}/{kind}" if group else kind
    return f"images in objects of kind {shown(name)} cannot be checked: the kind is not known"


_OUT_OF_SCOPE = {
    OutOfScope.OPERATION: "the operation starts no container",
    OutOfScope.SUBRESOURCE: "the subresource carries no image",
    OutOfScope.BEING_DELETED: "it is being deleted",
    OutOfScope.MIRROR_POD: "a mirror Pod: the kubelet already runs it",
    OutOfScope.OWNED: "a controller made it; its Pods are judged",
    OutOfScope.WORKLOADS_OFF: "workloads: off, only Pods are judged",
}


def out_of_scope(reason: OutOfScope) -> str:
    """Explain why an object is not judged."""
    return _OUT_OF_SCOPE[reason]


# Reviews by hand


def too_many_images_at_once(count: int) -> str:
    return f"not reviewed: the objects before it name {count} images; send fewer at once"


def run_out_of_time(seconds: float) -> str:
    return f"not reviewed: the run reached its time limit of {seconds:g} seconds (--total-timeout)"


def too_many_objects(most: int) -> str:
    return f"more than {most} objects, including those in Lists; send fewer at once"


def unchecked_kind(kind: str, version: str, meant: str) -> str:
    """Explain that an object's images could not be found; ``meant`` is a kind with a similar name, if there is one."""
    text = f"not checked: kind {shown(kind)} of {shown(version)} is not known"
    return f"{text}; did you mean {meant}?" if meant else f"{text}, so its images cannot be found"


# Findings, denials, warnings


def finding_line(finding: Finding) -> str:
    """Write one finding with its fix: ``HIGH CVE-2021-3711 in openssl, fixed in 1.1.1k-r0``."""
    if found := vulnerability_of(finding):
        end = f"fixed in {found.fix}" if found.fix else "no fix yet"
        text = f"{severity(finding)} {found.identifier} in {found.package}, {end}".strip()
    else:
        text = f"{finding.gate}/{finding.trigger}: {finding.message}"
        if finding.recommendation:
            text += f" ({finding.recommendation})"
    return shown(text, _FINDING_LIMIT)


def denial(denied: Sequence[ImageVerdict], max_findings: int, limit: int = MESSAGE_LIMIT) -> str:
    """Write one line per denied image, each followed by its worst findings, as many as fit into ``limit``."""
    heads = [shown(verdict.verdict.message, limit - _REST) for verdict in denied]
    totals = [len(verdict.verdict.findings) for verdict in denied]
    ends = [len(_rest(total, 1)) + 1 if total else 0 for total in totals]
    sizes = [len(head) + 1 + end for head, end in zip(heads, ends, strict=True)]
    room = limit - len(f"and {len(heads)} more images")
    kept = fitting(sizes, room)
    findings = [worst_first(verdict.verdict.findings, max_findings) for verdict in denied[:kept]]
    counts = _share(findings, room - sum(sizes[:kept]))
    lines: list[str] = []
    for head, found, count, total in zip(heads, findings, counts, totals, strict=False):
        lines.append(head)
        lines.extend(f"  {finding_line(finding)}" for finding in found[:count])
        if total > count:
            lines.append(_rest(total - count, count))
    if len(heads) > kept:
        lines.append(f"and {len(heads) - kept} more images")
    return "\n".join(lines)


def _rest(number: int, shown_before: int) -> str:
    """Count the findings that are not shown; "and … more" only follows findings that are shown."""
    if shown_before:
        return f"  and {number} more"
    return f"  {number} findings" if number > 1 else "  1 finding"


def judged_while_stale(image: ImageVerdict) -> str:
    age = round(image.facts.age)
    return f"Image {shown(image.judged.text)} is judged by Anchore's answer of {age} s ago: Anchore cannot be asked now"


def warnings(images: Sequence[ImageVerdict]) -> list[str]:
    """Return the warnings of a review.

    First one line per exemption in use, then one per other image that is admitted with a warning, then one per image
    that is judged by an outdated answer.
    """
    stale = [judged_while_stale(image) for image in images if image.facts.is_stale]
    warned = [image for image in images if image.effect is Effect.WARN]
    if not warned:
        return stale
    lines = [image.verdict.warning or image.verdict.message for image in warned if not image.exemptions]
    return [*_uses(warned), *lines, *stale]


def _uses(images: Sequence[ImageVerdict]) -> list[str]:
    by_use: dict[Use, list[str]] = {}
    for image in images:
        for use in image.exemptions:
            by_use.setdefault(use, []).append(image.judged.text)
    return [exempted(use, found, WARNING_LIMIT) for use, found in by_use.items()]


def capped(warnings: Iterable[str], notice: str = "") -> tuple[str, ...]:
    """Remove duplicates and cut the warnings of a review to the limits, with ``notice`` last.

    ``shown`` replaces control characters: the API server drops a warning that contains one.
    """
    distinct = list(dict.fromkeys(warnings))
    if not distinct and not notice:
        return ()
    most = WARNINGS - bool(notice)
    kept = distinct if len(distinct) <= most else distinct[: most - 1]
    rest = [f"and {len(distinct) - len(kept)} more warnings"] if len(distinct) > len(kept) else []
    return tuple(shown(text, WARNING_LIMIT) for text in [*kept, *rest, *([notice] if notice else [])])


def joined(lines: Iterable[str]) -> str:
    """Join the lines of a message that is not a denial, cut at the limit."""
    return shortened("\n".join(lines), MESSAGE_LIMIT)


def fitting(sizes: Sequence[int], limit: int) -> int:
    """Return how many entries of these sizes fit into the limit, at least one."""
    used = 0
    for count, size in enumerate(sizes):
        used += size
        if used > limit and count:
            return count
    return len(sizes)


def _share(findings: Sequence[Sequence[Finding]], budget: int) -> list[int]:
    """Return how many findings each image may show: every image's worst first, then every image's second, and so on."""
    counts = [0] * len(findings)
    for row in zip_longest(*findings):
        for index, finding in enumerate(row):
            if finding is None:
                continue
            budget -= len(finding_line(finding)) + 3
            if budget < 0:
                return counts
            counts[index] += 1
    return counts
