"""Throw-away certificates for tests, as files and as the trust of a client."""

import datetime as dt
import ssl
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID

from anchore_admission.certificates import throw_away_pair
from anchore_admission.core.webhook.pair import CertificatePair
from anchore_admission.web.tls import ServingCertificate

NAMES = ("localhost", "127.0.0.1", "::1")


def pair() -> CertificatePair:
    """A fresh CA and a certificate of it for this machine."""
    return throw_away_pair(NAMES)


def pair_valid(begin: dt.timedelta, end: dt.timedelta) -> CertificatePair:
    """A self-signed certificate, valid from and until these times from now."""
    now = dt.datetime.now(dt.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    return CertificatePair(certificate, key_pem(key), certificate)


def plain_pair(name: str) -> CertificatePair:
    """A CA and its certificate without a key usage or a key identifier, as older clusters have them."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plain CA")])
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    ca = _builder(issuer, issuer, ca_key).add_extension(constraints, True).sign(ca_key, hashes.SHA256())
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    leaf = _builder(subject, issuer, key).add_extension(names, False).sign(ca_key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    return CertificatePair(leaf.public_bytes(pem), key_pem(key), ca.public_bytes(pem))


def of_unknown_version(certificate: bytes) -> bytes:
    """A certificate whose version does not exist; cryptography has an error of its own for it."""
    der = ssl.PEM_cert_to_DER_cert(certificate.decode()).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x24", 1)
    return ssl.DER_cert_to_PEM_cert(der).encode()


def with_unknown_name() -> CertificatePair:
    """A self-signed certificate with an alternative name (x400Address) that cryptography cannot read."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x04\xa3\x02\x30\x00")
    certificate = _builder(subject, subject, key).add_extension(names, False).sign(key, hashes.SHA256())
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    return CertificatePair(pem, key_pem(key), pem)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
    )


def key_pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> bytes:
    protection = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)


def encrypted_key() -> bytes:
    return key_pem(ec.generate_private_key(ec.SECP256R1()), b"passphrase")


class PairFiles(NamedTuple):
    certificate: Path
    key: Path


def written(folder: Path, certificate: bytes, key: bytes) -> PairFiles:
    files = PairFiles(folder / "tls.crt", folder / "tls.key")
    files.certificate.write_bytes(certificate)
    files.key.write_bytes(key)
    return files


def refresh(certificate: ServingCertificate) -> None:
    """Read its files again, as the poll loop does."""
    for source in certificate.watched:
        source.refresh()


def trusting(pair: CertificatePair) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=pair.ca_bundle.decode())


def client_pair(name: str, *, alternative: str = "") -> CertificatePair:
    """A self-signed client certificate: its own CA."""
    now = dt.datetime.now(dt.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )
    if alternative:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(alternative)]), critical=False)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return CertificatePair(certificate, key_pem(key), certificate)


def presenting(server: CertificatePair, client: CertificatePair, folder: Path) -> ssl.SSLContext:
    """The TLS side of a client that trusts a server and has a certificate of its own."""
    context = trusting(server)
    files = written(folder, client.certificate, client.key)
    context.load_cert_chain(files.certificate, files.key)
    return context
