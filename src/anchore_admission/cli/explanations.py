"""The lines that explain the selection for an image to people: its rule, and why others do not apply."""

from collections.abc import Iterator

from anchore_admission.core.explain import Explanation
from anchore_admission.core.rules.exemptions import Exemption
from anchore_admission.models.moments import written_time
from anchore_admission.text import shown

ACTIVE_POLICY = "the account's active policy"
_TEXT_LIMIT = 1000


def explained(explanation: Explanation) -> Iterator[tuple[str, str]]:
    """Yield the lines of an explanation, each with its heading."""
    rule = explanation.rule
    if explanation.problem:
        yield "problem", shown(explanation.problem, _TEXT_LIMIT)
    yield "rule", rule.name
    yield "mode", rule.mode
    yield "account", rule.account
    yield "policy", shown(rule.policy) if rule.policy else ACTIVE_POLICY
    yield "enforcement", f"{rule.enforcement}, onError {rule.on_error}"
    if rule.pins:
        conflict = f", but it is never pinned: {shown(explanation.pin_conflict)}" if explanation.pin_conflict else ""
        yield "pin", f"{rule.pin}{conflict}"
    if explanation.hook:
        yield "opa", f"policy {explanation.hook} is asked"
    if rule.break_glass:
        yield "break-glass", f"annotation {rule.break_glass}"
    for exemption in explanation.exemptions:
        yield "exemption", _exemption(exemption)
    for passed in explanation.passed_over:
        yield "passed over", f"{passed.rule}: {', '.join(map(shown, passed.keys))}"
    if explanation.more:
        yield "passed over", f"and {explanation.more} more"


def _exemption(exemption: Exemption) -> str:
    excused = ", ".join(sorted(exemption.cves | exemption.findings)) or "everything"
    return f"{exemption.name} excuses {excused} until {written_time(exemption.expires)}"
