"""What of a request has to be judged: its new images, each once, with the rule it falls under."""

from dataclasses import dataclass

from anchore_admission.core import workload
from anchore_admission.core.messages import shown
from anchore_admission.core.reference import ImageReference, is_image_id, parse
from anchore_admission.core.rules import Circumstances, Rule, RuleBook, image_names
from anchore_admission.core.verdict import Reason
from anchore_admission.core.workload import ContainerImage, PodView
from anchore_admission.errors import InvalidImageReference
from anchore_admission.models.review import AdmissionRequest


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a text is not something that Anchore can be asked about."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Subject:
    """One distinct image text of a request: where it stands, what it means, what it is judged by."""

    image: str
    places: tuple[ContainerImage, ...]
    meaning: ImageReference | Refusal
    rule: Rule


def subjects(request: AdmissionRequest, view: PodView, book: RuleBook) -> list[Subject]:
    """The images to judge, in the order of their first place."""
    circumstances = _circumstances(request, view)
    places: dict[str, list[ContainerImage]] = {}
    for image in _images_to_judge(request, view):
        places.setdefault(image.image, []).append(image)
    return [_subject(text, tuple(found), circumstances, book) for text, found in places.items()]


def _images_to_judge(request: AdmissionRequest, view: PodView) -> list[ContainerImage]:
    """New images only; one that is not named counts in a Pod, and not in a template, where it is legal."""
    images = list(workload.images(view.spec))
    if not workload.is_pod(request.kind):
        images = [image for image in images if image.image]
    if request.operation != "UPDATE":
        return images
    old = workload.pod_view(request.kind, request.oldObject)
    return workload.changed(images, old.spec if old else None)


def _subject(text: str, places: tuple[ContainerImage, ...], circumstances: Circumstances, book: RuleBook) -> Subject:
    meaning = _meaning(text, places[0])
    names = image_names(meaning) if isinstance(meaning, ImageReference) else (text,)
    return Subject(text, places, meaning, book.select(names, circumstances))


def _meaning(text: str, place: ContainerImage) -> ImageReference | Refusal:
    if not text:
        return Refusal(Reason.NO_IMAGE, f"{shown(place.place)} names no image")
    if is_image_id(text):
        problem = "is an image ID, which Anchore cannot check; name a repository"
        return Refusal(Reason.IMAGE_ID, f"{shown(place.place)}: image {shown(text)} {problem}")
    try:
        return parse(text)
    except InvalidImageReference as error:
        return Refusal(Reason.MALFORMED_REFERENCE, f"{shown(place.place)}: image {shown(text)} {error}")


def _circumstances(request: AdmissionRequest, view: PodView) -> Circumstances:
    """A template's labels and annotations stand over the workload's own: they are what its Pods carry."""
    own = request.object.metadata if request.object else None
    account = view.spec.serviceAccountName or "default"
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


def _merged(*layers: dict[str, str | None] | None) -> dict[str, str]:
    return {key: value or "" for layer in layers for key, value in (layer or {}).items()}


def is_asked_by_controller(request: AdmissionRequest) -> bool:
    """Whether the user is one for whom nobody reads warnings."""
    user = (request.userInfo.username if request.userInfo else None) or ""
    return user.startswith(("system:serviceaccount:", "system:node:", "system:kube-"))
