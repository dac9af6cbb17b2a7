"""Pin the tags of a Pod to the judged digests: the mutating webhook, which never denies."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Final

from anchore_admission.core import workload
from anchore_admission.core.images import JudgedImage, judged_images
from anchore_admission.core.pins import PinnedPlace, Pinner, PinResult, annotations, kept, replacements
from anchore_admission.core.question import question_about
from anchore_admission.core.scope import out_of_scope
from anchore_admission.core.verdict import ImageVerdict
from anchore_admission.core.workload import ContainerImage
from anchore_admission.models.configuration import WorkloadHandling
from anchore_admission.models.review import AdmissionRequest, AdmissionResponse
from anchore_admission.models.workload import Workload
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.telemetry import Origin, PinningRecord, Recorder
from anchore_admission.services.reviews.facts import FactGathering
from anchore_admission.services.reviews.judging import Judging, in_turns
from anchore_admission.services.reviews.review import object_name, user_name
from anchore_admission.services.reviews.rules import CurrentRules, Rules

logger = logging.getLogger("anchore_admission.pinning")

_EPHEMERAL = "ephemeralcontainers"
PIN_SECONDS: Final = 1.0
"""The most seconds that a call may take; then the tags stay as they are."""


class Pinning:
    """Answers the mutating webhook's calls. What it decides counts for nothing later: the final object is judged anew.

    Facts are shared with the reviews, so that judging the pinned Pod asks Anchore nothing new.
    """

    def __init__(self, rules: CurrentRules, judging: Judging, gathering: FactGathering, recorder: Recorder) -> None:
        self._rules = rules
        self._judging = judging
        self._gathering = gathering
        self._recorder = recorder

    async def mutate(self, request: AdmissionRequest, deadline: Deadline) -> AdmissionResponse:
        """Return the response: always allowed, with a patch if there is something to pin."""
        try:
            pins = await self._pins(request, self._rules.current, deadline)
        except Exception:
            logger.exception("pinning the images of review %s failed unexpectedly", request.uid)
            pins = ()
        try:
            self._recorder.pinning(_record(request, pins, deadline.passed()))
        except Exception:
            logger.exception("recording the pinning of review %s failed unexpectedly", request.uid)
        return AdmissionResponse(
            request.uid, allowed=True, audit_annotations=annotations(pins), patch=replacements(pins)
        )

    async def _pins(self, request: AdmissionRequest, rules: Rules, deadline: Deadline) -> tuple[PinnedPlace, ...]:
        view = None
        # Before Kubernetes 1.22, ephemeral containers came as a kind of their own, whose places differ.
        if (request.kind.group, request.kind.kind) == ("", "Pod") and not out_of_scope(request, rules.workloads):
            view = workload.pod_view(request.kind, request.object) if isinstance(request.object, Workload) else None
        # Without the old object, an update could not keep the digests that the Pod has.
        if view is None or (request.operation == "UPDATE" and request.oldObject is None):
            return ()
        places = _places(request, workload.images(view.spec))
        staying = kept(request, places)
        done = {pin.place for pin in staying}
        texts: dict[str, list[ContainerImage]] = {}
        for place in places:
            if place not in done:
                texts.setdefault(place.image, []).append(place)
        if not texts or not rules.pins or len(texts) > rules.max_images:
            return tuple(staying)
        circumstances = await self._judging.circumstances(request, view, rules, deadline, Origin.ADMISSION)
        book = rules.book.narrowed(circumstances)
        images = [image for image in await in_turns(judged_images(book, texts)) if _may_be_pinned(image)]
        judge = partial(
            self._judging.verdicts,
            request,
            exemptions=rules.exemptions,
            circumstances=circumstances,
            handling=WorkloadHandling.DENY,
            deadline=deadline,
            origin=Origin.ADMISSION,
        )
        verdicts, waivers = await judge(images)
        pinner = Pinner(book, waivers, deadline.clock(), rules.fresh)
        found = await _found(pinner, verdicts)
        stale = [image for image in images if PinResult.STALE in [pin.result for pin in found[image.text]]]
        if stale and not request.dryRun:
            # The look-ups have submitted these tags; Anchore's response tells where they point now.
            waits = (self._gathering.settled(question, deadline) for question in map(question_about, stale) if question)
            await asyncio.gather(*waits)
            again, waivers = await judge(stale)
            pinner = Pinner(book, waivers, deadline.clock(), rules.fresh)
            found |= await _found(pinner, again)
        for image in images:
            digest = next((pin.digest for pin in found[image.text] if pin.value), "")
            question = question_about(image) if digest else None
            if question:
                self._gathering.know_by_digest(question, digest, request.namespace or "")
        order = {place: number for number, place in enumerate(places)}
        return tuple(sorted(chain(staying, *found.values()), key=lambda pin: order[pin.place]))


def _places(request: AdmissionRequest, images: Sequence[ContainerImage]) -> list[ContainerImage]:
    """Return the places that may change: of an update through the subresource, ephemeral containers only.

    The API server drops patches of anything else there, without a word. An update that changes no image text is none
    of ours, and neither is a container without an image.
    """
    if request.subResource == _EPHEMERAL:
        images = [image for image in images if image.field == "ephemeralContainers"]
    old = workload.pod_view(request.kind, request.oldObject) if request.operation == "UPDATE" else None
    before = {(image.field, image.name, image.image) for image in workload.images(old.spec)} if old else set()
    return [image for image in images if image.image and (image.field, image.name, image.image) not in before]


def _may_be_pinned(image: JudgedImage) -> bool:
    return image.rule.pins and image.reference is not None and image.reference.digest is None


async def _found(pinner: Pinner, verdicts: Sequence[ImageVerdict]) -> dict[str, list[PinnedPlace]]:
    """Return the outcomes for the places of each image, by its text."""
    outcomes = await in_turns(map(pinner.places, verdicts))
    return {verdict.judged.text: pins for verdict, pins in zip(verdicts, outcomes, strict=True)}


def _record(request: AdmissionRequest, pins: tuple[PinnedPlace, ...], seconds: float) -> PinningRecord:
    return PinningRecord(
        uid=request.uid,
        operation=request.operation,
        namespace=request.namespace or "",
        name=object_name(request),
        user=user_name(request),
        dry_run=bool(request.dryRun),
        pins=pins,
        seconds=seconds,
    )
