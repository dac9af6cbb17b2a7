"""The report about one image that other policy engines read: what Anchore knows about it, and our verdict on it.

Part of the interface of policies: members are added, never renamed or removed.
"""

from typing import Literal

from msgspec import Struct

from anchore_admission.models.configuration import ModeName

PolicyAction = Literal["go", "warn", "stop"]
"""Anchore's words for the result of a policy, from the mildest to the strictest."""
FindingAction = Literal["warn", "stop"]


class _Report(Struct, frozen=True, rename="camel"):
    """Base of the parts of a report: frozen, with the names of JSON."""


class ReportedPlace(_Report, frozen=True):
    """One place of the object that names the image.

    ``field`` is the path of the text in the object, such as ``spec.template.spec.containers[0].image``. ``list_name``
    and ``index`` lead from the Pod spec to the container or volume, whose name is ``name``.
    """

    field: str
    name: str
    list_name: str
    index: int


class ReportedEvaluation(_Report, frozen=True):
    """The result of Anchore's policy. Of several names of the image, it is the result that decides the verdict.

    ``mapped`` is False if no mapping of the policy covers the image, so that no rule of it was evaluated. With any of
    ``problems``, the result cannot be trusted.
    """

    policy: str
    action: PolicyAction
    reason: str
    mapped: bool
    problems: tuple[str, ...] = ()


class ReportedFinding(_Report, frozen=True):
    """One finding of the policy that no allow list excuses.

    ``id`` is that of the vulnerability and ``package`` the package it is in, for the gate ``vulnerabilities``; outside
    the operating system's packages, its version follows after a hyphen. Of any other gate, ``id`` is Anchore's trigger
    ID. ``severity`` is in upper case. Texts that Anchore does not tell are empty, so that an empty ``fix`` means that
    no fixed version is known.
    """

    gate: str
    trigger: str
    id: str
    severity: str
    package: str
    fix: str
    action: FindingAction
    message: str


class ReportedVerdict(_Report, frozen=True):
    """The verdict of the rule's mode on the image, before exemptions and ``enforcement`` turn it into an effect."""

    decision: str
    reason: str


class ReportedExemption(_Report, frozen=True):
    """An exemption that holds for the image now.

    ``limited`` is True if it excuses only some findings. ``applied`` is True if the image is not denied because of it.
    """

    name: str
    limited: bool
    applied: bool


class ImageReport(_Report, frozen=True):
    """Everything about one image. What is not known is null, and never a value that could mean "nothing found".

    ``reference`` is the text as the object has it. ``repository`` has one spelling for each registry, such as
    ``docker.io/library/nginx``; it is null if the text is no reference. ``digest`` is that of the image in Anchore, or
    the one that the reference names. ``unchanged`` is True for an image that an update leaves as it is: nothing was
    asked about it, so that ``rule`` and everything after it is null. ``state`` is null if Anchore was not asked or did
    not respond. ``findings`` are the worst, worst first; ``findings_total`` counts all, and is null if their number is
    not known or if the policy was not evaluated as a whole: ``findings`` then lacks some, or all. ``error`` is the code
    of the failure because of which a part of the report is missing.

    ``answer_age`` is the age in seconds of the oldest answer of Anchore that the report rests on, and ``stale`` is True
    if one of them stands in for an Anchore that cannot be asked; both are null without an answer. ``exemptions`` are
    those of the configuration that hold for the image in this object; null where there is no object.
    """

    reference: str
    repository: str | None = None
    tag: str | None = None
    digest: str | None = None
    parent_digest: str | None = None
    places: tuple[ReportedPlace, ...] = ()
    unchanged: bool = False
    rule: str | None = None
    mode: ModeName | None = None
    state: str | None = None
    architecture: str | None = None
    analyzed_at: str | None = None
    evaluation: ReportedEvaluation | None = None
    findings: tuple[ReportedFinding, ...] = ()
    findings_total: int | None = None
    verdict: ReportedVerdict | None = None
    error: str | None = None
    answer_age: int | None = None
    stale: bool | None = None
    exemptions: tuple[ReportedExemption, ...] | None = None
