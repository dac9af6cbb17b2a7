"""Moved tags: repeated submission, and the digest that counts."""

from dataclasses import replace

import pytest

from anchore_admission.core.facts import ResolvedTag, Submission, SubmissionState
from anchore_admission.core.tags import FIRST_REPEAT, LastSubmission, Repeats
from support.builders import DIGEST, OTHER_DIGEST, record

REPEATS = Repeats(600.0)
ANSWERED = LastSubmission(
    Submission(SubmissionState.ANSWERED, DIGEST), ResolvedTag(DIGEST, 1000.0, DIGEST), at=1000.0, pause=FIRST_REPEAT
)
REFUSED = replace(ANSWERED, submission=Submission(SubmissionState.REFUSED), resolved=None)
MOVED = replace(ANSWERED, resolved=ResolvedTag(DIGEST, 1000.0, OTHER_DIGEST))
UNCOMPARED = replace(ANSWERED, resolved=ResolvedTag(DIGEST, 1000.0))


@pytest.mark.parametrize(
    ("answered", "before", "now", "expected"),
    [
        (DIGEST, None, None, True),
        (DIGEST, "", None, True),
        (DIGEST, DIGEST, None, True),
        (DIGEST, DIGEST, DIGEST, False),
        (DIGEST, OTHER_DIGEST, DIGEST, False),
        (DIGEST, OTHER_DIGEST, OTHER_DIGEST, True),
        (DIGEST, DIGEST, OTHER_DIGEST, False),
        (DIGEST, "", OTHER_DIGEST, False),
        (DIGEST, None, OTHER_DIGEST, False),
    ],
    ids=[
        "not held, never looked up",
        "not held",
        "no longer held",
        "agreed",
        "moved, and Anchore has learned of it",
        "moved back to an image that Anchore knew",
        "added since by others",
        "added since, unknown before",
        "nothing to compare with",
    ],
)
def test_the_newer_of_look_up_and_submission_wins(
    answered: str, before: str | None, now: str | None, expected: bool
) -> None:
    found = record(digest=now) if now else None
    assert ResolvedTag(answered, 0.0, before).overrides(found) is expected


@pytest.mark.parametrize(
    ("last", "needed", "looked_up", "seconds"),
    [
        (ANSWERED, False, DIGEST, 600),
        (ANSWERED, False, OTHER_DIGEST, FIRST_REPEAT),
        (MOVED, False, OTHER_DIGEST, 600.0),
        (ANSWERED, True, "", FIRST_REPEAT),
        (REFUSED, False, None, FIRST_REPEAT),
        (UNCOMPARED, False, None, 600),
        (UNCOMPARED, False, DIGEST, 600),
        (UNCOMPARED, False, OTHER_DIGEST, FIRST_REPEAT),
        (UNCOMPARED, False, "", FIRST_REPEAT),
    ],
    ids=[
        "the look-up agrees",
        "the look-up differs, since others have submitted the tag",
        "the look-up still finds the digest from before",
        "a verdict needs it",
        "refused",
        "passive mode looks nothing up",
        "not compared, and the look-up agrees",
        "not compared, and the look-up differs",
        "not compared, and Anchore holds none",
    ],
)
def test_an_image_is_due_after_its_pause_or_once_per_interval(
    last: LastSubmission, looked_up: str | None, seconds: float, *, needed: bool
) -> None:
    def is_due(now: float) -> bool:
        return now >= REPEATS.due_at(last, needed=needed, looked_up=looked_up)

    assert (is_due(1000 + seconds - 1), is_due(1000 + seconds)) == (False, True)


def test_an_image_that_was_never_submitted_is_due_at_once() -> None:
    assert REPEATS.due_at(LastSubmission(), needed=False, looked_up=None) == float("-inf")


def test_the_pause_doubles_up_to_the_interval_while_the_image_is_needed() -> None:
    last, pauses = LastSubmission(), []
    for _ in range(7):
        last = REPEATS.begun(last, 0.0, needed=True)
        pauses.append(last.pause)
    assert pauses == [30, 60, 120, 240, 480, 600, 600]
    assert REPEATS.begun(ANSWERED, 0.0, needed=False).pause == FIRST_REPEAT


def test_the_latest_response_stands_while_the_next_one_is_on_its_way() -> None:
    assert REPEATS.begun(LastSubmission(), 7.0, needed=True).submission == Submission(SubmissionState.REQUESTED)
    begun = REPEATS.begun(ANSWERED, 2000.0, needed=True)
    assert (begun.submission, begun.resolved, begun.at) == (ANSWERED.submission, ANSWERED.resolved, 2000.0)


def test_a_digest_holds_for_two_intervals() -> None:
    resolved = ResolvedTag(DIGEST, 1000.0)
    assert (REPEATS.holds(resolved, 2199.0), REPEATS.holds(resolved, 2200.0)) == (True, False)
