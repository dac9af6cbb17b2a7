"""From values to the configuration file: the original chart's values, `config`, and what contradicts itself."""

from typing import Any

import pytest
import yaml

from anchore_admission.models.configuration import ModeName
from anchore_admission.services.configuration import parse_configuration
from support.charts import ANCHORE, RELEASE, ROOT, Rendered, Values, merged, notes, refusal, render

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
    rendered = render(merged(ANCHORE, {"anchore": {"username": "admin", "password": "f:oo\"'bar"}}))
    assert rendered.get("Secret", f"{RELEASE}-anchore")["data"] == {"username": "YWRtaW4=", "password": "ZjpvbyInYmFy"}
    _expect_credentials(rendered, f"{RELEASE}-anchore")


def test_credentials_of_an_existing_secret_are_mounted() -> None:
    rendered = render(merged(ANCHORE, {"anchore": {"credentialsSecret": "mine"}}))
    assert ("Secret", f"{RELEASE}-anchore") not in rendered.names()
    _expect_credentials(rendered, "mine")


def _expect_credentials(rendered: Rendered, secret: str) -> None:
    assert {"name": "credentials", "secret": {"secretName": secret}} in rendered.pod()["volumes"]
    (account,) = _configuration(rendered)["accounts"]
    assert account == {
        "name": "default",
        "usernameFile": "/credentials/username",
        "passwordFile": "/credentials/password",
    }
    mounts = {mount["name"]: mount["mountPath"] for mount in rendered.container()["volumeMounts"]}
    assert mounts["credentials"] == "/credentials"


def test_without_credentials_nothing_is_mounted() -> None:
    rendered = render(ANCHORE)
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


def test_config_is_the_file_key_for_key() -> None:
    example = yaml.safe_load((ROOT / "docs" / "examples" / "configuration.yaml").read_text())
    assert _configuration(render({"config": example})) == example


def test_numbers_and_yamls_off_survive_helm() -> None:
    config = {"workloads": False, "limits": {"body": 8388608, "answer": 268435456}}
    parsed = parse_configuration(render(merged(ANCHORE, {"config": config})).configuration(), "configuration.yaml")
    assert (parsed.limits.body, parsed.limits.answer, parsed.workloads) == (8388608, 268435456, "off")


def test_the_sandbox_takes_anchores_place_and_marks_its_verdicts() -> None:
    rendered = render(merged({"sandbox": {"enabled": True}}, STRICT))
    configuration = parse_configuration(rendered.configuration(), "configuration.yaml")
    assert str(configuration.anchore.endpoint) == f"http://{RELEASE}-sandbox:8228/"
    assert rendered.get("Service", f"{RELEASE}-sandbox")["spec"]["ports"][0]["port"] == 8228
    assert configuration.messages.notice == "This verdict comes from the embedded sandbox, not from Anchore."
    assert configuration.defaults.mode is ModeName.STRICT
    assert "THIS IS A TRIAL" in notes({"sandbox": {"enabled": True}})


def test_the_sandbox_is_given_its_seed() -> None:
    seed = {"analysisTime": 1, "images": [{"tag": "docker.io/library/alpine:3.20"}]}
    rendered = render({"sandbox": {"enabled": True, "seed": seed}})
    assert yaml.safe_load(rendered.get("ConfigMap", f"{RELEASE}-sandbox")["data"]["seed.yaml"]) == seed
    assert "--seed=/seed/seed.yaml" in rendered.pod(f"{RELEASE}-sandbox")["containers"][0]["args"]


CERTIFICATE = "-----BEGIN CERTIFICATE-----"
EXISTING = {"mode": "existingSecret", "existingSecret": "mine"}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, ["anchore.endpoint: needed"]),
        (merged(ANCHORE, {"config": ANCHORE}), ["anchore.endpoint and config.anchore.endpoint"]),
        ({"config": {"accounts": [{"name": "a"}]}}, ["anchore.endpoint: needed"]),
        (merged(ANCHORE, STRICT, {"config": {"defaults": {"mode": "strict"}}}), ["enableStrictGating: not together"]),
        (
            merged(ANCHORE, ANALYSIS, BUNDLE, {"requestAnalysis": False, "config": {"defaults": {"mode": "strict"}}}),
            ["enableAnalysisGating, requestAnalysis, anchore.policybundle: not together with config.defaults"],
        ),
        (merged(ANCHORE, {"anchore": {"username": "u"}}), ["anchore.username and anchore.password belong together"]),
        (merged(ANCHORE, {"anchore": {"password": "p"}}), ["anchore.username and anchore.password belong together"]),
        (
            merged(ANCHORE, {"anchore": {"username": "u", "password": "p", "credentialsSecret": "s"}}),
            ["anchore.credentialsSecret: not together"],
        ),
        (
            merged(ANCHORE, {"sandbox": {"enabled": True}, "anchore": {"credentialsSecret": "s"}}),
            ["not together with anchore.endpoint", "not together with anchore.credentialsSecret"],
        ),
        (
            {"sandbox": {"enabled": True}, "config": ANCHORE},
            ["sandbox.enabled: not together with config.anchore.endpoint"],
        ),
        (merged(ANCHORE, {"certificates": {"mode": "existingSecret"}}), ["certificates.existingSecret: needed"]),
        (merged(ANCHORE, {"certificates": {"existingSecret": "s"}}), ["certificates.existingSecret: only with"]),
        (merged(ANCHORE, {"certificates": {"caBundle": CERTIFICATE}}), ["certificates.caBundle: only with"]),
        (merged(ANCHORE, {"webhook": {"registration": "chart"}}), ["webhook.registration chart: not with"]),
        (
            merged(ANCHORE, {"webhook": {"registration": "chart"}, "certificates": EXISTING}),
            ["certificates.caBundle: needed"],
        ),
        (merged(ANCHORE, {"ports": {"webhook": 8080}}), ["ports.webhook and ports.operations must differ"]),
        (merged(ANCHORE, {"fullnameOverride": "1x"}), ["fullnameOverride: needed"]),
        (merged(ANCHORE, {"serviceAccount": {"create": False}}), ["serviceAccount.name: needed"]),
    ],
)
def test_contradictions_name_their_values_all_at_once(values: Values, told: list[str]) -> None:
    said = refusal(values)
    assert [text for text in told if text not in said] == [], said


@pytest.mark.parametrize("namespace", ["default", "kube-system"])
def test_a_release_has_a_namespace_of_its_own(namespace: str) -> None:
    assert f"the namespace must not be {namespace}" in refusal(ANCHORE, namespace=namespace)


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"replicas": 2}, "replicas"),
        ({"anchore": {"endpont": ""}}, "/anchore"),
        ({"anchore": {"endpoint": "anchore:8228"}}, "/anchore/endpoint"),
        ({"config": {"rulez": []}}, "/config"),
        ({"config": {"rules": [{"name": "a", "mode": "strickt"}]}}, "/config/rules/0"),
        ({"webhook": {"timeoutSeconds": 31}}, "/webhook/timeoutSeconds"),
        ({"webhook": {"failurePolicy": "fail"}}, "/webhook/failurePolicy"),
        ({"certificates": {"mode": "cert-manager"}}, "/certificates/mode"),
        ({"image": {"digest": "sha256:1"}}, "/image/digest"),
        ({"ports": {"webhook": 443}}, "/ports/webhook"),
    ],
)
def test_the_schema_refuses_what_it_does_not_know(values: Values, place: str) -> None:
    assert place in refusal(merged(ANCHORE, values))


RULES = {"config": {"rules": [PRODUCTION]}}


@pytest.mark.parametrize(
    ("values", "policy"),
    [
        ({}, "Ignore"),
        (ANALYSIS, "Fail"),
        (STRICT, "Fail"),
        (RULES, "Fail"),
        ({"config": {"rules": [{"name": "a", "mode": "passive"}, {"name": "b"}]}}, "Ignore"),
        ({"config": {"rules": [{"name": "a", "mode": "skip"}]}}, "Ignore"),
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
    ("values", "told", "untold"),
    [
        ({}, ["helm test --namespace security", "enableStrictGating=true", "no credentials"], ["TRIAL", "is ignored"]),
        (BUNDLE, ["anchore.policybundle bundle is ignored"], []),
        (merged(STRICT, BUNDLE), ["Default mode: strict", "refuse objects"], ["is ignored", "To go on"]),
        ({"config": {"defaults": {"mode": "passive"}}}, ["config.defaults.mode=strict"], []),
        ({"webhook": {"excludedNamespaces": ["anchore"]}}, [], ["excludedNamespaces"]),
        ({"anchore": {"credentialsSecret": "s"}}, ["Anchore, of cert-manager"], ["no credentials"]),
    ],
)
def test_the_notes_tell_the_next_step_and_what_is_doubtful(values: Values, told: list[str], untold: list[str]) -> None:
    said = notes(merged(ANCHORE, values))
    assert [text for text in told if text not in said] == []
    assert [text for text in untold if text in said] == []
