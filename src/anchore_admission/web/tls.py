"""The TLS side of the webhook port: serve a checked certificate, and replace it without a restart."""

import logging
import math
import os
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from anchore_admission.certificates import checked_certificate
from anchore_admission.core.webhook.pair import CERTIFICATE, KEY, CertificatePair
from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.files import is_readable, read_bytes, read_together
from anchore_admission.ports.deadline import Clock
from anchore_admission.settings import spelled
from anchore_admission.watched import Watched

logger = logging.getLogger("anchore_admission.tls")
_CERTIFICATE, _KEY = spelled("tls_cert_file"), spelled("tls_key_file")
_EVERY_CLIENT: Final = b""
"""The client CA bundle of a port that requires no client certificates."""
PairFiles = tuple[Path, Path]
"""The files of a certificate with its chain, and of its key; PEM."""


@dataclass(frozen=True, slots=True)
class ClientCas:
    """The file of the CAs of client certificates. Unless they are ``required``, a client may also have none.

    ``setting`` names the file in errors, and ``until_valid`` tells what its problems mean.
    """

    path: Path
    setting: str = "client_ca_file"
    required: bool = True
    until_valid: str = "not ready until this is fixed"


@dataclass(frozen=True, slots=True)
class _Served:
    """The context that answers handshakes, and the end of its certificate in Unix time."""

    context: ssl.SSLContext
    not_after: float


class ServingCertificate:
    """A TLS context whose handshakes use the last valid pair; until there is one, every handshake is rejected.

    The server name callback, which is also called without a server name, hands each new connection the context in use.
    Loading a new pair into that context instead would leave it unable to serve if the key did not fit.

    With ``files``, the pair is read from them and ``watched``; otherwise the caller hands over pairs with ``present``.
    ``clients`` is a CA bundle: only clients with a certificate that one of its CAs signed may connect, or also those
    without any certificate if the bundle says so. Until the bundle has been valid once, no client may.

    Raises ConfigurationError if a file cannot be read at the start (a configuration mistake). Invalid contents may
    still be corrected, so they leave the port unready.
    """

    def __init__(
        self, files: PairFiles | None = None, clients: Path | ClientCas | None = None, *, clock: Clock = time.monotonic
    ) -> None:
        wanted = ClientCas(clients) if isinstance(clients, Path) else clients
        self._files = files
        self._lock = threading.Lock()
        self._pair: CertificatePair | None = None
        self._clients: bytes | None = None if wanted else _EVERY_CLIENT
        self._verify = ssl.CERT_OPTIONAL if wanted and not wanted.required else ssl.CERT_REQUIRED
        self._served: _Served | None = None
        self.context = _context(_EVERY_CLIENT)
        if wanted:
            # A connection keeps these settings of its first context, whichever context it is handed later.
            _ask_for_client_certificates(self.context, self._verify)
        self.context.sni_callback = self._hand_over
        self.watched: list[Watched[Any]] = []
        if wanted:
            watched = Watched(
                "client CA bundle",
                partial(_read_clients, wanted),
                source=str(wanted.path),
                use=self._use_clients,
                until_valid=wanted.until_valid,
                clock=clock,
            )
            self.watched.append(watched)
        if files:
            source = f"{files[0]}, {files[1]}"
            read_pair = partial(_read_pair, files)
            self.watched.append(Watched("certificate", read_pair, source=source, use=self.present, clock=clock))
        _start(self.watched, [*(files or ()), *([wanted.path] if wanted else [])])

    def not_after(self) -> float:
        """Return the Unix time at which the certificate in use expires; not a number while there is none."""
        return self._served.not_after if self._served else math.nan

    def is_ready(self) -> bool:
        """Return whether there is a pair to answer handshakes with."""
        return self._served is not None

    def is_unusable(self) -> bool:
        """Return whether one of the files was invalid when it was last read."""
        return any(source.is_unusable() for source in self.watched)

    def present(self, pair: CertificatePair) -> None:
        """Use this pair from the next handshake on. Raises ConfigurationError; the last valid pair then stays."""
        with self._lock:
            self._serve(pair, self._clients)

    def _use_clients(self, clients: bytes) -> None:
        with self._lock:
            self._serve(self._pair, clients)

    def _serve(self, pair: CertificatePair | None, clients: bytes | None) -> None:
        """Check both, then use both at once. While the client CA bundle is unknown, a pair is checked but not used."""
        context = _context(clients or _EVERY_CLIENT, self._verify)
        if pair:
            certificate = _loaded(context, pair, self._files)
            if clients is not None:
                # One assignment of both: handshakes and metrics read them while another thread updates them.
                self._served = _Served(context, certificate.not_valid_after_utc.timestamp())
                logger.info("serving a certificate that is valid until %s", _moment(self._served.not_after))
                _warn_if_out_of_date(certificate.not_valid_before_utc.timestamp(), self._served.not_after)
        self._pair, self._clients = pair, clients

    def _hand_over(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _first: ssl.SSLContext
    ) -> int | None:
        if self._served is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._served.context
        return None


def _start(sources: list[Watched[Any]], paths: list[Path]) -> None:
    """Read all sources. Raises ConfigurationError with the problems of all if one of the paths is unreadable."""
    problems: list[Problem] = []
    for source in sources:
        try:
            # An unreadable path ends the start anyway, so invalid contents are reported together with it.
            source.start(wait_until_valid=all(map(is_readable, paths)))
        except ConfigurationError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigurationError("settings", problems)


def _read_pair(files: PairFiles) -> CertificatePair:
    try:
        certificate, key = read_together(files, read_bytes)
    except ConfigurationError as error:
        raise _named(error, files) from error
    return CertificatePair(certificate, key)


def _read_clients(file: ClientCas) -> bytes:
    """Read a client CA bundle. Raises ConfigurationError, also for an empty file: it must not let every client in."""
    path, setting = file.path, spelled(file.setting)
    try:
        clients = read_bytes(path)
    except ConfigurationError as error:
        raise _wrong(setting, f"{path} {error.problems[0]}") from error
    if not clients.strip():
        raise _wrong(setting, f"{path} is empty")
    try:
        _context(clients)
    except (ssl.SSLError, ValueError) as error:
        raise _wrong(setting, f"{path} holds no PEM certificates") from error
    return clients


def _context(clients: bytes, verify: ssl.VerifyMode = ssl.CERT_REQUIRED) -> ssl.SSLContext:
    """Return a context without a pair. Raises ssl.SSLError or ValueError if ``clients`` is not a CA bundle."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if clients:
        _ask_for_client_certificates(context, verify)
        context.load_verify_locations(cadata=clients.decode("ascii"))
    return context


def _ask_for_client_certificates(context: ssl.SSLContext, verify: ssl.VerifyMode) -> None:
    """Verify the client in every handshake. A resumed session would skip that, even after its CA was removed.

    TLS 1.2 cannot be kept from resuming sessions: the module ssl has no switch for its session cache.
    """
    context.verify_mode = verify
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0


def _loaded(context: ssl.SSLContext, pair: CertificatePair, files: PairFiles | None) -> x509.Certificate:
    """Load a pair into a context and return its certificate. Raises ConfigurationError."""
    if files is None:
        certificate = checked_certificate(pair)
        with _in_memory(pair) as temporary:
            _load(context, temporary)
        return certificate
    try:
        certificate = checked_certificate(pair)
        _load(context, files)
    except ConfigurationError as error:
        raise _named(error, files) from error
    return certificate


def _load(context: ssl.SSLContext, files: PairFiles) -> None:
    try:
        # An empty password: without one, OpenSSL would ask for it at the terminal.
        context.load_cert_chain(*files, password="")
    except (ssl.SSLError, OSError) as error:
        raise _wrong(CERTIFICATE, f"cannot be used: {error.strerror or error}") from error


@contextmanager
def _in_memory(pair: CertificatePair) -> Iterator[PairFiles]:
    """Write a pair to files that only this user can read, and remove them afterwards: OpenSSL reads keys from files.

    In a Pod, /tmp is in memory.
    """
    with tempfile.TemporaryDirectory(prefix="anchore-admission-") as folder:
        files = (Path(folder, CERTIFICATE), Path(folder, KEY))
        for path, content in zip(files, (pair.certificate, pair.key), strict=True):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
        yield files


def _named(error: ConfigurationError, files: PairFiles) -> ConfigurationError:
    """Name the setting and the file instead of the part of the pair."""
    certificate, key = (_CERTIFICATE, files[0]), (_KEY, files[1])
    named = {CERTIFICATE: certificate, KEY: key, str(files[0]): certificate, str(files[1]): key}
    problems = [(named[problem.path], problem.message) for problem in error.problems]
    return ConfigurationError("settings", [Problem(setting, f"{path} {why}") for (setting, path), why in problems])


def _warn_if_out_of_date(not_before: float, not_after: float) -> None:
    """Warn, but serve the certificate: a wrong clock on this node must not take the webhook down."""
    now = time.time()
    if now >= not_after:
        logger.warning("the certificate expired at %s; API servers will not trust it", _moment(not_after))
    elif now < not_before:
        logger.warning("the certificate is not valid before %s; API servers will not trust it", _moment(not_before))


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _wrong(setting: str, message: str) -> ConfigurationError:
    return ConfigurationError("settings", [Problem(setting, message)])
