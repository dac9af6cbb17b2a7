"""The compiled rule book: an image of a workload falls under the first rule that matches."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from anchore_admission.core.rules.match import Circumstances, Condition, ImageCondition, conditions_of
from anchore_admission.models.configuration import DefaultsSection, Enforcement, ModeName, OnError, RuleSection

DEFAULTS_NAME = "defaults"


class Rule(Struct, frozen=True):
    """The treatment of an image. ``policy`` None means the account's active policy."""

    name: str
    mode: ModeName
    account: str
    policy: str | None
    enforcement: Enforcement
    on_error: OnError
    request_analysis: bool
    require_mapping: bool


class RuleBook(Struct, frozen=True):
    """The rules in order, and the defaults for an image that none matches."""

    rules: tuple[tuple[tuple[Condition, ...], Rule], ...]
    defaults: Rule

    @property
    def using_anchore(self) -> list[Rule]:
        """Every rule that needs Anchore, the defaults included."""
        rules = (*(rule for _, rule in self.rules), self.defaults)
        return [rule for rule in rules if rule.mode is not ModeName.SKIP]

    def select(self, names: tuple[str, ...], circumstances: Circumstances) -> Rule:
        """Return the first rule whose conditions all hold for an image known by these names."""
        for conditions, rule in self.rules:
            for condition in conditions:
                if not condition(names, circumstances):
                    break
            else:
                return rule
        return self.defaults

    def narrowed(self, circumstances: Circumstances) -> "RuleBook":
        """Return the rules that some image may fall under in these circumstances, with their conditions on images.

        An author chooses how many images there are, and how long the annotations. Conditions on anything but the image
        are therefore evaluated once for an object, not once for each of its images.
        """
        rules: list[tuple[tuple[Condition, ...], Rule]] = []
        for conditions, rule in self.rules:
            others = [condition for condition in conditions if not isinstance(condition, ImageCondition)]
            if all(condition((), circumstances) for condition in others):
                rules.append((tuple(c for c in conditions if isinstance(c, ImageCondition)), rule))
                # This rule has no condition on images, so none gets past it.
                if len(others) == len(conditions):
                    break
        return RuleBook(tuple(rules), self.defaults)

    def possible(self, circumstances: Circumstances, names: tuple[str, ...] = ()) -> Iterator[Rule]:
        """Yield every rule that some image may fall under in these circumstances, to the first that ``names`` match."""
        for conditions, rule in self.rules:
            if all(isinstance(holds, ImageCondition) or holds(names, circumstances) for holds in conditions):
                yield rule
                if all(holds(names, circumstances) for holds in conditions):
                    return
        yield self.defaults

    def strictest(self, image_id: str, circumstances: Circumstances) -> Rule:
        """Return the strictest rule that may apply to an image ID.

        The ID may belong to any image, and the author of the workload must not be able to choose a laxer rule with it.
        Rules below one that matches image IDs (``sha256:*``) or everything (``*``) do not count.
        """
        return max(reversed(list(self.possible(circumstances, (image_id,)))), key=_strictness)


_ENFORCEMENTS = (Enforcement.AUDIT, Enforcement.WARN, Enforcement.DENY)


def _strictness(rule: Rule) -> tuple[bool, int]:
    return rule.mode in {ModeName.ANALYSIS, ModeName.STRICT}, _ENFORCEMENTS.index(rule.enforcement)


def compile_rules(sections: Sequence[RuleSection], defaults: DefaultsSection) -> RuleBook:
    """Compile the configured rules; ``defaults`` fills in the keys that a rule leaves out."""
    return RuleBook(
        tuple((conditions_of(section.match), _rule(section, defaults)) for section in sections),
        _rule(RuleSection(name=DEFAULTS_NAME), defaults),
    )


def _rule(section: RuleSection, defaults: DefaultsSection) -> Rule:
    """Fill in the defaults. An explicit ``policy: null`` means the active policy, even if the defaults name another."""
    written = section.model_fields_set
    return Rule(
        name=section.name,
        mode=section.mode or defaults.mode,
        account=section.account or defaults.account,
        policy=section.policy if "policy" in written else defaults.policy,
        enforcement=section.enforcement or defaults.enforcement,
        on_error=section.on_error or defaults.on_error,
        request_analysis=defaults.request_analysis if section.request_analysis is None else section.request_analysis,
        require_mapping=defaults.require_mapping if section.require_mapping is None else section.require_mapping,
    )
