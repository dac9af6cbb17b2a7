import datetime as dt
import logging
import math
import ssl
from pathlib import Path

import pytest

from anchore_admission.errors import ConfigurationError
from anchore_admission.throttled import REPEAT_SECONDS
from anchore_admission.web.tls import ServingCertificate
from support.certificates import encrypted_key, of_unknown_version, pair, pair_valid, refresh, trusting, written
from support.fakes import ManualClock
from support.handshakes import handshake

CERTIFICATE = "--tls-cert-file / ANCHORE_ADMISSION_TLS_CERT_FILE"
KEY = "--tls-key-file / ANCHORE_ADMISSION_TLS_KEY_FILE"
GOOD, OTHER = pair(), pair()
DAY = dt.timedelta(days=1)


def test_a_valid_pair_is_taken_for_tls_1_2_and_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificate = ServingCertificate(written(tmp_path, GOOD.certificate, GOOD.key))
    assert certificate.context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert certificate.not_after() > dt.datetime.now(dt.UTC).timestamp()
    assert caplog.records == []


@pytest.mark.parametrize(
    ("version", "name"), [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")]
)
def test_tls_1_2_and_1_3_are_spoken(version: ssl.TLSVersion, name: str, tmp_path: Path) -> None:
    certificate = ServingCertificate(written(tmp_path, GOOD.certificate, GOOD.key))
    client = trusting(GOOD)
    client.minimum_version = client.maximum_version = version
    assert handshake(client, certificate.context) == name


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_tls_1_1_is_rejected(tmp_path: Path) -> None:
    certificate = ServingCertificate(written(tmp_path, GOOD.certificate, GOOD.key))
    client = trusting(GOOD)
    client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
    client.set_ciphers("ALL:@SECLEVEL=0")  # or the client itself would not try
    with pytest.raises(ssl.SSLError) as caught:
        handshake(client, certificate.context)
    assert caught.value.reason == "UNSUPPORTED_PROTOCOL"


@pytest.mark.parametrize(
    ("certificate", "key", "problem"),
    [
        (b"garbage", GOOD.key, f"{CERTIFICATE}: {{folder}}/tls.crt holds no PEM certificate"),
        (b"", GOOD.key, f"{CERTIFICATE}: {{folder}}/tls.crt holds no PEM certificate"),
        (of_unknown_version(GOOD.certificate), GOOD.key, f"{CERTIFICATE}: {{folder}}/tls.crt holds no PEM certificate"),
        (GOOD.key, GOOD.key, f"{CERTIFICATE}: {{folder}}/tls.crt holds no PEM certificate"),
        (GOOD.certificate, b"garbage", f"{KEY}: {{folder}}/tls.key holds no PEM private key that can be used"),
        (GOOD.certificate, GOOD.certificate, f"{KEY}: {{folder}}/tls.key holds no PEM private key that can be used"),
        (
            GOOD.certificate,
            encrypted_key(),
            f"{KEY}: {{folder}}/tls.key is encrypted; give a key without a passphrase",
        ),
        (
            GOOD.certificate,
            OTHER.key,
            f"{KEY}: {{folder}}/tls.key does not belong to the certificate",
        ),
    ],
)
def test_a_pair_that_cannot_serve_says_why_and_is_waited_for(
    certificate: bytes, key: bytes, problem: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    serving = ServingCertificate(written(tmp_path, certificate, key), clock=clock)
    for _ in range(3):
        refresh(serving)
        assert (serving.is_ready(), serving.is_unusable()) == (False, True)
        assert math.isnan(serving.not_after())
        with pytest.raises(ssl.SSLError):
            handshake(trusting(GOOD), serving.context)
    logged = f"invalid certificate: {problem.format(folder=tmp_path)}; not ready until this is fixed"
    assert caplog.messages == [logged]
    clock.now += REPEAT_SECONDS
    refresh(serving)
    assert caplog.messages == [logged] * 2
    written(tmp_path, GOOD.certificate, GOOD.key)
    refresh(serving)
    assert (serving.is_ready(), serving.is_unusable()) == (True, False)
    assert handshake(trusting(GOOD), serving.context) == "TLSv1.3"


def test_a_mounted_secret_that_is_missing_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kubelet leaves the volume of an optional Secret empty until there is one."""
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path)
    serving = ServingCertificate((tmp_path / "tls.crt", tmp_path / "tls.key"))
    assert (serving.is_ready(), serving.is_unusable()) == (False, True)
    create = f"create the Secret or ConfigMap that is mounted at {tmp_path}, with the key"
    problems = [
        f"{name}: {tmp_path}/{key} does not exist: {create} {key}"
        for name, key in ((CERTIFICATE, "tls.crt"), (KEY, "tls.key"))
    ]
    assert caplog.messages == [f"invalid certificate: {'; '.join(problems)}; not ready until this is fixed"]
    written(tmp_path, GOOD.certificate, GOOD.key)
    refresh(serving)
    assert (serving.is_ready(), serving.is_unusable()) == (True, False)


def test_every_missing_file_is_named_and_none_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ServingCertificate((tmp_path / "tls.crt", tmp_path))
    assert [str(problem) for problem in caught.value.problems] == [
        f"{CERTIFICATE}: {tmp_path}/tls.crt cannot be read: No such file or directory",
        f"{KEY}: {tmp_path} cannot be read: Is a directory",
    ]


@pytest.mark.parametrize(
    ("begin", "end", "warning"),
    [(-2 * DAY, -DAY, "the certificate expired at"), (DAY, 2 * DAY, "the certificate is not valid before")],
)
def test_a_pair_out_of_date_is_served_with_a_warning(
    begin: dt.timedelta, end: dt.timedelta, warning: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    late = pair_valid(begin, end)
    ServingCertificate(written(tmp_path, late.certificate, late.key))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(warning)


def test_a_changed_pair_is_logged_and_an_unchanged_one_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anchore_admission")
    certificate = ServingCertificate(written(tmp_path, GOOD.certificate, GOOD.key))
    assert [message.partition(" 2")[0] for message in caplog.messages] == ["serving a certificate that is valid until"]
    caplog.clear()
    refresh(certificate)
    assert caplog.records == []
    written(tmp_path, OTHER.certificate, OTHER.key)
    refresh(certificate)
    refresh(certificate)
    assert [message.partition(" 2")[0] for message in caplog.messages] == [
        "serving a certificate that is valid until",
        f"certificate changed: {tmp_path}/tls.crt, {tmp_path}/tls.key",
    ]


def test_an_invalid_change_is_logged_once_and_again_after_it_was_fixed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = written(tmp_path, GOOD.certificate, GOOD.key)
    certificate = ServingCertificate(files)
    before = certificate.not_after()
    for key in (OTHER.key, OTHER.key, GOOD.key, OTHER.key):
        written(tmp_path, GOOD.certificate, key)
        refresh(certificate)
        assert certificate.is_unusable() is (key == OTHER.key)
    assert certificate.not_after() == before
    assert certificate.is_ready()
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert caplog.messages[0].endswith("; the last valid version stays in use")
    assert "does not belong to" in caplog.text


def test_a_file_that_goes_missing_later_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = written(tmp_path, GOOD.certificate, GOOD.key)
    certificate = ServingCertificate(files)
    files.key.unlink()
    refresh(certificate)
    assert certificate.is_unusable()
    assert f"{files.key} cannot be read: No such file" in caplog.text
    assert handshake(trusting(GOOD), certificate.context) == "TLSv1.3"
