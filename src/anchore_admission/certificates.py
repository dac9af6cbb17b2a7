"""Make and check certificates: a CA signs one serving certificate, and its key is then forgotten."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from anchore_admission.core.webhook.pair import CA_BUNDLE, CERTIFICATE, KEY, CertificateDetails, CertificatePair
from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.files import read_text

_VALID = dt.timedelta(days=7)
_CLOCK_SKEW = dt.timedelta(days=1)
"""An API server whose clock is behind ours would reject a certificate that begins in its future."""
# RFC 5280, appendix A: ub-common-name.
_COMMON_NAME_LIMIT = 64
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""The errors of cryptography for certificates and keys that it cannot read; the last three are not ValueErrors."""


@dataclass(frozen=True, slots=True)
class _Life:
    begin: dt.datetime
    end: dt.datetime


def throw_away_pair(names: Sequence[str]) -> CertificatePair:
    """Make a certificate for these host names and addresses, valid for a week; the CA's key is not kept."""
    now = dt.datetime.now(dt.UTC)
    return _pair("anchore-admission throw-away CA", names, _Life(now - _CLOCK_SKEW, now + _VALID))


def read_ca_bundle(path: Path) -> list[str]:
    """Return each certificate of the file as PEM that is safe to publish, without comments.

    Raises ConfigurationError, also if the file holds a private key.
    """
    text = read_text(path)
    try:
        cas = x509.load_pem_x509_certificates(text.encode())
    except _UNREADABLE as error:
        raise _not_a_ca_bundle(path) from error
    if "PRIVATE KEY-----" in text:
        raise _not_a_ca_bundle(path)
    return [ca.public_bytes(serialization.Encoding.PEM).decode() for ca in cas]


def checked_certificate(pair: CertificatePair) -> x509.Certificate:
    """Return the certificate of a pair whose key belongs to it.

    Raises ConfigurationError, whose problem names the part as a Secret does (``tls.crt`` or ``tls.key``).
    """
    certificate, key = _certificate(pair.certificate), _private_key(pair.key)
    if not _belongs(key, certificate):
        raise _wrong(KEY, "does not belong to the certificate")
    return certificate


class SelfSigned:
    """The ``CertificateMaker`` of self-managed certificates."""

    def issue(self, names: Sequence[str], *, begin: float, seconds: float) -> CertificatePair:
        start = dt.datetime.fromtimestamp(begin, dt.UTC)
        life = _Life(start - _CLOCK_SKEW, start + dt.timedelta(seconds=seconds))
        # With the time in its name, people can tell two CAs of one bundle apart.
        return _pair(f"anchore-admission {start:%Y-%m-%dT%H:%M:%SZ}", names, life)

    def read(self, pair: CertificatePair) -> CertificateDetails:
        certificate = checked_certificate(pair)
        ca = _signer(certificate, pair.ca_bundle)
        return CertificateDetails(
            certificate.not_valid_before_utc.timestamp(),
            certificate.not_valid_after_utc.timestamp(),
            _names(certificate),
            ca.public_bytes(serialization.Encoding.PEM),
        )


def _wrong(part: str, message: str) -> ConfigurationError:
    return ConfigurationError("certificate", [Problem(part, message)])


def _not_a_ca_bundle(path: Path) -> ConfigurationError:
    return ConfigurationError(str(path), [Problem("", "expected PEM certificates and no key")])


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(pem)[0]
    except _UNREADABLE as error:
        raise _wrong(CERTIFICATE, "holds no PEM certificate") from error


def _private_key(pem: bytes) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(pem, None)
    except TypeError as error:
        raise _wrong(KEY, "is encrypted; give a key without a passphrase") from error
    except _UNREADABLE as error:
        raise _wrong(KEY, "holds no PEM private key that can be used") from error


def _belongs(key: PrivateKeyTypes, certificate: x509.Certificate) -> bool:
    try:
        return _spki(key.public_key()) == _spki(certificate.public_key())
    except _UNREADABLE:
        return False


def _signer(certificate: x509.Certificate, ca_bundle: bytes) -> x509.Certificate:
    """Return the CA that signed a certificate. Raises ConfigurationError if the bundle does not hold it."""
    try:
        cas = x509.load_pem_x509_certificates(ca_bundle)
    except _UNREADABLE as error:
        raise _wrong(CA_BUNDLE, "holds no PEM certificates") from error
    for ca in cas:
        try:
            certificate.verify_directly_issued_by(ca)
        except (*_UNREADABLE, InvalidSignature):
            continue
        return ca
    raise _wrong(CA_BUNDLE, "does not hold the CA that signed the certificate")


def _names(certificate: x509.Certificate) -> frozenset[str]:
    """Return the DNS names and addresses that a certificate is for. Raises ConfigurationError."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return frozenset()
    except _UNREADABLE as error:
        raise _wrong(CERTIFICATE, "has names that cannot be read") from error
    return frozenset(str(name.value) for name in extension.value if isinstance(name, x509.DNSName | x509.IPAddress))


def _pair(ca_name: str, names: Sequence[str], life: _Life) -> CertificatePair:
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = _ca(ca_name, ca_key, life)
    certificate = (
        _builder(_named(names[0]), ca.subject, key.public_key(), life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        # API servers are written in Go, which has ignored the common name since Go 1.15.
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        # Required by RFC 5280; Python 3.13 and later reject a certificate without it (VERIFY_X509_STRICT).
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return CertificatePair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        ca.public_bytes(serialization.Encoding.PEM),
    )


def _ca(name: str, key: ec.EllipticCurvePrivateKey, life: _Life) -> x509.Certificate:
    return (
        _builder(_named(name), _named(name), key.public_key(), life)
        # It may sign certificates of servers, but no further CA (RFC 5280, 4.2.1.9).
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:_COMMON_NAME_LIMIT])])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: _Life
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(life.begin)
        .not_valid_after(life.end)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
