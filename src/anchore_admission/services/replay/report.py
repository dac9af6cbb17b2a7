"""The sum of a replay: bounded, however many objects are judged."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from msgspec import structs

from anchore_admission.core import workload
from anchore_admission.core.decision import Decision, Reason
from anchore_admission.core.facts import Finding
from anchore_admission.core.findings import worst_first
from anchore_admission.core.verdict import ReviewVerdict
from anchore_admission.models.configuration import ModeName
from anchore_admission.services.replay.blockers import Blockers
from anchore_admission.services.replay.entries import LeftOut, Recorded, Unread
from anchore_admission.services.replay.outcomes import NOT_JUDGED, WHOLE, Change, Outcome, change, outcomes
from anchore_admission.services.replay.owners import Name, Owners

MOST_LISTED = 1000
"""Changes of each sort that are listed one by one; the others are counted."""
_MOST_TOLD_APART = 200_000
"""Objects, images, and images of objects in the counts; beyond that, the counts are lower limits."""
_MOST_UNREAD = 20
_LONGEST_NAMESPACE = 63
OTHER_KIND = "other"
_FINDINGS = 10
_DENIALS = frozenset({Change.DENIED, Change.UNDECIDED})
_GRAVITY = {change: place for place, change in enumerate(Change)}
_Pair = tuple[int, int]
"""The numbers of an object and of one of its images."""


@dataclass(slots=True)
class Tally:
    """The requests whose outcome changes in one way, and the different objects and images among them."""

    requests: int = 0
    objects: set[int] = field(default_factory=set)
    images: set[int] = field(default_factory=set)


Tallies = dict[Change, Tally]


@dataclass(slots=True)
class Changed:
    """An image of an object whose outcome changes. ``before`` is None if there is one configuration only.

    ``owner`` is the topmost owner; ``requests`` counts all requests about it, such as those for a Deployment's Pods.
    ``source`` names the first of them, ``findings`` holds the worst of the denial.
    """

    change: Change
    namespace: str
    owner: Name
    image: str
    before: Outcome | None
    after: Outcome
    source: str
    requests: int = 0
    findings: tuple[Finding, ...] = ()
    more_findings: int = 0


@dataclass(slots=True)
class _Count:
    """The gravest change of an image of an object, and its requests."""

    change: Change
    requests: int = 0


class Report:
    """Adds up the changes between two configurations, or what one of them does not plainly admit.

    What happens to a workload's Pods and to its template counts once, under the gravest change.
    """

    def __init__(self) -> None:
        self.requests = 0
        """All requests, judged or not."""
        self.judged: Counter[str] = Counter()
        """Requests whose images were judged, by kind."""
        self.judged_in: Counter[str] = Counter()
        """The same by namespace."""
        self.out_of_scope: Counter[str] = Counter()
        self.without_images = 0
        self.left_out: Counter[LeftOut] = Counter()
        self.assumed_new = 0
        self.unread: list[Unread] = []
        self.unread_count = 0
        self.undecided = 0
        """Requests with an image that has no verdict under one of the configurations."""
        self.unlabeled = 0
        """Those of them for which the labels of the namespace are not known."""
        self.unknown_kinds = 0
        self.passive = 0
        """Requests with an image that is judged in passive mode under the last configuration."""
        self.stopped = ""
        """The reason why a part of the input was not judged."""
        self.is_truncated = False
        """True if counts of objects and images are lower limits."""
        self.blockers = Blockers()
        self._owners = Owners()
        self._numbers: dict[tuple[str, ...], int] = {}
        self._namespaces: dict[int, str] = {}
        self._counts: dict[_Pair, _Count] = {}
        self._listed: dict[Change, dict[_Pair, Changed]] = {change: {} for change in Change}

    def changes(self) -> list[Changed]:
        """Return the listed changes, the gravest and most frequent first."""
        listed = [
            replace(changed, requests=self._counts[pair].requests)
            for pairs in self._listed.values()
            for pair, changed in pairs.items()
        ]
        return sorted(listed, key=lambda c: (_GRAVITY[c.change], -c.requests, c.namespace, c.owner, c.image))

    def totals(self) -> Tallies:
        """Return the sums of all namespaces."""
        return _tallied(self._counts.items())

    def by_namespace(self) -> list[tuple[str, Tallies]]:
        """Return the sums of the namespaces in which something changes, those with most denials first."""
        counts: dict[str, list[tuple[_Pair, _Count]]] = defaultdict(list)
        for pair, count in self._counts.items():
            counts[self._namespaces[pair[0]]].append((pair, count))
        tallies = [(namespace, _tallied(found)) for namespace, found in counts.items()]
        return sorted(tallies, key=lambda row: ([-len(row[1][change].objects) for change in Change], row[0]))

    def leave_out(self, entry: LeftOut | Unread) -> None:
        """Count an entry that holds no request to judge."""
        if isinstance(entry, LeftOut):
            self.left_out[entry] += 1
            return
        self.unread_count += 1
        if len(self.unread) < _MOST_UNREAD:
            self.unread.append(entry)

    def expect(self, recorded: Recorded) -> None:
        """Learn whom an object belongs to.

        An audit log is in the order in which responses ended: a Pod may stand before the ReplicaSet that made it.
        """
        self._owners.of(recorded.request)

    def add(self, recorded: Recorded, before: ReviewVerdict | None, after: ReviewVerdict) -> None:
        """Add a judged request; ``before`` is None if there is one configuration only."""
        request = recorded.request
        namespace = (request.namespace or "")[:_LONGEST_NAMESPACE]
        self.requests += 1
        owner = self._owners.of(request)
        verdicts = [verdict for verdict in (before, after) if verdict]
        if all(verdict.out_of_scope for verdict in verdicts):
            self.out_of_scope[str(after.out_of_scope)] += 1
            return
        if not any(verdict.images or verdict.reason for verdict in verdicts):
            self.without_images += 1
            return
        # Anyone can make up kinds.
        self.judged[request.kind.kind if workload.is_known(request.kind) else OTHER_KIND] += 1
        if namespace in self.judged_in or len(self.judged_in) < _MOST_TOLD_APART:
            self.judged_in[namespace] += 1
        self.assumed_new += recorded.assumes_new
        is_unknown = after.reason is Reason.UNKNOWN_KIND
        self.unknown_kinds += is_unknown
        self.undecided += not is_unknown and any(v.decision is Decision.NO_VERDICT for v in verdicts)
        images = [image for verdict in verdicts for image in verdict.images]
        self.unlabeled += any(image.verdict.reason is Reason.NAMESPACE_UNKNOWN for image in images)
        self.passive += any(image.judged.rule.mode is ModeName.PASSIVE for image in after.images)
        for image, old, new, found in _differences(before, after):
            self._add(Changed(found, namespace, owner, image, old if before else None, new, recorded.source))

    def _add(self, changed: Changed) -> None:
        owner, image = self._number(changed.namespace, *changed.owner), self._number(changed.image)
        if owner is None or image is None:
            return
        self._namespaces[owner] = changed.namespace
        pair = (owner, image)
        count = self._counts.get(pair)
        if count is None:
            if len(self._counts) >= _MOST_TOLD_APART:
                self.is_truncated = True
                return
            count = self._counts[pair] = _Count(changed.change)
            self._list(pair, changed)
        elif _GRAVITY[changed.change] < _GRAVITY[count.change]:
            self._listed[count.change].pop(pair, None)
            count.change = changed.change
            self._list(pair, changed)
        count.requests += 1

    def _list(self, pair: _Pair, changed: Changed) -> None:
        if changed.change in _DENIALS:
            owner, image = pair
            self.blockers.add(changed.after, image, owner)
        listed = self._listed[changed.change]
        if len(listed) >= MOST_LISTED:
            return
        # An image may have tens of thousands of findings.
        worst = tuple(worst_first(changed.after.findings, _FINDINGS))
        changed.findings, changed.more_findings = worst, len(changed.after.findings) - len(worst)
        changed.before = changed.before and structs.replace(changed.before, findings=())
        changed.after = structs.replace(changed.after, findings=())
        listed[pair] = changed

    def _number(self, *name: str) -> int | None:
        """Return the number of an object or image; None if too many are known."""
        number = self._numbers.get(name)
        if number is not None:
            return number
        if len(self._numbers) >= _MOST_TOLD_APART:
            self.is_truncated = True
            return None
        number = self._numbers[name] = len(self._numbers)
        return number


def _tallied(counts: Iterable[tuple[_Pair, _Count]]) -> Tallies:
    tallies = {change: Tally() for change in Change}
    for (owner, image), count in counts:
        tally = tallies[count.change]
        tally.requests += count.requests
        tally.objects.add(owner)
        tally.images.add(image)
    return tallies


def _differences(before: ReviewVerdict | None, after: ReviewVerdict) -> Iterator[tuple[str, Outcome, Outcome, Change]]:
    """Yield the images whose outcome changes. What one configuration does not judge, it admits."""
    old, new = outcomes(before) if before else {}, outcomes(after)
    images = {**old, **new}
    if len(images) > 1:
        images.pop(WHOLE, None)
    for image in images:
        was = old.get(image) or old.get(WHOLE) or NOT_JUDGED
        now = new.get(image) or new.get(WHOLE) or NOT_JUDGED
        if found := change(was, now):
            yield image, was, now, found
