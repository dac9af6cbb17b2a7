import logging

import pytest

from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.services.authorities import AuthoritiesFile
from support.fakes import ManualClock


def pem(name: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n"


class File:
    """A file whose text the test sets; None: it cannot be read."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def __call__(self) -> str:
        if self.text is None:
            raise ConfigurationError("ca.crt", [Problem("", "cannot be read")])
        return self.text


def test_authorities_of_before_a_change_stay_beside_the_new_ones() -> None:
    file = File(pem("first"))
    authorities = AuthoritiesFile(file, "ca.crt", ManualClock())
    assert authorities.current() == pem("first").encode()
    file.text = pem("second").rstrip()
    for _ in range(2):
        assert authorities.current() == (pem("second") + pem("first")).encode()
    file.text = pem("third")
    assert authorities.current() == (pem("third") + pem("second")).encode()


def test_the_last_good_authorities_stay_in_use(caplog: pytest.LogCaptureFixture) -> None:
    file = File(pem("first"))
    authorities = AuthoritiesFile(file, "ca.crt", ManualClock())
    file.text = None
    for _ in range(3):
        assert authorities.current() == pem("first").encode()
        assert authorities.is_unusable()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert caplog.messages[0].startswith("the last good authorities stay in use: ca.crt: ")
    file.text = pem("first")
    assert authorities.current() == pem("first").encode()
    assert not authorities.is_unusable()


def test_the_first_authorities_must_be_good() -> None:
    with pytest.raises(ConfigurationError):
        AuthoritiesFile(File(None), "ca.crt")


def test_the_patient_wait_for_the_first(caplog: pytest.LogCaptureFixture) -> None:
    file = File(None)
    authorities = AuthoritiesFile(file, "ca.crt", ManualClock(), patient=True)
    for _ in range(3):
        with pytest.raises(ConfigurationError):
            authorities.current()
        assert authorities.is_unusable()
    assert [message.partition(":")[0] for message in caplog.messages] == ["not registered until this is mended"]
    file.text = pem("first")
    assert authorities.current() == pem("first").encode()
    assert not authorities.is_unusable()
    file.text = pem("second")
    assert authorities.current() == (pem("second") + pem("first")).encode()
