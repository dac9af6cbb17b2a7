"""The images of a request that have to be judged: the new ones, each once, with the rule it falls under."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from anchore_admission.core import workload
from anchore_admission.core.decision import Reason
from anchore_admission.core.reference import ImageReference, is_image_id, not_for_anchore, parse
from anchore_admission.core.rules.book import NarrowedBook, Rule
from anchore_admission.core.rules.match import Circumstances, image_names, text_names
from anchore_admission.core.workload import ContainerImage, PodView
from anchore_admission.errors import InvalidImageReference
from anchore_admission.models.review import AdmissionRequest
from anchore_admission.models.workload import Metadata


class Uncheckable(Struct, frozen=True):
    """The reason why an image text cannot be checked; ``problem`` says what is wrong.

    ``by_author`` is False for the one problem that the author of the workload cannot cause: the rule is not known.
    """

    reason: Reason
    problem: str = ""
    by_author: bool = True


class JudgedImage(Struct, frozen=True):
    """One distinct image text of a request.

    ``places`` name it; ``meaning`` is the parsed reference, or the reason why Anchore cannot check it.
    """

    text: str
    places: tuple[ContainerImage, ...]
    meaning: ImageReference | Uncheckable
    rule: Rule

    @property
    def reference(self) -> ImageReference | None:
        """The parsed text; None where Anchore cannot check it."""
        return self.meaning if isinstance(self.meaning, ImageReference) else None

    @property
    def lacks_digest(self) -> bool:
        """True if the text names an image without its digest, also where the rule is not known."""
        if isinstance(self.meaning, Uncheckable):
            return not self.meaning.by_author and parse(self.text).digest is None
        return self.meaning.digest is None


def distinct_images(request: AdmissionRequest, view: PodView) -> dict[str, list[ContainerImage]]:
    """Return the places of each image text to judge, in the order of their first place."""
    places: dict[str, list[ContainerImage]] = {}
    for place in _images_to_judge(request, view):
        places.setdefault(place.image, []).append(place)
    return places


def judged_images(book: NarrowedBook, places: Mapping[str, Sequence[ContainerImage]]) -> Iterator[JudgedImage]:
    """Parse each image text and select the rule that it falls under, one after the other."""
    for text, found in places.items():
        yield _judged(text, tuple(found), book)


def _images_to_judge(request: AdmissionRequest, view: PodView) -> list[ContainerImage]:
    """Return the new images. A container without an image counts in a Pod; in a template, it is legal."""
    images = workload.images(view.spec)
    if not workload.is_pod(request.kind):
        images = [image for image in images if image.image]
    if request.operation != "UPDATE":
        return images
    old = workload.pod_view(request.kind, request.oldObject)
    return workload.changed(images, old.spec if old else None)


def meaning_of(text: str) -> ImageReference | Uncheckable:
    """Parse an image text; return the reason if Anchore cannot check such an image."""
    # First, because `sha256:<hex>` is also a valid reference (to docker.io/library/sha256), although containerd may run
    # a local image by it.
    if is_image_id(text):
        return Uncheckable(Reason.IMAGE_ID)
    try:
        reference = parse(text)
    except InvalidImageReference as error:
        return Uncheckable(Reason.MALFORMED_REFERENCE, str(error)) if text else Uncheckable(Reason.NO_IMAGE)
    problem = not_for_anchore(reference)
    return Uncheckable(Reason.UNSUPPORTED_REFERENCE, problem) if problem else reference


def _judged(text: str, places: tuple[ContainerImage, ...], book: NarrowedBook) -> JudgedImage:
    """Parse the text, and select the rule that the image falls under."""
    meaning = meaning_of(text)
    if isinstance(meaning, Uncheckable) and meaning.reason is Reason.IMAGE_ID:
        return JudgedImage(text, places, meaning, book.strictest(text))
    is_checkable = isinstance(meaning, ImageReference)
    has_digest = not isinstance(meaning, ImageReference) or meaning.digest is not None
    selection = book.select(_names_of(text, meaning), is_checkable=is_checkable, has_digest=has_digest)
    if selection.problem and is_checkable:
        meaning = Uncheckable(selection.problem.reason, selection.problem.text, selection.problem.by_author)
    return JudgedImage(text, places, meaning, selection.rule)


def _names_of(text: str, meaning: ImageReference | Uncheckable) -> tuple[str, ...]:
    """Return the names by which rules match an image text."""
    if isinstance(meaning, ImageReference):
        return image_names(meaning)
    return image_names(parse(text)) if meaning.reason is Reason.UNSUPPORTED_REFERENCE else text_names(text)


def circumstances_of(
    request: AdmissionRequest, view: PodView, namespace_labels: Mapping[str, str] | None = None
) -> Circumstances:
    """Return everything about a request that rules may match, except its images.

    ``namespace_labels`` is None where they are not known, or no rule needs them.

    A template's labels and annotations override the workload's own, because its Pods carry them.
    """
    own = request.object.metadata if request.object else None
    layers = (own,) if view.metadata is own else (own, view.metadata)
    account = workload.service_account(view.spec)
    # The namespace of the request counts: the API server sets it, the object may leave it out.
    user, kind, namespace = request.userInfo, request.kind, request.namespace or ""
    return Circumstances(
        namespace=namespace,
        namespace_labels=namespace_labels,
        kinds=(kind.kind, f"{kind.group}/{kind.kind}") if kind.group else (kind.kind,),
        names=_names(request.name, own),
        user=(user.username if user else None) or "",
        groups=tuple((user.groups if user else None) or ()),
        # A name with a slash could otherwise be that of another namespace's account.
        service_accounts=(f"{namespace}/{account}",) if "/" in account else (account, f"{namespace}/{account}"),
        labels=_merged([metadata.labels for metadata in layers if metadata]),
        annotations=_merged([metadata.annotations for metadata in layers if metadata]),
    )


def _names(name: str | None, metadata: Metadata | None) -> tuple[str, ...]:
    """Return the object's name, or the beginning of it while the API server has not chosen the rest."""
    own = name or (metadata.name or metadata.generateName if metadata else None)
    return (own,) if own else ()


def _merged(layers: Iterable[dict[str, str | None] | None]) -> dict[str, str]:
    return {key: value or "" for layer in layers for key, value in (layer or {}).items()}
