"""Decide when to make, publish and use a certificate, so that API servers trust every replica at every moment."""

from dataclasses import dataclass
from enum import StrEnum

from anchore_admission.core.webhook.pair import CertificateDetails


class Step(StrEnum):
    """The next step of the leader."""

    REST = "rest"  # nothing to do
    ISSUE = "issue"  # there is no certificate in use: make CA and certificate at once
    PUBLISH = "publish"  # a new CA beside the one in use; the certificate in use stays
    WAIT = "wait"  # until API servers trust the new CA
    SWITCH = "switch"  # to the certificate that the new CA signed


@dataclass(frozen=True, slots=True)
class RotationState:
    """The leader's view: ``shared`` is in the Secret, ``last_valid`` is served by this process."""

    shared: CertificateDetails | None
    last_valid: CertificateDetails | None
    is_published: bool
    """The Secret holds a new CA of this process."""
    is_trusted: bool
    """API servers have had time to learn of it."""


def next_rotation_step(state: RotationState, *, wanted: frozenset[str], lifetime: float, now: float) -> Step:
    """Renew a certificate after two thirds of its life, and when the wanted names change.

    Emptying the Secret forces a renewal: the certificate in use stays until the new CA is trusted.
    """
    current = state.shared or state.last_valid
    # API servers reject an expired certificate already, so nothing is lost by replacing its CA at once.
    if current is None or now >= current.not_after:
        return Step.ISSUE
    if state.shared and state.is_published:
        return Step.SWITCH if state.is_trusted else Step.WAIT
    if state.shared and now < current.not_after - lifetime / 3 and wanted <= current.names:
        return Step.REST
    return Step.PUBLISH
