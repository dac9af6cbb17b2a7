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


@pytest.mark.parametrize("text", [None, "", "garbage"])
def test_the_last_good_authorities_stay_in_use(text: str | None, caplog: pytest.LogCaptureFixture) -> None:
    file = File(pem("first"))
    authorities = AuthoritiesFile(file, "ca.crt", ManualClock())
    file.text = text
    for _ in range(3):
        assert authorities.current() == pem("first").encode()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize("text", [None, "", "garbage"])
def test_the_first_authorities_must_be_good(text: str | None) -> None:
    with pytest.raises(ConfigurationError):
        AuthoritiesFile(File(text), "ca.crt")
