"""The configuration file from values: the original chart's values, `config`, credentials; and NOTES about them."""

from typing import Any

import pytest
import yaml

from anchore_admission.documents.reader import load_documents
from anchore_admission.models.configuration import ModeName
from anchore_admission.services.config.load import parse_configuration
from support.charts import ANCHORE, ENDPOINT, EVERYTHING, NAMESPACE, RELEASE, Rendered, Values, merged, notes, render
from support.examples import renewed
from support.paths import ROOT

STRICT, ANALYSIS = {"enableStrictGating": True}, {"enableAnalysisGating": True}
BUNDLE = {"anchore": {"policybundle": "bundle"}}
PRODUCTION = {"name": "production", "match": {"namespaces": ["prod-*"]}, "mode": "strict"}


def _configuration(rendered: Rendered) -> Any:
    parse_configuration(rendered.configuration(), "configuration.yaml")
    return yaml.safe_load(rendered.configuration())


@pytest.mark.parametrize(
    ("values", "defaults"),
    [
        ({}, {"mode": "passive", "requestAnalysis": True}),
        (ANALYSIS, {"mode": "analysis", "requestAnalysis": True}),
        (STRICT, {"mode": "strict", "requestAnalysis": True}),
        (merged(STRICT, ANALYSIS), {"mode": "strict", "requestAnalysis": True}),
        (merged(STRICT, {"requestAnalysis": False}), {"mode": "strict", "requestAnalysis": False}),
        (merged(STRICT, BUNDLE), {"mode": "strict", "requestAnalysis": True, "policy": "bundle"}),
        (merged(STRICT, {"anchore": {"policybundle": ""}}), {"mode": "strict", "requestAnalysis": True}),
        (merged(ANALYSIS, BUNDLE), {"mode": "analysis", "requestAnalysis": True}),
        (BUNDLE, {"mode": "passive", "requestAnalysis": True}),
        ({"config": {"defaults": {"mode": "skip"}}}, {"mode": "skip"}),
    ],
)
def test_the_original_charts_values_work_as_they_did(values: Values, defaults: Values) -> None:
    configuration = _configuration(render(merged(ANCHORE, values)))
    assert configuration["anchore"] == {"endpoint": "http://anchore:8228"}
    assert configuration["defaults"] == defaults


def test_credentials_given_as_values_become_a_secret() -> None:
    rendered = render(merged(ENDPOINT, {"anchore": {"username": "admin", "password": "f:oo\"'bar"}}))
    assert rendered.get("Secret", f"{RELEASE}-anchore")["data"] == {"username": "YWRtaW4=", "password": "ZjpvbyInYmFy"}
    _expect_credentials(rendered, f"{RELEASE}-anchore")


def test_credentials_of_an_existing_secret_are_mounted() -> None:
    rendered = render(merged(ANCHORE, {"anchore": {"credentialsSecret": "mine"}}))
    assert ("Secret", f"{RELEASE}-anchore") not in rendered.names()
    _expect_credentials(rendered, "mine")


def _expect_credentials(rendered: Rendered, secret: str) -> None:
    items = [_item("password"), _item("username")]
    assert _credentials(rendered) == {"secretName": secret, "optional": True, "items": items}
    (account,) = _configuration(rendered)["accounts"]
    assert account == {
        "name": "default",
        "usernameFile": "/credentials/username",
        "passwordFile": "/credentials/password",
    }
    mounts = {mount["name"]: mount["mountPath"] for mount in rendered.container()["volumeMounts"]}
    assert mounts["credentials"] == "/credentials"


@pytest.mark.parametrize(
    ("certificates", "optional"),
    [({"mode": "existingSecret", "existingSecret": "mine"}, True), ({"mode": "certManager"}, None)],
)
def test_a_missing_certificate_of_ones_own_does_not_hold_the_pod_without_a_log(
    certificates: Values, optional: bool | None
) -> None:
    volumes = render(merged(ANCHORE, {"certificates": certificates})).pod()["volumes"]
    (volume,) = (it for it in volumes if it["name"] == "tls")
    assert volume["secret"].get("optional") is optional


def _credentials(rendered: Rendered) -> Any:
    (volume,) = (it for it in rendered.pod()["volumes"] if it["name"] == "credentials")
    return volume["secret"]


def _item(key: str) -> Values:
    return {"key": key, "path": key}


@pytest.mark.parametrize(
    ("config", "arguments", "keys"),
    [
        ({"accounts": [{"name": "default", "apiKeyFile": "/credentials/key"}]}, [], ["key"]),
        ({"anchore": {"caFile": "/credentials/ca.crt"}}, [], ["ca.crt", "password", "username"]),
        ({}, ["--client-ca-file=/credentials/clients"], ["clients", "password", "username"]),
        ({}, ["--client-ca-file", "/credentials/clients"], ["clients", "password", "username"]),
        ({}, ["--client-ca-file=/vault/credentials/clients"], ["password", "username"]),
        (
            {
                "rules": [{"name": "a", "match": {"images": ["registry.example.com/credentials/app"]}}],
                "messages": {"notice": "See https://wiki/credentials/howto or /credentials/howto."},
            },
            [],
            ["password", "username"],
        ),
        (
            {"accounts": [{"name": "a", "usernameFile": "/vault/credentials/u", "passwordFile": "/credentials/p"}]},
            [],
            ["p", "password", "username"],
        ),
        (
            {"accounts": [{"name": "a", "apiKeyFile": "/k", "caFile": "/credentials/0123"}]},
            [],
            ["0123", "password", "username"],
        ),
        (
            {"accounts": [{"name": "a", "apiKeyFile": "/credentials/a/key"}], "rules": [{"name": "a", "account": "a"}]},
            [],
            ["password", "username"],
        ),
        ({"accounts": [{"name": "default", "apiKeyFile": "/elsewhere"}]}, [], None),
    ],
)
def test_the_keys_that_are_named_are_mounted(config: Values, arguments: list[str], keys: list[str] | None) -> None:
    rendered = render(merged(ANCHORE, {"config": config, "extraArgs": arguments}))
    expected = {"secretName": "credentials", "optional": True} | (
        {"items": [_item(key) for key in keys]} if keys else {}
    )
    assert _credentials(rendered) == expected


@pytest.mark.parametrize(
    "values",
    [
        {"extraEnvFrom": [{"secretRef": {"name": "s"}}]},
        {"extraEnv": [{"name": "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_API_KEY", "value": "k"}]},
        {"extraEnv": [{"name": f"ANCHORE_ADMISSION_ACCOUNT_DEFAULT_{it}"} for it in ("USERNAME", "PASSWORD")]},
        {"config": {"defaults": {"mode": "skip"}}},
    ],
)
def test_credentials_in_variables_are_not_mounted(values: Values) -> None:
    rendered = render(merged(ENDPOINT, values))
    assert "accounts" not in _configuration(rendered)
    assert "credentials" not in {volume["name"] for volume in rendered.pod()["volumes"]}


@pytest.mark.parametrize(
    ("accounts", "expected"),
    [
        ([{"name": "other", "apiKeyFile": "/k"}], {"default": "/credentials/username", "other": None}),
        ([{"name": "default", "anchoreAccount": "team"}], {"default": "/credentials/username"}),
        ([{"name": "default", "usernameFile": "/u", "passwordFile": "/p"}], {"default": "/u"}),
        ([{"name": "default", "apiKeyFile": "/k"}], {"default": None}),
    ],
)
def test_the_credentials_are_the_default_accounts_unless_it_has_its_own(accounts: Any, expected: Values) -> None:
    values = {"anchore": {"credentialsSecret": "mine"}, "config": {"accounts": accounts}}
    found = _configuration(render(merged(ANCHORE, values)))["accounts"]
    assert {account["name"]: account.get("usernameFile") for account in found} == expected


def test_a_shared_store_reads_its_secrets_from_mounted_files() -> None:
    rendered = render(EVERYTHING["shared store"])
    section = _configuration(rendered)["sharedStore"]
    assert section["clusterName"] == f"{NAMESPACE}/{RELEASE}"
    assert {key: value for key, value in section.items() if key.endswith(("File", "Directory"))} == {
        "keyDirectory": "/shared-store-seal",
        "usernameFile": "/shared-store-credentials/username",
        "passwordFile": "/shared-store-credentials/password",
        "caFile": "/shared-store-ca/ca.crt",
    }
    volumes = {it["name"]: it for it in rendered.pod()["volumes"]}
    assert volumes["shared-store-seal"]["secret"] == {"secretName": "seal", "optional": True}
    items = [_item("password"), _item("username")]
    assert volumes["shared-store-credentials"]["secret"] == {"secretName": "store", "optional": True, "items": items}
    assert volumes["shared-store-ca"]["configMap"] == {"name": "ca", "optional": True, "items": [_item("ca.crt")]}
    mounts = {it["name"]: it for it in rendered.container()["volumeMounts"] if it["name"].startswith("shared-store")}
    assert mounts == {
        name: {"name": name, "mountPath": f"/{name}", "readOnly": True}
        for name in ("shared-store-seal", "shared-store-credentials", "shared-store-ca")
    }


def test_a_shared_store_behind_sentinels() -> None:
    rendered = render(EVERYTHING["shared store behind Sentinels"])
    section = _configuration(rendered)["sharedStore"]
    assert (section["clusterName"], section["timeout"]) == ("prod-eu/gate", "20ms")
    assert (section["topology"], section["sentinelService"]) == ("sentinel", "gate")
    assert "usernameFile" not in section
    volumes = {it["name"]: it for it in rendered.pod()["volumes"]}
    assert volumes["shared-store-credentials"]["secret"]["items"] == [
        {"key": "redis-password", "path": "password"},
        {"key": "sentinel-password", "path": "sentinelPassword"},
    ]
    assert section["sentinelPasswordFile"] == "/shared-store-credentials/sentinelPassword"
    assert volumes["shared-store-ca"]["secret"]["secretName"] == "ca"


def test_without_a_shared_store_nothing_of_it_is_rendered() -> None:
    rendered = render(ANCHORE)
    assert "sharedStore" not in _configuration(rendered)
    assert [it["name"] for it in rendered.pod()["volumes"] if "store" in it["name"]] == []


def test_config_is_the_file_key_for_key() -> None:
    text = renewed((ROOT / "examples" / "configuration" / "every-key.yaml").read_text())
    [example] = load_documents(text, source="example", aliases=False)
    assert _configuration(render({"config": example})) == example


def test_numbers_and_yamls_off_survive_helm() -> None:
    config = {"workloads": False, "limits": {"body": 8388608, "anchoreResponse": 268435456}}
    parsed = parse_configuration(render(merged(ANCHORE, {"config": config})).configuration(), "configuration.yaml")
    assert (parsed.limits.body, parsed.limits.anchore_response, parsed.workloads) == (8388608, 268435456, "off")


def test_the_sandbox_takes_anchores_place_and_marks_its_verdicts() -> None:
    rendered = render(merged({"sandbox": {"enabled": True}}, STRICT))
    configuration = parse_configuration(rendered.configuration(), "configuration.yaml")
    assert str(configuration.anchore.endpoint) == f"http://{RELEASE}-sandbox:8228/"
    assert rendered.get("Service", f"{RELEASE}-sandbox")["spec"]["ports"][0]["port"] == 8228
    assert configuration.messages.notice == "This verdict comes from the embedded sandbox, not from Anchore."
    assert configuration.defaults.mode is ModeName.STRICT
    own = render({"sandbox": {"enabled": True}, "config": {"messages": {"notice": "Ask Ada."}}})
    notice = parse_configuration(own.configuration(), "configuration.yaml").messages.notice
    assert notice == "This verdict comes from the embedded sandbox, not from Anchore. Ask Ada."
    assert "THIS IS A TRIAL" in notes({"sandbox": {"enabled": True}})


def test_the_sandbox_is_given_its_seed() -> None:
    seed = {"analysisTime": 1, "images": [{"tag": "docker.io/library/alpine:3.20"}]}
    rendered = render({"sandbox": {"enabled": True, "seed": seed}})
    assert yaml.safe_load(rendered.get("ConfigMap", f"{RELEASE}-sandbox")["data"]["seed.yaml"]) == seed
    assert "--seed=/seed/seed.yaml" in rendered.pod(f"{RELEASE}-sandbox")["containers"][0]["args"]


RULES = {"config": {"rules": [PRODUCTION]}}
CHART_REGISTERS = {"webhook": {"registration": "chart"}, "certificates": {"mode": "certManager"}}
IN_PLACE = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


@pytest.mark.parametrize(
    ("values", "policy"),
    [
        ({}, "Ignore"),
        (ANALYSIS, "Fail"),
        (STRICT, "Fail"),
        (RULES, "Fail"),
        ({"config": {"rules": [{"name": "a", "mode": "passive"}, {"name": "b"}]}}, "Ignore"),
        ({"config": {"rules": [{"name": "a", "mode": "skip"}]}}, "Ignore"),
        ({"config": {"rules": [{"name": "a", "modeFrom": {"label": "m", "allowed": {"x": "strict"}}}]}}, "Fail"),
        ({"config": {"rules": [{"name": "a", "modeFrom": {"label": "m", "allowed": {"x": "skip"}}}]}}, "Ignore"),
        (merged(ANALYSIS, {"config": {"rules": [{"name": "a", "mode": "passive"}]}}), "Fail"),
        ({"config": {"defaults": {"mode": "strict"}}}, "Fail"),
        ({"config": {"defaults": {"onError": "warn"}}}, "Ignore"),
        (merged(STRICT, {"webhook": {"failurePolicy": "Ignore"}}), "Ignore"),
        ({"webhook": {"failurePolicy": "Fail"}}, "Fail"),
    ],
)
def test_the_failure_policy_follows_the_modes_unless_it_is_given(values: Values, policy: str) -> None:
    assert render(merged(ANCHORE, values)).webhook()["failurePolicy"] == policy


@pytest.mark.parametrize(
    ("values", "shown", "hidden"),
    [
        ({}, ["helm test --namespace security", "enableStrictGating=true"], ["TRIAL", "is ignored", "credentials"]),
        (BUNDLE, ["anchore.policybundle bundle is ignored"], []),
        (merged(STRICT, BUNDLE), ["Default mode: strict", "reject objects"], ["is ignored", "The next step"]),
        ({"config": {"defaults": {"mode": "passive"}}}, ["config.defaults.mode=strict"], []),
        ({"webhook": {"excludedNamespaces": ["anchore"]}}, [], ["excludedNamespaces"]),
        (
            {"anchore": {"credentialsSecret": ""}, "extraEnvFrom": [{"secretRef": {"name": "s"}}]},
            ["Anchore, of cert-manager", "ANCHORE_ADMISSION_ACCOUNT_<NAME>_USERNAME and ..._PASSWORD"],
            [],
        ),
        (merged(STRICT, CHART_REGISTERS), ["until the first replica responds", "webhook.failurePolicy=Ignore"], []),
        (CHART_REGISTERS, [], ["Helm registers the webhook at once"]),
        (
            {"hostNetwork": True, "replicaCount": 3},
            ["one replica runs per node", "one node more\nthan the 3 of the replicas"],
            [],
        ),
        ({"hostNetwork": True, "strategy": IN_PLACE}, [], ["one replica runs per node"]),
        ({"hostNetwork": True, "strategy": {"type": "Recreate"}}, [], ["one replica runs per node"]),
        ({"hostNetwork": True, "replicaCount": None}, ["one node more\nthan those of the replicas"], []),
        ({"config": None, "webhook": {"excludedNamespaces": None}}, ["excludedNamespaces is empty"], []),
        ({}, ["WARNING: image.repository is the default, localhost/anchore-admission"], ["replicaCount"]),
        (
            {"image": {"repository": "registry.example.com/gate", "digest": f"sha256:{'a' * 64}"}},
            [f"Image: registry.example.com/gate@sha256:{'a' * 64}\n"],
            ["image.repository"],
        ),
        ({"replicaCount": None}, ["replicaCount is null", "minReplicas: 2"], []),
        ({"replicaCount": None, "autoscaling": {"enabled": True}}, [], ["replicaCount is null"]),
        ({"service": {"type": "NodePort"}}, ["service.type is NodePort: clients outside the cluster"], []),
    ],
)
def test_the_notes_name_the_next_step_and_doubtful_values(values: Values, shown: list[str], hidden: list[str]) -> None:
    said = notes(merged(ANCHORE, values))
    assert [text for text in shown if text not in said] == []
    assert [text for text in hidden if text in said] == []
