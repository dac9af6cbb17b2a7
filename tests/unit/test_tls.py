import datetime as dt
import logging
import ssl
from pathlib import Path

import pytest

from anchore_admission.errors import ConfigurationError
from anchore_admission.web.tls import ServingCertificate, TlsFiles
from support.certificates import encrypted_key, pair, pair_valid, trusting, written
from support.handshakes import handshake

CERTIFICATE = "--tls-cert-file / ANCHORE_ADMISSION_TLS_CERT_FILE"
KEY = "--tls-key-file / ANCHORE_ADMISSION_TLS_KEY_FILE"
GOOD, OTHER = pair(), pair()
DAY = dt.timedelta(days=1)


def problems(files: TlsFiles) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        ServingCertificate(files)
    return [str(problem) for problem in caught.value.problems]


def test_a_good_pair_is_taken_for_tls_1_2_and_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
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
def test_tls_1_1_is_refused(tmp_path: Path) -> None:
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
            f"{KEY}: {{folder}}/tls.key does not belong to the certificate in {{folder}}/tls.crt",
        ),
    ],
)
def test_a_pair_that_cannot_serve_says_why(certificate: bytes, key: bytes, problem: str, tmp_path: Path) -> None:
    assert problems(written(tmp_path, certificate, key)) == [problem.format(folder=tmp_path)]


def test_every_missing_file_is_named(tmp_path: Path) -> None:
    assert problems(TlsFiles(tmp_path / "tls.crt", tmp_path)) == [
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


def test_a_changed_pair_is_told_and_an_unchanged_one_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anchore_admission.tls")
    certificate = ServingCertificate(written(tmp_path, GOOD.certificate, GOOD.key))
    certificate.refresh()
    assert caplog.records == []
    written(tmp_path, OTHER.certificate, OTHER.key)
    certificate.refresh()
    certificate.refresh()
    (record,) = caplog.records
    assert record.getMessage().startswith("certificate changed, valid until ")


def test_a_broken_change_is_told_once_and_told_again_after_it_was_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = written(tmp_path, GOOD.certificate, GOOD.key)
    certificate = ServingCertificate(files)
    before = certificate.not_after()
    for key in (OTHER.key, OTHER.key, GOOD.key, OTHER.key):
        written(tmp_path, GOOD.certificate, key)
        certificate.refresh()
    assert certificate.not_after() == before
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "does not belong to" in caplog.text
