"""Moved tags: when Anchore's answer to a submission counts before what a look-up says."""

from dataclasses import dataclass

from anchore_admission.core.facts import ImageRecord


@dataclass(frozen=True, slots=True)
class TagAnswer:
    """The digest that Anchore resolved a tag to when it was submitted.

    ``before`` is what a look-up said of the tag just before: a digest, empty where Anchore held none, None where there
    was no look-up. ``at`` is the time of the answer in monotonic seconds.
    """

    digest: str
    at: float
    before: str | None = None

    def overrides(self, found: ImageRecord | None) -> bool:
        """Return whether this is newer than what a look-up says of the tag now.

        Anchore reports the digest that it learned of last. While that is the one from before the submission, the
        answer is newer (a tag that went from A to B and back to A); any other has been added since.
        """
        return found is None or self.before == found.digest != self.digest
