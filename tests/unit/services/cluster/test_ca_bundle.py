import logging

import pytest

from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.services.cluster.ca_bundle import AuthoritiesFile
from support.fakes import ManualClock


def pem(name: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n"


class File:
    """A file whose authorities the test sets; none: it cannot be read."""

    def __init__(self, *held: str) -> None:
        self.held = held

    def __call__(self) -> tuple[str, ...]:
        if not self.held:
            raise ConfigurationError("ca.crt", [Problem("", "cannot be read")])
        return self.held


def test_authorities_of_before_a_change_stay_beside_the_new_ones() -> None:
    file = File(pem("first"))
    authorities = AuthoritiesFile(file, "ca.crt", ManualClock())
    assert authorities.current() == pem("first").encode()
    file.held = (pem("second"),)
    for _ in range(2):
        assert authorities.current() == (pem("second") + pem("first")).encode()
    file.held = (pem("third"),)
    assert authorities.current() == (pem("third") + pem("second")).encode()


def test_none_is_given_twice() -> None:
    """As when the old one and the new one are put into the file before the certificate changes."""
    file = File(pem("old"))
    authorities = AuthoritiesFile(file, "ca.crt", ManualClock())
    file.held = (pem("old"), pem("new"))
    assert authorities.current() == (pem("old") + pem("new")).encode()


def test_the_last_good_authorities_stay_in_use(caplog: pytest.LogCaptureFixture) -> None:
    file = File(pem("first"))
    authorities = AuthoritiesFile(file, "ca.crt", ManualClock())
    file.held = ()
    for _ in range(3):
        assert authorities.current() == pem("first").encode()
        assert authorities.is_unusable()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert caplog.messages[0].startswith("the last good authorities stay in use: ca.crt: ")
    file.held = (pem("first"),)
    assert authorities.current() == pem("first").encode()
    assert not authorities.is_unusable()


def test_the_first_authorities_must_be_good() -> None:
    with pytest.raises(ConfigurationError):
        AuthoritiesFile(File(), "ca.crt")


def test_the_patient_wait_for_the_first(caplog: pytest.LogCaptureFixture) -> None:
    file = File()
    authorities = AuthoritiesFile(file, "ca.crt", ManualClock(), wait_until_valid=True)
    for _ in range(3):
        with pytest.raises(ConfigurationError):
            authorities.current()
        assert authorities.is_unusable()
    assert [message.partition(":")[0] for message in caplog.messages] == ["not registered until this is mended"]
    file.held = (pem("first"),)
    assert authorities.current() == pem("first").encode()
    assert not authorities.is_unusable()
    file.held = (pem("second"),)
    assert authorities.current() == (pem("second") + pem("first")).encode()
