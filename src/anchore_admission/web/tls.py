"""The certificate of the webhook port: checked before it is used, followed while its files change."""

import logging
import math
import os
import ssl
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.settings import spelled

_log = logging.getLogger("anchore_admission.tls")
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
    clients: bytes = b""


@dataclass(frozen=True, slots=True)
class _Pair:
    """What was read, and the context made of it."""

    contents: _Contents
    context: ssl.SSLContext
    not_before: float
    not_after: float


class ServingCertificate:
    """A TLS context whose handshakes always use the last good pair. Raises ConfigurationError if the first is not good.

    New pairs are swapped in whole by the server name callback, which is called without a server name too. Loading
    into the context in use would leave it unable to serve if the key did not fit. Without ``files``, whoever has a
    pair calls ``present``; until then every handshake is refused. ``clients`` is a file of authorities: only clients
    with a certificate of one of them are let in.
    """

    def __init__(self, files: TlsFiles | None = None, clients: Path | None = None) -> None:
        self._files = files
        self._clients = clients
        self._complaint = ""
        self._pair = self._from_files(files) if files else None
        self.context = self._pair.context if self._pair else _context(_client_authorities(clients))
        self.context.sni_callback = self._choose
        if self._pair:
            _warn_if_out_of_date(self._pair)

    def not_after(self) -> float:
        """Unix time at which the certificate in use expires; not a number while there is none."""
        return self._pair.not_after if self._pair else math.nan

    def present(self, certificate: bytes, key: bytes) -> None:
        """Use this pair from the next handshake on. Raises ConfigurationError; the last good pair then stays."""
        contents = _Contents(certificate, key, _client_authorities(self._clients))
        # OpenSSL reads keys from files only: in memory where /tmp is, ours alone, and gone when this is done.
        with tempfile.TemporaryDirectory(prefix="anchore-admission-") as folder:
            files = TlsFiles(Path(folder, "tls.crt"), Path(folder, "tls.key"))
            for path, content in ((files.certificate, certificate), (files.key, key)):
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(content)
            self._use(_checked(files, contents))

    def refresh(self) -> None:
        """Look at the files again. A pair that is not good is reported once, and the last good one stays in use."""
        try:
            pair = self._changed()
        except ConfigurationError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                _log.error("the last good certificate stays in use: %s", "; ".join(map(str, error.problems)))
            return
        self._complaint = ""
        if pair:
            self._use(pair)

    def _changed(self) -> _Pair | None:
        before = self._pair
        if self._files:
            contents = _contents(self._files, self._clients)
            return None if before and before.contents == contents else self._from_files(self._files)
        if before and _client_authorities(self._clients) != before.contents.clients:
            self.present(before.contents.certificate, before.contents.key)
        return None

    def _from_files(self, files: TlsFiles) -> _Pair:
        return _checked(files, _contents(files, self._clients))

    def _use(self, pair: _Pair) -> None:
        _log.info("certificate %s, valid until %s", "changed" if self._pair else "in use", _moment(pair.not_after))
        self._pair = pair
        _warn_if_out_of_date(pair)

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


def _context(clients: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cadata=clients.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise _wrong(_CLIENTS, "the file holds no PEM certificates of authorities") from error
    return context


def _contents(files: TlsFiles, clients: Path | None) -> _Contents:
    problems: list[Problem] = []
    contents: list[bytes] = []
    for setting, path in ((_CERTIFICATE, files.certificate), (_KEY, files.key), (_CLIENTS, clients)):
        try:
            contents.append(path.read_bytes() if path else b"")
        except OSError as error:
            problems.append(Problem(setting, f"{path} cannot be read: {error.strerror}"))
    if problems:
        raise ConfigurationError("settings", problems)
    _expect_authorities(clients, contents[2])
    return _Contents(*contents)


def _client_authorities(path: Path | None) -> bytes:
    """Raises ConfigurationError."""
    try:
        authorities = path.read_bytes() if path else b""
    except OSError as error:
        raise _wrong(_CLIENTS, f"{path} cannot be read: {error.strerror}") from error
    _expect_authorities(path, authorities)
    return authorities


def _expect_authorities(path: Path | None, authorities: bytes) -> None:
    """An empty file must not mean that anybody is let in."""
    if path and not authorities.strip():
        raise _wrong(_CLIENTS, f"{path} is empty")


def _certificate(files: TlsFiles, pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(pem)[0]
    except ValueError as error:
        raise _wrong(_CERTIFICATE, f"{files.certificate} holds no PEM certificate") from error


def _private_key(files: TlsFiles, pem: bytes) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(pem, None)
    except TypeError as error:
        raise _wrong(_KEY, f"{files.key} is encrypted; give a key without a passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _wrong(_KEY, f"{files.key} holds no PEM private key that can be used") from error


def _belongs(certificate: x509.Certificate, key: PrivateKeyTypes) -> bool:
    own = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == own
    except (ValueError, UnsupportedAlgorithm):
        return False


def _warn_if_out_of_date(pair: _Pair) -> None:
    """It is served all the same: a wrong clock on this node must not take the webhook away."""
    now = time.time()
    if now >= pair.not_after:
        _log.warning("the certificate expired at %s; API servers will not trust it", _moment(pair.not_after))
    elif now < pair.not_before:
        _log.warning("the certificate is not valid before %s; API servers will not trust it", _moment(pair.not_before))


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _wrong(setting: str, message: str) -> ConfigurationError:
    return ConfigurationError("settings", [Problem(setting, message)])
