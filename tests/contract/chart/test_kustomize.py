"""deploy/kustomize is made from the chart, is current, and holds in every namespace."""

import copy
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from anchore_admission.services.config.load import parse_configuration
from support.charts import RELEASE, Object, Rendered, Values, program, render, rendered, run
from support.paths import ROOT
from support.programs import SEARCH_PATH

KUSTOMIZE = ROOT / "deploy" / "kustomize"
ANCHORE = {"endpoint": "http://anchore-engine-api.anchore.svc:8228", "credentialsSecret": "anchore-credentials"}
POLICY = """\
package anchore.admission

deny contains "the host's network is not allowed" if input.request.object.spec.hostNetwork
"""
OVERLAYS: dict[str, Values] = {
    "self-managed": {"anchore": ANCHORE},
    "cert-manager": {
        "anchore": ANCHORE,
        "certificates": {"mode": "certManager"},
        "webhook": {"registration": "chart"},
    },
    "strict": {"anchore": ANCHORE, "enableStrictGating": True},
    "pinning": {
        "anchore": ANCHORE,
        "config": {"defaults": {"mode": "strict", "pin": "bestEffort"}},
        "pinning": {"enabled": True},
    },
    "opa": {
        "anchore": ANCHORE,
        "enableStrictGating": True,
        "opa": {"sidecar": {"enabled": True, "policies": {"admission.rego": POLICY}}},
    },
    "sandbox": {"sandbox": {"enabled": True}, "enableStrictGating": True},
}


def test_committed_documents_are_current(tmp_path: Path) -> None:
    program("helm")
    environment = {**os.environ, "PATH": SEARCH_PATH}
    command = [sys.executable, str(ROOT / "tools" / "kustomize.py"), str(tmp_path)]
    subprocess.run(command, check=True, env=environment)  # noqa: S603 - our own tool
    made, committed = _files(tmp_path), _files(KUSTOMIZE)
    assert {name for name in made if made[name] != committed.get(name)} == set(), "make kustomize"
    assert committed.keys() - made.keys() == {"README.md"}


def _files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("namespace", ["anchore-admission", "elsewhere"])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_equals_the_chart_in_every_namespace(overlay: str, namespace: str, tmp_path: Path) -> None:
    tree = tmp_path / "kustomize"
    shutil.copytree(KUSTOMIZE, tree)
    file = tree / "overlays" / overlay / "kustomization.yaml"
    file.write_text(file.read_text().replace("namespace: anchore-admission\n", f"namespace: {namespace}\n", 1))
    built = _build(file.parent)
    chart = render(OVERLAYS[overlay], "--kube-version", "1.30.0", namespace=namespace)
    assert _comparable(built) == _comparable(chart)


def test_an_overlay_of_your_own_moves_it_elsewhere(tmp_path: Path) -> None:
    """The kustomization.yaml of the README, on top of the overlay."""
    tree = tmp_path / "kustomize"
    shutil.copytree(KUSTOMIZE, tree)
    own = yaml.safe_load((tree / "overlays" / "self-managed" / "kustomization.yaml").read_text())
    kept = {key: own[key] for key in ("apiVersion", "kind", "replacements")}
    (tree / "mine").mkdir()
    (tree / "mine" / "kustomization.yaml").write_text(
        yaml.safe_dump({**kept, "namespace": "elsewhere", "resources": ["../overlays/self-managed"]})
    )
    chart = render(OVERLAYS["self-managed"], "--kube-version", "1.30.0", namespace="elsewhere")
    assert _comparable(_build(tree / "mine")) == _comparable(chart)


def test_the_component_for_every_update_registers_the_webhook_as_the_chart_does(tmp_path: Path) -> None:
    """The kustomization.yaml of the README, on top of the overlay whose webhook the controller does not register."""
    tree = tmp_path / "kustomize"
    shutil.copytree(KUSTOMIZE, tree)
    (tree / "mine").mkdir()
    own = {"resources": ["../overlays/cert-manager"], "components": ["../components/every-update"]}
    (tree / "mine" / "kustomization.yaml").write_text(yaml.safe_dump({"namespace": "anchore-admission", **own}))
    every = {"opa": {"url": "http://opa.opa.svc:8181", "requests": ["all"]}}
    chart = render({**OVERLAYS["cert-manager"], **every}, "--kube-version", "1.30.0", namespace="anchore-admission")
    built = _build(tree / "mine")
    kind = "ValidatingWebhookConfiguration"
    assert _comparable(built)[kind, RELEASE] == _comparable(chart)[kind, RELEASE]
    assert [it["name"] for it in built.webhook()["matchConditions"]] == ["not-another-release"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_changed_configuration_replaces_the_replicas(overlay: str, tmp_path: Path) -> None:
    tree = tmp_path / "kustomize"
    shutil.copytree(KUSTOMIZE, tree)
    folder = tree / "overlays" / overlay
    before = _name_of_configuration(_build(folder))
    for file in tree.rglob("configuration.yaml"):
        file.write_text(file.read_text() + "unknownKinds: deny\n")
    after = _name_of_configuration(_build(folder))
    assert after != before


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_configuration_can_be_read(overlay: str) -> None:
    built = _build(KUSTOMIZE / "overlays" / overlay)
    text = built.get("ConfigMap", _name_of_configuration(built))["data"]["configuration.yaml"]
    parse_configuration(text, "configuration.yaml")


def _build(folder: Path) -> Rendered:
    return rendered(run("kubectl", "kustomize", str(folder)))


def _name_of_configuration(built: Rendered) -> str:
    (name,) = (it["configMap"]["name"] for it in built.pod()["volumes"] if it["name"] == "configuration")
    return str(name)


def _comparable(rendered: Rendered) -> dict[tuple[str, str], Object]:
    """Normalize rendered objects: drop Helm's own labels, unify the ConfigMap's name, parse the files in it."""
    objects = {}
    for original in rendered.objects:
        it = copy.deepcopy(original)
        metadata = it["metadata"]
        if "helm.sh/hook" in metadata.get("annotations", {}):
            continue
        for label in ("helm.sh/chart", "app.kubernetes.io/managed-by"):
            metadata["labels"].pop(label, None)
        if it["kind"] == "Certificate":
            it["spec"].pop("secretTemplate", None)
        if it["kind"] == "ConfigMap":
            metadata["name"] = _plain(metadata["name"])
            it["data"] = {name: [*yaml.safe_load_all(text)] for name, text in it["data"].items()}
        if it["kind"] == "Deployment":
            _without_hashes(it["spec"]["template"])
        objects[it["kind"], metadata["name"]] = it
    return objects


def _without_hashes(template: Object) -> None:
    annotations: Mapping[str, Any] = template["metadata"].pop("annotations", {})
    assert all(name.startswith("checksum/") for name in annotations)
    for volume in template["spec"]["volumes"]:
        if volume["name"] == "configuration":
            volume["configMap"]["name"] = _plain(volume["configMap"]["name"])


def _plain(name: str) -> str:
    """kustomize's ConfigMap has a name of its own, with a hash."""
    return re.sub(r"^anchore-admission-files-[a-z0-9]{10}$", RELEASE, name)
