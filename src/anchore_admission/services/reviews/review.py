"""Review one request: find the images to judge, gather the facts about them, judge them, and record the verdict."""

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from msgspec import structs

from anchore_admission.core import judgement, workload
from anchore_admission.core.explain import explanation_of
from anchore_admission.core.facts import NOTHING_KNOWN
from anchore_admission.core.images import circumstances_of, distinct_images, judged_images
from anchore_admission.core.question import question_about
from anchore_admission.core.rules.book import NarrowedBook, RuleBook, compile_rules
from anchore_admission.core.rules.exemptions import NO_EXEMPTIONS, Exemption, ExemptionBook, compile_exemptions
from anchore_admission.core.scope import out_of_scope, template_handling
from anchore_admission.core.verdict import ImageVerdict, ReviewVerdict
from anchore_admission.core.waivers import Waivers, waivers_for
from anchore_admission.core.workload import PodView
from anchore_admission.models.configuration import Configuration, UnknownKinds, WorkloadHandling
from anchore_admission.models.review import AdmissionRequest
from anchore_admission.models.workload import Workload
from anchore_admission.ports.deadline import Clock, Deadline
from anchore_admission.ports.namespaces import NamespaceLabels
from anchore_admission.ports.telemetry import Origin, Recorder, ReviewRecord
from anchore_admission.services.reviews.facts import Facts
from anchore_admission.services.reviews.gate import BY_HAND

logger = logging.getLogger("anchore_admission.review")
FoundT = TypeVar("FoundT")
_IMAGES_IN_A_TURN = 4


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of the configuration that reviews follow, and their bounds.

    ``notice`` is a warning that every response about images carries; reviews by hand do not show it.
    """

    book: RuleBook
    workloads: WorkloadHandling = WorkloadHandling.FINAL
    unknown_kinds: UnknownKinds = UnknownKinds.WARN
    max_findings: int = 5
    max_images: int = 200
    notice: str = ""
    exemptions: ExemptionBook = NO_EXEMPTIONS
    needs_namespace_labels: bool = False
    """True if a verdict may depend on the labels of a namespace."""

    @classmethod
    def of(cls, configuration: Configuration) -> "Rules":
        """Compile the rules of a configuration."""
        book = compile_rules(configuration.rules, configuration.defaults)
        exemptions = compile_exemptions(configuration.exemptions, configuration.limits.exemption_days)
        return cls(
            book,
            workloads=configuration.workloads,
            unknown_kinds=configuration.unknown_kinds,
            max_findings=configuration.messages.max_findings,
            max_images=configuration.limits.images,
            notice=configuration.messages.notice or "",
            exemptions=exemptions,
            needs_namespace_labels=book.needs_namespace_labels or exemptions.index.needs_namespace_labels,
        )


@dataclass(frozen=True, slots=True)
class Explain:
    """The wish to have each verdict explained; lists ``most`` of the rules that were passed over, or all."""

    most: int | None = None


@dataclass(slots=True)
class CurrentRules:
    """The rules that reviews follow now. A reload replaces them as a whole; a review reads them once, at its start."""

    current: Rules

    def exemptions(self) -> Sequence[Exemption]:
        """Return the exemptions of the rules, for metrics and announcements."""
        return self.current.exemptions.all


class Reviews:
    """The one path from a request to its verdict, for the API server's requests and for reviews by hand."""

    def __init__(
        self,
        rules: CurrentRules,
        gathering: Facts,
        recorder: Recorder,
        *,
        namespaces: NamespaceLabels | None = None,
        wall_clock: Clock = time.time,
        explain: Explain | None = None,
    ) -> None:
        self._rules = rules
        self._gathering = gathering
        self._recorder = recorder
        self._wall_clock = wall_clock
        self._namespaces = namespaces
        self._explain = explain

    def explaining(self, explain: Explain) -> "Reviews":
        """Return the same reviews, whose verdicts also explain the selection of each rule."""
        return Reviews(
            self._rules,
            self._gathering,
            self._recorder,
            namespaces=self._namespaces,
            wall_clock=self._wall_clock,
            explain=explain,
        )

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
        labels = None
        if self._namespaces and rules.needs_namespace_labels:
            # People may name any namespace: only the API server's own requests make us ask it.
            may_ask = origin is Origin.ADMISSION
            labels = await self._namespaces.labels_of(request.namespace or "", deadline, may_ask=may_ask)
        circumstances = circumstances_of(request, view, labels)
        # Before any image is parsed or matched, because the author chooses how many there are.
        if len(places) > rules.max_images:
            possible = rules.book.narrowed(circumstances).possible()
            return judgement.too_many_images(len(places), rules.max_images, possible, handling)
        images = await _in_turns(judged_images(circumstances, rules.book, places))
        questions = [question_about(image) for image in images]
        gathered = await self._gathering.facts(
            [question for question in questions if question],
            deadline,
            namespace=request.namespace if request.namespace and origin is Origin.ADMISSION else BY_HAND,
            side_effects=origin is Origin.ADMISSION and not request.dryRun,
        )
        facts = iter(gathered)
        # Exemptions expire: the time counts at which the facts are known.
        exemptions = rules.exemptions.narrowed(circumstances, self._wall_clock()) if rules.exemptions.all else None
        waivers = waivers_for(request, exemptions)
        verdicts = await _in_turns(
            judgement.judge(image, next(facts) if question else NOTHING_KNOWN, handling, waivers)
            for image, question in zip(images, questions, strict=True)
        )
        if self._explain:
            verdicts = await _in_turns(_explained(verdicts, rules.book.narrowed(circumstances), waivers, self._explain))
        notice = rules.notice if origin is Origin.ADMISSION else ""
        return judgement.reduce(verdicts, request, rules.max_findings, notice)


def _explained(
    verdicts: Iterable[ImageVerdict], book: NarrowedBook, waivers: Waivers, explain: Explain
) -> Iterator[ImageVerdict]:
    for image in verdicts:
        exemptions = waivers.holding(image.judged, image.facts)
        explanation = explanation_of(image.judged, book, exemptions, explain.most)
        yield structs.replace(image, explanation=explanation)


async def _in_turns(found: Iterable[FoundT]) -> list[FoundT]:
    """Collect what is found for each image, and let other reviews have their turn after every few images.

    An author chooses how many images there are, and texts that take long to compare with many patterns.
    """
    collected: list[FoundT] = []
    for each in found:
        collected.append(each)
        if len(collected) % _IMAGES_IN_A_TURN == 0:
            await asyncio.sleep(0)
    return collected


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
