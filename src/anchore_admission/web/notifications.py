"""The port for Anchore's notifications: bounded requests, with a secret, that can only make answers be asked again."""

import base64
import binascii
import hmac
import logging
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from starlette.types import Receive, Scope, Send

from anchore_admission.errors import MalformedReview, MethodNotAllowed, NotAuthorized, Overloaded, ReviewTooLarge
from anchore_admission.files import is_readable
from anchore_admission.models.notification import read_notification
from anchore_admission.ports.deadline import Clock
from anchore_admission.ports.telemetry import NotificationOutcome, Recorder
from anchore_admission.services.reviews.notifications import Notifications
from anchore_admission.throttled import Throttled
from anchore_admission.watched import Watched
from anchore_admission.web.body import Disconnected, header, send_error, send_json
from anchore_admission.web.secret_path import expect_secrets, read_secrets

NOTIFICATIONS: Final = "/notifications"
BODY_LIMIT: Final = 64 * 1024
"""Bytes of a notification; one about an evaluation can be larger, and is then not read."""
PER_SECOND: Final = 5.0
_BURST: Final = 10.0
_LONGEST_HEADER: Final = 4096
_DIGITS: Final = 20
_CHALLENGE: Final = ((b"www-authenticate", b'Basic realm="notifications"'),)

logger = logging.getLogger("anchore_admission.hints")


class Rate:
    """A bound on the rate of requests: ``per_second`` on average, and ``burst`` at once."""

    def __init__(self, per_second: float, burst: float, clock: Clock) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._left = burst
        self._at = clock()

    def allows_one(self) -> bool:
        """Return whether one more request is within the bound, and count it."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class NotificationEndpoint:
    """Serve ``POST /notifications/<secret>``, and ``/notifications`` with the secret as the password of HTTP Basic.

    Anchore does not sign notifications, so the secret is all that tells its requests from others. There may be several
    secrets while one replaces another; without any, every request is denied.
    """

    def __init__(self, notifications: Notifications, recorder: Recorder, *, clock: Clock = time.monotonic) -> None:
        self._notifications = notifications
        self._recorder = recorder
        self._rate = Rate(PER_SECOND, _BURST, clock)
        self._warnings = Throttled(logger, clock)
        self._secrets: list[bytes] = []

    def use(self, secrets: Sequence[str]) -> None:
        """Accept these secrets from now on. Raises ConfigurationError; the secrets in use then stay."""
        expect_secrets(secrets, "notifications_secret_file")
        self._secrets = [secret.encode() for secret in secrets]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._is_authorized(scope):
            self._recorder.notification(NotificationOutcome.DENIED)
            self._warnings.warn("denied", "rejected a notification without the secret in its path or password")
            # Closed, so that nothing more of the body is read.
            close = (b"connection", b"close")
            await send_error(send, NotAuthorized("a secret is missing or wrong"), more=[*_CHALLENGE, close])
        elif scope["method"] != "POST":
            await send_error(send, MethodNotAllowed("POST"))
        elif not self._rate.allows_one():
            self._recorder.notification(NotificationOutcome.TOO_MANY)
            await send_error(send, Overloaded(f"more than {PER_SECOND:g} notifications a second; send it again later"))
        else:
            await self._take(scope, receive, send)

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await _body(scope, receive)
        except Disconnected:
            return
        if body is None:
            self._recorder.notification(NotificationOutcome.TOO_LARGE)
            await send_error(send, ReviewTooLarge(f"the body is larger than the limit of {BODY_LIMIT} bytes"))
            return
        notification = read_notification(body)
        if notification is None:
            self._recorder.notification(NotificationOutcome.UNREADABLE)
            await send_error(send, MalformedReview("the body is not a JSON object"))
            return
        # The hint is only noted here. Anchore waits two seconds at most, and counts only a 200 as delivered.
        self._recorder.notification(self._notifications.take(notification))
        await send_json(send, 200, b"{}")

    def _is_authorized(self, scope: Scope) -> bool:
        path = str(scope["path"]).encode("utf-8", "surrogateescape")
        given = path.removeprefix(f"{NOTIFICATIONS}/".encode())
        if given == path:
            given = _password(scope) if path == NOTIFICATIONS.encode() else b""
        return any([hmac.compare_digest(given, secret) for secret in self._secrets])  # noqa: C419 - all, for constant time


async def _body(scope: Scope, receive: Receive) -> bytes | None:
    """Return the body; None if it is too large, of which no more is read. Raises Disconnected."""
    length = header(scope, b"content-length")
    # A header may hold thousands of digits; Python refuses to convert more than 4300.
    if length.isdigit() and int(length[:_DIGITS]) > BODY_LIMIT:
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _password(scope: Scope) -> bytes:
    """Return the password of HTTP Basic; empty if there is none."""
    scheme, _, encoded = header(scope, b"authorization")[:_LONGEST_HEADER].partition(b" ")
    if scheme.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(encoded.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


def watched_notifications_secret(endpoint: NotificationEndpoint, file: Path) -> Watched[Sequence[str]]:
    """Update an endpoint from a mounted file; until it is valid, reviews are answered and notifications are denied.

    Raises ConfigurationError if the path is a mistake.
    """
    read = partial(read_secrets, file, "notifications secret")
    until_valid = "no notification is accepted until this is fixed"
    watched = Watched("notifications secret", read, source=str(file), use=endpoint.use, until_valid=until_valid)
    watched.start(wait_until_valid=is_readable(file))
    return watched
