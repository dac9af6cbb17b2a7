"""Pin tags to the judged digest: what is pinned, to which digest, and why not."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct, structs

from anchore_admission.core import workload
from anchore_admission.core.audit import joined
from anchore_admission.core.decision import Decision, Effect, Reason
from anchore_admission.core.facts import AnalysisState, ImageFacts, SubmissionState
from anchore_admission.core.images import JudgedImage
from anchore_admission.core.names import shared_digest
from anchore_admission.core.reference import ImageReference, is_image_id, not_for_anchore, parse
from anchore_admission.core.rules.book import NarrowedBook
from anchore_admission.core.rules.match import image_names
from anchore_admission.core.verdict import ImageVerdict, Verdict, effect_of
from anchore_admission.core.waivers import Waivers
from anchore_admission.core.workload import ContainerImage
from anchore_admission.errors import DeadlineExceeded, InvalidImageReference
from anchore_admission.models.configuration import ModeName, WorkloadHandling
from anchore_admission.models.review import AdmissionRequest, Replacement
from anchore_admission.text import shown


class PinResult(StrEnum):
    """The outcome for one image of a Pod; a closed set, so that a metric can have it as a label."""

    PINNED = "pinned"
    KEPT = "kept"
    """An update keeps the digest that the Pod has."""
    DENIED = "denied"
    NO_VERDICT = "no_verdict"
    NO_TIME = "no_time"
    NOT_ANALYZED = "not_analyzed"
    STALE = "stale"
    """It is not known where the tag points now."""
    NO_PARENT = "no_parent"
    """Anchore names no digest that the nodes of all platforms can pull."""
    RULE_DIFFERS = "rule_differs"
    EXEMPTION_DIFFERS = "exemption_differs"
    NEVER = "never"
    """The image must be on the node already, where it may have no digest."""


class Unpinned(Struct, frozen=True):
    """The reason why a tag is not pinned, also as the end of a sentence that begins with "not pinned:".

    ``remedy`` replaces the result's own remedy.
    """

    result: PinResult
    reason: str
    remedy: str = ""


class PinnedPlace(Struct, frozen=True):
    """The outcome for one place of a Pod. ``value`` is the new image text; empty if the tag stays, see ``reason``."""

    place: ContainerImage
    result: PinResult
    value: str = ""
    reason: str = ""

    @property
    def digest(self) -> str:
        """The digest that the tag was pinned to; empty if it was not."""
        return self.value.rpartition("@")[2]


class Pinner(Struct, frozen=True):
    """Everything besides the facts that decides whether a tag may be pinned.

    ``now`` is in monotonic seconds. ``fresh`` is the number of seconds for which it counts where a tag pointed to:
    None if a person reads the result, as in a manifest to commit, and sees where it leads.
    """

    book: NarrowedBook
    waivers: Waivers
    now: float = 0.0
    fresh: float | None = None

    def digest(self, image: ImageVerdict) -> str | Unpinned:
        """Return the digest to which the image's tag may be pinned in every place, or the reason why it may not.

        The pinned image must be the one that was judged, wherever it runs, and fall under the same rule and exemptions.
        """
        judged = image.judged
        if image.verdict.reason is Reason.NOT_REACHED or image.verdict.error == DeadlineExceeded.code:
            return Unpinned(PinResult.NO_TIME, "Anchore did not respond in time")
        if image.effect is Effect.DENY or judged.reference is None:
            has_none = image.verdict.decision is Decision.NO_VERDICT
            return Unpinned(PinResult.DENIED, _NO_VERDICT if has_none else "it is denied")
        if judged.reference.digest:
            return Unpinned(PinResult.KEPT, "it names a digest already")
        if image.verdict.decision is Decision.NO_VERDICT:
            return Unpinned(PinResult.NO_VERDICT, _NO_VERDICT)
        digest = self._listed(judged, image.facts)
        return digest if isinstance(digest, Unpinned) else self._selected(image, judged.reference, digest) or digest

    def conflict(self, image: ImageVerdict) -> str:
        """Return why the image would fall under another rule or exemption with any digest; empty if it would not."""
        reference = image.judged.reference
        if not image.judged.rule.pins or reference is None or reference.digest:
            return ""
        problem = self._selected(image, reference, _ANY_DIGEST)
        return problem.reason if problem else ""

    def _listed(self, judged: JudgedImage, facts: ImageFacts) -> str | Unpinned:
        """Return the digest of the manifest list that was judged, if the tag still points to it."""
        record, resolved = facts.record, facts.resolved
        is_passive = judged.rule.mode is ModeName.PASSIVE and self.fresh is not None
        if not judged.rule.can_deny and not is_passive:
            return Unpinned(PinResult.NOT_ANALYZED, f"mode {judged.rule.mode} looks nothing up in Anchore")
        if not is_passive and (record is None or record.state is not AnalysisState.ANALYZED):
            return Unpinned(PinResult.NOT_ANALYZED, "Anchore has not analyzed it")
        if self.fresh is not None:
            if resolved is None or self.now - resolved.at > self.fresh:
                return _unresolved(judged, facts, self.now)
            if record and (record.digest, record.list_digest) != (resolved.digest, resolved.list_digest):
                return Unpinned(PinResult.STALE, "its tag has just moved")
        known = record or resolved
        digest = shared_digest(known, judged.reference) if known and judged.reference else None
        if not digest:
            return Unpinned(PinResult.NO_PARENT, "Anchore does not tell the digest that all of its platforms share")
        return digest

    def _selected(self, image: ImageVerdict, reference: ImageReference, digest: str) -> Unpinned | None:
        """Return a reason if the validating webhook would judge the pinned image by another rule or exemption."""
        judged = image.judged
        text = pinned_text(judged.text, reference, digest)
        try:
            pinned = parse(text)
        except InvalidImageReference:
            pinned = None
        if pinned is None or not_for_anchore(pinned):
            return Unpinned(PinResult.NO_PARENT, "Anchore's digest for it is not valid")
        selection = self.book.select(image_names(pinned))
        if selection.problem or selection.rule != judged.rule:
            rules = f"with its digest, rule {selection.rule.name} applies to it instead of rule {judged.rule.name}"
            return Unpinned(PinResult.RULE_DIFFERS, f"{rules}, whose patterns name the tag")
        before = self.waivers.holding(judged, image.facts)
        after = self.waivers.holding(structs.replace(judged, text=text, meaning=pinned), image.facts)
        if before != after:
            names = sorted({each.name for each in (*before, *after) if each not in before or each not in after})
            return Unpinned(
                PinResult.EXEMPTION_DIFFERS, f"with its digest, exemption {names[0]} does not apply to it as before"
            )
        return None

    def places(self, image: ImageVerdict) -> list[PinnedPlace]:
        """Return the outcome for every place of an image."""
        digest = self.digest(image)
        reference = image.judged.reference
        found = []
        for place in image.judged.places:
            if place.is_never_pulled:
                found.append(PinnedPlace(place, PinResult.NEVER, reason=NEVER_PULLED))
            elif isinstance(digest, Unpinned) or reference is None:
                why = digest if isinstance(digest, Unpinned) else Unpinned(PinResult.DENIED, "it is denied")
                found.append(PinnedPlace(place, why.result, reason=why.reason))
            else:
                found.append(PinnedPlace(place, PinResult.PINNED, pinned_text(image.judged.text, reference, digest)))
        return found

    def enforced(self, image: ImageVerdict) -> ImageVerdict:
        """Deny a Pod's image that has no digest where its rule requires one, whatever else admits it.

        Only the final object counts. An exemption from everything and break-glass lift this denial, too. A denial that
        ``enforcement`` only warns of or records stays as it is: a rehearsal shows why the image will be denied.
        """
        judged = image.judged
        if not judged.rule.requires_digest or image.effect is Effect.DENY or not judged.lacks_digest:
            return image
        if image.verdict.decision is Decision.DENY and not image.exemptions:
            return image
        message = f"Image {shown(judged.text)} is not pinned to a digest, which rule {judged.rule.name} requires: "
        verdict = Verdict(Decision.DENY, Reason.NOT_PINNED, message + self._why(image))
        if uses := self.waivers.unlimited(judged, image.facts):
            effect = effect_of(verdict, judged.rule, WorkloadHandling.WARN)
            return structs.replace(image, verdict=verdict, effect=effect, exemptions=uses)
        effect = effect_of(verdict, judged.rule, WorkloadHandling.DENY)
        return structs.replace(image, verdict=verdict, effect=effect, exemptions=())

    def _why(self, image: ImageVerdict) -> str:
        if any(place.is_never_pulled for place in image.judged.places):
            return f"{NEVER_PULLED}; {REMEDIES[PinResult.NEVER]}"
        digest = self.digest(image)
        if isinstance(digest, Unpinned):
            return f"{digest.reason}; {digest.remedy or REMEDIES.get(digest.result, 'try again in a moment')}"
        return "the mutating webhook has not pinned it; try again, or write its digest"


_MINUTES_FROM = 120
NEVER_PULLED = "its pull policy is Never"
_NO_VERDICT = "there is no verdict on it"
_ANY_DIGEST = f"sha256:{'0' * 64}"
_WRITE = "write its digest"
REMEDIES: Mapping[PinResult, str] = {
    PinResult.NO_PARENT: _WRITE,
    PinResult.NEVER: "write its digest, or exclude the image by a rule with pin: off",
    PinResult.RULE_DIFFERS: "name the repository without a tag in the rules, or write its digest",
    PinResult.EXEMPTION_DIFFERS: "name the repository without a tag in the exemption, or write its digest",
}
"""The remedies for outcomes that do not pass by themselves."""


def _unresolved(judged: JudgedImage, facts: ImageFacts, now: float) -> Unpinned:
    """Return why it is not known where a tag points now."""
    if not judged.rule.request_analysis:
        return Unpinned(PinResult.STALE, "its tag is not resolved, because requestAnalysis is false", _WRITE)
    remedy = ""
    match facts.submission.state:
        case SubmissionState.DRY_RUN:
            reason = "its tag is not resolved now, because a dry run submits nothing"
            remedy = "repeat this without a dry run"
        case SubmissionState.REFUSED:
            reason = f"its tag could not be resolved: {shown(facts.submission.reason)}"
        case _ if facts.resolved:
            reason = f"its tag was last resolved {_ago(now - facts.resolved.at)} ago"
        case _:
            reason = "its tag has not been resolved yet"
    return Unpinned(PinResult.STALE, reason, remedy)


def _ago(seconds: float) -> str:
    return f"{round(seconds)} seconds" if seconds < _MINUTES_FROM else f"{round(seconds / 60)} minutes"


def pinned_text(text: str, reference: ImageReference, digest: str) -> str:
    """Return an image text with a digest: as written, so that mirrors apply and differences stay short."""
    tag = f":{reference.tag}"
    return f"{text if text.endswith(tag) else f'{text}{tag}'}@{digest}"


def kept(request: AdmissionRequest, places: Sequence[ContainerImage]) -> list[PinnedPlace]:
    """Return the places of an update whose image differs from the old object only by a digest that it had.

    They keep the digest: a manifest with the tag that is applied again must neither restart containers nor, with image
    volumes, fail.
    """
    before = workload.pod_view(request.kind, request.oldObject) if request.operation == "UPDATE" else None
    if before is None:
        return []
    old = {(each.field, each.name): each.image for each in workload.images(before.spec)}
    found = ((place, old.get((place.field, place.name), "")) for place in places)
    return [PinnedPlace(place, PinResult.KEPT, image) for place, image in found if _is_pinned_form(image, place.image)]


def _is_pinned_form(image: str, text: str) -> bool:
    """Return whether an image text is another one with a digest."""
    name, at, digest = image.rpartition("@")
    if not at or not text or not name.startswith(text) or is_image_id(text):
        return False
    try:
        return image == pinned_text(text, parse(text), digest) and parse(image).digest is not None
    except InvalidImageReference:
        return False


def replacements(pins: Iterable[PinnedPlace]) -> tuple[Replacement, ...]:
    """Return the patch of a Pod: nothing but image texts, each in its own place."""
    return tuple(Replacement(pin.place.pointer, pin.value) for pin in pins if pin.value)


def annotations(pins: Sequence[PinnedPlace]) -> dict[str, str]:
    """Return the audit annotations ``pinned`` and ``not-pinned``; those that would be empty are left out."""
    pinned = [f"{_name(pin)}={pin.digest}{_kept(pin)}" for pin in pins if pin.value]
    unpinned = [f"{_name(pin)}: {pin.reason}" for pin in pins if not pin.value]
    found = {"pinned": pinned, "not-pinned": unpinned}
    return {key: joined(entries) for key, entries in found.items() if entries}


def _name(pin: PinnedPlace) -> str:
    return f"{pin.place.field}/{shown(pin.place.name)}"


def _kept(pin: PinnedPlace) -> str:
    return " (kept)" if pin.result is PinResult.KEPT else ""
