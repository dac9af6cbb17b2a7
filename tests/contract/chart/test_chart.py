"""The objects that the Helm chart renders: valid for Kubernetes, hardened, spread, and as its values say."""

import json
import re
import tomllib
from functools import cache
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic.alias_generators import to_camel
from referencing import Registry, Resource

from anchore_admission import __version__
from anchore_admission.cli.main import load
from anchore_admission.services.config.comparison import RELOADED, RELOADED_LIMITS
from support.charts import (
    ANCHORE,
    CHART,
    EVERYTHING,
    NAMESPACE,
    RELEASE,
    SCHEMAS,
    Object,
    Rendered,
    Values,
    merged,
    render,
    run,
)
from support.paths import ROOT


@cache
def _validator(kind: str, version: str) -> jsonschema.Draft202012Validator:
    group, _, version = version.rpartition("/")
    name = "-".join(part for part in (kind.lower(), group.split(".")[0], version) if part)
    shared = Resource.opaque(json.loads((SCHEMAS / "_definitions.json").read_text()))
    registry: Registry[Any] = Registry().with_resource("_definitions.json", shared)
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / f"{name}.json").read_text()), registry=registry)


@pytest.mark.parametrize("values", EVERYTHING.values(), ids=EVERYTHING)
def test_every_object_is_valid_for_kubernetes(values: Values) -> None:
    objects = render(values).objects
    assert objects
    for it in objects:
        problems = [error.message for error in _validator(it["kind"], it["apiVersion"]).iter_errors(it)]
        assert problems == [], f"{it['kind']} {it['metadata']['name']}"


@pytest.mark.parametrize("values", EVERYTHING.values(), ids=EVERYTHING)
def test_kubeconform_says_so_too(values: Values) -> None:
    location = f"{SCHEMAS}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    text = yaml.safe_dump_all(render(values).objects)
    run("kubeconform", "-strict", "-n", "1", "-schema-location", location, "-", given=text)


@pytest.mark.parametrize("values", EVERYTHING.values(), ids=EVERYTHING)
def test_every_object_names_its_release(values: Values) -> None:
    objects = render(values).objects
    assert objects
    for it in objects:
        labels = it["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == RELEASE
        assert labels["app.kubernetes.io/part-of"] == "anchore-admission"
        cluster_wide = it["kind"].startswith(("Cluster", "ValidatingWebhook", "MutatingWebhook"))
        assert it["metadata"].get("namespace") == (None if cluster_wide else NAMESPACE)


@pytest.mark.parametrize("values", EVERYTHING.values(), ids=EVERYTHING)
def test_every_pod_meets_the_restricted_standard(values: Values) -> None:
    rendered = render(values)
    pods = [_pod_of(it) for it in rendered.objects if it["kind"] in {"Deployment", "Job", "Pod"}]
    assert pods
    for pod in pods:
        security = pod["securityContext"]
        assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 65532)
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["enableServiceLinks"] is False
        assert pod["containers"]
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert set(container["resources"]["limits"]) == {"memory"}
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}
            mounted = {mount["name"] for mount in container.get("volumeMounts", ())}
            assert mounted <= {volume["name"] for volume in pod.get("volumes", ())}


def _pod_of(it: Object) -> Object:
    spec: Object = it["spec"] if it["kind"] == "Pod" else it["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("version", ["1.25.0", "1.26.0", "1.29.3", "1.30.0", "1.36.3"])
def test_newer_fields_are_left_to_newer_clusters(version: str) -> None:
    rendered = render(ANCHORE, "--kube-version", version)
    minor = int(version.split(".")[1])
    assert ("matchConditions" in rendered.webhook()) == (minor >= 30)
    assert ("unhealthyPodEvictionPolicy" in rendered.get("PodDisruptionBudget")["spec"]) == (minor >= 27)
    assert ("matchLabelKeys" in rendered.pod()["topologySpreadConstraints"][0]) == (minor >= 27)
    assert ("matchLabelKeys" in _zone_term(rendered)) == (minor >= 31)


def test_the_deployment_stays_available() -> None:
    rendered = render(ANCHORE)
    spec = rendered.get("Deployment")["spec"]
    pod = rendered.pod()
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert rendered.get("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    spread = {it["topologyKey"]: it["whenUnsatisfiable"] for it in pod["topologySpreadConstraints"]}
    assert spread == {"kubernetes.io/hostname": "ScheduleAnyway"}  # a second one drops nodes without its label
    term = _zone_term(rendered)
    assert term["topologyKey"] == "topology.kubernetes.io/zone"
    selected = term["labelSelector"]["matchLabels"]
    assert selected == pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]
    assert selected.items() <= spec["template"]["metadata"]["labels"].items()
    assert pod["terminationGracePeriodSeconds"] == 45
    assert "--shutdown-delay=5s" in rendered.container()["args"]
    assert "lifecycle" not in rendered.container()


def test_a_replica_that_hangs_is_noticed_within_30_seconds_and_a_busy_one_is_left_alone() -> None:
    probe = render(ANCHORE).container()["livenessProbe"]
    noticed = probe["failureThreshold"] * probe["periodSeconds"] + probe["timeoutSeconds"]
    assert noticed <= 30
    busy = (probe["failureThreshold"] - 1) * probe["periodSeconds"]
    assert busy >= 15
    assert probe["terminationGracePeriodSeconds"] <= 5  # a process that hangs does not use the Pod's


def _zone_term(rendered: Rendered) -> Object:
    affinity = rendered.pod()["affinity"]["podAntiAffinity"]
    (term,) = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    found: Object = term["podAffinityTerm"]
    return found


NODE_AFFINITY: Values = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}
APART: Values = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}}
CONSTRAINT = {"topologyKey": "rack", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}


@pytest.mark.parametrize(
    ("values", "affinity", "constraints"),
    [
        ({}, ["podAntiAffinity"], ["kubernetes.io/hostname"]),
        ({"affinity": NODE_AFFINITY}, ["nodeAffinity", "podAntiAffinity"], ["kubernetes.io/hostname"]),
        ({"topologySpreadConstraints": [CONSTRAINT]}, [], ["rack"]),
        ({"topologySpreadConstraints": [CONSTRAINT], "affinity": NODE_AFFINITY}, ["nodeAffinity"], ["rack"]),
    ],
)
def test_own_constraints_replace_the_spread_and_an_own_affinity_adds_to_it(
    values: Values, affinity: list[str], constraints: list[str]
) -> None:
    pod = render(merged(ANCHORE, values)).pod()
    assert sorted(pod.get("affinity", {})) == affinity
    assert [it["topologyKey"] for it in pod["topologySpreadConstraints"]] == constraints


def test_an_own_anti_affinity_replaces_that_of_zones() -> None:
    assert render(merged(ANCHORE, {"affinity": APART})).pod()["affinity"] == APART


NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
OWN = {"key": "dedicated", "operator": "Exists"}


def _tolerating(key: str, **more: Any) -> Values:
    return {"key": key, "operator": "Exists", **more}


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ([], [NOT_READY, UNREACHABLE]),
        ([OWN], [NOT_READY, UNREACHABLE]),
        ([_tolerating(NOT_READY, effect="NoExecute", tolerationSeconds=60)], [UNREACHABLE]),
        ([_tolerating(NOT_READY), _tolerating(UNREACHABLE)], []),
        ([_tolerating(NOT_READY, effect="NoSchedule")], [NOT_READY, UNREACHABLE]),
        ([{"operator": "Exists"}], []),
        ([{"operator": "Exists", "effect": "NoSchedule"}], [NOT_READY, UNREACHABLE]),
    ],
)
def test_pods_leave_a_lost_node_after_half_a_minute_unless_values_say_otherwise(
    given: list[Values], added: list[str]
) -> None:
    found = render(merged(ANCHORE, {"tolerations": given})).pod().get("tolerations", [])
    assert found == given + [_tolerating(key, effect="NoExecute", tolerationSeconds=30) for key in added]


@pytest.mark.parametrize("values", [{"replicaCount": None}, {"autoscaling": {"enabled": True}}])
def test_the_replica_count_is_left_to_an_autoscaler(values: Values) -> None:
    assert "replicas" not in render(merged(ANCHORE, values)).get("Deployment")["spec"]


def test_a_replica_count_is_rendered() -> None:
    assert render(merged(ANCHORE, {"replicaCount": 0})).get("Deployment")["spec"]["replicas"] == 0


def test_an_autoscaler_keeps_the_targets_and_the_bounds() -> None:
    spec = render(merged(ANCHORE, {"autoscaling": {"enabled": True}})).get("HorizontalPodAutoscaler")["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": RELEASE}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 6)
    (metric,) = spec["metrics"]
    assert metric["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    assert "HorizontalPodAutoscaler" not in {kind for kind, _ in render(ANCHORE).names()}


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({}, {"maxUnavailable": 1}),
        ({"maxUnavailable": "34%"}, {"maxUnavailable": "34%"}),
        ({"minAvailable": 1}, {"minAvailable": 1}),
        ({"minAvailable": 0}, {"minAvailable": 0}),
    ],
)
def test_a_disruption_budget_has_one_bound(budget: Values, expected: Values) -> None:
    spec = render(merged(ANCHORE, {"podDisruptionBudget": budget})).get("PodDisruptionBudget")["spec"]
    assert {key: value for key, value in spec.items() if key.endswith("vailable")} == expected


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, "localhost/anchore-admission"),
        ({"image": {"registry": "registry.example.com"}}, "registry.example.com/anchore-admission"),
        ({"global": {"imageRegistry": "mirror:5000"}}, "mirror:5000/anchore-admission"),
        (
            {"global": {"imageRegistry": "mirror:5000/a"}, "image": {"registry": "registry.example.com"}},
            "mirror:5000/a/anchore-admission",
        ),
        (
            {"global": {"imageRegistry": "mirror"}, "image": {"repository": "registry.example.com:443/team/gate"}},
            "mirror/team/gate",
        ),
        ({"image": {"registry": "quay.io", "repository": "team/gate"}}, "quay.io/team/gate"),
        ({"image": {"repository": "registry.example.com/team/gate"}}, "registry.example.com/team/gate"),
        ({"image": {"repository": "team/gate"}}, "team/gate"),
    ],
)
def test_a_registry_of_its_own_replaces_that_of_the_repository(values: Values, image: str) -> None:
    rendered = render(merged(EVERYTHING["sandbox"], values, {"image": {"tag": "1"}}))
    pods = [_pod_of(it) for it in rendered.objects if it["kind"] in {"Deployment", "Job", "Pod"}]
    assert {pod["containers"][0]["image"] for pod in pods} == {f"{image}:1"}


def test_a_namespace_of_its_own_replaces_that_of_the_release() -> None:
    values = {"namespaceOverride": "elsewhere", "certificates": {"mode": "certManager"}}
    rendered = render(merged(EVERYTHING["watched"], values))
    assert {it["metadata"].get("namespace") for it in rendered.objects} == {"elsewhere", None}
    entry = rendered.webhook()
    assert entry["clientConfig"]["service"]["namespace"] == "elsewhere"
    assert entry["namespaceSelector"]["matchExpressions"][0]["values"] == ["elsewhere", "kube-system"]
    assert rendered.get("Certificate")["spec"]["dnsNames"][0] == f"{RELEASE}.elsewhere.svc"
    assert rendered.get("ClusterRoleBinding")["subjects"][0]["namespace"] == "elsewhere"
    owner = "meta.helm.sh/release-namespace"
    assert rendered.get("Certificate")["spec"]["secretTemplate"]["annotations"][owner] == NAMESPACE


def test_values_of_the_pods_surroundings() -> None:
    rendered = render(EVERYTHING["extras"])
    deployment, pod, account = rendered.get("Deployment"), rendered.pod(), rendered.get("ServiceAccount")
    assert deployment["metadata"]["annotations"] == {"a": "b", "team": "security"}
    assert deployment["spec"]["revisionHistoryLimit"] == 2
    assert pod["runtimeClassName"] == "gvisor"
    assert account["automountServiceAccountToken"] is True
    assert account["metadata"]["labels"]["a"] == account["metadata"]["annotations"]["a"] == "b"
    assert rendered.get("Service")["spec"]["type"] == "NodePort"
    assert render(ANCHORE).get("ServiceAccount")["automountServiceAccountToken"] is False
    assert rendered.container()["livenessProbe"] == {
        "httpGet": {"path": "/livez", "port": "operations"},
        "initialDelaySeconds": 5,
        "periodSeconds": 10,
        "timeoutSeconds": 5,
        "failureThreshold": 4,
        "terminationGracePeriodSeconds": 5,
    }


def test_more_objects_are_installed_with_their_templates_rendered() -> None:
    more = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-more"}}
    rendered = render(merged(ANCHORE, {"extraObjects": [more, yaml.safe_dump({**more, "kind": "Secret"})]}))
    for kind in ("ConfigMap", "Secret"):
        assert rendered.get(kind, f"{RELEASE}-more")["apiVersion"] == "v1"


def test_helm_test_begins_with_a_job_that_shows_that_the_image_can_be_pulled() -> None:
    """A Pod that pulls outlives its own deadline; without the Job, such a release failed late and without a reason."""
    rendered = render(ANCHORE)
    job, pod = rendered.get("Job", f"{RELEASE}-image-pull"), rendered.get("Pod", f"{RELEASE}-test")
    weights = [int(it["metadata"]["annotations"].get("helm.sh/hook-weight", 0)) for it in (job, pod)]
    assert weights == sorted(set(weights))
    assert job["spec"]["activeDeadlineSeconds"] == 30
    assert [_pod_of(it)["containers"][0]["image"] for it in (job, pod)] == [rendered.container()["image"]] * 2


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ("least", [f"--registration={RELEASE}"]),
        ("existing Secret", [f"--registration={RELEASE}"]),
        ("cert-manager, chart", [f"--url=https://{RELEASE}.{NAMESPACE}.svc:443/validate", "--ca-file=/ca/ca.crt"]),
        ("existing Secret, chart", [f"--url=https://{RELEASE}.{NAMESPACE}.svc:443/validate", "--ca-file=/ca/ca.crt"]),
    ],
)
def test_helm_test_probes_the_address_that_api_servers_call(values: str, where: list[str]) -> None:
    rendered = render(EVERYTHING[values])
    pod = rendered.get("Pod", f"{RELEASE}-test")["spec"]
    (container,) = pod["containers"]
    assert container["args"] == ["probe", *where, "--image=docker.io/library/busybox:latest", "--wait=120"]
    assert pod["automountServiceAccountToken"] == ("--ca-file=/ca/ca.crt" not in where)
    assert [it["mountPath"] for it in container.get("volumeMounts", ())] == (["/ca"] if len(where) == 2 else [])
    _accepts("probe", container["args"][1:])


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ("least", ["--mutating"]),
        ("cert-manager, chart", [f"--mutating-url=https://{RELEASE}.{NAMESPACE}.svc:443/mutate"]),
    ],
)
def test_helm_test_probes_the_mutating_webhook_too(values: str, where: list[str]) -> None:
    pinning = merged(EVERYTHING[values], {"pinning": {"enabled": True}})
    arguments = [
        render(it).get("Pod", f"{RELEASE}-test")["spec"]["containers"][0]["args"]
        for it in (pinning, EVERYTHING[values])
    ]
    assert [argument for argument in arguments[0] if argument not in arguments[1]] == where
    _accepts("probe", arguments[0][1:])


def test_only_configured_peers_may_call_the_webhook() -> None:
    rendered = render(EVERYTHING["guarded"])
    assert {
        "--secret-path-file=/secret-path/secret-path",
        "--client-ca-file=/client-ca/ca.crt",
        "--client-name=kube-apiserver",
        "--client-name=other",
    } <= set(rendered.container()["args"])
    volumes = {it["name"]: it for it in rendered.pod()["volumes"]}
    assert volumes["secret-path"]["secret"]["items"] == [{"key": "secret-path", "path": "secret-path"}]
    assert volumes["client-ca"]["configMap"]["name"] == "clients"
    in_secret = {it["name"]: it for it in render(EVERYTHING["client CA in a Secret"]).pod()["volumes"]}
    assert in_secret["client-ca"]["secret"]["secretName"] == "clients"
    assert rendered.webhook()["clientConfig"]["service"]["path"] == "/validate"  # the controller adds the secret
    assert "--client-certificates" in rendered.get("Pod", f"{RELEASE}-test")["spec"]["containers"][0]["args"]


def test_notifications_have_a_port_of_their_own() -> None:
    rendered = render(EVERYTHING["notified"])
    container = rendered.container()
    arguments = {"--notifications-port=8444", "--notifications-secret-file=/notifications/secret"}
    assert arguments <= set(container["args"])
    _accepts("serve", container["args"][1:])
    assert {"name": "notifications", "containerPort": 8444, "protocol": "TCP"} in container["ports"]
    volumes = {it["name"]: it for it in rendered.pod()["volumes"]}
    assert volumes["notifications"]["secret"]["secretName"] == "from-anchore"
    assert volumes["notifications"]["secret"]["items"] == [{"key": "token", "path": "secret"}]
    ports = rendered.get("Service")["spec"]["ports"]
    assert {"name": "notifications", "port": 8444, "targetPort": "notifications", "protocol": "TCP"} in ports
    rules = {rule["ports"][0]["port"]: rule.get("from") for rule in rendered.get("NetworkPolicy")["spec"]["ingress"]}
    assert rules == {
        "https": None,
        "operations": None,
        "notifications": [{"podSelector": {"matchLabels": {"app": "anchore"}}}],
    }


def test_notifications_are_off_by_default() -> None:
    rendered = render(EVERYTHING["watched"])
    container = rendered.container()
    assert not [it for it in container["args"] if "notifications" in it]
    assert [it["name"] for it in container["ports"]] == ["https", "operations"]
    assert [it["name"] for it in rendered.get("Service")["spec"]["ports"]] == ["https"]
    assert len(rendered.get("NetworkPolicy")["spec"]["ingress"]) == 2


def test_facts_have_a_port_of_their_own_and_their_guards() -> None:
    rendered = render(EVERYTHING["facts"])
    container = rendered.container()
    assert [it for it in container["args"] if "--facts" in it] == [
        "--facts-port=8445",
        "--facts-token-file=/facts-token/token",
        "--facts-client-ca-file=/facts-client-ca/ca.crt",
        "--facts-client-name=gatekeeper",
        "--facts-audience=kyverno-svc.kyverno.io",
        "--facts-user=system:serviceaccount:kyverno:kyverno-admission-controller",
    ]
    _accepts("serve", container["args"][1:])
    assert {"name": "facts", "containerPort": 8445, "protocol": "TCP"} in container["ports"]
    volumes = {it["name"]: it for it in rendered.pod()["volumes"]}
    assert volumes["facts-token"]["secret"]["items"] == [{"key": "facts", "path": "token"}]
    assert volumes["facts-client-ca"]["secret"]["secretName"] == "gatekeeper"
    mounts = {it["name"]: it["mountPath"] for it in container["volumeMounts"] if it["name"].startswith("facts")}
    assert mounts == {"facts-token": "/facts-token", "facts-client-ca": "/facts-client-ca"}
    ports = rendered.get("Service")["spec"]["ports"]
    assert {"name": "facts", "port": 8445, "targetPort": "facts", "protocol": "TCP"} in ports
    rules = {rule["ports"][0]["port"]: rule.get("from") for rule in rendered.get("NetworkPolicy")["spec"]["ingress"]}
    assert rules["facts"] == [{"podSelector": {"matchLabels": {"app": "gatekeeper"}}}]


@pytest.mark.parametrize(
    ("guard", "reviews"),
    [
        ({"tokenReview": {"audience": "a", "users": ["u"]}}, True),
        ({"token": {"existingSecret": "s"}}, False),
    ],
)
def test_only_tokens_of_the_api_server_need_a_permission_and_a_token(guard: Values, reviews: bool) -> None:
    chart_registers = {"webhook": {"registration": "chart"}, "certificates": {"mode": "certManager"}}
    facts = {"facts": {"enabled": True, **guard}}
    rendered = render(merged(ANCHORE, chart_registers, facts, {"networkPolicy": EGRESS}))
    granted = [rule["verbs"] for rule in rendered.get("ClusterRole")["rules"] if rule["resources"] == ["tokenreviews"]]
    assert granted == ([["create"]] if reviews else [])
    assert rendered.pod()["automountServiceAccountToken"] is reviews
    reached = [rule["ports"] for rule in rendered.get("NetworkPolicy")["spec"]["egress"] if "to" not in rule]
    assert any({"port": 6443, "protocol": "TCP"} in ports for ports in reached) is reviews


EGRESS: Values = {
    "enabled": True,
    "egress": {"enabled": True, "rules": [{"ports": [{"port": 8228}], "to": [{"podSelector": {}}]}]},
}


def _accepts(command: str, arguments: list[str]) -> None:
    """Parse arguments as the program does, without running the command."""
    load(command).make_context(command, list(arguments))


@pytest.mark.parametrize("values", EVERYTHING.values(), ids=EVERYTHING)
def test_the_program_knows_every_argument(values: Values) -> None:
    rendered = render(values)
    pods = [_pod_of(it) for it in rendered.objects if it["kind"] in {"Deployment", "Job", "Pod"}]
    ours = [it for pod in pods for it in pod["containers"] if "anchore-admission" in it["image"]]
    assert len(ours) >= len(pods) - 1  # one may be that of another program, which checks its own files
    for container in ours:
        _accepts(container["args"][0], container["args"][1:])


@pytest.mark.parametrize(
    ("strategy", "rendered"),
    [
        ({"type": "Recreate"}, {"type": "Recreate"}),
        (
            {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        ),
    ],
)
def test_the_default_strategy_leaves_nothing_behind(strategy: Values, rendered: Values) -> None:
    assert render(merged(ANCHORE, {"strategy": strategy})).get("Deployment")["spec"]["strategy"] == rendered


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1", "fd00::1"])
def test_the_address_to_listen_on(host: str) -> None:
    rendered = render(merged(EVERYTHING["sandbox"], {"host": host}))
    for name in (RELEASE, f"{RELEASE}-sandbox"):
        assert f"--host={host}" in rendered.pod(name)["containers"][0]["args"]


NUMBERS = {
    "fullnameOverride": "on",
    "serviceAccount": {"name": "0123"},
    "priorityClassName": "007",
    "imagePullSecrets": [{"name": "0123"}],
    "networkPolicy": {"enabled": True, "webhookFrom": [{"podSelector": {}}]},
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
}
CREDENTIALS = {"credentialsSecret": "0123", "endpoint": "http://anchore:8228"}
ODD: dict[str, Values] = {
    "credentials": {"anchore": CREDENTIALS, "config": {"anchore": {"caFile": "/credentials/0123"}}},
    "chart": merged(EVERYTHING["existing Secret, chart"], {"anchore": CREDENTIALS}),
    "existing Secret": merged(EVERYTHING["existing Secret"], {"certificates": {"existingSecret": "0123"}}),
    **{name: EVERYTHING[name] for name in ("sandbox", "cert-manager", "cert-manager, chart")},
}


@pytest.mark.parametrize("values", ODD.values(), ids=ODD)
def test_names_that_yaml_takes_for_something_else(values: Values) -> None:
    rendered = render(merged(values, NUMBERS), release="0123", namespace="1234")
    for it in rendered.objects:
        problems = [error.message for error in _validator(it["kind"], it["apiVersion"]).iter_errors(it)]
        assert problems == [], f"{it['kind']} {it['metadata']['name']}"
        assert it["metadata"]["labels"]["app.kubernetes.io/instance"] == "0123"
    assert (rendered.pod("on")["serviceAccountName"], rendered.pod("on")["priorityClassName"]) == ("0123", "007")


def test_keys_never_touch_a_disk() -> None:
    rendered = render(EVERYTHING["sandbox"])
    for name in (RELEASE, f"{RELEASE}-sandbox"):
        (tmp,) = (it for it in rendered.pod(name)["volumes"] if it["name"] == "tmp")
        assert tmp["emptyDir"] == {"medium": "Memory", "sizeLimit": "16Mi"}


def test_selectors_distinguish_the_controller_from_the_sandbox() -> None:
    rendered = render(EVERYTHING["sandbox"])
    labels = {
        name: rendered.get("Deployment", name)["spec"]["template"]["metadata"]["labels"].items()
        for name in (RELEASE, f"{RELEASE}-sandbox")
    }
    services = {
        it["metadata"]["name"]: it["spec"]["selector"].items() for it in rendered.objects if it["kind"] == "Service"
    }
    reached = {
        service: {name for name, own in labels.items() if selector <= own} for service, selector in services.items()
    }
    assert reached == {
        RELEASE: {RELEASE},
        f"{RELEASE}-metrics": {RELEASE},
        f"{RELEASE}-sandbox": {f"{RELEASE}-sandbox"},
    }


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, f"localhost/anchore-admission:{__version__}"),
        ({"repository": "registry.example.com/x", "tag": "2"}, "registry.example.com/x:2"),
        ({"tag": "2", "digest": f"sha256:{'a' * 64}"}, f"localhost/anchore-admission@sha256:{'a' * 64}"),
    ],
)
def test_the_image(image: Values, expected: str) -> None:
    rendered = render(merged(EVERYTHING["sandbox"], {"image": image}))
    images = {
        c["image"] for it in rendered.objects if it["kind"] in {"Deployment", "Pod"} for c in _pod_of(it)["containers"]
    }
    assert images == {expected}


def _annotations(values: Values) -> Any:
    return render(merged(ANCHORE, values)).get("Deployment")["spec"]["template"]["metadata"]["annotations"]


WAIVER: Values = {"name": "e", "match": {"images": ["a"]}, "reason": "r", "owner": "o", "expires": "2099-01-01"}


@pytest.mark.parametrize(
    ("values", "replaced"),
    [
        ({"replicaCount": 3}, False),
        ({"config": {"unknownKinds": "deny", "workloads": "off", "messages": {"maxFindings": 1}}}, False),
        ({"config": {"rules": [{"name": "a", "mode": "skip"}], "limits": {"images": 3, "exemptionDays": 5}}}, False),
        ({"config": {"exemptions": [WAIVER]}}, False),
        ({"config": {"defaults": {"mode": "passive", "onError": "warn"}}}, False),
        ({"config": {"limits": {"body": "1MiB"}}}, True),
        ({"config": {"memory": {"pass": "50s"}}}, True),
        ({"config": {"accounts": [{"name": "team"}]}}, True),
        # The registered failurePolicy becomes Fail, and a replica does not read the registration again.
        ({"config": {"defaults": {"mode": "strict"}}}, True),
        ({"webhook": {"timeoutSeconds": 7}}, True),
    ],
)
def test_only_what_cannot_be_reloaded_replaces_the_replicas(values: Values, replaced: bool) -> None:
    assert (_annotations(values) != _annotations({})) == replaced


def test_changed_credentials_replace_the_replicas() -> None:
    one, two = ({"anchore": {"credentialsSecret": "", "username": "u", "password": it}} for it in ("one", "two"))
    assert _annotations(one) != _annotations(two)


def test_the_chart_knows_what_a_replica_reloads() -> None:
    text = (CHART / "templates/_configuration.tpl").read_text()
    sections, limits = re.findall(r'omit [^"]*((?: "\w+")+)', text)
    assert sections == "".join(f' "{to_camel(name)}"' for name in RELOADED)
    assert limits == "".join(f' "{to_camel(name)}"' for name in RELOADED_LIMITS)


def test_an_upgrade_first_validates_the_new_configuration_with_the_new_image() -> None:
    rendered = render(merged(ANCHORE, {"config": {"unknownKinds": "deny"}}))
    job, file = (rendered.get(kind, f"{RELEASE}-validation") for kind in ("Job", "ConfigMap"))
    assert {it["metadata"]["annotations"]["helm.sh/hook"] for it in (job, file)} == {"pre-upgrade"}
    weights = [int(it["metadata"]["annotations"]["helm.sh/hook-weight"]) for it in (file, job)]
    assert weights == sorted(set(weights))
    assert file["data"]["configuration.yaml"] == rendered.configuration()
    pod = _pod_of(job)
    assert pod["containers"][0]["image"] == rendered.container()["image"]
    assert pod["containers"][0]["args"] == ["config", "validate", "/etc/anchore-admission/configuration.yaml"]
    assert pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("account", "used"),
    [
        # The chart's own account may not exist before this upgrade.
        ({}, "default"),
        ({"serviceAccount": {"create": False, "name": "mine"}}, "mine"),
    ],
)
def test_the_validation_runs_under_an_account_that_exists(account: Values, used: str) -> None:
    job = render(merged(ANCHORE, account)).get("Job", f"{RELEASE}-validation")
    assert _pod_of(job)["serviceAccountName"] == used


def test_the_validation_can_be_switched_off() -> None:
    assert ("Job", f"{RELEASE}-validation") in render(ANCHORE).names()
    names = {name for _, name in render(merged(ANCHORE, {"validation": {"enabled": False}})).names()}
    assert f"{RELEASE}-validation" not in names


def test_proxies_never_stand_before_the_api_server_or_the_cluster() -> None:
    always = {"$(KUBERNETES_SERVICE_HOST)", ".svc", ".cluster.local"}
    hidden = {"extraEnv": [{"name": "HTTPS_PROXY", "valueFrom": {"secretKeyRef": {"name": "proxy", "key": "url"}}}]}
    for values in ({}, hidden, {"extraEnvFrom": [{"secretRef": {"name": "proxy"}}]}):
        assert set(_environment(render(merged(ANCHORE, values)).container())["NO_PROXY"].split(",")) >= always
    environment = _environment(render(EVERYTHING["extras"]).container())
    assert environment["HTTP_PROXY"] == environment["HTTPS_PROXY"] == "http://proxy:3128"
    assert set(environment["NO_PROXY"].split(",")) >= {*always, "10.0.0.8", ".corp"}


def test_a_no_proxy_of_your_own_is_the_only_one() -> None:
    own = {"name": "NO_PROXY", "value": "*"}
    environment = render(merged(ANCHORE, {"extraEnv": [own]})).container()["env"]
    assert [it for it in environment if it["name"] == "NO_PROXY"] == [own]


def test_with_the_sandbox_its_name_is_called_directly() -> None:
    values = merged(EVERYTHING["sandbox"], {"proxy": {"http": "http://proxy:3128"}})
    assert f"{RELEASE}-sandbox" in _environment(render(values).container())["NO_PROXY"].split(",")


def _environment(container: Object) -> dict[str, Any]:
    return {it["name"]: it.get("value") for it in container.get("env", ())}


def test_extras_reach_the_pod() -> None:
    rendered = render(EVERYTHING["extras"])
    pod, container = rendered.pod(), rendered.container()
    template = rendered.get("Deployment")["spec"]["template"]["metadata"]
    assert (pod["hostNetwork"], pod["dnsPolicy"]) == (True, "None")
    assert pod["dnsConfig"] == {"nameservers": ["10.96.0.10"], "options": [{"name": "ndots", "value": "2"}]}
    assert render(merged(ANCHORE, {"hostNetwork": True})).pod()["dnsPolicy"] == "ClusterFirstWithHostNet"
    assert pod["priorityClassName"] == "system-cluster-critical"
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert {"pod": "yes", "team": "security"}.items() <= template["labels"].items()
    assert {"pod": "yes", "team": "security"}.items() <= template["annotations"].items()
    assert container["args"][-1] == "--host=::"
    assert {"name": "A", "value": "b"} in container["env"]
    assert container["envFrom"] == [{"secretRef": {"name": "s"}}]
    assert {"name": "v", "mountPath": "/v"} in container["volumeMounts"]
    assert rendered.get("Service")["metadata"]["annotations"] == {"a": "b", "team": "security"}


def test_ports_are_settable() -> None:
    rendered = render(merged(ANCHORE, {"ports": {"webhook": 9443, "operations": 9090}}))
    container = rendered.container()
    assert {"--port=9443", "--operations-port=9090"} <= set(container["args"])
    assert {it["name"]: it["containerPort"] for it in container["ports"]} == {"https": 9443, "operations": 9090}


@pytest.mark.parametrize(("enabled", "flag"), [(False, "--no-docs"), (True, "--docs")])
def test_pages_for_people_are_off_by_default(enabled: bool, flag: str) -> None:
    assert flag in render(merged(ANCHORE, {"docs": {"enabled": enabled}})).container()["args"]


def test_two_releases_share_no_name() -> None:
    one = render(EVERYTHING["sandbox"], release="one", namespace="a")
    two = render(EVERYTHING["sandbox"], release="two", namespace="a")
    assert not one.names() & two.names()


@pytest.mark.parametrize(
    ("release", "overrides", "name"),
    [
        ("anchore-admission", {}, "anchore-admission"),
        ("one", {}, "one-anchore-admission"),
        ("one.two", {}, "one-two-anchore-admission"),
        ("one", {"nameOverride": "gate"}, "one-gate"),
        ("one", {"fullnameOverride": "gate"}, "gate"),
        ("r" * 53, {}, "r" * 50),
        ("0123", {"fullnameOverride": "gate"}, "gate"),
        ("one", {"nameOverride": "Gate_1", "fullnameOverride": "g"}, "g"),
        ("one", {"fullnameOverride": f"{'g' * 48}--gate"}, "g" * 48),
    ],
)
def test_names(release: str, overrides: Values, name: str) -> None:
    rendered = render(merged(ANCHORE, overrides), release=release)
    assert rendered.get("Deployment", name)
    assert all(len(found) <= 63 for _, found in rendered.names())


def test_optional_objects_are_not_rendered_by_default() -> None:
    kinds = {kind for kind, _ in render(ANCHORE).names()}
    assert not kinds & {"NetworkPolicy", "ServiceMonitor", "PrometheusRule", "Certificate", "Issuer"}


def test_the_network_policy_closes_all_but_two_ports() -> None:
    spec = render(EVERYTHING["watched"]).get("NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert [port["port"] for rule in spec["ingress"] for port in rule["ports"]] == ["https", "operations"]
    spec = render(merged(ANCHORE, {"networkPolicy": {"enabled": True}})).get("NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    assert "egress" not in spec


def test_the_release_reaches_the_webhook_where_api_servers_do() -> None:
    """The NetworkPolicy admits the leader's probe and that of `helm test`."""
    peer = {"ipBlock": {"cidr": "10.0.0.0/8"}}
    policy = {"networkPolicy": {"enabled": True, "webhookFrom": [peer]}}
    rendered = render(merged(ANCHORE, policy))
    webhook, operations = rendered.get("NetworkPolicy")["spec"]["ingress"]
    assert "from" not in operations
    first, own = webhook["from"]
    assert first == peer
    selected = own["podSelector"]["matchLabels"].items()
    pods = rendered.get("Deployment")["spec"]["template"], rendered.get("Pod", f"{RELEASE}-test")
    assert all(selected <= pod["metadata"]["labels"].items() for pod in pods)
    other = render(ANCHORE, release="other").get("Pod", "other-anchore-admission-test")
    assert not selected <= other["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("values", "rendered"),
    [
        ({}, True),
        ({"networkPolicy": {"enabled": True}}, True),
        ({"sandbox": {"networkPolicy": {"enabled": False}}}, False),
        ({"hostNetwork": True}, False),
    ],
)
def test_only_the_controller_reaches_the_sandbox(values: Values, rendered: bool) -> None:
    found = render(merged(EVERYTHING["sandbox"], values))
    name = f"{RELEASE}-sandbox"
    assert (("NetworkPolicy", name) in found.names()) == rendered
    if not rendered:
        return
    spec = found.get("NetworkPolicy", name)["spec"]
    labels = {
        it: found.get("Deployment", it)["spec"]["template"]["metadata"]["labels"].items() for it in (RELEASE, name)
    }
    assert [it for it in labels if spec["podSelector"]["matchLabels"].items() <= labels[it]] == [name]
    (rule,) = spec["ingress"]
    (peer,) = rule["from"]
    assert peer.keys() == {"podSelector"}
    assert [it for it in labels if peer["podSelector"]["matchLabels"].items() <= labels[it]] == [RELEASE]
    assert rule["ports"] == [{"port": "http", "protocol": "TCP"}]


def test_the_chart_has_the_programs_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)
