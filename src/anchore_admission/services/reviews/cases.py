"""Run a case: explain its images, and compare the rules that apply with those that are expected."""

from collections.abc import Container, Iterator

from anchore_admission.core.explain import Explanation
from anchore_admission.core.messages import out_of_scope
from anchore_admission.documents.objects import Requester
from anchore_admission.models.cases import Case, Expectation
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.namespaces import Labels
from anchore_admission.services.cluster.known_namespaces import NAME_LABEL
from anchore_admission.services.reviews.manual import ManualReviews
from anchore_admission.text import shown

_SECONDS = 30.0
_COMPARED = (
    ("mode", "mode"),
    ("account", "account"),
    ("policy", "policy"),
    ("enforcement", "enforcement"),
    ("on_error", "onError"),
    ("pin", "pin"),
)
_TEXT_LIMIT = 500


class CaseLabels:
    """The ``NamespaceLabels`` of one case: the same for any namespace. None: they are not known."""

    def __init__(self, labels: Labels | None) -> None:
        self._labels = labels

    async def labels_of(self, namespace: str, _deadline: Deadline, *, may_ask: bool) -> Labels | None:  # noqa: ARG002 - the port's
        return None if self._labels is None else {**self._labels, NAME_LABEL: namespace}


async def differences(case: Case, manual: ManualReviews, rules: Container[str]) -> list[str]:
    """Return what differs from the expectation; empty if the case passes. ``rules`` are the names of all rules."""
    requester = Requester(case.namespace, case.user, tuple(case.groups))
    if case.manifest is not None:
        review = await manual.object(case.manifest, requester, _SECONDS)
    else:
        review = (await manual.images([case.image or ""], requester, _SECONDS)).reviews[0]
    images = review.verdict.images if review.verdict else ()
    if problem := review.problem or review.unchecked:
        return [shown(problem, _TEXT_LIMIT)]
    if review.verdict and review.verdict.out_of_scope:
        return [out_of_scope(review.verdict.out_of_scope)]
    judged = [image for image in images if case.image is None or image.judged.text == case.image]
    if not judged:
        return ["the object does not name the image" if images else "the object holds no images"]
    return [
        f"{shown(image.judged.text)}: {text}" if len(judged) > 1 else text
        for image in judged
        if image.explanation
        for text in _differences(case.expect, image.explanation, rules)
    ]


def _differences(expect: Expectation, found: Explanation, rules: Container[str]) -> Iterator[str]:
    """Compare the keys that are given. An unexpected problem is a difference, too: the rule is not certain."""
    given = expect.model_fields_set
    if found.problem and not expect.problem:
        yield f"problem: {shown(found.problem, _TEXT_LIMIT)}"
    if expect.problem and not found.problem:
        yield "expected a problem, but there is none"
    if expect.rule and expect.rule != found.rule.name:
        why = _why_not(expect.rule, found, rules)
        yield f"rule: expected {expect.rule}, got {found.rule.name}{f' ({why})' if why else ''}"
    for field, key in _COMPARED:
        expected, actual = getattr(expect, field), getattr(found.rule, field)
        if field in given and expected != actual:
            yield f"{key}: expected {_written(key, expected)}, got {_written(key, actual)}"
    names = [exemption.name for exemption in found.exemptions]
    if "exemption" in given and (expect.exemption not in names if expect.exemption else names):
        yield f"exemption: expected {expect.exemption or 'none'}, got {', '.join(names) or 'none'}"


def _why_not(rule: str, found: Explanation, rules: Container[str]) -> str:
    if rule not in rules:
        return f"no rule has the name {rule}"
    keys = next((passed.keys for passed in found.passed_over if passed.rule == rule), ())
    return f"{rule} was passed over: {', '.join(map(shown, keys))}" if keys else ""


def _written(key: str, value: str | None) -> str:
    if value is None:
        return "the active policy" if key == "policy" else "none"
    return shown(value)
