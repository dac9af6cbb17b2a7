"""POST /validate and POST /mutate: read an AdmissionReview and answer it within its deadline."""

import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.types import Message, Receive, Scope, Send

from anchore_admission.errors import Overloaded, ReviewError
from anchore_admission.models.review import (
    AdmissionRequest,
    AdmissionResponse,
    AdmissionReview,
    decode,
    decode_start,
    encode,
    held_bytes,
)
from anchore_admission.ports.deadline import Clock, Deadline
from anchore_admission.ports.telemetry import Origin, Recorder
from anchore_admission.services.reviews.hooking import Body
from anchore_admission.services.reviews.pinning import Pinning
from anchore_admission.services.reviews.review import Reviews
from anchore_admission.web.bodies import NO_ROOM, SMALL, Bodies, Received, is_small
from anchore_admission.web.body import Disconnected, expect_json, send_error, send_json

DEFAULT_TIMEOUT = 10.0
# A Go duration, which the API server rounds up to whole seconds from 1s to 30s. Other values count as absent.
_TIMEOUT = re.compile(rb"(?:^|&)timeout=(\d{1,3})s(?:&|$)")
_ROUNDING = 1.0
"""The API server rounds its remaining time up to whole seconds."""
# Rounding and margin leave nothing of a timeout of 1 s. Facts in memory can still give a verdict in this time.
_LEAST = 0.2
# The largest ``timeoutSeconds`` of admissionregistration.k8s.io/v1.
_MOST = 30.0

Answer = Callable[[AdmissionRequest, Deadline, Body], Awaitable[AdmissionResponse]]
"""Decides about a request; never raises. The request's object may be ``Unreadable``.

The body is the whole AdmissionReview. It is empty if it was not received whole, or the endpoint does not keep it.
"""


@dataclass(frozen=True, slots=True)
class AdmissionEndpoint:
    """An ASGI application for one route. It works on bytes: a typed body parameter would cost another 100 µs a call.

    ``body_limit`` is in bytes; ``margin`` is the time in seconds for encoding and sending the response, and ``most``
    the longest time for the answer, however long the API server would wait. ``keeps_body`` holds a body in memory until
    its review is answered.
    """

    answer: Answer
    recorder: Recorder
    body_limit: int
    margin: float
    bodies: Bodies = field(default_factory=Bodies)
    most: float = _MOST
    keeps_body: bool = False
    clock: Clock = time.monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = self.clock()
        try:
            expect_json(scope)
            message = await receive()
            if is_small(message):
                await self._answer_small(message.get("body", b""), scope, send, began)
            else:
                await self._answer_large(message, scope, receive, send, began)
        except Disconnected:
            return
        except ReviewError as error:
            self.recorder.malformed_review(error.code, str(error))
            await send_error(send, error)

    async def _answer_small(self, body: bytes | bytearray, scope: Scope, send: Send, began: float) -> None:
        """Answer a review at once, unless it would hold much more memory than its bytes during the calls to Anchore."""
        review = decode(body)
        held = held_bytes(review.request)
        if held <= SMALL:
            await self._respond(review, scope, send, began, body)
            return
        del review  # free its memory while this request waits for room; it is decoded again
        # Wait for room at most half of the time: the rest is for the calls to Anchore.
        async with self.bodies.room(held, self._budget(scope) / 2) as has_room:
            known = decode(body) if has_room else decode_start(body, NO_ROOM)
            if known is None:
                raise Overloaded(NO_ROOM)
            await self._respond(known, scope, send, began, body if has_room else b"")

    async def _answer_large(self, message: Message, scope: Scope, receive: Receive, send: Send, began: float) -> None:
        """Answer a review that arrives in parts. If it cannot be held in memory, its first part is enough."""
        if message["type"] == "http.disconnect":
            raise Disconnected
        wait_seconds = self._budget(scope) / 2
        async with self.bodies.read(scope, receive, message, self.body_limit, wait_seconds) as received:
            if received.missing is None and len(received.content) <= SMALL:
                # Answered after the block, which releases its share: small reviews hold no room.
                small = received.content
            else:
                await self._answer_received(received, scope, send, began)
                return
        await self._answer_small(small, scope, send, began)

    async def _answer_received(self, received: Received, scope: Scope, send: Send, began: float) -> None:
        review = _decoded(received)
        body = received.content if self.keeps_body and received.missing is None else b""
        received.content = b""  # the review may wait for Anchore
        received.hold(held_bytes(review.request) + len(body))
        await self._respond(review, scope, send, began, body)

    async def _respond(
        self, review: AdmissionReview, scope: Scope, send: Send, began: float, body: bytes | bytearray
    ) -> None:
        deadline = Deadline.after(self._budget(scope), self.clock, began=began)
        response = await self.answer(review.request, deadline, lambda: body)
        # Also for a denial: any status outside 200 to 206 is a failed call, for which ``failurePolicy`` decides.
        # Source: k8s.io/apiserver, pkg/admission/plugin/webhook.
        await send_json(send, 200, encode(review.apiVersion, response))

    def _budget(self, scope: Scope) -> float:
        return min(self.most, budget(scope["query_string"], self.margin))


def judged_by(reviews: Reviews) -> Answer:
    """Return the validating webhook's answer: the verdict of a review."""

    async def judge(request: AdmissionRequest, deadline: Deadline, body: Body) -> AdmissionResponse:
        verdict = await reviews.review(request, deadline, origin=Origin.ADMISSION, body=body)
        return AdmissionResponse(
            uid=request.uid,
            allowed=verdict.allowed,
            message=verdict.message,
            warnings=verdict.warnings,
            audit_annotations=verdict.audit_annotations,
        )

    return judge


def pinned_by(pinning: Pinning) -> Answer:
    """Return the mutating webhook's answer: the pins of a Pod's tags."""

    async def pin(request: AdmissionRequest, deadline: Deadline, _body: Body) -> AdmissionResponse:
        return await pinning.mutate(request, deadline)

    return pin


def _decoded(received: Received) -> AdmissionReview:
    """Decode a body, or its first part. Raises ReviewError."""
    if received.missing is None:
        return decode(received.content)
    review = decode_start(received.content, str(received.missing))
    if review is None:
        raise received.error()
    return review


def budget(query: bytes, margin: float) -> float:
    """Return the seconds for a review, by the ``timeout`` that the API server adds to the webhook's URL.

    Source: k8s.io/apiserver, which sends the smaller of ``timeoutSeconds`` and the rest of the request's own time.
    """
    match = _TIMEOUT.search(query)
    timeout = min(float(match[1]), _MOST) if match else DEFAULT_TIMEOUT
    return max(_LEAST, timeout - _ROUNDING - margin)
