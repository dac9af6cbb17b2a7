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

from anchore_admission.errors import ConfigurationError
from anchore_admission.web.tls import ServingCertificate
from support.certificates import pair, pair_valid, trusting, written
from support.handshakes import connected, handshake, session_of

GOOD, OTHER = pair(), pair()
LATER = pair_valid(dt.timedelta(), dt.timedelta(days=99))
LATER_END = x509.load_pem_x509_certificate(LATER.certificate).not_valid_after_utc.timestamp()


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_until_there_is_a_pair_every_handshake_is_refused() -> None:
    certificate = ServingCertificate()
    assert math.isnan(certificate.not_after())
    certificate.refresh()
    with pytest.raises(ssl.SSLError):
        handshake(trusting(GOOD), certificate.context)


def test_a_pair_is_used_from_the_next_handshake_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anchore_admission.tls")
    certificate = ServingCertificate()
    for each in (GOOD, OTHER):
        certificate.present(each.certificate, each.key)
        client = trusting(each)
        client.verify_flags |= ssl.VERIFY_X509_STRICT  # the default of later Pythons
        assert handshake(client, certificate.context) == "TLSv1.3"
    assert [message.partition(",")[0] for message in caplog.messages] == ["certificate in use", "certificate changed"]


def test_a_pair_that_does_not_fit_leaves_the_last_good_one() -> None:
    certificate = ServingCertificate()
    certificate.present(GOOD.certificate, GOOD.key)
    with pytest.raises(ConfigurationError, match="does not belong to"):
        certificate.present(GOOD.certificate, OTHER.key)
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
    ServingCertificate().present(GOOD.certificate, GOOD.key)
    assert modes == [("tls.key", 0o600, 0o700)]
    assert list(temporary.iterdir()) == []


def test_authorities_of_clients_are_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clients = tmp_path / "clients.crt"
    clients.write_bytes(GOOD.authority)
    certificate = ServingCertificate(None, clients)
    certificate.present(GOOD.certificate, GOOD.key)
    before = certificate.context
    for broken in (b"garbage", b"\n"):
        clients.write_bytes(broken)
        certificate.refresh()
    assert [record.levelno for record in caplog.records if record.levelno > logging.INFO] == [logging.ERROR] * 2
    clients.write_bytes(OTHER.authority)
    certificate.refresh()
    assert certificate.context is before
    assert before.verify_mode is ssl.CERT_REQUIRED


@pytest.fixture
def checking(tmp_path: Path) -> ServingCertificate:
    """Lets in the clients of one authority, which it reads in a file."""
    clients = tmp_path / "clients.crt"
    clients.write_bytes(LATER.authority)
    certificate = ServingCertificate(None, clients)
    certificate.present(GOOD.certificate, GOOD.key)
    return certificate


def test_no_session_outlives_what_its_client_was_let_in_for(checking: ServingCertificate, tmp_path: Path) -> None:
    """A resumed session is not verified: whoever stole a key could come back for ever."""
    client = trusting(GOOD)
    files = written(tmp_path, LATER.certificate, LATER.key)
    client.load_cert_chain(files.certificate, files.key)
    session = session_of(*connected(client, checking.context))
    (tmp_path / "clients.crt").write_bytes(GOOD.authority)
    checking.refresh()
    with pytest.raises(ssl.SSLError, match="certificate verify failed"):
        connected(client, checking.context, session)


def test_clients_that_are_checked_speak_tls_1_3(checking: ServingCertificate) -> None:
    """Whose sessions can be left out."""
    client = trusting(GOOD)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        handshake(client, checking.context)


@pytest.mark.parametrize("mounted", [True, False])
def test_authorities_of_clients_that_are_not_there_are_a_mistake(mounted: bool, tmp_path: Path) -> None:
    files = written(tmp_path, GOOD.certificate, GOOD.key) if mounted else None
    with pytest.raises(ConfigurationError, match=r"--client-ca-file.*cannot be read: No such file"):
        ServingCertificate(files, tmp_path / "clients.crt")


@pytest.mark.parametrize(
    ("content", "problem"), [(b"", "is empty"), (b"garbage", "holds no PEM"), ("ä".encode(), "holds no PEM")]
)
@pytest.mark.parametrize("mounted", [True, False])
def test_nobody_is_let_in_until_it_is_known_who(
    content: bytes, problem: str, mounted: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clients = tmp_path / "clients.crt"
    clients.write_bytes(content)
    certificate = ServingCertificate(written(tmp_path, GOOD.certificate, GOOD.key) if mounted else None, clients)
    if not mounted:
        certificate.present(GOOD.certificate, GOOD.key)
    certificate.refresh()
    assert (certificate.serves(), certificate.is_unusable()) == (False, True)
    assert re.match(f"not ready until this is mended: --client-ca-file.*{problem}", caplog.messages[0])
    knows = trusting(GOOD)
    with pytest.raises(ssl.SSLError):
        handshake(knows, certificate.context)

    clients.write_bytes(OTHER.authority)
    certificate.refresh()
    assert (certificate.serves(), certificate.is_unusable()) == (True, False)
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(knows, certificate.context)


def test_a_pair_is_renewed_whatever_becomes_of_the_authorities_of_clients(tmp_path: Path) -> None:
    clients = tmp_path / "clients.crt"
    clients.write_bytes(OTHER.authority)
    files = written(tmp_path, GOOD.certificate, GOOD.key)
    mounted, given = ServingCertificate(files, clients), ServingCertificate(None, clients)
    given.present(GOOD.certificate, GOOD.key)
    clients.write_bytes(b"garbage")
    written(tmp_path, LATER.certificate, LATER.key)
    given.present(LATER.certificate, LATER.key)
    for certificate in (mounted, given):
        certificate.refresh()
        assert certificate.not_after() == LATER_END
        assert certificate.is_unusable()


def test_a_pair_that_does_not_fit_is_refused_before_it_is_known_whom_to_let_in(tmp_path: Path) -> None:
    clients = tmp_path / "clients.crt"
    clients.write_bytes(b"")
    with pytest.raises(ConfigurationError, match="does not belong to"):
        ServingCertificate(None, clients).present(GOOD.certificate, OTHER.key)
