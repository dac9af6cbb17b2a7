"""The configuration file, key for key what users write."""

from anchore_admission.models.configuration.exemptions import ExemptionSection
from anchore_admission.models.configuration.file import Configuration
from anchore_admission.models.configuration.rules import (
    EXPRESSION,
    ActionSection,
    BreakGlassSection,
    DefaultsSection,
    Expression,
    LabelSelector,
    Match,
    MatchKeys,
    RuleSection,
    ValueFrom,
)
from anchore_admission.models.configuration.sections import AccountSection, AnchoreSection, MemorySection
from anchore_admission.models.configuration.store import SharedStoreSection, Topology
from anchore_admission.models.configuration.words import (
    ApiVersion,
    Enforcement,
    ModeName,
    OnError,
    Pin,
    UnknownKinds,
    WorkloadHandling,
)

__all__ = [
    "EXPRESSION",
    "AccountSection",
    "ActionSection",
    "AnchoreSection",
    "ApiVersion",
    "BreakGlassSection",
    "Configuration",
    "DefaultsSection",
    "Enforcement",
    "ExemptionSection",
    "Expression",
    "LabelSelector",
    "Match",
    "MatchKeys",
    "MemorySection",
    "ModeName",
    "OnError",
    "Pin",
    "RuleSection",
    "SharedStoreSection",
    "Topology",
    "UnknownKinds",
    "ValueFrom",
    "WorkloadHandling",
]
