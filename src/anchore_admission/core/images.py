"""The images of a request that have to be judged: the new ones, each once, with the rule it falls under."""

from collections.abc import Iterable

from msgspec import Struct

from anchore_admission.core import workload
from anchore_admission.core.decision import Reason
from anchore_admission.core.reference import ImageReference, is_image_id, not_for_anchore, parse
from anchore_admission.core.rules.book import Rule, RuleBook
from anchore_admission.core.rules.match import Circumstances, image_names, text_names
from anchore_admission.core.workload import ContainerImage, PodView
from anchore_admission.errors import InvalidImageReference
from anchore_admission.models.review import AdmissionRequest


class Uncheckable(Struct, frozen=True):
    """The reason why Anchore cannot check an image text; ``problem`` says what is wrong with the reference."""

    reason: Reason
    problem: str = ""


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


def distinct_images(request: AdmissionRequest, view: PodView) -> dict[str, list[ContainerImage]]:
    """Return the places of each image text to judge, in the order of their first place."""
    places: dict[str, list[ContainerImage]] = {}
    for place in _images_to_judge(request, view):
        places.setdefault(place.image, []).append(place)
    return places


def judged_images(
    request: AdmissionRequest, view: PodView, book: RuleBook, places: dict[str, list[ContainerImage]]
) -> list[JudgedImage]:
    """Parse each image text and select the rule that it falls under.

    The conditions on anything but the image are evaluated once for all images, see ``RuleBook.narrowed``.
    """
    circumstances = circumstances_of(request, view) if book.rules else Circumstances()
    book = book.narrowed(circumstances)
    return [_judged(text, tuple(found), circumstances, book) for text, found in places.items()]


def _images_to_judge(request: AdmissionRequest, view: PodView) -> list[ContainerImage]:
    """Return the new images. A container without an image counts in a Pod; in a template, it is legal."""
    images = workload.images(view.spec)
    if not workload.is_pod(request.kind):
        images = [image for image in images if image.image]
    if request.operation != "UPDATE":
        return images
    old = workload.pod_view(request.kind, request.oldObject)
    return workload.changed(images, old.spec if old else None)


def _judged(text: str, places: tuple[ContainerImage, ...], circumstances: Circumstances, book: RuleBook) -> JudgedImage:
    """Parse the text once: the result gives both the names to match rules with and the reference to judge."""
    # First, because `sha256:<hex>` is also a valid reference (to docker.io/library/sha256), although containerd may run
    # a local image by it.
    if is_image_id(text):
        rule = book.strictest(text, circumstances)
        return JudgedImage(text, places, Uncheckable(Reason.IMAGE_ID), rule)
    meaning: ImageReference | Uncheckable
    try:
        reference = parse(text)
    except InvalidImageReference as error:
        names = text_names(text)
        meaning = Uncheckable(Reason.MALFORMED_REFERENCE, str(error)) if text else Uncheckable(Reason.NO_IMAGE)
    else:
        names = image_names(reference) if book.rules else ()
        problem = not_for_anchore(reference)
        meaning = Uncheckable(Reason.UNSUPPORTED_REFERENCE, problem) if problem else reference
    return JudgedImage(text, places, meaning, book.select(names, circumstances))


def circumstances_of(request: AdmissionRequest, view: PodView) -> Circumstances:
    """Return everything about a request that rules may match, except its images.

    A template's labels and annotations override the workload's own, because its Pods carry them.
    """
    own = request.object.metadata if request.object else None
    layers = (own,) if view.metadata is own else (own, view.metadata)
    account = workload.service_account(view.spec)
    # The namespace of the request counts: the API server sets it, the object may leave it out.
    user, kind, namespace = request.userInfo, request.kind, request.namespace or ""
    return Circumstances(
        namespace=namespace,
        kinds=(kind.kind, f"{kind.group}/{kind.kind}") if kind.group else (kind.kind,),
        user=(user.username if user else None) or "",
        groups=tuple((user.groups if user else None) or ()),
        service_accounts=(account, f"{namespace}/{account}"),
        labels=_merged([metadata.labels for metadata in layers if metadata]),
        annotations=_merged([metadata.annotations for metadata in layers if metadata]),
    )


def _merged(layers: Iterable[dict[str, str | None] | None]) -> dict[str, str]:
    return {key: value or "" for layer in layers for key, value in (layer or {}).items()}
