import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anchore_admission.adapters.anchore.credentials import Credentials, FileCredentials
from anchore_admission.errors import ConfigurationError
from anchore_admission.models.configuration import AccountSection
from anchore_admission.ports.logs import LogFormat, LogLevel
from anchore_admission.settings import CertificateSource, Settings, spelled
from anchore_admission.variables import unknown_variables
from anchore_admission.wiring.credentials import account_credentials, credential_sources

SERVICE_VARIABLES = {
    "ANCHORE_ADMISSION_SERVICE_HOST": "10.0.0.1",
    "ANCHORE_ADMISSION_SERVICE_PORT": "443",
    "ANCHORE_ADMISSION_SERVICE_PORT_HTTPS": "443",
    "ANCHORE_ADMISSION_PORT": "tcp://10.0.0.1:443",
    "ANCHORE_ADMISSION_PORT_443_TCP": "tcp://10.0.0.1:443",
    "ANCHORE_ADMISSION_PORT_443_TCP_PROTO": "tcp",
    "ANCHORE_ADMISSION_PORT_443_TCP_PORT": "443",
    "ANCHORE_ADMISSION_PORT_443_TCP_ADDR": "10.0.0.1",
    "ANCHORE_ADMISSION_OPERATIONS_SERVICE_HOST": "10.0.0.2",
    "ANCHORE_ADMISSION_OPERATIONS_PORT": "udp://10.0.0.2:53",
    "ANCHORE_ADMISSION_NOTIFICATIONS_PORT": "tcp://10.0.0.4:443",
    "ANCHORE_ADMISSION_FACTS_PORT": "tcp://10.0.0.5:443",
    "ANCHORE_ADMISSION_WEBHOOK_SERVICE_PORT": "443",
    "ANCHORE_ADMISSION_WEBHOOK_PORT": "tcp://10.0.0.3:443",
    "ANCHORE_ADMISSION_WEBHOOK_PORT_443_TCP_ADDR": "10.0.0.3",
}
"""Variables that Kubernetes sets in every Pod for Services named anchore-admission and anchore-admission-… ."""
NOTIFICATIONS = spelled("notifications_port")
FACTS = spelled("facts_port")
GUARDS = ("facts_client_ca_file", "facts_token_file", "facts_audience")
AUDIENCE = {"facts_port": 1, "facts_audience": "a"}
CLIENTS = {"facts_port": 1, "facts_client_ca_file": "c", "facts_client_names": "n"}


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("ANCHORE_ADMISSION_"):
            monkeypatch.delenv(name)


def problems_of(call: Callable[[], object]) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        call()
    return [str(problem) for problem in caught.value.problems]


def test_the_defaults_serve_on_all_addresses() -> None:
    assert Settings.load().model_dump() == {
        "config": None,
        "host": "0.0.0.0",
        "port": 8443,
        "operations_port": 8080,
        "tls_cert_file": None,
        "tls_key_file": None,
        "insecure_http": False,
        "certificates": CertificateSource.FILES,
        "certificate_lifetime": 90 * 86400,
        "tls_secret": None,
        "lease": None,
        "namespace": None,
        "pod_name": None,
        "service": None,
        "registration": None,
        "ca_file": None,
        "shutdown_delay": 0,
        "secret_path_file": None,
        "client_ca_file": None,
        "client_names": (),
        "notifications_port": None,
        "notifications_secret_file": None,
        "facts_port": None,
        "facts_client_ca_file": None,
        "facts_client_names": (),
        "facts_token_file": None,
        "facts_audience": None,
        "facts_users": (),
        "namespace_labels": None,
        "docs": True,
        "log_level": LogLevel.INFO,
        "log_format": LogFormat.AUTO,
    }


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("CONFIG", "/etc/config.yaml", "config", Path("/etc/config.yaml")),
        ("HOST", "::", "host", "::"),
        ("PORT", "9443", "port", 9443),
        ("OPERATIONS_PORT", "0", "operations_port", 0),
        ("INSECURE_HTTP", "true", "insecure_http", True),
        ("DOCS", "no", "docs", False),
        ("LOG_LEVEL", "DEBUG", "log_level", LogLevel.DEBUG),
        ("LOG_FORMAT", "text", "log_format", LogFormat.TEXT),
        ("PORT", "", "port", 8443),
    ],
)
def test_the_environment_sets(
    variable: str, text: str, name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ANCHORE_ADMISSION_{variable}", text)
    assert getattr(Settings.load(), name) == value


def test_a_flag_beats_the_environment_and_none_is_no_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANCHORE_ADMISSION_PORT", "1")
    monkeypatch.setenv("ANCHORE_ADMISSION_HOST", "127.0.0.1")
    settings = Settings.load(port=2, host=None)
    assert (settings.port, settings.host) == (2, "127.0.0.1")


def test_all_mistakes_are_named_at_once_by_flag_and_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANCHORE_ADMISSION_PORT", "http")
    monkeypatch.setenv("ANCHORE_ADMISSION_INSECURE_HTTP", "maybe")
    assert problems_of(lambda: Settings.load(operations_port=65536, log_level="loud")) == [
        "--port / ANCHORE_ADMISSION_PORT: expected a port number from 0 to 65535, not 'http'",
        "--operations-port / ANCHORE_ADMISSION_OPERATIONS_PORT: expected a port number from 0 to 65535, not 65536",
        "--log-level / ANCHORE_ADMISSION_LOG_LEVEL: expected one of debug, info, warning, error, not 'loud'",
        "--insecure-http / ANCHORE_ADMISSION_INSECURE_HTTP: expected true or false, not 'maybe'",
    ]


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_names_the_expected_values(name: str) -> None:
    (problem,) = problems_of(lambda: Settings.load(**{name: {"odd": 1}}))
    assert problem.startswith(f"{spelled(name)}: expected ")
    assert problem.endswith("not {'odd': 1}")


def test_service_links_are_no_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICE_VARIABLES.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert (settings.port, settings.operations_port) == (8443, 8080)
    assert (settings.notifications_port, settings.facts_port) == (None, None)
    assert Settings.load(port=1).port == 1


@pytest.mark.parametrize(
    ("flags", "missing", "why"),
    [
        ({"tls_cert_file": "c"}, "tls_key_file", f"expected, because {spelled('tls_cert_file')} is set"),
        ({"tls_key_file": "k"}, "tls_cert_file", f"expected, because {spelled('tls_key_file')} is set"),
        ({"notifications_port": 1}, "notifications_secret_file", f"expected, because {NOTIFICATIONS} is set"),
        ({"notifications_port": 0}, "notifications_secret_file", f"expected, because {NOTIFICATIONS} is set"),
        (
            {"notifications_secret_file": "s"},
            "notifications_port",
            f"expected, because {spelled('notifications_secret_file')} is set",
        ),
        (
            {"notifications_port": 8443, "notifications_secret_file": "s"},
            "notifications_port",
            f"expected a different port than {spelled('port')}; both are 8443",
        ),
        (
            {"notifications_port": 8080, "notifications_secret_file": "s"},
            "notifications_port",
            f"expected a different port than {spelled('operations_port')}; both are 8080",
        ),
        (
            {"facts_port": 1},
            "facts_port",
            f"expected with {', '.join(map(spelled, GUARDS[:2]))} or {spelled(GUARDS[2])}: facts are not for everyone",
        ),
        ({"facts_token_file": "t"}, "facts_port", f"expected, because {spelled('facts_token_file')} is set"),
        (AUDIENCE, "facts_users", f"expected, because {spelled('facts_audience')} is set"),
        (
            {"facts_port": 1, "facts_token_file": "t", "facts_users": "u"},
            "facts_audience",
            f"expected, because {spelled('facts_users')} is set",
        ),
        (
            {**CLIENTS, "facts_client_names": ""},
            "facts_client_names",
            f"expected, because {spelled('facts_client_ca_file')} is set",
        ),
        (
            {"facts_port": 8080, "facts_token_file": "t"},
            "facts_port",
            f"expected a different port than {spelled('operations_port')}; both are 8080",
        ),
        (
            {"facts_port": 1, "facts_token_file": "t", "notifications_port": 1, "notifications_secret_file": "s"},
            "facts_port",
            f"expected a different port than {NOTIFICATIONS}; both are 1",
        ),
        (
            {**CLIENTS, "insecure_http": True},
            "facts_client_ca_file",
            f"expected without {spelled('insecure_http')}: the proxy terminates TLS",
        ),
        ({"port": 8080}, "operations_port", f"expected a different port than {spelled('port')}; both are 8080"),
    ],
)
def test_settings_must_fit_together(flags: dict[str, Any], missing: str, why: str) -> None:
    assert problems_of(lambda: Settings.load(**flags)) == [f"{spelled(missing)}: {why}"]


def test_each_guard_of_the_facts_is_enough() -> None:
    for guard in (AUDIENCE | {"facts_users": "u, v"}, CLIENTS, {"facts_port": 0, "facts_token_file": "t"}):
        assert Settings.load(**guard).facts_port == guard["facts_port"]
    assert Settings.load(**AUDIENCE, facts_users="u, v").facts_users == ("u", "v")


def test_two_ports_of_zero_are_two_ports() -> None:
    assert Settings.load(port=0, operations_port=0).port == 0


def test_serving_needs_either_tls_files_or_consent_to_plain_http() -> None:
    files = {"tls_cert_file": "c", "tls_key_file": "k"}
    Settings.load(**files).require_serving()
    Settings.load(insecure_http=True).require_serving()
    (neither,) = problems_of(Settings.load().require_serving)
    assert "or --insecure-http" in neither
    (both,) = problems_of(Settings.load(**files, insecure_http=True).require_serving)
    assert both.endswith("not both")


def test_tls_files_come_as_a_pair() -> None:
    assert Settings.load(tls_cert_file="c", tls_key_file="k").tls_files == (Path("c"), Path("k"))
    assert Settings.load().tls_files is None


def test_misspelled_variables_are_reported_with_a_suggestion() -> None:
    environ = {
        "ANCHORE_ADMISSION_LOGLEVEL": "debug",
        "ANCHORE_ADMISSION_PORT": "1",
        "ANCHORE_ADMISSION_OPERATION_PORT": "8081",
        "ANCHORE_ADMISSION_ZZZ": "1",
        "ANCHORE_CLI_USER": "admin",
    }
    assert unknown_variables(environ) == [
        "ANCHORE_ADMISSION_LOGLEVEL is not known and ignored; did you mean ANCHORE_ADMISSION_LOG_LEVEL?",
        "ANCHORE_ADMISSION_OPERATION_PORT is not known and ignored; did you mean ANCHORE_ADMISSION_OPERATIONS_PORT?",
        "ANCHORE_ADMISSION_ZZZ is not known and ignored",
    ]


def test_variables_of_services_are_not_mistaken_for_typos() -> None:
    assert unknown_variables(SERVICE_VARIABLES) == []


def test_secrets_of_accounts_that_are_not_configured_are_reported() -> None:
    environ = {
        "ANCHORE_ADMISSION_ACCOUNT_TEAM_A_USERNAME": "u",
        "ANCHORE_ADMISSION_ACCOUNT_TEAM_B_PASSWORD": "the-secret",
    }
    assert unknown_variables(environ) == []
    assert unknown_variables(environ, ["team-a", "team.b"]) == []
    (warning,) = unknown_variables(environ, ["team-a"])
    assert warning.startswith("ANCHORE_ADMISSION_ACCOUNT_TEAM_B_PASSWORD is not known")
    assert "the-secret" not in warning


def account_variables(**values: str) -> dict[str, str]:
    return {f"ANCHORE_ADMISSION_ACCOUNT_TEAM_A_1_{name}": value for name, value in values.items()}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        (account_variables(USERNAME="", PASSWORD="", API_KEY=""), None),
        (account_variables(USERNAME="u\n", PASSWORD="p\r\n"), ("u", "p")),
        (account_variables(API_KEY="k\n"), ("_api_key", "k")),
    ],
)
def test_an_account_finds_its_secrets_in_the_environment(
    environ: dict[str, str], expected: tuple[str, str] | None
) -> None:
    credentials = account_credentials("team-a.1", environ)
    assert (credentials and (credentials.username, credentials.password.get_secret_value())) == expected


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        (account_variables(USERNAME="u"), "_PASSWORD: expected, because"),
        (account_variables(PASSWORD="the-secret"), "_USERNAME: expected, because"),
        (account_variables(API_KEY="the-secret", USERNAME="u"), "_API_KEY: expected without"),
        (account_variables(USERNAME="u", PASSWORD="the-secret\udcff"), "_PASSWORD: expected UTF-8 text"),
        (account_variables(API_KEY="the-secret\udcff"), "_API_KEY: expected UTF-8 text"),
        (account_variables(USERNAME="u:the-secret", PASSWORD="p"), "_USERNAME: expected without a colon"),
    ],
)
def test_secrets_that_do_not_fit_together_are_rejected_without_repeating_them(
    environ: dict[str, str], problem: str
) -> None:
    (found,) = problems_of(lambda: account_credentials("team-a.1", environ))
    assert problem in found
    assert "the-secret" not in found


def account(name: str, **files: Path) -> AccountSection:
    return AccountSection.model_validate({"name": name, **{key: str(path) for key, path in files.items()}})


def test_every_account_gets_the_credentials_it_names(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")
    sources = credential_sources(
        [
            account("files", usernameFile=secret, passwordFile=secret),
            account("key", apiKeyFile=secret),
            account("env"),
            account("open"),
        ],
        {"ANCHORE_ADMISSION_ACCOUNT_ENV_API_KEY": "k"},
    )
    assert {name: type(source) for name, source in sources.items()} == {
        "files": FileCredentials,
        "key": FileCredentials,
        "env": Credentials,
    }
    assert [sources[name].current().username for name in ("files", "key", "env")] == ["s", "_api_key", "_api_key"]


def test_the_problems_of_all_accounts_are_listed_at_once(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    accounts = [
        account("a", usernameFile=missing, passwordFile=missing),
        account("b"),
        account("c", apiKeyFile=missing),
    ]
    environ = {"ANCHORE_ADMISSION_ACCOUNT_B_USERNAME": "u", "ANCHORE_ADMISSION_ACCOUNT_C_API_KEY": "the-secret"}
    variables = "ANCHORE_ADMISSION_ACCOUNT_C_*"
    assert problems_of(lambda: credential_sources(accounts, environ)) == [
        f"{missing}: cannot be read: No such file or directory",
        f"{missing}: cannot be read: No such file or directory",
        "ANCHORE_ADMISSION_ACCOUNT_B_PASSWORD: expected, because ANCHORE_ADMISSION_ACCOUNT_B_USERNAME is set",
        f"{variables}: expected without files in the configuration of account c; remove the variables or these keys",
    ]
