import pytest

from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.services.cluster.ca_bundle import CaBundleFile
from support.fakes import ManualClock


def pem(name: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n"


class File:
    """A file whose CAs the test sets; without any it cannot be read."""

    def __init__(self, *held: str) -> None:
        self.held = held

    def __call__(self) -> tuple[str, ...]:
        if not self.held:
            raise ConfigurationError("ca.crt", [Problem("", "cannot be read")])
        return self.held


def test_the_previous_cas_stay_beside_the_new_ones() -> None:
    file = File(pem("first"))
    bundle = CaBundleFile(file, "ca.crt", ManualClock())
    assert bundle.current() == pem("first").encode()
    file.held = (pem("second"),)
    bundle.watched.refresh()
    for _ in range(2):
        assert bundle.current() == (pem("second") + pem("first")).encode()
    file.held = (pem("third"),)
    bundle.watched.refresh()
    assert bundle.current() == (pem("third") + pem("second")).encode()


def test_no_ca_is_published_twice() -> None:
    """Operators put the old and the new CA into the file before they change the certificate."""
    file = File(pem("old"))
    bundle = CaBundleFile(file, "ca.crt", ManualClock())
    file.held = (pem("old"), pem("new"))
    bundle.watched.refresh()
    assert bundle.current() == (pem("old") + pem("new")).encode()


def test_the_last_valid_cas_stay_in_use(caplog: pytest.LogCaptureFixture) -> None:
    file = File(pem("first"))
    bundle = CaBundleFile(file, "/tls/ca.crt", ManualClock())
    file.held = ()
    bundle.watched.refresh()
    assert bundle.current() == pem("first").encode()
    assert caplog.messages == ["invalid CA bundle: ca.crt: cannot be read; the last valid version stays in use"]
    file.held = (pem("first"),)
    bundle.watched.refresh()
    assert bundle.current() == pem("first").encode()


def test_the_first_cas_must_be_valid() -> None:
    with pytest.raises(ConfigurationError):
        CaBundleFile(File(), "ca.crt")


def test_the_first_cas_are_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    file = File()
    bundle = CaBundleFile(file, "/tls/ca.crt", ManualClock(), wait_until_valid=True)
    with pytest.raises(ConfigurationError, match="no valid CA bundle yet"):
        bundle.current()
    assert caplog.messages == ["invalid CA bundle: ca.crt: cannot be read; not registered until this is fixed"]
    for name, expected in (("first", pem("first")), ("second", pem("second") + pem("first"))):
        file.held = (pem(name),)
        bundle.watched.refresh()
        assert bundle.current() == expected.encode()
