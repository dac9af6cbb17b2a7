import pytest

from anchore_admission.core.webhook.pair import CertificateDetails
from anchore_admission.core.webhook.rotation import RotationState, Step, next_rotation_step

DAY = 86400.0
WANTED = frozenset({"x.ns.svc"})


def leaf(*, end: float = 90 * DAY, names: frozenset[str] = WANTED) -> CertificateDetails:
    return CertificateDetails(0, end, names, b"ca")


GOOD = leaf()


def step(
    shared: CertificateDetails | None,
    last_valid: CertificateDetails | None,
    now: float,
    *,
    published: bool = False,
    trusted: bool = False,
) -> Step:
    return next_rotation_step(
        RotationState(shared, last_valid, published, trusted), wanted=WANTED, lifetime=90 * DAY, now=now
    )


@pytest.mark.parametrize(
    ("shared", "last_valid", "day", "expected"),
    [
        (None, None, 0, Step.ISSUE),
        (GOOD, None, 0, Step.REST),
        (GOOD, GOOD, 59.99, Step.REST),
        (GOOD, GOOD, 60, Step.PUBLISH),
        (GOOD, GOOD, 89.99, Step.PUBLISH),
        (GOOD, GOOD, 90, Step.ISSUE),
        (leaf(names=frozenset({"other"})), GOOD, 0, Step.PUBLISH),
        (leaf(names=WANTED | {"more"}), GOOD, 0, Step.REST),
        (None, GOOD, 0, Step.PUBLISH),
        (None, GOOD, 90, Step.ISSUE),
        (leaf(end=10 * DAY), GOOD, 0, Step.PUBLISH),
    ],
)
def test_the_next_step(
    shared: CertificateDetails | None, last_valid: CertificateDetails | None, day: float, expected: Step
) -> None:
    assert step(shared, last_valid, day * DAY) is expected


@pytest.mark.parametrize(
    ("shared", "day", "trusted", "expected"),
    [
        (GOOD, 60, False, Step.WAIT),
        (GOOD, 60, True, Step.SWITCH),
        (GOOD, 1, True, Step.SWITCH),
        (GOOD, 90, False, Step.ISSUE),
        (None, 60, True, Step.PUBLISH),
    ],
)
def test_the_switch_waits_for_trust_but_not_beyond_the_end(
    shared: CertificateDetails | None, day: float, trusted: bool, expected: Step
) -> None:
    assert step(shared, GOOD, day * DAY, published=True, trusted=trusted) is expected
