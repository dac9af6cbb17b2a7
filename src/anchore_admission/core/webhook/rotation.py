"""When a certificate is made, published and put to use, so that at every moment each caller trusts each replica."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class CertificateDetails:
    """What a serving certificate says; ``authority`` is the PEM of the one that signed it. Times are Unix time."""

    not_before: float
    not_after: float
    names: frozenset[str]
    authority: bytes


class Step(StrEnum):
    """What the leader does next."""

    REST = "rest"
    ISSUE = "issue"  # nothing usable is in use: authority and certificate at once
    PUBLISH = "publish"  # a new authority beside the one in use; the certificate in use stays
    WAIT = "wait"  # until API servers trust the new authority
    SWITCH = "switch"  # to the certificate of the new authority


@dataclass(frozen=True, slots=True)
class RotationState:
    """What the leader knows. ``shared`` is what the Secret holds, ``last_good`` what this process serves."""

    shared: CertificateDetails | None
    last_good: CertificateDetails | None
    published: bool
    """A new authority of this process stands in the Secret."""
    trusted: bool
    """API servers have been told to trust it, long enough ago."""


def next_rotation_step(state: RotationState, *, wanted: frozenset[str], lifetime: float, now: float) -> Step:
    """A certificate is renewed after two thirds of its life, and when the names it must have change.

    Emptying the Secret renews it too: the certificate in use is kept until the new authority is trusted.
    """
    leaf = state.shared or state.last_good
    if leaf is None or now >= leaf.not_after:
        return Step.ISSUE
    if state.shared and state.published:
        return Step.SWITCH if state.trusted else Step.WAIT
    if state.shared and now < leaf.not_after - lifetime / 3 and wanted <= leaf.names:
        return Step.REST
    return Step.PUBLISH
