"""The parts of Kubernetes objects that a verdict depends on: one narrow tree that fits every kind.

All other members are ignored, so that a new Kubernetes release cannot break the reading.
"""

from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

EntryT = TypeVar("EntryT")
MAX_ENTRIES = 2000
"""Containers, volumes or owners of one object. More are rejected: each takes a hundred times its own bytes."""
Bounded = Annotated[list[EntryT], Field(max_length=MAX_ENTRIES)]
MAX_KEYS = 10_000
"""Labels or annotations of one object."""
Keys = Annotated[dict[str, str | None], Field(max_length=MAX_KEYS)]


class Shape(BaseModel):
    """Base of the wire shapes: unknown keys ignored, types exact, values frozen."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class Container(Shape):
    name: str | None = None
    image: str | None = None


class ImageVolumeSource(Shape):
    reference: str | None = None


class Volume(Shape):
    name: str | None = None
    image: ImageVolumeSource | None = None


class OwnerReference(Shape):
    apiVersion: str | None = None
    kind: str | None = None
    controller: bool | None = None


class Metadata(Shape):
    name: str | None = None
    generateName: str | None = None
    namespace: str | None = None
    labels: Keys | None = None
    annotations: Keys | None = None
    ownerReferences: Bounded[OwnerReference] | None = None
    deletionTimestamp: str | None = None


class PodSpec(Shape):
    initContainers: Bounded[Container] | None = None
    containers: Bounded[Container] | None = None
    ephemeralContainers: Bounded[Container] | None = None
    volumes: Bounded[Volume] | None = None
    nodeName: str | None = None
    serviceAccountName: str | None = None
    serviceAccount: str | None = None


class PodTemplate(Shape):
    metadata: Metadata | None = None
    spec: PodSpec | None = None


class JobSpec(Shape):
    template: PodTemplate | None = None


class JobTemplate(Shape):
    spec: JobSpec | None = None


class WorkloadSpec(PodSpec):
    """A Pod's spec, or one that carries a template (``template``) or a Job (``jobTemplate``)."""

    template: PodTemplate | None = None
    jobTemplate: JobTemplate | None = None


class Workload(Shape):
    """Any object that may carry a Pod spec. ``template`` is a PodTemplate's own.

    ``ephemeralContainers`` stands at the top of the kind EphemeralContainers, which Kubernetes before 1.22 sends.
    """

    apiVersion: str | None = None
    kind: str | None = None
    metadata: Metadata | None = None
    spec: WorkloadSpec | None = None
    template: PodTemplate | None = None
    ephemeralContainers: Bounded[Container] | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An object that cannot be read as a workload, or of which only the metadata was read.

    ``reason`` never repeats the object's values.
    """

    reason: str
    metadata: Metadata | None = None
