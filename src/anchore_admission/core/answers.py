"""Questions to Anchore, and what it answers: the pieces that the facts about an image are assembled from."""

from msgspec import Struct

from anchore_admission.core.facts import AnalysisState, ImageRecord, PolicyEvaluation


class ByTag(Struct, frozen=True, gc=False):
    """Ask for the image that Anchore holds under a full tag."""

    full_tag: str


class ByDigest(Struct, frozen=True, gc=False):
    """Ask for the image that Anchore holds under a digest, its own or that of its manifest list."""

    digest: str


class Check(Struct, frozen=True, gc=False):
    """Ask whether an image passes a policy (None: the active one) under a full tag."""

    digest: str
    full_tag: str
    policy: str | None


Query = ByTag | ByDigest | Check
"""One call to Anchore."""
Value = ImageRecord | PolicyEvaluation | AnalysisState | None
"""The value of an answer: a record, None where Anchore surely holds none, an evaluation, or the state of an image that
cannot be evaluated."""
