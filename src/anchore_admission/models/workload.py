"""The parts of Kubernetes objects that a verdict depends on: one narrow tree that fits every kind.

All other members are ignored, so that a new Kubernetes release cannot break the reading.
"""

from dataclasses import dataclass
from typing import Annotated, TypeVar

from msgspec import Meta, Struct

EntryT = TypeVar("EntryT")
MAX_ENTRIES = 2000
"""Containers, volumes or owners of one object. More are rejected: each takes some times its own bytes."""
Bounded = Annotated[list[EntryT], Meta(max_length=MAX_ENTRIES)]
MAX_KEYS = 10_000
"""Labels or annotations of one object."""
Keys = Annotated[dict[str, str | None], Meta(max_length=MAX_KEYS)]


class Shape(Struct, frozen=True):
    """Base of the wire shapes: unknown keys ignored, types exact, values frozen."""


class Container(Shape, frozen=True):
    name: str | None = None
    image: str | None = None
    imagePullPolicy: str | None = None


class ImageVolumeSource(Shape, frozen=True):
    reference: str | None = None
    pullPolicy: str | None = None


class Volume(Shape, frozen=True):
    name: str | None = None
    image: ImageVolumeSource | None = None


class OwnerReference(Shape, frozen=True):
    apiVersion: str | None = None
    kind: str | None = None
    name: str | None = None
    controller: bool | None = None


class Metadata(Shape, frozen=True):
    name: str | None = None
    generateName: str | None = None
    namespace: str | None = None
    labels: Keys | None = None
    annotations: Keys | None = None
    ownerReferences: Bounded[OwnerReference] | None = None
    deletionTimestamp: str | None = None


class PodSpec(Shape, frozen=True):
    initContainers: Bounded[Container] | None = None
    containers: Bounded[Container] | None = None
    ephemeralContainers: Bounded[Container] | None = None
    volumes: Bounded[Volume] | None = None
    nodeName: str | None = None
    serviceAccountName: str | None = None
    serviceAccount: str | None = None


class PodTemplate(Shape, frozen=True):
    metadata: Metadata | None = None
    spec: PodSpec | None = None


class JobSpec(Shape, frozen=True):
    template: PodTemplate | None = None


class JobTemplate(Shape, frozen=True):
    spec: JobSpec | None = None


class WorkloadSpec(PodSpec, frozen=True):
    """A Pod's spec, or one that carries a template (``template``) or a Job (``jobTemplate``)."""

    template: PodTemplate | None = None
    jobTemplate: JobTemplate | None = None


class Workload(Shape, frozen=True):
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
