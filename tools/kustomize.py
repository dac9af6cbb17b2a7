#!/usr/bin/env python3
"""Generate deploy/kustomize from the Helm chart: a base with what all overlays share, each overlay's differences, and
components for what values of the chart change in the objects of any overlay.

``kustomize.py TARGET`` writes to another folder, so that a test can compare. Needs helm on the path.
"""

import copy
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm" / "anchore-admission"
NAME = NAMESPACE = "anchore-admission"
FILES = f"{NAME}-files"
"""New name of the ConfigMap. kustomize appends a hash to it and to every equal text, the roles' `resourceNames` too."""
KUBERNETES = "1.30.0"
"""The oldest version with everything that the chart renders; older clusters need the chart."""
_MARK = "the-namespace"
"""Placeholder of the namespace, which must not be confused with the name."""
_HEADER = "# Generated from the Helm chart by `make kustomize`; the chart explains the values.\n"
_QUOTE = '"'
_LINE = 120
_IMAGES_CHANGE = "spec-changes"
_HANDLED = "metadata.namespace"
"""The field that kustomize's own `namespace:` rewrites."""

Object = dict[str, Any]
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Overlay:
    """An overlay's values, and the overlay that it builds on; by default the base."""

    values: Mapping[str, Any]
    on: str | None = None


ANCHORE = {"endpoint": "http://anchore-engine-api.anchore.svc:8228", "credentialsSecret": "anchore-credentials"}
POLICY = """\
package anchore.admission

deny contains "the host's network is not allowed" if input.request.object.spec.hostNetwork
"""
OVERLAYS = {
    "self-managed": Overlay({"anchore": ANCHORE}),
    "cert-manager": Overlay(
        {"anchore": ANCHORE, "certificates": {"mode": "certManager"}, "webhook": {"registration": "chart"}}
    ),
    "strict": Overlay({"anchore": ANCHORE, "enableStrictGating": True}, on="self-managed"),
    "pinning": Overlay(
        {
            "anchore": ANCHORE,
            "config": {"defaults": {"mode": "strict", "pin": "bestEffort"}},
            "pinning": {"enabled": True},
        },
        on="strict",
    ),
    "opa": Overlay(
        {
            "anchore": ANCHORE,
            "enableStrictGating": True,
            "opa": {"sidecar": {"enabled": True, "policies": {"admission.rego": POLICY}}},
        },
        on="strict",
    ),
    "sandbox": Overlay({"sandbox": {"enabled": True}, "enableStrictGating": True}, on="self-managed"),
}


class Quoted(str):
    """A text to write in double quotes. Nothing else is, so kustomize replacements can split the file at them."""

    __slots__ = ()


class Dumper(yaml.SafeDumper):
    """Indents lists below their keys and writes long texts as blocks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's own names
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else ">" if len(value) > _LINE else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _quoted(dumper: yaml.SafeDumper, value: Quoted) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(value), style=_QUOTE)


Dumper.add_representer(str, _text)
Dumper.add_representer(Quoted, _quoted)


def rendered(values: Mapping[str, Any]) -> dict[Key, Object]:
    """Return the chart's objects without what only Helm needs."""
    command = [
        "helm",
        "template",
        NAME,
        str(CHART),
        "--namespace",
        _MARK,
        "--kube-version",
        KUBERNETES,
        "--values",
        "-",
    ]
    given = yaml.safe_dump(dict(values))
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)  # noqa: S603 - helm
    if done.returncode:
        raise SystemExit(done.stderr)
    objects = [_with_files_renamed(_without_helm(it)) for it in yaml.safe_load_all(done.stdout) if it]
    return {(it["kind"], it["metadata"]["name"]): it for it in objects if not _is_hook(it)}


def _is_hook(it: Object) -> bool:
    return "helm.sh/hook" in it["metadata"].get("annotations", {})


def _without_helm(it: Object) -> Object:
    it = copy.deepcopy(it)
    for name in ("helm.sh/chart", "app.kubernetes.io/managed-by"):
        it["metadata"]["labels"].pop(name)
    if it["kind"] == "Certificate":
        del it["spec"]["secretTemplate"]
    if it["kind"] == "Deployment":  # kustomize puts a hash into the ConfigMap's name instead
        annotations = it["spec"]["template"]["metadata"]["annotations"]
        for name in [name for name in annotations if name.startswith("checksum/")]:
            del annotations[name]
        if not annotations:
            del it["spec"]["template"]["metadata"]["annotations"]
    return it


def _with_files_renamed(it: Object) -> Object:
    if it["kind"] == "ConfigMap" and it["metadata"]["name"] == NAME:
        it["metadata"]["name"] = FILES
    if it["kind"] == "Deployment":
        for volume in it["spec"]["template"]["spec"]["volumes"]:
            if volume.get("configMap", {}).get("name") == NAME:
                volume["configMap"]["name"] = FILES
    return it


def files_of(configuration: Object) -> dict[str, str]:
    """Return the files of the controller's ConfigMap, with double quotes around the namespace and nothing else."""
    return {name: _file_text(text) for name, text in sorted(configuration["data"].items())}


def _file_text(text: str) -> str:
    """Write the documents of a file again; the registration may have two."""
    return "---\n".join(_dump(_with_quotes(document)) for document in yaml.safe_load_all(text) if document)


def _with_quotes(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_quotes(below) for key, below in value.items()}
    if isinstance(value, list):
        return [_with_quotes(below) for below in value]
    return Quoted(value) if value == _MARK else value


def differences(old: Any, new: Any, path: str = "") -> Iterator[dict[str, Any]]:
    """Yield a JSON patch; a list of another length, or of plain values, is replaced as a whole."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            below = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
            if key not in new:
                yield {"op": "remove", "path": below}
            elif key not in old:
                yield {"op": "add", "path": below, "value": new[key]}
            else:
                yield from differences(old[key], new[key], below)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new) and _are_objects(old):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from differences(before, after, f"{path}/{index}")
    elif old != new:
        yield {"op": "replace", "path": path, "value": new}


def _are_objects(items: list[Any]) -> bool:
    return all(isinstance(it, dict) for it in items)


def namespaces(it: Object) -> Iterator[dict[str, Any]]:
    """Yield the places of the namespace within an object, as targets of a kustomize replacement."""
    for path, value in _texts(it, ""):
        if _MARK not in value or path == _HANDLED:
            continue
        delimiter = next((mark for mark in ("/", ".", _QUOTE) if _MARK in value.split(mark)), None)
        places = [i for i, part in enumerate(value.split(delimiter)) if part == _MARK] if delimiter else []
        if value != _MARK and not places:
            raise SystemExit(f"cannot replace the namespace in {it['kind']} {path}: {value}")
        for index in places if value != _MARK else [None]:
            options = {} if index is None else {"options": {"delimiter": delimiter, "index": index}}
            yield {"select": _selected(it), "fieldPaths": [path], **options}


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, below in value.items():
            name = f"[{key}]" if "." in key or "/" in key else key
            yield from _texts(below, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _texts(below, f"{path}.{index}")
    elif isinstance(value, str):
        yield path, value


def _selected(it: Object) -> dict[str, str]:
    return {"kind": it["kind"], "name": it["metadata"]["name"]}


def base(shared: Mapping[Key, Object]) -> dict[str, str]:
    """Return the files of the base."""
    objects = {key: it for key, it in shared.items() if key != ("ConfigMap", FILES)}
    configuration = files_of(shared["ConfigMap", FILES])
    resources = {_file(it): _dump(_anywhere(it)) for it in objects.values()}
    kustomization = {
        "resources": sorted(resources),
        "configMapGenerator": [{**_generator(shared["ConfigMap", FILES]), "files": list(configuration)}],
    }
    return {"kustomization.yaml": _kustomization(kustomization), **resources, **configuration}


def overlay(parent: Mapping[Key, Object], objects: Mapping[Key, Object], stands_on: str) -> dict[str, str]:
    """Return the files of an overlay: added objects, patches of its parent's, and replacements of the namespace."""
    configuration = objects["ConfigMap", FILES]
    resources = {_file(it): _dump(_anywhere(it)) for key, it in objects.items() if key not in parent}
    patches: dict[str, str] = {}
    targets = []
    for key, it in objects.items():
        if key in parent and key != ("ConfigMap", FILES) and (changes := list(differences(parent[key], it))):
            patches[f"patch-{_file(it)}"] = _dump(changes)
            targets.append({"target": _selected(it), "path": f"patch-{_file(it)}"})
    changed = _changed_files(parent["ConfigMap", FILES], configuration)
    generators = []
    if changed:
        generators = [{**_generator(configuration), "behavior": "merge", "files": sorted(changed)}]
    kustomization = {
        "namespace": NAMESPACE,
        "resources": [stands_on, *sorted(resources)],
        "configMapGenerator": generators,
        "patches": targets,
        "replacements": _replacements(objects),
    }
    return {"kustomization.yaml": _kustomization(kustomization), **resources, **patches, **changed}


def every_update(objects: Mapping[Key, Object]) -> dict[str, str]:
    """Return the component that leaves out the match condition by which updates that change no image are not sent.

    By its name, so that a condition of another overlay never goes instead. Where the controller registers the webhook,
    it leaves the condition out itself.
    """
    kind = "ValidatingWebhookConfiguration"
    [entry] = objects[kind, NAME]["webhooks"]
    [index] = [index for index, it in enumerate(entry["matchConditions"]) if it["name"] == _IMAGES_CHANGE]
    path = f"/webhooks/0/matchConditions/{index}"
    changes = [{"op": "test", "path": f"{path}/name", "value": _IMAGES_CHANGE}, {"op": "remove", "path": path}]
    file = f"patch-{kind.lower()}.yaml"
    head = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}
    patches = [{"target": {"kind": kind, "name": NAME}, "path": file}]
    return {"kustomization.yaml": _HEADER + _dump({**head, "patches": patches}), file: _dump(changes)}


def _changed_files(parent: Object, configuration: Object) -> dict[str, str]:
    before, after = files_of(parent), files_of(configuration)
    return {name: text for name, text in after.items() if before.get(name) != text}


def _replacements(objects: Mapping[Key, Object]) -> list[dict[str, Any]]:
    configuration = objects["ConfigMap", FILES]
    as_files = {**configuration, "data": files_of(configuration)}
    every = [it for key, it in objects.items() if key != ("ConfigMap", FILES)]
    targets = [target for it in [as_files, *every] for target in namespaces(it)]
    source = {"kind": "Service", "name": NAME, "fieldPath": "metadata.namespace"}
    return [{"source": source, "targets": targets}] if targets else []


def _with_common_files(configurations: list[Object]) -> Object:
    """Keep the files that all overlays share: an overlay can add a file, but not remove one."""
    first = configurations[0]
    names = set.intersection(*(set(it["data"]) for it in configurations))
    return {**first, "data": {name: text for name, text in first["data"].items() if name in names}}


def _generator(configuration: Object) -> dict[str, Any]:
    return {"name": FILES, "options": {"labels": configuration["metadata"]["labels"]}}


def _anywhere(it: Object) -> Object:
    """Remove the namespace, which `namespace:` sets."""
    metadata = {key: value for key, value in it["metadata"].items() if key != "namespace"}
    return {**it, "metadata": metadata}


def _file(it: Object) -> str:
    suffix = it["metadata"]["name"].removeprefix(NAME)
    return f"{it['kind'].lower()}{suffix}.yaml"


def _kustomization(content: dict[str, Any]) -> str:
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return _HEADER + _dump({**head, **{key: value for key, value in content.items() if value}})


def _dump(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=_LINE)
    return text


def everything() -> dict[Path, str]:
    """Return every file, by its path relative to deploy/kustomize."""
    objects = {name: rendered(it.values) for name, it in OVERLAYS.items()}
    common = set.intersection(*({*found} for found in objects.values()))
    shared = {key: it for key, it in objects["self-managed"].items() if key in common}
    shared["ConfigMap", FILES] = _with_common_files([found["ConfigMap", FILES] for found in objects.values()])
    folders = {Path("base"): base(shared)}
    for name, it in OVERLAYS.items():
        parent, stands_on = (objects[it.on], f"../{it.on}") if it.on else (shared, "../../base")
        folders[Path("overlays") / name] = overlay(parent, objects[name], stands_on)
    folders[Path("components") / "every-update"] = every_update(objects["cert-manager"])
    return {
        folder / file: text.replace(_MARK, NAMESPACE)
        for folder, files in folders.items()
        for file, text in files.items()
    }


def main() -> None:
    """Write all files."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "deploy" / "kustomize"
    made = everything()
    for folder in ("base", "components", "overlays"):
        shutil.rmtree(target / folder, ignore_errors=True)
    for path, text in made.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(text)


if __name__ == "__main__":
    main()
