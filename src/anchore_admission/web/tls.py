"""The certificate of the webhook port: checked before it is used, followed while its files change."""

import logging
import math
import os
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from anchore_admission.adapters.certificates import UNREADABLE
from anchore_admission.adapters.files import is_readable, why_unreadable
from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.ports.deadline import Clock
from anchore_admission.settings import spelled
from anchore_admission.throttled import Throttled

logger = logging.getLogger("anchore_admission.tls")
_CERTIFICATE, _KEY, _CLIENTS = spelled("tls_cert_file"), spelled("tls_key_file"), spelled("client_ca_file")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM: the server's certificate with its chain, and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class _Contents:
    """What is to be served, with the authorities of the clients that are let in (empty: anybody is)."""

    certificate: bytes
    key: bytes
    clients: bytes


@dataclass(frozen=True, slots=True)
class _Pair:
    """What was read, and the context made of it."""

    contents: _Contents
    context: ssl.SSLContext
    not_before: float
    not_after: float


class ServingCertificate:
    """A TLS context whose handshakes always use the last good pair; until there is one, every handshake is refused.

    New pairs are swapped in whole by the server name callback, which is called without a server name too. Loading
    into the context in use would leave it unable to serve if the key did not fit. Without ``files``, whoever has a
    pair calls ``present``. ``clients`` is a file of authorities: only clients with a certificate of one of them are
    let in.

    Raises ConfigurationError when a file cannot be read at the start: a mistake of whoever named it. What the files
    hold may still be mended, and is waited for.
    """

    def __init__(
        self, files: TlsFiles | None = None, clients: Path | None = None, *, clock: Clock = time.monotonic
    ) -> None:
        self._files = files
        self._clients = clients
        self._warnings = Throttled(logger, clock)
        self._lock = threading.Lock()
        self._given: tuple[bytes, bytes] | None = None
        self._authorities: bytes | None = None if clients else b""
        self._pair: _Pair | None = None
        self._unusable = False
        self.context = _context(b"")
        if clients:
            # A connection keeps these of the context that it began with, whichever one it is given later.
            _ask_for_certificates(self.context)
        self.context.sni_callback = self._choose
        problems = self._look()
        if problems and not all(map(is_readable, self._paths())):
            raise ConfigurationError("settings", problems)
        self._tell(problems)

    def not_after(self) -> float:
        """Unix time at which the certificate in use expires; not a number while there is none."""
        return self._pair.not_after if self._pair else math.nan

    def serves(self) -> bool:
        """Whether there is a pair to answer handshakes with."""
        return self._pair is not None

    def is_unusable(self) -> bool:
        """Whether what the files held at the last look cannot be used."""
        return self._unusable

    def present(self, certificate: bytes, key: bytes) -> None:
        """Use this pair from the next handshake on. Raises ConfigurationError; the last good pair then stays."""
        with self._lock:
            self._use(certificate, key)
            self._given = (certificate, key)

    def refresh(self) -> None:
        """Look at the files again. What is not good is told now and then, and what was good before stays in use."""
        with self._lock:
            self._tell(self._look())

    def _look(self) -> list[Problem]:
        problems: list[Problem] = []
        for look in (self._look_at_clients, self._look_at_pair):
            try:
                look()
            except ConfigurationError as error:
                problems.extend(error.problems)
        return problems

    def _look_at_clients(self) -> None:
        if self._clients:
            self._authorities = _client_authorities(self._clients)

    def _look_at_pair(self) -> None:
        pair = _read_pair(self._files) if self._files else self._given
        if pair:
            self._use(*pair)

    def _tell(self, problems: list[Problem]) -> None:
        self._unusable = bool(problems)
        if problems:
            meanwhile = "the last good certificate stays in use" if self._pair else "not ready until this is mended"
            self._warnings.warn("", f"{meanwhile}: {'; '.join(map(str, problems))}", logging.ERROR)
        else:
            self._warnings.clear("")

    def _use(self, certificate: bytes, key: bytes) -> None:
        """While it is not known which clients to let in, a pair is checked and none is used."""
        contents = _Contents(certificate, key, self._authorities or b"")
        before = self._pair
        if before and before.contents == contents:
            return
        pair = _checked(self._files, contents) if self._files else _from_memory(contents)
        if self._authorities is None:
            return
        self._pair = pair
        logger.info("certificate %s, valid until %s", "changed" if before else "in use", _moment(pair.not_after))
        _warn_if_out_of_date(pair)

    def _paths(self) -> Iterator[Path]:
        if self._files:
            yield from (self._files.certificate, self._files.key)
        if self._clients:
            yield self._clients

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _first: ssl.SSLContext
    ) -> int | None:
        if self._pair is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._pair.context
        return None


def _checked(files: TlsFiles, contents: _Contents) -> _Pair:
    certificate, key = _certificate(files, contents.certificate), _private_key(files, contents.key)
    if not _belongs(certificate, key):
        raise _wrong(_KEY, f"{files.key} does not belong to the certificate in {files.certificate}")
    context = _context(contents.clients)
    try:
        # An empty password: without one, OpenSSL would ask for it at the terminal.
        context.load_cert_chain(files.certificate, files.key, password="")
    except (ssl.SSLError, OSError) as error:
        raise _wrong(_CERTIFICATE, f"{files.certificate} cannot be used: {error.strerror or error}") from error
    return _Pair(
        contents, context, certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    )


def _from_memory(contents: _Contents) -> _Pair:
    # OpenSSL reads keys from files only: in memory where /tmp is, ours alone, and gone when this is done.
    with tempfile.TemporaryDirectory(prefix="anchore-admission-") as folder:
        files = TlsFiles(Path(folder, "tls.crt"), Path(folder, "tls.key"))
        for path, content in ((files.certificate, contents.certificate), (files.key, contents.key)):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
        return _checked(files, contents)


def _context(clients: bytes) -> ssl.SSLContext:
    """Raises ssl.SSLError or ValueError when ``clients`` are no authorities."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if clients:
        _ask_for_certificates(context)
        context.load_verify_locations(cadata=clients.decode("ascii"))
    return context


def _ask_for_certificates(context: ssl.SSLContext) -> None:
    """In every handshake: a resumed session is not verified again, whatever has become of the client or its authority.

    TLS 1.2 cannot be kept from resuming here: the module ssl has no switch for its cache of sessions.
    """
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0


def _read_pair(files: TlsFiles) -> tuple[bytes, bytes]:
    problems: list[Problem] = []
    contents: list[bytes] = []
    for setting, path in ((_CERTIFICATE, files.certificate), (_KEY, files.key)):
        try:
            contents.append(path.read_bytes())
        except OSError as error:
            problems.append(Problem(setting, f"{path} {why_unreadable(path, error)}"))
    if problems:
        raise ConfigurationError("settings", problems)
    return contents[0], contents[1]


def _client_authorities(path: Path) -> bytes:
    """Raises ConfigurationError, also for an empty file: it must not mean that anybody is let in."""
    try:
        authorities = path.read_bytes()
        if authorities.strip():
            _context(authorities)
            return authorities
    except (ssl.SSLError, ValueError) as error:
        raise _wrong(_CLIENTS, f"{path} holds no PEM certificates of authorities") from error
    except OSError as error:
        raise _wrong(_CLIENTS, f"{path} {why_unreadable(path, error)}") from error
    raise _wrong(_CLIENTS, f"{path} is empty")


def _certificate(files: TlsFiles, pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(pem)[0]
    except UNREADABLE as error:
        raise _wrong(_CERTIFICATE, f"{files.certificate} holds no PEM certificate") from error


def _private_key(files: TlsFiles, pem: bytes) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(pem, None)
    except TypeError as error:
        raise _wrong(_KEY, f"{files.key} is encrypted; give a key without a passphrase") from error
    except UNREADABLE as error:
        raise _wrong(_KEY, f"{files.key} holds no PEM private key that can be used") from error


def _belongs(certificate: x509.Certificate, key: PrivateKeyTypes) -> bool:
    own = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == own
    except UNREADABLE:
        return False


def _warn_if_out_of_date(pair: _Pair) -> None:
    """It is served all the same: a wrong clock on this node must not take the webhook away."""
    now = time.time()
    if now >= pair.not_after:
        logger.warning("the certificate expired at %s; API servers will not trust it", _moment(pair.not_after))
    elif now < pair.not_before:
        logger.warning(
            "the certificate is not valid before %s; API servers will not trust it", _moment(pair.not_before)
        )


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _wrong(setting: str, message: str) -> ConfigurationError:
    return ConfigurationError("settings", [Problem(setting, message)])
