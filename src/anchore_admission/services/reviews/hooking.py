"""Ask the decision hook once for each review, with the facts about all images, and turn its answer into effects."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from msgspec import structs

from anchore_admission.core import hook_verdict, workload
from anchore_admission.core.hook import HookDecision, HookVerdict
from anchore_admission.core.image_report import MOST_FINDINGS, report_of, unchanged_reports
from anchore_admission.core.images import JudgedImage
from anchore_admission.core.rules.book import Rule
from anchore_admission.core.verdict import ImageVerdict
from anchore_admission.core.waivers import NO_WAIVERS, Waivers
from anchore_admission.core.workload import PodView
from anchore_admission.errors import (
    DeadlineExceeded,
    EvaluationError,
    HookError,
    HookFailed,
    HookNotAsked,
    HookUnavailable,
)
from anchore_admission.models.configuration import WorkloadHandling
from anchore_admission.models.configuration.opa import OpaSection
from anchore_admission.models.hook_document import hook_document
from anchore_admission.models.image_report import ImageReport
from anchore_admission.models.review import AdmissionRequest
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.hook import DecisionHook
from anchore_admission.ports.namespaces import Labels
from anchore_admission.services.reviews.slots import CROWDED, Slots

logger = logging.getLogger("anchore_admission.hook")

Body = Callable[[], bytes | bytearray]
"""Returns the AdmissionReview as JSON. Called only where a hook is asked: a review by hand has to write it first."""
AT_ONCE: Final = 32
LARGE: Final = 256 * 1024
"""Bytes of a document above which a review takes one of few slots: it is held while the hook decides."""
LARGE_AT_ONCE: Final = 8
TRIAL_SECONDS: Final = 0.25
"""Seconds that a review leaves for the question whether the hook decides about another object."""
_TRIAL: Final = json.dumps(
    {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "trial-of-the-policy",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "CREATE",
            "name": "trial",
            "namespace": "trial",
            "userInfo": {"username": "anchore-admission"},
            "dryRun": True,
            "object": {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "trial", "namespace": "trial"},
                "spec": {"containers": [{"name": "trial", "image": "trial.invalid/trial"}]},
            },
        },
    }
).encode()
"""An ordinary review, of which only is of interest that there is a decision on it."""
_ALL_FINDINGS: Final = 1000
_FEWEST_FINDINGS: Final = 5
_FINDING_BYTES: Final = 512


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
        # The author of an object chooses its size, and must not pass by way of ``onError`` because of it.
        self._large_slots = Slots(LARGE_AT_ONCE, full=HookNotAsked)

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
        timeout, left = self._section.timeout, deadline.left()
        body = subject.body()
        slots = self._large_slots if len(body) + _findings_size(subject) > LARGE else self._slots
        # A crowd may wait for its turn with all the time that the hook itself does not need.
        async with slots.taken(subject.line, max(left / 2, left - timeout)) as has_waited:
            left = deadline.left()
            seconds = min(timeout, max(left / 2, left - TRIAL_SECONDS))
            own = Deadline.after(seconds, deadline.clock)
            try:
                async with own.bound():
                    # Written only now, and not held here: many documents would take much memory.
                    decision = await self._hook.decide(self._document(subject, body), own)
            except (DeadlineExceeded, HookUnavailable) as error:
                if not isinstance(error, DeadlineExceeded) and own.left() > 0:
                    raise
                if len(body) > LARGE:
                    raise HookFailed("no response in time about an object of this size") from error
                if has_waited and seconds < timeout:
                    raise HookNotAsked(CROWDED) from error
                if await self._decides_another(deadline):
                    raise HookFailed(
                        f"no response within {seconds:.2g} s about this object, but about others"
                    ) from error
                if seconds < timeout:
                    raise
                raise DeadlineExceeded(f"no response within {timeout:g} s (opa.timeout)") from error
        places = workload.images(subject.view.spec) if subject.view else ()
        hook_verdict.expect_known(decision, [place.image for place in places])
        return decision

    async def _decides_another(self, deadline: Deadline) -> bool:
        """Return True if there is a decision on an ordinary object, so that this one takes the time.

        Its author may have arranged that, and must not pass by way of ``onError`` because of it.
        """
        trial = Deadline.after(min(TRIAL_SECONDS, deadline.left()), deadline.clock)
        try:
            async with trial.bound():
                await self._hook.decide(hook_document(_TRIAL, ()), trial)
        except (DeadlineExceeded, HookUnavailable):
            return False
        except HookError:
            return True
        return True

    def _document(self, subject: Subject, body: bytes | bytearray) -> bytes:
        """Write the document. Raises HookNotAsked."""
        if not body:
            raise HookNotAsked("the request was not received as a whole")
        try:
            return hook_document(body, _reports(subject), subject.labels, self._section.omit)
        except HookNotAsked:
            raise
        except Exception as error:
            # Not up to ``onError``: what cannot be written is the object.
            logger.exception("writing the document for policy %s failed unexpectedly", self._hook.name)
            raise HookNotAsked("the request cannot be written for it") from error


def _most_findings(subject: Subject) -> int:
    """Return the number of findings to report of each image; of many, each has few."""
    return max(_FEWEST_FINDINGS, min(MOST_FINDINGS, _ALL_FINDINGS // max(1, len(subject.images))))


def _findings_size(subject: Subject) -> int:
    """Estimate the bytes of the findings in the document."""
    most = _most_findings(subject)
    counts = (
        max((len(each.findings) + len(each.warnings) for each in image.facts.evaluations), default=0)
        for image in subject.images
    )
    return _FINDING_BYTES * sum(min(most, count) for count in counts)


def _reports(subject: Subject) -> list[ImageReport]:
    """Report on all images."""
    if subject.view is None:
        return []
    most = _most_findings(subject)
    kind = subject.request.kind
    return [
        *(report_of(image, most, kind, subject.waivers) for image in subject.images),
        *unchanged_reports(subject.request, subject.view),
    ]
