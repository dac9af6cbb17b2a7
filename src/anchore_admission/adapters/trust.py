"""The CAs that a TLS client of ours trusts, from files that may change while the process runs."""

import logging
import ssl
import threading
import time
from functools import cache
from pathlib import Path

import httpx

from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.ports.deadline import Clock

logger = logging.getLogger("anchore_admission.trust")
_AGAIN_SECONDS = 300.0
"""How often to repeat the warning about an invalid file."""


def trusting(*, cafile: str | None = None, cadata: str | None = None) -> ssl.SSLContext:
    """Trust these CAs, or the system's if none are given. Raises OSError, ssl.SSLError."""
    return lenient(ssl.create_default_context(cafile=cafile, cadata=cadata))


def lenient(context: ssl.SSLContext) -> ssl.SSLContext:
    """Accept CAs without a key usage, as API servers do.

    From Python 3.13 on they are refused by default, and a plain ``openssl req -x509`` makes such a one.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


@cache
def system_trust() -> ssl.SSLContext:
    """Trust the system's CAs, where OpenSSL looks for them or SSL_CERT_FILE and SSL_CERT_DIR say.

    Read once for all accounts: it takes 17 ms and holds some 140 certificates.
    """
    context = trusting()
    if context.cert_store_stats()["x509_ca"] or _has_certificates(ssl.get_default_verify_paths().capath):
        return context
    logger.warning("the system has no CA certificates (SSL_CERT_FILE, SSL_CERT_DIR): those of certifi are trusted")
    return lenient(httpx.create_ssl_context(trust_env=False))


def _has_certificates(folder: str | None) -> bool:
    """Return whether OpenSSL may find a CA there; it opens files of a folder only when it needs them."""
    try:
        return folder is not None and any(path.suffix == ".0" for path in Path(folder).iterdir())
    except OSError:
        return False


class FollowedTrust:
    """The TLS context of a mounted CA file. Once its contents were valid, the last valid ones stay in use.

    Raises ConfigurationError if it is not valid at the start.
    """

    def __init__(self, path: Path, *, clock: Clock = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._problem = ""
        self._logged_at = 0.0
        self._lock = threading.Lock()
        self._content = _content(path)
        self._context = _context(path, self._content)

    def current(self) -> ssl.SSLContext:
        return self._context

    def is_unusable(self) -> bool:
        """Return whether the contents of the last look cannot be used."""
        return bool(self._problem)

    def refresh(self) -> None:
        """Read the file again; for a thread beside the event loop. Its contents are tried on a context of their own."""
        with self._lock:
            try:
                content = _content(self._path)
                if content != self._content:
                    self._context = _context(self._path, content)
                    self._content = content
                    logger.info("Anchore's CA certificates changed: %s", self._path)
                self._problem = ""
            except ConfigurationError as error:
                self._warn("; ".join(map(str, error.problems)))

    def _warn(self, problem: str) -> None:
        if problem != self._problem or self._clock() - self._logged_at >= _AGAIN_SECONDS:
            self._problem, self._logged_at = problem, self._clock()
            logger.error("the last valid CA certificates of Anchore stay in use: %s", problem)


def _content(path: Path) -> bytes:
    """Read a CA file. Raises ConfigurationError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _wrong(f"{path} cannot be read as PEM certificates: {error}") from error


def _context(path: Path, content: bytes) -> ssl.SSLContext:
    # Without a certificate the module ssl would take the system's CAs.
    if b"-----BEGIN" not in content:
        raise _wrong(f"{path} cannot be read as PEM certificates: there is none in it")
    try:
        return trusting(cadata=content.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:
        raise _wrong(f"{path} cannot be read as PEM certificates: {error}") from error


def _wrong(message: str) -> ConfigurationError:
    return ConfigurationError("anchore", [Problem("caFile", message)])
