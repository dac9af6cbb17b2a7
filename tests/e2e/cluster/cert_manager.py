"""A real cert-manager by its own chart, its images and its chart made from its Go module."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

import yaml

from e2e.cluster import images
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.programs import CERT_MANAGER, Go
from e2e.cluster.programs import build as build_programs
from e2e.cluster.waiting import until

VERSION: Final = CERT_MANAGER.version
NAMESPACE: Final = "cert-manager"
_CHART: Final = CERT_MANAGER.folder / "chart"
_COMPONENTS: Final = ("controller", "cainjector", "webhook")
PROBE: Final = {
    "apiVersion": "cert-manager.io/v1",
    "kind": "Issuer",
    "metadata": {"name": "probe", "namespace": "default"},
    "spec": {"selfSigned": {}},
}


def build(deadline: float) -> None:
    """Raises RuntimeError or TimeoutExpired."""
    build_programs(deadline, (CERT_MANAGER,))
    for name in _COMPONENTS:
        if not _archive(name).exists():
            images.write(_archive(name), [_image(name)], [f"/bin/{name}"], {f"bin/{name}": CERT_MANAGER.folder / name})
    if not _CHART.exists():
        _write_chart(Go(deadline).files(CERT_MANAGER) / "deploy")


def archives() -> list[Path]:
    """Return the image archives of cert-manager for the nodes."""
    return [_archive(name) for name in _COMPONENTS]


def install(kubectl: Kubectl) -> None:
    """Install cert-manager with all its components; it stays until the cluster is removed."""
    values = kubectl.home / "cert-manager.json"
    values.write_text(json.dumps(_values()))
    options = ("--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "240s")
    kubectl.helm("install", "cert-manager", str(_CHART), *options, "--values", str(values))
    probe = json.dumps(PROBE)
    until(
        lambda: kubectl("create", "--dry-run=server", "-f", "-", stdin=probe),
        "cert-manager's own webhook answers",
    )


def _values() -> dict[str, Any]:
    named = {name: {"repository": _image(name).rpartition(":")[0], "tag": VERSION} for name in _COMPONENTS}
    return {
        "installCRDs": True,
        "image": named["controller"],
        "cainjector": {"image": named["cainjector"]},
        "webhook": {"image": named["webhook"]},
        "startupapicheck": {"enabled": False},
    }


def _write_chart(deploy: Path) -> None:
    """Assemble the chart as cert-manager's own Makefile does."""
    part = _CHART.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(deploy / "charts/cert-manager", part)
    described = yaml.safe_load((part / "Chart.template.yaml").read_text())
    described |= {"version": VERSION, "appVersion": VERSION}
    (part / "Chart.yaml").write_text(yaml.safe_dump(described))
    definitions = "---\n".join(file.read_text() for file in sorted((deploy / "crds").glob("*.yaml")))
    (part / "templates/crds.yaml").write_text(f"{{{{- if .Values.installCRDs }}}}\n{definitions}{{{{- end }}}}\n")
    part.rename(_CHART)


def _image(name: str) -> str:
    return f"ci.local/cert-manager-{name}:{VERSION}"


def _archive(name: str) -> Path:
    return CERT_MANAGER.folder / f"{name}.tar"
