"""One log line per call of the mutating webhook, and warnings about rules that keep tags from being pinned."""

import logging
import time
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

from anchore_admission.adapters.review_log import IMAGES_PER_LINE
from anchore_admission.core.pins import REMEDIES, PinnedPlace, PinResult
from anchore_admission.ports.deadline import Clock
from anchore_admission.ports.telemetry import PinningRecord
from anchore_admission.text import shortened, shown
from anchore_admission.throttled import Throttled

_IMAGE_LIMIT = 512
_TEXT_LIMIT = 256
_BY_CONFIGURATION: Final = frozenset({PinResult.RULE_DIFFERS, PinResult.EXEMPTION_DIFFERS})
"""The outcomes that last until the configuration changes."""

logger = logging.getLogger("anchore_admission.pinning")


class PinningOutcome(StrEnum):
    """The outcome of a call. ``partly_pinned`` leaves some of the tags that a rule pins."""

    PINNED = "pinned"
    PARTLY_PINNED = "partly_pinned"
    NOT_PINNED = "not_pinned"
    NOTHING_TO_PIN = "nothing_to_pin"


class PinningLog:
    """The lines of all calls; a rule or exemption that keeps tags from being pinned is named every five minutes."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._warnings = Throttled(logger, clock)

    def write(self, record: PinningRecord) -> None:
        """Write the line of one call; in a busy cluster, Pods without a tag to pin stay out of the log."""
        level = logging.INFO if record.pins else logging.DEBUG
        if logger.isEnabledFor(level):
            outcome = _outcome_of(record.pins)
            name = shortened(f"Pod {record.namespace}/{record.name}", _TEXT_LIMIT)
            logger.log(level, "%s %s", outcome, name, extra={"fields": _fields(record, outcome)})
        for pin in record.pins:
            if pin.result in _BY_CONFIGURATION:
                image = shown(pin.place.image, _IMAGE_LIMIT)
                text = f"image {image} is not pinned: {pin.reason}; {REMEDIES[pin.result]}"
                # The reason names the rules or the exemption, and no text of a user.
                self._warnings.warn(pin.reason, text, even_if_changed=False)


def _outcome_of(pins: Sequence[PinnedPlace]) -> PinningOutcome:
    if not pins:
        return PinningOutcome.NOTHING_TO_PIN
    pinned = sum(1 for pin in pins if pin.value)
    if pinned == len(pins):
        return PinningOutcome.PINNED
    return PinningOutcome.PARTLY_PINNED if pinned else PinningOutcome.NOT_PINNED


def _fields(record: PinningRecord, outcome: PinningOutcome) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "uid": shortened(record.uid, _TEXT_LIMIT),
        "namespace": shortened(record.namespace, _TEXT_LIMIT),
        "name": shortened(record.name, _TEXT_LIMIT),
        "kind": "Pod",
        "operation": shortened(record.operation, _TEXT_LIMIT),
        "user": shortened(record.user, _TEXT_LIMIT),
        "outcome": outcome,
    }
    pins: Sequence[PinnedPlace] = record.pins
    if len(pins) > IMAGES_PER_LINE:
        fields["imagesOmitted"] = len(pins) - IMAGES_PER_LINE
        # The sort is stable: tags that stay come first, each group in the order of the Pod.
        pins = sorted(pins, key=lambda pin: bool(pin.value))[:IMAGES_PER_LINE]
    fields["dryRun"] = record.dry_run
    fields["milliseconds"] = round(record.seconds * 1000, 3)
    fields["images"] = [_image(pin) for pin in pins]
    return fields


def _image(pin: PinnedPlace) -> dict[str, Any]:
    fields = {
        "place": shortened(f"{pin.place.field}/{pin.place.name}", _TEXT_LIMIT),
        "image": shortened(pin.place.image, _IMAGE_LIMIT),
        "result": pin.result,
    }
    if pin.value:
        fields["pinnedDigest"] = pin.digest
    else:
        fields["reason"] = pin.reason
    return fields
