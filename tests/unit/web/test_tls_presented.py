"""Pairs that are handed over in memory, as a managed certificate is."""

import datetime as dt
import logging
import math
import re
import ssl
import tempfile
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from anchore_admission.core.webhook.pair import CertificatePair
from anchore_admission.errors import ConfigurationError
from anchore_admission.web.tls import ServingCertificate
from support.certificates import pair, pair_valid, refresh, trusting, written
from support.handshakes import connected, handshake, session_of

GOOD, OTHER = pair(), pair()
MIXED = CertificatePair(GOOD.certificate, OTHER.key)
LATER = pair_valid(dt.timedelta(), dt.timedelta(days=99))
LATER_END = x509.load_pem_x509_certificate(LATER.certificate).not_valid_after_utc.timestamp()


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_every_handshake_is_rejected_until_there_is_a_pair() -> None:
    certificate = ServingCertificate()
    assert math.isnan(certificate.not_after())
    refresh(certificate)
    with pytest.raises(ssl.SSLError):
        handshake(trusting(GOOD), certificate.context)


def test_a_pair_is_used_from_the_next_handshake_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anchore_admission.tls")
    certificate = ServingCertificate()
    for each in (GOOD, OTHER):
        certificate.present(each)
        client = trusting(each)
        client.verify_flags |= ssl.VERIFY_X509_STRICT  # the default of later Pythons
        assert handshake(client, certificate.context) == "TLSv1.3"
    assert [message.partition(" 2")[0] for message in caplog.messages] == [
        "serving a certificate that is valid until"
    ] * 2


def test_a_pair_that_does_not_fit_leaves_the_last_valid_one() -> None:
    certificate = ServingCertificate()
    certificate.present(GOOD)
    with pytest.raises(ConfigurationError, match=r"tls\.key: does not belong to the certificate"):
        certificate.present(MIXED)
    assert handshake(trusting(GOOD), certificate.context) == "TLSv1.3"


def test_the_key_touches_memory_backed_files_of_ours_alone_and_not_for_long(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[tuple[str, int, int]] = []
    load = ssl.SSLContext.load_cert_chain

    def watched(context: ssl.SSLContext, certificate: Any, key: Any, password: Any) -> None:
        folder = Path(key).parent.stat()
        modes.append((Path(key).name, Path(key).stat().st_mode & 0o777, folder.st_mode & 0o777))
        assert Path(key).parent.parent == temporary
        load(context, certificate, key, password)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    ServingCertificate().present(GOOD)
    assert modes == [("tls.key", 0o600, 0o700)]
    assert list(temporary.iterdir()) == []


def test_the_client_ca_bundle_is_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clients = tmp_path / "clients.crt"
    clients.write_bytes(GOOD.ca_bundle)
    certificate = ServingCertificate(None, clients)
    certificate.present(GOOD)
    before = certificate.context
    for broken in (b"garbage", b"\n"):
        clients.write_bytes(broken)
        refresh(certificate)
    assert [record.levelno for record in caplog.records if record.levelno > logging.INFO] == [logging.ERROR] * 2
    clients.write_bytes(OTHER.ca_bundle)
    refresh(certificate)
    assert certificate.context is before
    assert before.verify_mode is ssl.CERT_REQUIRED


@pytest.fixture
def checking(tmp_path: Path) -> ServingCertificate:
    """A server that accepts the clients of one CA, which it reads from a file."""
    clients = tmp_path / "clients.crt"
    clients.write_bytes(LATER.ca_bundle)
    certificate = ServingCertificate(None, clients)
    certificate.present(GOOD)
    return certificate


def test_no_session_outlives_the_trust_in_its_client(checking: ServingCertificate, tmp_path: Path) -> None:
    """Resumed sessions skip verification, so a client with a stolen key could reconnect forever."""
    client = trusting(GOOD)
    files = written(tmp_path, LATER.certificate, LATER.key)
    client.load_cert_chain(files.certificate, files.key)
    session = session_of(*connected(client, checking.context))
    (tmp_path / "clients.crt").write_bytes(GOOD.ca_bundle)
    refresh(checking)
    with pytest.raises(ssl.SSLError, match="certificate verify failed"):
        connected(client, checking.context, session)


def test_clients_that_are_checked_speak_tls_1_3(checking: ServingCertificate) -> None:
    """Only TLS 1.3 lets the server disable session resumption."""
    client = trusting(GOOD)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        handshake(client, checking.context)


@pytest.mark.parametrize("mounted", [True, False])
def test_a_missing_client_ca_bundle_is_a_configuration_mistake(mounted: bool, tmp_path: Path) -> None:
    files = written(tmp_path, GOOD.certificate, GOOD.key) if mounted else None
    with pytest.raises(ConfigurationError, match=r"--client-ca-file.*cannot be read: No such file"):
        ServingCertificate(files, tmp_path / "clients.crt")


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "is empty"), (b"garbage", "holds no PEM"), ("ä".encode(), "holds no PEM")],
)
@pytest.mark.parametrize("mounted", [True, False])
def test_no_client_may_connect_until_the_client_ca_bundle_is_valid(
    content: bytes, problem: str, mounted: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clients = tmp_path / "clients.crt"
    clients.write_bytes(content)
    certificate = ServingCertificate(written(tmp_path, GOOD.certificate, GOOD.key) if mounted else None, clients)
    if not mounted:
        certificate.present(GOOD)
    refresh(certificate)
    assert (certificate.is_ready(), certificate.is_unusable()) == (False, True)
    assert re.match(
        f"invalid client CA bundle: --client-ca-file.*{problem}.*; not ready until this is fixed", caplog.messages[0]
    )
    knows = trusting(GOOD)
    with pytest.raises(ssl.SSLError):
        handshake(knows, certificate.context)

    clients.write_bytes(OTHER.ca_bundle)
    refresh(certificate)
    assert (certificate.is_ready(), certificate.is_unusable()) == (True, False)
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(knows, certificate.context)


def test_a_pair_is_renewed_even_if_the_client_ca_bundle_is_invalid(tmp_path: Path) -> None:
    clients = tmp_path / "clients.crt"
    clients.write_bytes(OTHER.ca_bundle)
    files = written(tmp_path, GOOD.certificate, GOOD.key)
    mounted, given = ServingCertificate(files, clients), ServingCertificate(None, clients)
    given.present(GOOD)
    clients.write_bytes(b"garbage")
    written(tmp_path, LATER.certificate, LATER.key)
    given.present(LATER)
    for certificate in (mounted, given):
        refresh(certificate)
        assert certificate.not_after() == LATER_END
        assert certificate.is_unusable()


def test_a_pair_that_does_not_fit_is_rejected_before_the_client_ca_bundle_is_valid(tmp_path: Path) -> None:
    clients = tmp_path / "clients.crt"
    clients.write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"tls\.key: does not belong to the certificate"):
        ServingCertificate(None, clients).present(MIXED)
