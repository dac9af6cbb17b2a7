"""Rejection of wrong values: contradictions by the chart, single values by the schema, rules by the program."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from anchore_admission.errors import ConfigurationError
from anchore_admission.sandbox.seed_file import load_seed
from anchore_admission.services.config.load import parse_configuration
from anchore_admission.wiring.controller import build
from support.charts import ANCHORE, CHART, ENDPOINT, Values, merged, refusal, render
from support.command_line import CommandLine

STRICT, ANALYSIS = {"enableStrictGating": True}, {"enableAnalysisGating": True}
BUNDLE = {"anchore": {"policybundle": "bundle"}}
SANDBOX = {"sandbox": {"enabled": True}}
DEFAULTS_IN_CONFIG = {"config": {"defaults": {"mode": "strict"}}}
STORE = {"url": "rediss://valkey"}
NAMED = {"clusterName": "a/b", "keyDirectory": "/keys"}
SIDECAR = {"enabled": True, "policyConfigMaps": ["policies"]}
TOKEN = {"existingSecret": "s"}
OPA: list[tuple[Values, str]] = [
    ({"sidecar": {"enabled": True}}, "opa.sidecar.policies: needed"),
    ({"url": "http://opa:8181", "sidecar": SIDECAR}, "opa.url: not together with opa.sidecar.enabled"),
    ({"url": "https://opa:8181", "caConfigMap": "a", "caSecret": "b"}, "opa.caConfigMap: not together with"),
    ({"url": "http://opa:8181", "caSecret": "b"}, "opa.url: expected https:// with a CA or a client certificate"),
    ({"url": "http://opa:8181", "clientCertificate": TOKEN, "token": TOKEN}, "opa.url: expected https:// with a CA"),
    ({"sidecar": SIDECAR, "token": TOKEN}, "opa.url: needed with the ConfigMap and the Secrets of opa"),
]
FACTS: list[tuple[Values, str]] = [
    ({}, "facts.enabled: needs a guard"),
    ({"clientCertificates": {"names": ["a"]}}, "facts.clientCertificates: names and a CA"),
    ({"clientCertificates": TOKEN}, "facts.clientCertificates: names and a CA"),
    ({"clientCertificates": {**TOKEN, "caConfigMap": "c", "names": ["a"]}}, "facts.clientCertificates: give the CA in"),
    ({"tokenReview": {"audience": "a"}}, "facts.tokenReview: audience and users are needed together"),
    ({"token": TOKEN, "tokenReview": {"users": ["a"]}}, "facts.tokenReview: audience and users are needed together"),
]
CERTIFICATE = "-----BEGIN CERTIFICATE-----"
EXISTING = {"mode": "existingSecret", "existingSecret": "mine"}
_ACCOUNT = "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_"
USER = [{"name": f"{_ACCOUNT}USERNAME", "value": "u"}]
USER_AND_PASSWORD = [*USER, {"name": f"{_ACCOUNT}PASSWORD", "value": "p"}]


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ["anchore.endpoint: needed", "anchore.credentialsSecret: needed"]),
        (ENDPOINT, ["anchore.credentialsSecret: needed"]),
        (merged(ANCHORE, {"config": ENDPOINT}), ["anchore.endpoint: not together with config.anchore.endpoint"]),
        (merged(ANCHORE, STRICT, DEFAULTS_IN_CONFIG), ["config.defaults: not together with enableStrictGating"]),
        (merged(ANCHORE, ANALYSIS, DEFAULTS_IN_CONFIG), ["config.defaults: not together with"]),
        (merged(ANCHORE, BUNDLE, DEFAULTS_IN_CONFIG), ["config.defaults: not together with"]),
        (merged(ANCHORE, {"requestAnalysis": False}, DEFAULTS_IN_CONFIG), ["config.defaults: not together with"]),
        (merged(ENDPOINT, {"anchore": {"username": "u"}}), ["anchore.username: needed together with anchore.password"]),
        (merged(ENDPOINT, {"anchore": {"password": "p"}}), ["anchore.username: needed together with anchore.password"]),
        (merged(ANCHORE, {"anchore": {"username": "u", "password": "p"}}), ["anchore.credentialsSecret: not together"]),
        (merged(ANCHORE, {"anchore": {"password": "p"}}), ["anchore.credentialsSecret: not together"]),
        *(
            (merged(SANDBOX, values), ["sandbox.enabled: not together with an endpoint or credentials of Anchore"])
            for values in (
                ENDPOINT,
                {"anchore": {"credentialsSecret": "s"}},
                {"anchore": {"username": "u"}},
                {"config": ENDPOINT},
                {"config": {"accounts": [{"name": "a"}, {"name": "b", "endpoint": "http://b"}]}},
            )
        ),
        (merged(ANCHORE, {"certificates": {"mode": "existingSecret"}}), ["certificates.existingSecret: needed"]),
        (merged(ANCHORE, {"certificates": {"existingSecret": "s"}}), ["only with certificates.mode existingSecret"]),
        (merged(ANCHORE, {"certificates": {"caBundle": CERTIFICATE}}), ["only with certificates.mode existingSecret"]),
        (merged(ANCHORE, {"webhook": {"registration": "chart"}}), ["webhook.registration chart: not with"]),
        (
            merged(ANCHORE, {"webhook": {"registration": "chart"}, "certificates": EXISTING}),
            ["certificates.caBundle: needed"],
        ),
        *(
            (
                merged(ANCHORE, {"certificates": {**EXISTING, "existingSecret": f"anchore-admission-{it}"}}),
                [f"certificates.existingSecret: not anchore-admission-{it}, which the chart itself creates"],
            )
            for it in ("tls", "certificate", "ca")
        ),
        (
            merged(
                ANCHORE,
                {
                    "webhook": {"registration": "chart", "secretPath": {"existingSecret": "s"}},
                    "certificates": {"mode": "certManager"},
                },
            ),
            ["webhook.secretPath: not with webhook.registration chart"],
        ),
        *(
            (merged(ANCHORE, {"webhook": {"clientCertificates": it}}), ["are needed together"])
            for it in ({"names": ["a"]}, {"existingSecret": "s"}, {"caConfigMap": "c"})
        ),
        (
            merged(
                ANCHORE,
                {"webhook": {"clientCertificates": {"existingSecret": "s", "caConfigMap": "c", "names": ["a"]}}},
            ),
            ["webhook.clientCertificates: give the CA in existingSecret or in caConfigMap"],
        ),
        (
            merged(ANCHORE, {"networkPolicy": {"enabled": True, "egress": {"enabled": True}}}),
            ["networkPolicy.egress.rules: needed with networkPolicy.egress.enabled"],
        ),
        (merged(ANCHORE, {"ports": {"webhook": 8080}}), ["ports.webhook and ports.operations: expected different"]),
        (
            merged(ANCHORE, {"ports": {"notifications": 8443}, "notifications": {"existingSecret": "s"}}),
            ["ports.notifications: expected another port than ports.webhook, not 8443 again"],
        ),
        (
            merged(ANCHORE, {"ports": {"notifications": 8080}, "notifications": {"existingSecret": "s"}}),
            ["ports.notifications: expected another port than ports.operations, not 8080 again"],
        ),
        (merged(ANCHORE, {"fullnameOverride": "1x"}), ["fullnameOverride: needed", "cannot be named 1x"]),
        (merged(ANCHORE, {"fullnameOverride": "Gate"}), ["fullnameOverride: needed", "use lower-case letters"]),
        (merged(ANCHORE, {"fullnameOverride": "it's"}), ["a Service cannot be named it's"]),
        (merged(ANCHORE, {"nameOverride": "Gate"}), ["cannot be named anchore-admission-Gate"]),
        (merged(ANCHORE, {"serviceAccount": {"create": False}}), ["serviceAccount.name: expected an account of"]),
        (merged(ANCHORE, {"serviceAccount": {"create": False, "name": "default"}}), ["not default: every Pod"]),
        (merged(ANCHORE, {"serviceAccount": {"name": "default"}}), ["not default: every Pod"]),
        (merged(ANCHORE, {"namespaceOverride": "kube-system"}), ["the namespace must not be kube-system"]),
        (merged(ANCHORE, {"shutdownDelay": "40s"}), ["terminationGracePeriodSeconds: expected at least 50"]),
        (merged(ANCHORE, {"shutdownDelay": "1m30s"}), ["terminationGracePeriodSeconds: expected at least 100"]),
        (merged(ANCHORE, {"sharedStore": STORE}), ["sharedStore.seal.existingSecret: needed with sharedStore.url"]),
        (merged(ANCHORE, {"sharedStore": {"caSecret": "ca"}}), ["sharedStore.url: needed with the Secrets"]),
        (
            merged(ANCHORE, {"sharedStore": {**STORE, "caSecret": "a", "caConfigMap": "b"}}),
            ["sharedStore.caConfigMap: not together with sharedStore.caSecret"],
        ),
        (
            merged(ANCHORE, {"sharedStore": STORE, "config": {"sharedStore": {**STORE, **NAMED}}}),
            ["sharedStore.url: not together with config.sharedStore"],
        ),
        *((merged(ANCHORE, {"opa": opa}), [said]) for opa, said in OPA),
        *((merged(ANCHORE, {"facts": {"enabled": True, **facts}}), [said]) for facts, said in FACTS),
        (
            merged(ANCHORE, {"opa": {"url": "http://opa:8181"}, "config": {"opa": {"url": "http://opa:8181"}}}),
            ["opa: not together with config.opa"],
        ),
        (
            merged(ANCHORE, {"opa": {"sidecar": SIDECAR}, "ports": {"opa": 8080}}),
            ["ports.opa: expected another port than ports.operations, not 8080 again"],
        ),
        (
            merged(
                ANCHORE,
                {"opa": {"sidecar": SIDECAR}, "facts": {"enabled": True, "token": TOKEN}, "ports": {"facts": 8282}},
            ),
            ["ports.opa: expected another port than ports.facts, not 8282 again"],
        ),
        (
            merged(ANCHORE, {"proxy": {"exceptions": ["x"]}, "extraEnv": [{"name": "NO_PROXY", "value": "y"}]}),
            ["proxy.exceptions: not together with NO_PROXY"],
        ),
        *(
            (
                merged(ANCHORE, {"config": {"timeouts": {"margin": margin}}, "webhook": {"timeoutSeconds": 5}}),
                ["config.timeouts.margin: expected less than webhook.timeoutSeconds, which is 5"],
            )
            for margin in ("5s", 5, "4900ms100ms", 7.5)
        ),
        (
            merged(ANCHORE, {"autoscaling": {"enabled": True, "minReplicas": 4, "maxReplicas": 3}}),
            ["autoscaling.maxReplicas: expected at least autoscaling.minReplicas, which is 4"],
        ),
    ],
)
def test_contradictions_name_their_values_all_at_once(values: Values, expected: list[str]) -> None:
    said = refusal(values)
    assert [text for text in expected if text not in said] == [], said


@pytest.mark.parametrize(
    "values",
    [
        {"image": {"repository": "registry.example.com:5000/a/b"}},
        {"image": {"repository": "gate", "tag": "1"}},
        {"serviceMonitor": {"interval": "1d12h"}},
        {"serviceMonitor": {"interval": "1m30s"}},
        {"serviceAccount": {"create": False, "name": "gate"}},
        {"networkPolicy": {"enabled": False, "egress": {"enabled": True}}},
        {"autoscaling": {"enabled": True, "minReplicas": 3, "maxReplicas": 3}},
        {"config": {"timeouts": {"margin": 9.9}}},
        {"securityContext": {"privileged": False, "procMount": "Default"}},
        {"podSecurityContext": {"fsGroup": 1000, "supplementalGroups": [1], "runAsUser": 1000}},
        {"replicaCount": None},
        # values that a copy of the original chart's values leaves empty
        {"existingCredentialsSecret": None, "credentials": {}, "anchoreEndpoint": "", "containerSecurityContext": {}},
        {"fullnameOverride": None, "priorityClassName": None, "extraLabels": {}, "annotations": {}},
    ],
)
def test_unusual_but_valid_values_are_accepted(values: Values) -> None:
    assert render(merged(ANCHORE, values)).objects


@pytest.mark.parametrize(("release", "name"), [("0123", "0123-anchore-admission"), ("1.2", "1-2-anchore-admission")])
def test_a_release_that_no_service_can_be_called_after_needs_another_name(release: str, name: str) -> None:
    said = refusal(ANCHORE, release=release)
    assert f"fullnameOverride: needed, as a Service cannot be named {name}" in said


LEAVE = "leave it out"
HOOK = {"webhook": {"enabled": False, "failurePolicy": "Ignore", "rules": [{}], "caBundle": "QQ=="}}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"config": {"passive": {"refreshInterval": "1m"}, "analysis": {"concurrency": 1}}},
            {"config.passive.refreshInterval": "config.tags.refreshInterval", "config.analysis": "config.submissions"},
        ),
        ({"config": {"limits": {"answer": 4096}}}, {"config.limits.answer": "config.limits.anchoreResponse"}),
        ({"anchoreEndpoint": "http://anchore"}, {"anchoreEndpoint": "anchore.endpoint"}),
        ({"existingCredentialsSecret": "s"}, {"existingCredentialsSecret": "anchore.credentialsSecret"}),
        ({"credentialsSecret": "s"}, {"credentialsSecret": "anchore.credentialsSecret"}),
        ({"credentials": {"users": [{"username": "u"}]}}, {"credentials": "anchore.credentialsSecret"}),
        ({"policySelectors": [{"Mode": "breakglass"}]}, {"policySelectors": "config.rules"}),
        ({"image": "anchore/kubernetes-admission-controller:v0.8.4"}, {"image": "image.repository with image.tag"}),
        ({"imagePullPolicy": "Always"}, {"imagePullPolicy": "image.pullPolicy"}),
        ({"logVerbosity": 0}, {"logVerbosity": "logging.level"}),
        ({"annotations": {"a": "b"}}, {"annotations": "commonAnnotations"}),
        ({"labels": {"a": "b"}, "extraLabels": {"a": "b"}}, {"labels": "commonLabels", "extraLabels": "commonLabels"}),
        ({"containerSecurityContext": {"privileged": False}}, {"containerSecurityContext": "securityContext"}),
        (
            {"apiService": HOOK},
            {
                "apiService.webhook.enabled": LEAVE,
                "apiService.webhook.failurePolicy": "webhook.failurePolicy",
                "apiService.webhook.rules": LEAVE,
                "apiService.webhook.caBundle": "certificates.caBundle",
            },
        ),
        (
            {"apiService": {"group": "g", "version": "v", "namespaceSelector": {"matchLabels": {"a": "b"}}}},
            {
                "apiService.group": LEAVE,
                "apiService.version": LEAVE,
                "apiService.namespaceSelector": "webhook.namespaceSelector and webhook.excludedNamespaces",
            },
        ),
        ({"apiService": {"else": 1}}, {"apiService": "webhook.failurePolicy"}),
        (
            {"service": {"name": "n", "type": "ClusterIP", "internalPort": 8443, "externalPort": 443}},
            {
                "service.name": "fullnameOverride",
                "service.internalPort": "ports.webhook",
                "service.externalPort": LEAVE,
            },
        ),
        ({"initCa": {"image": "cfssl/cfssl"}}, {"initCa": "certificates.mode"}),
        *(
            ({"securityContext": {key: value}}, {f"securityContext.{key}": f"podSecurityContext.{key}"})
            for key, value in {
                "fsGroup": 1000,
                "fsGroupChangePolicy": "OnRootMismatch",
                "runAsUser": 1000,
                "runAsGroup": 1000,
                "runAsNonRoot": True,
                "seLinuxOptions": {"level": "s0"},
                "seccompProfile": {"type": "RuntimeDefault"},
                "supplementalGroups": [1000],
                "sysctls": [{"name": "net.core.somaxconn", "value": "1024"}],
            }.items()
        ),
        (
            {"podSecurityContext": {"readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}},
            {
                "podSecurityContext.readOnlyRootFilesystem": "securityContext.readOnlyRootFilesystem",
                "podSecurityContext.capabilities": "securityContext.capabilities",
            },
        ),
    ],
)
def test_a_value_with_another_name_now_is_rejected_by_that_name(values: Values, expected: dict[str, str]) -> None:
    lines = [line.strip() for line in refusal(merged(ANCHORE, values)).splitlines() if line.startswith("  ")]
    found = {path: said for path, _, said in (line.partition(": ") for line in lines)}
    assert found.keys() == expected.keys(), lines
    assert [path for path in expected if expected[path] not in found[path]] == [], found


RULE = {"name": "a"}
SELECTOR: dict[str, Any] = {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}


def _program(config: Values, program: CommandLine) -> str:
    """Return what the program reports about the configuration that the chart renders."""
    ended = program("config", "validate", "-", stdin=render(merged(ANCHORE, {"config": config})).configuration())
    assert ended.code == 2, ended.out
    return ended.err


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"rules": [RULE, {"name": "b"}, RULE]}, "rules[2].name: "),
        ({"rules": [{"name": "defaults"}]}, "rules[0].name: "),
        ({"rules": [{**RULE, "account": "x"}]}, "rules[0].account: "),
        ({"defaults": {"account": "x"}}, "defaults.account: "),
        ({"accounts": [{"name": "a", "usernameFile": "/u"}]}, "accounts[1]: "),
        ({"accounts": [{"name": "default", "passwordFile": "/p"}]}, "accounts[0]: "),
        (
            {"accounts": [{"name": "a", "usernameFile": "/u", "passwordFile": "/p", "apiKeyFile": "/k"}]},
            "accounts[1]: ",
        ),
        ({"accounts": [{"name": "a.b"}, {"name": "A-b"}]}, "accounts[2].name: "),
        ({"rules": [{**RULE, "match": {"objectSelector": SELECTOR}}]}, "match.objectSelector.matchExpressions[0]: "),
        ({"rules": [{**RULE, "match": {"objectSelector": {}}}]}, "match.objectSelector: "),
        ({"timeouts": {"connect": "0s"}}, "timeouts.connect: "),
        ({"timeouts": {"read": 0}}, "timeouts.read: "),
        ({"timeouts": {"read": "23h60m1s"}}, "timeouts.read: "),
        ({"passive": {"wait": -1}}, "passive.wait: "),
        ({"tags": {"refreshInterval": "999ms"}}, "tags.refreshInterval: "),
        ({"limits": {"body": 1023}}, "limits.body: "),
        ({"limits": {"anchoreResponse": "257MiB"}}, "limits.anchoreResponse: "),
    ],
)
def test_the_program_rejects_mistakes_that_involve_several_values(
    config: Values, expected: str, program: CommandLine
) -> None:
    assert expected in _program(config, program)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"config": {"accounts": [{"name": "a"}], "defaults": {"account": "a"}}}, "anchore.endpoint"),
        ({"config": {"accounts": [{"name": "a", "endpoint": "http://a"}]}}, "anchore.endpoint"),
        (merged(SANDBOX, {"config": {"messages": {"notice": "n" * 137}}}), "messages.notice: "),
    ],
)
def test_the_program_rejects_mistakes_in_parts_that_the_chart_completes(
    values: Values, expected: str, program: CommandLine
) -> None:
    ended = program("config", "validate", "-", stdin=render(values).configuration())
    assert (ended.code, expected in ended.err) == (2, True), ended.err


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (merged(ENDPOINT, {"extraEnv": USER}), "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_PASSWORD: expected, because"),
        (
            merged(ANCHORE, {"extraEnv": USER_AND_PASSWORD}),
            "expected without files",
        ),
        (merged(ENDPOINT, {"config": {"defaults": {"mode": "strict"}}}), "account default: has no credentials"),
        (
            merged(ANCHORE, {"config": {"accounts": [{"name": "a.b"}], "defaults": {"account": "a.b"}}}),
            "ANCHORE_ADMISSION_ACCOUNT_A_B_USERNAME",
        ),
    ],
)
def test_the_program_rejects_unusable_credentials_at_startup(values: Values, expected: str) -> None:
    rendered = render(values)
    environ = {it["name"]: it["value"] for it in rendered.container()["env"] if "value" in it}
    configuration = parse_configuration(rendered.configuration(), "configuration.yaml")
    with pytest.raises(ConfigurationError) as caught:
        build(configuration, environ=environ, wait_until_valid=True)
    assert expected in str(caught.value)


ACCOUNT = "system:serviceaccount:shop:web"


def _expression(value: str) -> Values:
    return {"objectSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", value]}]}}


@pytest.mark.parametrize(
    ("match", "place"),
    [
        ({"images": ["nginx:*", "^nginx.*"]}, "images[1]"),
        ({"images": ["nginx.*"]}, "images[0]"),
        ({"images": [".*"]}, "images[0]"),
        ({"images": ["registry.example.com/.*"]}, "images[0]"),
        ({"images": [r"registry\.example\.com/app$"]}, "images[0]"),
        ({"images": ["(nginx|redis)"]}, "images[0]"),
        ({"images": ["ngin[x]"]}, "images[0]"),
        ({"images": ["https://registry.example.com/*"]}, "images[0]"),
        ({"images": ["docker://nginx"]}, "images[0]"),
        ({"images": ["nginx,redis"]}, "images[0]"),
        ({"namespaces": ["^shop$"]}, "namespaces[0]"),
        ({"namespaces": ["prod-.*"]}, "namespaces[0]"),
        ({"namespaces": ["Shop"]}, "namespaces[0]"),
        ({"namespaces": ["a,b"]}, "namespaces[0]"),
        ({"namespaces": ["a_b"]}, "namespaces[0]"),
        ({"kinds": ["pod"]}, "kinds[0]"),
        ({"kinds": ["deployments"]}, "kinds[0]"),
        ({"kinds": ["apps/v1/Deployment"]}, "kinds[0]"),
        ({"kinds": ["v1/Pod"]}, "kinds[0]"),
        ({"kinds": ["Rollout"]}, "kinds[0]"),
        ({"serviceAccounts": [ACCOUNT]}, "serviceAccounts[0]"),
        ({"serviceAccounts": ["^web$"]}, "serviceAccounts[0]"),
        ({"objectSelector": {"matchLabels": {"app": "demoapp*"}}}, "objectSelector.matchLabels.app"),
        ({"objectSelector": {"matchLabels": {"app": "-a"}}}, "objectSelector.matchLabels.app"),
        (_expression("demo*"), "objectSelector.matchExpressions[0].values[1]"),
    ],
)
def test_the_program_rejects_a_pattern_that_can_never_match(match: Values, place: str, program: CommandLine) -> None:
    assert f"rules[0].match.{place}: " in _program({"rules": [{"name": "a", "match": match}]}, program)


@pytest.mark.parametrize(
    "config",
    [
        {"timeouts": {"connect": "1ms", "read": "24h", "margin": 9.9}},
        {
            "passive": {"wait": 0},
            "tags": {"refreshInterval": "1s"},
            "limits": {"body": "1KiB", "anchoreResponse": "256MiB"},
        },
        {"accounts": [{"name": "a", "endpoint": "https://[fd00::1]:65535/v1/"}], "rules": [{**RULE, "policy": None}]},
        {"rules": [{**RULE, "match": {}}, {"name": "b", "match": {"images": ["*"]}}]},
        {"accounts": [{"name": "unused"}], "rules": [{**RULE, "account": "unused", "mode": "skip"}]},
        {"rules": [{**RULE, "match": {"images": ["quay.io/a/*:1.*", "[fd00::1]:5000/*", "*.example.com/*", "a?b"]}}]},
        {"rules": [{**RULE, "match": {"namespaces": ["prod-*", "?"], "kinds": ["Pod", "apps/Deployment", "batch/*"]}}]},
        {"rules": [{**RULE, "match": {"serviceAccounts": ["shop/web", "web", "*"], "users": [ACCOUNT]}}]},
        {"rules": [{**RULE, "match": {"objectSelector": {"matchLabels": {"app": "", "example.com/a": "b_c.d"}}}}]},
    ],
)
def test_the_chart_accepts_every_configuration_that_the_program_accepts(config: Values) -> None:
    parse_configuration(render(merged(ANCHORE, {"config": config})).configuration(), "configuration.yaml")


@pytest.mark.parametrize("namespace", ["default", "kube-system"])
def test_a_release_has_a_namespace_of_its_own(namespace: str) -> None:
    assert f"the namespace must not be {namespace}" in refusal(ANCHORE, namespace=namespace)


def _selecting(**expression: Any) -> Values:
    return {"webhook": {"namespaceSelector": {"matchExpressions": [{"operator": "In", **expression}]}}}


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"replicas": 2}, "'replicas"),
        ({"anchore": {"endpont": ""}}, "/anchore"),
        ({"anchore": {"endpoint": "anchore:8228"}}, "/anchore/endpoint"),
        ({"anchore": {"endpoint": "http://anchore:65536"}}, "/anchore/endpoint"),
        ({"anchore": {"policybundle": "b" * 1025}}, "/anchore/policybundle"),
        ({"config": {"rulez": []}}, "/config"),
        ({"config": {"rules": [{"name": "a", "mode": "strickt"}]}}, "/config/rules/0/mode"),
        ({"webhook": {"timeoutSeconds": 31}}, "/webhook/timeoutSeconds"),
        ({"webhook": {"failurePolicy": "fail"}}, "/webhook/failurePolicy"),
        ({"webhook": {"excludedNamespaces": ["Anchore"]}}, "/webhook/excludedNamespaces/0"),
        ({"webhook": {"namespaceSelector": {"matchLabels": {"a b": "c"}}}}, "/webhook/namespaceSelector/matchLabels"),
        ({"webhook": {"namespaceSelector": {"matchLabels": {"a": "c-"}}}}, "/webhook/namespaceSelector/matchLabels/a"),
        (_selecting(key="-", values=["a"]), "/webhook/namespaceSelector/matchExpressions/0/key"),
        (_selecting(key="UPPER.example.com/a", values=["a"]), "/webhook/namespaceSelector/matchExpressions/0/key"),
        (_selecting(key="a", values=["b c"]), "/webhook/namespaceSelector/matchExpressions/0/values/0"),
        (_selecting(key="a"), "/webhook/namespaceSelector/matchExpressions/0"),
        (_selecting(key="a", values=[]), "/webhook/namespaceSelector/matchExpressions/0/values"),
        (
            _selecting(key="a", operator="Exists", values=["b"]),
            "/webhook/namespaceSelector/matchExpressions/0/values",
        ),
        ({"config": {"accounts": [{"name": "a", "endpoint": "http://a:65536"}]}}, "/config/accounts/0/endpoint"),
        ({"config": {"accounts": [{"name": "a", "endpoint": "http://u:p@a"}]}}, "/config/accounts/0/endpoint"),
        ({"config": {"messages": {"notice": ""}}}, "/config/messages/notice"),
        *(
            ({"image": {"repository": repository}}, "/image/repository")
            for repository in ("registry.example.com:5000/a/b:1.2", "gate:1", f"a/gate@sha256:{'a' * 64}")
        ),
        ({"image": {"registry": "https://registry.example.com"}}, "/image/registry"),
        ({"global": {"imageRegistry": "registry.example.com/"}}, "/global/imageRegistry"),
        ({"imagePullSecrets": ["registry"]}, "/imagePullSecrets/0"),
        *(({"serviceMonitor": {"interval": it}}, "/serviceMonitor/interval") for it in ("1.5m", "30", "30s1m", "")),
        ({"dnsPolicy": "None"}, "/dnsConfig"),
        ({"proxy": {"exceptions": ["10.0.0.0/8"]}}, "/proxy/exceptions/0"),
        *(
            ({values: {f"app.kubernetes.io/{name}": "mine"}}, f"/{values}/app.kubernetes.io~1{name}")
            for values in ("commonLabels", "podLabels")
            for name in ("component", "instance", "name", "part-of")
        ),
        ({"commonLabels": {"helm.sh/chart": "mine"}}, "/commonLabels/helm.sh~1chart"),
        ({"commonLabels": {"app.kubernetes.io/managed-by": "me"}}, "/commonLabels/app.kubernetes.io~1managed-by"),
        ({"service": {"type": "ExternalName"}}, "/service/type"),
        ({"livenessProbe": {"httpGet": {"path": "/"}}}, "/livenessProbe"),
        ({"autoscaling": {"minReplicas": 0}}, "/autoscaling/minReplicas"),
        ({"podLabels": {"a": "b c"}}, "/podLabels/a"),
        ({"certificates": {"mode": "cert-manager"}}, "/certificates/mode"),
        ({"image": {"digest": "sha256:1"}}, "/image/digest"),
        ({"ports": {"webhook": 443}}, "/ports/webhook"),
        ({"host": "localhost"}, "/host"),
        *(({"sharedStore": {"url": url}}, "/sharedStore/url") for url in ("rediss://u:p@valkey", "valkey:6379")),
        ({"sharedStore": {"clusterName": "a:b"}}, "/sharedStore/clusterName"),
        ({"sharedStore": {"moreServers": ["valkey"]}}, "/sharedStore/moreServers/0"),
        ({"clusterDomain": ".cluster.local"}, "/clusterDomain"),
        ({"extraEnv": [{"value": "v"}]}, "/extraEnv/0"),
        ({"sandbox": {"seed": {"imagez": []}}}, "/sandbox/seed"),
        ({"sandbox": {"seed": {"faults": [{"mode": "slow", "paths": 1}]}}}, "/sandbox/seed/faults/0/paths"),
    ],
)
def test_the_schema_rejects_a_value_that_is_wrong_by_itself(values: Values, place: str) -> None:
    assert f"{place}'" in refusal(merged(ANCHORE, values))


SEEDS = [
    {"images": [{"tag": f"docker.io/{'a' * 120}:1", "findings": [{"id": "C", "severity": "High", "package": "p"}]}]},
    {"registry": [{"tag": ["docker.io/a/b:1", "docker.io/a/c:1"], "error": "REGISTRY_IMAGE_NOT_FOUND"}]},
    {
        "faults": [
            {"mode": "slow", "delay": 0.2, "paths": "/images"},
            {"mode": "hang", "paths": ["/images/*"], "times": 1},
        ]
    },
    {"accounts": [{"name": "a", "users": [{"username": "u", "password": "p"}]}], "apiVersions": ["v2"]},
]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_schema_accepts_every_seed_that_the_sandbox_accepts(seed: Values) -> None:
    rendered = render(merged(SANDBOX, {"sandbox": {"seed": seed}}))
    (text,) = (it["data"]["seed.yaml"] for it in rendered.objects if "seed.yaml" in it.get("data", {}))
    load_seed(text, "seed.yaml")


DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
FREE = {"resources", "strategy", "podSecurityContext", "securityContext"}
"""Values that are passed to Kubernetes unchanged."""
NULLABLE = {"replicaCount", "targetCPUUtilizationPercentage"}
"""Values with a default for which null has a meaning."""


def _nulls(values: dict[str, Any], wanted: Callable[[str, Any], bool]) -> dict[str, Any]:
    """Return a null for every value whose key and default are wanted."""
    nulls: dict[str, Any] = {}
    for key, default in values.items():
        if wanted(key, default):
            nulls[key] = None
        elif isinstance(default, dict) and key not in FREE:
            nulls[key] = _nulls(default, wanted)
    return nulls


def test_a_null_is_as_good_as_empty() -> None:
    nulls = _nulls(DEFAULTS, lambda key, default: key in FREE or default in ("", [], {}))
    assert render(merged(nulls, ANCHORE)).objects


@pytest.mark.parametrize(
    "wanted",
    [
        lambda key, default: isinstance(default, dict) and default and key not in FREE,
        lambda key, default: not isinstance(default, dict) and default not in ("", [], None) and key not in NULLABLE,
    ],
    ids=["sections", "values"],
)
def test_a_null_for_a_required_value_is_named(wanted: Callable[[str, Any], bool]) -> None:
    nulls = _nulls(DEFAULTS, wanted)
    said = refusal(nulls)
    assert [name for name in _names(nulls) if f"'{name}'" not in said] == []


def _names(nulls: dict[str, Any]) -> list[str]:
    return [name for key, it in nulls.items() for name in ([key] if it is None else _names(it))]
