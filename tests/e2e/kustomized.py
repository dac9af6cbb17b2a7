"""Overlays of kustomize, based on ours as its README describes, and applied by kubectl."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

from e2e.cluster.kubectl import Kubectl
from e2e.release import CHART, NAME
from e2e.things import Json

KUSTOMIZE: Final = CHART.parents[1] / "kustomize"
CREDENTIALS: Final[Json] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "anchore-credentials", "namespace": NAME},
    "stringData": {"username": "admin", "password": "foobar"},
}


def based_on(overlay: str, folder: Path, image: str, configuration: Mapping[str, object], **more: object) -> str:
    """Write an overlay with our image and configuration, and return its folder.

    ``configuration`` replaces keys of the overlay's own; ``more`` are further keys of kustomization.yaml.
    """
    tree = folder / "kustomize"
    shutil.copytree(KUSTOMIZE, tree)
    own = tree / "overlays" / overlay / "configuration.yaml"
    base = yaml.safe_load((own if own.exists() else tree / "base/configuration.yaml").read_text())
    repository, _, tag = image.rpartition(":")
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": NAME,
        "resources": [f"../overlays/{overlay}"],
        "images": [{"name": f"localhost/{NAME}", "newName": repository, "newTag": tag}],
        "configMapGenerator": [{"name": f"{NAME}-files", "behavior": "merge", "files": ["configuration.yaml"]}],
        **more,
    }
    mine = tree / "mine"
    mine.mkdir()
    (mine / "configuration.yaml").write_text(yaml.safe_dump({**base, **configuration}))
    (mine / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return os.fspath(mine)


def apply(kubectl: Kubectl, overlay: str) -> None:
    kubectl("apply", "-k", overlay)
    kubectl("rollout", "status", "-n", NAME, f"deployment/{NAME}", "--timeout=240s")
