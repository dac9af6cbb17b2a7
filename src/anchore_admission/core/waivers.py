"""Lift the denial of an image: by exemptions of the configuration, or by the break-glass of its rule."""

from collections.abc import Mapping

from msgspec import Struct

from anchore_admission.core import exemption_messages, workload
from anchore_admission.core.decision import Decision, Reason
from anchore_admission.core.facts import ImageFacts
from anchore_admission.core.images import JudgedImage, Uncheckable
from anchore_admission.core.modes import MODES
from anchore_admission.core.reference import parse
from anchore_admission.core.requester import is_controller
from anchore_admission.core.rules.exemptions import (
    Exemption,
    NarrowedExemptions,
    Use,
    UseKind,
    cleaned_reason,
    excused,
    use_of,
)
from anchore_admission.core.rules.match import image_names
from anchore_admission.models.review import AdmissionRequest

_UNIDENTIFIED = frozenset({Reason.IMAGE_ID, Reason.MALFORMED_REFERENCE, Reason.NO_IMAGE})
"""Reasons for which it is not known which image would run, so that no exemption can name it."""


class Waivers(Struct, frozen=True):
    """Everything that may lift the denials of one object's images.

    ``annotations`` are the Pod's own; None for a template, because its Pods carry the user of a controller.
    ``component`` is the user if it is a component of the cluster or a service account.
    """

    exemptions: NarrowedExemptions | None = None
    annotations: Mapping[str, str | None] | None = None
    component: str = ""

    def uses(self, image: JudgedImage, facts: ImageFacts) -> tuple[Use, ...]:
        """Return why a denied image is admitted: exemptions, else break-glass; nothing if it stays denied."""
        exemptions = self._exemptions(image, facts) if self.exemptions else ()
        return tuple(use_of(exemption) for exemption in exemptions) or self._break_glass(image)

    def advice(self, image: JudgedImage, facts: ImageFacts) -> str:
        """Return what the author of an image that stays denied should know; empty if there is nothing."""
        sentences = []
        names = _names(image, facts) if self.exemptions else ()
        if self.exemptions and names:
            holding = [exemption.name for exemption in self.exemptions.holding(names)]
            ended = self.exemptions.ended(names)
            if holding:
                sentences.append(exemption_messages.exempt_in_part(holding))
            elif ended:
                latest = max(ended, key=lambda exemption: exemption.expires)
                sentences.append(exemption_messages.exemption_ended(use_of(latest)))
        if annotation := self._annotation(image):
            sentences.append(exemption_messages.break_glass(annotation))
        return ". ".join(sentences)

    def holding(self, image: JudgedImage, facts: ImageFacts) -> list[Exemption]:
        """Return the exemptions that apply to an image; they may excuse only a part of its findings."""
        names = _names(image, facts) if self.exemptions else ()
        return self.exemptions.holding(names) if self.exemptions and names else []

    def unlimited(self, image: JudgedImage, facts: ImageFacts) -> tuple[Use, ...]:
        """Return what would lift any denial of the image: an exemption without limits, else break-glass."""
        exemptions = [exemption for exemption in self.holding(image, facts) if not exemption.is_limited]
        return tuple(use_of(exemption) for exemption in exemptions[:1]) or self._break_glass(image)

    def _annotation(self, image: JudgedImage) -> str | None:
        """Return the annotation in which a reason admits the image; None if none does."""
        # Only a rule that certainly applies: the rule of another image is the most severe of those in question.
        if self.annotations is None or not image.reference:
            return None
        # Authors choose the names of service accounts, so that a pattern for people (`*-on-call`) could match one.
        is_named = not self.component or self.component in image.rule.break_glass_users
        return image.rule.break_glass if is_named else None

    def _break_glass(self, image: JudgedImage) -> tuple[Use, ...]:
        annotation = self._annotation(image)
        if not annotation:
            return ()
        reason = cleaned_reason((self.annotations or {}).get(annotation) or "")
        return (Use(UseKind.BREAK_GLASS, image.rule.name, reason),) if reason else ()

    def _exemptions(self, image: JudgedImage, facts: ImageFacts) -> list[Exemption]:
        """Return the exemptions that together lift the denial; limited ones first, to show the narrowest grounds."""
        holding = self.holding(image, facts)
        limited = [exemption for exemption in holding if exemption.is_limited]
        if limited and (reference := image.reference):
            # The mode judges again, so that nothing but the excused findings is overlooked.
            without, used = excused(facts, limited)
            again = MODES[image.rule.mode].judge(image.text, reference, without, image.rule)
            if used and again.decision is Decision.ADMIT:
                return used
        return [exemption for exemption in holding if not exemption.is_limited][:1]


NO_WAIVERS = Waivers()


def waivers_for(request: AdmissionRequest, exemptions: NarrowedExemptions | None) -> Waivers:
    """Return what may lift the denials of a request's images.

    Break-glass reads the annotations of the Pod itself, also where an ephemeral container is added to it.
    """
    if not workload.is_pod(request.kind):
        return Waivers(exemptions)
    metadata = request.object.metadata if request.object else None
    component = (request.userInfo.username or "") if request.userInfo and is_controller(request) else ""
    return Waivers(exemptions, (metadata.annotations if metadata else None) or {}, component)


def _names(image: JudgedImage, facts: ImageFacts) -> tuple[str, ...]:
    """Return the names of an image: those that rules are compared with, and the repository with the judged digest."""
    if isinstance(image.meaning, Uncheckable) and image.meaning.reason in _UNIDENTIFIED:
        return ()
    reference = image.reference or parse(image.text)
    record = facts.record
    digests = {record.digest, record.parent_digest} if record else {facts.digest}
    by_digest = (f"{repository}@{digest}" for repository in reference.repositories for digest in digests if digest)
    return (*image_names(reference), *by_digest)
