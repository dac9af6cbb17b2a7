"""Judge the images of one object: the facts about them, then verdicts and what lifts them."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from anchore_admission.core import judgement
from anchore_admission.core.facts import NOTHING_KNOWN
from anchore_admission.core.images import JudgedImage, circumstances_of
from anchore_admission.core.question import question_about
from anchore_admission.core.rules.exemptions import ExemptionBook
from anchore_admission.core.rules.match import Circumstances
from anchore_admission.core.verdict import ImageVerdict
from anchore_admission.core.waivers import Waivers, waivers_for
from anchore_admission.core.workload import PodView
from anchore_admission.models.configuration import WorkloadHandling
from anchore_admission.models.review import AdmissionRequest
from anchore_admission.ports.deadline import Clock, Deadline
from anchore_admission.ports.namespaces import NamespaceLabels
from anchore_admission.ports.telemetry import Origin
from anchore_admission.services.reviews.fact_source import Facts
from anchore_admission.services.reviews.gate import BY_HAND
from anchore_admission.services.reviews.rules import Rules

FoundT = TypeVar("FoundT")
_IMAGES_IN_A_TURN = 4


@dataclass(frozen=True, slots=True)
class Explain:
    """The wish to have each verdict explained; lists ``most`` of the rules that were passed over, or all."""

    most: int | None = None


@dataclass(frozen=True, slots=True)
class Judging:
    """The steps that reviews and the mutating webhook share. ``namespaces`` is None where no labels are known."""

    gathering: Facts
    namespaces: NamespaceLabels | None = None
    wall_clock: Clock = time.time

    async def circumstances(
        self, request: AdmissionRequest, view: PodView, rules: Rules, deadline: Deadline, origin: Origin
    ) -> Circumstances:
        """Return what rules may match besides the image, with the namespace's labels where a verdict needs them."""
        labels = None
        if self.namespaces and rules.needs_namespace_labels:
            # People may name any namespace: only the API server's own requests make us ask it.
            may_ask = origin is Origin.ADMISSION
            labels = await self.namespaces.labels_of(request.namespace or "", deadline, may_ask=may_ask)
        return circumstances_of(request, view, labels)

    async def verdicts(
        self,
        request: AdmissionRequest,
        images: Sequence[JudgedImage],
        *,
        exemptions: ExemptionBook,
        circumstances: Circumstances,
        handling: WorkloadHandling,
        deadline: Deadline,
        origin: Origin,
    ) -> tuple[list[ImageVerdict], Waivers]:
        """Gather the facts about images and judge each of them; also return what may lift their denials."""
        questions = [question_about(image) for image in images]
        gathered = await self.gathering.facts(
            [question for question in questions if question],
            deadline,
            namespace=request.namespace if request.namespace and origin is Origin.ADMISSION else BY_HAND,
            side_effects=origin is Origin.ADMISSION and not request.dryRun,
        )
        facts = iter(gathered)
        # Exemptions expire: the time counts at which the facts are known.
        narrowed = exemptions.narrowed(circumstances, self.wall_clock()) if exemptions.all else None
        waivers = waivers_for(request, narrowed)
        verdicts = await in_turns(
            judgement.judge(image, next(facts) if question else NOTHING_KNOWN, handling, waivers)
            for image, question in zip(images, questions, strict=True)
        )
        return verdicts, waivers


async def in_turns(found: Iterable[FoundT]) -> list[FoundT]:
    """Collect what is found for each image, and let other reviews have their turn after every few images.

    An author chooses how many images there are, and texts that take long to compare with many patterns.
    """
    collected: list[FoundT] = []
    for each in found:
        collected.append(each)
        if len(collected) % _IMAGES_IN_A_TURN == 0:
            await asyncio.sleep(0)
    return collected
