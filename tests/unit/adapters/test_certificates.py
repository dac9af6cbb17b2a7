import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, NameOID

from anchore_admission.adapters.certificates import SelfSigned, read_authorities, throw_away_pair
from anchore_admission.errors import ConfigurationError
from anchore_admission.ports.cluster import ServingPair
from support.certificates import key_pem, of_unknown_version, with_unknown_name

NAMES = ["gate", "gate.security.svc", "10.0.0.1"]
BEGIN = 1_800_000_000.0
PAIR = SelfSigned().issue(NAMES, begin=BEGIN, seconds=3600)
OTHER = SelfSigned().issue(NAMES, begin=BEGIN, seconds=3600)
UNKNOWN_NAME = with_unknown_name()


def test_what_was_issued_reads_back() -> None:
    leaf = SelfSigned().read(PAIR)
    assert leaf
    assert (leaf.not_before, leaf.not_after) == (BEGIN - 86400, BEGIN + 3600)
    assert leaf.names == frozenset(NAMES)
    assert leaf.authority == PAIR.authorities


def test_the_authority_is_found_among_others() -> None:
    leaf = SelfSigned().read(ServingPair(OTHER.authorities + PAIR.authorities, PAIR.certificate, PAIR.key))
    assert leaf
    assert leaf.authority == PAIR.authorities


@pytest.mark.parametrize(
    "pair",
    [
        ServingPair(OTHER.authorities, PAIR.certificate, PAIR.key),
        ServingPair(PAIR.certificate, PAIR.certificate, PAIR.key),
        ServingPair(PAIR.authorities, OTHER.certificate, PAIR.key),
        ServingPair(PAIR.authorities, PAIR.certificate, OTHER.key),
        ServingPair(PAIR.authorities, PAIR.certificate, PAIR.certificate),
        ServingPair(b"", PAIR.certificate, PAIR.key),
        ServingPair(PAIR.authorities, b"", PAIR.key),
        ServingPair(PAIR.authorities, PAIR.certificate, b""),
        ServingPair(b"", b"", b""),
        ServingPair(PAIR.authorities, of_unknown_version(PAIR.certificate), PAIR.key),
        ServingPair(of_unknown_version(PAIR.authorities), PAIR.certificate, PAIR.key),
        ServingPair(UNKNOWN_NAME.authority, UNKNOWN_NAME.certificate, UNKNOWN_NAME.key),
    ],
)
def test_a_pair_that_does_not_fit_together_is_none(pair: ServingPair) -> None:
    assert SelfSigned().read(pair) is None


def test_a_certificate_whose_names_cannot_be_read_is_none() -> None:
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
    assert SelfSigned().read(ServingPair(certificate, certificate, key_pem(key))) is None


def test_of_a_file_of_authorities_only_they_are_read(tmp_path: Path) -> None:
    """What is published must be ASCII; people write above a certificate whose it is."""
    file = tmp_path / "ca.crt"
    file.write_bytes("# Größte CA\n".encode() + PAIR.authorities + b"and\r\n" + OTHER.authorities)
    assert read_authorities(file) == [PAIR.authorities.decode(), OTHER.authorities.decode()]


@pytest.mark.parametrize(
    "content", [b"", b"# nothing", PAIR.authorities + PAIR.key, of_unknown_version(PAIR.authorities)]
)
def test_a_file_without_authorities_or_with_a_key_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="expected PEM certificates and no key"):
        read_authorities(file)


def test_the_names_of_a_long_service_fit_into_a_certificate() -> None:
    name = "a" * 63
    leaf = SelfSigned().read(SelfSigned().issue([f"{name}.{name}.svc"], begin=BEGIN, seconds=60))
    assert leaf
    assert leaf.names == {f"{name}.{name}.svc"}


def test_authorities_can_be_told_apart_and_sign_nothing_but_leaves() -> None:
    (authority,) = x509.load_pem_x509_certificates(PAIR.authorities)
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert authority.subject.rfc4514_string() == "CN=anchore-admission 2027-01-15T08:00:00Z"


def test_the_key_does_not_show_in_logs() -> None:
    assert "PRIVATE" not in repr(PAIR)


def test_throw_away_pairs_are_trusted_by_openssl() -> None:
    pair = throw_away_pair(["localhost"])
    trust = ssl.create_default_context(cadata=pair.authority.decode())
    assert len(trust.get_ca_certs()) == 1
