"""The certificate of the webhook port: checked before it is used, followed while its files change."""

import logging
import ssl
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
_CERTIFICATE, _KEY = spelled("tls_cert_file"), spelled("tls_key_file")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM: the server's certificate with its chain, and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class _Pair:
    """What the files held, and the context made of it."""

    contents: tuple[bytes, bytes]
    context: ssl.SSLContext
    not_before: float
    not_after: float


class ServingCertificate:
    """A TLS context whose handshakes always use the last good pair. Raises ConfigurationError if the first is not good.

    New pairs are swapped in whole by the server name callback, which is called without a server name too. Loading
    into the context in use would leave it unable to serve if the key did not fit.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._complaint = ""
        self._pair = _load(files)
        self.context = self._pair.context
        self.context.sni_callback = self._present
        _warn_if_out_of_date(self._pair)

    def not_after(self) -> float:
        """Unix time at which the certificate in use expires."""
        return self._pair.not_after

    def refresh(self) -> None:
        """Look at the files again. A pair that is not good is reported once, and the last good one stays in use."""
        try:
            if _contents(self._files) == self._pair.contents:
                self._complaint = ""
                return
            pair = _load(self._files)
        except ConfigurationError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                _log.error("the last good certificate stays in use: %s", "; ".join(map(str, error.problems)))
            return
        self._pair = pair
        self._complaint = ""
        _log.info("certificate changed, valid until %s", _moment(pair.not_after))
        _warn_if_out_of_date(pair)

    def _present(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _first: ssl.SSLContext) -> None:
        connection.context = self._pair.context


def _load(files: TlsFiles) -> _Pair:
    contents = _contents(files)
    certificate, key = _certificate(files, contents[0]), _private_key(files, contents[1])
    if not _belongs(certificate, key):
        raise _wrong(_KEY, f"{files.key} does not belong to the certificate in {files.certificate}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # An empty password: without one, OpenSSL would ask for it at the terminal.
        context.load_cert_chain(files.certificate, files.key, password="")
    except (ssl.SSLError, OSError) as error:
        raise _wrong(_CERTIFICATE, f"{files.certificate} cannot be used: {error.strerror or error}") from error
    return _Pair(
        contents, context, certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    )


def _contents(files: TlsFiles) -> tuple[bytes, bytes]:
    problems: list[Problem] = []
    contents: list[bytes] = []
    for setting, path in ((_CERTIFICATE, files.certificate), (_KEY, files.key)):
        try:
            contents.append(path.read_bytes())
        except OSError as error:
            problems.append(Problem(setting, f"{path} cannot be read: {error.strerror}"))
    if problems:
        raise ConfigurationError("settings", problems)
    return contents[0], contents[1]


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
