"""The reference model: which verdicts on an image are right, given what Anchore held and could be asked about.

It shares no code with the controller. A verdict may rest on every answer that Anchore could have given since the oldest
time that the configured lifetimes allow, so the model computes the set of all allowed verdicts; while nothing changes,
that is exactly one. No verdict, and an answer that stands in during an outage, need a fault that explains them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.soak.truth import ANALYZED, FAILED, Seconds, Truth

SLACK: Seconds = 1.0
"""Time that an answer may be under way after Anchore has decided on it."""
LISTED: Seconds = 3.0
"""Time that the controller may need to read the list of policies, on a machine that is busy."""
_LATE = frozenset({"deadline_exceeded", "not_reached"})
"""Errors and reasons for lack of time. In calm weather they come from a busy machine, so a few are no mistake."""
_RECOVERY = 1.6
"""The longest pause of a circuit breaker, as a part of the outage that opened it."""
_RECOVERY_FLOOR: Seconds = 5.0
_LAST = 10
_RECOVERY_CEILING: Seconds = 40.0

Verdict = tuple[str, str | None]
"""A reason and a digest; the digest is None where none is known."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """The configured lifetimes of answers in seconds; ``submission`` is that of a digest a submission returned."""

    passed: Seconds
    failed: Seconds
    pending: Seconds
    unknown: Seconds
    tag: Seconds
    outage: Seconds
    submission: Seconds


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule of a namespace."""

    mode: str
    on_error: str = "deny"
    enforcement: str = "deny"
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a Pod: the name under which Anchore holds its tag, or its digest.

    Anchore cannot pull a private one, so a submission of it is refused.
    """

    text: str
    tag: str | None = None
    digest: str | None = None
    is_private: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """The controller's verdict on an image, from its audit annotations; ``stale`` is the age that it names."""

    digest: str | None
    decision: str
    reason: str
    stale: Seconds | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """One review with its answer. Times are those of the client."""

    rule: Rule
    images: Sequence[Image]
    timeout: Seconds
    sent: Seconds
    answered: Seconds
    allowed: bool
    judged: Mapping[str, Judged]


@dataclass(slots=True)
class Trouble:
    """A time in which calls failed; ``is_refusal`` if Anchore did answer, but rejected the credentials."""

    kind: str
    began: Seconds
    ended: Seconds = float("inf")
    recovered: Seconds = float("inf")
    """When Anchore first responded afterwards, which closes the circuit breaker."""
    is_refusal: bool = False
    is_endless: bool = False


@dataclass
class Troubles:
    """The faults of the run.

    Their effect lasts a moment longer, for calls that are under way, and until the circuit breaker has closed. The
    breakers of several replicas cannot be told apart.
    """

    known: list[Trouble] = field(default_factory=list)
    has_one_breaker: bool = True

    def recover(self, now: Seconds) -> None:
        """Note that Anchore responds."""
        for trouble in self.known[-_LAST:]:
            if trouble.ended <= now and trouble.recovered > now:
                trouble.recovered = now

    def during(self, since: Seconds, until: Seconds) -> Iterator[Trouble]:
        """Yield what may have affected a review."""
        began = ended = float("-inf")
        for trouble in self.known:
            # Faults in quick succession may keep a breaker open as one long outage does.
            if trouble.began > ended + _RECOVERY_FLOOR:
                began = trouble.began
            ended = max(ended, trouble.ended)
            recovery = min(_RECOVERY * (trouble.ended - began), _RECOVERY_CEILING)
            if self.has_one_breaker:
                recovery = min(recovery, trouble.recovered - trouble.ended)
            if trouble.began <= until and trouble.ended + max(recovery, _RECOVERY_FLOOR) >= since:
                yield trouble

    def forget(self, before: Seconds) -> None:
        self.known = [trouble for trouble in self.known if trouble.ended >= before]


_ADMITTED = frozenset({"analyzed", "policy_passed", "skipped", "requested"})
_DENIED = frozenset({"policy_failed", "unknown", "pending", "analysis_failed", "not_reached"})
_TOO_LARGE = frozenset({"record_too_large", "too_many_findings"})


@dataclass
class Model:
    """Judges reviews.

    ``exact`` counts the images that could have one verdict only, of ``all``; ``late`` counts those without facts for
    lack of time, although no fault explains it.
    """

    truth: Truth
    troubles: Troubles
    lifetimes: Lifetimes
    follows_polls: bool = True
    """Require that a policy's new version counts once it was listed; only one replica can be followed so."""
    forgotten: list[tuple[Seconds, Seconds]] = field(default_factory=list)
    """The times at which every answer was forgotten: the request's, and the response's."""
    exact: int = 0
    all: int = 0
    late: int = 0

    def objections(self, review: Review) -> list[str]:
        """Return what is wrong with a review; nothing if it is right."""
        found = []
        if review.answered - review.sent > review.timeout:
            found.append(f"answered after {review.answered - review.sent:.2f} s")
        troubles = list(self.troubles.during(review.sent - SLACK, review.answered))
        for image in review.images:
            judged = review.judged.get(image.text)
            if judged is None:
                found.append(f"{image.text}: no verdict is named")
            elif objection := self._objection(review, image, judged, troubles):
                found.append(f"{image.text}: {objection}")
        denied = any(_denies(review.rule, judged) for judged in review.judged.values())
        if review.allowed == denied:
            found.append(f"{'admitted' if review.allowed else 'denied'} against the verdicts on its images")
        return found

    def _objection(self, review: Review, image: Image, judged: Judged, troubles: Sequence[Trouble]) -> str:
        if judged.decision != _decision(judged.reason):
            return f"{judged.reason} became {judged.decision}"
        if (judged.error or judged.reason) in _LATE:
            self.late += not troubles
            return ""
        if judged.reason == "error":
            return _objection_to_error(review.rule, image, judged, troubles)
        if judged.reason in _TOO_LARGE:
            return "" if any(trouble.is_endless for trouble in troubles) else "no answer of Anchore was too large"
        if judged.stale is not None:
            if all(trouble.is_refusal for trouble in troubles):
                return "an old answer was used although Anchore could be asked, or refused"
            if judged.stale > self.lifetimes.outage + SLACK:
                return f"an answer of {judged.stale:g} s ago was used"
        allowed = self.verdicts(review, image, is_stale=judged.stale is not None)
        self.all += 1
        self.exact += len(allowed) == 1
        digest = judged.digest if judged.reason in {"analyzed", "policy_passed", "policy_failed"} else None
        if (judged.reason, digest) in allowed:
            return ""
        return f"{judged.reason} {digest or ''}{' (stale)' * (judged.stale is not None)}, not one of {sorted(allowed)}"

    def verdicts(self, review: Review, image: Image, *, is_stale: bool) -> set[Verdict]:
        """Return every verdict on an image that an allowed set of answers leads to."""
        match review.rule.mode:
            case "skip":
                return {("skipped", None)}
            case "passive":
                return {("requested", None)}
            case mode:
                return set(self._by_facts(review, image, by_policy=mode == "strict", is_stale=is_stale))

    def _by_facts(self, review: Review, image: Image, *, by_policy: bool, is_stale: bool) -> Iterator[Verdict]:
        known = self.lifetimes
        pending, unknown = self._since(review, known.pending), self._since(review, known.unknown)
        digests = {image.digest} if image.digest else self._digests(review, image, is_stale=is_stale)
        if image.tag and None in self._tag(image.tag, unknown, review.answered):
            yield "unknown", None
        final = known.outage if is_stale else 2 * (known.passed if image.digest else max(known.tag, known.passed))
        for digest in filter(None, digests):
            states = self.truth.states.get(digest)
            if states is None or None in states.between(unknown, review.answered):
                yield "unknown", None
            if states is None:
                continue
            for state in states.between(pending, review.answered) - {None, ANALYZED}:
                yield ("analysis_failed" if state == FAILED else "pending"), None
            if ANALYZED not in states.between(self._since(review, final), review.answered):
                continue
            if by_policy:
                yield from self._by_policy(review, digest, is_stale=is_stale)
            else:
                yield "analyzed", digest

    def _by_policy(self, review: Review, digest: str, *, is_stale: bool) -> Iterator[Verdict]:
        known, view = self.lifetimes, review.rule.policy
        results = self.truth.result(view, digest)
        oldest = 0
        if self.follows_polls and not any(t.is_refusal for t in self.troubles.during(review.sent, review.answered)):
            # While Anchore refuses to list the policies, results count by their age alone.
            oldest = self.truth.known_epoch(view, review.sent - LISTED)
        for passed, lifetime in ((True, 2 * known.passed), (False, known.failed)):
            since = self._since(review, known.outage if is_stale else lifetime)
            if any(r.passed is passed and r.epoch >= oldest for r in results.between(since, review.answered)):
                yield ("policy_passed" if passed else "policy_failed"), digest

    def _digests(self, review: Review, image: Image, *, is_stale: bool) -> set[str | None]:
        """Return the digests that a tag may stand for: by look-ups, or by a submission, whose response counts first."""
        assert image.tag
        known = self.lifetimes
        since = self._since(review, known.outage if is_stale else 2 * known.tag)
        submitted = review.sent - known.submission - SLACK  # kept apart from answers, and not forgotten
        answers = self.truth.submitted.get(image.tag, ())
        return self._tag(image.tag, since, review.answered) | {digest for at, digest in answers if at >= submitted}

    def _tag(self, tag: str, since: Seconds, until: Seconds) -> set[str | None]:
        history = self.truth.tags.get(tag)
        return history.between(since, until) if history else {None}

    def _since(self, review: Review, age: Seconds) -> Seconds:
        """Return the earliest time at which Anchore can have given an answer of this age."""
        forgotten = [began for began, ended in self.forgotten if ended <= review.sent]
        return max([review.sent - age - SLACK, *forgotten[-1:]])


def _objection_to_error(rule: Rule, image: Image, judged: Judged, troubles: Sequence[Trouble]) -> str:
    if rule.mode == "passive" and judged.error == "refused" and image.is_private:
        return ""
    if not troubles:
        return f"no verdict ({judged.error}) although Anchore could be asked"
    # In passive mode, any failed submission is a refusal.
    if rule.mode != "passive" and judged.error == "refused" and not any(trouble.is_refusal for trouble in troubles):
        return "Anchore refused no credentials"
    return ""


def _decision(reason: str) -> str:
    if reason in _ADMITTED:
        return "admit"
    return "deny" if reason in _DENIED | _TOO_LARGE else "no_verdict"


def _denies(rule: Rule, judged: Judged) -> bool:
    """Return whether a verdict denies the review."""
    if rule.enforcement != "deny" or judged.decision == "admit":
        return False
    if judged.decision == "deny":
        return True
    return rule.mode != "passive" and rule.on_error == "deny"
