"""A wrong value fails `helm install` with a message that names it, before any Pod does."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from anchore_admission.errors import ConfigurationError
from anchore_admission.sandbox.seed_file import load_seed
from anchore_admission.services.config.load import parse_configuration
from support.charts import ANCHORE, CHART, ENDPOINT, Values, merged, refusal, render

STRICT, ANALYSIS = {"enableStrictGating": True}, {"enableAnalysisGating": True}
BUNDLE = {"anchore": {"policybundle": "bundle"}}
SANDBOX = {"sandbox": {"enabled": True}}
CERTIFICATE = "-----BEGIN CERTIFICATE-----"
EXISTING = {"mode": "existingSecret", "existingSecret": "mine"}
RANGE = ["10.0.0.0/8"]
TAGLESS = "expected without tag and digest, which are image.tag and image.digest"
USER = [{"name": "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_USERNAME", "value": "u"}]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, ["anchore.endpoint: needed", "anchore.credentialsSecret: needed"]),
        (merged(ENDPOINT, {"config": ENDPOINT}), ["anchore.endpoint and config.anchore.endpoint"]),
        ({"config": {"accounts": [{"name": "a"}]}}, ["anchore.endpoint: needed"]),
        ({"config": {"accounts": [{"name": "a", "endpoint": "http://a"}]}}, ["account default has no endpoint"]),
        (merged(ANCHORE, STRICT, {"config": {"defaults": {"mode": "strict"}}}), ["enableStrictGating: not together"]),
        (
            merged(ANCHORE, ANALYSIS, BUNDLE, {"requestAnalysis": False, "config": {"defaults": {"mode": "strict"}}}),
            ["enableAnalysisGating, requestAnalysis, anchore.policybundle: not together with config.defaults"],
        ),
        (ENDPOINT, ["anchore.credentialsSecret: needed", "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_USERNAME"]),
        (merged(ENDPOINT, {"extraEnv": USER}), ["anchore.credentialsSecret: needed"]),
        (merged(ANCHORE, {"extraEnv": USER}), ["DEFAULT_USERNAME: not together with files"]),
        (
            merged(ANCHORE, {"config": {"accounts": [{"name": "a.b"}], "defaults": {"account": "a.b"}}}),
            ["account a.b, which is asked with, has no credentials", "ANCHORE_ADMISSION_ACCOUNT_A_B_USERNAME"],
        ),
        (merged(ENDPOINT, {"anchore": {"username": "u"}}), ["anchore.username and anchore.password belong together"]),
        (merged(ENDPOINT, {"anchore": {"password": "p"}}), ["anchore.username and anchore.password belong together"]),
        (merged(ANCHORE, {"anchore": {"username": "u", "password": "p"}}), ["anchore.credentialsSecret: not together"]),
        (
            merged(ANCHORE, SANDBOX),
            ["not together with anchore.endpoint", "not together with anchore.credentialsSecret"],
        ),
        (merged(SANDBOX, {"config": ENDPOINT}), ["sandbox.enabled: not together with config.anchore.endpoint"]),
        (
            merged(SANDBOX, {"config": {"accounts": [{"name": "a"}, {"name": "b", "endpoint": "http://b"}]}}),
            ["sandbox.enabled: not together with config.accounts[1].endpoint"],
        ),
        (
            merged(SANDBOX, {"config": {"messages": {"notice": "n" * 137}}}),
            ["config.messages.notice: expected at most 136"],
        ),
        (merged(ANCHORE, {"certificates": {"mode": "existingSecret"}}), ["certificates.existingSecret: needed"]),
        (merged(ANCHORE, {"certificates": {"existingSecret": "s"}}), ["certificates.existingSecret: only with"]),
        (merged(ANCHORE, {"certificates": {"caBundle": CERTIFICATE}}), ["certificates.caBundle: only with"]),
        (merged(ANCHORE, {"webhook": {"registration": "chart"}}), ["webhook.registration chart: not with"]),
        (
            merged(ANCHORE, {"webhook": {"registration": "chart"}, "certificates": EXISTING}),
            ["certificates.caBundle: needed"],
        ),
        (
            merged(ANCHORE, {"networkPolicy": {"enabled": True, "egress": {"enabled": True}}}),
            ["networkPolicy.egress.rules: needed with networkPolicy.egress.enabled, or Anchore is out of reach"],
        ),
        (merged(ANCHORE, {"ports": {"webhook": 8080}}), ["ports.webhook and ports.operations must differ"]),
        (merged(ANCHORE, {"fullnameOverride": "1x"}), ["fullnameOverride: expected lower-case letters", "called 1x"]),
        (merged(ANCHORE, {"fullnameOverride": "Gate"}), ["fullnameOverride: expected lower-case letters"]),
        (merged(ANCHORE, {"fullnameOverride": "it's"}), ["a Service cannot be called it's"]),
        (
            merged(ANCHORE, {"nameOverride": "Gate"}),
            ["nameOverride: expected lower-case", "called anchore-admission-Gate"],
        ),
        (merged(ANCHORE, {"nameOverride": "a_b"}), ["nameOverride: expected lower-case letters, digits and -"]),
        *(
            (merged(ANCHORE, {"image": {"repository": repository}}), [f"image.repository: {TAGLESS}, not {repository}"])
            for repository in ("registry.example.com:5000/a/b:1.2", "gate:1", f"a/gate@sha256:{'a' * 64}")
        ),
        (merged(ANCHORE, {"serviceAccount": {"create": False}}), ["serviceAccount.name: expected an account of"]),
        (merged(ANCHORE, {"serviceAccount": {"create": False, "name": "default"}}), ["not default: its rights"]),
        (merged(ANCHORE, {"serviceAccount": {"name": "default"}}), ["not default: its rights"]),
        *(
            (merged(ANCHORE, {"serviceMonitor": {"interval": it}}), ["serviceMonitor.interval: expected", f"not {it}"])
            for it in ("1.5m", "30", "30s1m", "")
        ),
        *(
            (
                merged(
                    ANCHORE, {"certificates": {"mode": "existingSecret", "existingSecret": f"anchore-admission-{it}"}}
                ),
                [f"certificates.existingSecret: expected another name than anchore-admission-{it}"],
            )
            for it in ("tls", "certificate", "authority")
        ),
        (merged(ANCHORE, {"dnsPolicy": "None"}), ["dnsConfig.nameservers: needed"]),
        (merged(ANCHORE, {"shutdownDelay": "40s"}), ["terminationGracePeriodSeconds: expected at least 50"]),
        (merged(ANCHORE, {"proxy": {"exceptions": RANGE}}), ["proxy.exceptions: 10.0.0.0/8: expected a host name"]),
        (
            merged(ANCHORE, {"proxy": {"exceptions": ["x"]}, "extraEnv": [{"name": "NO_PROXY", "value": "y"}]}),
            ["proxy.exceptions: not together with NO_PROXY"],
        ),
        (
            merged(ANCHORE, {"config": {"timeouts": {"margin": "5s"}}, "webhook": {"timeoutSeconds": 5}}),
            ["config.timeouts.margin: expected less than webhook.timeoutSeconds (5 s), not 5s"],
        ),
        (
            merged(ANCHORE, {"webhook": {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}}),
            ["webhook.namespaceSelector.matchExpressions[0]: In and NotIn need values"],
        ),
        *(
            (
                merged(ANCHORE, {values: {f"app.kubernetes.io/{name}": "mine"}}),
                [f"{values}: app.kubernetes.io/{name} is"],
            )
            for values in ("commonLabels", "podLabels")
            for name in ("component", "instance", "name", "part-of")
        ),
        (merged(ANCHORE, {"commonLabels": {"helm.sh/chart": "mine"}}), ["commonLabels: helm.sh/chart is"]),
        (
            merged(ANCHORE, {"commonLabels": {"app.kubernetes.io/managed-by": "me"}}),
            ["commonLabels: app.kubernetes.io/managed-by is"],
        ),
    ],
)
def test_contradictions_name_their_values_all_at_once(values: Values, told: list[str]) -> None:
    said = refusal(values)
    assert [text for text in told if text not in said] == [], said


@pytest.mark.parametrize(
    "values",
    [
        {"image": {"repository": "registry.example.com:5000/a/b"}},
        {"image": {"repository": "gate", "tag": "1"}},
        {"serviceMonitor": {"interval": "1d12h"}},
        {"serviceMonitor": {"interval": "1m30s"}},
        {"serviceAccount": {"create": False, "name": "gate"}},
        {"networkPolicy": {"enabled": False, "egress": {"enabled": True}}},
        {"networkPolicy": {"enabled": True, "egress": {"enabled": True}}, "config": {"defaults": {"mode": "skip"}}},
        {"securityContext": {"privileged": False, "procMount": "Default"}},
        {"podSecurityContext": {"fsGroup": 1000, "supplementalGroups": [1], "runAsUser": 1000}},
        {"replicaCount": None},
        # what a copy of the original chart's values leaves empty
        {"existingCredentialsSecret": None, "credentials": {}, "anchoreEndpoint": "", "containerSecurityContext": {}},
        {"fullnameOverride": None, "priorityClassName": None, "extraLabels": {}, "annotations": {}},
    ],
)
def test_what_looks_like_it_is_taken(values: Values) -> None:
    assert render(merged(ANCHORE, values)).objects


@pytest.mark.parametrize(("release", "name"), [("0123", "0123-anchore-admission"), ("1.2", "1-2-anchore-admission")])
def test_a_release_that_no_service_can_be_called_after_needs_another_name(release: str, name: str) -> None:
    said = refusal(ANCHORE, release=release)
    assert "fullnameOverride: needed, with this release name: expected" in said
    assert f"a Service cannot be called {name}" in said


LEAVE = "leave it out"
HOOK = {"webhook": {"enabled": False, "failurePolicy": "Ignore", "rules": [{}], "caBundle": "QQ=="}}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"anchoreEndpoint": "http://anchore"}, {"anchoreEndpoint": "anchore.endpoint"}),
        ({"existingCredentialsSecret": "s"}, {"existingCredentialsSecret": "anchore.credentialsSecret"}),
        ({"credentialsSecret": "s"}, {"credentialsSecret": "anchore.credentialsSecret"}),
        ({"credentials": {"users": [{"username": "u"}]}}, {"credentials": "anchore.credentialsSecret"}),
        ({"policySelectors": [{"Mode": "breakglass"}]}, {"policySelectors": "config.rules"}),
        ({"image": "anchore/kubernetes-admission-controller:v0.8.4"}, {"image": "image.repository and image.tag"}),
        ({"image": {"registry": "harbor.example.com"}}, {"image.registry": "image.repository"}),
        ({"imagePullPolicy": "Always"}, {"imagePullPolicy": "image.pullPolicy"}),
        ({"imagePullSecrets": ["registry"]}, {"imagePullSecrets[0]": "{name: registry}"}),
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
                "apiService.namespaceSelector": "webhook.namespaceSelector here, and webhook.excludedNamespaces",
            },
        ),
        ({"apiService": {"else": 1}}, {"apiService": "webhook.failurePolicy"}),
        (
            {"service": {"name": "n", "type": "ClusterIP", "internalPort": 8443, "externalPort": 443}},
            {
                "service.name": "fullnameOverride",
                "service.type": LEAVE,
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
                "sysctls": [],
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
def test_a_value_of_the_original_chart_is_refused_by_its_new_name(values: Values, told: dict[str, str]) -> None:
    lines = [line.strip() for line in refusal(merged(ANCHORE, values)).splitlines() if line.startswith("  ")]
    found = {path: said for path, _, said in (line.partition(": ") for line in lines)}
    assert found.keys() == told.keys(), lines
    assert [path for path in told if told[path] not in found[path]] == [], found


RULE = {"name": "a"}
SELECTOR: dict[str, Any] = {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"rules": [RULE, {"name": "b"}, RULE]}, "config.rules[2].name: is the name of config.rules[0] already"),
        ({"rules": [{"name": "defaults"}]}, "config.rules[0].name: the name defaults stands for"),
        ({"rules": [{**RULE, "account": "x"}]}, "config.rules[0].account: names an account that is not in"),
        ({"defaults": {"account": "x"}}, "config.defaults.account: names an account that is not in"),
        (
            {"accounts": [{"name": "a", "usernameFile": "/u"}]},
            "config.accounts[0]: usernameFile and passwordFile belong",
        ),
        (
            {"accounts": [{"name": "a", "usernameFile": "/u", "passwordFile": "/p", "apiKeyFile": "/k"}]},
            "config.accounts[0]: give either apiKeyFile or",
        ),
        (
            {"accounts": [{"name": "a.b"}, {"name": "A-b"}]},
            "config.accounts[1].name: is the name of config.accounts[0]",
        ),
        (
            {"rules": [{**RULE, "match": {"objectSelector": SELECTOR}}]},
            "config.rules[0].match.objectSelector.matchExpressions[0]: In and NotIn need values",
        ),
        (
            {"rules": [{**RULE, "match": {"objectSelector": {}}}]},
            "objectSelector: give matchLabels or matchExpressions",
        ),
        ({"timeouts": {"connect": "0s"}}, "config.timeouts.connect: expected more than 0s"),
        ({"timeouts": {"read": 0}}, "config.timeouts.read: expected more than 0s"),
        ({"timeouts": {"read": "23h60m1s"}}, "config.timeouts.read: expected at most 24h, not 23h60m1s"),
        ({"passive": {"wait": -1}}, "config.passive.wait: expected at least 0s, not -1"),
        ({"tags": {"refreshInterval": "999ms"}}, "config.tags.refreshInterval: expected at least 1s, not 999ms"),
        ({"limits": {"body": 1023}}, "config.limits.body: expected 1KiB to 256MiB, not 1023"),
        (
            {"limits": {"anchoreResponse": "257MiB"}},
            "config.limits.anchoreResponse: expected 1KiB to 256MiB, not 257MiB",
        ),
        ({"accounts": [{"name": "a", "endpoint": "http://a:65536"}]}, "at '/config/accounts/0/endpoint"),
        ({"accounts": [{"name": "a", "endpoint": "http://u:p@a"}]}, "at '/config/accounts/0/endpoint"),
        ({"messages": {"notice": ""}}, "at '/config/messages/notice"),
    ],
)
def test_what_the_program_refuses_the_chart_refuses(config: Values, told: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_configuration(yaml.safe_dump({"anchore": {"endpoint": "http://anchore"}, **config}), "configuration.yaml")
    assert told in refusal(merged(ANCHORE, {"config": config}))


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
def test_a_pattern_that_can_never_match_is_refused_in_the_words_of_the_program(match: Values, place: str) -> None:
    config = {"rules": [{"name": "a", "match": match}]}
    with pytest.raises(ConfigurationError) as caught:
        parse_configuration(yaml.safe_dump({"anchore": {"endpoint": "http://anchore"}, **config}), "configuration.yaml")
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"rules[0].match.{place}: ")
    assert f"config.{problem}" in refusal(merged(ANCHORE, {"config": config}))


@pytest.mark.parametrize(
    "config",
    [
        {"timeouts": {"connect": "1ms", "read": "24h", "margin": 9.9}},
        {
            "passive": {"wait": 0},
            "tags": {"refreshInterval": "1s"},
            "limits": {"body": "1KiB", "anchoreResponse": "256MiB"},
        },
        {"accounts": [{"name": "a", "endpoint": "https://[fd00::1]:65535/v1/"}], "rules": [{**RULE, "account": None}]},
        {"rules": [{**RULE, "match": {"objectSelector": None}}, {"name": "b", "match": {"images": ["*"]}}]},
        {"accounts": [{"name": "unused"}], "rules": [{**RULE, "account": "unused", "mode": "skip"}]},
        {"rules": [{**RULE, "match": {"images": ["quay.io/a/*:1.*", "[fd00::1]:5000/*", "*.example.com/*", "a?b"]}}]},
        {"rules": [{**RULE, "match": {"namespaces": ["prod-*", "?"], "kinds": ["Pod", "apps/Deployment", "batch/*"]}}]},
        {"rules": [{**RULE, "match": {"serviceAccounts": ["shop/web", "web", "*"], "users": [ACCOUNT]}}]},
        {"rules": [{**RULE, "match": {"objectSelector": {"matchLabels": {"app": "", "example.com/a": "b_c.d"}}}}]},
    ],
)
def test_what_the_program_takes_the_chart_takes(config: Values) -> None:
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
        ({"podLabels": {"a": "b c"}}, "/podLabels/a"),
        ({"certificates": {"mode": "cert-manager"}}, "/certificates/mode"),
        ({"image": {"digest": "sha256:1"}}, "/image/digest"),
        ({"ports": {"webhook": 443}}, "/ports/webhook"),
        ({"host": "localhost"}, "/host"),
        ({"clusterDomain": ".cluster.local"}, "/clusterDomain"),
        ({"extraEnv": [{"value": "v"}]}, "/extraEnv/0"),
        ({"sandbox": {"seed": {"imagez": []}}}, "/sandbox/seed"),
        ({"sandbox": {"seed": {"faults": [{"mode": "slow", "paths": 1}]}}}, "/sandbox/seed/faults/0/paths"),
    ],
)
def test_the_schema_refuses_what_it_does_not_know(values: Values, place: str) -> None:
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
def test_what_the_sandbox_takes_the_schema_takes(seed: Values) -> None:
    rendered = render(merged(SANDBOX, {"sandbox": {"seed": seed}}))
    (text,) = (it["data"]["seed.yaml"] for it in rendered.objects if "seed.yaml" in it.get("data", {}))
    load_seed(text, "seed.yaml")


DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
FREE = {"resources", "strategy", "podSecurityContext", "securityContext"}
"""What goes to Kubernetes as it is."""


def _nulls(values: dict[str, Any], wanted: Callable[[str, Any], bool]) -> dict[str, Any]:
    """A null for every value that is wanted, by its key and default."""
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
        lambda key, default: not isinstance(default, dict) and default not in ("", []) and key != "replicaCount",
    ],
    ids=["sections", "values"],
)
def test_a_null_for_what_is_needed_names_it(wanted: Callable[[str, Any], bool]) -> None:
    nulls = _nulls(DEFAULTS, wanted)
    said = refusal(nulls)
    assert [name for name in _names(nulls) if f"'{name}'" not in said] == []


def _names(nulls: dict[str, Any]) -> list[str]:
    return [name for key, it in nulls.items() for name in ([key] if it is None else _names(it))]
