"""The images that a workload pulls, and the place of each."""

from collections.abc import Callable, Iterable

from msgspec import Struct

from anchore_admission.core.reference import MAX_TEXT
from anchore_admission.models.review import GroupVersionKind
from anchore_admission.models.workload import Metadata, PodSpec, Workload

_MAX_NAME = 253
"""Characters of the longest object name in Kubernetes."""
_VOLUMES = "volumes"
_NEVER = "Never"
"""The pull policy of an image that must be on the node already; the API server sets the default of the others."""


class PodView(Struct, frozen=True):
    """The Pod spec that a workload carries, with the metadata of the Pods it makes."""

    spec: PodSpec
    metadata: Metadata | None


class ContainerImage(Struct, frozen=True):
    """One place that pulls an image. ``image`` is empty where the workload names none.

    Both texts are cut; a cut image text is still too long to be a valid reference. ``index`` is the place in the list
    ``field``; ``is_never_pulled`` is True if the image must be on the node already.
    """

    field: str
    name: str
    image: str
    index: int = 0
    is_never_pulled: bool = False

    @property
    def place(self) -> str:
        """The place as messages name it: ``initContainers "setup"``."""
        return f'{self.field} "{self.name}"'

    @property
    def pointer(self) -> str:
        """The JSON pointer of the image text in a Pod (RFC 6901)."""
        return f"/spec/{self.field}/{self.index}/{'image/reference' if self.field == _VOLUMES else 'image'}"


def _pod(workload: Workload) -> PodView | None:
    return PodView(workload.spec, workload.metadata) if workload.spec else None


def _template(workload: Workload) -> PodView | None:
    template = workload.spec.template if workload.spec else None
    return PodView(template.spec, template.metadata) if template and template.spec else None


def _pod_template(workload: Workload) -> PodView | None:
    template = workload.template
    return PodView(template.spec, template.metadata) if template and template.spec else None


def _cron_job(workload: Workload) -> PodView | None:
    job = workload.spec.jobTemplate if workload.spec else None
    template = job.spec.template if job and job.spec else None
    return PodView(template.spec, template.metadata) if template and template.spec else None


def _ephemeral_containers(workload: Workload) -> PodView | None:
    return PodView(PodSpec(ephemeralContainers=workload.ephemeralContainers), workload.metadata)


# Without versions: the images stand at the same place in all of them, also in apps/v1beta1 and batch/v1beta1.
KINDS: dict[tuple[str, str], Callable[[Workload], PodView | None]] = {
    ("", "Pod"): _pod,
    ("", "EphemeralContainers"): _ephemeral_containers,
    ("", "PodTemplate"): _pod_template,
    ("", "ReplicationController"): _template,
    ("apps", "Deployment"): _template,
    ("apps", "ReplicaSet"): _template,
    ("apps", "StatefulSet"): _template,
    ("apps", "DaemonSet"): _template,
    # Served before Kubernetes 1.16.
    ("extensions", "Deployment"): _template,
    ("extensions", "ReplicaSet"): _template,
    ("extensions", "DaemonSet"): _template,
    ("batch", "Job"): _template,
    ("batch", "CronJob"): _cron_job,
}
_SPECS: dict[Callable[[Workload], PodView | None], tuple[str, ...]] = {
    _pod: ("spec",),
    _template: ("spec", "template", "spec"),
    _pod_template: ("template", "spec"),
    _cron_job: ("spec", "jobTemplate", "spec", "template", "spec"),
    _ephemeral_containers: (),
}
"""The keys that lead to what holds the containers."""
POD_KINDS = frozenset({("", "Pod"), ("", "EphemeralContainers")})
"""The kinds whose images are pulled at once; all others are templates of future Pods."""


def is_known(kind: GroupVersionKind) -> bool:
    return (kind.group, kind.kind) in KINDS


def is_pod(kind: GroupVersionKind) -> bool:
    return (kind.group, kind.kind) in POD_KINDS


def pod_view(kind: GroupVersionKind, workload: Workload | None) -> PodView | None:
    """Return the Pod spec of a workload of a known kind; None where the workload carries none (yet)."""
    return KINDS[kind.group, kind.kind](workload) if workload else None


def image_path(kind: GroupVersionKind, place: ContainerImage) -> tuple[str | int, ...]:
    """Return the keys and indexes that lead from an object of a known kind to the text of an image."""
    text = ("image", "reference") if place.field == _VOLUMES else ("image",)
    return (*_SPECS[KINDS[kind.group, kind.kind]], place.field, place.index, *text)


def images(spec: PodSpec) -> list[ContainerImage]:
    """Return every image a Pod pulls, in the order that messages use."""
    found: list[ContainerImage] = []
    for field, containers in (
        ("initContainers", spec.initContainers),
        ("containers", spec.containers),
        ("ephemeralContainers", spec.ephemeralContainers),
    ):
        if containers:
            found += [_place(field, n, c.name, c.image, c.imagePullPolicy) for n, c in enumerate(containers)]
    # Image volumes (KEP-4639) pull from a registry as containers do; Kubernetes 1.35 enables them by default.
    for index, volume in enumerate(spec.volumes or ()):
        if volume.image:
            found.append(_place(_VOLUMES, index, volume.name, volume.image.reference, volume.image.pullPolicy))
    return found


def _place(field: str, index: int, name: str | None, image: str | None, policy: str | None) -> ContainerImage:
    return ContainerImage(field, (name or "")[:_MAX_NAME], (image or "")[: MAX_TEXT + 1], index, policy == _NEVER)


def service_account(spec: PodSpec) -> str:
    """Return the name of the service account. As in the API server, the old name of the field counts where the new one
    is empty (k8s.io/kubernetes, ``Convert_v1_PodSpec_To_core_PodSpec``).
    """
    return spec.serviceAccountName or spec.serviceAccount or "default"


def changes_images(kind: GroupVersionKind, new: Workload, old: Workload | None) -> bool:
    """Return whether an update names an image that the old object does not name anywhere."""
    view, before = pod_view(kind, new), pod_view(kind, old)
    return bool(view and changed(images(view.spec), before.spec if before else None))


def changed(new: Iterable[ContainerImage], old: PodSpec | None) -> list[ContainerImage]:
    """Return the images that the old Pod spec does not name anywhere."""
    # An unchanged image is not judged again: a new CVE must not block label changes and the removal of finalizers.
    known = {image.image for image in images(old)} if old else set()
    return [image for image in new if image.image not in known]
