"""The CAs that our TLS clients trust, from files that may change while the process runs."""

import logging
import ssl
import time
from functools import cache
from pathlib import Path

import httpx

from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.files import is_readable, read_bytes
from anchore_admission.ports.deadline import Clock
from anchore_admission.watched import Watched

logger = logging.getLogger("anchore_admission.trust")


def trusting(*, cafile: str | None = None, cadata: str | None = None) -> ssl.SSLContext:
    """Trust these CAs, or the system's if none are given. Raises OSError, ssl.SSLError."""
    return lenient(ssl.create_default_context(cafile=cafile, cadata=cadata))


def lenient(context: ssl.SSLContext) -> ssl.SSLContext:
    """Accept CAs without a key usage, as API servers do.

    Python 3.13 and later reject them by default (``ssl.VERIFY_X509_STRICT``). Plain ``openssl req -x509`` creates one.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def trusting_pem(content: bytes) -> ssl.SSLContext:
    """Trust the CAs in the contents of a PEM file. Raises ValueError with the reason why it cannot be used."""
    # Without a certificate in it, the module ssl would trust the system's CAs.
    if b"-----BEGIN" not in content:
        raise ValueError("holds no PEM certificates")
    try:
        # Text between certificates (RFC 7468, section 2) may be in any encoding; certificates are ASCII.
        return trusting(cadata=content.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"cannot be read as PEM certificates: {error}") from error


@cache
def system_trust() -> ssl.SSLContext:
    """Trust the system's CAs. Read once for all accounts: it takes 17 ms and holds some 140 certificates."""
    return trusting_system()


def trusting_system() -> ssl.SSLContext:
    """Trust the system's CAs, from OpenSSL's default places or those in SSL_CERT_FILE and SSL_CERT_DIR."""
    context = trusting()
    if context.cert_store_stats()["x509_ca"] or _has_certificates(ssl.get_default_verify_paths().capath):
        return context
    logger.warning("the system has no CA certificates (SSL_CERT_FILE, SSL_CERT_DIR); trusting those of certifi")
    return lenient(httpx.create_ssl_context(trust_env=False))


def _has_certificates(folder: str | None) -> bool:
    """Return whether OpenSSL may find a CA there; it opens files of a folder only when it needs them."""
    try:
        return folder is not None and any(path.suffix == ".0" for path in Path(folder).iterdir())
    except OSError:
        return False


class WatchedTrust:
    """The TLS context of a mounted CA file, for connections to ``server``.

    Raises ConfigurationError if the file is invalid at the start. With ``wait_until_valid``, only an unreadable path is
    an error: invalid contents may still be corrected.
    """

    def __init__(
        self,
        path: Path,
        *,
        server: str = "Anchore",
        section: str = "anchore",
        until_valid: str = "not ready until this is fixed",
        wait_until_valid: bool = False,
        clock: Clock = time.monotonic,
    ) -> None:
        self._path = path
        self._section = section
        self._context: ssl.SSLContext | None = None
        self.watched = Watched(
            f"CA bundle for {server}",
            self._read,
            source=str(path),
            use=self._use,
            until_valid=until_valid,
            clock=clock,
        )
        self.watched.start(wait_until_valid=wait_until_valid and is_readable(path))

    def current(self) -> ssl.SSLContext:
        """Return the context for new connections. Raises ConfigurationError while the file has never been valid."""
        if self._context is None:
            raise self._wrong(f"{self._path} holds no valid certificates yet")
        return self._context

    def _read(self) -> bytes:
        try:
            return read_bytes(self._path)
        except ConfigurationError as error:
            raise self._wrong(f"{self._path} {error.problems[0]}") from error

    def _use(self, content: bytes) -> None:
        try:
            self._context = trusting_pem(content)
        except ValueError as error:
            raise self._wrong(f"{self._path} {error}") from error

    def _wrong(self, message: str) -> ConfigurationError:
        return ConfigurationError(self._section, [Problem("caFile", message)])
