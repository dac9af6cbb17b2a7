"""Restrict the port for facts to callers with a client certificate, a token of ours, or one of a ServiceAccount."""

import hmac
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anchore_admission.errors import NotAuthorized, NotPermitted, NotVerified, ReviewError
from anchore_admission.files import is_readable
from anchore_admission.ports.deadline import Clock, Deadline
from anchore_admission.ports.telemetry import FactsOutcome, FactsRecorder
from anchore_admission.services.cluster.token_access import Access, TokenAccess
from anchore_admission.throttled import Throttled
from anchore_admission.watched import Watched
from anchore_admission.web.body import header
from anchore_admission.web.clients import checked_by, listed_names, names_in
from anchore_admission.web.connections import Connection
from anchore_admission.web.facts import DEADLINE, SECONDS, engine_of, refuse
from anchore_admission.web.secret_path import expect_secrets, read_secrets

_CHALLENGE: Final = ((b"www-authenticate", b'Bearer realm="facts"'), (b"connection", b"close"))
_CLOSE: Final = ((b"connection", b"close"),)
_SCHEME: Final = b"bearer"
CONNECTION_SECONDS: Final = 600.0
"""Seconds that a connection is that of a known client: its CA may be removed meanwhile, or its certificate expire."""

logger = logging.getLogger("anchore_admission.facts")


class FactsGuard:
    """An ASGI application that lets known callers in to ``app``; each of its guards is enough.

    The others get no byte of their body read: nothing about images, and no memory, is for them.
    """

    def __init__(
        self,
        app: ASGIApp,
        recorder: FactsRecorder,
        accounts: TokenAccess | None,
        *,
        seconds: float = SECONDS,
        clock: Clock = time.monotonic,
    ) -> None:
        self._app = app
        self._recorder = recorder
        self._accounts = accounts
        self._seconds = seconds
        self._clock = clock
        self._warnings = Throttled(logger, clock)
        self._tokens: tuple[bytes, ...] = ()

    def use(self, tokens: Sequence[str]) -> None:
        """Accept these tokens from now on. Raises ConfigurationError; the tokens in use then stay."""
        expect_secrets(tokens, "facts_token_file")
        # Hashes have one length: the time of a comparison tells nothing about a token.
        self._tokens = tuple(sha256(token.encode()).digest() for token in tokens)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # From here on: a slow verification of the token leaves less time for Anchore.
        deadline = Deadline.after(self._seconds, self._clock)
        error = await self._refusal(_token(scope), scope)
        if error is None:
            await self._app({**scope, DEADLINE: deadline}, receive, send)
            return
        outcome = FactsOutcome.UNVERIFIED if isinstance(error, NotVerified) else FactsOutcome.DENIED
        self._recorder.facts_request(engine_of(scope), outcome)
        await refuse(scope, send, error, more=_CHALLENGE if isinstance(error, NotAuthorized) else _CLOSE)

    async def _refusal(self, token: bytes, scope: Scope) -> ReviewError | None:
        """Return the error for a caller that is not let in.

        Each reason is logged once in five minutes, with the address that comes first: strangers may have many.
        """
        address = (scope.get("client") or ("",))[0]
        if not token:
            self._warnings.warn(
                "none",
                f"rejected a caller at {address} that asks for facts without a certificate or token",
                even_if_changed=False,
            )
            return NotAuthorized("a client certificate or a bearer token is missing")
        given = sha256(token).digest()
        if any([hmac.compare_digest(given, known) for known in self._tokens]):  # noqa: C419 - all, for constant time
            return None
        access = await self._accounts.of(token, address) if self._accounts else Access.DENIED
        match access:
            case Access.GRANTED:
                return None
            case Access.UNKNOWN:
                return NotVerified("the token cannot be verified at the moment; ask again")
            case Access.FORBIDDEN:
                self._warnings.warn(
                    "forbidden",
                    f"rejected a caller at {address} that asks for facts with a valid token of another user than "
                    "--facts-user names",
                    even_if_changed=False,
                )
                return NotPermitted("the user of this token may not ask for facts")
            case Access.DENIED:
                self._warnings.warn(
                    "wrong",
                    f"rejected a caller at {address} that asks for facts with a wrong token",
                    even_if_changed=False,
                )
                return NotAuthorized("the bearer token is wrong")


@dataclass(frozen=True, slots=True)
class FactsClients:
    """The clients whose certificate has one of these names; ``app`` answers them, and the port's guard all others."""

    allowed: frozenset[str]
    app: ASGIApp
    warnings: Throttled
    clock: Clock = time.monotonic

    @classmethod
    def named(cls, names: Sequence[str], app: ASGIApp, *, clock: Clock = time.monotonic) -> "FactsClients":
        return cls(frozenset(names), app, Throttled(logger, clock), clock)

    def protocol(self) -> type[Connection]:
        return checked_by(self._app_for)

    def _app_for(self, certificate: Mapping[str, Any], guard: ASGIApp) -> ASGIApp:
        names = list(names_in(certificate))
        if not self.allowed.isdisjoint(names):
            return partial(self._answer, self.clock() + CONNECTION_SECONDS)
        if certificate:
            self.warnings.warn(
                "names",
                f"a client that asks for facts has a certificate for {listed_names(names)}; allow it by "
                "--facts-client-name",
                even_if_changed=False,
            )
        return guard

    async def _answer(self, until: float, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a client, and close an old connection, so that the next one has its certificate verified again."""

        async def last(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        await self.app(scope, receive, send if self.clock() < until else last)


def watched_facts_token(guard: FactsGuard, file: Path) -> Watched[Sequence[str]]:
    """Update a guard from a mounted file; until it is valid, its tokens let no caller in.

    Raises ConfigurationError if the path is a mistake.
    """
    read = partial(read_secrets, file, "facts token")
    until_valid = "no caller is let in by a token of this file until this is fixed"
    watched = Watched("facts token", read, source=str(file), use=guard.use, until_valid=until_valid)
    watched.start(wait_until_valid=is_readable(file))
    return watched


def _token(scope: Scope) -> bytes:
    """Return the bearer token; empty if there is none."""
    scheme, _, token = header(scope, b"authorization").partition(b" ")
    return token.strip() if scheme.lower() == _SCHEME else b""
