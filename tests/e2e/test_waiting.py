"""A timeout while waiting reports the last failure."""

import pytest

from e2e.cluster.waiting import until


def test_the_last_assertion_is_reported() -> None:
    tries = iter(range(3))

    def nothing_left() -> bool:
        left = next(tries, 2)
        assert not left, f"{left} are left"
        return False

    with pytest.raises(TimeoutError, match=r"not within 0 s: they go; last: AssertionError.*2 are left") as caught:
        until(nothing_left, "they go", 0.05, every=0.001)

    assert isinstance(caught.value.__cause__, AssertionError)


def test_the_last_value_is_reported() -> None:
    with pytest.raises(TimeoutError, match=r"not within 0 s: something; last: \[\]"):
        until(list, "something", 0)


def test_the_value_is_returned() -> None:
    come = iter(["", "here"])

    assert until(lambda: next(come), "it comes", every=0) == "here"
