"""A run of many requests: in order, without side effects, and no longer than it may take."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

from anchore_admission.core import judgement
from anchore_admission.core.decision import Decision, Effect, Reason
from anchore_admission.core.verdict import ReviewVerdict, Verdict
from anchore_admission.models.review import AdmissionRequest
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.telemetry import Origin
from anchore_admission.services.replay.entries import Entry, LeftOut, Recorded, Unread
from anchore_admission.services.replay.outcomes import Change
from anchore_admission.services.replay.run import replay
from anchore_admission.services.reviews.manual import Timeouts
from support.builders import image_verdict, pod, request, template

LONG = Timeouts(each=7, run=1000)


class Judge:
    """Gives every request the same verdict, and remembers it; ``hangs`` on one of a name."""

    def __init__(self, decision: Decision, effect: Effect, hangs: str = "") -> None:
        self.seen: list[AdmissionRequest] = []
        self.at_once = self.most_at_once = 0
        self._verdict = Verdict(decision, Reason.POLICY_FAILED, "why")
        self._effect = effect
        self._hangs = hangs

    async def review(self, request: AdmissionRequest, deadline: Deadline, *, origin: Origin) -> ReviewVerdict:
        assert origin is Origin.MANUAL
        assert 6 < deadline.left() <= 7
        self.seen.append(request)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        await (asyncio.Event().wait() if request.name == self._hangs else asyncio.sleep(0))
        self.at_once -= 1
        return judgement.reduce([image_verdict(self._verdict, effect=self._effect)], request, 5)


async def batches(*parts: Sequence[Entry]) -> AsyncIterator[Sequence[Entry]]:
    for part in parts:
        yield part


def pods(*names: str) -> list[Recorded]:
    return [Recorded(request(pod("ubuntu", metadata={"name": name}), name=name)) for name in names]


async def test_every_request_is_judged_by_both() -> None:
    today, new = Judge(Decision.ADMIT, Effect.ALLOW), Judge(Decision.DENY, Effect.DENY)
    seen: list[tuple[int, int]] = []
    first, second = pods("a", "b"), pods("c")

    report = await replay(
        batches([*first, LeftOut.OTHER_EVENT, Unread("x", "y")], second),
        (today, new),
        LONG,
        lambda ended, of: seen.append((ended, of)),
    )

    assert [each.name for each in today.seen] == [each.name for each in new.seen] == ["a", "b", "c"]
    assert report.totals()[Change.DENIED].requests == 3
    assert (report.left_out[LeftOut.OTHER_EVENT], report.unread_count) == (1, 1)
    assert seen == [(4, 0), (5, 0)]
    assert report.stopped == ""


async def test_a_pod_may_be_recorded_before_its_replica_set() -> None:
    def owned(kind: str, name: str, above: str, above_kind: str) -> Recorded:
        owner = [{"apiVersion": "apps/v1", "kind": above_kind, "name": above, "controller": True}]
        made = (pod if kind == "Pod" else partial(template, kind))("ubuntu", metadata={"ownerReferences": owner})
        return Recorded(request(made, name=name))

    entries = [owned("Pod", "web-1-a", "web-1", "ReplicaSet"), owned("ReplicaSet", "web-1", "web", "Deployment")]
    report = await replay(batches(entries), (None, Judge(Decision.DENY, Effect.DENY)), LONG, lambda *_: None)

    assert {changed.owner for changed in report.changes()} == {("Deployment", "web")}


async def test_one_configuration_is_enough() -> None:
    report = await replay(batches(pods("a")), (None, Judge(Decision.DENY, Effect.DENY)), LONG, lambda *_: None)

    assert [changed.before for changed in report.changes()] == [None]


async def test_few_requests_are_judged_at_once() -> None:
    new = Judge(Decision.ADMIT, Effect.ALLOW)

    await replay(batches(pods(*map(str, range(100)))), (None, new), LONG, lambda *_: None)

    assert (new.most_at_once, len(new.seen)) == (16, 100)


async def test_a_run_ends_in_time_and_says_so() -> None:
    new = Judge(Decision.DENY, Effect.DENY, hangs="b")
    timeouts = Timeouts(each=7, run=0.05)

    report = await replay(batches(pods("a"), pods("b"), pods("c")), (None, new), timeouts, lambda *_: None)

    assert report.stopped == "not reviewed: the run reached its time limit of 0.05 seconds (--total-timeout)"
    assert (report.requests, [each.name for each in new.seen]) == (1, ["a", "b"])
