import json
import ssl
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import pytest

from anchore_admission.adapters.opa.files import UNTIL_VALID, OpaTls, OpaToken
from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.errors import ConfigurationError, HookUnavailable
from anchore_admission.models.configuration import Configuration
from anchore_admission.ports.deadline import Deadline
from anchore_admission.redaction import REDACTED, redacted
from anchore_admission.wiring.hook import WiredHook, decision_hook
from support.certificates import encrypted_key, pair, written

SOCKET = "unix:///run/opa/opa.sock"
HTTPS = "https://opa.example.com"
TOKEN = "hunter2-and-more"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Every file of the section opa, all valid."""
    own = pair()
    shown = written(tmp_path, own.certificate, own.key)
    ca, token = tmp_path / "ca.crt", tmp_path / "token"
    ca.write_bytes(own.ca_bundle)
    token.write_text(f"{TOKEN}\n")
    return {"caFile": ca, "tokenFile": token, "certificateFile": shown.certificate, "keyFile": shown.key}


def section(files: dict[str, Path], url: str = HTTPS) -> Configuration:
    return Configuration.model_validate({"opa": {"url": url, **{key: str(path) for key, path in files.items()}}})


def wired(configuration: Configuration, *, telemetry: Telemetry | None = None, waits: bool = False) -> WiredHook:
    hook = decision_hook(configuration, telemetry or Telemetry(), {}, wait_until_valid=waits)
    assert hook
    return hook


def is_unusable(telemetry: Telemetry) -> bool:
    return 'unusable{what="opa"} 1.0' in telemetry.exposition(None)[0].decode()


@pytest.mark.process
def test_the_client_is_not_loaded_without_a_hook() -> None:
    modules = "anchore_admission.cli.main, anchore_admission.cli.serve, anchore_admission.wiring.hook"
    program = f"import json, sys; import {modules}; print(json.dumps([m for m in sys.modules if '.opa' in m]))"
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)  # noqa: S603 - ourselves
    assert not [module for module in json.loads(run.stdout) if module.startswith("anchore_admission.adapters.opa")]


def test_no_section_is_no_hook() -> None:
    assert decision_hook(Configuration(), Telemetry(), {}) is None


def test_a_socket_needs_no_files() -> None:
    hook = wired(section({}, SOCKET))
    assert (hook.hook.name, hook.watched) == ("anchore/admission", [])


def test_files_are_followed(files: dict[str, Path]) -> None:
    telemetry = Telemetry()
    hook = wired(section(files), telemetry=telemetry)
    assert [source.name for source in hook.watched] == ["TLS files for OPA", "token for OPA"]
    assert all(source.is_ready() for source in hook.watched)
    assert not is_unusable(telemetry)
    for file in files.values():
        content = file.read_bytes()
        file.write_bytes(b"")
        for source in hook.watched:
            source.refresh()
        assert is_unusable(telemetry)
        file.write_bytes(content)
        for source in hook.watched:
            source.refresh()
        assert not is_unusable(telemetry)


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("key", ["caFile", "tokenFile", "certificateFile", "keyFile"])
def test_a_file_that_does_not_exist_is_an_error(files: dict[str, Path], key: str, waits: bool) -> None:
    files[key].unlink()
    with pytest.raises(ConfigurationError) as caught:
        wired(section(files), waits=waits)
    assert [(problem.path, problem.message) for problem in caught.value.problems] == [
        (key, f"{files[key]} cannot be read: No such file or directory")
    ]


WRONG = [
    ("caFile", b"", "holds no PEM certificates"),
    ("caFile", b"-----BEGIN nonsense", "cannot be read as PEM certificates: "),
    ("certificateFile", b"nonsense", "holds no PEM certificate"),
    ("certificateFile", pair().certificate, "does not belong to the certificate"),
    ("keyFile", b"nonsense", "holds no PEM private key that can be used"),
    ("keyFile", encrypted_key(), "is encrypted; give a key without a passphrase"),
    ("tokenFile", b"\n", "is empty"),
    ("tokenFile", b"first\nsecond", "is not a single token: expected one line of ASCII without spaces"),
    ("tokenFile", b"first second", "is not a single token: expected one line of ASCII without spaces"),
    ("tokenFile", b"a\r\nx-header: b", "is not a single token: expected one line of ASCII without spaces"),
    ("tokenFile", "tökén".encode(), "is not a single token: expected one line of ASCII without spaces"),
    ("tokenFile", b"\xff", "is not UTF-8 text: byte 0xff in line 1"),
]


@pytest.mark.parametrize(("key", "content", "why"), WRONG)
async def test_invalid_contents_are_an_error_or_can_still_be_corrected(
    files: dict[str, Path], key: str, content: bytes, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = files[key].read_bytes()
    files[key].write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        wired(section(files))
    assert why in str(caught.value)
    hook = wired(section(files), waits=True)
    (message,) = caplog.messages
    assert why in message
    assert message.endswith(f"; {UNTIL_VALID}")
    async with aclosing(hook.hook):
        with pytest.raises(HookUnavailable, match=r"(no valid token for OPA|the TLS files for OPA are not valid) yet"):
            await hook.hook.decide(b"{}", Deadline.after(10))
    files[key].write_bytes(before)
    for source in hook.watched:
        source.refresh()
    assert all(source.is_ready() for source in hook.watched)


def test_each_version_of_the_files_has_a_context_of_its_own(files: dict[str, Path]) -> None:
    tls = OpaTls(files["caFile"], files["certificateFile"], files["keyFile"])
    first = tls.current()
    assert first.verify_mode is ssl.CERT_REQUIRED
    assert first.check_hostname
    tls.watched.refresh()
    assert tls.current() is first
    files["keyFile"].write_bytes(b"nonsense")
    tls.watched.refresh()
    assert tls.current() is first
    other = pair()
    for key, content in (("certificateFile", other.certificate), ("keyFile", other.key)):
        files[key].write_bytes(content)
    tls.watched.refresh()
    assert tls.current() is not first


def test_without_a_ca_file_the_systems_cas_are_trusted(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(files["caFile"]))
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    tls = OpaTls(None, files["certificateFile"], files["keyFile"])
    assert tls.current().cert_store_stats()["x509_ca"] == 1


def test_a_token_is_redacted_and_its_last_valid_version_stays(files: dict[str, Path]) -> None:
    token = OpaToken(files["tokenFile"])
    files["tokenFile"].write_bytes(b"")
    token.watched.refresh()
    assert token.current() == TOKEN
    assert redacted(f"Bearer {TOKEN}") == f"Bearer {REDACTED}"
