"""``anchore-admission config convert``."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.charts import refusal, render
from support.command_line import CommandLine

PASSWORD = "a-password-that-nobody-may-see"
SELECTORS = [
    {
        "Selector": {
            "ResourceType": "image",
            "SelectorKeyRegex": ".*",
            "SelectorValueRegex": r"^registry\.example\.com/",
        },
        "PolicyReference": {"Username": "ops@example.com", "PolicyBundleId": "gate"},
        "Mode": "policy",
    },
    {
        "Selector": {"ResourceType": "image", "SelectorKeyRegex": ".*", "SelectorValueRegex": ".*"},
        "PolicyReference": {"Username": "admin", "PolicyBundleId": "default"},
        "Mode": "breakglass",
    },
]
TO_DECIDE = {**SELECTORS[0], "Selector": {"ResourceType": "image", "SelectorValueRegex": "nginx"}}
CONFIGURATION = {
    "validator": {"requestanalysis": True},
    "AnchoreEndpoint": "http://anchore.anchore.svc:8228",
    "PolicySelectors": SELECTORS,
}
CREDENTIALS = {
    "users": [{"username": "admin", "password": PASSWORD}, {"username": "ops@example.com", "password": f"{PASSWORD}-2"}]
}


@pytest.fixture(name="program")
def _program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    written(tmp_path / "config.json", CONFIGURATION)
    written(tmp_path / "credentials.json", CREDENTIALS)
    return tmp_path


def written(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_the_configuration_is_printed_and_the_report_beside_it(program: CommandLine, folder: Path) -> None:
    ended = program("config", "convert", folder / "config.json", "--credentials", folder / "credentials.json")

    assert ended.code == 0
    assert yaml.safe_load(ended.out) == {
        "anchore": {"endpoint": "http://anchore.anchore.svc:8228"},
        "accounts": [
            {"name": "default", "usernameFile": "/credentials/username", "passwordFile": "/credentials/password"},
            {
                "name": "admin",
                "usernameFile": "/accounts/admin/username",
                "passwordFile": "/accounts/admin/password",
            },
        ],
        "defaults": {"mode": "skip", "enforcement": "audit", "requestAnalysis": True},
        "rules": [
            {"name": "selector-1", "match": {"images": ["registry.example.com/*"]}, "mode": "strict", "policy": "gate"},
            {"name": "selector-2", "mode": "passive", "account": "admin"},
        ],
    }
    assert ended.err.startswith("2 selectors: 2 exact\n")
    assert PASSWORD not in ended.out + ended.err


def test_the_files_fit_together_and_only_secrets_hold_passwords(program: CommandLine, folder: Path) -> None:
    out = folder / "out"
    ended = program(
        *("config", "convert", folder / "config.json", "--credentials", folder / "credentials.json", "--output", out)
    )

    assert (ended.code, ended.err) == (0, "")
    files = {path.name for path in out.iterdir()}
    assert files == {"configuration.yaml", "values.yaml", "secret-default.yaml", "secret-admin.yaml", "report.json"}
    secrets = {path.name: path for path in out.glob("secret-*")}
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.values()} == {0o600}
    assert loaded(secrets["secret-default.yaml"])["stringData"] == {
        "username": "ops@example.com",
        "password": f"{PASSWORD}-2",
    }
    assert [name for name in sorted(files - secrets.keys()) if PASSWORD in (out / name).read_text()] == []
    assert PASSWORD not in ended.out
    values = loaded(out / "values.yaml")
    configuration = loaded(out / "configuration.yaml")
    assert values["anchore"]["credentialsSecret"] == loaded(secrets["secret-default.yaml"])["metadata"]["name"]
    assert values["config"]["rules"] == configuration["rules"]
    assert values["webhook"]["failurePolicy"] == "Ignore"
    assert values["extraVolumes"][0]["secret"]["secretName"] == "anchore-admission-admin"
    assert loaded(out / "report.json")["complete"] is True
    assert program("config", "validate", out / "configuration.yaml").code == 0


def test_a_file_that_exists_is_replaced_only_with_force(program: CommandLine, folder: Path) -> None:
    out = folder / "out"
    out.mkdir()
    elsewhere = written(folder / "elsewhere.yaml", {})
    (out / "secret-default.yaml").symlink_to(elsewhere)
    words = ("config", "convert", folder / "config.json", "--credentials", folder / "credentials.json", "-o", out)

    refused = program(*words)
    assert (refused.code, [path.name for path in out.iterdir()]) == (2, ["secret-default.yaml"])
    assert "secret-default.yaml: exists; give --force to replace it" in refused.err

    assert program(*words, "--force").code == 0
    assert elsewhere.read_text() == "{}"
    assert stat.S_IMODE((out / "secret-default.yaml").lstat().st_mode) == 0o600


def test_what_is_left_to_decide_makes_the_configuration_invalid(program: CommandLine, folder: Path) -> None:
    file = written(folder / "config.json", {**CONFIGURATION, "PolicySelectors": [TO_DECIDE, *SELECTORS]})
    ended = program("config", "convert", file, "--output", folder / "out", "--report", "json")

    assert ended.code == 1
    assert ended.document["complete"] is False
    assert [entry["status"] for entry in ended.document["selectors"]] == ["decide", "exact", "exact"]
    assert [problem["path"] for problem in ended.document["problems"]] == ["rules[0].undecided"]
    validated = program("config", "validate", folder / "out" / "configuration.yaml")
    assert validated.code == 2
    assert "rules[0].undecided: config convert could not convert the selector exactly" in validated.err


def test_the_values_of_the_chart_are_enough(program: CommandLine, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(
        yaml.safe_dump(
            {
                "anchoreEndpoint": "http://anchore:8228",
                "policySelectors": SELECTORS,
                "credentials": CREDENTIALS,
                "requestAnalysis": False,
                "replicaCount": 3,
                "logVerbosity": 6,
                "extraLabels": {"team": "platform"},
                "resources": {"limits": {"memory": "64Mi"}},
                "apiService": {"webhook": {"failurePolicy": "Fail", "rules": [{}]}},
                "colour": "red",
            }
        )
    )
    ended = program("config", "convert", "--values", values, "--output", tmp_path / "out", "--enforcement", "deny")

    assert ended.code == 0
    made = loaded(tmp_path / "out" / "values.yaml")
    assert made["replicaCount"] == 3
    assert made["logging"] == {"level": "debug"}
    assert made["commonLabels"] == {"team": "platform"}
    assert made["webhook"] == {
        "namespaceSelector": {
            "matchExpressions": [{"key": "exclude.admission.anchore.io", "operator": "NotIn", "values": ["true"]}]
        },
        "failurePolicy": "Fail",
    }
    assert made["config"]["defaults"] == {"mode": "skip", "enforcement": "deny", "requestAnalysis": False}
    assert made["config"]["rules"][1]["mode"] == "skip"
    assert "resources" not in made
    assert "  resources is left out" in ended.out
    assert "  apiService.webhook.rules is left out" in ended.out
    assert "  colour is not a value of the Go controller's chart" in ended.out
    assert (tmp_path / "out" / "secret-admin.yaml").exists()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"selectors": SELECTORS}, "selectors is ignored, although the Go controller's README shows it"),
        ({"selectors": SELECTORS}, "PolicySelectors has no entry"),
        ({"validator": {"enabled": True}}, "Validator.enabled has no effect"),
        ({"PolicySelectors": [{**SELECTORS[0], "Extra": 1}]}, "PolicySelectors[0].Extra is not a key"),
        ({"AnchoreEndpoint": f"https://admin:{PASSWORD}@anchore/v2"}, "AnchoreEndpoint is left out"),
        ({"AnchoreEndpoint": f"https://anchore/v2?token={PASSWORD}"}, "AnchoreEndpoint is left out"),
        ({"AnchoreEndpoint": 5}, 'AnchoreEndpoint is not text; the Go controller reads it as "5"'),
        ({"PolicySelectors": [SELECTORS[1], SELECTORS[0]]}, "is never reached: PolicySelectors[0] matches every image"),
        ({"PolicySelectors": SELECTORS}, "credentials are not given"),
    ],
)
def test_what_has_no_effect_is_reported(program: CommandLine, tmp_path: Path, document: Any, said: str) -> None:
    ended = program("config", "convert", written(tmp_path / "config.json", document))

    assert ended.code in {0, 1}
    assert said in ended.err
    assert PASSWORD not in ended.out + ended.err


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        (
            {"users": [{"uesrname": "admin", "password": PASSWORD}]},
            "users[0].uesrname is not a key of credentials.json",
        ),
        ({"users": [{"username": "admin"}, {"username": "admin"}]}, "users[1] names a user that stands further up"),
        ({"users": [{"username": "guest", "password": PASSWORD}]}, "users[0] is a user that no selector names"),
        ({"users": []}, 'user "admin" has no credentials: the Go controller denies every image'),
    ],
)
def test_credentials_that_never_counted_are_reported(
    program: CommandLine, folder: Path, credentials: Any, said: str
) -> None:
    file = written(folder / "credentials.json", credentials)
    ended = program("config", "convert", folder / "config.json", "--credentials", file)

    assert said in ended.err
    assert PASSWORD not in ended.out + ended.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"PolicySelectors": "all"}', "PolicySelectors: expected a list; the Go controller does not start with it"),
        ('{"a": 1, "b"', "is not valid JSON"),
        ("", "expected one document with the configuration"),
        ('{"Mode": 1, "mode": 2}', "chance decides which counts"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error(program: CommandLine, tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    ended = program("config", "convert", file)

    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_a_directory_that_cannot_be_written_is_an_error(program: CommandLine, folder: Path) -> None:
    ended = program("config", "convert", folder / "config.json", "--output", folder / "config.json")

    assert ended.code == 2
    assert "cannot be written" in ended.err


def test_the_chart_makes_the_same_configuration_of_the_values(program: CommandLine, folder: Path) -> None:
    out = folder / "out"
    program("config", "convert", folder / "config.json", "--credentials", folder / "credentials.json", "--output", out)

    release = render(loaded(out / "values.yaml"))

    assert yaml.safe_load(release.configuration()) == loaded(out / "configuration.yaml")
    assert {volume["secret"]["secretName"] for volume in release.pod()["volumes"] if "secret" in volume} >= {
        loaded(path)["metadata"]["name"] for path in out.glob("secret-*")
    }
    assert release.webhook()["failurePolicy"] == "Ignore"


def test_the_chart_rejects_values_with_something_to_decide(program: CommandLine, folder: Path) -> None:
    file = written(folder / "config.json", {**CONFIGURATION, "PolicySelectors": [TO_DECIDE]})
    program("config", "convert", file, "--output", folder / "out")

    assert "additional properties 'undecided' not allowed" in refusal(loaded(folder / "out" / "values.yaml"))


@pytest.mark.parametrize(
    ("namespaces", "code", "said"),
    [
        ({"kind": "List", "items": [{"kind": "Namespace", "metadata": {"name": "shop"}}]}, 0, "policy: checked\n"),
        (
            {"kind": "NamespaceList", "apiVersion": "v1", "items": [{"metadata": {"name": "dev"}}]},
            1,
            "policy: to decide\n",
        ),
        ({"kind": "List", "items": []}, 2, "expected namespaces, as kubectl get namespaces -o json prints them"),
    ],
)
def test_selectors_for_namespaces_are_checked_on_those_of_the_cluster(
    program: CommandLine, folder: Path, namespaces: Any, code: int, said: str
) -> None:
    selector = {"ResourceType": "namespace", "SelectorKeyRegex": "name", "SelectorValueRegex": "^shop$"}
    file = written(
        folder / "config.json", {**CONFIGURATION, "PolicySelectors": [{**SELECTORS[0], "Selector": selector}]}
    )
    ended = program("config", "convert", file, "--namespaces", written(folder / "namespaces.json", namespaces))

    assert ended.code == code
    assert said in ended.err


def test_a_release_without_values_has_those_of_its_chart(program: CommandLine, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("null\n")
    ended = program("config", "convert", "--values", values, "--output", tmp_path / "out")

    assert ended.code == 1
    assert "policySelectors is not given: the chart's default is used, which admits every image" in ended.out
    assert loaded(tmp_path / "out" / "values.yaml")["config"]["rules"] == [{"name": "selector-1", "mode": "passive"}]
