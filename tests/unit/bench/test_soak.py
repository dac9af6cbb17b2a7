"""The reference model of the soak test: it accepts what the lifetimes allow, and nothing else."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from bench.soak.drive import judged_images
from bench.soak.model import LISTED, SLACK, Image, Judged, Lifetimes, Model, Review, Rule, Trouble, Troubles
from bench.soak.truth import ACTIVE, ANALYZED, ANALYZING, History, Truth

LIFETIMES = Lifetimes(passed=60, failed=20, pending=3, unknown=4, tag=30, outage=600, submission=100)
START = 10_000.0
TAG, OLD, NEW = "quay.io/app:1", "sha256:old", "sha256:new"
APP = Image(TAG, tag=TAG)
STRICT = Rule("strict")
PASSED = Judged(OLD, "admit", "policy_passed")
FAILED = Judged(OLD, "deny", "policy_failed")
NO_VERDICT = Judged(None, "no_verdict", "error", error="unavailable")
STALE = replace(PASSED, stale=300.0)
SHUTDOWN = Trouble("refused", START + 1000, START + 1100)


@dataclass
class World:
    """One tag of an image that passes two policies, and a clock; every change happens at ``now``."""

    now: float = START
    passes: bool = True
    troubles: Troubles = field(default_factory=Troubles)

    def __post_init__(self) -> None:
        self.truth = Truth(lambda: self.now, ("first", "second"), lambda: self.passes)
        self.truth.add(TAG, OLD, ANALYZED)
        self.model = Model(self.truth, self.troubles, LIFETIMES)

    def objections(self, verdict: Judged, *, after: float = 0.0, rule: Rule = STRICT, **changes: Any) -> list[str]:
        """Review the image some seconds after the last change."""
        sent = self.now + after
        allowed = verdict.decision == "admit"
        review = Review(rule, [APP], 10, sent, sent + 0.1, allowed=allowed, judged={TAG: verdict})
        return self.model.objections(replace(review, **changes))


@pytest.fixture
def world() -> World:
    """Return a world in which nothing has changed for a long time."""
    world = World()
    world.now += 1000
    return world


def test_a_history_knows_every_value_of_a_span() -> None:
    history = History(1.0, "a")
    history.change(2.0, "b")
    history.change(3.0, "c")
    assert [history.between(0, 1), history.between(1.5, 2), history.between(2.5, 2.6), history.between(4, 5)] == [
        {"a"},
        {"a", "b"},
        {"b"},
        {"c"},
    ]
    history.forget(2.5)
    assert history.between(0, 9) == {"b", "c"}


def test_one_verdict_is_right_while_nothing_changes(world: World) -> None:
    assert world.objections(PASSED) == []
    assert len(world.objections(FAILED)) == 1
    assert len(world.objections(replace(PASSED, digest=NEW))) == 1
    assert len(world.objections(Judged(None, "deny", "unknown"))) == 1
    assert (world.model.exact, world.model.all) == (4, 4)


@pytest.mark.parametrize(("after", "is_right"), [(0, True), (120, True), (121 + SLACK, False)])
def test_a_pass_counts_for_twice_its_lifetime(world: World, after: float, *, is_right: bool) -> None:
    world.truth.flip("first", OLD)
    assert (world.objections(PASSED, after=after) == []) is is_right


@pytest.mark.parametrize(("after", "is_right"), [(0, True), (20, True), (21 + SLACK, False)])
def test_a_fail_counts_for_its_lifetime(world: World, after: float, *, is_right: bool) -> None:
    world.truth.flip("first", OLD)
    world.now += 500
    world.truth.flip("first", OLD)
    assert (world.objections(FAILED, after=after) == []) is is_right


def test_a_change_may_be_seen_at_once(world: World) -> None:
    world.truth.flip("first", OLD)
    assert world.objections(FAILED) == []


@pytest.mark.parametrize(("after", "is_right"), [(60, True), (61 + SLACK, False)])
def test_a_moved_tag_counts_for_twice_its_lifetime(world: World, after: float, *, is_right: bool) -> None:
    world.truth.add(TAG, NEW, ANALYZED)
    assert (world.objections(PASSED, after=after) == []) is is_right
    assert world.objections(replace(PASSED, digest=NEW), after=after) == []


@pytest.mark.parametrize(("after", "is_right"), [(100, True), (101 + SLACK, False)])
def test_the_digest_of_a_submission_counts_longer(world: World, after: float, *, is_right: bool) -> None:
    world.truth.submitted[TAG].append((world.now, NEW))
    world.truth.add_image(NEW, ANALYZED)
    assert (world.objections(replace(PASSED, digest=NEW), after=after) == []) is is_right


@pytest.mark.parametrize(("after", "is_right"), [(3, True), (4 + SLACK, False)])
def test_a_pending_analysis_counts_for_its_lifetime(world: World, after: float, *, is_right: bool) -> None:
    world.truth.become(OLD, ANALYZING)
    world.now += 500
    world.truth.become(OLD, ANALYZED)
    assert (world.objections(Judged(OLD, "deny", "pending"), after=after) == []) is is_right


@pytest.mark.parametrize(("after", "is_right"), [(4, True), (5 + SLACK, False)])
def test_an_unknown_image_counts_for_its_lifetime(world: World, after: float, *, is_right: bool) -> None:
    world.truth.move(TAG, None)
    world.now += 500
    world.truth.move(TAG, OLD)
    assert (world.objections(Judged(None, "deny", "unknown"), after=after) == []) is is_right


def test_a_result_of_a_policy_that_was_listed_anew_is_wrong(world: World) -> None:
    world.passes = False
    world.truth.edit("first")
    assert world.objections(PASSED, after=10) == []
    world.truth.polled[ACTIVE].append((world.now + 2, world.truth.epoch(ACTIVE)))
    assert len(world.objections(PASSED, after=10)) == 1
    assert world.objections(PASSED, after=2 + LISTED) == [], "the list may have arrived just now"


def test_what_was_forgotten_counts_no_longer(world: World) -> None:
    world.truth.flip("first", OLD)
    world.model.forgotten.append((world.now + 1, world.now + 2))
    assert world.objections(PASSED, after=1.5) == [], "the replica may not have forgotten it yet"
    assert len(world.objections(PASSED, after=2.5)) == 1
    assert world.objections(FAILED, after=2.5) == []


def test_another_active_policy_changes_results_of_rules_that_name_none(world: World) -> None:
    world.truth.flip("second", OLD)
    world.now += 500
    world.truth.activate("second")
    assert world.objections(FAILED) == []
    assert len(world.objections(FAILED, rule=Rule("strict", policy="first"))) == 1


@pytest.mark.parametrize(
    ("judged", "is_right"), [(STALE, True), (replace(STALE, stale=602.0), False), (NO_VERDICT, True)]
)
def test_an_outage_explains_old_answers_and_no_verdict(world: World, judged: Judged, *, is_right: bool) -> None:
    world.truth.flip("first", OLD)
    world.troubles.known.append(replace(SHUTDOWN, began=world.now + 200, ended=world.now + 400))
    assert (world.objections(judged, after=300) == []) is is_right
    assert len(world.objections(judged, after=100)) == 1


def test_an_old_answer_is_no_excuse_for_one_that_never_was(world: World) -> None:
    world.troubles.known.append(SHUTDOWN)
    assert len(world.objections(replace(STALE, decision="deny", reason="policy_failed"))) == 1


def test_refused_credentials_extend_nothing(world: World) -> None:
    world.troubles.known.append(replace(SHUTDOWN, kind="401", is_refusal=True))
    assert len(world.objections(STALE)) == 1
    assert world.objections(replace(NO_VERDICT, error="refused")) == []


def test_a_refusal_needs_refused_credentials(world: World) -> None:
    world.troubles.known.append(SHUTDOWN)
    assert len(world.objections(replace(NO_VERDICT, error="refused"))) == 1


@pytest.mark.parametrize(("after", "is_affected"), [(0, True), (135, True), (145, False)])
def test_the_effect_of_an_outage_ends_with_the_breakers_pause(after: float, *, is_affected: bool) -> None:
    troubles = Troubles([replace(SHUTDOWN, began=0, ended=100)])
    assert [trouble.kind for trouble in troubles.during(after, after + 1)] == ["refused"] * is_affected


@pytest.mark.parametrize(("has_one_breaker", "kinds"), [(True, []), (False, ["refused"])])
def test_a_response_closes_the_one_breaker(*, has_one_breaker: bool, kinds: list[str]) -> None:
    troubles = Troubles([replace(SHUTDOWN, began=0, ended=100)], has_one_breaker=has_one_breaker)
    troubles.recover(99)
    troubles.recover(102)
    troubles.recover(120)
    assert [trouble.kind for trouble in troubles.during(104, 106)] == ["refused"]
    assert [trouble.kind for trouble in troubles.during(110, 111)] == kinds


def test_a_private_image_cannot_be_submitted(world: World) -> None:
    refused = replace(NO_VERDICT, error="refused")
    image = replace(APP, is_private=True)
    assert world.objections(refused, rule=Rule("passive"), allowed=True, images=[image]) == []
    assert len(world.objections(refused, rule=Rule("passive"), allowed=True)) == 1
    assert len(world.objections(refused, images=[image])) == 1


def test_lack_of_time_is_counted(world: World) -> None:
    assert world.objections(replace(NO_VERDICT, error="deadline_exceeded")) == []
    assert world.objections(Judged(None, "deny", "not_reached")) == []
    assert world.model.late == 2
    world.troubles.known.append(SHUTDOWN)
    assert world.objections(Judged(None, "deny", "not_reached")) == []
    assert world.model.late == 2


def test_only_an_endless_answer_is_too_large(world: World) -> None:
    judged = Judged(None, "deny", "record_too_large")
    world.troubles.known.append(SHUTDOWN)
    assert len(world.objections(judged)) == 1
    world.troubles.known.append(replace(SHUTDOWN, is_endless=True))
    assert world.objections(judged) == []


@pytest.mark.parametrize(
    ("rule", "judged", "is_allowed"),
    [
        (STRICT, PASSED, True),
        (STRICT, NO_VERDICT, False),
        (Rule("strict", on_error="warn"), NO_VERDICT, True),
        (Rule("strict", on_error="allow"), NO_VERDICT, True),
        (Rule("strict", enforcement="warn"), NO_VERDICT, True),
        (Rule("analysis"), Judged(OLD, "admit", "analyzed"), True),
        (Rule("passive"), Judged(None, "admit", "requested"), True),
        (Rule("passive"), NO_VERDICT, True),
        (Rule("skip"), Judged(None, "admit", "skipped"), True),
    ],
)
def test_the_rule_decides_on_the_effect(world: World, rule: Rule, judged: Judged, *, is_allowed: bool) -> None:
    world.troubles.known.append(SHUTDOWN)
    assert world.objections(judged, rule=rule, allowed=is_allowed) == []
    assert len(world.objections(judged, rule=rule, allowed=not is_allowed)) == 1


def test_a_late_answer_and_a_missing_verdict_are_wrong(world: World) -> None:
    (late,) = world.objections(PASSED, answered=world.now + 10.1)
    assert late.startswith("answered after")
    (missing,) = world.objections(PASSED, judged={}, allowed=True)
    assert missing == f"{TAG}: no verdict is named"


def test_verdicts_are_read_from_the_annotations() -> None:
    annotations = {
        "images": f"app {OLD} amd64 admit: policy_passed; nginx no_verdict: error",
        "errors": "nginx: unavailable",
        "stale": "app 12 s",
    }
    assert judged_images({"auditAnnotations": annotations}) == {
        "app": replace(PASSED, stale=12.0),
        "nginx": NO_VERDICT,
    }
