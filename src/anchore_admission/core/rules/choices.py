"""Choices of a rule: a policy, an account or a mode by the value of a label or annotation."""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from anchore_admission.core.rules.match import Circumstances
from anchore_admission.models.configuration import ValueFrom


class Source(StrEnum):
    """The place of the value that chooses; the values are the keys of the configuration."""

    NAMESPACE_LABEL = "namespaceLabel"
    LABEL = "label"
    ANNOTATION = "annotation"


class Choice(Struct, frozen=True):
    """One choice; ``field`` of the rule gets the entry of ``allowed`` for the value."""

    field: str
    source: Source
    key: str
    allowed: Mapping[str, str | None]

    @classmethod
    def of(cls, field: str, section: ValueFrom, allowed: Mapping[str, str | None]) -> "Choice":
        """Compile a section such as ``policyFrom``."""
        source, key = next((source, key) for source, key in _sources(section) if key)
        return cls(field, source, key, allowed)

    @property
    def by_author(self) -> bool:
        """True if the author of a workload sets the value."""
        return self.source is not Source.NAMESPACE_LABEL

    def value(self, circumstances: Circumstances) -> str | None:
        """Return the value that chooses; None if there is none."""
        match self.source:
            case Source.NAMESPACE_LABEL:
                return (circumstances.namespace_labels or {}).get(self.key)
            case Source.LABEL:
                return circumstances.labels.get(self.key)
            case Source.ANNOTATION:
                return circumstances.annotations.get(self.key)


def _sources(section: ValueFrom) -> tuple[tuple[Source, str | None], ...]:
    return (
        (Source.NAMESPACE_LABEL, section.namespace_label),
        (Source.LABEL, section.label),
        (Source.ANNOTATION, section.annotation),
    )
