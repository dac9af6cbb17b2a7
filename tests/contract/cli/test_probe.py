"""``anchore-admission probe`` against a webhook over real TLS, and against a Kubernetes API."""

import asyncio
import base64
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from anchore_admission.web.body import send_json
from anchore_admission.web.server import Listener
from anchore_admission.web.tls import ServingCertificate
from support.certificates import pair, written
from support.command_line import CommandLine, Ended
from support.kubernetes_api import KubernetesApi
from support.listening import HOST, running

SERVER, CLIENTS = pair(), pair()
MUTATING = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/gate"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/gate"
DENIED: dict[str, Any] = {
    "allowed": False,
    "auditAnnotations": {"verdict": "deny"},
    "status": {"message": "Image busybox fails"},
}
UNDECIDED: dict[str, Any] = {"auditAnnotations": {"verdict": "no_verdict"}}
ABOUT = "The validating webhook answers: a Pod with image busybox"
PINS = "The mutating webhook answers: a Pod with image busybox"


class Webhook:
    """Answers with these fields, after a number of failures."""

    def __init__(self, *, failures: int = 0, **fields: Any) -> None:
        self.failures = failures
        self.fields = {"allowed": True, **fields}

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        request = json.loads((await receive())["body"])["request"]
        self.failures -= 1
        status = 503 if self.failures >= 0 else 200
        await send_json(send, status, json.dumps({"response": {"uid": request["uid"], **self.fields}}).encode())


@pytest.fixture
def probe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run the command in a thread beside the server's event loop, with short pauses between its attempts."""
    monkeypatch.setattr("anchore_admission.cli.probe._PAUSE_SECONDS", 0.01)
    program = CommandLine(capsys, monkeypatch)

    async def run(*arguments: object, **environ: str) -> Ended:
        return await asyncio.to_thread(program, "probe", *arguments, environ=environ)

    return run


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    path = tmp_path / "ca.crt"
    path.write_bytes(SERVER.ca_bundle)
    return path


@pytest.fixture
def certificate(tmp_path: Path) -> ServingCertificate:
    return ServingCertificate(written(tmp_path, SERVER.certificate, SERVER.key))


@pytest.mark.parametrize(
    ("webhook", "arguments", "expected"),
    [
        (Webhook(), [], (0, "The validating webhook answers.\n")),
        (
            Webhook(**DENIED),
            ["--image", "busybox"],
            (0, f"{ABOUT} would be denied (verdict: deny): Image busybox fails\n"),
        ),
        (
            Webhook(auditAnnotations={"verdict": "\x1b[8m"}, warnings=["one\ntwo", "\x1b]0;title\x07\u202e"]),
            ["--image", "busybox"],
            (0, f"{ABOUT} would be admitted (verdict: ?[8m): one\ntwo; ?]0;title??\n"),
        ),
        (Webhook(), ["--image", "busybox"], (0, f"{ABOUT} would be admitted (verdict: none)\n")),
        (Webhook(**UNDECIDED), ["--image", "busybox"], (1, f"{ABOUT} would be admitted (verdict: no_verdict)\n")),
        (Webhook(allowed=False), [], (2, "")),
        (Webhook(failures=1), [], (2, "")),
        (Webhook(failures=1), ["--wait", "30"], (0, "The validating webhook answers.\n")),
        (Webhook(failures=9999), ["--wait", "0.1"], (2, "")),
    ],
)
async def test_the_exit_code_says_whether_the_webhook_answers_with_a_verdict(
    webhook: Webhook,
    arguments: list[str],
    expected: tuple[int, str],
    probe: Any,
    certificate: ServingCertificate,
    *,
    ca_file: Path,
) -> None:
    async with running(Listener(webhook, HOST, 0, certificate)) as server:
        ended = await probe("--url", server.url(scheme="https") + "secret", "--ca-file", ca_file, *arguments)
    assert (ended.code, ended.out) == expected, ended.err
    assert "secret" not in ended.err
    assert ("The validating webhook does not answer." in ended.err) == (ended.code == 2)


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["--client-certificates"], 0)])
async def test_a_webhook_for_clients_with_a_certificate_answers_by_asking_for_it(
    arguments: list[str], code: int, probe: Any, tmp_path: Path, ca_file: Path
) -> None:
    clients = tmp_path / "clients.crt"
    clients.write_bytes(CLIENTS.ca_bundle)
    guarded = ServingCertificate(written(tmp_path, SERVER.certificate, SERVER.key), clients)
    async with running(Listener(Webhook(), HOST, 0, guarded)) as server:
        ended = await probe("--url", server.url(scheme="https"), "--ca-file", ca_file, *arguments)
    assert ended.code == code, ended.err
    assert ("asks for the certificate of an API server" in ended.out) == (code == 0)


def _entry(name: str, url: str, ca_bundle: bytes | None) -> dict[str, Any]:
    bundle = {"caBundle": base64.b64encode(ca_bundle).decode()} if ca_bundle else {}
    return {"name": name, "clientConfig": {"url": url, **bundle}}


async def test_the_address_and_the_ca_bundle_are_those_that_api_servers_know(
    probe: Any, certificate: ServingCertificate, tmp_path: Path
) -> None:
    api = KubernetesApi()
    async with running(Listener(Webhook(), HOST, 0, certificate), Listener(api.serve, HOST, 0)) as server:
        kubeconfig = _kubeconfig(tmp_path, server.url(1))
        missing = await probe("--registration", "gate", KUBECONFIG=kubeconfig)
        api.put(WEBHOOKS)
        empty = await probe("--registration", "gate", KUBECONFIG=kubeconfig)
        service = {"clientConfig": {"service": {"name": "gate", "namespace": "security"}}}
        api.put(WEBHOOKS, webhooks=[{"name": "gate.admission.anchore.io", **service}])
        without_ca = await probe("--registration", "gate", KUBECONFIG=kubeconfig)
        other = _entry("other.example.com", "https://127.0.0.1:1/", None)
        ours = _entry("gate.admission.anchore.io", server.url(scheme="https"), SERVER.ca_bundle)
        api.put(WEBHOOKS, webhooks=[other, ours])
        registered = await probe("--registration", "gate", KUBECONFIG=kubeconfig)
    assert [it.code for it in (missing, empty, without_ca, registered)] == [2, 2, 2, 0], registered.err
    assert "ValidatingWebhookConfiguration gate" in missing.err
    assert "not registered yet in ValidatingWebhookConfiguration gate" in empty.err
    assert "not registered yet" in without_ca.err


PINNED: dict[str, Any] = {"auditAnnotations": {"pinned": "containers/main=sha256:1"}}
UNPINNED: dict[str, Any] = {"auditAnnotations": {"not-pinned": "containers/main: it is denied"}}


@pytest.mark.parametrize(
    ("validating", "mutating", "arguments", "expected"),
    [
        (Webhook(), Webhook(), [], (0, ["The validating webhook answers.", "The mutating webhook answers."], [])),
        (
            Webhook(auditAnnotations={"verdict": "admit"}),
            Webhook(**PINNED),
            ["--image", "busybox"],
            (
                0,
                [f"{ABOUT} would be admitted (verdict: admit)", f"{PINS} would be pinned (containers/main=sha256:1)"],
                [],
            ),
        ),
        (
            Webhook(**UNDECIDED),
            Webhook(**UNPINNED),
            ["--image", "busybox"],
            (
                1,
                [
                    f"{ABOUT} would be admitted (verdict: no_verdict)",
                    f"{PINS} would not be pinned (containers/main: it is denied)",
                ],
                ["Anchore gives no verdict: see the controller's log."],
            ),
        ),
        (
            Webhook(),
            Webhook(**PINNED, failures=1),
            ["--image", "busybox"],
            (
                2,
                [f"{ABOUT} would be admitted (verdict: none)"],
                ["no answer from the mutating webhook", "The mutating webhook does not answer."],
            ),
        ),
        (
            Webhook(failures=1),
            Webhook(**PINNED),
            ["--image", "busybox"],
            (
                2,
                [f"{PINS} would be pinned (containers/main=sha256:1)"],
                ["no answer from the validating webhook", "The validating webhook does not answer."],
            ),
        ),
        (
            Webhook(),
            Webhook(failures=1),
            ["--image", "busybox", "--wait", "30"],
            (
                0,
                [f"{ABOUT} would be admitted (verdict: none)", f"{PINS} would not be pinned"],
                ["no answer from the mutating webhook"],
            ),
        ),
        (
            Webhook(),
            Webhook(allowed=False),
            ["--image", "busybox"],
            (
                2,
                [f"{ABOUT} would be admitted (verdict: none)"],
                ["denied a Pod, which the mutating webhook never does", "The mutating webhook does not answer."],
            ),
        ),
        (
            Webhook(),
            Webhook(**DENIED),
            ["--image", "busybox"],
            (
                2,
                [f"{ABOUT} would be admitted (verdict: none)"],
                ["its path is that of the validating webhook", "The mutating webhook does not answer."],
            ),
        ),
    ],
)
@pytest.mark.parametrize("is_registered", [True, False])
async def test_both_webhooks_are_called_and_the_one_that_fails_is_named(
    validating: Webhook,
    mutating: Webhook,
    arguments: list[str],
    expected: tuple[int, list[str], list[str]],
    probe: Any,
    *,
    certificate: ServingCertificate,
    tmp_path: Path,
    ca_file: Path,
    is_registered: bool,
) -> None:
    api = KubernetesApi()
    webhooks = [copy.copy(validating), copy.copy(mutating)]
    listeners = [*(Listener(webhook, HOST, 0, certificate) for webhook in webhooks), Listener(api.serve, HOST, 0)]
    async with running(*listeners) as server:
        urls = [server.url(number, scheme="https") for number in range(2)]
        if is_registered:
            api.put(WEBHOOKS, webhooks=[_entry("gate.admission.anchore.io", urls[0], SERVER.ca_bundle)])
            api.put(MUTATING, webhooks=[_entry("gate.pinning.anchore.io", urls[1], SERVER.ca_bundle)])
            where = ["--registration", "gate", "--mutating"]
        else:
            where = ["--url", urls[0], "--mutating-url", urls[1], "--ca-file", str(ca_file)]
        kubeconfig = _kubeconfig(tmp_path, server.url(2))
        ended = await probe(*where, *arguments, KUBECONFIG=kubeconfig)
    code, printed, noted = expected
    lines = ended.err.splitlines()
    assert (ended.code, ended.out.splitlines(), len(lines)) == (code, printed, len(noted)), ended.err
    assert all(text in line for text, line in zip(noted, lines, strict=True)), ended.err


async def test_a_mutating_webhook_that_is_not_registered_is_named(
    probe: Any, certificate: ServingCertificate, tmp_path: Path
) -> None:
    api = KubernetesApi()
    async with running(Listener(Webhook(), HOST, 0, certificate), Listener(api.serve, HOST, 0)) as server:
        kubeconfig = _kubeconfig(tmp_path, server.url(1))
        ours = _entry("gate.admission.anchore.io", server.url(scheme="https"), SERVER.ca_bundle)
        api.put(WEBHOOKS, webhooks=[ours])
        missing = await probe("--registration", "gate", "--mutating", KUBECONFIG=kubeconfig)
        api.put(MUTATING)
        empty = await probe("--registration", "gate", "--mutating", KUBECONFIG=kubeconfig)
    for ended in (missing, empty):
        assert (ended.code, ended.out) == (2, "The validating webhook answers.\n")
        assert "The mutating webhook does not answer." in ended.err
        assert "MutatingWebhookConfiguration gate" in ended.err


@pytest.mark.parametrize(
    ("requests", "conditions", "warns"),
    [
        (["images"], ["spec-changes"], False),
        (["all"], ["spec-changes"], True),
        (["all"], [], False),
    ],
)
async def test_it_warns_of_conditions_that_keep_updates_away(
    requests: list[str],
    conditions: list[str],
    warns: bool,
    probe: Any,
    certificate: ServingCertificate,
    *,
    tmp_path: Path,
) -> None:
    file = tmp_path / "configuration.yaml"
    opa = {"url": "http://opa:8181", "requests": requests}
    file.write_text(json.dumps({"anchore": {"endpoint": "http://anchore:8228"}, "opa": opa}))
    api = KubernetesApi()
    async with running(Listener(Webhook(), HOST, 0, certificate), Listener(api.serve, HOST, 0)) as server:
        ours = _entry("gate.admission.anchore.io", server.url(scheme="https"), SERVER.ca_bundle)
        held = [{"name": name, "expression": "object.spec != oldObject.spec"} for name in conditions]
        api.put(WEBHOOKS, webhooks=[{**ours, "matchConditions": held}])
        kubeconfig = _kubeconfig(tmp_path, server.url(1))
        ended = await probe("--registration", "gate", "--config", file, KUBECONFIG=kubeconfig)
    assert (ended.code, ended.out) == (0, "The validating webhook answers.\n")
    assert ("because of the match conditions spec-changes; remove them" in ended.err) == warns, ended.err


def _kubeconfig(folder: Path, server: str) -> str:
    file = folder / "kubeconfig"
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    clusters, users = [{"name": "c", "cluster": {"server": server}}], [{"name": "u", "user": {"token": "t"}}]
    file.write_text(json.dumps({"clusters": clusters, "users": users, "contexts": [context], "current-context": "x"}))
    return str(file)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "--registration: expected, or --url instead"),
        (["--registration", "gate", "--url", "https://gate"], "--registration: expected, or --url instead"),
        (["--url", "http://gate/secret"], "--url: expected https:// and an address"),
        (["--registration", "gate", "--ca-file", "ca.crt"], "--ca-file: expected together with --url"),
        (["--url", "https://gate", "--mutating-url", "http://gate/secret"], "--mutating-url: expected https://"),
        (["--url", "https://gate", "--namespace", "Bad_Name"], "--namespace: expected a name"),
        (["--url", "https://gate", "--mutating"], "--mutating: expected together with --registration"),
        (["--url", "https://gate", "--config", "x.yaml"], "--config: expected together with --registration"),
        (["--registration", "gate", "--mutating-url", "https://gate"], "--mutating-url: expected together with --url"),
        (["--url", "https://gate", "--ca-file", "/no/such/ca.crt"], "/no/such/ca.crt"),
    ],
)
async def test_wrong_options_are_an_error(arguments: list[str], expected: str, probe: Any) -> None:
    ended = await probe(*arguments)
    assert ended.code == 2
    assert expected in ended.err
    assert "secret" not in ended.err
