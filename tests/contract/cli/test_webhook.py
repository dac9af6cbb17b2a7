import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.certificates import pair
from support.command_line import CommandLine

LABEL = "expected up to 63 lower case letters, digits and dashes between them"
SERVICE = ["--service", "gate", "--namespace", "security"]


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


def printed(program: CommandLine, *arguments: object) -> dict[str, Any]:
    """Return the one document that kubectl would read."""
    ended = program("webhook", *arguments)
    assert (ended.code, ended.err) == (0, "")
    document: dict[str, Any] = yaml.safe_load(ended.out)
    assert (document["apiVersion"], document["kind"]) == (
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
    )
    return document


def entry(program: CommandLine, *arguments: object) -> dict[str, Any]:
    (only,) = printed(program, *arguments)["webhooks"]
    assert isinstance(only, dict)
    return only


def excluded(webhook: dict[str, Any]) -> list[str]:
    (expression,) = webhook["namespaceSelector"]["matchExpressions"]
    assert (expression["key"], expression["operator"]) == ("kubernetes.io/metadata.name", "NotIn")
    names: list[str] = expression["values"]
    return names


def test_every_kind_that_images_come_from_is_sent(program: CommandLine) -> None:
    rules = entry(program, *SERVICE)["rules"]
    assert [(rule["apiGroups"], rule["apiVersions"]) for rule in rules] == [
        ([""], ["v1"]),
        (["apps"], ["v1"]),
        (["batch"], ["v1"]),
    ]
    assert {resource for rule in rules for resource in rule["resources"]} == {
        *("pods", "pods/ephemeralcontainers", "podtemplates", "replicationcontrollers"),
        *("deployments", "replicasets", "statefulsets", "daemonsets"),
        *("jobs", "cronjobs"),
    }
    assert {tuple(rule["operations"]) for rule in rules} == {("CREATE", "UPDATE")}


def test_a_service_is_named_and_its_namespace_left_out(program: CommandLine) -> None:
    document = printed(program, *SERVICE, "--port", "8443", "--name", "gate")
    (webhook,) = document["webhooks"]
    assert (document["metadata"]["name"], webhook["name"]) == ("gate", "gate.admission.anchore.io")
    assert webhook["clientConfig"] == {
        "service": {"namespace": "security", "name": "gate", "path": "/validate", "port": 8443}
    }
    assert excluded(webhook) == ["security", "kube-system"]


def test_defaults_are_safe(program: CommandLine) -> None:
    webhook = entry(program, *SERVICE)
    said = {key: webhook[key] for key in ("admissionReviewVersions", "failurePolicy", "sideEffects", "timeoutSeconds")}
    assert said == {
        "admissionReviewVersions": ["v1", "v1beta1"],
        "failurePolicy": "Fail",
        "sideEffects": "NoneOnDryRun",
        "timeoutSeconds": 10,
    }
    assert webhook["objectSelector"] == {}
    assert [condition["name"] for condition in webhook["matchConditions"]] == ["spec-changes", "not-another-release"]


def test_older_api_servers_are_given_no_conditions(program: CommandLine) -> None:
    without, with_them = (entry(program, *SERVICE, *more) for more in (["--no-match-conditions"], []))
    assert "matchConditions" not in without
    assert without == {key: value for key, value in with_them.items() if key != "matchConditions"}


@pytest.mark.parametrize(
    ("opa", "conditions"),
    [
        ({}, ["spec-changes", "not-another-release"]),
        ({"opa": {"url": "http://opa:8181"}}, ["spec-changes", "not-another-release"]),
        ({"opa": {"url": "http://opa:8181", "requests": ["images", "all"]}}, ["not-another-release"]),
    ],
)
def test_every_update_is_sent_where_the_configuration_judges_it(
    opa: dict[str, Any], conditions: list[str], program: CommandLine, tmp_path: Path
) -> None:
    file = tmp_path / "configuration.yaml"
    file.write_text(yaml.safe_dump({"anchore": {"endpoint": "http://anchore:8228"}, **opa}))
    webhook = entry(program, *SERVICE, "--config", file)
    assert [condition["name"] for condition in webhook["matchConditions"]] == conditions
    mutating = yaml.safe_load(program("webhook", *SERVICE, "--mutating", "--config", file).out)["webhooks"][0]
    assert [it["name"] for it in mutating["matchConditions"]] == ["spec-changes", "not-another-release"]
    assert "matchConditions" not in entry(program, *SERVICE, "--config", file, "--no-match-conditions")


def test_an_invalid_configuration_is_reported_with_the_other_problems(program: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "configuration.yaml"
    file.write_text("opa: {requests: [some]}\n")
    ended = program("webhook", "--config", file)
    assert (ended.code, ended.out) == (2, "")
    assert "--service: expected either" in ended.err
    assert f"--config: {file}: opa.requests" in ended.err


def test_the_example_of_the_help_stops_no_cluster_while_a_laptop_sleeps(program: CommandLine) -> None:
    shown = " ".join(program("webhook", "--help").out.split())
    assert "--url https://gate.example.com/validate/SECRET --failure-policy Ignore | kubectl apply" in shown


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://gate.example.com", "https://gate.example.com/validate"),
        ("https://gate.example.com/", "https://gate.example.com/validate"),
        ("https://gate.example.com//", "https://gate.example.com/validate"),
        ("https://gate.example.com/validate/", "https://gate.example.com/validate"),
        ("https://gate.example.com/validate/s3cret/", "https://gate.example.com/validate/s3cret"),
        ("https://gate.example.com:8443/validate/s3cret", "https://gate.example.com:8443/validate/s3cret"),
        ("https://[2001:db8::1]/x", "https://[2001:db8::1]/x"),
    ],
)
def test_an_address_outside_the_cluster(given: str, url: str, program: CommandLine) -> None:
    webhook = entry(program, "--url", given, "--exclude-namespace", "a", "--exclude-namespace", "kube-system")
    assert webhook["clientConfig"] == {"url": url}
    assert excluded(webhook) == ["kube-system", "a"]


def test_the_ca_bundle_is_published(program: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(pair().ca_bundle)
    webhook = entry(program, *SERVICE, "--ca-file", file, "--failure-policy", "ignore", "--timeout-seconds", "5")
    assert base64.b64decode(webhook["clientConfig"]["caBundle"]) == file.read_bytes()
    assert (webhook["failurePolicy"], webhook["timeoutSeconds"]) == ("Ignore", 5)


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        ([], ["--service: expected either"]),
        ([*SERVICE, "--url", "https://a"], ["--service: expected either"]),
        (["--service", "gate"], ["--namespace: expected together"]),
        (["--url", "https://a", "--namespace", "x"], ["--namespace: expected together"]),
        (
            ["--url", "http://a", "--name", "A.b", "--exclude-namespace", "ok", "--exclude-namespace", "BAD NS"],
            [f"--name: {LABEL}, not 'A.b'", f"--exclude-namespace: {LABEL}, not 'BAD NS'", "--url: expected https://"],
        ),
        (
            ["--service", "Bad_Name", "--namespace", "Also Bad", "--ca-file", "/missing"],
            [
                f"--service: {LABEL}, not 'Bad_Name'",
                f"--namespace: {LABEL}, not 'Also Bad'",
                "--ca-file: /missing: cannot be read: No such file",
            ],
        ),
        (["--service", "", "--namespace", "a" * 64], [f"--service: {LABEL}, not ''", f"--namespace: {LABEL}, not 'aa"]),
        (["--service", "-a", "--namespace", "a\n"], [f"--service: {LABEL}", rf"--namespace: {LABEL}, not 'a\n'"]),
        (["--url", ""], ["--url: expected https://"]),
        (["--url", "https://x/val idate"], ["--url: expected https://"]),
        (["--url", "https://x/validate\n"], ["--url: expected https://"]),
        (["--url", "https://x/\N{LATIN SMALL LETTER E WITH ACUTE}"], ["--url: expected https://"]),
        (["--url", "https://x/%zz"], ["--url: expected https://"]),
        (["--url", "https://a?"], ["--url: expected https://"]),
        (["--url", "https://user@a/"], ["--url: expected https://"]),
        (["--url", "https://a/?x=1"], ["--url: expected https://"]),
        (["--url", "https://a/#x"], ["--url: expected https://"]),
        (["--url", "https://a:b/"], ["--url: expected https://"]),
        (["--url", "https://a:0/"], ["--url: expected https://"]),
        (["--url", "https:///validate"], ["--url: expected https://"]),
    ],
)
def test_every_problem_is_reported_and_nothing_is_printed(
    arguments: list[str], problems: list[str], program: CommandLine
) -> None:
    ended = program("webhook", *arguments)
    assert (ended.code, ended.out) == (2, "")
    lines = ended.err.splitlines()[1:]
    assert len(lines) == len(problems)
    assert all(line.strip().startswith(problem) for line, problem in zip(lines, problems, strict=True))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"-----BEGIN CERTIFICATE-----\nAAAA",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        pair().key,
        pair().ca_bundle + pair().key,
    ],
)
def test_a_file_with_a_key_or_without_cas_is_rejected(content: bytes, program: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(content)
    ended = program("webhook", *SERVICE, "--ca-file", file)
    assert (ended.code, ended.out) == (2, "")
    assert f"--ca-file: {file}: expected PEM certificates and no key" in ended.err


def test_the_address_is_not_repeated_for_its_path_may_be_a_secret(program: CommandLine) -> None:
    assert "s3cret" not in program("webhook", "--url", "https://gate.example.com/validate/s3cret value").err


def test_cas_with_text_between_them_are_published(program: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(b"one\n" + pair().ca_bundle + b"two\n" + pair().ca_bundle)
    bundle = base64.b64decode(entry(program, *SERVICE, "--ca-file", file)["clientConfig"]["caBundle"])
    assert bundle.count(b"BEGIN CERTIFICATE") == 2


def test_the_mutating_webhook_is_sent_pods_only(program: CommandLine) -> None:
    ended = program("webhook", *SERVICE, "--name", "gate", "--mutating")
    document = yaml.safe_load(ended.out)
    (webhook,) = document["webhooks"]

    assert (ended.code, ended.err, document["kind"]) == (0, "", "MutatingWebhookConfiguration")
    assert (document["metadata"]["name"], webhook["name"]) == ("gate", "gate.pinning.anchore.io")
    (rule,) = webhook["rules"]
    assert (rule["apiGroups"], rule["resources"]) == ([""], ["pods", "pods/ephemeralcontainers"])
    assert (rule["operations"], rule["scope"]) == (["CREATE", "UPDATE"], "Namespaced")
    assert {key: webhook[key] for key in ("failurePolicy", "reinvocationPolicy", "sideEffects", "timeoutSeconds")} == {
        "failurePolicy": "Ignore",
        "reinvocationPolicy": "IfNeeded",
        "sideEffects": "NoneOnDryRun",
        "timeoutSeconds": 3,
    }
    assert webhook["clientConfig"]["service"]["path"] == "/mutate"


def test_both_webhooks_select_alike(program: CommandLine) -> None:
    given = [*SERVICE, "--name", "gate", "--exclude-namespace", "anchore"]
    mutating, validating = (
        yaml.safe_load(program("webhook", *given, *more).out)["webhooks"][0] for more in (["--mutating"], [])
    )
    for key in ("namespaceSelector", "objectSelector", "matchConditions", "matchPolicy", "admissionReviewVersions"):
        assert mutating[key] == validating[key]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://gate.example.com", "https://gate.example.com/mutate"),
        ("https://gate.example.com/mutate/SECRET", "https://gate.example.com/mutate/SECRET"),
        ("https://gate.example.com/prefix", "https://gate.example.com/prefix"),
    ],
)
def test_the_address_of_the_mutating_webhook(program: CommandLine, url: str, expected: str) -> None:
    document = yaml.safe_load(program("webhook", "--url", url, "--mutating").out)

    assert document["webhooks"][0]["clientConfig"] == {"url": expected}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            ["--url", "https://a.example.com/validate/SECRET", "--mutating"],
            "--url: expected an address whose path begins",
        ),
        (["--url", "https://a.example.com/mutate"], "--url: expected an address whose path begins with /validate"),
        ([*SERVICE, "--mutating", "--failure-policy", "Fail"], "--failure-policy: expected Ignore with --mutating"),
    ],
)
def test_what_does_not_fit_the_kind_is_rejected(program: CommandLine, given: list[str], problem: str) -> None:
    ended = program("webhook", *given)

    assert (ended.code, ended.out) == (2, "")
    assert problem in ended.err
    assert "SECRET" not in ended.err
