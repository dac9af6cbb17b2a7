import ssl
from pathlib import Path

import pytest

from anchore_admission.adapters.anchore.endpoint import AnchoreEndpoint, trust
from anchore_admission.adapters.trust import FollowedTrust, system_trust, trusting
from support.certificates import pair


def test_authorities_without_a_key_usage_are_believed() -> None:
    for context in (trusting(cadata=pair().authority.decode()), trust(AnchoreEndpoint("https://anchore.example.com"))):
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname


def test_without_a_file_the_systems_cas_are_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = tmp_path / "ca-certificates.crt"
    system.write_bytes(pair().authority)
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


def test_the_same_problem_of_a_followed_file_is_logged_every_five_minutes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    file = tmp_path / "ca.crt"
    file.write_bytes(pair().authority)
    followed = FollowedTrust(file, clock=lambda: now)
    before = followed.current()
    file.unlink()
    for moment in (0.0, 30.0, 299.0, 301.0):
        now = moment
        followed.refresh()
    assert len(caplog.records) == 2
    assert followed.current() is before
