"""Kubeconfigs as kubectl reads them: several files, credential plugins of every version, invalid ones."""

import asyncio
import base64
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from anchore_admission.adapters.exec_credentials import AuthTransport, ExecAuth
from anchore_admission.adapters.kubeconfig import Access, access
from anchore_admission.errors import ConfigurationError
from anchore_admission.redaction import redacted
from support.certificates import plain_pair

V1 = "client.authentication.k8s.io/v1"
CLUSTER = {"name": "c", "cluster": {"server": "http://kubernetes"}}
CONTEXT = {"name": "x", "context": {"cluster": "c", "user": "me"}}
TOKEN = "not-to-be-seen-9876543210"


def config(user: object, **changes: object) -> dict[str, Any]:
    named = {"name": "me", "user": user}
    return {"clusters": [CLUSTER], "contexts": [CONTEXT], "users": [named], "current-context": "x", **changes}


def credential(version: str = V1, **status: object) -> str:
    return json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose file ``config`` is the kubeconfig."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    return tmp_path


def plugin(home: Path, script: str, **more: object) -> dict[str, Any]:
    """Return a user whose plugin, named as a path beside the kubeconfig, is this script."""
    path = home / "plugin"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(stat.S_IRWXU)
    return {"exec": {"apiVersion": V1, "command": "./plugin", **more}}


def found(home: Path, content: object) -> Access:
    (home / "config").write_text(json.dumps(content))
    with access() as given:
        return given


class Server:
    """An API server that accepts the tokens in ``accepted`` (every request if it is None)."""

    def __init__(self, accepted: set[str] | None = None) -> None:
        self.accepted = accepted
        self.seen: list[str] = []

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        token = request.headers.get("Authorization", "")
        self.seen.append(token)
        return httpx2.Response(200 if self.accepted is None or token in self.accepted else 401)


def client(auth: httpx2.Auth | None, server: Server) -> httpx2.AsyncClient:
    assert isinstance(auth, ExecAuth)
    return httpx2.AsyncClient(base_url="http://kubernetes", auth=auth, transport=httpx2.MockTransport(server))


def below(auth: httpx2.Auth | None, server: Server) -> httpx2.AsyncClient:
    """Return a client that knows of no authentication, as lightkube's."""
    assert isinstance(auth, ExecAuth)
    return httpx2.AsyncClient(base_url="http://kubernetes", transport=AuthTransport(httpx2.MockTransport(server), auth))


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha1"])
@pytest.mark.parametrize("made", [client, below])
async def test_a_plugin_of_each_version_gives_a_token_once(home: Path, version: str, made: Any) -> None:
    version = f"client.authentication.k8s.io/{version}"
    script = f"echo >> runs; echo '{credential(version, token=TOKEN)}'"
    user = plugin(home, f"cd {home}; {script}", apiVersion=version)
    server = Server()
    async with made(found(home, config(user)).auth, server) as api:
        await asyncio.gather(*(api.get("/") for _ in range(5)))
    assert server.seen == [f"Bearer {TOKEN}"] * 5
    assert (home / "runs").read_text() == "\n"
    assert TOKEN not in redacted(f"an echo of {TOKEN}")


@pytest.mark.parametrize("made", [client, below])
async def test_a_rejected_token_is_replaced_once(home: Path, made: Any) -> None:
    script = f"cd {home}; echo >> runs; t=token-$(wc -l < runs | tr -d ' ')"
    body = credential(token="$t").replace('"', '\\"')
    server = Server({"Bearer token-1"})
    async with made(found(home, config(plugin(home, f'{script}; echo "{body}"'))).auth, server) as api:
        codes = [(await api.get("/")).status_code]
        server.accepted = {"Bearer token-2"}
        codes.append((await api.get("/")).status_code)
        server.accepted = set()
        codes.append((await api.get("/")).status_code)
    assert codes == [200, 200, 401]
    assert server.seen == [f"Bearer token-{number}" for number in (1, 1, 2, 2, 3)]


async def test_an_expired_token_is_replaced_before_the_request(home: Path) -> None:
    status = {"token": "$t", "expirationTimestamp": "1970-01-01T00:01:00Z"}
    body = credential(**status).replace('"', '\\"')
    given = found(home, config(plugin(home, f'cd {home}; echo >> runs; t=token-$(wc -l < runs); echo "{body}"')))
    assert isinstance(given.auth, ExecAuth)
    now, server = [0.0], Server()
    given.auth._clock = lambda: now[0]
    async with client(given.auth, server) as api:
        for moment in (0.0, 59.0, 60.0):
            now[0] = moment
            await api.get("/")
    assert server.seen == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


async def test_a_plugin_is_told_what_kubectl_tells_it(home: Path) -> None:
    (home / "ca.pem").write_bytes(plain_pair("localhost").ca_bundle)
    extension = [{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "a"}}]
    cluster = {"server": "https://k", "certificate-authority": "ca.pem", "extensions": extension}
    kept = f'cd {home}; echo "$KUBERNETES_EXEC_INFO" > info; echo "$1 $AWS_PROFILE" > given'
    script = f"{kept}; echo '{credential(token='t')}'"
    more = {"args": ["get-token"], "env": [{"name": "AWS_PROFILE", "value": "dev"}], "provideClusterInfo": True}
    user = plugin(home, script, **more, interactiveMode="IfAvailable")
    given = found(home, config(user, clusters=[{"name": "c", "cluster": cluster}]))
    async with client(given.auth, Server()) as api:
        await api.get("/")
    data = base64.b64encode((home / "ca.pem").read_bytes()).decode()
    told = {"server": "https://k", "certificate-authority-data": data, "config": {"audience": "a"}}
    expected = {"apiVersion": V1, "kind": "ExecCredential", "spec": {"interactive": False, "cluster": told}}
    assert json.loads((home / "info").read_text()) == expected
    assert (home / "given").read_text() == "get-token dev\n"


async def test_a_certificate_is_presented(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = plain_pair("localhost")
    status = {"clientCertificateData": pair.certificate.decode(), "clientKeyData": pair.key.decode()}
    (home / "credential").write_text(credential(**status))
    given = found(home, config(plugin(home, f"cat {home}/credential")))
    loaded: list[str] = []
    monkeypatch.setattr(given.verify, "load_cert_chain", lambda path: loaded.append(Path(path).read_text()))
    server = Server()
    async with client(given.auth, server) as api:
        await api.get("/")
    assert server.seen == [""]
    (content,) = loaded
    assert pair.certificate.decode() in content
    assert pair.key.decode() in content


RUNS: Mapping[str, tuple[str, str]] = {
    "fails": (
        f"echo expired: run aws sso login >&2; echo {TOKEN}; exit 3",
        "failed with exit code 3: expired: run aws",
    ),
    "says nothing": ("exit 1", "failed with exit code 1"),
    "empty": ("true", "its output is no ExecCredential: Input data was truncated"),
    "no JSON": (f"echo {TOKEN}", "its output is no ExecCredential: JSON is malformed"),
    "no status": (
        f"echo '{json.dumps({'apiVersion': V1, 'kind': 'ExecCredential'})}'",
        "missing required field `status`",
    ),
    "status null": (
        f"echo '{json.dumps({'apiVersion': V1, 'kind': 'ExecCredential', 'status': None})}'",
        "Expected `object`, got `null` - at `$.status`",
    ),
    "another kind": (f"echo '{json.dumps({'apiVersion': V1, 'kind': 'Pod', 'status': {}})}'", "at `$.kind`"),
    "another version": (
        f"echo '{credential('client.authentication.k8s.io/v1beta1', token=TOKEN)}'",
        f"has the apiVersion client.authentication.k8s.io/v1beta1, and the kubeconfig {V1}; they must be the same",
    ),
    "nothing in it": (f"echo '{credential()}'", "has neither a token nor a certificate"),
    "half a pair": (f"echo '{credential(token=TOKEN, clientKeyData='k' * 20)}'", "belong together, one is missing"),
    "no pair": (
        f"echo '{credential(clientCertificateData='c' * 20, clientKeyData='k' * 20)}'",
        "its certificate and key are no PEM",
    ),
    "a line break": (f"printf '%s' '{credential(token=TOKEN)}' | sed 's/{TOKEN}/&\\\\n/'", "no header may hold"),
    "endless": ("cat /dev/zero", "its output is larger than 1024 KiB"),
    "hangs": ("echo sign in with a browser >&2; tail -f /dev/null", "no output within 0.5 s: sign in with a browser"),
    "hangs in a child": ("tail -f /dev/null & exit 0", "no output within 0.5 s"),
}


@pytest.mark.parametrize("case", RUNS)
async def test_a_failure_names_the_plugin_and_the_cause_and_no_secret(home: Path, case: str) -> None:
    script, text = RUNS[case]
    auth = found(home, config(plugin(home, f"echo >> {home}/runs\n{script}"))).auth
    assert isinstance(auth, ExecAuth)
    auth._seconds = 0.5 if case.startswith("hangs") else 30.0
    server = Server()
    async with client(auth, server) as api:
        with pytest.raises(Exception, match="credential plugin") as caught:
            await api.get("/")
        # The next request soon after does not run it again.
        with pytest.raises(Exception, match="credential plugin") as again:
            await api.get("/")
    assert text in str(caught.value)
    assert str(home / "plugin") in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert str(again.value) == str(caught.value)
    assert (home / "runs").read_text() == "\n"
    assert server.seen == []


async def test_a_plugin_that_is_missing_names_its_hint(home: Path) -> None:
    user = {"exec": {"apiVersion": V1, "command": "no-such-plugin", "installHint": "Install it\n  from example.com"}}
    async with client(found(home, config(user)).auth, Server()) as api:
        with pytest.raises(Exception, match="no-such-plugin is not installed; Install it from example"):
            await api.get("/")


EXEC = {"apiVersion": V1, "command": "p"}
INVALID: Mapping[str, tuple[object, str]] = {
    "version": (
        config({"exec": {**EXEC, "apiVersion": "client.authentication.k8s.io/v2"}}),
        "is invalid: Invalid enum",
    ),
    "command": (config({"exec": {"apiVersion": V1}}), "missing required field `command`"),
    "arguments": (config({"exec": {**EXEC, "args": "token"}}), "Expected `array"),
    "terminal": (config({"exec": {**EXEC, "interactiveMode": "Always"}}), "needs a terminal"),
    "no mapping": (["x"], "expected a mapping"),
    "empty": (None, "expected a mapping"),
    "no context": (config({}, **{"current-context": ""}), "has no current context"),
    "unknown context": (config({}, **{"current-context": "y"}), "the kubeconfig has no context y"),
    "unknown user": (config({}, users=[]), "context x names the user me, which does not exist"),
    "unknown cluster": (config({}, clusters=[]), "context x names the cluster c, which does not exist"),
    "without a name": (config({}, users=[{"user": {}}]), r"users\[0\] has no name"),
    "no user": (config({}, contexts=[{"name": "x", "context": {"cluster": "c"}}]), "names no user"),
    "old provider": (config({"auth-provider": {"name": "gcp"}}), "auth-provider not supported"),
}


@pytest.mark.parametrize("case", INVALID)
def test_a_kubeconfig_that_is_invalid_is_rejected_with_its_cause(home: Path, case: str) -> None:
    content, text = INVALID[case]
    with pytest.raises(ConfigurationError, match=f"no access to a Kubernetes API: .*{text}"):
        found(home, content)


def test_a_kubeconfig_that_is_no_yaml_repeats_nothing_of_it(home: Path) -> None:
    (home / "config").write_text(f"token: {TOKEN}: [")
    with pytest.raises(ConfigurationError, match=r"is no YAML$") as caught, access():
        pass
    assert TOKEN not in str(caught.value)


def test_a_token_counts_before_a_plugin(home: Path) -> None:
    auth = found(home, config({"token": "t", "exec": EXEC})).auth
    assert auth is not None
    assert not isinstance(auth, ExecAuth)


def test_several_files_are_merged_and_the_first_counts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "other").mkdir()
    (home / "other" / "token").write_text("of-the-other")
    files = [home / "config", home / "missing", home / "other" / "config"]
    files[0].write_text(json.dumps({"current-context": "x", "clusters": [CLUSTER], "contexts": None}))
    second = config({"tokenFile": "token"}, clusters=[{"name": "c", "cluster": {"server": "http://other"}}])
    files[2].write_text(json.dumps({**second, "current-context": "y"}))
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(["", *map(str, files)]))
    with access() as given:
        assert given.address == "http://kubernetes"
        assert given.config.context_name == "x"
        assert given.config.user is not None
        assert given.config.user.token_file == str(home / "other" / "token")


@pytest.mark.parametrize("value", ["", os.pathsep])
def test_an_empty_variable_means_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("KUBECONFIG", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"/\.kube/config does not exist"), access():
        pass
