"""The workload that an object belongs to: a Deployment for the Pods of its ReplicaSets."""

from anchore_admission.models.review import AdmissionRequest
from anchore_admission.models.workload import Metadata, OwnerReference

_MOST = 100_000
_LONGEST = 253
"""Characters of the longest object name in Kubernetes."""
_BETWEEN = frozenset({"ReplicaSet", "Job"})
"""Kinds that stand between a Pod and the workload that people know."""
Name = tuple[str, str]
"""Kind and name."""


def controller_of(metadata: Metadata | None) -> OwnerReference | None:
    """Return the controller that owns an object; None if no owner is its controller."""
    owners = (metadata.ownerReferences if metadata else None) or ()
    return next((owner for owner in owners if owner.controller), None)


class Owners:
    """Finds the workloads that objects belong to, as far as the objects between them have been seen.

    Anyone can write an owner into an object. It only decides under which name the object is counted.
    """

    def __init__(self) -> None:
        self._above: dict[tuple[str, Name], Name] = {}

    def of(self, request: AdmissionRequest) -> Name:
        """Return kind and name of the topmost owner of a request's object, or the object's own."""
        metadata = request.object.metadata if request.object else None
        namespace, own = request.namespace or "", name_of(request)
        owner = controller_of(metadata)
        if owner is None or not owner.kind or not owner.name:
            return own
        above = _cut(owner.kind, owner.name)
        if own[0] in _BETWEEN and len(self._above) < _MOST:
            self._above[namespace, own] = above
        return self._above.get((namespace, above), above)


def name_of(request: AdmissionRequest) -> Name:
    """Return kind and name of a request's object; a name that is still to be generated ends with a star."""
    metadata = request.object.metadata if request.object else None
    name = request.name or (metadata.name if metadata else None)
    generated = f"{metadata.generateName}*" if metadata and metadata.generateName else ""
    return _cut(request.kind.kind, name or generated)


def _cut(kind: str, name: str) -> Name:
    """Cut what Kubernetes would reject: the report keeps the names of many objects."""
    return kind[:_LONGEST], name[:_LONGEST]
