"""Pairs that are handed over in memory, as a managed certificate is."""

import logging
import math
import ssl
import tempfile
from pathlib import Path
from typing import Any

import pytest

from anchore_admission.errors import ConfigurationError
from anchore_admission.web.tls import ServingCertificate
from support.certificates import pair, trusting, written
from support.handshakes import handshake

GOOD, OTHER = pair(), pair()


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


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is empty"),
        (b"garbage", "holds no PEM"),
        ("ä".encode(), "holds no PEM"),
    ],
)
@pytest.mark.parametrize("mounted", [True, False])
def test_authorities_of_clients_must_be_good_at_the_start(
    content: bytes | None, problem: str, mounted: bool, tmp_path: Path
) -> None:
    clients = tmp_path / "clients.crt"
    if content is not None:
        clients.write_bytes(content)
    files = written(tmp_path, GOOD.certificate, GOOD.key) if mounted else None
    with pytest.raises(ConfigurationError, match=f"--client-ca-file.*{problem}"):
        ServingCertificate(files, clients)
