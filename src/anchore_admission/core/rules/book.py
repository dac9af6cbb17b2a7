"""The compiled rule book: an image of a workload falls under the first rule that matches."""

from collections.abc import Iterator, Sequence
from itertools import product

from msgspec import Struct, structs

from anchore_admission.core.decision import Reason
from anchore_admission.core.rules.choices import Choice
from anchore_admission.core.rules.index import Holding, MatchIndex, Narrowed, positions
from anchore_admission.core.rules.match import Circumstances
from anchore_admission.models.configuration import DefaultsSection, Enforcement, ModeName, OnError, Pin, RuleSection
from anchore_admission.text import shown

DEFAULTS_NAME = "defaults"
_VALUE_LIMIT = 63


class Rule(Struct, frozen=True):
    """The treatment of an image. ``policy`` None means the account's active policy.

    Where ``choices`` decide, the other values are those of the strictest choice.
    """

    name: str
    mode: ModeName
    account: str
    policy: str | None
    enforcement: Enforcement
    on_error: OnError
    request_analysis: bool
    require_mapping: bool
    choices: tuple[Choice, ...] = ()
    break_glass: str | None = None
    """The annotation of a denied Pod that holds the reason to start it anyway."""
    break_glass_users: frozenset[str] = frozenset()
    """The users whom the rule names exactly: service accounts have break-glass only if they are among these."""
    pin: Pin = Pin.OFF
    uses_hook: bool = True
    """False if the decision hook has no say about images of this rule."""

    @property
    def can_deny(self) -> bool:
        """True if the mode may deny an image."""
        return self.mode in {ModeName.ANALYSIS, ModeName.STRICT}

    @property
    def requires_digest(self) -> bool:
        """True if an image without a digest is denied; the other modes promise to admit."""
        return self.pin is Pin.REQUIRED and self.can_deny

    @property
    def pins(self) -> bool:
        """True if tags are pinned; what is skipped has no judged digest."""
        return self.pin is not Pin.OFF and self.mode is not ModeName.SKIP


class RuleProblem(Struct, frozen=True):
    """The reason why it is not known which rule applies, or what it sets.

    ``by_author`` is True if the author of the workload caused it.
    """

    reason: Reason
    text: str
    by_author: bool = False


class Selection(Struct, frozen=True):
    """The rule that an image falls under. With a problem, it is the most severe of the rules in question."""

    rule: Rule
    problem: RuleProblem | None = None


class RuleBook(Struct, frozen=True):
    """The rules in order, and the defaults for an image that none matches."""

    rules: tuple[Rule, ...]
    defaults: Rule
    index: MatchIndex

    @property
    def needs_namespace_labels(self) -> bool:
        """True if a verdict may depend on the labels of a namespace."""
        choices = (choice for rule in self.rules for choice in rule.choices)
        return self.index.needs_namespace_labels or any(not choice.by_author for choice in choices)

    @property
    def using_anchore(self) -> list[Rule]:
        """Every rule that needs Anchore, the defaults included, with each mode and account that it may choose."""
        variants = [variant for rule in (*self.rules, self.defaults) for variant in _variants(rule)]
        return [rule for rule in variants if rule.mode is not ModeName.SKIP]

    def narrowed(self, circumstances: Circumstances) -> "NarrowedBook":
        """Return the rules that are left in these circumstances, before the image is known."""
        return NarrowedBook(self, self.index.narrowed(circumstances))


class NarrowedBook(Struct, frozen=True):
    """The rules that an image of one object may fall under."""

    book: RuleBook
    narrowed: Narrowed

    def select(self, names: tuple[str, ...], *, is_checkable: bool = True, has_digest: bool = True) -> Selection:
        """Return the first rule that matches the image known by these names.

        If the labels of the namespace are not known and decide which rule that is, the most severe one applies, with
        the problem: a missing namespace is never "no match". For an image that cannot be checked, which its author
        caused, this is the strictest one, whatever its ``onError`` says.
        """
        holding = self.narrowed.holding(names)
        if not holding.possible:
            return Selection(self.book.defaults)
        first = holding.possible & -holding.possible
        if first & holding.certain:
            return self._chosen(self.book.rules[first.bit_length() - 1])
        candidates = [self._chosen(rule).rule for rule in self._candidates(holding)]
        if is_checkable:
            rule = max(candidates, key=lambda candidate: _severity(candidate, has_digest=has_digest))
        else:
            rule = max(candidates, key=_strictness)
        return Selection(rule, self._unknown_labels())

    def possible(self) -> list[Rule]:
        """Return every rule that some image of the object may fall under."""
        return [self._chosen(rule).rule for rule in self._candidates(self.narrowed.holding_for_any())]

    def strictest(self, image_id: str) -> Rule:
        """Return the strictest rule that may apply to an image ID.

        The ID may belong to any image, and the author of the workload must not be able to choose a laxer rule with it.
        Rules below one that matches image IDs (``sha256:*``) or everything (``*``) do not count.
        """
        candidates = self._candidates(self.narrowed.holding_for_any(image_id))
        rules = [self._chosen(rule).rule for rule in candidates]
        return max(reversed(rules), key=_strictness)

    def _candidates(self, holding: Holding) -> Iterator[Rule]:
        """Yield the possible rules, to the first certain one; without one, the defaults are the last."""
        for position in positions(holding.possible):
            yield self.book.rules[position]
            if holding.certain >> position & 1:
                return
        yield self.book.defaults

    def _chosen(self, rule: Rule) -> Selection:
        """Set what the rule chooses. If a value is not allowed, the rule's strictest choice applies, with a problem."""
        circumstances = self.narrowed.circumstances
        chosen: dict[str, str | None] = {}
        for choice in rule.choices:
            if not choice.by_author and circumstances.namespace_labels is None:
                return Selection(rule, self._unknown_labels())
            value = choice.value(circumstances)
            if value is None or value not in choice.allowed:
                return Selection(rule, _not_allowed(rule, choice, value))
            chosen[choice.field] = choice.allowed[value]
        return Selection(structs.replace(rule, **chosen) if chosen else rule)

    def _unknown_labels(self) -> RuleProblem:
        namespace = shown(self.narrowed.circumstances.namespace)
        return RuleProblem(Reason.NAMESPACE_UNKNOWN, f"the labels of namespace {namespace} are not known")


_ENFORCEMENTS = (Enforcement.AUDIT, Enforcement.WARN, Enforcement.DENY)
_ON_ERRORS = (OnError.ALLOW, OnError.WARN, OnError.DENY)


def _strictness(rule: Rule) -> tuple[bool, int, bool]:
    return rule.can_deny, _ENFORCEMENTS.index(rule.enforcement), rule.mode is ModeName.STRICT


def _severity(rule: Rule, *, has_digest: bool) -> tuple[int, int, tuple[bool, int, bool]]:
    """Return how severe a missing verdict is under the rule: its ``onError``, as far as the rule denies at all.

    A Pod whose image has no digest is denied by a rule that requires one, whatever its ``onError`` says.
    """
    most = _ENFORCEMENTS.index(rule.enforcement)
    effect = min(_ON_ERRORS.index(rule.on_error), most) if rule.can_deny else 0
    return most if rule.requires_digest and not has_digest else effect, effect, _strictness(rule)


def _variants(rule: Rule) -> list[Rule]:
    """Return the rule with each mode and account that it may choose; many values may stand for a few of them."""
    choices = [choice for choice in rule.choices if choice.field != "policy"]
    options = {choice.field: dict.fromkeys(choice.allowed.values()) for choice in choices}
    return [structs.replace(rule, **dict(zip(options, values, strict=True))) for values in product(*options.values())]


def _not_allowed(rule: Rule, choice: Choice, value: str | None) -> RuleProblem:
    place = f"{choice.source} {choice.key}"
    found = "is missing" if value is None else f"is {shown(value, _VALUE_LIMIT)}" if value else "is empty"
    expected = f"expected one of {', '.join(sorted(choice.allowed))}"
    text = f"rule {rule.name} chooses its {choice.field} by {place}, which {found}; {expected}"
    return RuleProblem(Reason.VALUE_NOT_ALLOWED, text, by_author=choice.by_author)


def compile_rules(sections: Sequence[RuleSection], defaults: DefaultsSection) -> RuleBook:
    """Compile the configured rules; ``defaults`` fills in the keys that a rule leaves out. Raises InvalidPattern."""
    return RuleBook(
        tuple(_rule(section, defaults) for section in sections),
        _rule(RuleSection(name=DEFAULTS_NAME), defaults),
        MatchIndex.of([section.match for section in sections]),
    )


def _rule(section: RuleSection, defaults: DefaultsSection) -> Rule:
    """Fill in the defaults. An explicit ``policy: null`` means the active policy, even if the defaults name another."""
    written = section.model_fields_set
    rule = Rule(
        name=section.name,
        mode=section.mode or defaults.mode,
        account=section.account or defaults.account,
        policy=section.policy if "policy" in written else defaults.policy,
        enforcement=section.enforcement or defaults.enforcement,
        on_error=section.on_error or defaults.on_error,
        request_analysis=defaults.request_analysis if section.request_analysis is None else section.request_analysis,
        require_mapping=defaults.require_mapping if section.require_mapping is None else section.require_mapping,
        choices=tuple(_choices(section)),
        break_glass=section.break_glass.annotation if section.break_glass else None,
        pin=section.pin or defaults.pin,
        uses_hook=defaults.opa if section.opa is None else section.opa,
        break_glass_users=frozenset((section.match.users if section.break_glass else None) or ()),
    )
    return max(_variants(rule), key=_strictness) if rule.choices else rule


def _choices(section: RuleSection) -> Iterator[Choice]:
    if section.mode_from:
        yield Choice.of("mode", section.mode_from, dict(section.mode_from.allowed))
    if section.account_from:
        yield Choice.of("account", section.account_from, dict(section.account_from.allowed))
    if section.policy_from:
        yield Choice.of("policy", section.policy_from, section.policy_from.allowed)
