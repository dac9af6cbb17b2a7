"""What the stand-in Anchore holds, at every time since the run began."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)
Seconds = float

ANALYZED, ANALYZING, QUEUED, FAILED = "analyzed", "analyzing", "not_analyzed", "analysis_failed"
ACTIVE = None
"""The view of a check that names no policy."""


class History(Generic[T]):
    """A value and its earlier values."""

    def __init__(self, at: Seconds, value: T) -> None:
        self._times = [at]
        self._values = [value]

    @property
    def current(self) -> T:
        return self._values[-1]

    def change(self, at: Seconds, value: T) -> None:
        self._times.append(at)
        self._values.append(value)

    def between(self, since: Seconds, until: Seconds) -> set[T]:
        """Return every value that held at some time of a span."""
        first = max(0, bisect_right(self._times, since) - 1)
        return set(self._values[first : bisect_right(self._times, until)])

    def at(self, time: Seconds) -> T:
        return self._values[max(0, bisect_right(self._times, time) - 1)]

    def forget(self, before: Seconds) -> None:
        """Drop the values that were replaced before this time."""
        first = max(0, bisect_right(self._times, before) - 1)
        del self._times[:first], self._values[:first]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a policy for one image; ``epoch`` grows with every change of the policy or of the choice of one."""

    epoch: int
    passed: bool


@dataclass
class Truth:
    """Tags, images and policies with their histories; unknown ones hold nothing.

    A *view* is the policy that a check names, or ``ACTIVE``. The results of an image differ by view and by epoch.
    """

    clock: Callable[[], Seconds]
    policies: tuple[str, ...]
    verdict: Callable[[], bool]
    """Draws the result of a policy for an image."""
    active: str = ""
    tags: dict[str, History[str | None]] = field(default_factory=dict)
    states: dict[str, History[str | None]] = field(default_factory=dict)
    submitted: defaultdict[str, list[tuple[Seconds, str]]] = field(default_factory=lambda: defaultdict(list))
    """The digests that submissions of a tag returned."""
    polled: defaultdict[str | None, list[tuple[Seconds, int]]] = field(default_factory=lambda: defaultdict(list))
    """The epochs of each view that the controller was told when it listed the policies."""
    _results: dict[tuple[str | None, str], History[Result]] = field(default_factory=dict)
    _epochs: defaultdict[str | None, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        self.active = self.policies[0]

    def views(self) -> Iterator[str | None]:
        yield from (ACTIVE, *self.policies)

    def epoch(self, view: str | None) -> int:
        return self._epochs[view]

    def add(self, tag: str, digest: str, state: str) -> None:
        """Let a tag point to an image in this state."""
        self.add_image(digest, state)
        self.move(tag, digest)

    def add_image(self, digest: str, state: str) -> None:
        """Add an image, or let one that is known have another state."""
        if digest not in self.states:
            self.states[digest] = History(self.clock(), None)
            for policy in self.policies:
                self._judge(policy, digest, passed=self.verdict())
        self.become(digest, state)

    def move(self, tag: str, digest: str | None) -> None:
        if tag not in self.tags:
            self.tags[tag] = History(self.clock(), None)
        self.tags[tag].change(self.clock(), digest)

    def become(self, digest: str, state: str | None) -> None:
        self.states[digest].change(self.clock(), state)

    def result(self, view: str | None, digest: str) -> History[Result]:
        return self._results[view, digest]

    def flip(self, policy: str, digest: str) -> None:
        """Change the result of a policy for one image, as an update of the vulnerabilities does."""
        self._judge(policy, digest, passed=not self.result(policy, digest).current.passed)

    def edit(self, policy: str) -> None:
        """Change a policy, and with it the results of some images."""
        self._epochs[policy] += 1
        self._epochs[ACTIVE] += policy == self.active
        for digest in self.states:
            self._judge(policy, digest, passed=self.verdict())

    def activate(self, policy: str) -> None:
        self.active = policy
        self._epochs[ACTIVE] += 1
        for digest in self.states:
            self._judge(policy, digest, passed=self.result(policy, digest).current.passed)

    def known_epoch(self, view: str | None, before: Seconds) -> int:
        """Return the newest epoch that the controller had been told before this time."""
        told = [epoch for at, epoch in self.polled[view] if at < before]
        return told[-1] if told else 0

    def forget(self, before: Seconds) -> None:
        """Drop what no verdict can rest on any more."""
        for records in (self.tags, self.states, self._results):
            for history in records.values():
                history.forget(before)
        for tag, answers in list(self.submitted.items()):
            self.submitted[tag] = [answer for answer in answers if answer[0] >= before]
        for view, polls in self.polled.items():
            self.polled[view] = [poll for poll in polls if poll[0] >= before] or polls[-1:]

    def _judge(self, policy: str, digest: str, *, passed: bool) -> None:
        for view in (policy, ACTIVE) if policy == self.active else (policy,):
            result = Result(self._epochs[view], passed)
            if known := self._results.get((view, digest)):
                known.change(self.clock(), result)
            else:
                self._results[view, digest] = History(self.clock(), result)
