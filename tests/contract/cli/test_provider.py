import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.certificates import pair
from support.command_line import CommandLine
from support.managed import WEBHOOKS, cluster

URL = "https://gate.security.svc:8445"


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    path = tmp_path / "ca.crt"
    path.write_bytes(b"# a comment\n" + pair().ca_bundle)
    return path


def printed(program: CommandLine, *arguments: object) -> dict[str, Any]:
    ended = program("provider", "--url", URL, *arguments)
    assert (ended.code, ended.err) == (0, "")
    document: dict[str, Any] = yaml.safe_load(ended.out)
    return document


def test_gatekeeper_gets_address_cas_and_a_timeout(program: CommandLine, ca: Path) -> None:
    document = printed(program, "--ca-file", ca)
    bundle = base64.b64decode(document["spec"].pop("caBundle"))
    assert document == {
        "apiVersion": "externaldata.gatekeeper.sh/v1beta1",
        "kind": "Provider",
        "metadata": {"name": "anchore-admission"},
        "spec": {"url": f"{URL}/facts/gatekeeper", "timeout": 2},
    }
    assert bundle in ca.read_bytes()
    assert bundle.startswith(b"-----BEGIN CERTIFICATE-----")


def test_a_rule_is_a_part_of_the_path(program: CommandLine, ca: Path) -> None:
    document = printed(program, "--ca-file", ca, "--rule", "Team_A.1", "--name", "team-a", "--timeout-seconds", 3)
    assert document["metadata"]["name"] == "team-a"
    assert (document["spec"]["url"], document["spec"]["timeout"]) == (f"{URL}/facts/gatekeeper/Team_A.1", 3)


@pytest.mark.parametrize("address", [f"{URL}/", URL])
def test_a_slash_at_the_end_does_not_matter(program: CommandLine, ca: Path, address: str) -> None:
    document = yaml.safe_load(program("provider", "--url", address, "--ca-file", ca).out)
    assert document["spec"]["url"] == f"{URL}/facts/gatekeeper"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--url", "http://gate", "--ca-file", "CA"], "--url: expected https://"),
        (["--url", f"{URL}/facts", "--ca-file", "CA"], "--url: expected https://"),
        (["--url", f"{URL}?x=1", "--ca-file", "CA"], "--url: expected https://"),
        (["--url", URL], "--ca-file: expected, or --registration instead"),
        (["--url", URL, "--ca-file", "CA", "--registration", "gate"], "--ca-file: expected, or --registration instead"),
        (["--url", URL, "--ca-file", "no-such-file"], "--ca-file: no-such-file"),
        (["--url", URL, "--ca-file", "CA", "--rule", "a/b"], "--rule: expected the name of a rule, not 'a/b'"),
        (["--url", URL, "--ca-file", "CA", "--name", "A"], "--name: expected the name of an object, not 'A'"),
        (["--url", URL, "--ca-file", "CA", "--name", "a..b"], "--name: expected the name of an object, not 'a..b'"),
    ],
)
def test_mistakes_are_named(program: CommandLine, ca: Path, arguments: list[str], problem: str) -> None:
    ended = program("provider", *(str(ca) if argument == "CA" else argument for argument in arguments))
    assert (ended.code, ended.out) == (2, "")
    assert problem in ended.err


@pytest.mark.parametrize("timeout", [0, 31])
def test_gatekeeper_takes_no_timeout_of_zero(program: CommandLine, ca: Path, timeout: int) -> None:
    assert program("provider", "--url", URL, "--ca-file", ca, "--timeout-seconds", timeout).code == 2


async def test_the_ca_bundle_may_be_the_registered_one(
    program: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = pair().ca_bundle
    client = {"url": "https://gate", "caBundle": base64.b64encode(bundle).decode()}
    arguments = ("provider", "--url", URL, "--registration", "gate")
    async with cluster(tmp_path, monkeypatch) as api:
        missing = await asyncio.to_thread(program, *arguments)
        api.put(WEBHOOKS, webhooks=[{"name": "gate.admission.anchore.io", "clientConfig": {"url": "https://gate"}}])
        without = await asyncio.to_thread(program, *arguments)
        api.put(WEBHOOKS, webhooks=[{"name": "gate.admission.anchore.io", "clientConfig": client}])
        found = await asyncio.to_thread(program, *arguments)
    assert (missing.code, without.code, found.code) == (2, 2, 0), found.err
    assert "the webhook is not registered yet" in missing.err
    assert "gate has no CA bundle, because API servers trust the CAs of their system; give --ca-file" in without.err
    assert base64.b64decode(yaml.safe_load(found.out)["spec"]["caBundle"]) == bundle
