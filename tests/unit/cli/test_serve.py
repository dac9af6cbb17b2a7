"""The options of ``serve`` are those of the settings."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from anchore_admission.cli import serve
from anchore_admission.cli.main import load
from anchore_admission.settings import Settings, flag, spelled, variable


def _parsed(*arguments: str) -> dict[str, Any]:
    context = load("serve").make_context("serve", [*arguments], resilient_parsing=False)
    return {name: value for name, value in context.params.items() if name in Settings.model_fields}


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(variable(name), raising=False)


def test_every_setting_has_an_option_in_the_same_order() -> None:
    options = [option for option in load("serve").params if option.name in Settings.model_fields]
    assert [option.name for option in options] == list(Settings.model_fields)
    for option in options:
        assert flag(option.name) in option.opts
        assert spelled(option.name) == f"{option.opts[0]} / {variable(option.name)}"
        assert option.help.strip()
        assert variable(option.name) in (option.envvar or option.help)


def test_an_option_that_is_not_given_leaves_the_setting_alone() -> None:
    assert Settings.load(**_parsed()) == Settings()


def test_flags_become_settings() -> None:
    flags = [
        *("-c", "/configuration.yaml", "--host", "::", "--port", "1", "--operations-port", "2", "--no-docs"),
        *("--shutdown-delay", "5s", "--log-level", "DEBUG", "--log-format", "json"),
        *("--tls-cert-file", "c", "--tls-key-file", "k", "--client-ca-file", "ca"),
        *("--client-name", "a", "--client-name", "b, c"),
    ]
    settings = Settings.load(**_parsed(*flags))
    assert (settings.config, settings.host, settings.port) == (Path("/configuration.yaml"), "::", 1)
    assert (settings.operations_port, settings.docs, settings.shutdown_delay) == (2, False, 5.0)
    assert (settings.log_level, settings.log_format) == ("debug", "json")
    assert settings.client_names == ("a", "b, c")


def test_the_help_shows_defaults_as_a_flag_takes_them() -> None:
    options = {option.name: option for option in load("serve").params}
    shown = {name: options[name].show_default for name in Settings.model_fields if options[name].show_default}
    assert shown == {
        "host": "0.0.0.0",
        "port": "8443",
        "operations_port": "8080",
        "docs": "docs",
        "shutdown_delay": "0s",
        "log_level": "info",
        "log_format": "auto",
        "certificates": "files",
        "certificate_lifetime": "2160h",
    }
    given = {name: text for name, text in shown.items() if name != "docs"}
    assert Settings(**given) == Settings()


def test_the_signature_shows_no_other_parameters() -> None:
    assert list(inspect.signature(serve.command).parameters) == list(Settings.model_fields)


@pytest.mark.parametrize("name", ["host", "operations_port"])
def test_health_calls_the_address_where_serve_listens(name: str) -> None:
    (option,) = (option for option in load("health").params if option.name == name)
    assert option.envvar == variable(name)
    assert option.default == Settings.model_fields[name].default
