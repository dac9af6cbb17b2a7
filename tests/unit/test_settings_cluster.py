import os
from pathlib import Path
from typing import Any

import pytest

from anchore_admission.errors import ConfigurationError
from anchore_admission.settings import CertificateSource, Settings, spelled
from anchore_admission.variables import unknown_variables

LEADING: dict[str, Any] = {"lease": "gate", "namespace": "security", "pod_name": "gate-0"}
MANAGED: dict[str, Any] = {**LEADING, "certificates": "managed", "tls_secret": "gate-tls", "service": "gate"}
FILE = Path("/file")
MANAGED_BY = spelled("certificates")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("ANCHORE_ADMISSION_"):
            monkeypatch.delenv(name)


def problems(**flags: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(**flags).require_serving()
    return [str(problem) for problem in caught.value.problems]


def test_managed_certificates_need_no_files() -> None:
    settings = Settings.load(**MANAGED)
    settings.require_serving()
    assert (settings.is_managed, settings.uses_cluster) == (True, True)


def test_mounted_files_alone_use_no_cluster() -> None:
    settings = Settings.load(tls_cert_file=FILE, tls_key_file=FILE, **LEADING)
    settings.require_serving()
    assert (settings.is_managed, settings.uses_cluster) == (False, False)


def test_a_registration_uses_the_cluster() -> None:
    assert Settings.load(registration=FILE, **LEADING).uses_cluster


def test_the_environment_speaks_as_the_flags_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**MANAGED, "certificates": "Managed", "certificate_lifetime": "1h30m"}.items():
        monkeypatch.setenv(f"ANCHORE_ADMISSION_{name.upper()}", value)
    monkeypatch.setenv("ANCHORE_ADMISSION_CLIENT_NAMES", "kube-apiserver, tunnel.example.com,")
    monkeypatch.setenv("ANCHORE_ADMISSION_CLIENT_CA_FILE", "/file")
    monkeypatch.setenv("ANCHORE_ADMISSION_SHUTDOWN_DELAY", "5s")
    settings = Settings.load()
    assert settings.certificates is CertificateSource.MANAGED
    assert settings.certificate_lifetime == 5400
    assert settings.client_names == ("kube-apiserver", "tunnel.example.com")
    assert settings.shutdown_delay == 5
    assert unknown_variables(os.environ, []) == []


@pytest.mark.parametrize(
    ("flags", "missing"),
    [
        ({"certificates": "managed"}, ["lease", "namespace", "pod_name", "tls_secret", "service"]),
        ({**MANAGED, "lease": None}, ["lease"]),
        ({"registration": FILE}, ["lease", "namespace", "pod_name"]),
    ],
)
def test_everything_that_is_missing_is_named(flags: dict[str, Any], missing: list[str]) -> None:
    found = problems(**flags)
    assert sorted(problem.partition(": ")[0] for problem in found) == sorted(map(spelled, missing))
    assert all(": expected, because --" in problem for problem in found)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            {**MANAGED, "tls_cert_file": FILE, "tls_key_file": FILE, "insecure_http": True},
            [
                f"{spelled(n)}: expected without {MANAGED_BY} managed"
                for n in ("tls_cert_file", "tls_key_file", "insecure_http")
            ],
        ),
        (
            {"ca_file": FILE},
            [f"{spelled('registration')}: expected, because {spelled('ca_file')} is set"],
        ),
        (
            {"client_ca_file": FILE},
            [f"{spelled('client_names')}: expected, because {spelled('client_ca_file')} is set"],
        ),
        (
            {"client_names": ("a",)},
            [f"{spelled('client_ca_file')}: expected, because {spelled('client_names')} is set"],
        ),
        (
            {"client_names": ("a",), "client_ca_file": FILE, "insecure_http": True},
            [f"{spelled('client_ca_file')}: expected without {spelled('insecure_http')}: the proxy terminates TLS"],
        ),
        (
            {"certificates": "vault", "certificate_lifetime": "1s", "service": "Gate_1", "shutdown_delay": "soon"},
            [
                f"{spelled('shutdown_delay')}: expected a duration such as 5s, not 'soon'",
                f"{spelled('certificates')}: expected one of files, managed, not 'vault'",
                f"{spelled('certificate_lifetime')}: expected a duration of at least a minute, such as 2160h, not '1s'",
                f"{spelled('service')}: expected the name of a Service, not 'Gate_1'",
            ],
        ),
    ],
)
def test_every_contradiction_is_named(flags: dict[str, Any], expected: list[str]) -> None:
    assert problems(**flags) == expected


def test_a_flag_that_is_given_again_is_spelled_as_people_give_it() -> None:
    assert spelled("client_names") == "--client-name / ANCHORE_ADMISSION_CLIENT_NAMES"
