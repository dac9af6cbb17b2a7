"""Reviews one request: what must be judged, the facts about it, the verdict, the record of it."""

import logging
import time
from dataclasses import dataclass

from anchore_admission.core import judgement, workload
from anchore_admission.core.images import JudgedImage, circumstances_of, distinct_images, judged_images
from anchore_admission.core.reference import ImageReference
from anchore_admission.core.rules.book import RuleBook
from anchore_admission.core.scope import out_of_scope, template_handling
from anchore_admission.core.verdict import ReviewVerdict
from anchore_admission.core.workload import PodView
from anchore_admission.models.configuration import UnknownKinds, WorkloadHandling
from anchore_admission.models.review import AdmissionRequest
from anchore_admission.models.workload import Workload
from anchore_admission.ports.deadline import Clock, Deadline
from anchore_admission.ports.telemetry import Origin, Recorder, ReviewRecord
from anchore_admission.services.reviews.facts import FactGathering, Question

logger = logging.getLogger("anchore_admission.review")


@dataclass(frozen=True, slots=True)
class Rules:
    """What a review decides by; frozen, swapped whole."""

    book: RuleBook
    workloads: WorkloadHandling = WorkloadHandling.FINAL
    unknown_kinds: UnknownKinds = UnknownKinds.WARN
    max_findings: int = 5
    max_images: int = 200


class Reviews:
    """The one path from a request to its verdict, whoever asks."""

    def __init__(
        self, rules: Rules, evaluation: FactGathering, recorder: Recorder, *, clock: Clock = time.monotonic
    ) -> None:
        self._rules = rules
        self._evaluation = evaluation
        self._recorder = recorder
        self._clock = clock

    async def review(
        self, request: AdmissionRequest, deadline: Deadline, *, origin: Origin, began: float
    ) -> ReviewVerdict:
        """Judge a request; always answers by the deadline. ``began`` is when its request line was read."""
        try:
            verdict = await self._verdict(request, deadline, origin)
        except Exception:
            logger.exception("review %s failed unexpectedly", request.uid)
            verdict = judgement.failed(self._rules.book.asking)
        try:
            self._recorder.review(_record(request, verdict, origin, self._clock() - began))
        except Exception:
            logger.exception("recording review %s failed unexpectedly", request.uid)
        return verdict

    async def _verdict(self, request: AdmissionRequest, deadline: Deadline, origin: Origin) -> ReviewVerdict:
        reason = out_of_scope(request, self._rules.workloads)
        if reason:
            return judgement.exempt(reason)
        if not workload.is_known(request.kind):
            return judgement.unknown_kind(request, self._rules.unknown_kinds)
        if not isinstance(request.object, Workload):
            return judgement.unreadable(request.object.reason if request.object else "it is missing")
        view = workload.pod_view(request.kind, request.object)
        return await self._judged(request, view, deadline, origin) if view else judgement.nothing_to_judge()

    async def _judged(
        self, request: AdmissionRequest, view: PodView, deadline: Deadline, origin: Origin
    ) -> ReviewVerdict:
        rules = self._rules
        handling = template_handling(request, rules.workloads)
        places = distinct_images(request, view)
        if len(places) > rules.max_images:
            possible = rules.book.possible(circumstances_of(request, view))
            return judgement.too_many_images(len(places), rules.max_images, possible, handling)
        found = [
            (subject, None if handling in subject.verdicts else _question(subject))
            for subject in judged_images(request, view, rules.book, places)
        ]
        questions = {q: s.meaning for s, q in found if q and isinstance(s.meaning, ImageReference)}
        side_effects = origin is Origin.ADMISSION and not request.dryRun
        facts = await self._evaluation.facts(questions, deadline, side_effects=side_effects) if questions else {}
        images = [judgement.judge(s, facts[q], handling) if q else judgement.settled(s, handling) for s, q in found]
        return judgement.reduce(images, request, rules.max_findings)


def _question(subject: JudgedImage) -> Question | None:
    return Question.about(subject.meaning, subject.rule) if isinstance(subject.meaning, ImageReference) else None


def _record(request: AdmissionRequest, verdict: ReviewVerdict, origin: Origin, seconds: float) -> ReviewRecord:
    metadata = request.object.metadata if request.object else None
    name = request.name or (metadata.name if metadata else None)
    if not name and metadata and metadata.generateName:
        name = f"{metadata.generateName}*"
    return ReviewRecord(
        origin=origin,
        uid=request.uid,
        operation=request.operation,
        kind=request.kind.kind,
        namespace=request.namespace or "",
        name=name or "",
        user=(request.userInfo.username if request.userInfo else None) or "",
        dry_run=bool(request.dryRun),
        verdict=verdict,
        seconds=seconds,
    )
