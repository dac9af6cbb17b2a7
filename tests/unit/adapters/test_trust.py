import ssl
from pathlib import Path

import pytest

from anchore_admission.adapters.anchore.endpoint import AnchoreEndpoint, trust
from anchore_admission.adapters.trust import WatchedTrust, system_trust, trusting
from support.certificates import pair


def test_cas_without_a_key_usage_are_trusted() -> None:
    for context in (trusting(cadata=pair().ca_bundle.decode()), trust(AnchoreEndpoint("https://anchore.example.com"))):
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname


def test_without_a_file_the_systems_cas_are_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = tmp_path / "ca-certificates.crt"
    system.write_bytes(pair().ca_bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(system))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    system_trust.cache_clear()
    try:
        assert trust(AnchoreEndpoint("https://anchore.example.com")).cert_store_stats()["x509_ca"] == 1
    finally:
        system_trust.cache_clear()


def test_a_system_without_cas_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    system_trust.cache_clear()
    try:
        assert system_trust().cert_store_stats()["x509_ca"] > 1
    finally:
        system_trust.cache_clear()
    assert "the system has no CA certificates" in caplog.text


def test_the_last_valid_cas_stay_in_use(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(pair().ca_bundle)
    trust = WatchedTrust(file)
    before = trust.current()
    for content in (b"", b"-----BEGIN nonsense"):
        file.write_bytes(content)
        trust.watched.refresh()
    file.unlink()
    trust.watched.refresh()
    assert trust.current() is before
    assert len(caplog.messages) == 3
    for message in caplog.messages:
        assert message.startswith(f"invalid CA bundle for Anchore: caFile: {file} ")
        assert message.endswith("; the last valid version stays in use")
