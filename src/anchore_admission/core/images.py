"""What of a request has to be judged: its new images, each once, with the rule it falls under."""

from dataclasses import dataclass, field
from functools import lru_cache

from anchore_admission.core import workload
from anchore_admission.core.reference import ImageReference, is_image_id, not_for_anchore, parse
from anchore_admission.core.rules.book import Rule, RuleBook
from anchore_admission.core.rules.match import Circumstances, image_names, text_names
from anchore_admission.core.verdict import ImageVerdict, Reason
from anchore_admission.core.workload import ContainerImage, PodView
from anchore_admission.errors import InvalidImageReference
from anchore_admission.models.configuration import WorkloadHandling
from anchore_admission.models.review import AdmissionRequest
from anchore_admission.text import shown

_REMEMBERED = 512
"""Characters of an image and its place."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a text is not something that Anchore can be asked about."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class JudgedImage:
    """One distinct image text of a request: where it stands, what it means, what it is judged by.

    The same image in the same place under the same rule is most often the same object: where nothing is asked about
    it, it keeps its ``verdicts``.
    """

    image: str
    places: tuple[ContainerImage, ...]
    meaning: ImageReference | Refusal
    rule: Rule
    verdicts: dict[WorkloadHandling, ImageVerdict] = field(default_factory=dict, repr=False, compare=False)


def distinct_images(request: AdmissionRequest, view: PodView) -> dict[str, list[ContainerImage]]:
    """Return the places of each image text to judge, in the order of their first place."""
    places: dict[str, list[ContainerImage]] = {}
    for place in _images_to_judge(request, view):
        places.setdefault(place.image, []).append(place)
    return places


def judged_images(
    request: AdmissionRequest, view: PodView, book: RuleBook, places: dict[str, list[ContainerImage]]
) -> list[JudgedImage]:
    """Return the images with what each means and the rule it falls under."""
    circumstances = circumstances_of(request, view) if book.rules else _UNSEEN
    if len(places) > 1 and book.rules:
        book = book.narrowed(circumstances)
    return [_subject(text, found, circumstances, book) for text, found in places.items()]


def _images_to_judge(request: AdmissionRequest, view: PodView) -> list[ContainerImage]:
    """New images only; one that is not named counts in a Pod, and not in a template, where it is legal."""
    images = workload.images(view.spec)
    if not workload.is_pod(request.kind):
        images = [image for image in images if image.image]
    if request.operation != "UPDATE":
        return images
    old = workload.pod_view(request.kind, request.oldObject)
    return workload.changed(images, old.spec if old else None)


def _subject(text: str, places: list[ContainerImage], circumstances: Circumstances, book: RuleBook) -> JudgedImage:
    """A cluster runs the same images again and again; only what is short is remembered, to bound the memory."""
    is_remembered = len(places) == 1 and len(text) + len(places[0].name) <= _REMEMBERED
    if not book.rules:
        rule = book.defaults
    elif is_image_id(text):
        rule = book.strictest(text, circumstances)
    else:
        rule = book.select(_names(text) if is_remembered else _names.__wrapped__(text), circumstances)
    if not is_remembered:
        return JudgedImage(text, tuple(places), _meaning(text, places[0]), rule)
    return _ruled(places[0], rule)


@lru_cache(maxsize=1024)
def _names(text: str) -> tuple[str, ...]:
    """Return what rules may know an image by."""
    try:
        return image_names(parse(text))
    except InvalidImageReference:
        return text_names(text)


@lru_cache(maxsize=1024)
def _ruled(place: ContainerImage, rule: Rule) -> JudgedImage:
    return JudgedImage(place.image, (place,), _meaning(place.image, place), rule)


def _meaning(text: str, place: ContainerImage) -> ImageReference | Refusal:
    if not text:
        return Refusal(Reason.NO_IMAGE, f"{shown(place.place)} names no image")
    if is_image_id(text):
        problem = "is an image ID, which Anchore cannot check; name a repository"
        return Refusal(Reason.IMAGE_ID, f"{shown(place.place)}: image {shown(text)} {problem}")
    try:
        reference = parse(text)
    except InvalidImageReference as error:
        return Refusal(Reason.MALFORMED_REFERENCE, f"{shown(place.place)}: image {shown(text)} {error}")
    if problem := not_for_anchore(reference):
        message = f"{shown(place.place)}: image {shown(text)} cannot be checked: {problem}"
        return Refusal(Reason.UNSUPPORTED_REFERENCE, message)
    return reference


def circumstances_of(request: AdmissionRequest, view: PodView) -> Circumstances:
    """Return what rules see of a request.

    A template's labels and annotations stand over the workload's own: they are what its Pods carry.
    """
    own = request.object.metadata if request.object else None
    account = workload.service_account(view.spec)
    user, kind, namespace = request.userInfo, request.kind, request.namespace or ""
    return Circumstances(
        namespace=namespace,
        kinds=(kind.kind, f"{kind.group}/{kind.kind}") if kind.group else (kind.kind,),
        user=(user.username if user else None) or "",
        groups=tuple((user.groups if user else None) or ()),
        service_accounts=(account, f"{namespace}/{account}"),
        labels=_merged(*(metadata.labels for metadata in (own, view.metadata) if metadata)),
        annotations=_merged(*(metadata.annotations for metadata in (own, view.metadata) if metadata)),
    )


_UNSEEN = Circumstances()
"""Given to a rule book without rules, which looks at nothing."""


def _merged(*layers: dict[str, str | None] | None) -> dict[str, str]:
    return {key: value or "" for layer in layers for key, value in (layer or {}).items()}


def is_asked_by_controller(request: AdmissionRequest) -> bool:
    """Whether the user is one for whom nobody reads warnings."""
    user = (request.userInfo.username if request.userInfo else None) or ""
    return user.startswith(("system:serviceaccount:", "system:node:", "system:kube-"))
