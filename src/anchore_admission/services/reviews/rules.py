"""The rules of the configuration that reviews follow, and how a reload replaces them."""

from collections.abc import Sequence
from dataclasses import dataclass

from anchore_admission.core.rules.book import RuleBook, compile_rules
from anchore_admission.core.rules.exemptions import NO_EXEMPTIONS, Exemption, ExemptionBook, compile_exemptions
from anchore_admission.models.configuration import Configuration, Pin, UnknownKinds, WorkloadHandling


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of the configuration that reviews follow, and their bounds.

    ``notice`` is a warning that every response about images carries; reviews by hand do not show it.
    """

    book: RuleBook
    workloads: WorkloadHandling = WorkloadHandling.FINAL
    unknown_kinds: UnknownKinds = UnknownKinds.WARN
    max_findings: int = 5
    max_images: int = 200
    notice: str = ""
    exemptions: ExemptionBook = NO_EXEMPTIONS
    needs_namespace_labels: bool = False
    """True if a verdict may depend on the labels of a namespace."""
    fresh: float = 600.0
    """Seconds for which it counts where a tag pointed to, for pinning it (``tags.refreshInterval``)."""
    pins: bool = False
    """True if a rule pins tags."""
    hook: str = ""
    """The policy of the decision hook; empty if there is no hook."""
    requires_pins: bool = False
    """True if a rule denies Pods whose images have no digest."""

    @classmethod
    def of(cls, configuration: Configuration) -> "Rules":
        """Compile the rules of a configuration."""
        book = compile_rules(configuration.rules, configuration.defaults)
        pins = {rule.pin for rule in (*book.rules, book.defaults)}
        exemptions = compile_exemptions(configuration.exemptions, configuration.limits.exemption_days)
        return cls(
            book,
            workloads=configuration.workloads,
            unknown_kinds=configuration.unknown_kinds,
            max_findings=configuration.messages.max_findings,
            max_images=configuration.limits.images,
            notice=configuration.messages.notice or "",
            exemptions=exemptions,
            fresh=configuration.tags.refresh_interval,
            pins=not pins <= {Pin.OFF},
            hook=configuration.opa.path if configuration.opa else "",
            requires_pins=Pin.REQUIRED in pins,
            needs_namespace_labels=book.needs_namespace_labels or exemptions.index.needs_namespace_labels,
        )


@dataclass(slots=True)
class CurrentRules:
    """The rules that reviews follow now. A reload replaces them as a whole; a review reads them once, at its start."""

    current: Rules

    def exemptions(self) -> Sequence[Exemption]:
        """Return the exemptions of the rules, for metrics and announcements."""
        return self.current.exemptions.all
