"""One policy check as both APIs show it, and the history of checks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from anchore_admission.sandbox.evaluation import Evaluation
from anchore_admission.sandbox.images import ImageRecord
from anchore_admission.sandbox.policies import StoredPolicy
from anchore_admission.sandbox.references import Reference

MAX_PER_TAG = 100
MAX_TAGS = 10_000
Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Check:
    """One evaluation with its image, tag and policy."""

    record: ImageRecord
    tag: Reference
    policy: StoredPolicy
    evaluation: Evaluation
    at: float

    @property
    def key(self) -> Key:
        return self.record.account, self.record.digest, self.tag.full_name, self.policy.policy.id


@dataclass(slots=True)
class History:
    """Evaluations that were not interactive, newest first, within bounds."""

    _checks: dict[Key, list[Check]] = field(default_factory=dict)
    _last: dict[tuple[str, str, str], Check] = field(default_factory=dict)

    def remember(self, check: Check) -> Check | None:
        """Keep a check; return the last one of the image and tag if its final action differs.

        Like a real engine, compare with the last check by any policy (``catalog_impl.py``).
        """
        known = self._checks.setdefault(check.key, [])
        if known and known[0].evaluation == check.evaluation:
            known[0] = check
        else:
            known.insert(0, check)
        del known[MAX_PER_TAG:]
        while len(self._checks) > MAX_TAGS:
            del self._checks[next(iter(self._checks))]
        last = self._last.pop(check.key[:3], None)
        self._last[check.key[:3]] = check
        while len(self._last) > MAX_TAGS:
            del self._last[next(iter(self._last))]
        changed = last is not None and last.evaluation.final_action != check.evaluation.final_action
        return last if changed else None

    def of(self, check: Check) -> Sequence[Check]:
        return tuple(self._checks.get(check.key, ())) or (check,)


Checked = Mapping[str, Sequence[Check]]
