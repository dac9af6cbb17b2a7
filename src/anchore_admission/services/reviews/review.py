"""Review one request: find the images to judge, gather the facts about them, judge them, and record the verdict."""

import logging
from collections.abc import Iterable, Iterator

from msgspec import structs

from anchore_admission.core import judgement, workload
from anchore_admission.core.explain import explanation_of
from anchore_admission.core.images import distinct_images, judged_images
from anchore_admission.core.pins import Pinner
from anchore_admission.core.rules.book import NarrowedBook
from anchore_admission.core.scope import out_of_scope, template_handling
from anchore_admission.core.verdict import ImageVerdict, ReviewVerdict
from anchore_admission.core.waivers import Waivers
from anchore_admission.core.workload import PodView, is_pod
from anchore_admission.models.review import AdmissionRequest
from anchore_admission.models.workload import Workload
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.telemetry import Origin, Recorder, ReviewRecord
from anchore_admission.services.reviews.judging import Explain, Judging, in_turns
from anchore_admission.services.reviews.rules import CurrentRules, Rules

logger = logging.getLogger("anchore_admission.review")


class Reviews:
    """The one path from a request to its verdict, for the API server's requests and for reviews by hand."""

    def __init__(
        self, rules: CurrentRules, judging: Judging, recorder: Recorder, *, explain: Explain | None = None
    ) -> None:
        self._rules = rules
        self._judging = judging
        self._recorder = recorder
        self._explain = explain

    def explaining(self, explain: Explain) -> "Reviews":
        """Return the same reviews, whose verdicts also explain the selection of each rule."""
        return Reviews(self._rules, self._judging, self._recorder, explain=explain)

    async def review(self, request: AdmissionRequest, deadline: Deadline, *, origin: Origin) -> ReviewVerdict:
        """Judge a request by the deadline, which began when the request line was read."""
        rules = self._rules.current
        try:
            verdict = await self._verdict(request, rules, deadline, origin)
        except Exception:
            logger.exception("review %s failed unexpectedly", request.uid)
            verdict = judgement.failed(rules.book.using_anchore)
        try:
            # In a block of its own: a verdict must not be lost to a failing log or metric.
            self._recorder.review(_record(request, verdict, origin, deadline.passed()))
        except Exception:
            logger.exception("recording review %s failed unexpectedly", request.uid)
        return verdict

    async def _verdict(
        self, request: AdmissionRequest, rules: Rules, deadline: Deadline, origin: Origin
    ) -> ReviewVerdict:
        reason = out_of_scope(request, rules.workloads)
        if reason:
            return judgement.not_in_scope(reason)
        if not workload.is_known(request.kind):
            return judgement.unknown_kind(request, rules.unknown_kinds)
        if not isinstance(request.object, Workload):
            return judgement.unreadable(request.object.reason if request.object else "it is missing")
        view = workload.pod_view(request.kind, request.object)
        return await self._judged(request, view, rules, deadline, origin) if view else judgement.nothing_to_judge()

    async def _judged(
        self, request: AdmissionRequest, view: PodView, rules: Rules, deadline: Deadline, origin: Origin
    ) -> ReviewVerdict:
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
            deadline=deadline,
            origin=origin,
        )
        # A review by hand is not about the final object, and the mutating webhook would still change it.
        if rules.requires_pins and origin is Origin.ADMISSION and is_pod(request.kind):
            pinner = Pinner(book, waivers, deadline.clock(), rules.fresh)
            verdicts = await in_turns(pinner.enforced(verdict) for verdict in verdicts)
        if self._explain:
            verdicts = await in_turns(_explained(verdicts, book, waivers, self._explain))
        notice = rules.notice if origin is Origin.ADMISSION else ""
        return judgement.reduce(verdicts, request, rules.max_findings, notice)


def _explained(
    verdicts: Iterable[ImageVerdict], book: NarrowedBook, waivers: Waivers, explain: Explain
) -> Iterator[ImageVerdict]:
    pinner = Pinner(book, waivers)
    for image in verdicts:
        pin = pinner.digest(image)
        exemptions = waivers.holding(image.judged, image.facts)
        explanation = explanation_of(image.judged, book, exemptions, explain.most)
        digest, reason = (pin, "") if isinstance(pin, str) else ("", pin.reason)
        explanation = structs.replace(
            explanation, pin_digest=digest, not_pinned=reason, pin_conflict=pinner.conflict(image)
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
