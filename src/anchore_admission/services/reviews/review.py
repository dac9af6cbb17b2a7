"""Review one request: find the images to judge, gather the facts about them, judge them, and record the verdict."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from msgspec import structs

from anchore_admission.core import hook_verdict, judgement, workload
from anchore_admission.core.explain import explanation_of
from anchore_admission.core.images import distinct_images, judged_images
from anchore_admission.core.pins import Pinner
from anchore_admission.core.rules.book import NarrowedBook
from anchore_admission.core.scope import OutOfScope, out_of_scope, template_handling
from anchore_admission.core.verdict import ImageVerdict, ReviewVerdict
from anchore_admission.core.waivers import Waivers
from anchore_admission.core.workload import PodView, is_pod
from anchore_admission.models.configuration import WorkloadHandling
from anchore_admission.models.review import AdmissionRequest
from anchore_admission.models.workload import Workload
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.telemetry import Origin, Recorder, ReviewRecord
from anchore_admission.services.reviews.gate import BY_HAND
from anchore_admission.services.reviews.hooking import Body, Hooking, Subject
from anchore_admission.services.reviews.judging import Explain, Judging, in_turns
from anchore_admission.services.reviews.rules import CurrentRules, Rules

logger = logging.getLogger("anchore_admission.review")


class Reviews:
    """The one path from a request to its verdict, for the API server's requests and for reviews by hand."""

    def __init__(
        self,
        rules: CurrentRules,
        judging: Judging,
        recorder: Recorder,
        *,
        explain: Explain | None = None,
        hooking: Hooking | None = None,
    ) -> None:
        self._rules = rules
        self._judging = judging
        self._recorder = recorder
        self._explain = explain
        self._hooking = hooking

    @property
    def needs_body(self) -> bool:
        """True if a decision hook may have to see the request as it came."""
        return self._hooking is not None

    def explaining(self, explain: Explain) -> "Reviews":
        """Return the same reviews, whose verdicts also explain the selection of each rule."""
        return Reviews(self._rules, self._judging, self._recorder, explain=explain, hooking=self._hooking)

    async def review(
        self, request: AdmissionRequest, deadline: Deadline, *, origin: Origin, body: Body = bytes
    ) -> ReviewVerdict:
        """Judge a request by the deadline, which began when the request line was read.

        ``body`` returns the whole review that the request comes from, as JSON; nothing if it was not received whole.
        """
        call = _Call(request, body, self._rules.current, deadline, origin)
        try:
            verdict = await self._verdict(call)
        except Exception:
            logger.exception("review %s failed unexpectedly", request.uid)
            verdict = judgement.failed(call.rules.book.using_anchore)
        try:
            # In a block of its own: a verdict must not be lost to a failing log or metric.
            self._recorder.review(_record(request, verdict, origin, deadline.passed()))
        except Exception:
            logger.exception("recording review %s failed unexpectedly", request.uid)
        return verdict

    async def _verdict(self, call: "_Call") -> ReviewVerdict:
        request, rules = call.request, call.rules
        if reason := out_of_scope(request, rules.workloads):
            return await self._without_images(call, judgement.not_in_scope(reason))
        if not workload.is_known(request.kind):
            return await self._without_images(call, judgement.unknown_kind(request, rules.unknown_kinds))
        if not isinstance(request.object, Workload):
            return judgement.unreadable(request.object.reason if request.object else "it is missing")
        view = workload.pod_view(request.kind, request.object)
        judged = await self._judged(call, view) if view else judgement.nothing_to_judge()
        return judged if judged.images or not judged.allowed else await self._without_images(call, judged)

    async def _judged(self, call: "_Call", view: PodView) -> ReviewVerdict:
        request, rules, deadline, origin = call.request, call.rules, call.deadline, call.origin
        handling = template_handling(request, rules.workloads)
        places = distinct_images(request, view)
        circumstances = await self._judging.circumstances(request, view, rules, deadline, origin)
        book = rules.book.narrowed(circumstances)
        # Before any image is parsed or matched, because the author chooses how many there are.
        if len(places) > rules.max_images:
            return judgement.too_many_images(len(places), rules.max_images, book.possible(), handling)
        images = await in_turns(judged_images(book, places))
        verdicts, waivers = await self._judging.verdicts(
            request,
            images,
            exemptions=rules.exemptions,
            circumstances=circumstances,
            handling=handling,
            deadline=self._hooking.before(deadline, images) if self._hooking else deadline,
            origin=origin,
        )
        # A review by hand is not about the final object, and the mutating webhook would still change it.
        if rules.requires_pins and origin is Origin.ADMISSION and is_pod(request.kind):
            pinner = Pinner(book, waivers, deadline.clock(), rules.fresh)
            verdicts = await in_turns(pinner.enforced(verdict) for verdict in verdicts)
        if self._explain:
            verdicts = await in_turns(_explained(verdicts, book, waivers, self._explain, rules.hook))
        hook = None
        if self._hooking and verdicts:
            labels = circumstances.namespace_labels
            subject = Subject(request, call.body, call.line, handling, verdicts, view, waivers, labels)
            hook = await self._hooking.verdict(subject, (), deadline)
        notice = rules.notice if origin is Origin.ADMISSION else ""
        judged = judgement.reduce(verdicts, request, rules.max_findings, notice, hook)
        is_unasked = self._hooking and hook is None
        return judgement.unasked(judged, hook_verdict.lifted_by(verdicts, waivers)) if is_unasked else judged

    async def _without_images(self, call: "_Call", verdict: ReviewVerdict) -> ReviewVerdict:
        """Ask the hook about a request that judges no image, if it is to be asked about these, too."""
        # The kubelet runs a mirror Pod already: a denial would only hide it from the API server.
        if not self._hooking or not self._hooking.asks_always or verdict.out_of_scope is OutOfScope.MIRROR_POD:
            return verdict
        request, handling = call.request, WorkloadHandling.DENY
        if workload.is_known(request.kind):
            handling = template_handling(request, call.rules.workloads)
        subject = Subject(request, call.body, call.line, handling)
        hook = await self._hooking.verdict(subject, call.rules.book.using_anchore, call.deadline)
        return judgement.tightened(verdict, hook) if hook else verdict


@dataclass(frozen=True, slots=True)
class _Call:
    """A request with what counts for all of its review."""

    request: AdmissionRequest
    body: Body
    rules: Rules
    deadline: Deadline
    origin: Origin

    @property
    def line(self) -> str:
        """The line in which the review waits: that of its namespace, or the one of reviews by hand."""
        return self.request.namespace if self.request.namespace and self.origin is Origin.ADMISSION else BY_HAND


def _explained(
    verdicts: Iterable[ImageVerdict], book: NarrowedBook, waivers: Waivers, explain: Explain, hook: str
) -> Iterator[ImageVerdict]:
    pinner = Pinner(book, waivers)
    for image in verdicts:
        pin = pinner.digest(image)
        exemptions = waivers.holding(image.judged, image.facts)
        explanation = explanation_of(image.judged, book, exemptions, explain.most)
        digest, reason = (pin, "") if isinstance(pin, str) else ("", pin.reason)
        explanation = structs.replace(
            explanation,
            pin_digest=digest,
            not_pinned=reason,
            pin_conflict=pinner.conflict(image),
            hook=hook if hook_verdict.concerned([image], waivers) else "",
        )
        yield structs.replace(image, explanation=explanation)


def _record(request: AdmissionRequest, verdict: ReviewVerdict, origin: Origin, seconds: float) -> ReviewRecord:
    return ReviewRecord(
        origin=origin,
        uid=request.uid,
        operation=request.operation,
        kind=request.kind.kind,
        namespace=request.namespace or "",
        name=object_name(request),
        user=user_name(request),
        dry_run=bool(request.dryRun),
        verdict=verdict,
        seconds=seconds,
    )


def object_name(request: AdmissionRequest) -> str:
    """Return the name of a request's object, or its ``generateName`` with a star."""
    metadata = request.object.metadata if request.object else None
    name = request.name or (metadata.name if metadata else None)
    if not name and metadata and metadata.generateName:
        name = f"{metadata.generateName}*"
    return name or ""


def user_name(request: AdmissionRequest) -> str:
    """Return the name of the requesting user; empty if there is none."""
    return (request.userInfo.username if request.userInfo else None) or ""
