"""The configuration file as a whole."""

from typing import Annotated

from pydantic import Field

from anchore_admission.models.configuration.base import Section, off_in
from anchore_admission.models.configuration.exemptions import MAX_EXEMPTIONS, ExemptionSection
from anchore_admission.models.configuration.opa import OpaSection
from anchore_admission.models.configuration.rules import MAX_RULES, DefaultsSection, RuleSection
from anchore_admission.models.configuration.sections import (
    AccountSection,
    AnchoreSection,
    HintsSection,
    LimitsSection,
    LookupsSection,
    MemorySection,
    MessagesSection,
    PassiveSection,
    SubmissionsSection,
    TagsSection,
    TimeoutsSection,
)
from anchore_admission.models.configuration.store import SharedStoreSection
from anchore_admission.models.configuration.words import UnknownKinds, WorkloadHandling


class Configuration(Section):
    """The configuration file of anchore-admission."""

    anchore: AnchoreSection = AnchoreSection()
    """The Anchore deployment to use."""
    accounts: list[AccountSection] = Field([])
    """Credentials for Anchore; the account default may be left out if its credentials are in the environment."""
    defaults: DefaultsSection = DefaultsSection()
    """The values for images that no rule matches, and for keys that a rule leaves out."""
    rules: Annotated[list[RuleSection], Field(max_length=MAX_RULES)] = Field([])
    """The first rule that matches an image applies to it."""
    exemptions: Annotated[list[ExemptionSection], Field(max_length=MAX_EXEMPTIONS)] = Field([])
    """Images that are admitted although they are denied, for a reason and until a date."""
    passive: PassiveSection = PassiveSection()
    """Passive mode."""
    tags: TagsSection = TagsSection()
    """Tags that move to another image."""
    submissions: SubmissionsSection = SubmissionsSection()
    """The queue of submissions to Anchore for analysis."""
    lookups: LookupsSection = LookupsSection()
    """Calls to Anchore that a verdict waits for."""
    memory: MemorySection = MemorySection()
    """How long Anchore's answers are remembered."""
    hints: HintsSection = HintsSection()
    """What tells early of changes in Anchore."""
    timeouts: TimeoutsSection = TimeoutsSection()
    """Bounds of single calls to Anchore."""
    limits: LimitsSection = LimitsSection()
    """Bounds of size."""
    messages: MessagesSection = MessagesSection()
    """The text of a denial."""
    shared_store: SharedStoreSection | None = None
    """A Redis or Valkey server that the replicas share; null uses none."""
    opa: OpaSection | None = None
    """An Open Policy Agent that may deny what Anchore admits; null asks none."""
    workloads: Annotated[WorkloadHandling, off_in(WorkloadHandling)] = WorkloadHandling.FINAL
    """The effect of a denial on templates of Pods (Deployment, Job, ...); Pods themselves are always judged in full."""
    unknown_kinds: UnknownKinds = UnknownKinds.WARN
    """The response to an object of a kind whose images cannot be found."""

    @property
    def judges_every_update(self) -> bool:
        """True if updates that change no image are judged, so that API servers have to send them."""
        return bool(self.opa and self.opa.asks_always)
