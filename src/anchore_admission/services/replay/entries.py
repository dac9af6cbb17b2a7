"""The entries of a replay: requests to judge, and the parts of the input that hold none."""

from enum import StrEnum

from msgspec import Struct

from anchore_admission.models.review import AdmissionRequest


class LeftOut(StrEnum):
    """A part of the input that is not judged."""

    OTHER_EVENT = "otherEvents"
    """An audit event about another resource, verb or stage."""
    NO_OBJECT = "withoutObject"
    """An audit event without the object, as at level Metadata."""
    NO_RESULT = "patchesWithoutResult"
    """A patch without the object that results from it, as at level Request."""
    DENIED_PATCH = "deniedPatches"
    """A patch that was denied: no log holds the object that would have resulted."""
    REJECTED = "rejected"
    """A request that the API server rejected for another reason than admission."""


class Recorded(Struct, frozen=True):
    """A request to judge. ``assumes_new`` is True for an update whose old object is not known."""

    request: AdmissionRequest
    source: str = ""
    assumes_new: bool = False


class Unread(Struct, frozen=True):
    """A part of the input that cannot be read. The reason never repeats the input."""

    source: str
    reason: str


Entry = Recorded | LeftOut | Unread
