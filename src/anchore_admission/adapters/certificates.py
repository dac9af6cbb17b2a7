"""Makes certificates: an authority that signs one server certificate and is then forgotten."""

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
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from anchore_admission.adapters.files import read_text
from anchore_admission.core.webhook.rotation import CertificateDetails
from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.ports.cluster import ServingPair

_VALID = dt.timedelta(days=7)
_CLOCK_SKEW = dt.timedelta(days=1)
"""The clock of an API server may be behind ours, and it would refuse a certificate of its future."""
_COMMON_NAME_LIMIT = 64
UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises for certificates and keys that it cannot read; the last three are no ValueErrors."""


@dataclass(frozen=True, slots=True)
class Pair:
    """PEM: the authority to trust, the server's certificate, its key."""

    authority: bytes
    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class _Life:
    begin: dt.datetime
    end: dt.datetime


def throw_away_pair(names: Sequence[str]) -> Pair:
    """A certificate for these host names and addresses, valid for a week; the authority's key is not kept."""
    now = dt.datetime.now(dt.UTC)
    return _pair("anchore-admission throw-away authority", names, _Life(now - _CLOCK_SKEW, now + _VALID))


def read_authorities(path: Path) -> list[str]:
    """Each as PEM for everybody to read, without what else the file says of it. Raises ConfigurationError."""
    text = read_text(path)
    try:
        authorities = x509.load_pem_x509_certificates(text.encode())
    except UNREADABLE as error:
        raise _no_authorities(path) from error
    if "PRIVATE KEY-----" in text:
        raise _no_authorities(path)
    return [authority.public_bytes(serialization.Encoding.PEM).decode() for authority in authorities]


class SelfSigned:
    """The ``CertificateMaker`` of self-managed certificates."""

    def issue(self, names: Sequence[str], *, begin: float, seconds: float) -> ServingPair:
        start = dt.datetime.fromtimestamp(begin, dt.UTC)
        life = _Life(start - _CLOCK_SKEW, start + dt.timedelta(seconds=seconds))
        # A name of its own: whoever looks at two authorities in one bundle can tell them apart.
        pair = _pair(f"anchore-admission {start:%Y-%m-%dT%H:%M:%SZ}", names, life)
        return ServingPair(pair.authority, pair.certificate, pair.key)

    def read(self, pair: ServingPair) -> CertificateDetails | None:
        try:
            certificate = x509.load_pem_x509_certificates(pair.certificate)[0]
            key = serialization.load_pem_private_key(pair.key, None)
            authorities = x509.load_pem_x509_certificates(pair.authorities)
            fits = _spki(key.public_key()) == _spki(certificate.public_key())
            names = _names(certificate)
        except UNREADABLE:
            return None
        authority = next((each for each in authorities if _has_signed(each, certificate)), None)
        if not fits or authority is None:
            return None
        return CertificateDetails(
            certificate.not_valid_before_utc.timestamp(),
            certificate.not_valid_after_utc.timestamp(),
            names,
            authority.public_bytes(serialization.Encoding.PEM),
        )


def _no_authorities(path: Path) -> ConfigurationError:
    return ConfigurationError(str(path), [Problem("", "expected PEM certificates and no key")])


def _pair(authority_name: str, names: Sequence[str], life: _Life) -> Pair:
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _authority(authority_name, authority_key, life)
    certificate = (
        _builder(_named(names[0]), authority.subject, key.public_key(), life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return Pair(
        authority.public_bytes(serialization.Encoding.PEM),
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _authority(name: str, key: ec.EllipticCurvePrivateKey, life: _Life) -> x509.Certificate:
    return (
        _builder(_named(name), _named(name), key.public_key(), life)
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


def _names(certificate: x509.Certificate) -> frozenset[str]:
    """Raises one of ``UNREADABLE``."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(str(name.value) for name in extension.value if isinstance(name, x509.DNSName | x509.IPAddress))


def _has_signed(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
