"""Open Policy Agent in the chart: by address, or as a sidecar whose arguments the real OPA accepts."""

import itertools
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from anchore_admission.services.config.load import parse_configuration
from e2e.cluster.waiting import until
from support.charts import (
    ANCHORE,
    EVERYTHING,
    RELEASE,
    HelmError,
    Object,
    Rendered,
    Values,
    merged,
    notes,
    program,
    render,
    run,
)
from support.ports import free_port

POLICIES = f"{RELEASE}-opa-policies"
BROKEN = "package anchore.admission\n\ndeny contains x if y\n"


def policy(text: str) -> str:
    """Return a policy that denies everything with this text."""
    return f'package anchore.admission\n\ndeny contains "{text}"\n'


BESIDE = {"opa": {"sidecar": {"enabled": True, "policies": {"admission.rego": policy("no")}}}}


def _opa(rendered: Rendered) -> Object:
    containers = [*rendered.pod().get("initContainers", ()), *rendered.pod()["containers"]]
    (container,) = (it for it in containers if it["name"] == "opa")
    found: Object = container
    return found


def _volumes(rendered: Rendered) -> dict[str, Object]:
    return {it["name"]: it for it in rendered.pod()["volumes"] if it["name"].startswith("opa")}


def _mounts(container: Object) -> dict[str, Object]:
    return {it["name"]: it for it in container["volumeMounts"] if it["name"].startswith("opa")}


def test_an_opa_by_address_has_its_files_mounted() -> None:
    rendered = render(EVERYTHING["OPA"])
    section = parse_configuration(rendered.configuration(), "configuration.yaml").opa
    assert section
    assert (section.url, section.path, section.timeout) == ("https://opa.opa.svc:8181", "kubernetes/admission", 0.5)
    assert (section.ca_file, section.token_file) == ("/opa-ca/ca.crt", "/opa-token/token")
    assert (section.certificate_file, section.key_file) == ("/opa-client/tls.crt", "/opa-client/tls.key")
    volumes = _volumes(rendered)
    assert volumes["opa-ca"]["configMap"]["name"] == "ca"
    assert volumes["opa-token"]["secret"]["items"] == [{"key": "bearer", "path": "token"}]
    assert volumes["opa-client"]["secret"]["secretName"] == "client"
    assert {name: it["mountPath"] for name, it in _mounts(rendered.container()).items()} == {
        name: f"/{name}" for name in volumes
    }
    assert [it["name"] for it in rendered.pod()["containers"]] == ["anchore-admission"]


def test_a_sidecar_is_reached_through_a_socket_in_memory_that_no_other_pod_sees() -> None:
    rendered = render(EVERYTHING["OPA beside it"])
    section = parse_configuration(rendered.configuration(), "configuration.yaml").opa
    assert section
    assert section.socket == "/run/opa/opa.sock"
    assert _mounts(rendered.container()) == {
        "opa-socket": {"name": "opa-socket", "mountPath": "/run/opa", "readOnly": True}
    }
    assert _mounts(_opa(rendered))["opa-socket"] == {"name": "opa-socket", "mountPath": "/run/opa"}
    volumes = _volumes(rendered)
    assert volumes["opa-socket"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Mi"}
    assert volumes["opa-configuration"]["configMap"]["name"] == f"{RELEASE}-opa"
    mounted = {volumes[it["name"]]["configMap"]["name"]: it["mountPath"] for it in _policies(rendered)}
    assert mounted == {name: f"/policies/{name}" for name in (POLICIES, "team.policies", "platform")}
    # Without "optional", a missing ConfigMap holds the Pod; with it, OPA would decide without these policies.
    assert [it for it in volumes.values() if it.get("configMap", {}).get("optional")] == []
    assert yaml.safe_load(rendered.get("ConfigMap", f"{RELEASE}-opa")["data"]["opa.yaml"]) == {
        "decision_logs": {"console": True}
    }
    assert not [it for it in rendered.get("Service")["spec"]["ports"] if it["name"] != "https"]


def _policies(rendered: Rendered) -> list[Object]:
    return [it for it in _opa(rendered)["volumeMounts"] if it["name"].startswith("opa-policies")]


@pytest.mark.parametrize("version", ["1.29.0", "1.36.3"])
def test_opa_is_a_native_sidecar_that_kubernetes_stops_after_the_controller(version: str) -> None:
    rendered = render(merged(ANCHORE, BESIDE), "--kube-version", version)
    (opa,) = rendered.pod()["initContainers"]
    assert (opa["name"], opa["restartPolicy"]) == ("opa", "Always")
    assert [it["name"] for it in rendered.pod()["containers"]] == [RELEASE]
    assert [it for it in opa["args"] if "shutdown" in it] == []


@pytest.mark.parametrize("version", ["1.25.0", "1.28.15"])
def test_where_there_are_none_opa_serves_for_as_long_as_a_stopping_controller_gets_reviews(version: str) -> None:
    values = merged(ANCHORE, BESIDE, {"shutdownDelay": "1500ms", "webhook": {"timeoutSeconds": 7}})
    rendered = render(values, "--kube-version", version)
    assert [it["name"] for it in rendered.pod()["containers"]] == [RELEASE, "opa"]
    assert "initContainers" not in rendered.pod()
    assert "restartPolicy" not in _opa(rendered)
    assert "--shutdown-wait-period=9" in _opa(rendered)["args"]


def test_a_release_without_the_sidecar_has_no_init_containers() -> None:
    assert "initContainers" not in render(ANCHORE).pod()


def test_a_pod_is_ready_once_opa_has_started_and_no_answer_of_it_makes_it_unready() -> None:
    opa = _opa(render(merged(ANCHORE, BESIDE)))
    assert opa["startupProbe"]["httpGet"] == {"path": "/health", "port": "opa"}
    assert "readinessProbe" not in opa


def test_opa_has_an_image_of_its_own_from_the_common_registry() -> None:
    digest = f"sha256:{'a' * 64}"
    image = {"opa": {"sidecar": {"image": {"digest": digest}}}}
    rendered = render(merged(ANCHORE, BESIDE, image, {"global": {"imageRegistry": "mirror:5000"}}))
    assert _opa(rendered)["image"] == f"mirror:5000/openpolicyagent/opa@{digest}"
    own = merged(ANCHORE, BESIDE, {"opa": {"sidecar": {"securityContext": {"runAsUser": 1000}}}})
    assert _opa(render(own))["securityContext"] == {"runAsUser": 1000}


@pytest.mark.parametrize(
    ("change", "replaced"),
    [
        ({"opa": {"sidecar": {"policies": {"admission.rego": policy("other")}}}}, False),
        ({"opa": {"sidecar": {"config": {"decision_logs": {"console": True}}}}}, True),
        ({"opa": {"onError": "warn"}}, True),
    ],
)
def test_a_changed_policy_does_not_replace_the_replicas(change: Values, replaced: bool) -> None:
    def annotations(*values: Values) -> Object:
        found: Object = render(merged(ANCHORE, BESIDE, *values)).get("Deployment")["spec"]["template"]["metadata"]
        return found

    assert (annotations() != annotations(change)) is replaced


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"onError": "allow"}, "opa.onError is allow, but while the sidecar does not run, its Pod is not ready"),
        ({"url": "http://opa.policies.svc:8181", "sidecar": {"enabled": False}}, "OPA runs in the namespace policies"),
        ({}, "OPA is asked, but passive mode admits every image"),
    ],
)
def test_the_notes_warn(values: Values, text: str) -> None:
    assert text in notes(merged(ANCHORE, BESIDE, {"opa": values}))
    excluded = {"webhook": {"excludedNamespaces": ["policies"]}, "enableStrictGating": True, "opa": {"onError": "deny"}}
    assert text not in notes(merged(ANCHORE, BESIDE, {"opa": values}, excluded))


def test_an_upgrade_first_compiles_the_new_policies() -> None:
    rendered = render(EVERYTHING["OPA beside it"])
    job = rendered.get("Job", f"{RELEASE}-opa-validation")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    volumes = job["spec"]["template"]["spec"]["volumes"]
    names = [it["configMap"]["name"] for it in volumes]
    assert names == [f"{RELEASE}-opa-validation", "team.policies", "platform"]
    new = rendered.get("ConfigMap", f"{RELEASE}-opa-validation")
    weights = [int(it["metadata"]["annotations"]["helm.sh/hook-weight"]) for it in (new, job)]
    assert weights[0] < weights[1]
    assert new["data"] == rendered.get("ConfigMap", POLICIES)["data"]
    without = render(merged(EVERYTHING["OPA beside it"], {"validation": {"enabled": False}}))
    assert not [name for _, name in without.names() if name.endswith("validation")]


@pytest.mark.parametrize(("text", "succeeds"), [(policy("no"), True), (BROKEN, False)])
def test_the_compiler_accepts_the_jobs_arguments(text: str, succeeds: bool, tmp_path: Path) -> None:
    rendered = render(merged(ANCHORE, BESIDE, {"opa": {"sidecar": {"policies": {"admission.rego": text}}}}))
    job = rendered.get("Job", f"{RELEASE}-opa-validation")["spec"]["template"]["spec"]["containers"][0]
    mount(tmp_path / "policies" / POLICIES, rendered.get("ConfigMap", f"{RELEASE}-opa-validation")["data"])
    arguments = _below(tmp_path, job["args"])
    if succeeds:
        run("opa", *arguments)
    else:
        with pytest.raises(HelmError, match="var x is unsafe"):
            run("opa", *arguments)


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A running OPA, with the arguments that the chart gives it."""

    folder: Path
    client: httpx.Client

    def decision(self) -> Any:
        answer = self.client.post("http://opa/v1/data/anchore/admission", json={"input": {}})
        return answer.json().get("result")

    def follows(self, *denials: str) -> None:
        until(lambda: self.decision() == {"deny": [*denials]}, f"OPA to deny {denials}", seconds=30, every=0.02)

    def log(self) -> str:
        return (self.folder / "log").read_text()


@contextmanager
def _running(rendered: Rendered, folder: Path) -> Iterator[Sidecar]:
    for name in ("opa", "opa-policies"):
        below = folder / ("etc/opa" if name == "opa" else f"policies/{RELEASE}-{name}")
        if ("ConfigMap", f"{RELEASE}-{name}") in rendered.names():
            mount(below, rendered.get("ConfigMap", f"{RELEASE}-{name}")["data"])
    (folder / "run" / "opa").mkdir(parents=True)
    port = free_port()
    given = _below(folder, _opa(rendered)["args"])
    arguments = [it.replace(":8282", f"127.0.0.1:{port}").replace("-period=15", "-period=0") for it in given]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program("opa"), *arguments], stderr=log)  # noqa: S603 - OPA
    try:
        until(lambda: httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200, "OPA", seconds=30, every=0.02)
        socket = str(folder / "run" / "opa" / "opa.sock")
        with httpx.Client(transport=httpx.HTTPTransport(uds=socket)) as client:
            yield Sidecar(folder, client)
    finally:
        process.kill()
        process.wait()


def _below(folder: Path, arguments: list[str]) -> list[str]:
    """Move the paths of a container below a folder."""
    return [re.sub(r"(?<![\w.-])/(policies|run|etc)/", rf"{folder}/\1/", it) for it in arguments]


_VERSIONS = itertools.count()


def mount(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files of a ConfigMap as the kubelet does: links into a folder that is exchanged as a whole."""
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"..{next(_VERSIONS)}"
    new.mkdir()
    for name, text in files.items():
        (new / name).write_text(text)
    current = folder / "..data"
    old = current.resolve() if current.is_symlink() else None
    (folder / "..data_tmp").symlink_to(new.name)
    (folder / "..data_tmp").rename(current)
    for name in files:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    for link in folder.iterdir():
        if not link.name.startswith("..") and link.name not in files:
            link.unlink()
    if old:
        shutil.rmtree(old)


def test_opa_follows_its_policies_and_keeps_the_last_that_compile(tmp_path: Path) -> None:
    folder = tmp_path / "policies" / POLICIES
    with _running(render(merged(ANCHORE, BESIDE)), tmp_path) as opa:
        assert opa.decision() == {"deny": ["no"]}
        mount(folder, {"admission.rego": policy("changed")})
        opa.follows("changed")
        mount(folder, {"admission.rego": BROKEN})
        until(lambda: "var x is unsafe" in opa.log(), "OPA to name the mistake", seconds=30, every=0.02)
        assert opa.decision() == {"deny": ["changed"]}
        mount(folder, {"admission.rego": policy("fixed"), "second.rego": policy("second")})
        opa.follows("fixed", "second")
        mount(folder, {"second.rego": policy("second")})
        opa.follows("second")


def test_opa_reads_its_own_configuration_and_logs_no_request(tmp_path: Path) -> None:
    config = {"decision_logs": {"console": True}, "labels": {"team": "security"}}
    values = merged(ANCHORE, BESIDE, {"opa": {"sidecar": {"config": config}}})
    with _running(render(values), tmp_path) as opa:
        assert opa.decision() == {"deny": ["no"]}
        until(lambda: "Decision Log" in opa.log(), "the decision log", seconds=30, every=0.02)
        assert '"team":"security"' in opa.log()
        assert "Received request" not in opa.log()


def test_opa_that_starts_with_a_broken_policy_exits(tmp_path: Path) -> None:
    broken = render(merged(ANCHORE, BESIDE, {"opa": {"sidecar": {"policies": {"admission.rego": BROKEN}}}}))
    mount(tmp_path / "policies" / POLICIES, broken.get("ConfigMap", POLICIES)["data"])
    (tmp_path / "run" / "opa").mkdir(parents=True)
    with pytest.raises(HelmError, match=r"initialization error: .*var x is unsafe"):
        run("opa", *_below(tmp_path, _opa(broken)["args"]))
