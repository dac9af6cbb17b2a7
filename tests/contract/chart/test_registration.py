"""The registration of the webhook by the chart: its entry, certificate and rights."""

import re
from itertools import product
from typing import Any

import pytest
import yaml

from anchore_admission.core.webhook.entry import WebhookKind, WebhookOptions, service_client, webhook_configuration
from support.charts import ANCHORE, NAMESPACE, RELEASE, Rendered, Values, merged, notes, render
from support.paths import ROOT

CA_BUNDLE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
CERTIFICATES: dict[str, Values] = {
    "selfManaged": {"mode": "selfManaged"},
    "certManager": {"mode": "certManager"},
    "existingSecret": {"mode": "existingSecret", "existingSecret": "mine"},
    "existingSecret, caBundle": {"mode": "existingSecret", "existingSecret": "mine", "caBundle": CA_BUNDLE},
}


def _release(certificates: str, registration: str = "controller", values: Values | None = None) -> Rendered:
    choice = {"certificates": CERTIFICATES[certificates], "webhook": {"registration": registration}}
    return render(merged(ANCHORE, choice, values or {}))


@pytest.mark.parametrize("certificates", CERTIFICATES)
def test_the_controller_is_given_an_empty_configuration_and_the_entry_to_fill_in(certificates: str) -> None:
    rendered = _release(certificates)
    assert "webhooks" not in rendered.get("ValidatingWebhookConfiguration")
    assert "spec" not in rendered.get("Lease")
    assert "caBundle" not in rendered.webhook()["clientConfig"]
    assert {
        f"--service={RELEASE}",
        f"--lease={RELEASE}",
        "--registration=/etc/anchore-admission/registration.yaml",
    } <= set(rendered.container()["args"])
    names = {it["name"]: it["valueFrom"]["fieldRef"]["fieldPath"] for it in rendered.container()["env"][:2]}
    assert names == {
        "ANCHORE_ADMISSION_NAMESPACE": "metadata.namespace",
        "ANCHORE_ADMISSION_POD_NAME": "metadata.name",
    }
    assert rendered.pod()["automountServiceAccountToken"] is True


@pytest.mark.parametrize("certificates", ["certManager", "existingSecret, caBundle"])
def test_registered_by_the_chart_the_controller_has_no_part_in_it(certificates: str) -> None:
    rendered = _release(certificates, "chart")
    assert rendered.get("ValidatingWebhookConfiguration")["webhooks"]
    assert "registration.yaml" not in rendered.get("ConfigMap")["data"]
    assert not {"Lease", "Role", "RoleBinding"} & {kind for kind, _ in rendered.names()}
    assert rendered.pod()["automountServiceAccountToken"] is False
    assert not [it for it in rendered.container()["args"] if it.startswith(("--lease", "--registration", "--service"))]


def test_both_render_the_same_entry() -> None:
    by_controller, by_chart = (_release("certManager", owner).webhook() for owner in ("controller", "chart"))
    assert by_controller == by_chart


def test_the_entry_is_the_one_that_the_program_prints() -> None:
    excluded = ["anchore", "cert-manager"]
    client = service_client(RELEASE, NAMESPACE, 443, "/validate")
    (expected,) = webhook_configuration(WebhookOptions(RELEASE, client, excluded=excluded))["webhooks"]
    values = {"enableStrictGating": True, "webhook": {"excludedNamespaces": excluded}}
    found = render(merged(ANCHORE, values)).webhook()
    assert found == expected


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([], [NAMESPACE, "kube-system"]),
        (["anchore", "cni"], [NAMESPACE, "kube-system", "anchore", "cni"]),
        (["kube-system", "anchore", "anchore", NAMESPACE], [NAMESPACE, "kube-system", "anchore"]),
    ],
)
def test_the_own_namespace_and_kube_system_are_never_judged(values: list[str], names: list[str]) -> None:
    selector = render(merged(ANCHORE, {"webhook": {"excludedNamespaces": values}})).webhook()["namespaceSelector"]
    (expression,) = selector["matchExpressions"]
    assert expression == {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": names}


def test_a_namespace_selector_narrows_it_further() -> None:
    more = {"key": "team", "operator": "In", "values": ["a"]}
    given = {"matchLabels": {"judged": "yes"}, "matchExpressions": [more]}
    selector = render(merged(ANCHORE, {"webhook": {"namespaceSelector": given}})).webhook()["namespaceSelector"]
    assert selector["matchLabels"] == {"judged": "yes"}
    assert [it["key"] for it in selector["matchExpressions"]] == ["kubernetes.io/metadata.name", "team"]


@pytest.mark.parametrize("admitted", [True, False])
def test_other_releases_are_let_through_by_default(admitted: bool) -> None:
    rendered = render(merged(ANCHORE, {"webhook": {"admitOtherReleases": admitted}}))
    assert ("not-another-release" in {it["name"] for it in rendered.webhook()["matchConditions"]}) == admitted
    assert (START in _rights(rendered)) == admitted


@pytest.mark.parametrize(
    ("opa", "sends_all"),
    [
        ({}, False),
        ({"requests": ["all"]}, False),
        ({"url": "http://opa"}, False),
        ({"url": "http://opa", "requests": ["all"]}, True),
        ({"sidecar": {"enabled": True, "policyConfigMaps": ["a"]}, "requests": ["images", "all"]}, True),
    ],
)
def test_updates_that_change_no_image_are_sent_where_opa_is_to_see_them(opa: Values, sends_all: bool) -> None:
    values = {"opa": opa, "pinning": {"enabled": True}, "webhook": {"registration": "chart"}}
    rendered = _release("certManager", "chart", values)
    assert ("spec-changes" in {it["name"] for it in rendered.webhook()["matchConditions"]}) is not sends_all
    [mutating] = rendered.get("MutatingWebhookConfiguration")["webhooks"]
    assert "spec-changes" in {it["name"] for it in mutating["matchConditions"]}


def test_without_any_right_there_is_no_cluster_role() -> None:
    alone = {"webhook": {"admitOtherReleases": False}}
    rendered = _release("certManager", "chart", alone)
    assert not {kind for kind, _ in rendered.names() if "Role" in kind}
    assert _rights(_release("certManager", values=alone)) == {LEASE, REGISTRATION}


def test_every_pod_of_a_release_is_recognised_by_another() -> None:
    rendered = render({"sandbox": {"enabled": True}, "nameOverride": "gate", "fullnameOverride": "gate"})
    for it in rendered.objects:
        if it["kind"] in {"Deployment", "Pod"}:
            pod = it["spec"]["template"] if it["kind"] == "Deployment" else it
            assert pod["metadata"]["labels"]["app.kubernetes.io/part-of"] == "anchore-admission"
            assert pod["spec"]["serviceAccountName"] == "gate"
    assert {"apiGroups": ["admission.anchore.io"], "resources": ["controllers"], "verbs": ["start"]} in rendered.get(
        "ClusterRole", "gate"
    )["rules"]


@pytest.mark.parametrize(
    ("certificates", "registration", "arguments", "keys"),
    [
        ("selfManaged", "controller", ["--certificates=managed", f"--tls-secret={RELEASE}-tls"], None),
        (
            "certManager",
            "controller",
            ["--certificates=files", "--ca-file=/tls/ca.crt"],
            ["tls.crt", "tls.key", "ca.crt"],
        ),
        ("certManager", "chart", ["--certificates=files"], ["tls.crt", "tls.key"]),
        (
            "existingSecret",
            "controller",
            ["--certificates=files", "--ca-file=/tls/ca.crt"],
            ["tls.crt", "tls.key", "ca.crt"],
        ),
        (
            "existingSecret, caBundle",
            "controller",
            ["--certificates=files", "--ca-file=/etc/anchore-admission/ca.crt"],
            ["tls.crt", "tls.key"],
        ),
        ("existingSecret, caBundle", "chart", ["--certificates=files"], ["tls.crt", "tls.key"]),
    ],
)
def test_the_certificate_comes_from_the_configured_source(
    certificates: str, registration: str, arguments: list[str], keys: list[str] | None
) -> None:
    rendered = _release(certificates, registration)
    found = [
        it for it in rendered.container()["args"] if it.startswith(("--certificates", "--tls-secret", "--ca-file"))
    ]
    assert found == arguments
    volumes = {it["name"]: it for it in rendered.pod()["volumes"]}
    assert ([it["key"] for it in volumes["tls"]["secret"]["items"]] if "tls" in volumes else None) == keys


def test_secrets_that_others_fill_are_rendered_empty() -> None:
    for certificates, secrets in [
        ("selfManaged", {f"{RELEASE}-tls"}),
        ("certManager", {f"{RELEASE}-certificate", f"{RELEASE}-ca"}),
        ("existingSecret", set()),
    ]:
        found = [it for it in _release(certificates).objects if it["kind"] == "Secret"]
        assert {it["metadata"]["name"] for it in found} == secrets
        assert not any("data" in it or "stringData" in it for it in found)


def test_a_secret_that_cert_manager_recreates_still_belongs_to_the_release() -> None:
    """cert-manager recreates it as kubernetes.io/tls, and the type of a Secret cannot be changed by an upgrade."""
    rendered = _release("certManager")
    template = {
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"meta.helm.sh/release-name": RELEASE, "meta.helm.sh/release-namespace": NAMESPACE},
    }
    certificates = [it["spec"] for it in rendered.objects if it["kind"] == "Certificate"]
    made = {it["secretName"] for it in certificates}
    assert [it["secretTemplate"] for it in certificates] == [template, template]
    assert not any("type" in it for it in rendered.objects if it["kind"] == "Secret" and it["metadata"]["name"] in made)


def test_cert_manager_signs_for_the_service_and_injects_its_ca() -> None:
    rendered = _release("certManager", "chart")
    certificate = rendered.get("Certificate")["spec"]
    assert f"{RELEASE}.{NAMESPACE}.svc" in certificate["dnsNames"]
    assert certificate["issuerRef"] == {"name": RELEASE, "kind": "Issuer"}
    inject = "cert-manager.io/inject-ca-from"
    assert _annotations(rendered)[inject] == f"{NAMESPACE}/{RELEASE}"
    assert inject not in _annotations(_release("certManager"))


def test_aks_leaves_the_registration_as_it_is() -> None:
    """The Admissions Enforcer of AKS would rewrite the namespaceSelector in either registration mode."""
    common = {"commonAnnotations": {"team": "security"}}
    for rendered in (_release("selfManaged", values=common), _release("certManager", "chart", common)):
        assert {"admissions.enforcer/disabled": "true", "team": "security"}.items() <= _annotations(rendered).items()


def _annotations(rendered: Rendered) -> Any:
    return rendered.get("ValidatingWebhookConfiguration")["metadata"]["annotations"]


def test_a_custom_issuer_replaces_the_ca_of_the_release() -> None:
    issuer = {"name": "ca", "kind": "ClusterIssuer"}
    rendered = _release("certManager", values={"certificates": {"certManager": {"issuerRef": issuer}}})
    assert rendered.get("Certificate")["spec"]["issuerRef"] == issuer
    assert "Issuer" not in {kind for kind, _ in rendered.names()}


def test_api_servers_trust_a_given_ca_bundle() -> None:
    client = _release("existingSecret, caBundle", "chart").webhook()["clientConfig"]
    assert client["caBundle"] == "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUIKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="
    assert _release("existingSecret, caBundle").get("ConfigMap")["data"]["ca.crt"] == CA_BUNDLE


LEASE = ("coordination.k8s.io", "leases", RELEASE, "get,patch")
REGISTRATION = ("admissionregistration.k8s.io", "validatingwebhookconfigurations", RELEASE, "get,patch")
CERTIFICATE = ("", "secrets", f"{RELEASE}-tls", "get,patch")
START = ("admission.anchore.io", "controllers", "", "start")


@pytest.mark.parametrize(
    ("certificates", "registration", "rights"),
    [
        ("selfManaged", "controller", {LEASE, REGISTRATION, CERTIFICATE, START}),
        ("certManager", "controller", {LEASE, REGISTRATION, START}),
        ("existingSecret", "controller", {LEASE, REGISTRATION, START}),
        ("certManager", "chart", {START}),
        ("existingSecret, caBundle", "chart", {START}),
    ],
)
def test_rights(certificates: str, registration: str, rights: set[tuple[str, ...]]) -> None:
    assert _rights(_release(certificates, registration)) == rights


SELECTOR = {"namespaceSelector": {"matchLabels": {"env": "prod"}}}
CHOICE = {"namespaceLabel": "policy", "allowed": {"a": "b"}}
EXEMPTION = {"name": "it", "reason": "x", "owner": "team", "expires": "2099-12-31"}
NAMESPACES = {("", "namespaces", "", "get,list,watch")}


@pytest.mark.parametrize(
    ("config", "reads"),
    [
        ({"rules": [{"name": "a"}, {"name": "it", "match": SELECTOR}]}, True),
        ({"rules": [{"name": "it", "match": {"except": SELECTOR}}]}, True),
        ({"rules": [{"name": "it", "policyFrom": CHOICE}]}, True),
        ({"rules": [{"name": "it", "accountFrom": CHOICE}]}, True),
        ({"rules": [{"name": "it", "modeFrom": {**CHOICE, "allowed": {"a": "strict"}}}]}, True),
        ({"exemptions": [{**EXEMPTION, "match": SELECTOR}]}, True),
        ({"exemptions": [{**EXEMPTION, "match": {"names": ["a"], "except": SELECTOR}}]}, True),
        (
            {"rules": [{"name": "it", "match": {"namespaces": ["a"], "objectSelector": {"matchLabels": {"a": "b"}}}}]},
            False,
        ),
        ({"rules": [{"name": "it", "policyFrom": {"label": "policy", "allowed": {"a": "b"}}}]}, False),
        ({"rules": [], "exemptions": [{**EXEMPTION, "match": {"names": ["a"]}}]}, False),
    ],
)
@pytest.mark.parametrize("registration", ["controller", "chart"])
def test_namespaces_are_read_only_if_a_rule_needs_their_labels(
    registration: str, config: dict[str, Any], *, reads: bool
) -> None:
    egress = {"enabled": True, "rules": [{}]}
    values = {"config": config, "networkPolicy": {"enabled": True, "egress": egress}}
    rendered = _release("certManager", registration, values)
    calls = reads or registration == "controller"
    assert {right for right in _rights(rendered) if right[1] == "namespaces"} == (NAMESPACES if reads else set())
    assert rendered.pod()["automountServiceAccountToken"] is calls
    ports = [port["port"] for rule in rendered.get("NetworkPolicy")["spec"]["egress"] for port in rule.get("ports", ())]
    assert (6443 in ports) is calls


def test_the_right_to_read_namespaces_does_not_need_another_one() -> None:
    values = {"config": {"rules": [{"name": "it", "match": SELECTOR}]}, "webhook": {"admitOtherReleases": False}}
    rendered = _release("certManager", "chart", values)
    assert _rights(rendered) == NAMESPACES
    assert "ClusterRoleBinding" in {kind for kind, _ in rendered.names()}


def test_the_rights_are_those_that_a_real_cluster_listed() -> None:
    """tests/data/chart/can-i.txt holds the output of `kubectl auth can-i --list` for the ServiceAccount."""
    text = (ROOT / "tests" / "data" / "chart" / "can-i.txt").read_text()
    listed = {
        (group, resource, names, verbs.replace(" ", ","))
        for resource, group, names, verbs in re.findall(
            r"^(\w+)\.?(\S*) +\[\] +\[(.*)\] +\[(.*)\]$", text, re.MULTILINE
        )
        if not resource.startswith("selfsubject")  # every user may review their own access
    }
    assert listed == _rights(_release("selfManaged"))


def _rights(rendered: Rendered) -> set[tuple[str, ...]]:
    roles = [it for it in rendered.objects if it["kind"] in {"Role", "ClusterRole"}]
    return {
        (group, resource, name, ",".join(rule["verbs"]))
        for role in roles
        for rule in role["rules"]
        for group, resource, name in product(rule["apiGroups"], rule["resources"], rule.get("resourceNames", [""]))
    }


def test_roles_are_bound_to_the_service_account_alone() -> None:
    for created in (True, False):
        account = {"create": created, "name": "custom"}
        rendered = render(merged(ANCHORE, {"serviceAccount": account}))
        bindings = [it for it in rendered.objects if it["kind"].endswith("Binding")]
        assert len(bindings) == 2
        for it in bindings:
            assert it["subjects"] == [{"kind": "ServiceAccount", "name": "custom", "namespace": NAMESPACE}]
        assert (("ServiceAccount", "custom") in rendered.names()) == created
    assert not {"Role", "ClusterRole"} & {
        kind for kind, _ in render(merged(ANCHORE, {"rbac": {"create": False}})).names()
    }


def test_the_test_pod_trusts_the_ca_bundle_of_the_registration() -> None:
    by_controller = _release("selfManaged").get("Pod", f"{RELEASE}-test")
    assert by_controller["spec"]["automountServiceAccountToken"] is True
    assert by_controller["metadata"]["annotations"]["helm.sh/hook"] == "test"
    for certificates in ("certManager", "existingSecret, caBundle"):
        by_chart = _release(certificates, "chart").get("Pod", f"{RELEASE}-test")["spec"]
        assert by_chart["automountServiceAccountToken"] is False
        assert [volume["name"] for volume in by_chart["volumes"]] == ["ca"]


def test_the_notes_explain_how_to_switch_it_off() -> None:
    assert f"kubectl delete validatingwebhookconfiguration {RELEASE}" in notes(ANCHORE)


STRICT_RULE = {"config": {"rules": [{"name": "strict", "mode": "strict"}]}}
IGNORE = {"webhook": {"failurePolicy": "Ignore"}}


@pytest.mark.parametrize(
    ("values", "warned"),
    [
        ({}, False),
        (IGNORE, False),
        ({"enableStrictGating": True}, False),
        (merged({"enableStrictGating": True}, IGNORE), True),
        (merged({"enableAnalysisGating": True}, IGNORE), True),
        (merged(STRICT_RULE, IGNORE), True),
    ],
)
def test_the_notes_warn_of_ignore_where_something_may_be_denied(values: Values, warned: bool) -> None:
    assert ("WARNING: webhook.failurePolicy is Ignore" in notes(merged(ANCHORE, values))) == warned


def _anchore_at(endpoint: str) -> Values:
    return merged(ANCHORE, {"enableStrictGating": True, "anchore": {"endpoint": endpoint}})


OWN_RULE = {
    "enableStrictGating": False,
    "config": {
        "defaults": {"mode": "strict"},
        "rules": [{"name": "own", "match": {"namespaces": ["anchore"], "images": ["anchore/*"]}, "mode": "skip"}],
    },
}
ELSEWHERE = {"config": {"accounts": [{"name": "b", "endpoint": "http://api.other.svc", "apiKeyFile": "/b"}]}}


@pytest.mark.parametrize(
    ("values", "namespaces"),
    [
        (_anchore_at("http://demo-anchore-engine-api.default.svc:8228"), ["default"]),
        (_anchore_at("http://api.default.svc.cluster.local:8228/"), ["default"]),
        (_anchore_at("https://api.anchore.svc"), ["anchore"]),
        (_anchore_at("https://anchore.example.com"), []),
        (_anchore_at("https://anchore.svc.example.com:443"), []),
        (_anchore_at(f"http://api.{NAMESPACE}.svc:8228"), []),
        (merged(_anchore_at("http://api.anchore.svc"), {"enableStrictGating": False}), []),
        (merged(_anchore_at("http://api.anchore.svc"), {"webhook": {"excludedNamespaces": ["anchore"]}}), []),
        (merged(_anchore_at("http://api.anchore.svc"), {"webhook": {"excludedNamespaces": ["calico"]}}), ["anchore"]),
        (merged(_anchore_at("http://api.anchore.svc"), ELSEWHERE), ["anchore", "other"]),
        (merged(_anchore_at("http://api.anchore.svc"), OWN_RULE), []),
        (
            merged(
                _anchore_at("http://api.anchore.svc"),
                {"webhook": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "trial"}}}},
            ),
            [],
        ),
    ],
)
def test_the_notes_name_an_anchore_that_is_reviewed(values: Values, namespaces: list[str]) -> None:
    said = notes(values)
    assert re.findall(r"WARNING: Anchore runs in the namespace (\S+), which is reviewed", said) == namespaces


# The mutating webhook

PINNING: Values = {"pinning": {"enabled": True}, "config": {"defaults": {"pin": "bestEffort"}}}


def _mutating(rendered: Rendered) -> dict[str, Any]:
    """The one entry of the mutating webhook, wherever it stands."""
    live = rendered.get("MutatingWebhookConfiguration")
    if "webhooks" not in live:
        documents = [*yaml.safe_load_all(rendered.get("ConfigMap")["data"]["registration.yaml"])]
        assert [document["kind"] for document in documents] == [kind.value for kind in reversed(WebhookKind)]
        live = documents[0]
    (entry,) = live["webhooks"]
    assert isinstance(entry, dict)
    return entry


@pytest.mark.parametrize("certificates", CERTIFICATES)
def test_without_pinning_there_is_no_mutating_webhook(certificates: str) -> None:
    rendered = _release(certificates)

    assert "MutatingWebhookConfiguration" not in {kind for kind, _ in rendered.names()}
    assert "mutating" not in yaml.safe_dump(rendered.objects).lower()


@pytest.mark.parametrize("owner", ["controller", "chart"])
def test_the_mutating_entry_is_the_one_that_the_program_prints(owner: str) -> None:
    excluded = ["anchore", "cert-manager"]
    client = service_client(RELEASE, NAMESPACE, 443, "/mutate")
    options = WebhookOptions(RELEASE, client, excluded=excluded, kind=WebhookKind.MUTATING)
    (expected,) = webhook_configuration(options)["webhooks"]
    values = merged(PINNING, {"webhook": {"excludedNamespaces": excluded}})
    rendered = _release("certManager", owner, values)

    assert _mutating(rendered) == expected
    annotations = rendered.get("MutatingWebhookConfiguration")["metadata"]["annotations"]
    assert annotations == rendered.get("ValidatingWebhookConfiguration")["metadata"]["annotations"]


def test_the_controller_may_write_only_these_two_configurations() -> None:
    rules = _release("selfManaged", values=PINNING).get("ClusterRole")["rules"]
    (rule,) = [rule for rule in rules if rule["apiGroups"] == ["admissionregistration.k8s.io"]]

    assert rule["resources"] == ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"]
    assert (rule["resourceNames"], rule["verbs"]) == ([RELEASE], ["get", "patch"])


@pytest.mark.parametrize(
    ("values", "warnings"),
    [
        (PINNING, []),
        ({}, []),
        ({"pinning": {"enabled": True}}, ["pinning.enabled is true, but no rule sets pin"]),
        ({"pinning": {"enabled": True}, "config": {"defaults": {"pin": False}}}, ["but no rule sets pin"]),
        ({"config": {"defaults": {"pin": "bestEffort"}}}, ["a rule sets pin, but pinning.enabled is false"]),
        (
            {"config": {"rules": [{"name": "a", "mode": "strict", "pin": "required"}]}},
            ["a rule sets pin, but pinning.enabled is false", "every Pod that names a tag is"],
        ),
    ],
)
def test_the_notes_warn_of_half_a_pin(values: Values, warnings: list[str]) -> None:
    text = notes(merged(ANCHORE, values))

    assert [warning for warning in warnings if warning not in text] == []
    assert ("pin" in text.replace("shipping", "")) == bool(warnings or values)


def test_a_change_of_pinning_replaces_the_replicas() -> None:
    off, on = (_release("selfManaged", values=values) for values in ({}, {"pinning": {"enabled": True}}))
    checksums = [it.get("Deployment")["spec"]["template"]["metadata"]["annotations"] for it in (off, on)]

    assert checksums[0] != checksums[1]
