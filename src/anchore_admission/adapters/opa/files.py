"""The files for connections to OPA: CAs, client certificate and bearer token, each of which may change."""

import ssl
from pathlib import Path
from typing import Final

from anchore_admission.adapters.trust import trusting_pem, trusting_system
from anchore_admission.certificates import checked_certificate
from anchore_admission.core.webhook.pair import CERTIFICATE, CertificatePair
from anchore_admission.errors import ConfigurationError, HookUnavailable, Problem
from anchore_admission.files import is_readable, read_bytes, read_secret_text, read_together
from anchore_admission.redaction import pair_forms, remember
from anchore_admission.watched import Watched

SECTION: Final = "opa"
UNTIL_VALID: Final = "reviews get no decision from OPA until this is fixed, and opa.onError decides"
_TOKEN_SECONDS: Final = 1.0
"""Seconds between two reads of the token's file. After a rotation, calls fail until the next read."""
_CA, _CERTIFICATE, _KEY, _TOKEN = "caFile", "certificateFile", "keyFile", "tokenFile"


class OpaToken:
    """The bearer token in a file. Raises ConfigurationError as ``Watched.start`` does."""

    def __init__(self, path: Path, *, wait_until_valid: bool = False) -> None:
        self._path = path
        self.watched = Watched(
            "token for OPA",
            self._read,
            source=str(path),
            use=lambda token: remember("OPA", pair_forms("", token)),
            every=_TOKEN_SECONDS,
            until_valid=UNTIL_VALID,
        )
        self.watched.start(wait_until_valid=wait_until_valid and is_readable(path))

    def current(self) -> str:
        """Return the last valid token. Raises HookUnavailable while there is none."""
        if self.watched.value is None:
            raise HookUnavailable("there is no valid token for OPA yet; check opa.tokenFile")
        return self.watched.value

    def _read(self) -> str:
        try:
            token = read_secret_text(self._path)
        except ConfigurationError as error:
            raise _wrong(_TOKEN, self._path, error.problems[0].message) from error
        # A line break would begin another header.
        if not token.isascii() or not token.isprintable() or " " in token:
            raise _wrong(_TOKEN, self._path, "is not a single token: expected one line of ASCII without spaces")
        return token


class OpaTls:
    """The TLS context for new connections: trusted CAs and a client certificate, replaced as a whole after a change.

    Without a CA file, it trusts the system's CAs. Raises ConfigurationError as ``Watched.start`` does.
    """

    def __init__(
        self,
        ca_file: Path | None,
        certificate_file: Path | None = None,
        key_file: Path | None = None,
        *,
        wait_until_valid: bool = False,
    ) -> None:
        named = {_CA: ca_file, _CERTIFICATE: certificate_file, _KEY: key_file}
        self._files = {key: path for key, path in named.items() if path}
        self._context: ssl.SSLContext | None = None
        paths = list(self._files.values())
        self.watched = Watched(
            "TLS files for OPA",
            self._read,
            source=", ".join(map(str, paths)),
            use=self._use,
            until_valid=UNTIL_VALID,
        )
        self.watched.start(wait_until_valid=wait_until_valid and all(map(is_readable, paths)))

    def current(self) -> ssl.SSLContext:
        """Return the context for new connections. Raises HookUnavailable while the files have never been valid."""
        if self._context is None:
            raise HookUnavailable(f"the TLS files for OPA are not valid yet; check opa.{', opa.'.join(self._files)}")
        return self._context

    def _read(self) -> dict[str, bytes]:
        try:
            # Together: a certificate must not meet the key of another version.
            contents = read_together(list(self._files.values()), read_bytes)
        except ConfigurationError as error:
            keys = {str(path): key for key, path in self._files.items()}
            problems = [Problem(keys[problem.path], f"{problem.path} {problem.message}") for problem in error.problems]
            raise ConfigurationError(SECTION, problems) from error
        return dict(zip(self._files, contents, strict=True))

    def _use(self, contents: dict[str, bytes]) -> None:
        """Build a context of its own for each version: loading another key into the one in use could break it."""
        try:
            context = trusting_pem(contents[_CA]) if _CA in contents else trusting_system()
        except ValueError as error:
            raise _wrong(_CA, self._files[_CA], str(error)) from error
        if _CERTIFICATE in contents:
            self._load(context, CertificatePair(contents[_CERTIFICATE], contents[_KEY]))
        self._context = context

    def _load(self, context: ssl.SSLContext, pair: CertificatePair) -> None:
        certificate, key = self._files[_CERTIFICATE], self._files[_KEY]
        try:
            checked_certificate(pair)
        except ConfigurationError as error:
            problem = error.problems[0]
            named = (_CERTIFICATE, certificate) if problem.path == CERTIFICATE else (_KEY, key)
            raise _wrong(*named, problem.message) from error
        try:
            # An empty password: without one, OpenSSL would ask for it at the terminal.
            context.load_cert_chain(certificate, key, password="")
        except (ssl.SSLError, OSError) as error:
            raise _wrong(_CERTIFICATE, certificate, f"cannot be used: {error.strerror or error}") from error


def _wrong(key: str, path: Path, message: str) -> ConfigurationError:
    return ConfigurationError(SECTION, [Problem(key, f"{path} {message}")])
