import ssl

import pytest
from cryptography import x509

from anchore_admission.adapters.certificates import SelfSigned, throw_away_pair
from anchore_admission.ports import ServingPair

NAMES = ["gate", "gate.security.svc", "10.0.0.1"]
BEGIN = 1_800_000_000.0
PAIR = SelfSigned().issue(NAMES, begin=BEGIN, seconds=3600)
OTHER = SelfSigned().issue(NAMES, begin=BEGIN, seconds=3600)


def test_what_was_issued_reads_back() -> None:
    leaf = SelfSigned().read(PAIR)
    assert leaf
    assert (leaf.not_before, leaf.not_after) == (BEGIN - 300, BEGIN + 3600)
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
    ],
)
def test_a_pair_that_does_not_fit_together_is_none(pair: ServingPair) -> None:
    assert SelfSigned().read(pair) is None


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
