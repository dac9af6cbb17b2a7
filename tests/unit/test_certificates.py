import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, NameOID

from anchore_admission.certificates import SelfSigned, read_ca_bundle, throw_away_pair
from anchore_admission.core.webhook.pair import CertificatePair
from anchore_admission.errors import ConfigurationError
from support.certificates import encrypted_key, key_pem, of_unknown_version, with_unknown_name

NAMES = ["gate", "gate.security.svc", "10.0.0.1"]
BEGIN = 1_800_000_000.0
PAIR = SelfSigned().issue(NAMES, begin=BEGIN, seconds=3600)
OTHER = SelfSigned().issue(NAMES, begin=BEGIN, seconds=3600)
UNSIGNED = "ca.crt: does not hold the CA that signed the certificate"
NO_KEY = "tls.key: holds no PEM private key that can be used"


def test_issued_certificates_read_back() -> None:
    leaf = SelfSigned().read(PAIR)
    assert (leaf.not_before, leaf.not_after) == (BEGIN - 86400, BEGIN + 3600)
    assert leaf.names == frozenset(NAMES)
    assert leaf.ca == PAIR.ca_bundle


def test_the_ca_is_found_among_others() -> None:
    leaf = SelfSigned().read(CertificatePair(PAIR.certificate, PAIR.key, OTHER.ca_bundle + PAIR.ca_bundle))
    assert leaf.ca == PAIR.ca_bundle


@pytest.mark.parametrize(
    ("pair", "problem"),
    [
        (CertificatePair(PAIR.certificate, PAIR.key, OTHER.ca_bundle), UNSIGNED),
        (CertificatePair(PAIR.certificate, PAIR.key, PAIR.certificate), UNSIGNED),
        (CertificatePair(OTHER.certificate, PAIR.key, PAIR.ca_bundle), "tls.key: does not belong to the certificate"),
        (CertificatePair(PAIR.certificate, OTHER.key, PAIR.ca_bundle), "tls.key: does not belong to the certificate"),
        (CertificatePair(PAIR.certificate, PAIR.certificate, PAIR.ca_bundle), NO_KEY),
        (CertificatePair(PAIR.certificate, PAIR.key, b""), "ca.crt: holds no PEM certificates"),
        (CertificatePair(b"", PAIR.key, PAIR.ca_bundle), "tls.crt: holds no PEM certificate"),
        (CertificatePair(PAIR.certificate, b"", PAIR.ca_bundle), NO_KEY),
        (
            CertificatePair(PAIR.certificate, encrypted_key(), PAIR.ca_bundle),
            "tls.key: is encrypted; give a key without",
        ),
        (CertificatePair(b"", b"", b""), "tls.crt: holds no PEM certificate"),
        (CertificatePair(of_unknown_version(PAIR.certificate), PAIR.key, PAIR.ca_bundle), "tls.crt: holds no PEM"),
        (CertificatePair(PAIR.certificate, PAIR.key, of_unknown_version(PAIR.ca_bundle)), "ca.crt: holds no PEM"),
        (with_unknown_name(), "tls.crt: has names that cannot be read"),
    ],
)
def test_a_pair_that_does_not_fit_together_names_the_part(pair: CertificatePair, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SelfSigned().read(pair)
    assert str(caught.value.problems[0]).startswith(problem)


def test_a_certificate_whose_names_cannot_be_read_is_rejected() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gate")])
    garbled = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"nonsense")
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(dt.datetime(2027, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2028, 1, 1, tzinfo=dt.UTC))
        .add_extension(garbled, critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )
    with pytest.raises(ConfigurationError, match=r"tls\.crt: has names that cannot be read"):
        SelfSigned().read(CertificatePair(certificate, key_pem(key), certificate))


def test_only_the_certificates_of_a_ca_file_are_read(tmp_path: Path) -> None:
    """The CA bundle must be ASCII; people write comments above a certificate."""
    file = tmp_path / "ca.crt"
    file.write_bytes("# Größte CA\n".encode() + PAIR.ca_bundle + b"and\r\n" + OTHER.ca_bundle)
    assert read_ca_bundle(file) == [PAIR.ca_bundle.decode(), OTHER.ca_bundle.decode()]


@pytest.mark.parametrize("content", [b"", b"# nothing", PAIR.ca_bundle + PAIR.key, of_unknown_version(PAIR.ca_bundle)])
def test_a_file_without_cas_or_with_a_key_is_rejected(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="expected PEM certificates and no key"):
        read_ca_bundle(file)


def test_the_names_of_a_long_service_fit_into_a_certificate() -> None:
    name = "a" * 63
    leaf = SelfSigned().read(SelfSigned().issue([f"{name}.{name}.svc"], begin=BEGIN, seconds=60))
    assert leaf.names == {f"{name}.{name}.svc"}


def test_cas_can_be_distinguished_and_sign_only_leaves() -> None:
    (ca,) = x509.load_pem_x509_certificates(PAIR.ca_bundle)
    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert ca.subject.rfc4514_string() == "CN=anchore-admission 2027-01-15T08:00:00Z"


def test_the_key_does_not_show_in_logs() -> None:
    assert "PRIVATE" not in repr(PAIR)


def test_throw_away_pairs_are_trusted_by_openssl() -> None:
    pair = throw_away_pair(["localhost"])
    trust = ssl.create_default_context(cadata=pair.ca_bundle.decode())
    assert len(trust.get_ca_certs()) == 1
