"""Ask the decision hook once for each review, with the facts about all images, and turn its answer into effects."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from msgspec import structs

from anchore_admission.core import hook_verdict
from anchore_admission.core.hook import HookDecision, HookVerdict
from anchore_admission.core.image_report import MOST_FINDINGS, report_of, unchanged_reports
from anchore_admission.core.images import JudgedImage
from anchore_admission.core.rules.book import Rule
from anchore_admission.core.verdict import ImageVerdict
from anchore_admission.core.waivers import NO_WAIVERS, Waivers
from anchore_admission.core.workload import PodView
from anchore_admission.errors import DeadlineExceeded, EvaluationError, HookError, HookNotAsked, HookUnavailable
from anchore_admission.models.configuration import WorkloadHandling
from anchore_admission.models.configuration.opa import OpaSection
from anchore_admission.models.hook_document import hook_document
from anchore_admission.models.image_report import ImageReport
from anchore_admission.models.review import AdmissionRequest
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.hook import DecisionHook
from anchore_admission.ports.namespaces import Labels
from anchore_admission.services.reviews.slots import Slots

logger = logging.getLogger("anchore_admission.hook")

Body = Callable[[], bytes | bytearray]
"""Returns the AdmissionReview as JSON. Called only where a hook is asked: a review by hand has to write it first."""
AT_ONCE: Final = 32
LARGE: Final = 256 * 1024
"""Bytes of a body above which a review takes one of few slots: its document is held while the hook decides."""
LARGE_AT_ONCE: Final = 8
_ALL_FINDINGS: Final = 1000
_FEWEST_FINDINGS: Final = 5


@dataclass(frozen=True, slots=True)
class Subject:
    """The review that a hook is asked about.

    ``view`` is None for a request that judges no image. ``line`` is the namespace, whose reviews may take half of the
    slots. ``labels`` are the namespace's, None where they are not known or not needed.
    """

    request: AdmissionRequest
    body: Body
    line: str
    handling: WorkloadHandling
    images: Sequence[ImageVerdict] = ()
    view: PodView | None = None
    waivers: Waivers = NO_WAIVERS
    labels: Labels | None = None


class Hooking:
    """The decision hook of the configuration, bounded in time and in what is under way at once.

    There is no circuit breaker: an author whose objects take long to decide could open it for everyone.
    """

    def __init__(self, hook: DecisionHook, section: OpaSection) -> None:
        self._hook = hook
        self._section = section
        self._slots = Slots(AT_ONCE)
        self._large_slots = Slots(LARGE_AT_ONCE)

    @property
    def asks_always(self) -> bool:
        """True if requests that judge no image are asked about, too."""
        return self._section.asks_always

    def before(self, deadline: Deadline, images: Sequence[JudgedImage]) -> Deadline:
        """Return the deadline of the lookups that leaves time for the hook, at least half of what is left."""
        if not any(hook_verdict.may_concern(image.rule) for image in images):
            return deadline
        return replace(deadline, at=deadline.at - min(self._section.timeout, deadline.left() / 2))

    async def verdict(self, subject: Subject, rules: Sequence[Rule], deadline: Deadline) -> HookVerdict | None:
        """Return what the hook's decision means; None if it is not asked.

        ``rules`` count where no image is judged.
        """
        concerned = hook_verdict.concerned(subject.images, subject.waivers)
        if not concerned and (subject.images or not self.asks_always):
            return None
        involved = [image.judged.rule for image in concerned] or [
            rule for rule in rules if hook_verdict.may_concern(rule)
        ]
        if not involved:
            return None
        began = deadline.clock()
        try:
            decision = await self._decision(subject, deadline)
            verdict = hook_verdict.decided(self._hook.name, decision, concerned, involved, subject.handling)
        except (HookError, DeadlineExceeded) as error:
            verdict = self._undecided(error, involved, subject)
        except Exception:
            logger.exception("asking policy %s failed unexpectedly", self._hook.name)
            verdict = self._undecided(HookUnavailable("the call failed unexpectedly"), involved, subject)
        return structs.replace(verdict, seconds=deadline.clock() - began)

    def _undecided(self, error: EvaluationError, rules: Sequence[Rule], subject: Subject) -> HookVerdict:
        return hook_verdict.undecided(self._hook.name, error, self._section.on_error, rules, subject.handling)

    async def _decision(self, subject: Subject, deadline: Deadline) -> HookDecision:
        """Ask the hook. Raises HookError, DeadlineExceeded."""
        timeout = self._section.timeout
        body = subject.body()
        slots = self._large_slots if len(body) > LARGE else self._slots
        # A crowd may wait for its turn with all the time that the hook itself does not need.
        async with slots.taken(subject.line, max(timeout, deadline.left() - timeout)):
            # Only now: the documents of reviews that wait for a slot would take memory.
            reports = _reports(subject)
            document = self._document(subject, body, reports)
            own = Deadline.after(min(timeout, deadline.left()), deadline.clock)
            async with own.bound():
                decision = await self._hook.decide(document, own)
        hook_verdict.expect_known(decision, [report.reference for report in reports])
        return decision

    def _document(self, subject: Subject, body: bytes | bytearray, reports: Sequence[ImageReport]) -> bytes:
        if not body:
            raise HookNotAsked("the request was not received as a whole")
        return hook_document(body, reports, subject.labels, self._section.omit)


def _reports(subject: Subject) -> list[ImageReport]:
    """Report on all images; of many, each has few findings."""
    if subject.view is None:
        return []
    most = max(_FEWEST_FINDINGS, min(MOST_FINDINGS, _ALL_FINDINGS // max(1, len(subject.images))))
    kind = subject.request.kind
    return [
        *(report_of(image, most, kind) for image in subject.images),
        *unchanged_reports(subject.request, subject.view),
    ]
